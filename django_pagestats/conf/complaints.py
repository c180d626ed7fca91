"""What may be wrong with the value of a setting: each function gives a sentence's end, or None."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from datetime import time
from ipaddress import ip_network
from zoneinfo import ZoneInfo

Complaint = str | None

#: what an attribute's name looks like
ATTRIBUTE_NAME = re.compile(r"[a-z0-9_]{1,32}")
#: what is counted in any case, and asked for by these names
RESERVED_DIMENSIONS = ("site", "page", "path")
#: what PAGESTATS_RATE_LIMIT looks like: a number of requests a second, minute, hour or day
RATE = re.compile(r"([1-9]\d{0,8})/([smhd])")
_ADDRESS = r"[^\s@<>(),;:\"\[\]\\]+@[^\s@<>(),;:\"\[\]\\]+"
#: one address, or "Name <address>"; roughly: what cannot be one is found, and the mail server knows the rest.
#: Not by email.utils, which takes the first of several for all, or none of them, as Python's version has it.
MAIL_ADDRESS = re.compile(rf'{_ADDRESS}|(?:"(?:[^"\\]|\\.)*"|[^@<>(),;:"\[\]\\]*) ?<{_ADDRESS}>')
#: a REMOTE_ADDR that is empty, as behind a Unix socket, in PAGESTATS_TRUSTED_PROXIES
UNIX_SOCKET = "unix"


def whole_number(low: int, high: int) -> Callable[[object], Complaint]:
    def complain(value: object) -> Complaint:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a whole number from {low} to {high}, not {value!r}"

    return complain


def weekday_or_none(value: object) -> Complaint:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 6):
        return None
    return f"must be None or a whole number from 0, Sunday, to 6, Saturday, not {value!r}"


def seconds(low: float, high: float) -> Callable[[object], Complaint]:
    def complain(value: object) -> Complaint:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a number of seconds from {low:g} to {high:g}, not {value!r}"

    return complain


def rest_factor(value: object) -> Complaint:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100):
        return None
    return f"must be None or a number from 0 to 100, not {value!r}"


def zone_name(value: object) -> Complaint:
    try:
        ZoneInfo(str(value))
    except (KeyError, OSError, ValueError) as error:
        return f"must be the name of a time zone, not {value!r} ({error})"
    return None


def names(value: object) -> Complaint:
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) and "." in name for name in value):
        return None
    return f"must be a list of dotted paths, not {value!r}"


def names_or_none(value: object) -> Complaint:
    """None, one dotted path, or some."""
    found = [value] if isinstance(value, str) else value
    if found is None or (isinstance(found, (list, tuple)) and all(map(_is_dotted, found))):
        return None
    return f"must be None, a dotted path or a list of these, not {value!r}"


def part_of_a_day(value: object) -> Complaint:
    if value is None:
        return None
    try:
        begin, end = (time.fromisoformat(part) for part in str(value).split("-"))
    except ValueError:
        return f'must be None or hours as "22:00-06:00", not {value!r}'
    return None if begin != end else f"must not begin where it ends, as {value!r} does"


def text_or_none(value: object) -> Complaint:
    return None if value is None or (isinstance(value, str) and value) else f"must be None or a name, not {value!r}"


def boolean(value: object) -> Complaint:
    return None if isinstance(value, bool) else f"must be True or False, not {value!r}"


def boolean_or_none(value: object) -> Complaint:
    return None if value is None or isinstance(value, bool) else f"must be None, True or False, not {value!r}"


def texts(value: object) -> Complaint:
    if isinstance(value, (list, tuple)) and all(isinstance(text, str) and text for text in value):
        return None
    return f"must be a list of texts, not {value!r}"


def one_of(*choices: object) -> Callable[[object], Complaint]:
    def complain(value: object) -> Complaint:
        if any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
            return None
        return f"must be {' or '.join(repr(choice) for choice in choices)}, not {value!r}"

    return complain


def name_or_path(*known: str) -> Callable[[object], Complaint]:
    """One of some names, or the dotted path of a callable."""

    def complain(value: object) -> Complaint:
        if isinstance(value, str) and (value in known or _is_dotted(value)):
            return None
        return f"must be {', '.join(repr(name) for name in known)} or a dotted path, not {value!r}"

    return complain


def path_or_none(value: object) -> Complaint:
    return None if value is None or _is_dotted(value) else f"must be None or a dotted path, not {value!r}"


def _is_dotted(value: object) -> bool:
    return isinstance(value, str) and "." in value and all(part.isidentifier() for part in value.split("."))


def attributes_of(built_in: Collection[str]) -> Callable[[object], Complaint]:
    """Names of built-in attributes, and "name=dotted.path" or dotted paths of the site's own."""

    def complain(value: object) -> Complaint:
        if not isinstance(value, (list, tuple)):
            return f"must be a list of names of attributes and dotted paths, not {value!r}"
        for item in value:
            if not isinstance(item, str) or not (item in built_in or _is_dotted(item)):
                return f"has {item!r}, which is none of {', '.join(sorted(built_in))} and no dotted path: {value!r}"
            if item not in built_in and not ATTRIBUTE_NAME.fullmatch(item.rpartition(".")[2]):
                return f"has {item!r}, whose last part cannot name an attribute (1 to 32 of a-z0-9_): {value!r}"
        found = [item.rpartition(".")[2] for item in value]
        if twice := sorted({name for name in found if found.count(name) > 1}):
            return f"names the attribute {twice[0]!r} twice: {value!r}"
        return None

    return complain


def dimensions(value: object) -> Complaint:
    """Names, and where their values come from: the name of an attribute, or the dotted path of a function."""
    if isinstance(value, (list, tuple)) and not value:
        return None
    if not isinstance(value, dict):
        return f"must be a dictionary of names and where their values come from, not {value!r}"
    for name, source in value.items():
        if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name) or name in RESERVED_DIMENSIONS:
            reserved = ", ".join(map(repr, RESERVED_DIMENSIONS))
            return f"has {name!r}, which cannot name a dimension (1 to 32 of a-z0-9_, but for {reserved})"
        if not isinstance(source, str) or not (ATTRIBUTE_NAME.fullmatch(source) or _is_dotted(source)):
            return f"has {name!r} from {source!r}, which is neither an attribute's name (1 to 32 of a-z0-9_) nor a path"
    return None


def hosts(value: object) -> Complaint:
    """Names of hosts as ALLOWED_HOSTS has them: without a scheme or a port, with a dot before it all below it too."""
    if (complaint := texts(value)) is not None:
        return complaint.replace("texts", "hosts")
    for text in value:  # type: ignore[attr-defined]
        if not re.fullmatch(r"\.?[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\]", text):
            return f'has {text!r}, which is no host such as "example.com" or ".example.com": {value!r}'
    return None


def country(value: object) -> Complaint:
    """Whether what it names is there, a check says (pagestats.E052, E054)."""
    if value is None or isinstance(value, os.PathLike):
        return None
    if isinstance(value, str) and (value.endswith(".mmdb") or "/" in value or os.sep in value):
        return None
    if _is_dotted(value) or header_or_none(value) is None:
        return None
    return f"must be None, the name of a header, the path of an MMDB file or a dotted path, not {value!r}"


def patterns(value: object) -> Complaint:
    if (complaint := texts(value)) is not None:
        return complaint.replace("texts", "regular expressions")
    for pattern in value:  # type: ignore[attr-defined]
        try:
            re.compile(pattern)
        except re.error as error:
            return f"has {pattern!r}, which is no regular expression ({error}): {value!r}"
    return None


def networks(value: object) -> Complaint:
    if (complaint := texts(value)) is not None:
        return complaint.replace("texts", "addresses and networks")
    for text in value:  # type: ignore[attr-defined]
        try:
            if text != UNIX_SOCKET:
                ip_network(text)
        except ValueError as error:
            return f"has {text!r}, which is no address, network or {UNIX_SOCKET!r} ({error}): {value!r}"
    return None


def header_or_none(value: object) -> Complaint:
    if value is None or (isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value)):
        return None
    return f"must be None or the name of a header, not {value!r}"


def origins(value: object) -> Complaint:
    if (complaint := texts(value)) is not None:
        return complaint.replace("texts", "origins")
    for text in value:  # type: ignore[attr-defined]
        if not re.fullmatch(r"https?://[^/\s]+", text):
            return f'has {text!r}, which is no origin such as "https://example.com": {value!r}'
    return None


def rate(value: object) -> Complaint:
    if isinstance(value, str) and RATE.fullmatch(value):
        return None
    return f'must be a rate such as "300/m" (a number and s, m, h or d), not {value!r}'


def model_labels(value: object) -> Complaint:
    """Names of models; whether there are such, a check says (pagestats.E110)."""
    if (complaint := texts(value)) is not None:
        return complaint.replace("texts", "models")
    for text in value:  # type: ignore[attr-defined]
        if not re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", text):
            return f'has {text!r}, which is no model such as "blog.Article": {value!r}'
    return None


def mail_addresses(value: object) -> Complaint:
    """Each alone or as "Name <address>", as Django's e-mail takes them."""
    if (complaint := texts(value)) is not None:
        return complaint.replace("texts", "e-mail addresses")
    for text in value:  # type: ignore[attr-defined]
        if not MAIL_ADDRESS.fullmatch(text) or not text.isprintable():
            return f"has {text!r}, which is no e-mail address: {value!r}"
    return None


def url_or_none(value: object) -> Complaint:
    if value is None or (isinstance(value, str) and re.fullmatch(r"https?://[^/\s]+[^\s?#]*", value)):
        return None
    return f'must be None or a URL such as "https://example.com/statistics/", not {value!r}'
