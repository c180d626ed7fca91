"""Logs of load balancers: AWS (application and classic), HAProxy."""

from __future__ import annotations

import re

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.formats.base import Format, Parts, Reading, method_and_target, unescaped
from django_pagestats.importing.times import event_time, has_no_offset

_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_AWS = re.compile(
    r"(?:(?:https?|h2|wss?|grpcs?) )?(\d{4}-\d\d-\d\dT[\d:.]{8,18}Z) \S+ (\S+) \S+ \S+ \S+ \S+ (\d{3}|-) \S+ \d+ \d+ "
    rf"{_QUOTED} {_QUOTED}(?: .*)?\r?"
)

_HAPROXY = re.compile(
    r"(\S{2,64}) \[(\d\d/[A-Z][a-z]{2}/\d{4}:[\d:]{8}(?:\.\d{1,6})?)\] \S+ \S+ [-+\d/]+ (\d{3}|-1) \+?\d+ \S+ \S+ "
    r"\S{4} [+\d/]+ [\d/]+ (?:\{([^}]*)\} )?(?:\{[^}]*\} )?\"([^\"]*)\"?\r?"
)
_HOST = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,10}[A-Za-z]{2,63}(?::\d{1,5})?|localhost(?::\d{1,5})?")


class AwsBalancer(Format):
    """AWS ALB, and the classic ELB; the time is that of the answer."""

    name = "aws-alb"

    def __init__(self, reading: Reading) -> None:
        pass

    def parts(self, line: str) -> Parts | None:
        found = _AWS.fullmatch(line)
        at = event_time(found[1]) if found else None
        if found is None or at is None:
            return None
        method, target = method_and_target(found[4])
        return Parts(found[2], at, method, target, found[3], agent=found[5])

    def sent(self, logged: str) -> bytes:
        return unescaped(logged)


class HaProxy(Format):
    """HAProxy's HTTP format (option httplog); what it captures of requests is taken for what it looks like."""

    name = "haproxy"

    def __init__(self, reading: Reading) -> None:
        self._zone = reading.time_zone

    def parts(self, line: str) -> Parts | None:
        found = _HAPROXY.fullmatch(line)
        if found is None:
            return None
        if self._zone is None and has_no_offset(found[2]):
            raise ImportFailedError(
                "This is a log of HAProxy, whose times do not say of which zone they are: give --time-zone, such as"
                " Europe/Berlin"
            )
        at = event_time(found[2], self._zone)
        if at is None:
            return None
        method, target = method_and_target(found[5])
        agent, host, referrer = _captured(found[4])
        return Parts(found[1], at, method, target, found[3], agent, referrer, host)


def _captured(text: str | None) -> tuple[str | None, str, str | None]:
    """Agent, host and referrer, of "www.example.org|Mozilla/5.0 ..": which is which the log does not say."""
    agent, host, referrer = None, "", None
    for value in (text or "").split("|")[:20]:
        if value.startswith(("http://", "https://")):
            referrer = value
        elif _HOST.fullmatch(value):
            host = host or value
        elif "/" in value and agent is None:
            agent = value
    return agent, host, referrer
