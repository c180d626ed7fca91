"""With which days a range is compared, up to which hour, and what may be said of the change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.buckets import Calendar, day_number, epoch_seconds, instant
from django_pagestats.dashboard.ranges import MONTH, Choice, Days, month_start, neighbour, today_of

WEEKDAYS, DATES, YEAR_BEFORE, NONE = "weekdays", "dates", "year", "none"
#: what is offered, in this order; a free choice is asked for by its dates
COMPARISONS: dict[str, Promise] = {
    WEEKDAYS: _("The same weekdays before"),
    DATES: _("The days before"),
    YEAR_BEFORE: _("The year before"),
    NONE: pgettext_lazy("compared with", "Nothing"),
}
#: on fewer a percentage says nothing
LEAST_BASE = 10


@dataclass(frozen=True, slots=True)
class Against:
    """What was asked for to compare with: one of COMPARISONS, or FREE with its days."""

    name: str = WEEKDAYS
    free: Days | None = None


class Period(NamedTuple):
    """A range as `stats` takes it: dates or, of an hour of the site, aware datetimes."""

    start: date
    end: date | datetime


class Obstacle(Enum):
    """Why a change would say nothing."""

    #: of the range nothing is over that could be compared
    BEGUN = "begun"
    #: of one of both a part is of before the first page view: the change would be that of recording
    NOT_RECORDED = "not recorded"
    #: what it is compared with is not over
    TO_COME = "to come"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The days before, and what of them has the same length as what there is of the range so far.

    `counted` and `before` are compared where hours are kept, of the site; both end at the same hour if the range has
    today in it. `counted_days` and `days_before` are compared where days are: today counts as a whole one.
    """

    #: all of the days before
    days: Days
    counted: Period
    before: Period
    counted_days: Days
    days_before: Days
    #: counted and before end at this hour of the day, an instant of today; None: they are whole days
    until: datetime | None
    #: how far away the days before are: in months or else in days
    months: int = 0
    shift: int = 0

    def is_known(self, since: date | None) -> bool:
        """Whether there were page views from the first of the days before on: else a change is that of recording."""
        return since is not None and since <= min(self.days.start, self.counted.start)

    def obstacle(self, since: date | None, today: date) -> Obstacle | None:
        """Why nothing is compared; None: it is."""
        if self.counted.start == self.counted.end:
            return Obstacle.BEGUN
        if not self.is_known(since):
            return Obstacle.NOT_RECORDED
        return Obstacle.TO_COME if self.days_before.end > today else None

    @property
    def named_days(self) -> Days:
        """Those that a page says it compares with: of a range that is not over as much as of that is."""
        return self.days_before if self.days_before.count else self.days

    def part(self, piece: Days, interval: str) -> Days | None:
        """The days that stand beside a piece of the range; None where there are none.

        Of different pieces they are different ones, and no more than the piece has; those of a month are a month.
        """
        start, end = (self._beside(day) for day in (piece.start, piece.end))
        if piece.start == self.counted.start:  # which may be 29 February, with 28 February beside it
            start = self.days.start
        if interval != MONTH:
            end = min(end, start + timedelta(days=piece.count))
        part = Days(max(start, self.days.start), min(end, self.days.end))
        return part if part.count > 0 else None

    def _beside(self, day: date) -> date:
        """The day beside a day or, where there is none in its month, the first one of the next month."""
        if not self.months:
            return day + timedelta(days=self.shift)
        return _day_of_months(day, self.months) or month_start(day, self.months + 1)


def compare(choice: Choice, days: Days, against: Against, now: datetime, calendar: Calendar) -> Comparison | None:
    """What a range is compared with; None: with nothing. `days` are those of the choice.

    `now` is the instant up to which all is counted.
    """
    if against.name == NONE or choice.is_all_time:
        return None
    base, months, shift = _base(choice, days, against)
    whole = Comparison(base, Period(*_ends(days)), Period(*_ends(base)), days, base, None, months, shift)
    today = today_of(now, calendar)
    if days.end <= today:
        return whole
    if days.start > today:  # it is to come
        nothing, none_before = days.until(days.start), base.until(base.start)
        return replace(
            whole,
            counted=Period(*_ends(nothing)),
            before=Period(*_ends(none_before)),
            counted_days=nothing,
            days_before=none_before,
        )
    tomorrow, beside = (day + timedelta(days=1) for day in (today, _day_at_least(whole, today)))
    counted, before, until = _until_hour(whole, days, today, now, calendar)
    return replace(
        whole,
        counted=counted,
        before=before,
        counted_days=days.until(tomorrow),
        days_before=base.until(beside),
        until=until,
    )


def percentage(current: int, before: int) -> float | None:
    """By how much it has changed; None where the base is too small to say so."""
    return None if before < LEAST_BASE else 100 * (current - before) / before


# -- which days


def _base(choice: Choice, days: Days, against: Against) -> tuple[Days, int, int]:
    """The days before, and how far away they are: in months or else in days."""
    if against.free is not None:
        return against.free, 0, (against.free.start - days.start).days
    if against.name == YEAR_BEFORE:
        end = _day_of_months(days.end, -12) or month_start(days.end, -11)
        # from 29 February on: from the 28th, or it would be a day less
        start = _day_of_months(days.start, -12) or month_start(days.start, -11) - timedelta(days=1)
        return Days(start, end), -12, 0
    if against.name == DATES and choice.is_of_months:
        before = neighbour(choice, days, -1)
        return before, (before.start.year - days.start.year) * 12 + before.start.month - days.start.month, 0
    shift = -days.count if against.name == DATES else -7 * -(-days.count // 7)
    return days.moved(shift), 0, shift


def _ends(days: Days) -> tuple[date, date]:
    return days.start, days.end


def _day_of_months(day: date, months: int) -> date | None:
    """The same day of another month, if that has it."""
    month = month_start(day, months)
    try:
        return month.replace(day=day.day)
    except ValueError:
        return None


def _day_at_least(comparison: Comparison, day: date) -> date:
    """The day before that stands beside a day, or where it would."""
    if comparison.months:
        months = comparison.months
        return _day_of_months(day, months) or month_start(day, months + 1) - timedelta(days=1)
    return day + timedelta(days=comparison.shift)


# -- up to which hour


def _until_hour(
    comparison: Comparison, days: Days, today: date, now: datetime, calendar: Calendar
) -> tuple[Period, Period, datetime | None]:
    """What is over of a range that has today in it, in whole hours, and as many hours of the days before.

    Where a day begins within an hour, as where clocks once went from 23:30 to 0:00, it is whole days.
    """
    base = comparison.days
    beside = _day_at_least(comparison, today)
    if beside not in base:  # all of it is over
        beside = base.end
    hour = calendar.hour_start(calendar.hour(epoch_seconds(now)))
    midnight = calendar.day_start(day_number(today))
    edges = [calendar.day_start(day_number(day)) for day in (days.start, today, base.start, beside)]
    is_nothing_over = hour <= midnight and days.start == today
    if is_nothing_over or not all(calendar.begins_hour(edge) for edge in edges):
        return Period(days.start, today), Period(base.start, beside), None
    until = instant(max(hour, midnight))  # in the first hour of the day today is left out
    if beside == base.end:
        return Period(days.start, until), Period(base.start, base.end), until
    clock = until.astimezone(calendar.zone).time()
    return Period(days.start, until), Period(base.start, _same_hour(beside, clock, calendar)), until


def _same_hour(day: date, clock: time, calendar: Calendar) -> datetime:
    """The hour that begins on a day when clocks show that; where they are put forward over it, the one after."""
    seconds = epoch_seconds(datetime.combine(day, clock, calendar.zone))
    if not calendar.begins_hour(seconds):
        seconds = calendar.hour_start(calendar.hour(seconds) + 1)
    return instant(seconds)
