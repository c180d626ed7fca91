"""W3C extended logs, whose #Fields say what is in each line: IIS, CloudFront; CloudFront's JSON has the same names."""

from __future__ import annotations

from dataclasses import replace
from datetime import timezone
from urllib.parse import unquote_to_bytes

from django_pagestats.importing.formats.base import Format, Parts, Reading
from django_pagestats.importing.formats.fields import HeaderNames, Names
from django_pagestats.importing.formats.json_lines import JsonLines

_FIELDS = "#Fields:"
_DIRECTIVES = ("#Version:", _FIELDS, "#Software:", "#Date:", "#Start-Date:", "#End-Date:", "#Remark:")
_MARK = "\xef\xbb\xbf"
#: only CloudFront has it, which escapes by percent signs where IIS has "+" for a space
_CLOUDFRONTS = "x-edge-location"

NAMES = Names(
    time=("date", "time"),
    address=("c-ip",),
    method=("cs-method",),
    target=("cs-uri-stem", "cs-uri"),
    query=("cs-uri-query",),
    status=("sc-status",),
    agent=("cs(User-Agent)",),
    referrer=("cs(Referer)",),
    host=("x-host-header", "cs-host", "cs(Host)"),
    content_type=("sc-content-type",),
    headers=HeaderNames(prefix="cs(", suffix=")"),
)


def is_directive(line: str) -> bool:
    """Whether a line is about a W3C log."""
    return line.removeprefix(_MARK).startswith(_DIRECTIVES)


class W3C(Format):
    """Fields by the last #Fields before a line; times are UTC."""

    name = "w3c"
    has_names, has_places = True, False

    def __init__(self, reading: Reading) -> None:
        self._names = NAMES.with_address(reading.address)
        self._columns: dict[str, int] = {}
        self._headers: list[tuple[str, int]] = []
        self._is_cloudfronts = False

    def parts(self, line: str) -> Parts | None:
        if is_directive(line):
            self._learn(line)
            return None
        if line.startswith("#") or not self._columns:
            return None
        values = line.rstrip("\r").split("\t" if "\t" in line else " ")
        if len(values) < len(self._columns):
            return None
        columns = self._columns

        def look(name: str) -> str | None:
            return values[columns[name]] if name in columns else None

        headers = {name: value for name, at in self._headers if (value := values[at]) not in ("", "-")}
        return self._names.parts(look, zone=timezone.utc, has=columns.__contains__, headers=headers)

    def is_comment(self, line: str) -> bool:
        return is_directive(line)

    def sent(self, logged: str) -> bytes:
        if not self._is_cloudfronts:
            return logged.replace("+", " ").encode("latin-1", "replace")
        # twice: the space of an agent was "%2520" in the logs of some years
        return unquote_to_bytes(unquote_to_bytes(logged.encode("latin-1", "replace")))

    def sent_target(self, logged: str) -> bytes:
        if not self._is_cloudfronts:  # IIS decodes a path, and then writes "+" for a space
            stem, mark, query = logged.partition("?")
            logged = stem.replace("+", "%20") + mark + query
        return logged.encode("latin-1", "replace")

    def pass_over(self, lines: bytes) -> None:
        start = lines.rfind(b"\n" + _FIELDS.encode()) + 1
        if start or lines.removeprefix(_MARK.encode("latin-1")).startswith(_FIELDS.encode()):
            self._learn(lines[start:].partition(b"\n")[0].decode("latin-1"))

    def _learn(self, line: str) -> None:
        line = line.removeprefix(_MARK)
        if line.startswith(_FIELDS):
            names = line[len(_FIELDS) :].split()
            self._columns = {name: position for position, name in enumerate(names)}
            known = ((self._names.headers.wsgi_name(name), position) for position, name in enumerate(names))
            self._headers = [(name, position) for name, position in known if name]
            self._is_cloudfronts = _CLOUDFRONTS in self._columns
            self.name = "w3c (CloudFront)" if self._is_cloudfronts else "w3c"


class CloudFrontJson(JsonLines):
    """CloudFront's standard logging v2 as JSON."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(replace(reading, time_zone=timezone.utc), "cloudfront-v2", NAMES)

    def sent(self, logged: str) -> bytes:
        return unquote_to_bytes(unquote_to_bytes(super().sent(logged)))

    def sent_target(self, logged: str) -> bytes:
        return super().sent(logged)
