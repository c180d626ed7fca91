"""The chart of a range in the words of the language: what stands under it, beside it, and in its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, tzinfo

from django.utils.formats import date_format, time_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_pagestats.charts import Drawing, Slot, columns, small_line
from django_pagestats.dashboard.ranges import DAY, HOUR, MONTH, Days
from django_pagestats.dashboard.series import Asked, Count, Point

#: points of a small line, at the most
MOST_LINE_POINTS = 90


def drawn(
    points: Sequence[Point],
    asked: Asked,
    *,
    title: str,
    name: str = "pagestats-chart",
    notes: Sequence[tuple[str, ...]] = (),
) -> Drawing:
    """The chart of `series()`; `notes` has the texts at each point, as `noting.texts_at()` gives them."""
    told = notes or [()] * len(points)
    slots = [_slot(point, asked, texts) for point, texts in zip(points, told, strict=True)]
    return columns(slots, title=title, name=name)


def _slot(point: Point, asked: Asked, notes: tuple[str, ...]) -> Slot:
    zone, interval = asked.calendar.zone, asked.interval
    count, before = point.count, point.count_before
    is_one_day = asked.days.count == 1
    return Slot(
        label=_label(point, interval, zone, is_one_day=is_one_day),
        name=name_of(point.days, point.begins_at, interval, zone),
        page_views=_page_views(count),
        visitors=None if count is None else count.visitors,
        name_before=name_of(point.days_before, point.begins_at_before, interval, zone) if before else "",
        page_views_before=_page_views(before),
        visitors_before=None if before is None else before.visitors,
        is_running=point.is_running,
        is_cut=point.is_cut,
        notes=notes,
    )


def line_of(page_views: Mapping[date, int], days: Days, label: str = "") -> SafeString:
    """A small line of page views day by day; of a single day there is none."""
    return small_line(line_points(page_views, days), label) if days.count > 1 else SafeString("")


def line_points(page_views: Mapping[date, int], days: Days) -> list[int]:
    """Page views of each day or, of a long range, of some days each."""
    step = -(-days.count // MOST_LINE_POINTS)
    values = [0] * -(-days.count // step)
    for day, count in page_views.items():
        if day in days:
            values[(day - days.start).days // step] += count
    return values


def _page_views(count: Count | None) -> int | None:
    return None if count is None else count.page_views


def _label(point: Point, interval: str, zone: tzinfo, *, is_one_day: bool) -> str:
    """Short, since several stand beside each other; the year is in the name."""
    if interval == MONTH:
        return date_format(point.days.start, "YEAR_MONTH_FORMAT")
    if point.begins_at is not None and is_one_day:
        return time_format(point.begins_at.astimezone(zone).time(), "TIME_FORMAT")
    return date_format(point.days.start, "MONTH_DAY_FORMAT")


def name_of(days: Days | None, begins_at: datetime | None, interval: str, zone: tzinfo) -> str:
    """An hour, day, week or month of a chart in full, as in a sentence of its own."""
    if days is None:
        return ""
    if interval == MONTH and days.is_month:
        return date_format(days.start, "YEAR_MONTH_FORMAT")
    if interval == HOUR and begins_at is not None:
        return _hour(begins_at, zone)
    return day_name(days.start) if interval == DAY or days.count == 1 else days_name(days)


def _hour(begins_at: datetime, zone: tzinfo) -> str:
    local = begins_at.astimezone(zone)
    return gettext("%(day)s, %(time)s") % {
        "day": day_name(local.date()),
        "time": time_format(local.time(), "TIME_FORMAT"),
    }


def day_name(day: date) -> str:
    """A day with its weekday and its year."""
    names = {"weekday": date_format(day, "l"), "date": date_format(day, "DATE_FORMAT")}
    return gettext("%(weekday)s, %(date)s") % names


def days_name(days: Days) -> str:
    """Some days by the first and the last one."""
    first, last = (date_format(day, "DATE_FORMAT") for day in (days.start, days.last))
    return first if days.count == 1 else gettext("%(first)s to %(last)s") % {"first": first, "last": last}
