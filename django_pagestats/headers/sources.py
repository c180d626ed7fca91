"""Where a visitor came from: from a page of this site, or else by which source and campaign.

A page view that did not come from a page of this site is an arrival. Only arrivals have a source, so that visits are
a plain count of the page views that have one. Of the query five parameters of campaigns are read; it is never kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from django_pagestats.conf import conf

#: the source of an arrival that nothing is known of
DIRECT = "(direct)"
#: a value of a query has at most so many characters
VALUE_MAX_LENGTH = 100
#: so much of a query, or of a referrer, is looked at
LOOKED_AT_LENGTH = 4_096

#: what is read of a query -> the attribute; for a source the first one of them that says something
_SOURCES = ("utm_source", "ref", "source")
_CAMPAIGN = {"utm_medium": "medium", "utm_campaign": "campaign", "utm_term": "term", "utm_content": "content"}
_READ = frozenset((*_SOURCES, *_CAMPAIGN))

#: control characters, halves of surrogate pairs, and what is not seen but changes how text is shown
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")
#: what mail addresses have, also escaped once more, and in full width
_AT = re.compile("@|%40|\uff20", re.IGNORECASE)

#: scheme and authority; a backslash ends it as browsers have it
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#\\]*)")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.\-]{0,251}[a-z0-9_])?")
_ADDRESS = re.compile(r"\[[0-9a-f:.]{2,45}(?:%[^\]]*)?\]|[0-9.]+|0x[0-9a-fx.]+")


class Origin(NamedTuple):
    """Where a page view came from; the attributes (source, medium, campaign, term, content) are an arrival's only."""

    is_arrival: bool
    is_spam: bool
    attributes: dict[str, str]


def origin_of(meta: Mapping[str, Any], *, query: str, own_hosts: Iterable[str], referrer: str | None) -> Origin:
    """Where a page view came from, by the query of its page and by its referrer.

    `referrer` None: the headers are those of the page's own request, and speak for themselves. A text, '' too, is what
    the page's script says; the headers are then those of the script's request, which always comes from this site.
    `own_hosts`, with or without a port, are this site beside PAGESTATS_OWN_HOSTS; `www.` makes no difference.
    """
    if referrer is None:
        if meta.get("HTTP_SEC_FETCH_SITE") == "same-origin":  # whatever the referrer: a reload by script repeats it
            return Origin(is_arrival=False, is_spam=False, attributes={})
        referrer = meta.get("HTTP_REFERER", "")
    scheme, host = _scheme_and_host(referrer)
    if host and scheme != "android-app":
        if is_own_host(host, own_hosts):
            return Origin(is_arrival=False, is_spam=False, attributes={})
        if is_spam(host):
            return Origin(is_arrival=True, is_spam=True, attributes={})
    attributes = _campaign_of(query)
    if "source" not in attributes:
        # an address is no site's name, and may be the visitor's own
        attributes["source"] = DIRECT if not host or _ADDRESS.fullmatch(host) else _source(host)
    return Origin(is_arrival=True, is_spam=False, attributes=attributes)


def host_of(text: str) -> str:
    """The host of a URL in lower case, without port, user and the dot at its end; '' if it has none.

    Of `android-app://` it is the app's id. Other schemes than that, http and https name no host.
    """
    return _scheme_and_host(text)[1]


def is_spam(host: str) -> bool:
    """Whether a host, or a domain that it belongs to, is on the list of those whose referrers only advertise."""
    spammers = _spammers()
    while host:
        if host in spammers:
            return True
        host = host.partition(".")[2]
    return False


def clean(value: str) -> str:
    """A value of a query as an attribute has it: one line of at most 100 characters in lower case.

    '' for what has no characters that are seen, and for what may be a mail address.
    """
    if value.isascii() and value.isprintable():  # nearly all are: without the patterns it takes a fifth
        if "@" in value or "%40" in value:
            return ""
    elif _AT.search(value):
        return ""
    else:
        value = _UNSEEN.sub("", value)
    return " ".join(value.lower().split())[:VALUE_MAX_LENGTH].rstrip()


def _scheme_and_host(text: str) -> tuple[str, str]:
    found = _URL.match(text[:LOOKED_AT_LENGTH])
    if found is None:
        return "", ""
    scheme = found[1].lower()
    if scheme not in ("https", "http", "android-app"):
        return scheme, ""
    return scheme, _host(found[2])


def _host(authority: str) -> str:
    """Of "user:password@Host.:8000" it is "host"; '' for what is no name and no address."""
    host = authority.rpartition("@")[2].lower()
    host = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0].removesuffix(".")
    return host if _NAME.fullmatch(host) or _ADDRESS.fullmatch(host) else ""


def is_own_host(host: str, own_hosts: Iterable[str]) -> bool:
    """Whether a host, in lower case and without a port, is this site, as `origin_of` takes it."""
    bare = host.removeprefix("www.")
    return _is_among(bare, own_hosts) or _is_among(bare, conf.OWN_HOSTS)


@lru_cache(maxsize=256)
def _bare(own_host: str) -> str:
    return _host(own_host).removeprefix("www.")


def _is_among(bare: str, hosts: Iterable[str]) -> bool:
    """As ALLOWED_HOSTS has it: ".example.com" is the host and all below it."""
    for text in hosts:
        if text.startswith("."):
            own = text.lower()
            if bare == own[1:] or bare.endswith(own):
                return True
        elif bare == _bare(text):
            return True
    return False


def _source(host: str) -> str:
    bare = host.removeprefix("www.")
    return (bare if "." in bare else host)[:VALUE_MAX_LENGTH]


def _campaign_of(query: str) -> dict[str, str]:
    found = _parameters(query) if query else {}
    attributes = {}
    for name in _SOURCES:
        if value := found.get(name):
            attributes["source"] = value
            break
    for name, attribute in _CAMPAIGN.items():
        if value := found.get(name):
            attributes[attribute] = value
    return attributes


def _parameters(query: str) -> dict[str, str]:
    """The parameters that are read, each by its first value that says something."""
    found: dict[str, str] = {}
    for part in query[:LOOKED_AT_LENGTH].split("&"):
        name, _, text = part.partition("=")
        name = name.lower().removeprefix("amp;")  # "&amp;" of a link that was escaped once too often
        if name in _READ and text and name not in found and (value := _value(unquote_plus(text), name)):
            found[name] = value
    return found


def _value(text: str, name: str) -> str:
    if name in _SOURCES and "://" in text:  # a whole address would bring a query of its own
        host = host_of(text)
        return "" if _ADDRESS.fullmatch(host) else _source(host)
    return clean(text)


@lru_cache(maxsize=1)
def _spammers() -> frozenset[str]:
    lines = (files(__package__) / "referrer_spam.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))
