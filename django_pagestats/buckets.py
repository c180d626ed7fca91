"""Which bucket a page view falls in, and which instants a bucket covers.

A bucket is an integer. DAY: the local calendar date as days since 1970-01-01. HOUR: `floor((t + utcoffset mod 3600) /
3600)`, with t in seconds since the epoch, so that an hour begins when local clocks show :00, in zones with :30 and :45
offsets too. ALL: 0 or 1, the number of the version that answers (folding.all_time). Only Python's zoneinfo is asked;
SQL never sees the name of a zone.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

HOUR_SECONDS = 3_600
DAY_SECONDS = 86_400
#: changes of a zone's offset are looked for in such steps (since 1970 the nearest two were six days apart), a block at
#: a time, within the years that Python has
STEP_SECONDS = 6 * DAY_SECONDS
BLOCK_SECONDS = 61 * STEP_SECONDS
#: UTC days before 1970, when changes were nearer to each other than that
CLOSE_DAYS = range(-1_000_000, 0)
FIRST_SECOND, LAST_SECOND = -119_860 * STEP_SECONDS, 488_816 * STEP_SECONDS
EPOCH = date(1970, 1, 1)
EPOCH_INSTANT = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Dimension(enum.IntEnum):
    """What is counted."""

    SITE = 1  #: the whole site; its subject is 0
    PAGE = 2  #: one path


class Granularity(enum.IntEnum):
    """The time that one aggregate row covers."""

    HOUR = 1  #: a local hour, of the site only
    DAY = 2  #: a local calendar date
    ALL = 3  #: all time


def day_number(day: date) -> int:
    return (day - EPOCH).days


def day_date(number: int) -> date:
    return EPOCH + timedelta(days=number)


def epoch_seconds(instant: datetime) -> int:
    """Whole seconds since the epoch, rounded down, of an aware datetime."""
    return (instant - EPOCH_INSTANT) // timedelta(seconds=1)


def instant(seconds: int) -> datetime:
    """The aware UTC datetime so many seconds after the epoch."""
    return EPOCH_INSTANT + timedelta(seconds=seconds)


class Calendar:
    """The local days and hours of one time zone."""

    #: UTC days whose offset is remembered; 50 years, about 3 MB.
    CACHE_SIZE = 18_250

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self._offsets: dict[int, int | None] = {}
        self._blocks: dict[int, list[tuple[int, int]]] = {}

    def offset(self, seconds: int) -> int:
        """Seconds that local time is ahead of UTC at this instant."""
        local = datetime.fromtimestamp(seconds, self.zone).utcoffset()
        assert local is not None  # noqa: S101 - a ZoneInfo always knows its offset
        return local // timedelta(seconds=1)

    def offsets(self, start: int, end: int) -> list[tuple[int, int]]:
        """The offset at `start`, and each other one that begins before `end`, with the second in which it does.

        What decides in which buckets these seconds fall; calendars that agree on it cut them alike.
        """
        blocks = map(self._block, range(start // BLOCK_SECONDS, end // BLOCK_SECONDS + 1))
        changes = (change for block in blocks for change in block if start < change[0] < end)
        return [(start, self.offset(start)), *changes]

    def _block(self, block: int) -> list[tuple[int, int]]:
        """The changes of a block, remembered."""
        if block not in self._blocks:
            start, end = block * BLOCK_SECONDS, (block + 1) * BLOCK_SECONDS
            segments = _offset_segments(self, max(start, FIRST_SECOND), min(end, LAST_SECOND), STEP_SECONDS)
            self._blocks[block] = [(begun, offset) for begun, _, offset in segments][1:]
        return self._blocks[block]

    def day_offset(self, utc_day: int) -> int | None:
        """The offset all through this UTC day, or None if it changes within it."""
        try:
            return self._offsets[utc_day]
        except KeyError:
            if len(self._offsets) >= self.CACHE_SIZE:
                self._offsets.clear()
            start, end = utc_day * DAY_SECONDS, (utc_day + 1) * DAY_SECONDS
            if utc_day in CLOSE_DAYS:
                seen = {self.offset(t) for t in range(start, end + 1, HOUR_SECONDS)}
                found = seen.pop() if len(seen) == 1 else None
            else:
                changes = self._block(start // BLOCK_SECONDS)
                found = None if any(start < at < end for at, _ in changes) else self.offset(start)
            self._offsets[utc_day] = found
            return found

    def day_and_hour(self, seconds: int) -> tuple[int, int]:
        """The DAY and the HOUR bucket of an instant."""
        offset = self.day_offset(seconds // DAY_SECONDS)
        if offset is None:
            offset = self.offset(seconds)
        return (seconds + offset) // DAY_SECONDS, (seconds + offset % HOUR_SECONDS) // HOUR_SECONDS

    def constant_interval(self, seconds: int) -> tuple[int, int]:
        """A half-open interval around an instant, in seconds, that lies in one DAY and one HOUR bucket."""
        utc_day = seconds // DAY_SECONDS
        offset = self.day_offset(utc_day)
        if offset is None:
            return seconds, seconds + 1  # clocks change on this day
        begin = seconds - (seconds + offset) % HOUR_SECONDS
        return max(begin, utc_day * DAY_SECONDS), min(begin + HOUR_SECONDS, (utc_day + 1) * DAY_SECONDS)

    def day(self, seconds: int) -> int:
        return self.day_and_hour(seconds)[0]

    def hour(self, seconds: int) -> int:
        return self.day_and_hour(seconds)[1]

    def day_intervals(self, day: int) -> tuple[tuple[int, int], ...]:
        """The half-open UTC intervals, in seconds, that make up a local day.

        Usually one; none for a date that the zone left out (Samoa, 30 December 2011); two where clocks were set back
        over midnight.
        """
        return _day_intervals(self.zone.key, day)

    def day_start(self, day: int) -> int:
        """The first instant of a local day, or of the next one that exists."""
        while not (intervals := self.day_intervals(day)):
            day += 1
        return intervals[0][0]

    def begins_day(self, seconds: int) -> bool:
        return self.day_start(self.day(seconds)) == seconds

    def begins_hour(self, seconds: int) -> bool:
        """Whether an HOUR bucket begins here and the one before ends here."""
        return self.hour(seconds - 1) < self.hour(seconds)

    def hour_start(self, hour: int) -> int:
        """The first instant of an HOUR bucket."""
        first, last = (hour - 1) * HOUR_SECONDS, (hour + 1) * HOUR_SECONDS
        while first < last:  # the buckets never go back in time: bisect
            middle = (first + last) // 2
            if self.hour(middle) < hour:
                first = middle + 1
            else:
                last = middle
        return first


@lru_cache(maxsize=4_096)
def _calendar(zone: str) -> Calendar:
    return Calendar(zone)


@lru_cache(maxsize=4_096)
def _day_intervals(zone: str, day: int) -> tuple[tuple[int, int], ...]:
    calendar = _calendar(zone)
    found: list[tuple[int, int]] = []
    margin = DAY_SECONDS + 4 * HOUR_SECONDS  # no zone is further from UTC, dates of Samoa's jump included
    for start, end, offset in _offset_segments(calendar, day * DAY_SECONDS - margin, (day + 1) * DAY_SECONDS + margin):
        low, high = max(start, day * DAY_SECONDS - offset), min(end, (day + 1) * DAY_SECONDS - offset)
        if low >= high:
            continue
        if found and found[-1][1] == low:
            found[-1] = found[-1][0], high
        else:
            found.append((low, high))
    return tuple(found)


def _offset_segments(
    calendar: Calendar, start: int, end: int, step: int = HOUR_SECONDS
) -> Iterator[tuple[int, int, int]]:
    """Cut [start, end) where the offset changes; yields (start, end, offset).

    Two changes that are nearer to each other than a step may be taken for none.
    """
    begun, offset = start, calendar.offset(start)
    for tick in range(start + step, end + step, step):
        if calendar.offset(tick) == offset:
            continue
        low, high = tick - step, tick
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if calendar.offset(middle) == offset else (low, middle)
        yield begun, high, offset
        begun, offset = high, calendar.offset(high)
    yield begun, end, offset
