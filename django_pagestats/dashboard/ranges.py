"""Which days a range of the dashboard has, and into which pieces a chart cuts them.

A relative range, such as the last 28 days, moves on with the day; a free choice stays where it is. Days are local ones,
in the zone of the statistics, and half-open: `[start, end)`. What is relative includes today, as everywhere here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from django.utils.formats import get_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.buckets import Calendar, day_date, epoch_seconds
from django_pagestats.charts import MOST_POINTS
from django_pagestats.conf import conf

TODAY, YESTERDAY, MONTH, LAST_MONTH, YEAR, ALL = "today", "yesterday", "month", "last_month", "12m", "all"
#: the last so many days; 28 and 91 are whole weeks, so that no weekday is in one of them once more than another
LAST_DAYS = {"7d": 7, "28d": 28, "91d": 91}
FREE = "free"
#: what is offered, in this order; a free choice is asked for by its dates
RANGES: dict[str, Promise] = {
    TODAY: pgettext_lazy("range", "Today"),
    YESTERDAY: pgettext_lazy("range", "Yesterday"),
    "7d": _("Last 7 days"),
    "28d": _("Last 28 days"),
    "91d": _("Last 91 days"),
    MONTH: pgettext_lazy("range", "This month"),
    LAST_MONTH: pgettext_lazy("range", "Last month"),
    YEAR: _("Last 12 months"),
    ALL: pgettext_lazy("range", "All time"),
}
DEFAULT = "28d"

HOUR, DAY, WEEK = "hour", "day", "week"
#: by what a chart can be cut; MONTH is one of them, too
INTERVALS: dict[str, Promise] = {
    HOUR: pgettext_lazy("interval", "Hour"),
    DAY: pgettext_lazy("interval", "Day"),
    WEEK: pgettext_lazy("interval", "Week"),
    MONTH: pgettext_lazy("interval", "Month"),
}
#: of hours one of which comes twice
MOST_DAYS_OF_HOURS = 31
#: of a chart by months, rounded down
MOST_DAYS = MOST_POINTS * 30
#: page views are of these years
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2199, 12, 31)


@dataclass(frozen=True, slots=True)
class Days:
    """Whole local days, `start <= day < end`."""

    start: date
    end: date

    @property
    def count(self) -> int:
        return (self.end - self.start).days

    @property
    def last(self) -> date:
        """Its last day, which people name, where code names the end."""
        return self.end - timedelta(days=1)

    @property
    def is_month(self) -> bool:
        """Whether they are a calendar month."""
        return self.start.day == 1 and self.end == month_start(self.start, 1)

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    def until(self, end: date) -> Days:
        """Its part before a day; may be empty."""
        return Days(self.start, max(self.start, min(self.end, end)))

    def moved(self, days: int) -> Days:
        return Days(self.start + timedelta(days=days), self.end + timedelta(days=days))


@dataclass(frozen=True, slots=True)
class Choice:
    """The range that was asked for: one of RANGES, or FREE with its days."""

    name: str = DEFAULT
    free: Days | None = None

    @property
    def is_all_time(self) -> bool:
        return self.name == ALL

    @property
    def is_of_months(self) -> bool:
        return self.name in (MONTH, LAST_MONTH, YEAR)

    def days(self, today: date, since: date | None = None) -> Days:
        """Its days; those of this month, or of a free choice, may be days to come.

        `since` is the first day that has a page view, where all time begins.
        """
        if self.free is not None:
            return self.free
        tomorrow = today + timedelta(days=1)
        if self.name in LAST_DAYS:
            return Days(tomorrow - timedelta(days=LAST_DAYS[self.name]), tomorrow)
        first, following = month_start(today), month_start(today, 1)
        return {
            TODAY: Days(today, tomorrow),
            YESTERDAY: Days(today - timedelta(days=1), today),
            MONTH: Days(first, following),
            LAST_MONTH: Days(month_start(today, -1), first),
            YEAR: Days(month_start(today, -11), following),
            ALL: Days(min(since or today, today), tomorrow),
        }[self.name]


def today_of(now: datetime, calendar: Calendar) -> date:
    """The local date of an aware instant, in the zone of a calendar."""
    return day_date(calendar.day(epoch_seconds(now)))


def month_start(day: date, months: int = 0) -> date:
    """The first day of a day's month, or of one so many months later."""
    number = day.year * 12 + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def neighbour(choice: Choice, days: Days, by: int) -> Days:
    """The days of the range before (-1), or after (1): as long or, of months, as many months."""
    if not choice.is_of_months:
        return days.moved(by * days.count)
    months = by * (12 if choice.name == YEAR else 1)
    return Days(month_start(days.start, months), month_start(days.end, months))


# -- weeks


def first_weekday() -> int:
    """The day on which weeks begin, as Django counts it: 0 is Sunday, 1 Monday."""
    day = conf.FIRST_DAY_OF_WEEK
    return int(get_format("FIRST_DAY_OF_WEEK")) if day is None else day


def week_start(day: date, first: int) -> date:
    """The first day of a day's week."""
    return day - timedelta(days=(day.isoweekday() - first) % 7)


# -- the pieces of a chart


@dataclass(frozen=True, slots=True)
class Piece:
    """A day, week or month of a range, as far as the range has it."""

    days: Days
    #: the range has a part of this week or month only
    is_cut: bool = False


def intervals_of(days: Days) -> list[str]:
    """By what a range can be cut without too many points, or only one."""
    can = {
        HOUR: days.count <= MOST_DAYS_OF_HOURS,
        DAY: 1 < days.count <= MOST_POINTS,
        WEEK: 7 < days.count <= 7 * (MOST_POINTS - 1),
        MONTH: days.count > 31,
    }
    return [name for name, is_possible in can.items() if is_possible]


def interval_of(days: Days, wanted: str = "") -> str:
    """The wanted interval if it will do, else the usual one of a range so long."""
    if wanted in intervals_of(days):
        return wanted
    usual = ((1, HOUR), (92, DAY), (250, WEEK))
    return next((name for most, name in usual if days.count <= most), MONTH)


def pieces(days: Days, interval: str, first: int) -> list[Piece]:
    """A range cut by days, weeks or months; `first` is the day on which weeks begin."""
    if interval == DAY:
        return [Piece(Days(day, day + timedelta(days=1))) for day in _days(days)]
    if interval == WEEK:
        begin = week_start(days.start, first)
        edges = [begin + timedelta(weeks=week) for week in range((days.end - begin).days // 7 + 2)]
    else:
        begin = month_start(days.start)
        count = (days.end.year - begin.year) * 12 + days.end.month - begin.month
        edges = [month_start(begin, month) for month in range(count + 2)]
    whole = (Days(start, end) for start, end in pairwise(edges) if start < days.end)
    cut = ((of, Days(max(of.start, days.start), min(of.end, days.end))) for of in whole)
    return [Piece(part, is_cut=part != of) for of, part in cut if part.count > 0]


def _days(days: Days) -> list[date]:
    return [days.start + timedelta(days=number) for number in range(days.count)]
