"""From where to where the numbers go: what is dated in the future, and where the chart of all time begins.

A clock that is wrong, or an import, may bring page views of years ago or to come. Those to come are in no number, as no
chart can show them; for a few of long ago nobody wants to look at decades without any.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from django_pagestats.buckets import Calendar, day_date, day_number, epoch_seconds, instant
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.ranges import Days, month_start
from django_pagestats.models import PageView
from django_pagestats.stats import Snapshot

#: of so many days of all time, and of so many less in the chart, it is worth it
LEAST_DAYS, LEAST_LEFT_OUT = 3 * 366, 366
#: page views of so small a part of all, or so few, are too few to begin with; but never more than a tenth
PART, FEW = 1_000, 10


class Beginning(NamedTuple):
    """The days of a chart, and the page views that are of before them."""

    days: Days
    page_views_before: int = 0


def beginning_of(taken: Snapshot, days: Days) -> Beginning:
    """All time without the years at its beginning that have next to no page views; it begins with a month then."""
    if days.count <= LEAST_DAYS:
        return Beginning(days)
    total = taken.count_page_views(start=days.start, end=days.end)
    few = min(max(total // PART, FEW), total // 10)
    if taken.count_page_views(start=days.start, end=days.start + timedelta(days=LEAST_LEFT_OUT)) > few:
        return Beginning(days)  # as of most sites
    before, of_month, start = 0, 0, days.start
    for point in taken.time_series("day", days.start, days.end):
        month = month_start(point.start)
        if month > start:
            before, of_month, start = before + of_month, 0, month
        of_month += point.page_views
        if before + of_month > few:
            break
    if (start - days.start).days < LEAST_LEFT_OUT:
        return Beginning(days)
    return Beginning(Days(start, days.end), before)


def beginning_text(beginning: Beginning, first: date, *, is_public: bool) -> str:
    """That a chart begins later than the range, whose first day is `first`; empty: it does not."""
    if beginning.days.start <= first:
        return ""
    month = date_format(beginning.days.start, "YEAR_MONTH_FORMAT")
    if is_public:
        return gettext("The chart begins with %s. A few page views are of before.") % month
    told = ngettext(
        "The chart begins with %(month)s. Of before is %(count)s page view, which is of %(day)s; it is in the totals.",
        "The chart begins with %(month)s. Of before are %(count)s page views, from %(day)s on; they are in the totals.",
        beginning.page_views_before,
    )
    day = date_format(first, "DATE_FORMAT")
    return told % {"month": month, "count": whole(beginning.page_views_before), "day": day}


def ahead_text(taken: Snapshot, last_day: date | None, *, using: str, now: datetime, calendar: Calendar) -> str:
    """What there is to say of page views that are dated later than now, by whole hours; empty: there are none.

    `last_day` is the latest local day that has a page view.
    """
    today = calendar.day(epoch_seconds(now))
    if last_day is None or day_number(last_day) < today:
        return ""
    told = []
    next_hour = instant(calendar.hour_start(calendar.hour(epoch_seconds(now)) + 1))
    tomorrow = instant(calendar.day_start(today + 1))
    later = PageView.objects.using(using).filter(viewed_at__gte=next_hour, viewed_at__lt=tomorrow).count()
    if later:
        told.append(
            ngettext(
                "%s page view is dated later today: it is counted.",
                "%s page views are dated later today: they are counted.",
                later,
            )
            % whole(later)
        )
    after = taken.count_page_views(start=day_date(today + 1)) if day_number(last_day) > today else 0
    if after:
        told.append(
            ngettext(
                "%(count)s page view is dated %(day)s, after today: it is in no number here.",
                "%(count)s page views are dated after today, up to %(day)s: they are in no number here.",
                after,
            )
            % {"count": whole(after), "day": date_format(last_day, "DATE_FORMAT")}
        )
    return " ".join(told)
