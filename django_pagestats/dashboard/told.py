"""The tables of a public dashboard: the first rows of each, with their visitors, as far as these may be told."""

from __future__ import annotations

from django.utils.translation import gettext

from django_pagestats.dashboard.crossed import CrossedPanels, CrossedRow, CrossedTable
from django_pagestats.dashboard.filters import GROUPS
from django_pagestats.dashboard.kinds import Kind
from django_pagestats.dashboard.naming import name_of
from django_pagestats.dashboard.numbers import FEW, share, whole
from django_pagestats.dashboard.ranges import DAY, interval_of
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.tables import rows_of
from django_pagestats.dashboard.untold import rows_told
from django_pagestats.exceptions import DimensionError, TailTooLongError
from django_pagestats.stats import VisitorSet
from django_pagestats.stats.audiences import ValueVisitors, cross_values
from django_pagestats.stats.goals import visitors_by_day
from django_pagestats.stats.listing import Wanted


def told_panels(scope: Scope) -> CrossedPanels:
    """One for the pages, and one for each dimension of which a row may be told; no channels, which are sums of rows.

    A row has no page views: those of a section less those of its pages would be what is left of a few.
    """
    panels = CrossedPanels([], [], [])
    try:
        everybody = scope.taken.visitors(**scope.bounds)
        told = [[everybody], _days(scope)]
    except TailTooLongError:  # since it was found to be short
        return panels
    for kind in scope.kinds:
        if kind.name in GROUPS:
            continue
        rows = _rows(scope, kind, everybody, told)
        told.append([row.visitors for row in rows])
        if rows:
            panels.tables.append(_table(kind, rows, len(everybody)))
        else:
            panels.empty.append(str(kind.title))
    return panels


def few_text(visitors: int) -> str:
    """What stands in place of the tables; empty: there are enough visitors."""
    return "" if visitors >= FEW else gettext("Fewer than %s visitors: no more is told.") % whole(FEW)


def _days(scope: Scope) -> list[VisitorSet]:
    """Those of each day of a chart by days: all who saw a page that was there on that day only are among them."""
    days = scope.chart_days
    if interval_of(days) != DAY:
        return []
    found = visitors_by_day(scope.taken, start=days.start, end=days.end).values()
    return [visitors for visitors in found if len(visitors) >= FEW]


def _rows(scope: Scope, kind: Kind, everybody: VisitorSet, told: list[list[VisitorSet]]) -> list[ValueVisitors]:
    """None where a function of the site's own fails, which is its owner's business."""
    if len(everybody) < FEW:
        return []
    try:
        found = cross_values(scope.taken, Wanted(kind.dimension, **scope.bounds), everybody, upto=rows_of(kind))
    except (DimensionError, TailTooLongError):
        return []
    return rows_told(found.rows, told)


def _table(kind: Kind, rows: list[ValueVisitors], everybody: int) -> CrossedTable:
    return CrossedTable(
        kind=kind,
        title=kind.title,
        rows=[
            CrossedRow(row.value, name_of(kind, row.value), whole(visitors), share(visitors, everybody), None, "")
            for row in rows
            for visitors in [len(row.visitors)]
        ],
        search="",
        hidden=[],
        has_goal=False,
        note=gettext("At most %(rows)s rows, each of %(few)s visitors or more.")
        % {"rows": whole(rows_of(kind)), "few": whole(FEW)},
        page=1,
        newer="",
        older="",
        csv="",
    )
