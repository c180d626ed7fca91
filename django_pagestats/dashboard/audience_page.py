"""The dashboard of one page, or of the visitors of some filters, and what is told of a goal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext

from django_pagestats.charts import Drawing
from django_pagestats.dashboard.audience import Audience, condition, kind_of
from django_pagestats.dashboard.audience_figures import audience_totals
from django_pagestats.dashboard.comparing import Obstacle
from django_pagestats.dashboard.crossed import crossed_panels
from django_pagestats.dashboard.drawing import drawn
from django_pagestats.dashboard.figures import compared_days, totals_of
from django_pagestats.dashboard.filters import Filter
from django_pagestats.dashboard.kinds import KIND_OF_PAGES
from django_pagestats.dashboard.links import site_query, without_filter_query
from django_pagestats.dashboard.menus import shown_interval
from django_pagestats.dashboard.naming import Name, name_of
from django_pagestats.dashboard.noting import texts_at
from django_pagestats.dashboard.numbers import share, whole
from django_pagestats.dashboard.ranges import Choice, first_weekday
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.series import Asked, series
from django_pagestats.notes import Found


@dataclass(frozen=True, slots=True)
class Pill:
    """A filter that can be taken away."""

    label: str | Promise
    name: Name
    value: str
    #: the dashboard without it
    query: str


@dataclass(frozen=True, slots=True)
class Told:
    """What is told above the numbers of whom they are."""

    pills: list[Pill]
    #: of one page: its path, as a name with its link; None: it is about no page
    page: Name | None
    path: str
    #: the whole site, in the same days
    site: str
    #: why there are visitors only; empty: there are page views, too
    why: str
    #: the path of the goal, and what a form says beside it
    goal: str
    goal_name: str
    hidden: list[tuple[str, str]]
    #: the same without a goal
    without_goal: str
    #: sentences about it
    reached: list[str]


def told_of(scope: Scope, audience: Audience | None) -> Told:
    state = scope.state
    page = name_of(KIND_OF_PAGES, state.path) if state.path else None
    return Told(
        [_pill(scope, it) for it in state.conditions if it != Filter("pages", state.path)],
        page,
        state.path,
        site_query(scope) if state.conditions else "",
        _why(audience),
        state.goal,
        name_of(KIND_OF_PAGES, state.goal).text,
        [(name, value) for name, value in replace(state, goal="").pairs()],
        replace(state, goal="").query(),
        [] if audience is None else list(_reached(scope, audience)),
    )


def audience_parts(scope: Scope, audience: Audience) -> dict[str, Any]:
    """What the template needs beside that which it is told of the whole site, too."""
    totals = audience_totals(scope, audience) if audience.filters else totals_of(scope)
    return {
        "totals": totals,
        "crossed": crossed_panels(scope, audience),
        "nobody": _nobody(scope, audience),
        "whole_time": "" if scope.state.range.is_all_time else scope.state.at_first_pages(range=Choice("all")).query(),
    }


def audience_chart(scope: Scope, audience: Audience, noted: Found) -> Drawing | None:
    """By days, weeks or months: hours are kept of the site only. None: it is of several filters."""
    if not audience.is_of_one:
        return None
    path, where = condition(scope, audience.filters[0])
    asked = Asked(
        scope.chart_days,
        shown_interval(scope.state, scope.chart_days),
        scope.now,
        scope.calendar,
        first_weekday(),
        scope.since,
        scope.comparison,
        path=path,
        where=where,
        folded_until=scope.folded_until,
    )
    points = series(scope.taken, asked)
    title = gettext("Page views and visitors of %s") % _name(scope, audience.filters[0]).text
    return drawn(points, asked, title=title, notes=texts_at(points, noted, asked.interval))


def audience_compared(scope: Scope) -> str:
    """Why nothing is compared, or that a day which is not over is compared with whole ones."""
    if scope.comparison is None:
        return ""
    if scope.obstacle is Obstacle.NOT_RECORDED:
        return gettext("Nothing is compared with days of before the first page view.")
    if scope.obstacle is not None or compared_days(scope) is None:
        return gettext("Nothing is compared: hours are kept of the whole site only, and these days are not over.")
    if not scope.has_today:
        return ""
    return gettext("Hours are kept of the whole site only, so whole days are compared, and today is not over.")


def page_title(scope: Scope) -> str:
    """Of a page its path; empty: it is of the site."""
    return name_of(KIND_OF_PAGES, scope.state.path).text if scope.state.path else ""


def _pill(scope: Scope, of: Filter) -> Pill:
    return Pill(kind_of(scope, of).head, _name(scope, of), of.value, without_filter_query(scope, of))


def _name(scope: Scope, of: Filter) -> Name:
    return name_of(kind_of(scope, of), of.value)


def _why(audience: Audience | None) -> str:
    if audience is None:
        return ""
    if len(audience.filters) > 1:
        return gettext(
            "There are visitors only, no page views and no chart: page views of a combination are in no aggregate."
            " Visitors are exact, by the sets that each filter has in these days."
        )
    return gettext(
        "The tables have visitors only: page views of a combination are in no aggregate. Visitors are exact, by their"
        " sets."
    )


def _nobody(scope: Scope, audience: Audience) -> str:
    if audience.visitors or scope.is_left_out:
        return ""
    if scope.state.conditions == (Filter("pages", scope.state.path),):
        return gettext("Nobody saw this page in these days.")
    return gettext("No visitor of these days has all of these filters.")


def _reached(scope: Scope, audience: Audience) -> list[str]:
    goal = audience.goal
    if goal is None:
        return []
    path = name_of(KIND_OF_PAGES, goal.path).text
    visitors, reached = len(audience.visitors), len(goal.reached)
    told = ngettext(
        "Of %(visitors)s visitor %(reached)s saw %(path)s (%(share)s).",
        "Of %(visitors)s visitors %(reached)s saw %(path)s (%(share)s).",
        visitors,
    )
    numbers = {"visitors": whole(visitors), "reached": whole(reached), "path": path, "share": share(reached, visitors)}
    sentences = [told % numbers]
    if audience.filters:
        later = len(goal.later)
        sentences.append(_on_that_day(audience, later) % {"later": whole(later), "share": share(later, visitors)})
        sentences.append(gettext("Within a day the order is not known."))
    return sentences


def _on_that_day(audience: Audience, later: int) -> str:
    if audience.is_of_one and audience.filters[0].is_of_page:
        return ngettext(
            "%(later)s of them did so on the day on which they saw this page, or later (%(share)s).",
            "%(later)s of them did so on the day on which they saw this page, or later (%(share)s).",
            later,
        )
    return ngettext(
        "%(later)s of them did so on the day on which the last filter applied to them, or later (%(share)s).",
        "%(later)s of them did so on the day on which the last filter applied to them, or later (%(share)s).",
        later,
    )
