"""The points of a range's chart, by hour, day, week or month, beside those that they are compared with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from typing import NamedTuple

from django_pagestats.buckets import HOUR_SECONDS, Calendar, day_number, epoch_seconds, instant
from django_pagestats.dashboard.comparing import Comparison
from django_pagestats.dashboard.ranges import DAY, HOUR, Days, pieces, today_of
from django_pagestats.stats import Snapshot
from django_pagestats.stats.conditions import Condition
from django_pagestats.stats.parts import unique_visitors_of


class Count(NamedTuple):
    page_views: int
    visitors: int


@dataclass(frozen=True, slots=True)
class Point:
    """One hour, day, week or month of a range.

    A count of None: it is to come, of before the first page view, or nothing of it is folded yet.
    """

    #: local days; of an hour the day that it is of
    days: Days
    #: of an hour the instant at which it begins
    begins_at: datetime | None
    count: Count | None
    #: what stands beside it: days or, of an hour, its instant; and the count of these
    days_before: Days | None = None
    begins_at_before: datetime | None = None
    count_before: Count | None = None
    #: it is not over, or page views of it may not be folded yet
    is_running: bool = False
    #: a week or month of which the range has a part only
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a chart is of."""

    days: Days
    interval: str
    now: datetime
    calendar: Calendar
    #: the day on which weeks begin
    first_weekday: int
    #: the first day that has a page view; None: there is none
    since: date | None
    comparison: Comparison | None = None
    #: of a path, or of a value, there are no hours
    path: str | None = None
    where: Condition | None = None
    #: page views from this instant on may be left out; None: all are counted
    folded_until: datetime | None = None

    def is_left_out(self, end: int) -> bool:
        """Whether page views of before a second may be left out."""
        return self.folded_until is not None and end > epoch_seconds(self.folded_until)

    @property
    def today(self) -> date:
        return today_of(self.now, self.calendar)

    @property
    def tomorrow(self) -> date:
        return self.today + timedelta(days=1)

    def beside(self, days: Days) -> Days | None:
        """The days that some days of the range are compared with."""
        return None if self.comparison is None else self.comparison.part(days, self.interval)


def series(snapshot: Snapshot, asked: Asked) -> list[Point]:
    """All points of a range; those after now are there, without a count.

    Visitors of a week or month are those of its days as one set, not added up. The number of statements depends on the
    number of days, never on that of page views or pages.
    """
    points = _hours(snapshot, asked) if asked.interval == HOUR else _pieces(snapshot, asked)
    return points if asked.folded_until is None else [_as_folded(point, asked) for point in points]


def _as_folded(point: Point, asked: Asked) -> Point:
    """What may lack page views is not over; a 0 of it, there or in what it is compared with, is no number."""
    ends = [point.days.end, None if point.days_before is None else point.days_before.end]
    begin = (point.begins_at, point.begins_at_before)
    is_left_out, is_left_out_before = (
        asked.is_left_out(_end(end, begins_at, asked.calendar)) for end, begins_at in zip(ends, begin, strict=True)
    )
    return replace(
        point,
        count=_or_none(point.count) if is_left_out else point.count,
        count_before=_or_none(point.count_before) if is_left_out_before else point.count_before,
        is_running=point.is_running or is_left_out,
    )


def _end(end: date | None, begins_at: datetime | None, calendar: Calendar) -> int:
    """The second before which an hour, or days, end; 0: there are none."""
    if begins_at is not None:
        return epoch_seconds(begins_at) + HOUR_SECONDS
    return 0 if end is None else calendar.day_start(day_number(end))


def _or_none(count: Count | None) -> Count | None:
    return count if count is not None and count.page_views else None


# -- days, weeks and months


def _pieces(snapshot: Snapshot, asked: Asked) -> list[Point]:
    cut = pieces(asked.days, asked.interval, asked.first_weekday)
    counts = _counts(snapshot, asked, [piece.days for piece in cut])
    beside = [asked.beside(piece.days) for piece in cut]
    before = _counts(snapshot, asked, [days for days in beside if days is not None])
    return [
        Point(
            piece.days,
            None,
            counts.get(piece.days),
            days_before=days,
            count_before=None if days is None else before.get(days),
            is_running=asked.today in piece.days,
            is_cut=piece.is_cut,
        )
        for piece, days in zip(cut, beside, strict=True)
    ]


def _counts(snapshot: Snapshot, asked: Asked, parts: Sequence[Days]) -> dict[Days, Count]:
    """The counts of some days each, in order; none of those that are to come, or of before the first page view."""
    tomorrow = asked.tomorrow
    known = _known(asked, parts)
    if not known:
        return {}
    start, end = known[0].start, min(known[-1].end, tomorrow)
    daily = {
        point.start: Count(point.page_views, point.visitors)
        for point in snapshot.time_series(DAY, start, end, path=asked.path, where=asked.where)
    }
    if asked.interval == DAY:
        # a date that the zone left out has no point
        return {days: daily[days.start] for days in known if days.start in daily}
    parts = [days.until(tomorrow) for days in known]
    page_views = _sums({day: count.page_views for day, count in daily.items()}, parts)
    seen = [day for day, count in daily.items() if count.page_views]
    visitors = unique_visitors_of(
        snapshot, [(part.start, part.end) for part in parts], asked.path, asked.where, only=seen
    )
    return dict(zip(known, map(Count, page_views, visitors), strict=True))


def _known(asked: Asked, parts: Iterable[Days]) -> list[Days]:
    """Those of some days that have begun, and not before the first page view."""
    since = asked.since
    return [days for days in parts if since is not None and days.end > since and days.start < asked.tomorrow]


def sets_of(asked: Asked) -> list[Days]:
    """The weeks or months of the site whose visitors `series()` asks for: those of hours and days are numbers."""
    if asked.interval in (HOUR, DAY) or asked.path is not None:
        return []
    cut = [piece.days for piece in pieces(asked.days, asked.interval, asked.first_weekday)]
    beside = [days for days in map(asked.beside, cut) if days is not None]
    return [days.until(asked.tomorrow) for days in (*_known(asked, cut), *_known(asked, beside))]


def _sums(daily: Mapping[date, int], parts: Iterable[Days]) -> list[int]:
    """The sum of the days of each part."""
    days = sorted(daily)
    upto = [0, *accumulate(daily[day] for day in days)]
    return [upto[bisect_left(days, part.end)] - upto[bisect_left(days, part.start)] for part in parts]


# -- hours


def _hours(snapshot: Snapshot, asked: Asked) -> list[Point]:
    calendar, running = asked.calendar, asked.calendar.hour(epoch_seconds(asked.now))
    counts = _hourly(snapshot, asked, asked.days)
    comparison = asked.comparison
    before = {} if comparison is None else _by_clock(_hourly(snapshot, asked, comparison.days), calendar)
    points = []
    for hour, seconds in _hour_starts(asked.days, calendar):
        begins_at = instant(seconds)
        local = begins_at.astimezone(calendar.zone)
        days = _one_day(local.date())
        beside = asked.beside(days)
        clock = None if beside is None else _clock(local, beside.start)
        begins_at_before, count_before = (None, None) if clock is None else before.get(clock, (None, None))
        points.append(
            Point(
                days,
                begins_at,
                counts.get(begins_at),
                days_before=beside,
                begins_at_before=begins_at_before,
                count_before=count_before,
                is_running=hour == running,
            )
        )
    return points


def _hourly(snapshot: Snapshot, asked: Asked, days: Days) -> dict[datetime, Count]:
    """The counts of all hours that have begun, but of those of before the first page view; and of any to come."""
    calendar, since = asked.calendar, asked.since
    known = Days(max(days.start, since), days.end).until(asked.tomorrow) if since else days.until(days.start)
    if known.count <= 0:
        return {}
    found = snapshot.time_series(HOUR, *(instant(calendar.hour_start(hour)) for hour in _hours_of(known, calendar)))
    return {
        point.start: Count(point.page_views, point.visitors)
        for point in found
        # one to come has page views by a wrong clock only: the totals of the day have them, too
        if isinstance(point.start, datetime) and (point.start <= asked.now or point.page_views)
    }


def _hours_of(days: Days, calendar: Calendar) -> tuple[int, int]:
    """The buckets of hours that have a part of some days: where a day begins within one, that one too."""
    start, end = (calendar.day_start(day_number(day)) for day in (days.start, days.end))
    return calendar.hour(start), calendar.hour(end - 1) + 1


def _hour_starts(days: Days, calendar: Calendar) -> Iterator[tuple[int, int]]:
    """Each hour of some days with the second in which it begins."""
    low, high = _hours_of(days, calendar)
    begins = calendar.hour_start(low)
    for hour in range(low, high):
        if calendar.hour(begins) == hour:  # else the zone left it out
            yield hour, begins
        following = begins + HOUR_SECONDS  # as almost always
        is_it = calendar.hour(following) == hour + 1 and calendar.begins_hour(following)
        begins = following if is_it else calendar.hour_start(hour + 1)


Clock = tuple[date, time, int]


def _clock(local: datetime, day: date) -> Clock:
    """What clocks show, on a day; of an hour that comes twice, the first or the second time."""
    return day, local.time(), local.fold


def _by_clock(counts: Mapping[datetime, Count], calendar: Calendar) -> dict[Clock, tuple[datetime, Count]]:
    local = ((at, at.astimezone(calendar.zone), count) for at, count in counts.items())
    return {_clock(clock, clock.date()): (at, count) for at, clock, count in local}


def _one_day(day: date) -> Days:
    return Days(day, day + timedelta(days=1))
