"""The page views of some days, counted one by one, and how such a group of days is made smaller."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import accumulate

from pyroaring import BitMap

from django_pagestats.buckets import Calendar
from django_pagestats.tally import SITE_SUBJECT


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
#: by subject
Entries = dict[int, Entry]
#: by bucket, and by subject
Counts = dict[int, dict[int, Seen]]
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
    days_of_pages: Counts = field(default_factory=dict)
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
                seen = pages.get(subject)
                if seen is None:
                    pages[subject] = [visitor]
                else:
                    seen.append(visitor)
        self._weigh()

    def _weigh(self) -> None:
        pages = sum(map(len, self.days_of_pages.values()))
        page_views = sum(sum(map(len, pages.values())) for pages in self.days_of_pages.values())
        self.weight = pages + len(self.hours_of_days) + page_views / 10

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
