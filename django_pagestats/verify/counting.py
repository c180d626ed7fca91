"""Counts page views one by one, apart from the tally that the fold uses, a bounded group of days at a time.

Times may be shuffled: any page view may be of any day. So each group reads the page views in order of their primary
key, portion by portion, and skips the portions that have no page view of its days: for a table in order of time that
is one pass in all, at worst one pass a group. The index on `viewed_at` would be no cure: it has no order among equal
times, and a row of the table to look up at random for each entry.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate

from django.db.models import Count, Max, Min
from pyroaring import BitMap

from django_pagestats.buckets import Calendar, epoch_seconds, instant
from django_pagestats.ids import IdCache, known_subject_ids, known_visitor_ids
from django_pagestats.merging import database_for
from django_pagestats.models import PageView
from django_pagestats.tally import SITE_SUBJECT

#: page views read at once
PORTION_ROWS = 10_000
#: page views whose times are so near to each other are read all together; of others the database picks those of a group
TOGETHER = timedelta(days=90)
#: what a group may weigh: a counted row weighs 1, a page view in the row of a page a tenth
GROUP_WEIGHT = 120_000


class Entry:
    """What was counted for one aggregate row."""

    __slots__ = ("page_views", "unknown", "visitors")

    def __init__(self, page_views: int = 0, visitors: BitMap | None = None, unknown: int = 0) -> None:
        self.page_views = page_views
        self.visitors = BitMap() if visitors is None else visitors
        #: page views whose visitor has no row
        self.unknown = unknown

    @classmethod
    def of(cls, seen: Seen) -> Entry:
        known = [visitor for visitor in seen if visitor is not None]
        return cls(len(seen), BitMap(known), len(seen) - len(known))

    def add(self, visitor: int | None) -> None:
        self.page_views += 1
        if visitor is None:
            self.unknown += 1
        else:
            self.visitors.add(visitor)


#: the visitor of each page view; None where it has no row
Seen = list[int | None]
#: by bucket and subject
Entries = dict[tuple[int, int], Entry]
Counts = dict[tuple[int, int], Seen]
#: subject, visitor, whole seconds since the epoch
Rows = Iterable[tuple[int, int | None, int]]


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
    #: day -> subject -> its page views, and of the site (day, hour) -> its page views
    days_of_pages: dict[int, dict[int, Seen]] = field(default_factory=dict)
    hours_of_days: dict[tuple[int, int], Seen] = field(default_factory=dict)
    weight: float = 0
    #: paths without a Subject row, with negative numbers for ids
    unknown_paths: dict[str, int] = field(default_factory=dict)

    def add(self, rows: Rows) -> None:
        """Count page views of the group's days; page views that follow each other are of one hour, most often."""
        has_site, part, parts = self.group.has_site, self.group.part, self.group.parts
        begin, end = 1, 0
        pages: dict[int, Seen] = {}
        hour_seen: Seen = []
        for subject, visitor, seconds in rows:
            if not begin <= seconds < end:
                day, hour = self.calendar.day_and_hour(seconds)
                begin, end = self.calendar.constant_interval(seconds)
                pages = self.days_of_pages.setdefault(day, {})
                hour_seen = self.hours_of_days.setdefault((day, hour), [])
            if has_site:
                hour_seen.append(visitor)
            if parts == 1 or subject % parts == part:
                try:
                    pages[subject].append(visitor)
                except KeyError:
                    pages[subject] = [visitor]
        self._weigh()

    def _weigh(self) -> None:
        pages = sum(map(len, self.days_of_pages.values()))
        page_views = sum(sum(map(len, pages.values())) for pages in self.days_of_pages.values())
        self.weight = pages + len(self.hours_of_days) + page_views / 10

    # -- as rows

    def pages(self) -> Counts:
        return {(day, subject): seen for day, pages in self.days_of_pages.items() for subject, seen in pages.items()}

    def hours(self) -> Counts:
        return self._of_site(1)

    def days(self) -> Counts:
        return self._of_site(0)

    def _of_site(self, part: int) -> Counts:
        found: Counts = {}
        for key, seen in self.hours_of_days.items():
            if seen:
                found.setdefault((key[part], SITE_SUBJECT), []).extend(seen)
        return found

    # -- too large a group

    def cut(self) -> Group | None:
        """Make the group smaller and forget what is no longer in it; returns what was cut off, None if it cannot be."""
        boundary = self._boundary()
        subjects = {subject for pages in self.days_of_pages.values() for subject in pages}
        if boundary is not None:
            rest = replace(self.group, first=boundary)
            self.group = replace(self.group, end=boundary)
            self.days_of_pages = {day: pages for day, pages in self.days_of_pages.items() if day < boundary}
            self.hours_of_days = {key: seen for key, seen in self.hours_of_days.items() if key[0] < boundary}
        elif len(subjects) > 1:
            part, parts = self.group.part, 2 * self.group.parts
            rest = replace(self.group, part=part + self.group.parts, parts=parts)
            self.group = replace(self.group, parts=parts)
            for day, pages in self.days_of_pages.items():
                self.days_of_pages[day] = {subject: seen for subject, seen in pages.items() if subject % parts == part}
        else:
            return None
        self._weigh()
        return rest

    def _boundary(self) -> int | None:
        """The day nearest to the middle of the counted rows at which the group can be cut."""
        days = sorted(self.days_of_pages)
        rows = list(accumulate(len(self.days_of_pages[day]) + 1 for day in days))
        middle = days[bisect_left(rows, rows[-1] / 2)]
        inside = sorted(days[1:], key=lambda day: abs(day - middle))
        return next((day for day in inside if is_clean_boundary(self.calendar, day)), None)


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


#: seconds since the epoch, half-open; None: no bound on this side
Bounds = tuple[int | None, int | None]
UNBOUND: Bounds = (None, None)


@dataclass(frozen=True)
class Portion:
    """A range of primary keys [lowest, upto], and the times of its page views."""

    lowest: int
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
                count=Count("pk"), lowest=Min("pk"), upto=Max("pk"), first=Min("viewed_at"), last=Max("viewed_at")
            )
            if not found["count"]:
                return
            yield Portion(found["lowest"], found["upto"], found["count"], found["first"], found["last"])
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
        if counted.days_of_pages and counted.group.parts == 1:
            length = max(counted.days_of_pages) - min(counted.days_of_pages) + 1
            self._fitting = max(1, min(36_500, int(length * 0.75 * GROUP_WEIGHT / counted.weight)))

    def _count(self, portion: Portion, counted: Counted) -> None:
        within = self._within(portion, counted.group)
        if within is None:
            return
        paths, session_keys, seconds = self._columns(portion, within)
        subject_of = self._ids(self.subjects, known_subject_ids, set(paths)).get
        unknown = counted.unknown_paths
        subjects = [subject_of(path) or unknown.setdefault(path, -1 - len(unknown)) for path in paths]
        visitor_of = self._ids(self.visitors, known_visitor_ids, set(session_keys)).get
        counted.add(zip(subjects, map(visitor_of, session_keys), seconds, strict=True))

    def _columns(self, portion: Portion, within: Bounds) -> tuple[Sequence[str], Sequence[str], Sequence[int]]:
        """Path, session key and second of the page views of a portion that are within these seconds."""
        if portion.last_viewed_at - portion.first_viewed_at > TOGETHER:
            return self._selected(portion, within)
        rows = database_for(self.using).read_page_views(portion.lowest - 1, None, portion.page_views)
        if within != UNBOUND:
            low, high = within
            rows = [row for row in rows if (low is None or row[3] >= low) and (high is None or row[3] < high)]
        if not rows:
            return (), (), ()
        _, paths, session_keys, seconds = zip(*rows, strict=True)
        return paths, session_keys, seconds

    def _selected(self, portion: Portion, within: Bounds) -> tuple[Sequence[str], Sequence[str], Sequence[int]]:
        """The same by a condition: of shuffled times few are of any group."""
        rows = PageView.objects.using(self.using).filter(pk__lte=portion.upto, pk__gte=portion.lowest)
        low, high = within
        rows = rows if low is None else rows.filter(viewed_at__gte=instant(low))
        rows = rows if high is None else rows.filter(viewed_at__lt=instant(high))
        found = list(rows.values_list("path", "session_key", "viewed_at"))
        if not found:
            return (), (), ()
        paths, session_keys, times = zip(*found, strict=True)
        return paths, session_keys, list(map(epoch_seconds, times))

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
