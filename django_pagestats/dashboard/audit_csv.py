"""The pages that gained, lost or are new as CSV: all of them, as they are searched for and sorted on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Any

from django_pagestats.dashboard.audit_tables import GAINERS, LOSERS, NEW, TABLES, in_wanted_order
from django_pagestats.dashboard.audited import are_all_new, changes_of, newcomers_of
from django_pagestats.dashboard.exporting import WriteRows, csv_file, guard_told, guarded
from django_pagestats.dashboard.ranges import Days
from django_pagestats.dashboard.refused import refused_choices_of_everybody
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.surroundings import scope_of_everybody, trust_of_everybody
from django_pagestats.dashboard.trust import ahead_of
from django_pagestats.exceptions import PageStatsError

#: table -> what it has, in its head
TITLES = {
    "gainers": "Pages that gained page views",
    "losers": "Pages that lost page views",
    "new": "Pages that were first seen",
}
Line = list[str | int]


def audit_csv(query: Mapping[str, Any], table: str, *, using: str, now: datetime) -> tuple[str, IO[bytes]]:
    """The name of the file, and the file from its beginning; `table` is one of TITLES.

    Where there is nothing to tell, its head says why, and it has no rows.
    """

    def write(rows: WriteRows) -> str:
        with scope_of_everybody(query, using=using, now=now, tables=TABLES) as scope:
            try:
                days, told, lines = _new(scope) if table == NEW.name else _moved(scope, table)
            except PageStatsError as error:
                days, told, lines = scope.days, str(error), iter([_columns(table)])
            left_out = refused_choices_of_everybody(query, scope, tables=TABLES)
            rows([line] for line in _head(scope, table, days, [told, *left_out]))
            rows(lines)
            return f"{table}-{days.start}-{days.last}.csv"

    return csv_file(write)


def _moved(scope: Scope, table: str) -> tuple[Days, str, Iterator[Line]]:
    found = changes_of(scope)
    kind, every = (GAINERS, found.gainers) if table == GAINERS.name else (LOSERS, found.losers)
    pages = in_wanted_order(scope, kind, every)

    def lines() -> Iterator[Line]:
        yield _columns(table)
        for page in pages:
            yield [guarded(page.path), page.difference, page.page_views, page.page_views_before]

    told = (
        "page_views: page views of the path in these days. page_views_before: those from"
        f" {found.before.start} to {found.before.last}, both included. change: the first less the second"
    )
    return found.days, told, lines()


def _new(scope: Scope) -> tuple[Days, str, Iterator[Line]]:
    pages = in_wanted_order(scope, NEW, newcomers_of(scope))

    def lines() -> Iterator[Line]:
        yield _columns(NEW.name)
        for page in pages:
            yield [guarded(page.path), page.page_views, page.first_seen_on.isoformat()]

    told = "page_views: page views of the path in these days. first_seen_on: the first day that has one, of all time"
    all_new = ". These days begin with the first page view, so every page is new" if are_all_new(scope) else ""
    return scope.days, told + all_new, lines()


def _columns(table: str) -> Line:
    return [*TABLES[table]]


def _head(scope: Scope, table: str, days: Days, told: Sequence[str]) -> Iterator[str]:
    yield f"# {TITLES[table]} from {days.start} to {days.last}, both days included"
    if search := scope.state.table(table).search:
        yield f"# Only paths that begin with {search}"
    yield f"# Time zone: {scope.zone}. {trust_of_everybody(scope).instant}"
    yield from (f"# {it}" for it in told)
    if ahead := ahead_of(scope):
        yield f"# {ahead}"
    yield guard_told("path")
