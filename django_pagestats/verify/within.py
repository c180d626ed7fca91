"""Which page views are those of a range of days: their primary keys, found by the index of their times.

Where times are in the order of the primary key these are the range's own; where an import brought old ones they lie
between the first and the last, with others that are passed over.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from django.db.models import Count, Max, Min

from django_pagestats.buckets import Calendar, day_date, day_number, instant
from django_pagestats.models import PageView
from django_pagestats.verify.groups import Group, clean_boundary_from, is_clean_boundary

#: page views are of 1970 to 2199: beyond these days there are rows at the most that should not be there
FIRST, LAST = date(1969, 12, 1), date(2200, 2, 1)


class Keys(NamedTuple):
    """The primary keys `after < pk <= upto`; `page_views`: so many of them are meant, None: all."""

    after: int | None
    upto: int
    page_views: int | None = None


def days_of(calendar: Calendar, start: date | None, end: date | None) -> Group:
    """The days `[start, end)`, None: without bound; and neighbours that cannot be told from them by time."""
    if start is not None and end is not None and start >= end:
        return Group(0, 0)
    first = last = None
    if start is not None and start > FIRST:
        first = day_number(min(start, LAST))
        while not is_clean_boundary(calendar, first):
            first -= 1
    if end is not None and end < LAST:
        last = clean_boundary_from(calendar, day_number(max(end, FIRST)))
    return Group(first, last)


def keys_of(using: str, cursor: int, calendar: Calendar, days: Group) -> Keys:
    """Of the page views of these days up to a cursor."""
    if days == Group():
        return Keys(None, cursor)
    views = PageView.objects.using(using).filter(pk__lte=cursor)
    if days.first is not None:
        views = views.filter(viewed_at__gte=instant(calendar.day_start(days.first)))
    if days.end is not None:
        views = views.filter(viewed_at__lt=instant(calendar.day_start(days.end)))
    found = views.aggregate(count=Count("pk"), lowest=Min("pk"), highest=Max("pk"))
    if not found["count"]:
        return Keys(cursor, cursor, 0)
    return Keys(found["lowest"] - 1, found["highest"], found["count"])


def dates(days: Group) -> tuple[date | None, date | None]:
    """The days as dates, `[start, end)`."""
    first, end = (None if day is None else day_date(day) for day in (days.first, days.end))
    return first, end
