"""The page views of some days, counted one by one, and how such a group of days is made smaller."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from pyroaring import BitMap

from django_pagestats.buckets import Calendar, Granularity
from django_pagestats.tally import PAGE_DAY, SITE_SUBJECT, Level
from django_pagestats.verify.values import Column, Targets


class Entry:
    """What was counted for one aggregate row; `repeats` matter for the site only."""

    __slots__ = ("page_views", "repeats", "unknown", "visitors")

    def __init__(
        self,
        page_views: int = 0,
        visitors: BitMap | None = None,
        unknown: int = 0,
        repeats: BitMap | None = None,
    ) -> None:
        self.page_views = page_views
        self.visitors = BitMap() if visitors is None else visitors
        #: page views whose visitor has no row
        self.unknown = unknown
        #: visitors with at least two page views; None: nobody knows which
        self.repeats = repeats

    @classmethod
    def of(cls, seen: Seen, *, with_repeats: bool = False) -> Entry:
        known = [visitor for visitor in seen if visitor is not None]
        visitors = BitMap(known)
        repeats = None
        if with_repeats:
            counts = Counter(known) if len(known) > len(visitors) else {}
            repeats = BitMap([visitor for visitor, count in counts.items() if count > 1])
        return cls(len(seen), visitors, len(seen) - len(known), repeats)

    def add(self, visitor: int | None) -> None:
        self.page_views += 1
        if visitor is None:
            self.unknown += 1
        elif self.repeats is not None and visitor in self.visitors:
            self.repeats.add(visitor)
        else:
            self.visitors.add(visitor)

    def unite(self, other: Entry) -> None:
        """Count other page views too: whoever was seen in both was seen twice."""
        if self.repeats is not None and other.repeats is not None:
            self.repeats |= other.repeats | (self.visitors & other.visitors)
        else:
            self.repeats = None
        self.page_views += other.page_views
        self.visitors |= other.visitors
        self.unknown += other.unknown


#: of one page view in the rows of a page and of the site, where a row weighs 1; in that of a value it weighs half
PAGE_VIEW_WEIGHT = 0.1
#: the visitor of each page view; None where it has no row
Seen = list[int | None]
#: by subject
Entries = dict[int, Entry]
#: by bucket, and by subject
Counts = dict[int, dict[int, Seen]]
#: subject, visitor, whole seconds since the epoch
Rows = Iterable[tuple[int, int | None, int]]


@dataclass(frozen=True)
class Group:
    """Local days [first, end), None: without bound; beside the site only subjects that are `part` modulo `parts`."""

    first: int | None = None
    end: int | None = None
    part: int = 0
    parts: int = 1

    @property
    def is_empty(self) -> bool:
        return self.first is not None and self.end is not None and self.first >= self.end

    def cut(self, day: int) -> tuple[Group, Group]:
        """The days before this one, and the others."""
        end = day if self.end is None else min(day, self.end)
        first = day if self.first is None else max(day, self.first)
        return replace(self, end=end), replace(self, first=first)

    @property
    def has_site(self) -> bool:
        """The rows of the site belong to one part of a group."""
        return self.part == 0


@dataclass
class Counted:
    """What the page views of one group add up to."""

    group: Group
    calendar: Calendar
    #: number of a named dimension -> day -> subject -> its page views; it begins with all dimensions that there are
    days_of_values: dict[int, Counts] = field(default_factory=dict)
    #: day -> subject -> its page views, and of the site (day, hour) -> its page views
    days_of_pages: Counts = field(default_factory=dict)
    hours_of_days: dict[tuple[int, int], Seen] = field(default_factory=dict)
    weight: float = 0
    #: (dimension, negative number that stands in) -> path or value, of those without a Subject row
    unknown: dict[tuple[int, int], str] = field(default_factory=dict)

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
                seen = pages.get(subject)
                if seen is None:
                    pages[subject] = [visitor]
                else:
                    seen.append(visitor)

    def add_values(self, columns: Iterable[Column], visitors: Sequence[int | None], seconds: Sequence[int]) -> None:
        """Count the same page views for the values of named dimensions."""
        days = list(self._days(seconds))
        for keys, targets in columns:
            seen_of_days: defaultdict[int, defaultdict[Any, Seen]] = defaultdict(lambda: defaultdict(list))
            for day, key, visitor in zip(days, keys, visitors, strict=True):
                seen_of_days[day][key].append(visitor)
            for day, seen_by_key in seen_of_days.items():
                self._add_values_of(day, seen_by_key, targets)

    def _days(self, seconds: Sequence[int]) -> Iterator[int]:
        begin, end, day = 1, 0, 0
        for second in seconds:
            if not begin <= second < end:
                day = self.calendar.day(second)
                begin, end = self.calendar.constant_interval(second)
            yield day

    def _add_values_of(self, day: int, seen_by_key: Mapping[Any, Seen], targets: Mapping[Any, Targets]) -> None:
        part, parts = self.group.part, self.group.parts
        values = {dimension: counts.setdefault(day, {}) for dimension, counts in self.days_of_values.items()}
        for key, added in seen_by_key.items():
            for dimension, subject in targets.get(key, ()):
                if parts == 1 or subject % parts == part:
                    subjects = values[dimension]
                    seen = subjects.get(subject)
                    if seen is None:
                        subjects[subject] = added.copy()
                    else:
                        seen += added

    def weigh(self) -> None:
        """Find the weight of what was added; a page view of a page is one of the site too."""
        rows, page_views = _rows_and_page_views(self.days_of_pages)
        self.weight = rows + len(self.hours_of_days) + page_views * PAGE_VIEW_WEIGHT
        for counts in self.days_of_values.values():
            rows, page_views = _rows_and_page_views(counts)
            self.weight += rows + page_views * PAGE_VIEW_WEIGHT / 2

    # -- as rows

    def hours(self) -> Counts:
        return self._of_site(1)

    def days(self) -> Counts:
        return self._of_site(0)

    def _of_site(self, part: int) -> Counts:
        found: Counts = {}
        for key, seen in self.hours_of_days.items():
            if seen:
                found.setdefault(key[part], {SITE_SUBJECT: []})[SITE_SUBJECT].extend(seen)
        return found

    def of_days(self) -> Iterator[tuple[Level, Counts]]:
        """The counts of pages, and of the values of each named dimension."""
        yield PAGE_DAY, self.days_of_pages
        for dimension, counts in self.days_of_values.items():
            yield Level(dimension, Granularity.DAY), counts

    # -- too large a group

    def cut(self) -> Group | None:
        """Make the group smaller and forget what is no longer in it; returns what was cut off, None if it cannot be."""
        boundary = self._boundary()
        if boundary is not None:
            rest = replace(self.group, first=boundary)
            self.group = replace(self.group, end=boundary)
            self.hours_of_days = {key: seen for key, seen in self.hours_of_days.items() if key[0] < boundary}
            for counts in self._counts():
                for day in [day for day in counts if day >= boundary]:
                    del counts[day]
        elif self._is_mostly_of_one():
            return None
        else:
            part, parts = self.group.part, 2 * self.group.parts
            rest = replace(self.group, part=part + self.group.parts, parts=parts)
            self.group = replace(self.group, parts=parts)
            for counts in self._counts():
                for day, subjects in counts.items():
                    counts[day] = {subject: seen for subject, seen in subjects.items() if subject % parts == part}
        self.weigh()
        return rest

    def _counts(self) -> Iterator[Counts]:
        yield self.days_of_pages
        yield from self.days_of_values.values()

    def _is_mostly_of_one(self) -> bool:
        """Whether one subject weighs more than the others, so that a cut gains little: it reads all of them again."""
        weights: Counter[int] = Counter()
        for counts in self._counts():
            for subjects in counts.values():
                for subject, seen in subjects.items():
                    weights[subject] += 100 + len(seen)
        return not weights or 2 * max(weights.values()) > weights.total()

    def _boundary(self) -> int | None:
        """The day nearest to the middle of the counted rows at which the group can be cut."""
        days = sorted(self.days_of_pages)
        rows = list(accumulate(1 + sum(len(counts.get(day, ())) for counts in self._counts()) for day in days))
        middle = days[bisect_left(rows, rows[-1] / 2)]
        inside = sorted(days[1:], key=lambda day: abs(day - middle))
        return next((day for day in inside if is_clean_boundary(self.calendar, day)), None)


def _rows_and_page_views(counts: Counts) -> tuple[int, int]:
    rows = sum(map(len, counts.values()))
    return rows, sum(sum(map(len, subjects.values())) for subjects in counts.values())


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
