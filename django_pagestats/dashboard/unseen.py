"""Which of the site's pages nobody saw in a range: on the page, and all of them as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from django_pagestats.dashboard.audit_tables import TABLES, UNSEEN
from django_pagestats.dashboard.exporting import WriteRows, csv_file, guard_told, guarded
from django_pagestats.dashboard.refused import refused_choices_of_everybody
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.sitemaps import Address, Site, stretches
from django_pagestats.dashboard.state import Table
from django_pagestats.dashboard.surroundings import scope_of_everybody
from django_pagestats.recording import is_counted_url
from django_pagestats.stats.changes import seen_of

#: addresses that are asked about in one snapshot, for the CSV
STRETCH = 50_000


@dataclass(frozen=True, slots=True)
class Found:
    """Those of some addresses that nobody saw."""

    addresses: list[Address]
    #: of the others, how many nobody can have seen: their page views are not counted
    not_counted: int


def unseen_of(scope: Scope, addresses: Sequence[Address]) -> Found:
    """Those without page views in the range, in their order."""
    seen = seen_of(scope.taken, (it.path for it in addresses), **scope.bounds)
    unseen = [it for it in addresses if it.path not in seen]
    found = [it for it in unseen if is_counted_url(it.url)]
    return Found(found, len(unseen) - len(found))


def wanted_of(addresses: Iterable[Address], table: Table) -> list[Address]:
    """Those that are searched for, in the order that is asked for or else their own."""
    found = [it for it in addresses if it.path.startswith(table.search)]
    if table.sort:
        by_path = table.sort.removeprefix("-") == UNSEEN.column
        found.sort(key=lambda it: it.path if by_path else it.section, reverse=table.sort.startswith("-"))
    return found


def unseen_csv(query: Mapping[str, Any], *, using: str, now: datetime, site: Site) -> tuple[str, IO[bytes]]:
    """The name of the file, and the file from its beginning."""

    def write(rows: WriteRows) -> str:
        with scope_of_everybody(query, using=using, now=now, tables=TABLES) as scope:
            rows([line] for line in _head(scope, refused_choices_of_everybody(query, scope, tables=TABLES)))
            name = f"unseen-{scope.days.start}-{scope.days.last}.csv"
        rows([["path", "sitemap"]])
        rows(_rows(query, using, now, site))
        return name

    return csv_file(write)


def _head(scope: Scope, told: Sequence[str]) -> Iterator[str]:
    yield f"# Pages that the site has and nobody saw from {scope.days.start} to {scope.days.last}, both days included"
    yield from (f"# {it}" for it in told)
    if search := scope.state.table(UNSEEN.name).search:
        yield f"# Only paths that begin with {search}"
    yield f"# Time zone: {scope.zone}"
    if scope.is_left_out:
        yield "# The page views of these days are not all counted yet: nothing is told"
    yield guard_told("text")


def _rows(query: Mapping[str, Any], using: str, now: datetime, site: Site) -> Iterator[list[str]]:
    """The site's own code runs between two snapshots, never in one."""
    found: dict[str, Address] = {}
    problems, table = list[tuple[str, str]](), Table()
    for stretch in stretches(site, size=STRETCH):
        with scope_of_everybody(query, using=using, now=now, tables=TABLES) as scope:
            table = scope.state.table(UNSEEN.name)
            for address in [] if scope.is_left_out else unseen_of(scope, stretch.addresses).addresses:
                found.setdefault(address.path, address)
        problems += stretch.problems
    for address in wanted_of(found.values(), table):
        yield [guarded(address.path), guarded(address.section)]
    for section, error in problems:
        yield [f"# The sitemap {section} failed, its pages, or some, are missing: {error}", ""]
