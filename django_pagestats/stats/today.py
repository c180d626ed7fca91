"""Which day it is for the aggregates: they are in a zone of their own, until a rebuild brings that of the setting."""

from __future__ import annotations

from datetime import date, datetime

from django_pagestats.buckets import day_date, epoch_seconds
from django_pagestats.stats.folded import Folded
from django_pagestats.stats.ranges import calendar_of


def local_today(now: datetime, using: str) -> date:
    """The local date of an aware instant in the zone of the aggregates; of the setting, where there are none."""
    return day_date(calendar_of(Folded(using).state.time_zone).day(epoch_seconds(now)))
