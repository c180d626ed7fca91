"""A table of a filtered dashboard: how many of its visitors each value has, and how many of those came to the goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy

from django_pagestats.dashboard.audience import Audience
from django_pagestats.dashboard.channels import visitors_of_channels
from django_pagestats.dashboard.filters import Filter
from django_pagestats.dashboard.kinds import Kind
from django_pagestats.dashboard.links import filter_query
from django_pagestats.dashboard.naming import Name, name_of
from django_pagestats.dashboard.numbers import share, whole
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.tables import rows_of
from django_pagestats.exceptions import DimensionError, TailTooLongError
from django_pagestats.headers.channels import channel_of
from django_pagestats.stats.audiences import Crossed, ValueVisitors, cross_values, every_value_of
from django_pagestats.stats.goals import reached_by_value
from django_pagestats.stats.listing import Wanted

OTHER_PAGES = pgettext_lazy("heading", "Other pages they saw")


@dataclass(frozen=True, slots=True)
class Reached:
    """How many came to the goal."""

    count: str
    share: str
    #: on the day of what the row says or later
    later: str


@dataclass(frozen=True, slots=True)
class CrossedRow:
    """A value as it is shown."""

    value: str
    name: Name
    #: of the audience
    visitors: str
    share: str
    #: None: there is no goal
    reached: Reached | None
    #: the query that filters by it, too; empty: there are enough filters
    query: str


@dataclass(frozen=True, slots=True)
class CrossedTable:
    """Some rows of the list, and the ways to the others."""

    kind: Kind
    title: str | Promise
    rows: list[CrossedRow]
    search: str
    hidden: list[tuple[str, str]]
    has_goal: bool
    #: which rows there are, where these are not all
    note: str
    page: int
    newer: str
    older: str
    csv: str


@dataclass(frozen=True, slots=True)
class CrossedPanels:
    """The tables of a filtered dashboard; titles are those of dimensions."""

    tables: list[CrossedTable]
    failed: list[tuple[str, str]]
    empty: list[str]


def crossed_panels(scope: Scope, audience: Audience) -> CrossedPanels:
    """One for the pages, and one for each dimension that has a value of theirs."""
    panels = CrossedPanels([], [], [])
    for kind in scope.kinds:
        try:
            table = crossed_table(scope, kind, audience)
        except (DimensionError, TailTooLongError) as error:
            panels.failed.append((str(kind.title), str(error)))
            continue
        if table.rows or table.search:
            panels.tables.append(table)
        elif not any(it.kind == kind.name for it in audience.filters):
            panels.empty.append(str(table.title))
    return panels


def crossed_table(scope: Scope, kind: Kind, audience: Audience) -> CrossedTable:
    state, table = scope.state, scope.state.table(kind.name)
    offset, limit = rows_of(kind) * (table.page - 1), rows_of(kind)
    left_out = _left_out(kind, audience)
    upto = offset + limit + 1 + len(left_out)
    found = _crossed(scope, kind, audience, upto)
    every = [row for row in found.rows if row.value not in left_out]
    rows = every[offset : offset + limit]

    def turned(to: int, *, is_there: bool) -> str:
        return state.with_table(kind.name, page=to).query() if is_there else ""

    return CrossedTable(
        kind=kind,
        title=OTHER_PAGES if kind.are_pages and any(it.is_of_page for it in audience.filters) else kind.title,
        rows=_rows(scope, kind, audience, rows),
        search=table.search,
        hidden=state.beside_search(kind.name),
        has_goal=audience.goal is not None,
        note="" if found.is_complete else _note(found.looked_at),
        page=table.page,
        newer=turned(table.page - 1, is_there=table.page > 1),
        older=turned(table.page + 1, is_there=len(every) > offset + limit),
        csv=f"{state.query()}&csv={kind.name}",
    )


def _crossed(scope: Scope, kind: Kind, audience: Audience, upto: int) -> Crossed:
    """The first values by how many of the audience they have; of channels all."""
    if not kind.are_channels:
        return cross_values(scope.taken, wanted_of(scope, kind), audience.visitors, upto=upto)
    every = visitors_of_channels(scope, kind)
    counts = {row.value: len(row.visitors & audience.visitors) for row in every}
    rows = sorted((row for row in every if counts[row.value]), key=lambda row: -counts[row.value])
    return Crossed(rows, True, len(every))


def wanted_of(scope: Scope, kind: Kind) -> Wanted:
    return Wanted(kind.dimension, scope.state.table(kind.name).search, **scope.bounds)


def _left_out(kind: Kind, audience: Audience) -> set[str]:
    """The values that are filtered by: all of the audience have them."""
    return {it.value for it in audience.filters if it.kind == kind.name}


def crossed_lines(scope: Scope, kind: Kind, audience: Audience) -> Iterator[tuple[str, list[int]]]:
    """Every value with its number of visitors and, if there is a goal, of those who came to it; most first."""
    goal, left_out = audience.goal, _left_out(kind, audience)
    found: list[tuple[str, list[int]]] = []
    every = (
        visitors_of_channels(scope, kind) if kind.are_channels else every_value_of(scope.taken, wanted_of(scope, kind))
    )
    for row in every:
        visitors = len(row.visitors & audience.visitors)
        if visitors and row.value not in left_out:
            found.append((row.value, [visitors, *([] if goal is None else [len(row.visitors & goal.reached)])]))
    yield from sorted(found, key=lambda line: -line[1][0])  # stable: by page views among equals


def _rows(scope: Scope, kind: Kind, audience: Audience, rows: Sequence[ValueVisitors]) -> list[CrossedRow]:
    base = len(audience.visitors)
    reached = _reached(scope, kind, audience, rows)
    found = []
    for row in rows:
        visitors = len(row.visitors & audience.visitors)
        found.append(
            CrossedRow(
                row.value,
                name_of(kind, row.value),
                whole(visitors),
                share(visitors, base),
                reached.get(row.value),
                filter_query(scope, Filter(kind.name, row.value)),
            )
        )
    return found


def _reached(scope: Scope, kind: Kind, audience: Audience, rows: Sequence[ValueVisitors]) -> dict[str, Reached]:
    """value -> how many of its visitors came to the goal; empty: there is none."""
    goal = audience.goal
    if goal is None:
        return {}
    start, end = scope.bounds.get("start"), scope.bounds.get("end")
    values, group_of = [row.value for row in rows], channel_of if kind.are_channels else None
    later = reached_by_value(scope.taken, kind.dimension, values, goal.by_day, start=start, end=end, group_of=group_of)
    found = {}
    for row in rows:
        count = len(row.visitors & goal.reached)
        of = share(count, len(row.visitors & audience.visitors))
        found[row.value] = Reached(whole(count), of, whole(len(later[row.value])))
    return found


def _note(looked_at: int) -> str:
    told = gettext("The most among the %s with the most page views of all: others are found by a search.")
    return told % whole(looked_at)
