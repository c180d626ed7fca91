"""Counts page views one by one, apart from the tally that the fold uses, a bounded group of days at a time.

Times may be shuffled: any page view may be of any day. So each group reads the page views in order of their primary
key, portion by portion, and skips the portions that have no page view of its days: for a table in order of time that
is one pass in all, at worst one pass a group. The index on `viewed_at` would be no cure: it has no order among equal
times, and a row of the table to look up at random for each entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Count, Max, Min

from django_pagestats.buckets import Calendar, epoch_seconds, instant
from django_pagestats.dimensions import NamedDimension
from django_pagestats.ids import IdCache, known_subject_ids, known_visitor_ids
from django_pagestats.merging import database_for
from django_pagestats.models import Dimension, PageView
from django_pagestats.verify.groups import Counted, Group, clean_boundary_from
from django_pagestats.verify.values import ATTRIBUTES_TEXT, NamedValues, stand_in
from django_pagestats.verify.within import Keys

#: page views read at once
PORTION_ROWS = 10_000
#: page views whose times are so near to each other are read all together; of others the database picks those of a group
TOGETHER = timedelta(days=90)
#: times by which a portion takes part in how days are shared
SAMPLES = 10
#: what a group may weigh, see Counted.weigh
GROUP_WEIGHT = 120_000


#: seconds since the epoch, half-open; None: no bound on this side
Bounds = tuple[int | None, int | None]
UNBOUND: Bounds = (None, None)
#: path, session key, second and, where there are named dimensions, the text of its attributes of each page view
Columns = Sequence[Sequence[Any]]
NO_COLUMNS: Columns = ((), (), ())


@dataclass(frozen=True)
class Portion:
    """A range of primary keys [lowest, upto], and the times of its page views."""

    lowest: int
    upto: int
    page_views: int
    first_viewed_at: datetime
    last_viewed_at: datetime

    def sample(self) -> list[int]:
        """Seconds since the epoch at which its page views may be: evenly spread from the first to the last."""
        first, last = epoch_seconds(self.first_viewed_at), epoch_seconds(self.last_viewed_at)
        return [first + (last - first) * number // (SAMPLES - 1) for number in range(SAMPLES)]


class PageViews:
    """The page views up to a cursor, or those of some keys, and where they count by some named dimensions."""

    def __init__(
        self,
        using: str,
        cursor: int,
        calendar: Calendar,
        portions: Sequence[Portion] | None = None,
        *,
        dimensions: Iterable[NamedDimension] = (),
        keys: Keys | None = None,
    ) -> None:
        self.using = using
        self.cursor = cursor
        self.keys = keys or Keys(None, cursor)
        self.calendar = calendar
        #: found by reading all of them once, if nobody has yet
        self.portions = list(self._survey() if portions is None else portions)
        self.subjects = IdCache(100_000)
        self.visitors = IdCache(100_000)
        self.values = NamedValues(using, dimensions)
        #: days that a group may have, by what the last one weighed
        self._fitting: int | None = None

    @property
    def count(self) -> int:
        """How many are meant: of those of some keys perhaps not all."""
        if self.keys.page_views is not None:
            return self.keys.page_views
        return sum(portion.page_views for portion in self.portions)

    def _survey(self) -> Iterator[Portion]:
        after = self.keys.after
        page_views = PageView.objects.using(self.using).filter(pk__lte=self.keys.upto).order_by("pk")
        while True:
            following = page_views if after is None else page_views.filter(pk__gt=after)
            found = following[:PORTION_ROWS].aggregate(
                count=Count("pk"), lowest=Min("pk"), upto=Max("pk"), first=Min("viewed_at"), last=Max("viewed_at")
            )
            if not found["count"]:
                return
            yield Portion(found["lowest"], found["upto"], found["count"], found["first"], found["last"])
            after = found["upto"]

    def shares(self, first: int | None, count: int, end: int | None = None) -> list[Group]:
        """All days from `first` on and before `end` (None: all), cut into so many groups, or fewer.

        Each has about as many page views.
        """
        times = sorted(second for portion in self.portions for second in portion.sample())
        quantiles = (times[len(times) * number // count] for number in range(1, count)) if times else ()
        days = {clean_boundary_from(self.calendar, self.calendar.day(second)) for second in quantiles}
        inside = (day for day in days if (first is None or day > first) and (end is None or day < end))
        bounds = [first, *sorted(inside), end]
        return [Group(low, high) for low, high in pairwise(bounds)]

    def groups(self, days: Group) -> Iterator[Counted]:
        """These days, group by group in order; each group's counts are bounded."""
        pending = [days]
        while pending:
            group, rest = self._fit(pending.pop())
            pending += [rest] if rest else []
            counted = Counted(group, self.calendar, {dimension.id: {} for dimension in self.values.dimensions})
            for portion in self.portions:
                self._count(portion, counted)
                while counted.weight > GROUP_WEIGHT and (rest := counted.cut()):
                    pending.append(rest)
            self._learn(counted)
            yield counted

    def _fit(self, group: Group) -> tuple[Group, Group | None]:
        """Cut a group beforehand to the number of days that will probably fit."""
        if self._fitting is None or group.first is None or group.parts > 1:
            return group, None
        start = instant(self.calendar.day_start(group.first))
        times = PageView.objects.using(self.using).filter(pk__lte=self.cursor, viewed_at__gte=start)
        found = times.order_by("viewed_at").values_list("viewed_at", flat=True).first()
        if found is None:
            return group, None
        # from the first page view on: years without any do not take a group each few days
        day = clean_boundary_from(self.calendar, self.calendar.day(epoch_seconds(found)) + self._fitting)
        if group.end is not None and day >= group.end:
            return group, None
        return replace(group, end=day), replace(group, first=day)

    def _learn(self, counted: Counted) -> None:
        if counted.days_of_pages and counted.group.parts == 1:
            length = max(counted.days_of_pages) - min(counted.days_of_pages) + 1
            self._fitting = max(1, min(36_500, int(length * 0.75 * GROUP_WEIGHT / counted.weight)))

    def _count(self, portion: Portion, counted: Counted) -> None:
        within = self._within(portion, counted.group)
        if within is None:
            return
        paths, session_keys, seconds, *texts = self._columns(portion, within)
        subject_of = self._ids(self.subjects, known_subject_ids, set(paths)).get
        subjects = [subject_of(path) or self._stand_in(path, counted) for path in paths]
        visitor_of = self._ids(self.visitors, known_visitor_ids, set(session_keys)).get
        visitors = list(map(visitor_of, session_keys))
        counted.add(zip(subjects, visitors, seconds, strict=True))
        if texts:
            counted.add_values(self.values.columns(paths, texts[0]), visitors, seconds)
            counted.unknown.update(self.values.unknown)
        counted.weigh()

    def _stand_in(self, path: str, counted: Counted) -> int:
        number = stand_in(Dimension.PAGE, path)
        counted.unknown[Dimension.PAGE, number] = path
        return number

    def _columns(self, portion: Portion, within: Bounds) -> Columns:
        """The page views of a portion that are within these seconds."""
        if portion.last_viewed_at - portion.first_viewed_at > TOGETHER:
            return self._selected(portion, within)
        rows: Sequence[Sequence[Any]] = database_for(self.using).read_page_views(
            portion.lowest - 1, None, portion.page_views, with_attributes=self._has_values
        )
        if within != UNBOUND:
            low, high = within
            rows = [row for row in rows if (low is None or row[3] >= low) and (high is None or row[3] < high)]
        return list(zip(*rows, strict=True))[1:] if rows else NO_COLUMNS

    @property
    def _has_values(self) -> bool:
        return bool(self.values.dimensions)

    def _selected(self, portion: Portion, within: Bounds) -> Columns:
        """The same by a condition: of shuffled times few are of any group."""
        rows = PageView.objects.using(self.using).filter(pk__lte=portion.upto, pk__gte=portion.lowest)
        low, high = within
        rows = rows if low is None else rows.filter(viewed_at__gte=instant(low))
        rows = rows if high is None else rows.filter(viewed_at__lt=instant(high))
        texts = (ATTRIBUTES_TEXT,) if self._has_values else ()
        found = list(rows.values_list("path", "session_key", "viewed_at", *texts))
        if not found:
            return NO_COLUMNS
        paths, session_keys, times, *attributes = zip(*found, strict=True)
        return [paths, session_keys, list(map(epoch_seconds, times)), *attributes]

    def _within(self, portion: Portion, group: Group) -> Bounds | None:
        """Between which seconds the group's page views of a portion are; None if there are none."""
        low = high = None
        if group.first is not None:
            start = self.calendar.day_start(group.first)
            if portion.last_viewed_at < instant(start):
                return None
            low = start if portion.first_viewed_at < instant(start) else None
        if group.end is not None:
            end = self.calendar.day_start(group.end)
            if portion.first_viewed_at >= instant(end):
                return None
            high = end if portion.last_viewed_at >= instant(end) else None
        return low, high

    def _ids(
        self, cache: IdCache, known: Callable[[str, Iterable[str]], dict[str, int]], values: set[str]
    ) -> dict[str, int]:
        return cache.resolve(values, lambda missing: known(self.using, missing))
