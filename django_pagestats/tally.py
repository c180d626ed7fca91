"""The counts and visitors of some page views, in memory; the fold and the tail of an answer both use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from django_pagestats.buckets import Calendar, Dimension, Granularity
from django_pagestats.dimensions import Context, NamedDimension, Spread

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
    if spread is not None:
        return _tally_spread(page_views, calendar, spread)
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
    return _tallied(days, site_hours)


def _tallied(days: Mapping[int, Mapping[int, list[int]]], site_hours: Mapping[tuple[int, int], list[int]]) -> Tally:
    result = Tally()
    result.page_days = _in_order(days)
    result.site_hours = {key: seen for key, seen in site_hours.items() if seen}
    result.page_views = sum(map(len, site_hours.values()))
    return result


def _in_order(days: Mapping[int, Mapping[int, list[int]]]) -> Counts:
    """Numbers of one day are sorted much faster than whoever needs the order would sort the keys."""
    return {(day, subject): days[day][subject] for day in sorted(days) for subject in sorted(days[day])}


#: what is known of the page views of one day and context: the visitor of each, and the subject of its page
Grouped = tuple[list[int], list[int]]


def _tally_spread(page_views: Iterable[tuple[int, int, int]], calendar: Calendar, spread: Spread) -> Tally:
    """The same, grouped by context too: in a loop of its own, since each look costs whoever has no dimensions."""
    days: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    contexts_of_days: defaultdict[int, defaultdict[Context, Grouped]]
    contexts_of_days = defaultdict(lambda: defaultdict(lambda: ([], [])))
    site_hours: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    begin, end = 1, 0
    pages, hour_visitors, contexts = days[0], site_hours[0, 0], contexts_of_days[0]
    for (subject, visitor, seconds), context in zip(page_views, spread.contexts, strict=True):
        if not begin <= seconds < end:
            day, hour = calendar.day_and_hour(seconds)
            begin, end = calendar.constant_interval(seconds)
            pages, hour_visitors, contexts = days[day], site_hours[day, hour], contexts_of_days[day]
        pages[subject].append(visitor)
        hour_visitors.append(visitor)
        visitors_of_context, subjects_of_context = contexts[context]
        visitors_of_context.append(visitor)
        if context.of_pages is not None:
            subjects_of_context.append(subject)
    result = _tallied(days, site_hours)
    values = {day: _values_of_day(days[day], contexts, spread) for day, contexts in contexts_of_days.items()}
    numbers = sorted({dimension for dimensions in values.values() for dimension in dimensions})
    for number in numbers:
        result.value_days[number] = _in_order({day: found[number] for day, found in values.items() if number in found})
    return result


def _values_of_day(
    pages: Mapping[int, list[int]], contexts: Mapping[Context, Grouped], spread: Spread
) -> dict[int, dict[int, list[int]]]:
    """number of a dimension -> subject -> the visitor of each page view of one day."""
    found: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for context, (visitors, subjects) in contexts.items():
        for dimension, value in context.targets:
            found[dimension][value] += visitors
        if context.of_pages:
            of_pages = context.of_pages
            for visitor, subject in zip(visitors, subjects, strict=True):
                for dimension, value in of_pages[subject]:
                    found[dimension][value].append(visitor)
    if spread.of_pages:
        for subject, visitors in pages.items():
            for dimension, value in spread.of_pages[subject]:
                found[dimension][value] += visitors
    return {dimension: dict(values) for dimension, values in found.items()}


def _regroup(counts: Counts, key: Callable[[int, int], tuple[int, int]]) -> Counts:
    grouped: Counts = {}
    for (bucket, subject), visitors in counts.items():
        wanted = key(bucket, subject)
        if wanted in grouped:
            grouped[wanted] += visitors
        else:
            grouped[wanted] = visitors.copy()
    return grouped
