"""What one page of the dashboard is about: a snapshot, the days in it, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, TypedDict

from django.db.models import Min

from django_pagestats import folding, stats
from django_pagestats.buckets import Calendar, Dimension, Granularity, day_date
from django_pagestats.conf import conf
from django_pagestats.dashboard.comparing import Comparison, Obstacle, compare
from django_pagestats.dashboard.extent import Beginning, beginning_of
from django_pagestats.dashboard.kinds import Kind, kinds_of
from django_pagestats.dashboard.public import for_everybody
from django_pagestats.dashboard.ranges import DEFAULT, FIRST_DAY, TODAY, Days, today_of
from django_pagestats.dashboard.state import State
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.merging.reading import Where, read_aggregates
from django_pagestats.models import PageView
from django_pagestats.stats.ranges import calendar_of

#: page views of a tail whose times are looked at: about half a second
MOST_TAIL = 1_000_000


class Places(NamedTuple):
    """Where the dashboard of the site, and that of one page, are: before a query. Empty: where this one is."""

    site: str = ""
    page: str = ""


class Bounds(TypedDict, total=False):
    """A range as `stats` takes it; empty: all time."""

    start: date
    end: date


@dataclass(frozen=True)
class Scope:
    """All that is asked is asked of `taken`, so that the panels agree."""

    using: str
    taken: stats.Snapshot
    state: State
    days: Days
    comparison: Comparison | None
    calendar: Calendar
    now: datetime
    #: the first day that has a page view, deleted or not; None: there is none at all
    since: date | None
    #: the first page view that is in the table; None: there is none any more
    first_viewed_at: datetime | None
    #: page views from this instant on may be left out, as they are too many to be counted; None: all are counted
    folded_until: datetime | None
    #: anybody sees it
    is_public: bool
    #: the tables that there are; the pages come first
    kinds: Sequence[Kind]
    #: the latest day that has a page view, which may be to come
    last_day: date | None = None
    places: Places = field(default_factory=Places)

    @property
    def bounds(self) -> Bounds:
        """Without days to come that have page views, by whatever clock: no chart shows them."""
        if self.last_day is None or self.last_day <= self.today:
            return {} if self.state.range.is_all_time else bounds(self.days)
        tomorrow = self.today + timedelta(days=1)
        return {"end": tomorrow} if self.state.range.is_all_time else bounds(self.days.until(tomorrow))

    @cached_property
    def beginning(self) -> Beginning:
        """From where on the chart goes, which of all time may begin later than the range."""
        return beginning_of(self.taken, self.days) if self.state.range.is_all_time else Beginning(self.days)

    @property
    def chart_days(self) -> Days:
        return self.beginning.days

    @property
    def is_exact(self) -> bool:
        return self.folded_until is None

    @property
    def is_left_out(self) -> bool:
        """Whether page views of the range may be left out."""
        return self.folded_until is not None and self.days.end > today_of(self.folded_until, self.calendar)

    @property
    def counted_until(self) -> datetime:
        """The instant up to which all page views are counted."""
        return self.now if self.folded_until is None else min(self.now, self.folded_until)

    @property
    def obstacle(self) -> Obstacle | None:
        """Why there are no changes, where there is something to compare with."""
        if self.comparison is None:
            return None
        return self.comparison.obstacle(self.since, today_of(self.counted_until, self.calendar))

    @property
    def compared(self) -> Comparison | None:
        """What totals are compared with; None: there is no change to tell."""
        return None if self.obstacle else self.comparison

    @property
    def has_today(self) -> bool:
        return self.today in self.days

    @property
    def zone(self) -> str:
        return str(self.calendar.zone)

    @property
    def today(self) -> date:
        return today_of(self.now, self.calendar)


def bounds(days: Days) -> Bounds:
    return {"start": days.start, "end": days.end}


@contextmanager
def scope_of(
    query: Mapping[str, Any], *, using: str, now: datetime, is_public: bool, places: Places | None = None
) -> Iterator[Scope]:
    """What a query asks for; it ends with the block."""
    is_exact = not has_long_tail(using)
    with stats.snapshot(exact=is_exact, using=using) as taken:
        calendar = calendar_of(taken.time_zone)
        today = today_of(now, calendar)
        first, since, last_day = first_and_last(using, calendar)
        folded_until = None if is_exact else _folded_until(using)
        # a new site opens on today
        default = TODAY if since is None or since >= today else DEFAULT
        kinds = kinds_of(taken.dimensions())
        state = State.parse(query, tables={kind.name: kind.columns for kind in kinds}, default=default)
        state = for_everybody(state, default) if is_public else state
        days = state.range.days(today, since)
        counted_until = now if folded_until is None else min(now, folded_until)
        comparison = compare(state.range, days, state.against, counted_until, calendar)
        if is_public or (comparison is not None and comparison.days.start < FIRST_DAY):
            comparison = None
        yield Scope(
            using,
            taken,
            state,
            days,
            comparison,
            calendar,
            now,
            since,
            first,
            folded_until,
            is_public,
            kinds,
            last_day,
            places or Places(),
        )


def calendar_in_use(using: str) -> Calendar:
    """That of the generation that answers; before there is one, that of the first to come."""
    generation = folding.active_generation(using)
    return calendar_of(conf.TIME_ZONE if generation is None else generation.time_zone)


def local_today(now: datetime, using: str) -> date:
    """The local date of an aware instant in the zone of the aggregates, which a rebuild brings to the setting's."""
    return today_of(now, calendar_in_use(using))


def has_long_tail(using: str) -> bool:
    """Whether more page views are not folded yet than are tallied in memory."""
    try:
        return folding.tail_length(using, conf.TAIL_LIMIT) > conf.TAIL_LIMIT
    except TableWentBackError:  # then there is no tail; the admin's list of runs says what to do
        return False


def first_and_last(using: str, calendar: Calendar) -> tuple[datetime | None, date | None, date | None]:
    """The first page view that is in the table; and the first and the last day that have one, deleted or not."""
    times = PageView.objects.using(using).values_list("viewed_at", flat=True)
    # each by the index; SQLite would look at all of it for both at once
    first, last = times.order_by("viewed_at").first(), times.order_by("-viewed_at").first()
    known = [*(today_of(at, calendar) for at in (first, last) if at is not None), *_counted_days(using)]
    return first, min(known, default=None), max(known, default=None)


def _counted_days(using: str) -> list[date]:
    """The first and last day of the aggregates, if they have any: they keep page views that were deleted."""
    ends = ["MIN(a.bucket)", "MAX(a.bucket)"]
    _, [buckets] = read_aggregates(using, ends, Where(Dimension.SITE, Granularity.DAY))
    return [day_date(bucket) for bucket in buckets if bucket is not None]


def _folded_until(using: str) -> datetime | None:
    """The time of the earliest page view that is not folded: before it, nothing is left out.

    Ids do not say so, since an import may bring old ones. Of a very long tail its beginning is looked at.
    """
    generation = folding.active_generation(using)
    views = PageView.objects.using(using).filter(pk__gt=generation.cursor if generation else 0).order_by("pk")
    found: datetime | None = views[:MOST_TAIL].aggregate(first=Min("viewed_at"))["first"]
    return found
