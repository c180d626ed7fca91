"""The common and combined log formats of Apache and nginx: one line, one page view or a reason to skip it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from django_pagestats import intake
from django_pagestats.importing.outcomes import Skip
from django_pagestats.importing.streams import MAX_LINE_BYTES
from django_pagestats.importing.visitors import AGENT_MAX_LENGTH, Agents, SessionKeys
from django_pagestats.models import PageView

# Written so that no line takes more than linear time. A user may have a space in it only after "-", or the address of a
# log that begins with the host would be taken for the visitor's.
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_LINE = re.compile(
    r'(\S{1,255}) (?:- [^"]*?|\S+ \S+) '
    r"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rf"{_QUOTED} (\d{{3}}) (?:\d+|-)"
    rf"(?: {_QUOTED} {_QUOTED}(?: .*)?)?\r?"
)
_ESCAPE = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|(["\\abfnrtv]))')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}

_NOT_PAGES = (
    # styles, scripts, fonts
    "css js mjs map wasm swf htc xsl eot otf ttf woff woff2",
    # images
    "apng avif bmp cur gif heic ico jpe jpeg jpg jxl png svg svgz tif tiff webp",
    # sound and film
    "aac avi flac flv m3u8 m4a m4v mid mkv mov mp3 mp4 mpeg mpg oga ogg ogv opus ts wav weba webm wmv vtt",
    # for machines: feeds, robots.txt, sitemaps
    "atom csv json rdf rss txt webmanifest xml yaml yml",
    # documents and downloads
    "7z apk bin bz2 deb dmg doc docx epub exe gem gz img iso jar msi odp ods odt pcap pdf pkg ppt pptx ps pyc rar rpm",
    "tar tgz whl xls xlsx xz zip zst",
)
#: Extensions of what is served with pages or beside them; docs/importing.md lists them.
STATIC_EXTENSIONS = frozenset(" ".join(_NOT_PAGES).split())

#: Targets that are remembered: longer ones, and more of them, would take too much memory.
_REMEMBERED_TARGETS, _REMEMBERED_LENGTH = 20_000, 512


class AccessLog:
    """Reads the lines of one log."""

    def __init__(self, secret: bytes) -> None:
        self._agents = Agents()
        self._session_keys = SessionKeys(secret)
        self._remembered_page = lru_cache(maxsize=_REMEMBERED_TARGETS)(page)
        self._remembered_time = lru_cache(maxsize=1_000)(event_time)

    def page_view(self, line: str) -> PageView | Skip:
        """The unsaved page view of a line (its bytes as Latin-1, without the newline), or why it is none."""
        parts = _LINE.fullmatch(line) if len(line) <= MAX_LINE_BYTES else None
        if parts is None:
            return Skip.MALFORMED
        address, time, request, status, _referrer, agent = parts.groups()
        viewed_at = self._remembered_time(time)
        if viewed_at is None:
            return Skip.MALFORMED
        if not request.startswith("GET "):
            return Skip.METHOD
        if status[0] != "2" and status != "304":
            return Skip.STATUS
        target = _target(request)
        path = self._remembered_page(target) if len(target) <= _REMEMBERED_LENGTH else page(target)
        if isinstance(path, Skip):
            return path
        session_key = self._session_key(address, agent)
        return Skip.ROBOT if session_key is None else PageView(None, path, session_key, viewed_at)

    def _session_key(self, address: str, logged_agent: str | None) -> str | None:
        """None for a robot. The common format has no user agent: there, nobody can be told to be one."""
        if logged_agent is None:
            return self._session_keys.key(address, "")
        if len(logged_agent) > 4 * AGENT_MAX_LENGTH:  # an escape takes 4 characters
            return None
        agent = unescaped(logged_agent).decode(errors="replace")
        return None if self._agents.is_robot(agent) else self._session_keys.key(address, agent)


def _target(request: str) -> str:
    """What is between the method and the protocol, which HTTP/0.9 does not have."""
    rest = request[4:]
    target, space, protocol = rest.rpartition(" ")
    return target if space and protocol.startswith("HTTP/") else rest


def unescaped(logged: str) -> bytes:
    r"""The bytes that the server was sent: it logs quotes, backslashes and unprintable bytes as \", \\, \n and \xHH."""
    if "\\" in logged:
        logged = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPED[found[2]], logged)
    return logged.encode("latin-1")


def page(target: str) -> str | Skip:
    """The normalised path of a logged request target, or why it is no page."""
    try:
        path = intake.path_of_target(unescaped(target))
    except intake.RefusedError:
        return Skip.INVALID_PATH
    _name, dot, extension = path.rpartition("/")[2].rpartition(".")
    return Skip.STATIC_FILE if dot and extension.lower() in STATIC_EXTENSIONS else path


def event_time(text: str) -> datetime | None:
    """The instant, in UTC, of e.g. "17/May/2015:10:05:03 +0000"; None if there is none, or none that can be stored."""
    hours, minutes, seconds = int(text[12:14]), int(text[15:17]), int(text[18:20])
    offset = timedelta(hours=int(text[22:24]), minutes=int(text[24:26]))
    try:
        day = datetime(int(text[7:11]), _MONTHS[text[3:6]], int(text[:2]), tzinfo=timezone.utc)
        local = day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
        utc = local + offset if text[21] == "-" else local - offset
        in_range = hours < 24 and minutes < 60 and seconds <= 60  # servers may log a leap second
        return intake.check_time(utc) if in_range else None
    except (KeyError, OverflowError, ValueError):
        return None
