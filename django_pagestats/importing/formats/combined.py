"""The common and combined formats of Apache and nginx, which most servers write, with what people add to them."""

from __future__ import annotations

import re

from django_pagestats.importing.formats.base import Format, Parts, Reading, method_and_target, unescaped
from django_pagestats.importing.times import event_time

# Written so that no line takes more than linear time. A user may have a space in it only after "-", or the address of a
# log that begins with the host would be taken for the visitor's.
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_MARK = "(?:\xef\xbb\xbf)?"  # the UTF-8 of a byte order mark, which editors put before a file's first line
_ADDRESS = r"(\S{1,255}(?:, \S{1,255}){0,20}|)"
_WHO_AND_WHEN = r'(?:- [^"]*?|\S+ \S+) \[([0-9][^\]\[]{1,60})\]'
_LINE = re.compile(
    rf"{_MARK}{_ADDRESS} {_WHO_AND_WHEN} {_QUOTED} (\d{{3}}) (?:\d+|-)(?: {_QUOTED} {_QUOTED}(?: .*)?)?\r?"
)

# A line with quotes in it that nobody escaped, piece by piece: each is looked for once, from left to right.
_HEAD = re.compile(rf'{_MARK}{_ADDRESS} {_WHO_AND_WHEN} "')
_STATUS = re.compile(r'" (\d{3}) (?:\d+|-)(?= |\r?\Z)')
_NEXT_FIELD = '" "'
#: a quote and then the end, another field in quotes or brackets, a number, or a name with its value
_AGENT_END = re.compile(r'"(?=\r?\Z| (?:["\d\[{-]|[\w.-]{1,40}=))')

_HOST = re.compile(rf"{_MARK}([A-Za-z0-9_](?:[\w.-]{{0,254}})(?::\d{{1,5}})?|-|_) ")


class Combined(Format):
    """`address ident user [time] "request" status bytes "referrer" "agent"`, and anything after it."""

    name = "combined"

    def __init__(self, reading: Reading) -> None:
        self._zone = reading.time_zone

    def parts(self, line: str) -> Parts | None:
        found = _LINE.fullmatch(line)
        if found is None:
            return self._with_quotes_inside(line)
        address, time, request, status, referrer, agent = found.groups()
        at = event_time(time, self._zone)
        if at is None:
            return None
        method, target = method_and_target(request)
        return Parts(address, at, method, target, status, agent, referrer)

    def sent(self, logged: str) -> bytes:
        return unescaped(logged)

    def is_whole(self, line: str) -> bool:
        """To the closing quote of the agent; a quote after an open bracket or a space may be one inside of it."""
        found = _LINE.fullmatch(line)
        if found is None or found[6] is None:
            return False
        agent: str = found[6]
        return not agent.endswith((" ", "(")) and agent.count("(") <= agent.count(")")

    def _with_quotes_inside(self, line: str) -> Parts | None:
        head = _HEAD.match(line)
        status = _STATUS.search(line, head.end() - 1) if head else None
        if head is None or status is None:
            return None
        at = event_time(head[2], self._zone)
        fields = _referrer_and_agent(line[status.end() :])
        if at is None or fields is None:
            return None
        method, target = method_and_target(line[head.end() : status.start()])
        referrer, agent = fields
        return Parts(head[1], at, method, target, status[1], agent, referrer)


class VirtualHosts(Combined):
    """Apache's vhost_combined: the host, with its port or without, and then the combined format."""

    name = "vhost-combined"

    def parts(self, line: str) -> Parts | None:
        host = _HOST.match(line)
        parts = super().parts(line[host.end() :]) if host else None
        return parts._replace(host=host[1]) if parts and host else None

    def is_whole(self, line: str) -> bool:
        return False  # by its first line, which must be known before, such a log is known by the whole of it


def lasting_of_combined(line: bytes) -> bytes | None:
    """The fields of the combined format, to the closing quote of the user agent: a line that has them can be counted.

    Of a line of the common format nobody knows whether its last number is whole.
    """
    parts = _LINE.fullmatch(line.decode("latin-1"))
    return None if parts is None or parts[6] is None else line[parts.start(1) : parts.end(6) + 1]


def _referrer_and_agent(rest: str) -> tuple[str | None, str | None] | None:
    """What is after the size: nothing in the common format."""
    if rest in ("", "\r"):
        return None, None
    middle = rest.find(_NEXT_FIELD, 2)
    end = _AGENT_END.search(rest, middle + len(_NEXT_FIELD)) if rest.startswith(' "') and middle > 0 else None
    if end is None:
        return None
    return rest[2:middle], rest[middle + len(_NEXT_FIELD) : end.start()]
