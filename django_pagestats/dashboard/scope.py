"""What one page of the dashboard is about: a snapshot, the days in it, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypedDict

from django_pagestats import folding, stats
from django_pagestats.buckets import Calendar
from django_pagestats.conf import conf
from django_pagestats.dashboard.comparing import Comparison, compare
from django_pagestats.dashboard.public import for_everybody
from django_pagestats.dashboard.ranges import DEFAULT, TODAY, Days, today_of
from django_pagestats.dashboard.state import State
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import PageView
from django_pagestats.stats.ranges import calendar_of

#: the tables, with the columns by which each can be sorted
TABLES: Mapping[str, tuple[str, ...]] = {"pages": ("path", "page_views", "visitors")}


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
    #: the first day that has a page view; None: there is none at all
    since: date | None
    #: page views that are too many to be counted are left out, as an answer would take long
    is_exact: bool
    #: anybody sees it
    is_public: bool

    @property
    def bounds(self) -> Bounds:
        return {} if self.state.range.is_all_time else bounds(self.days)

    @property
    def zone(self) -> str:
        return str(self.calendar.zone)

    @property
    def today(self) -> date:
        return today_of(self.now, self.calendar)


def bounds(days: Days) -> Bounds:
    return {"start": days.start, "end": days.end}


@contextmanager
def scope_of(query: Mapping[str, Any], *, using: str, now: datetime, is_public: bool) -> Iterator[Scope]:
    """What a query asks for; it ends with the block."""
    is_exact = not has_long_tail(using)
    with stats.snapshot(exact=is_exact, using=using) as taken:
        calendar = calendar_of(taken.time_zone)
        today = today_of(now, calendar)
        first = PageView.objects.using(using).order_by("viewed_at").values_list("viewed_at", flat=True).first()
        since = None if first is None else today_of(first, calendar)
        # a new site opens on today
        default = TODAY if since is None or since >= today else DEFAULT
        state = State.parse(query, tables=TABLES, default=default)
        state = for_everybody(state, default) if is_public else state
        days = state.range.days(today, since)
        comparison = compare(state.range, days, state.against, now, calendar)
        yield Scope(using, taken, state, days, comparison, calendar, now, since, is_exact, is_public)


def has_long_tail(using: str) -> bool:
    """Whether more page views are not folded yet than are tallied in memory."""
    try:
        return folding.tail_length(using, conf.TAIL_LIMIT) > conf.TAIL_LIMIT
    except TableWentBackError:  # then there is no tail; the admin's list of runs says what to do
        return False
