"""Pages of page views, newest first, without COUNT and OFFSET: a page begins after the last row of the one before.

All page views are ordered by primary key. Those of a day are ordered by (viewed_at, id), through the index of
viewed_at: in the order of the primary key a database may walk through the whole table to find a day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from django_pagestats.buckets import EPOCH_INSTANT, Calendar, instant
from django_pagestats.models import PageView

if TYPE_CHECKING:
    PageViews = QuerySet[PageView]

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Place:
    """Where in the list one page view stands; as text in a URL: its id and its microseconds since the epoch."""

    pk: int
    viewed_at: datetime

    @classmethod
    def of(cls, view: PageView) -> Place:
        return cls(view.pk, view.viewed_at)

    @classmethod
    def parse(cls, text: str) -> Place | None:
        found = re.fullmatch(r"(-?[0-9]{1,19})\.(-?[0-9]{1,17})", text)
        if found is None or not -(2**63) <= int(found[1]) < 2**63:
            return None
        try:
            return cls(int(found[1]), EPOCH_INSTANT + int(found[2]) * MICROSECOND)
        except OverflowError:
            return None

    def __str__(self) -> str:
        return f"{self.pk}.{(self.viewed_at - EPOCH_INSTANT) // MICROSECOND}"


@dataclass(frozen=True)
class Page:
    """Some page views, newest first, and whether there are others on either side."""

    views: list[PageView]
    has_newer: bool
    has_older: bool


class AllTime:
    """All page views by primary key."""

    def newest(self, views: PageViews, place: Place | None, limit: int) -> list[PageView]:
        """The newest ones older than the place, newest first."""
        return list((views if place is None else views.filter(pk__lt=place.pk)).order_by("-pk")[:limit])

    def oldest(self, views: PageViews, place: Place, limit: int) -> list[PageView]:
        """The oldest ones newer than the place, oldest first."""
        return list(views.filter(pk__gt=place.pk).order_by("pk")[:limit])


class Day:
    """The page views of one local day, by the time they were viewed at, then by primary key.

    Only PostgreSQL's index does not hold the primary key: there a page also reads, and sorts, all that were viewed at
    the same instant as its first and its last one.
    """

    def __init__(self, intervals: tuple[tuple[int, int], ...]) -> None:
        """Half-open UTC intervals in seconds, in order, at least one: see `Calendar.day_intervals`."""
        self.low, self.high = instant(intervals[0][0]), instant(intervals[-1][1])
        self._outside_gaps = Q()
        for (_, gap_start), (gap_end, _) in pairwise(intervals):
            self._outside_gaps &= Q(viewed_at__lt=instant(gap_start)) | Q(viewed_at__gte=instant(gap_end))

    def newest(self, views: PageViews, place: Place | None, limit: int) -> list[PageView]:
        """The newest ones older than the place, newest first."""
        begin = Q(viewed_at__lt=self.high)
        if place is not None and place.viewed_at < self.high:
            # one upper bound only: of two, SQLite may begin at the further one
            begin = Q(viewed_at__lte=place.viewed_at)
            views = views.filter(Q(viewed_at__lt=place.viewed_at) | Q(pk__lt=place.pk))
        found = views.filter(self._outside_gaps, begin, viewed_at__gte=self.low)
        return list(found.order_by("-viewed_at", "-pk")[:limit])

    def oldest(self, views: PageViews, place: Place, limit: int) -> list[PageView]:
        """The oldest ones newer than the place, oldest first."""
        begin = Q(viewed_at__gte=self.low)
        if place.viewed_at >= self.low:
            begin = Q(viewed_at__gte=place.viewed_at)
            views = views.filter(Q(viewed_at__gt=place.viewed_at) | Q(pk__gt=place.pk))
        found = views.filter(self._outside_gaps, begin, viewed_at__lt=self.high)
        return list(found.order_by("viewed_at", "pk")[:limit])


def day_of(calendar: Calendar, day: int) -> Day | None:
    """The listing of a local day, or None for a date that the zone left out."""
    intervals = calendar.day_intervals(day)
    return Day(intervals) if intervals else None


def read_page(
    listing: AllTime | Day, views: PageViews, *, size: int, before: Place | None = None, after: Place | None = None
) -> Page:
    """The page older than `before`, or the page newer than `after`, or the newest one."""
    if after is not None:
        found = listing.oldest(views, after, size + 1)
        if len(found) > size:
            return Page(found[:size][::-1], has_newer=True, has_older=True)
        before = None  # less than a page is newer: show the newest
    found = listing.newest(views, before, size + 1)
    return Page(found[:size], has_newer=before is not None, has_older=len(found) > size)
