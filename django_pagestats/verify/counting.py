"""Counts page views one by one, apart from the tally that the fold uses, a bounded group of days at a time.

Times may be shuffled: any page view may be of any day. So each group reads the page views in order of their primary
key, portion by portion, and skips the portions that have no page view of its days: for a table in order of time that
is one pass in all, at worst one pass a group. The index on `viewed_at` would be no cure: it has no order among equal
times, and a row of the table to look up at random for each entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import Count, Max, Min, Q
from pyroaring import BitMap

from django_pagestats.buckets import Calendar, epoch_seconds, instant
from django_pagestats.ids import IdCache, known_subject_ids, known_visitor_ids
from django_pagestats.models import PageView
from django_pagestats.tally import SITE_SUBJECT

#: page views read at once
PORTION_ROWS = 10_000
#: what a group may weigh: a counted row weighs 1, a page view in the row of a page a tenth
GROUP_WEIGHT = 120_000


class Entry:
    """What was counted for one aggregate row."""

    __slots__ = ("page_views", "unknown", "visitors")

    def __init__(self) -> None:
        self.page_views = 0
        self.visitors = BitMap()
        #: page views whose visitor has no row
        self.unknown = 0

    def add(self, visitor: int | None) -> None:
        self.page_views += 1
        if visitor is None:
            self.unknown += 1
        else:
            self.visitors.add(visitor)


Entries = dict[tuple[int, int], Entry]


@dataclass(frozen=True)
class Group:
    """Local days [first, end), None: without bound; of pages only the subjects that are `part` modulo `parts`."""

    first: int | None = None
    end: int | None = None
    part: int = 0
    parts: int = 1

    @property
    def has_site(self) -> bool:
        """The rows of the site belong to one part of a group."""
        return self.part == 0


@dataclass
class Counted:
    """What the page views of one group add up to."""

    group: Group
    calendar: Calendar
    pages: Entries = field(default_factory=dict)
    days: Entries = field(default_factory=dict)
    hours: Entries = field(default_factory=dict)
    weight: float = 0
    #: paths without a Subject row, with negative numbers for ids
    unknown_paths: dict[str, int] = field(default_factory=dict)

    def add(self, subject: int, visitor: int | None, seconds: int) -> None:
        day, hour = self.calendar.day_and_hour(seconds)
        before = self._rows()
        if self.group.has_site:
            _entry(self.days, day, SITE_SUBJECT).add(visitor)
            _entry(self.hours, hour, SITE_SUBJECT).add(visitor)
        if subject % self.group.parts == self.group.part:
            _entry(self.pages, day, subject).add(visitor)
            self.weight += 0.1
        self.weight += self._rows() - before

    def _rows(self) -> int:
        return len(self.pages) + len(self.days) + len(self.hours)

    def cut(self) -> Group | None:
        """Make the group smaller and forget what is no longer in it; returns what was cut off, None if it cannot be."""
        boundary = self._boundary()
        if boundary is not None:
            rest = replace(self.group, first=boundary)
            self.group = replace(self.group, end=boundary)
            self._keep_before(boundary)
        elif len({subject for _, subject in self.pages}) > 1:
            part, parts = self.group.part, self.group.parts
            rest = replace(self.group, part=part + parts, parts=2 * parts)
            self.group = replace(self.group, parts=2 * parts)
            self.pages = {key: entry for key, entry in self.pages.items() if key[1] % (2 * parts) == part}
        else:
            return None
        self.weight = self._rows() + sum(entry.page_views for entry in self.pages.values()) / 10
        return rest

    def _boundary(self) -> int | None:
        """The day nearest to the middle of the counted rows at which the group can be cut."""
        days = sorted(day for day, _ in (*self.pages, *self.days))
        middle = days[len(days) // 2]
        inside = sorted({day for day in days if day > days[0]}, key=lambda day: abs(day - middle))
        return next((day for day in inside if is_clean_boundary(self.calendar, day)), None)

    def _keep_before(self, day: int) -> None:
        hour = self.calendar.hour(self.calendar.day_start(day))
        self.pages = {key: entry for key, entry in self.pages.items() if key[0] < day}
        self.days = {key: entry for key, entry in self.days.items() if key[0] < day}
        self.hours = {key: entry for key, entry in self.hours.items() if key[0] < hour}


def _entry(entries: Entries, bucket: int, subject: int) -> Entry:
    try:
        return entries[bucket, subject]
    except KeyError:
        entry = entries[bucket, subject] = Entry()
        return entry


def is_clean_boundary(calendar: Calendar, day: int) -> bool:
    """Whether no earlier day comes back after this one begins, and no HOUR belongs to both."""
    start = calendar.day_start(day)
    before = calendar.day(start - 1)
    return calendar.begins_hour(start) and calendar.day_intervals(before)[-1][1] == start


def clean_boundary_from(calendar: Calendar, day: int) -> int:
    """The first day, from this one on, at which days and hours can be cut."""
    while not is_clean_boundary(calendar, day):
        day += 1
    return day


@dataclass(frozen=True)
class Portion:
    """A range of primary keys (after, upto], and the times of its page views."""

    after: int | None
    upto: int
    page_views: int
    first_viewed_at: datetime
    last_viewed_at: datetime


class PageViews:
    """The page views up to a cursor."""

    def __init__(self, using: str, cursor: int, calendar: Calendar) -> None:
        self.using = using
        self.cursor = cursor
        self.calendar = calendar
        self.portions = list(self._survey())
        self.subjects = IdCache(100_000)
        self.visitors = IdCache(100_000)
        #: days that a group may have, by what the last one weighed
        self._fitting: int | None = None

    @property
    def count(self) -> int:
        return sum(portion.page_views for portion in self.portions)

    def _survey(self) -> Iterator[Portion]:
        after: int | None = None
        page_views = PageView.objects.using(self.using).filter(pk__lte=self.cursor).order_by("pk")
        while True:
            following = page_views if after is None else page_views.filter(pk__gt=after)
            found = following[:PORTION_ROWS].aggregate(
                count=Count("pk"), upto=Max("pk"), first=Min("viewed_at"), last=Max("viewed_at")
            )
            if not found["count"]:
                return
            yield Portion(after, found["upto"], found["count"], found["first"], found["last"])
            after = found["upto"]

    def groups(self, first: int | None) -> Iterator[Counted]:
        """All days from `first` on (None: all), group by group in order; each group's counts are bounded."""
        pending = [Group(first)]
        while pending:
            group, rest = self._fit(pending.pop())
            pending += [rest] if rest else []
            counted = Counted(group, self.calendar)
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
        if counted.pages and counted.group.parts == 1:
            days = [day for day, _ in counted.pages]
            length = max(days) - min(days) + 1
            self._fitting = max(1, min(36_500, int(length * 0.75 * GROUP_WEIGHT / counted.weight)))

    def _count(self, portion: Portion, counted: Counted) -> None:
        rows = PageView.objects.using(self.using).filter(pk__lte=portion.upto)
        if portion.after is not None:
            rows = rows.filter(pk__gt=portion.after)
        if (within := self._within(portion, counted.group)) is None:
            return
        found = list(rows.filter(within).values_list("path", "session_key", "viewed_at"))
        subjects = self._ids(self.subjects, known_subject_ids, {path for path, _, _ in found})
        visitors = self._ids(self.visitors, known_visitor_ids, {key for _, key, _ in found})
        unknown = counted.unknown_paths
        for path, session_key, viewed_at in found:
            subject = subjects.get(path) or unknown.setdefault(path, -1 - len(unknown))
            counted.add(subject, visitors.get(session_key), epoch_seconds(viewed_at))

    def _within(self, portion: Portion, group: Group) -> Q | None:
        """The condition that picks the group's page views of a portion; None if there are none."""
        condition = Q()
        if group.first is not None:
            start = instant(self.calendar.day_start(group.first))
            if portion.last_viewed_at < start:
                return None
            if portion.first_viewed_at < start:
                condition &= Q(viewed_at__gte=start)
        if group.end is not None:
            end = instant(self.calendar.day_start(group.end))
            if portion.first_viewed_at >= end:
                return None
            if portion.last_viewed_at >= end:
                condition &= Q(viewed_at__lt=end)
        return condition

    def _ids(
        self, cache: IdCache, known: Callable[[str, Iterable[str]], dict[str, int]], values: set[str]
    ) -> dict[str, int]:
        return cache.resolve(values, lambda missing: known(self.using, missing))
