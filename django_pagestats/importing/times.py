"""The times of logs: as Apache and nginx write them, ISO 8601, and numbers since the epoch; all as instants in UTC."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from django_pagestats import intake

#: no zone is further from UTC
MOST_HOURS_AHEAD = 14
#: A leap second, which servers may log, is taken for the second before it.
_SECONDS = {f"{second:02}": timedelta(seconds=min(second, 59)) for second in range(61)}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_MINUTE = re.compile(r"([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2})")
_ISO_MINUTE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})")
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
#: minute, second, fraction, offset
_TIME = re.compile(
    r"([0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2})"
    r":([0-9]{2})(?:[.,]([0-9]{1,9}))? ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2})?"
)
_NUMBER = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?")
#: how many nanoseconds a unit has, and from which number on it is that: seconds have eleven digits at the most
_UNITS = ((1, 10**17), (1_000, 10**14), (1_000_000, 10**11), (1_000_000_000, 0))
#: the seconds of the last year that can be stored and then some, so that no number overflows
_MOST_MICROSECONDS = 10_000_000_000 * 1_000_000


def event_time(text: str, zone: tzinfo | None = None) -> datetime | None:
    """The instant of e.g. "17/May/2015:10:05:03 +0000" or "2015-05-17T10:05:03.5Z".

    `zone` is that of times without an offset. None if there is no such time, or none that can be stored.
    """
    if len(text) == 26 and text[17] == ":" and text[20] == " ":  # as nearly all logs have it
        minute, second = _minute(text[:17], text[21:], None), _SECONDS.get(text[18:20])
        return None if minute is None or second is None else minute + second
    return _other_time(text, zone)


def has_no_offset(text: str) -> bool:
    """Whether it is a time that only the one who knows its zone can place."""
    found = _TIME.fullmatch(text)
    return found is not None and found[4] is None


def unix_time(value: object) -> datetime | None:
    """The instant of a number since the epoch, also as text: of seconds, or thousandths, and so on to nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    found = _NUMBER.fullmatch(f"{value:.6f}" if isinstance(value, float) else str(value)[:30])
    if found is None:
        return None
    whole = int(found[1])
    for nanoseconds, least in _UNITS:
        if whole >= least:
            microseconds = whole * nanoseconds // 1_000
            break
    if nanoseconds == 1_000_000_000:
        microseconds += int((found[2] or "").ljust(6, "0")[:6])
    return _stored(_EPOCH + timedelta(microseconds=microseconds)) if microseconds < _MOST_MICROSECONDS else None


def logged_time(value: object, zone: tzinfo | None = None) -> datetime | None:
    """The instant of whatever a log has for it: one of the texts above, or a number."""
    if isinstance(value, str) and (at := event_time(value, zone)) is not None:
        return at
    return unix_time(value)


def _other_time(text: str, zone: tzinfo | None) -> datetime | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    minute, second = _minute(found[1], found[4] or "", None if found[4] else zone), _SECONDS.get(found[2])
    if minute is None or second is None:
        return None
    return minute + second + timedelta(microseconds=int(found[3].ljust(6, "0")[:6])) if found[3] else minute + second


@lru_cache(maxsize=1_000)
def _minute(local: str, offset: str, zone: tzinfo | None) -> datetime | None:
    """The beginning of e.g. "17/May/2015:10:05" with "+0000", or without an offset in a zone."""
    ahead = _ahead(offset)
    numbers = _numbers(local)
    if numbers is None or (ahead is None and zone is None):
        return None
    try:
        minute = datetime(*numbers, tzinfo=timezone.utc)
        if ahead is None:
            return _stored(minute.replace(tzinfo=zone))
        return _stored(minute - ahead)
    except (OverflowError, ValueError):
        return None


def _numbers(local: str) -> tuple[int, int, int, int, int] | None:
    if (found := _MINUTE.fullmatch(local)) and found[2] in _MONTHS:
        return int(found[3]), _MONTHS[found[2]], int(found[1]), int(found[4]), int(found[5])
    if found := _ISO_MINUTE.fullmatch(local):
        return int(found[1]), int(found[2]), int(found[3]), int(found[4]), int(found[5])
    return None


def _ahead(offset: str) -> timedelta | None:
    if offset in ("Z", "UTC"):
        return timedelta(0)
    found = _OFFSET.fullmatch(offset)
    if found is None or int(found[2]) > MOST_HOURS_AHEAD or int(found[3]) > 59:
        return None
    ahead = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return -ahead if found[1] == "-" else ahead


def _stored(at: datetime) -> datetime | None:
    try:
        return intake.check_time(at)
    except ValueError:
        return None
