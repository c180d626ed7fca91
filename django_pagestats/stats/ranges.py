"""A range `[start, end)` as buckets, and buckets as intervals of UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

from django_pagestats.buckets import HOUR_SECONDS, Calendar, Granularity, day_date, day_number, epoch_seconds, instant
from django_pagestats.exceptions import ArgumentError

Bound = date | datetime | None
#: seconds since the epoch, half-open; None: no bound on this side
Interval = tuple[int | None, int | None]

#: beyond these days no instant can be computed; page views are of 1970 to 2199
FIRST_DAY = day_number(date(2, 1, 1))
LAST_DAY = day_number(date(9998, 1, 1))
#: clocks set back over midnight mix neighbouring days, never days this far from each other
MARGIN_DAYS = 3


@dataclass(frozen=True, slots=True)
class Span:
    """The buckets `low <= bucket < high` of one granularity; None: no bound on this side."""

    granularity: Granularity
    low: int | None = None
    high: int | None = None

    @property
    def is_empty(self) -> bool:
        return self.low is not None and self.high is not None and self.low >= self.high

    @property
    def is_all_time(self) -> bool:
        return self.granularity == Granularity.ALL

    def __contains__(self, bucket: int) -> bool:
        return (self.low is None or bucket >= self.low) and (self.high is None or bucket < self.high)

    def buckets(self, limit: int) -> range | None:
        """All buckets, or None where there may be more than `limit`."""
        if self.low is None or self.high is None or self.high - self.low > limit:
            return None
        return range(self.low, self.high)


#: all time, by rows of all time or, where these are far behind, by all rows of days
EVERYTHING = Span(Granularity.ALL)
ALL_DAYS = Span(Granularity.DAY)


class Segment(NamedTuple):
    """A part of a bucket that is one interval: `start <= t < end`, in seconds since the epoch."""

    start: int
    end: int
    bucket: int


@lru_cache(maxsize=8)
def calendar_of(zone: str) -> Calendar:
    """The calendar of a zone, with what it remembers of offsets."""
    return Calendar(zone)


# -- from a range to buckets


def page_span(start: Bound, end: Bound, calendar: Callable[[], Calendar]) -> Span:
    """The days of a range, for paths; raises ValueError for anything but whole local days."""
    if start is None and end is None:
        return EVERYTHING
    low, high = _day("start", start, calendar), _day("end", end, calendar)
    return _ordered(Granularity.DAY, low, high, start, end)


def site_span(start: Bound, end: Bound, calendar: Callable[[], Calendar]) -> Span:
    """The days of a range if it has whole days, else its hours; raises ValueError for anything else."""
    if _is_day("start", start, calendar) and _is_day("end", end, calendar):
        return page_span(start, end, calendar)
    return hour_span(start, end, calendar)


def hour_span(start: Bound, end: Bound, calendar: Callable[[], Calendar]) -> Span:
    """The hours of a range; raises ValueError for anything but whole local hours."""
    low, high = _hour("start", start, calendar), _hour("end", end, calendar)
    return _ordered(Granularity.HOUR, low, high, start, end)


def series_span(start: Bound, end: Bound, calendar: Callable[[], Calendar]) -> Span:
    """The hours of a range for a series, whose instants must be computable."""
    for name, bound in (("start", start), ("end", end)):
        is_date = isinstance(bound, date) and not isinstance(bound, datetime)
        if is_date and not FIRST_DAY <= _day_of_date(name, bound) <= LAST_DAY:
            raise ArgumentError(f"{name}={shown(bound)} is out of range: a date from year 2 to 9997 would do.", name)
    return hour_span(start, end, calendar)


def _ordered(granularity: Granularity, low: int | None, high: int | None, start: Bound, end: Bound) -> Span:
    if low is not None and high is not None and low > high:
        raise ArgumentError(f"start={shown(start)} is after end={shown(end)}: a range is [start, end).", "start")
    return Span(granularity, low, high)


def _is_day(name: str, bound: Bound, calendar: Callable[[], Calendar]) -> bool:
    if not isinstance(bound, datetime):
        return True  # what is no date either is complained of later
    _check_instant(name, bound)
    return not bound.microsecond and calendar().begins_day(epoch_seconds(bound))


def _day(name: str, bound: Bound, calendar: Callable[[], Calendar]) -> int | None:
    if bound is None:
        return None
    if not isinstance(bound, datetime):
        return _day_of_date(name, bound)
    _check_instant(name, bound)
    seconds, days = epoch_seconds(bound), calendar()
    day = days.day(seconds)
    if bound.microsecond or not days.begins_day(seconds):
        raise ArgumentError(
            f"{name}={shown(bound)} is not the beginning of a day in {days.zone.key}: {_either(name, day, day + 1)}",
            name,
        )
    return day


def _hour(name: str, bound: Bound, calendar: Callable[[], Calendar]) -> int | None:
    if bound is None:
        return None
    hours = calendar()
    if isinstance(bound, datetime):
        _check_instant(name, bound)
        seconds, fraction = epoch_seconds(bound), bound.microsecond
    else:
        day = min(max(_day_of_date(name, bound), FIRST_DAY), LAST_DAY)
        seconds, fraction = hours.day_start(day), 0
    hour = hours.hour(seconds)
    if fraction or not hours.begins_hour(seconds):
        before, after = (instant(hours.hour_start(near)).astimezone(hours.zone) for near in (hour, hour + 1))
        raise ArgumentError(
            f"{name}={shown(bound)} is not the beginning of an hour in {hours.zone.key}:"
            f" {shown(before)} or {shown(after)} would do.",
            name,
        )
    return hour


def _either(name: str, day: int, following: int) -> str:
    return f"{name}={shown(day_date(day))} or {name}={shown(day_date(following))} would do."


def _day_of_date(name: str, bound: object) -> int:
    if not isinstance(bound, date):
        raise ArgumentError(f"{name}={bound!r} is no range bound: a date or an aware datetime would do.", name)
    return day_number(bound)


def _check_instant(name: str, bound: datetime) -> None:
    if bound.utcoffset() is None:
        raise ArgumentError(
            f"{name}={bound!r} is naive: a date, or an aware datetime (django.utils.timezone.make_aware) would do.",
            name,
        )
    if not 1 < bound.year < 9_999:
        raise ArgumentError(f"{name}={shown(bound)} is out of range: a date, or an open range, would do.", name)


def shown(bound: object) -> str:
    """A bound as an error shows it."""
    return bound.isoformat() if isinstance(bound, date) else repr(bound)


# -- hours as days


def by_days(span: Span, calendar: Calendar) -> list[Span]:
    """A span of hours as hours, whole days and hours again: of these there are far fewer sets.

    It stays as it is where its first or last midnight is within an hour, or comes twice.
    """
    low = None if span.low is None else calendar.day(hour_start(span.low, calendar) - 1) + 1
    high = None if span.high is None else calendar.day(hour_start(span.high, calendar))
    edges = [day for day in (low, high) if day is not None]
    days = Span(Granularity.DAY, low, high)
    if days.is_empty or not all(_is_parted(day, calendar) for day in edges):
        return [span]
    midnights = [calendar.hour(calendar.day_start(day)) for day in edges]
    before = [] if low is None else [Span(Granularity.HOUR, span.low, midnights[0])]
    after = [] if high is None else [Span(Granularity.HOUR, midnights[-1], span.high)]
    return [part for part in (*before, days, *after) if not part.is_empty]


def _is_parted(day: int, calendar: Calendar) -> bool:
    """Whether a day begins with an hour, when all days before are over."""
    start, before = calendar.day_start(day), calendar.day_intervals(day - 1)
    return calendar.begins_hour(start) and (not before or before[-1][1] <= start)


# -- from buckets to instants


def existing_buckets(span: Span, calendar: Calendar) -> Iterator[tuple[int, date | datetime]]:
    """Each bucket of a closed span with its beginning, without dates and hours that the zone left out."""
    assert span.low is not None and span.high is not None  # noqa: S101 - callers close it
    for bucket in range(span.low, span.high):
        if span.granularity == Granularity.HOUR:
            start = hour_start(bucket, calendar)
            if calendar.hour(start) == bucket:
                yield bucket, instant(start)
        elif day_exists(bucket, calendar):
            yield bucket, day_date(bucket)


def day_exists(day: int, calendar: Calendar) -> bool:
    """Whether the zone has this date: Samoa left out 30 December 2011."""
    if not FIRST_DAY <= day <= LAST_DAY:
        return True
    noon = day * 86_400 + 43_200
    return calendar.day(noon - calendar.offset(noon)) == day or bool(calendar.day_intervals(day))


def hour_start(hour: int, calendar: Calendar) -> int:
    """`calendar.hour_start()`, without its search where no clock changes."""
    guess = hour * HOUR_SECONDS - calendar.offset(hour * HOUR_SECONDS) % HOUR_SECONDS
    if calendar.hour(guess) == hour and calendar.begins_hour(guess):
        return guess
    return calendar.hour_start(hour)


def segments(buckets: Sequence[int], granularity: Granularity, calendar: Calendar) -> list[Segment]:
    """The intervals that make up these buckets, in order of time."""
    if granularity == Granularity.HOUR:
        found = [Segment(hour_start(hour, calendar), hour_start(hour + 1, calendar), hour) for hour in buckets]
    else:
        found = [Segment(start, end, day) for day in buckets for start, end in calendar.day_intervals(day)]
    return sorted(segment for segment in found if segment.start < segment.end)


def intervals(span: Span, calendar: Calendar) -> list[Interval]:
    """The UTC intervals of a span, few however long it is."""
    if span.is_all_time:
        return [(None, None)]
    if span.granularity == Granularity.HOUR:
        low, high = (None if hour is None else hour_start(hour, calendar) for hour in (span.low, span.high))
        return [(low, high)]
    return _day_intervals(span, calendar)


def _day_intervals(span: Span, calendar: Calendar) -> list[Interval]:
    low = None if span.low is None or span.low < FIRST_DAY else min(span.low, LAST_DAY)
    high = None if span.high is None or span.high > LAST_DAY else max(span.high, FIRST_DAY)
    edges: set[int] = set()
    if low is not None:
        edges.update(range(low, low + MARGIN_DAYS))
    if high is not None:
        edges.update(range(high - MARGIN_DAYS, high))
    days = Span(Granularity.DAY, low, high)
    found: list[Interval] = [interval for day in edges if day in days for interval in calendar.day_intervals(day)]
    if low is None or high is None or low + MARGIN_DAYS < high - MARGIN_DAYS:
        start = None if low is None else calendar.day_start(low + MARGIN_DAYS)
        end = None if high is None else _day_end(high - MARGIN_DAYS - 1, calendar)
        found.append((start, end))
    return _joined(found)


def _day_end(day: int, calendar: Calendar) -> int:
    while not (found := calendar.day_intervals(day)):
        day -= 1
    return found[-1][1]


def _joined(found: list[Interval]) -> list[Interval]:
    """The same instants in as few intervals as can be."""
    joined: list[Interval] = []
    for start, end in sorted(found, key=lambda interval: (interval[0] is not None, interval[0] or 0)):
        if joined:
            last_start, last_end = joined[-1]
            if last_end is None or (start is not None and start <= last_end) or start is None:
                ends = None if last_end is None or end is None else max(last_end, end)
                joined[-1] = last_start, ends
                continue
        joined.append((start, end))
    return joined
