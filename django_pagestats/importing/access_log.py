"""The common and combined log formats of Apache and nginx: one line, one page view or a reason to skip it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from django_pagestats import intake
from django_pagestats.headers.robots import AGENT_MAX_LENGTH, is_robot
from django_pagestats.importing.outcomes import Skip
from django_pagestats.importing.streams import MAX_LINE_BYTES
from django_pagestats.importing.visitors import SessionKeys

# Written so that no line takes more than linear time. A user may have a space in it only after "-", or the address of a
# log that begins with the host would be taken for the visitor's.
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_LINE = re.compile(
    "(?:\xef\xbb\xbf)?"  # the UTF-8 of a byte order mark, which editors put before a file's first line
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

#: What is remembered of a log, as its lines repeat: longer values, and more of them, would take too much memory.
_REMEMBERED = 10_000
_REMEMBERED_LENGTH = 512
#: A leap second, which servers may log, is taken for the second before it.
#: no zone is further from UTC
MOST_HOURS_AHEAD = 14
_SECONDS = {f"{second:02}": timedelta(seconds=min(second, 59)) for second in range(61)}


class AccessLog:
    """Reads the lines of one log."""

    def __init__(self, secret: bytes) -> None:
        self._session_keys = SessionKeys(secret)
        self._session_key = lru_cache(maxsize=_REMEMBERED)(self._any_session_key)
        self._page = lru_cache(maxsize=_REMEMBERED)(page)

    def page_view(self, line: str) -> intake.Row | Skip:
        """The page view of a line (its bytes as Latin-1, without the newline), or why it is none."""
        parts = _LINE.fullmatch(line) if len(line) <= MAX_LINE_BYTES else None
        if parts is None:
            return Skip.MALFORMED
        address, time, request, status, _referrer, agent = parts.groups()
        viewed_at = event_time(time)
        if viewed_at is None:
            return Skip.MALFORMED
        if not request.startswith("GET "):
            return Skip.METHOD
        if status[0] != "2" and status != "304":
            return Skip.STATUS
        target = _target(request)
        path = self._page(target) if len(target) <= _REMEMBERED_LENGTH else page(target)
        if isinstance(path, Skip):
            return path
        # an escape takes four characters, and a character has at most four bytes
        is_too_long = agent is not None and len(agent) > 16 * AGENT_MAX_LENGTH
        session_key = None if is_too_long else self._session_key(address, agent)
        return Skip.ROBOT if session_key is None else intake.Row(path, session_key, viewed_at)

    def _any_session_key(self, address: str, logged_agent: str | None) -> str | None:
        """None for a robot. The common format has no user agent: there, nobody can be told to be one."""
        if logged_agent is None:
            return self._session_keys.key(address, "")
        agent = unescaped(logged_agent).decode(errors="replace")
        return None if is_robot(agent) else self._session_keys.key(address, agent)


def lasting(line: bytes) -> bytes | None:
    """What stays as it is of a line without a newline, however much is still written to it; None: that is not known.

    The fields of the combined format, to the closing quote of the user agent: a line that has them can be counted. Of a
    line of the common format nobody knows whether its last number is whole.
    """
    parts = _LINE.fullmatch(line.decode("latin-1"))
    return None if parts is None or parts[6] is None else line[parts.start(1) : parts.end(6) + 1]


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
    minute, second = _minute(text[:17], text[20:]), _SECONDS.get(text[18:20])
    return None if minute is None or second is None else minute + second


@lru_cache(maxsize=1_000)
def _minute(local: str, offset: str) -> datetime | None:
    """The beginning of e.g. "17/May/2015:10:05", " +0000"."""
    hours, minutes = int(offset[2:4]), int(offset[4:])
    if hours > MOST_HOURS_AHEAD or minutes > 59:
        return None
    ahead = timedelta(hours=hours, minutes=minutes)
    try:
        minute = datetime(
            int(local[7:11]),
            _MONTHS[local[3:6]],
            int(local[:2]),
            int(local[12:14]),
            int(local[15:]),
            tzinfo=timezone.utc,
        )
        return intake.check_time(minute + ahead if offset[1] == "-" else minute - ahead)
    except (KeyError, OverflowError, ValueError):
        return None
