"""What is known of one page view beside path, visitor and time: the attributes that PAGESTATS_ATTRIBUTES names.

Nothing here fails a page view. What one attribute costs, that attribute is left out for, counted, and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from inspect import iscoroutine
from time import monotonic
from typing import NamedTuple

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from django_pagestats.conf import ATTRIBUTES, conf
from django_pagestats.headers.agents import families
from django_pagestats.headers.countries import is_dotted_path
from django_pagestats.headers.languages import language_of
from django_pagestats.headers.sources import origin_of
from django_pagestats.intake import ATTRIBUTES_MAX_BYTES, attributes_text, check_attributes
from django_pagestats.models import Reason
from django_pagestats.recording import left_out, new_values
from django_pagestats.recording.country import country_of

logger = logging.getLogger(__name__)

#: how often what goes wrong with one attribute is logged
LOG_SECONDS = 60.0
#: The source of an arrival whose own one is one new value too many: without a source it would be no arrival.
OTHER = "(other)"

HOST_MAX_LENGTH = 253

#: those that come from a table of ours: nobody can make up values of them
_CLOSED = frozenset(("browser", "system", "device"))


class Known(NamedTuple):
    """The attributes of a page view, which can be stored as they are; `is_spam`: its referrer only advertises."""

    values: dict[str, str]
    is_spam: bool


class _Wanted(NamedTuple):
    """PAGESTATS_ATTRIBUTES, taken apart."""

    built_in: frozenset[str]
    #: name -> dotted path
    own: tuple[tuple[str, str], ...]


def attributes_of(
    request: HttpRequest, response: HttpResponseBase | None, *, query: str, referrer: str | None
) -> Known:
    """What is known of a page view. Never raises.

    `query` is that of the page. `referrer` None: the request is the page's own, and its headers are believed; a text is
    what a script on the page says, as `origin_of` has it. The site's own callables get the request and the response.
    """
    try:
        return _attributes_of(request, response, query, referrer)
    except Exception as error:
        _failed("attributes", error)
        return Known({}, is_spam=False)


def ask_the_site() -> bool:
    """Whether callables of the site's own are asked, which may ask the database."""
    is_country = conf.COUNTRY is not None and is_dotted_path(conf.COUNTRY)
    return is_country or bool(_wanted(tuple(conf.ATTRIBUTES)).own)


def _attributes_of(request: HttpRequest, response: HttpResponseBase | None, query: str, referrer: str | None) -> Known:
    wanted = _wanted(tuple(conf.ATTRIBUTES))
    origin = origin_of(request.META, query=query, own_hosts=_own_hosts(request), referrer=referrer)
    if origin.is_spam:
        return Known({}, is_spam=True)
    found = {name: value for name, value in origin.attributes.items() if name in wanted.built_in}
    found.update(_of_headers(request, wanted.built_in))
    if conf.RECORD_HOST and "host" in wanted.built_in and (host := _host_of(request)):
        found["host"] = host
    if "country" in wanted.built_in and (country := _country(request)):
        found["country"] = country
    for name, path in wanted.own:
        if value := _own(name, path, request, response):
            found[name] = value
    found = {name: value for name, given in found.items() if (value := _let_in(name, given, wanted))}
    return Known(_bounded(found, wanted.own) if wanted.own else found, is_spam=False)


@lru_cache(maxsize=8)
def _wanted(setting: tuple[str, ...]) -> _Wanted:
    own = tuple((path.rpartition(".")[2], path) for path in setting if path not in ATTRIBUTES)
    return _Wanted(frozenset(setting) & frozenset(ATTRIBUTES), own)


def _own_hosts(request: HttpRequest) -> Iterator[str]:
    """Looked up when it is asked for: Django takes 8 µs to say it, and most page views come without the question."""
    if host := _host_of(request):
        yield host


def _host_of(request: HttpRequest) -> str:
    """In lower case, without a port; '' where it is none of ALLOWED_HOSTS."""
    try:
        host = request.get_host().lower()
    except DisallowedHost:
        return ""
    host = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return host if len(host) <= HOST_MAX_LENGTH else ""


def _of_headers(request: HttpRequest, built_in: frozenset[str]) -> dict[str, str]:
    found = families(request.META)
    pairs = (
        ("browser", found.browser),
        ("system", found.system),
        ("device", found.device),
        ("language", language_of(request.META)),
    )
    return {name: value for name, value in pairs if value and name in built_in}


def _country(request: HttpRequest) -> str:
    try:
        return country_of(request)
    except Exception as error:
        _failed("country", error)
        return ""


def _own(name: str, path: str, request: HttpRequest, response: HttpResponseBase | None) -> str:
    """What a callable of the site's own says; '' where it says nothing, or what cannot be stored."""
    try:
        find: Callable[[HttpRequest, HttpResponseBase | None], object] = import_string(path)
        value = find(request, response)
        if iscoroutine(value):
            value.close()  # else Python warns that nobody awaited it
        if not value and (value is None or isinstance(value, str)):
            return ""
        checked = check_attributes({name: value}) or {}
        return checked[name]
    except Exception as error:
        _failed(name, error)
        return ""


def _let_in(name: str, value: str, wanted: _Wanted) -> str:
    if (name in _CLOSED and name in wanted.built_in) or new_values.is_let_in(name, value):
        return value
    left_out.count(Reason.NEW_VALUE)
    return OTHER if name == "source" else ""


def _bounded(found: dict[str, str], own: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Without those of the site's own, from the last on, that are more than a page view may have.

    The built-in ones alone always fit: they have at most a hundred characters each, a host 253.
    """
    for name, _path in reversed(own):
        if len((attributes_text(found) or "").encode()) <= ATTRIBUTES_MAX_BYTES:
            break
        if found.pop(name, None) is not None:
            _failed(name, ValueError(f"the attributes of the page view have more than {ATTRIBUTES_MAX_BYTES} bytes"))
    return found


_logged_at: dict[str, float] = {}


def _failed(name: str, error: Exception) -> None:
    """Count it; log it, but not for each of many page views."""
    try:
        left_out.count(Reason.ATTRIBUTE)
        now = monotonic()
        if now - _logged_at.get(name, -LOG_SECONDS) >= LOG_SECONDS:
            _logged_at[name] = now
            logger.error("The attribute %s was left out of a page view: %s", name, error, exc_info=error)
    except Exception:  # noqa: S110  a log handler that raises is not the request's trouble
        pass
