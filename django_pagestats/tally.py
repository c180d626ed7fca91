"""The counts and visitors of some page views, in memory; the fold and the tail of an answer both use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from django_pagestats.buckets import Calendar, Dimension, Granularity

SITE_SUBJECT = 0

#: (bucket, subject) -> the visitor of each page view: its length counts page views, its set is the visitors.
Counts = dict[tuple[int, int], list[int]]


class Level(NamedTuple):
    """The aggregates of one kind."""

    dimension: Dimension
    granularity: Granularity


SITE_HOUR = Level(Dimension.SITE, Granularity.HOUR)
SITE_DAY = Level(Dimension.SITE, Granularity.DAY)
SITE_ALL = Level(Dimension.SITE, Granularity.ALL)
PAGE_DAY = Level(Dimension.PAGE, Granularity.DAY)
PAGE_ALL = Level(Dimension.PAGE, Granularity.ALL)
#: Every kind of aggregate that a generation keeps.
LEVELS = (SITE_HOUR, SITE_DAY, SITE_ALL, PAGE_DAY, PAGE_ALL)


class Tally:
    """What some page views add up to; pure, and independent of their order."""

    def __init__(self) -> None:
        self.page_views = 0
        #: (day, subject) -> visitors, one entry a page view
        self.page_days: Counts = {}
        #: (day, hour) -> visitors: by day too, since an hour may span two where clocks change at midnight
        self.site_hours: Counts = {}

    def of_times(self) -> Iterator[tuple[Level, Counts]]:
        """The counts of hours and days."""
        yield SITE_HOUR, _regroup(self.site_hours, lambda day, hour: (hour, SITE_SUBJECT))
        yield SITE_DAY, _regroup(self.site_hours, lambda day, hour: (day, SITE_SUBJECT))
        yield PAGE_DAY, self.page_days

    def of_all_time(self, bucket: int) -> Iterator[tuple[Level, Counts]]:
        """The counts of all time, whose rows are stored under this bucket number."""
        yield SITE_ALL, _regroup(self.site_hours, lambda day, hour: (bucket, SITE_SUBJECT))
        yield PAGE_ALL, _regroup(self.page_days, lambda day, subject: (bucket, subject))


def tally(page_views: Iterable[tuple[int, int, int]], calendar: Calendar) -> Tally:
    """Tally (subject, visitor, whole seconds since the epoch) of page views by the days and hours of `calendar`."""
    days: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    site_hours: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    begin, end = 1, 0
    pages, hour_visitors = days[0], site_hours[0, 0]
    # neighbours in the table are neighbours in time, most often: the buckets are worked out once an hour, not a row
    for subject, visitor, seconds in page_views:
        if not begin <= seconds < end:
            day, hour = calendar.day_and_hour(seconds)
            begin, end = calendar.constant_interval(seconds)
            pages, hour_visitors = days[day], site_hours[day, hour]
        pages[subject].append(visitor)
        hour_visitors.append(visitor)
    result = Tally()
    # in order: numbers of one day are sorted much faster than whoever needs the order would sort the keys
    result.page_days = {(day, subject): days[day][subject] for day in sorted(days) for subject in sorted(days[day])}
    result.site_hours = {key: seen for key, seen in site_hours.items() if seen}
    result.page_views = sum(map(len, site_hours.values()))
    return result


def _regroup(counts: Counts, key: Callable[[int, int], tuple[int, int]]) -> Counts:
    grouped: Counts = {}
    for (bucket, subject), visitors in counts.items():
        wanted = key(bucket, subject)
        if wanted in grouped:
            grouped[wanted] += visitors
        else:
            grouped[wanted] = visitors.copy()
    return grouped
