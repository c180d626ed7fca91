"""Of which days the mail is: the last week or month that is over, and the one before, which it is compared with."""

from __future__ import annotations

from datetime import date, timedelta

from django_pagestats.dashboard.ranges import Days, month_start, week_start

#: the values of PAGESTATS_MAIL_EVERY
EVERY_WEEK, EVERY_MONTH = "week", "month"


def last_period(every: str, today: date, first_weekday: int) -> Days:
    """The last whole week or month before a day; `first_weekday` is 0 for Sunday, 1 for Monday."""
    if every == EVERY_MONTH:
        return Days(month_start(today, -1), month_start(today))
    start = week_start(today, first_weekday)
    return Days(start - timedelta(days=7), start)


def period_before(every: str, period: Days) -> Days:
    """The week or month before."""
    if every == EVERY_MONTH:
        return Days(month_start(period.start, -1), period.start)
    return period.moved(-7)
