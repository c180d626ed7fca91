"""The whole page: all of its panels, answered by one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext, pgettext

from django_pagestats.charts import Drawing
from django_pagestats.dashboard.audience import Audience, audience_of
from django_pagestats.dashboard.audience_page import (
    audience_chart,
    audience_compared,
    audience_parts,
    page_title,
    told_of,
)
from django_pagestats.dashboard.checking import checks_of
from django_pagestats.dashboard.comparing import Obstacle
from django_pagestats.dashboard.drawing import day_name, drawn
from django_pagestats.dashboard.extent import beginning_text
from django_pagestats.dashboard.figures import (
    ACTIVE_MINUTES,
    Totals,
    active_now,
    compared_days,
    ranges_of,
    ranges_of_visits,
    totals_of,
)
from django_pagestats.dashboard.kinds import KIND_OF_PAGES
from django_pagestats.dashboard.left_out import left_out_of
from django_pagestats.dashboard.menus import compare_query, day_query, menus_of
from django_pagestats.dashboard.noting import list_of, note_day, notes_of, texts_at
from django_pagestats.dashboard.numbers import FEW
from django_pagestats.dashboard.panels import panels_of
from django_pagestats.dashboard.ranges import Days, first_weekday, interval_of, today_of
from django_pagestats.dashboard.refused import refused
from django_pagestats.dashboard.scope import Places, Scope, scope_of
from django_pagestats.dashboard.series import Asked, Point, series, sets_of
from django_pagestats.dashboard.tables import table_of
from django_pagestats.dashboard.told import few_text, told_panels
from django_pagestats.dashboard.trust import ahead_of, time_text, trust_of
from django_pagestats.dashboard.untold import places_told
from django_pagestats.exceptions import DimensionError, TailTooLongError
from django_pagestats.notes import Found
from django_pagestats.silence import last_viewed_at
from django_pagestats.stats.together import read_together, read_visits_together


@dataclass(frozen=True, slots=True)
class Empty:
    """What to do where there is nothing to show."""

    #: no page view was ever recorded
    is_new: bool
    #: the last day that has one, in words and as a query
    day: str = ""
    query: str = ""


def page_of(
    query: Mapping[str, Any], *, using: str, now: datetime, is_public: bool = False, places: Places | None = None
) -> dict[str, Any]:
    """What the template needs; of any query, however hostile."""
    with scope_of(query, using=using, now=now, is_public=is_public, places=places) as scope:
        told = refused(query, scope)
        try:
            audience = audience_of(scope)
        except (DimensionError, TailTooLongError) as error:
            told.append(gettext("It cannot be told who has these filters, so they are left out.") + f" {error}")
            scope = replace(scope, state=replace(scope.state, filters=()))
            audience = audience_of(scope)
        parts = _of_site(scope) if audience is None else _of_audience(scope, audience)
        return {
            "title": _title(scope),
            "menus": menus_of(scope),
            "refused": told,
            "compare_query": compare_query(scope),
            "active_minutes": ACTIVE_MINUTES,
            "begins": beginning_text(scope.beginning, scope.days.start, is_public=is_public),
            "checks": None if is_public else checks_of(scope),
            "ahead": "" if is_public else ahead_of(scope),
            "trust": trust_of(scope, parts["totals"]),
            "audience": None if is_public else told_of(scope, audience),
            "is_left_out": scope.is_left_out,
            "note_day": note_day(scope),
            "state": scope.state,
            "days": scope.days,
            "is_public": is_public,
            "few": FEW,
            **parts,
        }


def _of_site(scope: Scope) -> dict[str, Any]:
    read_ahead(scope)
    totals = totals_of(scope)
    if scope.is_public:
        empty = empty_of(scope, totals)
        nobody = "" if empty or scope.is_left_out else few_text(totals.visitors)
        return {**_of_everybody(scope, totals), "crossed": told_panels(scope), "nobody": nobody}
    return {
        **_of_everybody(scope, totals),
        "pages": table_of(scope, KIND_OF_PAGES, totals),
        "panels": panels_of(scope, totals),
        "left_out": left_out_of(scope, totals),
    }


def _of_everybody(scope: Scope, totals: Totals) -> dict[str, Any]:
    noted, points = notes_of(scope), points_of(scope)
    running = [it.count.visitors for it in points if it.is_running and it.count is not None]
    return {
        "totals": totals,
        "active": active_now(scope, [totals.visitors, *running] if scope.has_today else []),
        "chart": chart_of(scope, points, noted),
        "notes": list_of(noted),
        "compared": compared_text(scope),
        "empty": empty_of(scope, totals),
    }


def _of_audience(scope: Scope, audience: Audience) -> dict[str, Any]:
    """With a goal and no filter it is about everybody, but for the tables."""
    parts = audience_parts(scope, audience)
    if not audience.filters:
        return {**parts, **_of_everybody(scope, parts["totals"])}
    noted = notes_of(scope, scope.state.path)
    chart = audience_chart(scope, audience, noted)
    return {
        **parts,
        "chart": chart,
        "notes": list_of(noted),
        "compared": audience_compared(scope),
        "empty": Empty(is_new=True) if scope.since is None else None,
    }


def _title(scope: Scope) -> str:
    path = page_title(scope)
    return gettext("Statistics of %s") % path if path else pgettext("heading", "Statistics")


def asked_of(scope: Scope) -> Asked:
    """What the chart is of."""
    return Asked(
        scope.chart_days,
        interval_of(scope.chart_days, scope.state.interval),
        scope.now,
        scope.calendar,
        first_weekday(),
        scope.since,
        scope.compared,
        folded_until=scope.folded_until,
    )


def read_ahead(scope: Scope) -> None:
    """Read what the totals and the chart ask of the site together, each day of it once: its sets, and its visits."""
    ranges = [*ranges_of(scope), *((days.start, days.end) for days in sets_of(asked_of(scope)))]
    read_together(scope.taken, ranges)
    read_visits_together(scope.taken, ranges_of_visits(scope))


def points_of(scope: Scope) -> list[Point]:
    """The places of the chart, with what may be told of each."""
    points = series(scope.taken, asked_of(scope))
    return _told(points, scope) if scope.is_public else points


def chart_of(scope: Scope, points: Sequence[Point], noted: Found) -> Drawing:
    asked = asked_of(scope)
    texts = texts_at(points, noted, asked.interval)
    return drawn(points, asked, title=gettext("Page views and visitors"), notes=texts)


def _told(points: Sequence[Point], scope: Scope) -> list[Point]:
    """With the counts that the public is told."""
    start, begin = scope.days.start, scope.chart_days.start
    beside = scope.taken.count_unique_visitors(start=start, end=begin) if start < begin else 0
    visitors = [None if point.count is None else point.count.visitors for point in points]
    told = places_told(visitors, scope.taken.count_unique_visitors(**scope.bounds), beside=beside)
    return [point if is_told else replace(point, count=None) for point, is_told in zip(points, told, strict=True)]


def compared_text(scope: Scope) -> str:
    """Up to when which numbers are compared, or why they are not; empty: all are, by whole days."""
    comparison = scope.comparison
    if comparison is None:
        return ""
    if scope.obstacle is not None:
        return _why_not(scope.obstacle, scope)
    if not (scope.has_today or scope.is_left_out):
        return ""
    others = (
        gettext("All else is not compared.")
        if compared_days(scope) is None
        else gettext("All else is compared by whole days, though today is not over.")
    )
    if comparison.until is None:
        told = gettext("Page views and visitors of the site are compared without the last day, which is not over.")
    else:
        told = _up_to(comparison.until, comparison.before.end, scope)
    return f"{told} {others}"


def _up_to(until: datetime, end: date | datetime, scope: Scope) -> str:
    """`end` is that of what it is compared with: of a whole day, or an hour within one."""
    if not isinstance(end, datetime):
        return gettext("Page views and visitors of the site are compared up to %s, in whole hours.") % time_text(
            until, scope
        )
    told = gettext(
        "Page views and visitors of the site are compared up to %(until)s, with those up to %(then)s, in whole hours."
    )
    return told % {"until": time_text(until, scope), "then": time_text(end, scope)}


def _why_not(obstacle: Obstacle, scope: Scope) -> str:
    if obstacle is Obstacle.BEGUN:
        if scope.is_left_out:
            return gettext("Nothing is compared: the page views of these days are not counted yet.")
        return gettext("Nothing is compared: of these days nothing is over yet.")
    if obstacle is Obstacle.TO_COME:
        return gettext("Nothing is compared: the days to compare with are not over.")
    return gettext("Nothing is compared with days of before the first page view, of %s.") % (
        "-" if scope.since is None else date_format(scope.since, "DATE_FORMAT")
    )


def empty_of(scope: Scope, totals: Totals) -> Empty | None:
    """None: there is something to show."""
    if totals.page_views or scope.is_left_out:
        return None
    if scope.since is None:
        return Empty(is_new=True)
    if scope.is_public:  # it is told neither whether somebody was here, nor when
        return None
    last = last_viewed_at(scope.using, scope.now)
    if last is None:
        return Empty(is_new=False)
    day = today_of(last, scope.calendar)
    return Empty(False, day_name(day), day_query(scope, Days(day, day + timedelta(days=1))))
