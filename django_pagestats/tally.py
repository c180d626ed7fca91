"""The counts and visitors of some page views, in memory; the fold and the tail of an answer both use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from django_pagestats.buckets import Calendar, Dimension, Granularity
from django_pagestats.dimensions import Column, NamedDimension, Spread

SITE_SUBJECT = 0

#: (bucket, subject) -> the visitor of each page view: its length counts page views, its set is the visitors.
Counts = dict[tuple[int, int], list[int]]


class Level(NamedTuple):
    """The aggregates of one kind."""

    dimension: int  #: a `Dimension`, or the number of a named one
    granularity: Granularity


SITE_HOUR = Level(Dimension.SITE, Granularity.HOUR)
SITE_DAY = Level(Dimension.SITE, Granularity.DAY)
SITE_ALL = Level(Dimension.SITE, Granularity.ALL)
PAGE_DAY = Level(Dimension.PAGE, Granularity.DAY)
PAGE_ALL = Level(Dimension.PAGE, Granularity.ALL)
#: Every kind of aggregate that a generation keeps, but for those of named dimensions.
LEVELS = (SITE_HOUR, SITE_DAY, SITE_ALL, PAGE_DAY, PAGE_ALL)


def levels_of(dimensions: Iterable[NamedDimension]) -> list[Level]:
    """Every kind of aggregate that a generation with these dimensions keeps."""
    days_and_all = (Granularity.DAY, Granularity.ALL)
    return [*LEVELS, *(Level(dimension.id, granularity) for dimension in dimensions for granularity in days_and_all)]


class Tally:
    """What some page views add up to; pure, and independent of their order."""

    def __init__(self) -> None:
        self.page_views = 0
        #: (day, subject) -> visitors, one entry a page view
        self.page_days: Counts = {}
        #: number of a named dimension -> the same of its values
        self.value_days: dict[int, Counts] = {}
        #: (day, hour) -> visitors: by day too, since an hour may span two where clocks change at midnight
        self.site_hours: Counts = {}

    def of_times(self) -> Iterator[tuple[Level, Counts]]:
        """The counts of hours and days."""
        yield SITE_HOUR, _regroup(self.site_hours, lambda day, hour: (hour, SITE_SUBJECT))
        yield SITE_DAY, _regroup(self.site_hours, lambda day, hour: (day, SITE_SUBJECT))
        yield PAGE_DAY, self.page_days
        for dimension, counts in self.value_days.items():
            yield Level(dimension, Granularity.DAY), counts

    def of_all_time(self, bucket: int) -> Iterator[tuple[Level, Counts]]:
        """The counts of all time, whose rows are stored under this bucket number."""
        yield SITE_ALL, _regroup(self.site_hours, lambda day, hour: (bucket, SITE_SUBJECT))
        yield PAGE_ALL, _regroup(self.page_days, lambda day, subject: (bucket, subject))
        for dimension, counts in self.value_days.items():
            yield Level(dimension, Granularity.ALL), _regroup(counts, lambda day, subject: (bucket, subject))


def tally(page_views: Iterable[tuple[int, int, int]], calendar: Calendar, spread: Spread | None = None) -> Tally:
    """Tally (subject, visitor, whole seconds since the epoch) of page views by the days and hours of `calendar`.

    And, by `spread`, by the values of named dimensions.
    """
    subjects, visitors, seconds = tuple(zip(*page_views, strict=True)) or ((), (), ())
    result = Tally()
    result.page_views = len(seconds)
    days: dict[int, list[slice]] = {}
    for (day, hour), part in _hours(seconds, calendar):
        result.site_hours.setdefault((day, hour), []).extend(visitors[part])
        parts = days.setdefault(day, [])
        if parts and parts[-1].stop == part.start:
            parts[-1] = slice(parts[-1].start, part.stop)
        else:
            parts.append(part)
    result.page_days = _by_day(subjects, visitors, days)
    for dimension, column in sorted(spread.columns.items()) if spread is not None else ():
        if counts := _by_day(column, visitors, days):
            result.value_days[dimension] = counts
    return result


def _hours(seconds: Sequence[int], calendar: Calendar) -> Iterator[tuple[tuple[int, int], slice]]:
    """The day and the hour of neighbours that share both, and which these are.

    Neighbours in the table are neighbours in time, most often: the buckets are worked out once an hour, not a row.
    """
    first, begin, end = 0, 1, 0
    for index, second in enumerate(seconds):
        if not begin <= second < end:
            if index:
                yield calendar.day_and_hour(begin), slice(first, index)
            first = index
            begin, end = calendar.constant_interval(second)
    if seconds:
        yield calendar.day_and_hour(begin), slice(first, len(seconds))


def _by_day(column: Column, visitors: Sequence[int], days: Mapping[int, Sequence[slice]]) -> Counts:
    """The visitors of each day and subject; what has None for a subject is not counted."""
    counts: Counts = {}
    for day in sorted(days):
        found: defaultdict[int | None, list[int]] = defaultdict(list)
        for part in days[day]:
            for subject, visitor in zip(column[part], visitors[part], strict=True):
                found[subject].append(visitor)
        # numbers of one day are sorted much faster than whoever needs the order would sort the keys
        for subject in sorted(subject for subject in found if subject is not None):
            counts[day, subject] = found[subject]
    return counts


def _regroup(counts: Counts, key: Callable[[int, int], tuple[int, int]]) -> Counts:
    grouped: Counts = {}
    for (bucket, subject), visitors in counts.items():
        wanted = key(bucket, subject)
        if wanted in grouped:
            grouped[wanted] += visitors
        else:
            grouped[wanted] = visitors.copy()
    return grouped
