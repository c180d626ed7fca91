"""The server's own string as a format: Apache's LogFormat and nginx's log_format.

It becomes one regular expression in which each value ends where the next literal character of the string begins, so
that no line takes more than linear time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.clients import is_place
from django_pagestats.importing.formats.base import Format, Parts, Reading, unescaped, wsgi_name
from django_pagestats.importing.formats.fields import HeaderNames, Names
from django_pagestats.importing.formats.json_lines import JsonLines
from django_pagestats.importing.formats.server_names import (
    APACHE_HEADERS,
    APACHE_NAMES,
    APACHE_PASSED_OVER,
    NGINX_NAMES,
    PATTERNS,
    STRFTIME,
)

_APACHE = re.compile(r"%(?:!?[0-9]{3}(?:,[0-9]{3})*)?([<>]?)(?:\{([^}]*)\})?(\^[a-z]{2}|[A-Za-z%])")
_NGINX = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_QUOTED_TEXT = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")

_IN_QUOTES = r'[^"\\]*(?:\\.[^"\\]*)*'

NAMES = Names(
    time=("time",),
    address=("address", "http_x_forwarded_for", "proxy_add_x_forwarded_for", "HTTP_X_FORWARDED_FOR"),
    request=("request",),
    method=("method",),
    target=("target", "path"),
    query=("query",),
    status=("status",),
    agent=("agent",),
    referrer=("referrer",),
    host=("host", "server_name"),
    content_type=("content_type",),
)


class Piece(NamedTuple):
    """A literal text of the string, or a value: what it is (empty: of no use) and what the server calls it."""

    literal: str = ""
    name: str = ""
    written: str = ""


class ServerFormat(Format):
    """Lines of text, as the string of the server says."""

    has_names = True

    def __init__(self, pieces: list[Piece], reading: Reading, name: str) -> None:
        self.name = name
        self._zone = reading.time_zone
        pattern, groups = _pattern(pieces)
        self._pattern = re.compile(f"(?:\xef\xbb\xbf)?{pattern}\r?")
        self._groups = groups
        self._names = _names(pieces, reading)

    def parts(self, line: str) -> Parts | None:
        found = self._pattern.fullmatch(line)
        if found is None:
            return None
        values = {name: found[number] for name, number in self._groups}
        values["time"] = _whole_time(values)
        headers = {
            name: value
            for name, field in self._names.headers.named.items()
            if (value := values.get(field, "")) not in ("", "-")
        }
        return self._names.parts(values.get, zone=self._zone, has=values.__contains__, headers=headers)

    def sent(self, logged: str) -> bytes:
        return unescaped(logged)


def server_format(text: str, reading: Reading) -> Format:
    """The format of a LogFormat or log_format. Raises ImportFailedError, which says what cannot be used."""
    string, is_json = _string(text)
    if "$" in string and _NGINX.search(string):
        pieces, name = list(_nginx_pieces(string)), "nginx log_format"
    else:
        pieces, name = list(_apache_pieces(string)), "Apache LogFormat"
    _check(pieces)
    if is_json or string.lstrip().startswith("{"):
        return _json_format(string, pieces, reading, name)
    return ServerFormat(pieces, reading, name)


def _string(text: str) -> tuple[str, bool]:
    """The string itself, of a whole line of the server's configuration; and whether nginx escapes it as JSON."""
    text = text.strip()
    if text.startswith(("LogFormat ", "log_format ")):
        quoted = [found[1] if found[1] is not None else found[2] for found in _QUOTED_TEXT.finditer(text)]
        is_apaches = text.startswith("LogFormat")
        string = quoted[0] if quoted and is_apaches else "".join(quoted)
        return _unquoted(string), "escape=json" in text
    return _unquoted(text), False


def _unquoted(string: str) -> str:
    return string.replace('\\"', '"').replace("\\'", "'").replace("\\t", "\t")


def _nginx_pieces(string: str) -> Iterator[Piece]:
    end = 0
    for found in _NGINX.finditer(string):
        if found.start() > end:
            yield Piece(literal=string[end : found.start()])
        end = found.end()
        variable = found[1] or found[2]
        name = NGINX_NAMES.get(variable, "")
        if not name and variable.startswith("http_"):
            name = variable.upper()
        yield Piece(name=name or variable, written=variable)
    if end < len(string):
        yield Piece(literal=string[end:])


def _apache_pieces(string: str) -> Iterator[Piece]:
    end = 0
    for found in _APACHE.finditer(string):
        if "%" in (between := string[end : found.start()]):
            raise ImportFailedError(f"{between!r} in --format is nothing that LogFormat has")
        if between:
            yield Piece(literal=between)
        end = found.end()
        yield _directive(found[0], found[2], found[3])
    if "%" in string[end:]:
        raise ImportFailedError(f"{string[end:]!r} in --format is nothing that LogFormat has")
    if string[end:]:
        yield Piece(literal=string[end:])


def _directive(written: str, argument: str | None, letter: str) -> Piece:
    if letter == "%":
        return Piece(literal="%")
    if letter == "i" and argument:
        return Piece(name=APACHE_HEADERS.get(argument.lower()) or wsgi_name(argument), written=argument)
    if letter == "t" and argument:
        return _apache_time(written, argument)
    if letter == "a" and argument:  # %{c}a: the proxy that asked
        return Piece(name="peer_address", written=written)
    if name := APACHE_NAMES.get(letter):
        return Piece(name=name, written="%t" if letter == "t" else written)
    if letter not in APACHE_PASSED_OVER:
        raise ImportFailedError(f"{written} in --format is nothing that LogFormat has")
    return Piece(name=f"other_{letter}", written=written)


def _apache_time(written: str, argument: str) -> Piece:
    kind = argument.removeprefix("begin:").removeprefix("end:")
    if kind in ("sec", "msec", "usec"):
        return Piece(name="time", written=written)
    # the parts of a second, and a zone of its own, may stand beside a time that is complete to the second
    pattern = STRFTIME.get(kind)
    if pattern is None:
        raise ImportFailedError(
            f"{written} in --format cannot be used: of times %t, %{{sec}}t, %{{msec}}t, %{{usec}}t and"
            f" {', '.join(f'%{{{known}}}t' for known in STRFTIME)} are known"
        )
    name = "time" if "%T" in kind or "%H" in kind else ("fraction" if "frac" in kind else "zone")
    return Piece(name=name, written=f"strftime {kind}")


def _check(pieces: list[Piece]) -> None:
    """Raise ImportFailedError for a string that does not say what a page view needs."""
    names = {piece.name for piece in pieces}
    for needed, example in (
        ({"time"}, "the time (%t, $time_local)"),
        ({"request", "target", "path"}, "the request (%r, $request)"),
        ({"status"}, "the status (%>s, $status)"),
    ):
        if not names & needed:
            raise ImportFailedError(f"the string in --format does not have {example}: no page view can be made of it")


def _pattern(pieces: list[Piece]) -> tuple[str, list[tuple[str, int]]]:
    """The regular expression, and the group of each name: of one that is there twice the first."""
    pattern, groups, count = "", dict[str, int](), 0
    for position, piece in enumerate(pieces):
        if piece.literal:
            pattern += re.escape(piece.literal)
            continue
        before = pieces[position - 1].literal if position else ""
        after = pieces[position + 1] if position + 1 < len(pieces) else Piece()
        value = _value(piece, before, after, is_last=position + 1 == len(pieces))
        count += 1
        pattern += f"({value})"
        groups.setdefault(piece.name, count)
    return pattern, list(groups.items())


def _value(piece: Piece, before: str, after: Piece, *, is_last: bool) -> str:
    if piece.written in PATTERNS or piece.name == "status":
        return PATTERNS.get(piece.written, PATTERNS["status"])
    if piece.written.startswith("strftime "):
        return STRFTIME[piece.written.removeprefix("strftime ")]
    if before.endswith('"') and after.literal.startswith('"'):
        return _IN_QUOTES
    if is_last:
        return r"[^\r]*"
    if not after.literal:
        if piece.name == "path":  # %U%q
            return r"[^\s?\"]*"
        raise ImportFailedError(
            f"In --format nothing is between {piece.written} and {after.written}: where the one ends cannot be told"
        )
    return f"[^{re.escape(after.literal[0])}]*"


def _whole_time(values: Mapping[str, str]) -> str:
    """With the parts of a second, and the offset, that stand beside it."""
    time = values["time"].strip("[]")
    if "fraction" in values:
        time += f".{values['fraction']}"
    return f"{time} {values['zone']}" if "zone" in values else time


def _names(pieces: list[Piece], reading: Reading) -> Names:
    headers = {piece.name: piece.name for piece in pieces if piece.name.startswith("HTTP_")}
    names = replace(NAMES, headers=HeaderNames(named=headers))
    if is_place(reading.address):
        return names
    wanted = reading.address.strip("$").lower().replace("-", "_")
    for piece in pieces:
        if piece.written and wanted in (piece.written.lower().replace("-", "_"), piece.name.lower()):
            return replace(names, address=(piece.name, *names.address))
    raise ImportFailedError(f"--address {reading.address}: the string in --format has nothing of that name")


def _json_format(string: str, pieces: list[Piece], reading: Reading, name: str) -> JsonLines:
    """Of a string that makes an object: the keys whose values are one variable alone."""
    quoted = re.sub(r":\s*(\$\w+|\$\{\w+\}|%[<>]?(?:\{[^}]*\})?[A-Za-z])\s*(?=[,}])", r':"\1"', string)
    try:
        keys = json.loads(quoted)
    except ValueError as error:
        raise ImportFailedError(f"the string in --format makes no JSON object ({error})") from error
    split = _nginx_pieces if name.startswith("nginx") else _apache_pieces
    found: dict[str, tuple[str, ...]] = {}
    headers = {}
    for key, value in _leaves(keys, ""):
        value_pieces = list(split(value))
        if len(value_pieces) != 1 or not value_pieces[0].name:
            continue
        of = value_pieces[0].name
        if of.startswith("HTTP_"):
            headers[of] = key
        for part in ("time", "address", "request", "method", "target", "query", "status", "agent", "referrer", "host"):
            if of in getattr(NAMES, part):
                found[part] = (*found.get(part, ()), key)
    if "time" not in found or "status" not in found:
        raise ImportFailedError("the string in --format has time or status together with other text in one value")
    return JsonLines(reading, f"{name} (JSON)", Names(**found, headers=HeaderNames(named=headers)))


def _leaves(keys: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(keys, dict):
        for key, value in keys.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(keys, str):
        yield path, keys
