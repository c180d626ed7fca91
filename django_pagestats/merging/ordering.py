"""The SQL of pages in an order: how many come before a place in it, and which are at some places.

In that of `ordering` equals are in the order of their paths, by code points on every database since their columns
are; in that of the top pages by which was known first. Each statement says what state it saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections

from django_pagestats.merging.reading import (
    ACTIVE,
    AGGREGATE_TABLE,
    SUBJECT_TABLE,
    State,
    Where,
    read_rows,
    united_pages,
)

#: a statement of ours that gives (path, page_views) of a long tail, and its parameters
TailRows = tuple[str, Sequence[Any]]


class Place(NamedTuple):
    """A page in the order; `subject` is None where no fold has seen its path yet."""

    subject: int | None
    path: str
    page_views: int


def count_before(
    using: str, where: Where, page_views: int, path: str, tail: TailRows | None = None
) -> tuple[State | None, int]:
    """How many pages come before one with so many page views and this path.

    Of the aggregates; with `tail` of these and a long tail together.
    """
    totals, parameters = _totals(using, where, tail, at_least=str(int(page_views)))
    rows = (
        f"SELECT COUNT(*) FROM ({totals}) AS t LEFT JOIN {SUBJECT_TABLE} AS s ON s.id = t.subject"
        f" WHERE t.total > {page_views:d} OR (t.total = {page_views:d} AND {_path(tail)} < %s)"
    )
    state, found = read_rows(using, rows, 1, [*parameters, path])
    return state, int(found[0][0])


def read_places(
    using: str, where: Where, *, offset: int, limit: int, tail: TailRows | None = None
) -> tuple[State | None, list[Place]]:
    """The pages after the first `offset`, `limit` of them; as for `count_before()`."""
    totals, parameters = _totals(using, where, tail, at_least=_lowest(using, where, offset + limit))
    rows = (
        f"SELECT t.subject, {_path(tail)} AS named, t.total FROM ({totals}) AS t"
        f" LEFT JOIN {SUBJECT_TABLE} AS s ON s.id = t.subject"
        f" ORDER BY t.total DESC, named LIMIT {limit:d} OFFSET {offset:d}"
    )
    state, found = read_rows(using, rows, 3, parameters)
    # the order within a derived table need not be that of the statement around it
    places = sorted((Place(*row) for row in found), key=lambda place: (-place.page_views, place.path))
    return state, [place._replace(page_views=int(place.page_views)) for place in places]


def read_ranking(
    using: str, where: Where, tail: tuple[str, Sequence[Any]], *, limit: int, offset: int
) -> tuple[State | None, list[tuple[Any, ...]]]:
    """(subject, path, page views) of the top pages, aggregates and a long tail added up by the database.

    `tail` is a statement of ours with its parameters that gives (path, page_views) of the tail. The path is None where
    the subject is known, and the other way round.
    """
    united, parameters = united_pages(using, where, tail)
    rows = (
        f"SELECT u.subject, u.path, SUM(u.page_views) AS total FROM ({united}) AS u GROUP BY u.subject, u.path"
        f" ORDER BY total DESC, CASE WHEN u.subject IS NULL THEN 1 ELSE 0 END, u.subject, u.path"
        f" LIMIT {limit:d} OFFSET {offset:d}"
    )
    return read_rows(using, rows, 3, parameters)


def count_united_paths(using: str, where: Where, tail: tuple[str, Sequence[Any]]) -> tuple[State | None, int]:
    """How many paths there are in the aggregates and a long tail together."""
    united, parameters = united_pages(using, where, tail)
    rows = f"SELECT COUNT(*) FROM (SELECT DISTINCT u.subject, u.path FROM ({united}) AS u) AS v"
    state, found = read_rows(using, rows, 1, parameters)
    return state, int(found[0][0])


def read_paths(using: str, where: Where) -> tuple[State | None, list[str]]:
    """The paths of the pages that have rows, in no order."""
    condition, parameters = where.sql()
    rows = (
        f"SELECT s.value FROM (SELECT DISTINCT a.subject {_rows(condition)}) AS t"
        f" JOIN {SUBJECT_TABLE} AS s ON s.id = t.subject"
    )
    state, found = read_rows(using, rows, 1, parameters)
    return state, [path for (path,) in found]


def _totals(using: str, where: Where, tail: TailRows | None, *, at_least: str) -> tuple[str, list[Any]]:
    """(subject, total), with a long tail (subject, path, total), of each page; those with fewer are left out."""
    if tail is not None:
        united, parameters = united_pages(using, where, tail)
        columns = "u.subject, u.path"
        return f"SELECT {columns}, SUM(u.page_views) AS total FROM ({united}) AS u GROUP BY {columns}", parameters
    condition, parameters = where.sql()
    if where.is_ranked:  # a subject has one row of all time
        enough = f" AND a.page_views >= {at_least}"
        return f"SELECT a.subject, a.page_views AS total {_rows(condition)}{enough}", parameters
    return f"SELECT a.subject, SUM(a.page_views) AS total {_rows(condition)} GROUP BY a.subject", parameters


def _lowest(using: str, where: Where, count: int) -> str:
    """The page views of the last of so many, of all time: by the index of the top pages, beyond which nothing is read.

    MariaDB has days in that index, too: it would go through these.
    """
    if connections[using].vendor == "mysql":
        return "0"
    condition, _ = where.sql()
    return (
        f"COALESCE((SELECT a.page_views {_rows(condition)} ORDER BY a.page_views DESC LIMIT 1 OFFSET {count - 1:d}), 0)"
    )


def _rows(condition: str) -> str:
    return f"FROM {AGGREGATE_TABLE} AS a WHERE a.generation = (SELECT g.id {ACTIVE}) AND {condition}"


def _path(tail: TailRows | None) -> str:
    return "s.value" if tail is None else "COALESCE(t.path, s.value)"
