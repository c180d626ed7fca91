"""Who is on the site now: page views of the last minutes, read by the index of their time, and of no aggregate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count

from django_pagestats.merging import database_for
from django_pagestats.models import PageView
from django_pagestats.stats.answers import PageStats
from django_pagestats.stats.questions import MOST_PAGES

if TYPE_CHECKING:
    from django.db.models import QuerySet

    PageViews = QuerySet[PageView]

#: a day: for more there are aggregates
MOST_MINUTES = 1_440


def count_visitors(using: str, minutes: float, now: datetime) -> int:
    """The distinct session keys of the page views since so many minutes ago."""
    counted = _recent(using, minutes, now).aggregate(visitors=Count("session_key", distinct=True))
    return int(counted["visitors"])


def most_viewed(using: str, minutes: float, limit: int, now: datetime) -> list[PageStats]:
    """The most viewed paths of them; of equal page views in the order of their bytes."""
    pages = _recent(using, minutes, now).order_by().values_list("path")
    counted = pages.annotate(page_views=Count("pk"), visitors=Count("session_key", distinct=True))
    return [PageStats(*page) for page in counted.order_by("-page_views", "path")[: min(limit, MOST_PAGES)]]


def _recent(using: str, minutes: float, now: datetime) -> PageViews:
    if not isinstance(minutes, (int, float)) or isinstance(minutes, bool) or not 0 < minutes <= MOST_MINUTES:
        raise ValueError(f"minutes={minutes!r}: a number above 0 and up to {MOST_MINUTES:,} would do.")
    database_for(using).refuse_garbling()
    # those of the future are of a clock that is wrong, or of an import: they would be here for as long
    return PageView.objects.using(using).filter(viewed_at__gt=now - timedelta(minutes=minutes), viewed_at__lte=now)
