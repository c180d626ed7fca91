"""The last days, today included, as numbers beside the content are of: all of them of one instant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from django.db import router

from django_pagestats import stats
from django_pagestats.dashboard.ranges import Days, today_of
from django_pagestats.dashboard.scope import Bounds, bounds, has_long_tail
from django_pagestats.models import Aggregate
from django_pagestats.stats.ranges import calendar_of

#: whole weeks, so that no weekday is among them once more than another
DAYS = 28


@dataclass(frozen=True)
class Recent:
    """What is asked is asked of `taken`, so that the numbers agree."""

    using: str
    taken: stats.Snapshot
    days: Days
    #: every page view is counted; else those that are folded, since very many are not
    is_exact: bool

    @property
    def bounds(self) -> Bounds:
        return bounds(self.days)


@contextmanager
def recent(days: int, *, using: str | None = None, now: datetime | None = None) -> Iterator[Recent]:
    """The last `days` local days, in the zone of the statistics; it ends with the block."""
    alias = using or alias_beside()
    is_exact = not has_long_tail(alias)
    with stats.snapshot(exact=is_exact, using=alias) as taken:
        today = today_of(now or datetime.now(timezone.utc), calendar_of(taken.time_zone))
        span = Days(today - timedelta(days=days - 1), today + timedelta(days=1))
        yield Recent(alias, taken, span, is_exact)


def alias_beside() -> str:
    """The database that the numbers come from, wherever the objects are."""
    return router.db_for_read(Aggregate)
