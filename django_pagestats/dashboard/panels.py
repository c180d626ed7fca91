"""The panels of dimensions: what each has in the range, which have nothing, and which are not counted yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django_pagestats.dashboard.channels import channel_table
from django_pagestats.dashboard.figures import Totals
from django_pagestats.dashboard.kinds import Kind, missing_titles
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.tables import ListTable, table_of
from django_pagestats.exceptions import DimensionError, TailTooLongError


@dataclass(frozen=True, slots=True)
class Panels:
    """Titles are those of dimensions."""

    tables: list[ListTable]
    #: why some cannot be had: a title and an error
    failed: list[tuple[str, str]]
    #: those that have no value in the range
    empty: list[str]
    #: those that a rebuild would bring
    missing: list[str]


def panels_of(scope: Scope, totals: Totals, kinds: Iterable[Kind] | None = None) -> Panels:
    """One for each dimension, or for each of `kinds`, that has a value in the range, or is searched.

    A function that fails for a page view spoils its own panel only.
    """
    panels = Panels([], [], [], missing_titles(scope.kinds))
    for kind in scope.kinds if kinds is None else kinds:
        if not kind.are_pages:
            _add(panels, scope, kind, totals)
    return panels


def _add(panels: Panels, scope: Scope, kind: Kind, totals: Totals) -> None:
    try:
        table = (channel_table if kind.are_channels else table_of)(scope, kind, totals)
    except (DimensionError, TailTooLongError) as error:
        panels.failed.append((str(kind.title), str(error)))
        return
    if table.rows or table.search:
        panels.tables.append(table)
    else:
        panels.empty.append(str(kind.title))
