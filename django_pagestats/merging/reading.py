"""The SQL of answers: aggregates of the active generation in one statement, and a transaction that sees one instant.

Unlike the rest of this package it only reads, so one text serves all databases but for the few pieces named by vendor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connections, transaction

from django_pagestats.buckets import Dimension, Granularity
from django_pagestats.merging.charsets import refuse_garbling
from django_pagestats.merging.cursors import fetched
from django_pagestats.merging.prefixes import begins_with
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor

GENERATION_TABLE = Generation._meta.db_table
AGGREGATE_TABLE = Aggregate._meta.db_table
SUBJECT_TABLE = Subject._meta.db_table
VISITOR_TABLE = Visitor._meta.db_table
PAGE_VIEW_TABLE = PageView._meta.db_table
ACTIVE = f"FROM {GENERATION_TABLE} AS g WHERE g.is_active = TRUE"

#: columns of bytes
SETS = {"a.visitor_set", "a.repeat_set"}

#: of PostgreSQL: to compile a statement of ours takes longer than it would take to run it
ALSO_SET = {"mysql": "", "postgresql": "; SET LOCAL jit = off"}

#: the SHA-256 of a path in hex, as `ids.digest_of()` computes it; Django gives SQLite its function
DIGEST = {
    "mysql": "SHA2({column}, 256)",
    "postgresql": "encode(sha256(convert_to({column}, 'UTF8')), 'hex')",
    "sqlite": "SHA256({column})",
}


class State(NamedTuple):
    """Which aggregates a statement saw: two statements of equal states saw the same ones."""

    generation: int
    cursor: int
    revision: int
    time_zone: str
    #: up to which primary key the rows of all time are; at most the cursor
    all_cursor: int

    def of_all_time(self) -> State:
        """The same as it counts for rows of all time: they have a cursor of their own."""
        return self._replace(cursor=self.all_cursor)


@dataclass(frozen=True)
class Where:
    """Which aggregate rows; None: no condition. Of ALL rows always those of the version that answers."""

    dimension: int  #: a `Dimension`, or the number of a named one
    granularity: Granularity
    low: int | None = None
    high: int | None = None
    buckets: Sequence[int] | None = None
    subjects: Sequence[int] | None = None
    #: (digest, value) of one of the dimension's subjects
    value: tuple[str, str] | None = None
    #: of the subjects whose values begin so
    prefix: str | None = None
    #: in the order of the index of the top pages: PostgreSQL would take it that few rows have the number that answers,
    #: and it is right to think that most have not the other one
    is_ranked: bool = False
    #: the bucket and the subject of the row after which to go on, in the order of the primary key
    after: tuple[int, int] | None = None

    @property
    def is_of_subjects_of_all_time(self) -> bool:
        """Whether it is about all time, and about some subjects other than the site."""
        is_of_some = self.dimension != Dimension.SITE and self.subjects is not None
        return is_of_some and self.granularity == Granularity.ALL

    def sql(self) -> tuple[str, list[object]]:
        conditions = [f"a.dimension = {self.dimension:d}", f"a.granularity = {self.granularity:d}"]
        parameters: list[object] = []
        if self.granularity == Granularity.ALL:
            is_other = f"a.bucket <> (SELECT 1 - g.all_bucket {ACTIVE})"
            conditions.append(is_other if self.is_ranked else f"a.bucket = (SELECT g.all_bucket {ACTIVE})")
        if self.low is not None and self.high == self.low + 1:
            conditions.append(f"a.bucket = {self.low:d}")  # so that the primary key finds the subject too
        else:
            conditions.extend([] if self.low is None else [f"a.bucket >= {self.low:d}"])
            conditions.extend([] if self.high is None else [f"a.bucket < {self.high:d}"])
        if self.buckets is not None and self.granularity != Granularity.ALL:
            conditions.append(f"a.bucket IN ({_numbers(self.buckets)})")
        if self.subjects is not None:
            conditions.append(f"a.subject IN ({_numbers(self.subjects)})")
        if self.value is not None:
            conditions.append(
                f"a.subject = (SELECT s.id FROM {SUBJECT_TABLE} AS s WHERE s.dimension = {self.dimension:d}"
                " AND s.digest = %s AND s.value = %s)"
            )
            parameters.extend(self.value)
        if self.after is not None:
            bucket, subject = self.after
            conditions.append(f"(a.bucket > {bucket:d} OR (a.bucket = {bucket:d} AND a.subject > {subject:d}))")
        if self.prefix is not None:
            begins, bounds = begins_with("s.value", self.prefix)
            subjects = f"SELECT s.id FROM {SUBJECT_TABLE} AS s WHERE s.dimension = {self.dimension:d} AND {begins}"
            conditions.append(f"a.subject IN ({subjects})")
            parameters.extend(bounds)
        return " AND ".join(conditions), parameters


def can_hold(using: str, text: str) -> bool:
    """Whether the database could hold a text; it would refuse the statement that asks for one that it could not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text or connections[using].vendor != "postgresql"


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(f"{value:d}" for value in values)


def read_state(using: str) -> State | None:
    """The state of the active generation, or None before the first fold."""
    return read_rows(using, "", 0, [])[0]


def read_dimensions(using: str) -> tuple[State | None, list[dict[str, Any]] | None]:
    """The state of the active generation, and its named dimensions as it keeps them, in one statement."""
    state, rows = read_rows(using, f"SELECT g.dimensions {ACTIVE}", 1, [])
    text = rows[0][0] if rows else None
    return state, None if text is None else json.loads(text)


def read_attributes(using: str, ids: Sequence[int]) -> dict[int, str | None]:
    """id -> the attributes, as the database writes them, of those of the page views that are there."""
    column = "attributes::text" if connections[using].vendor == "postgresql" else "attributes"
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT id, {column} FROM {PAGE_VIEW_TABLE} WHERE id IN ({_numbers(ids)})")
        return dict(cursor.fetchall())


def read_aggregates(
    using: str, columns: Sequence[str], where: Where, *, tail: str = "", index: str = "", also: Where | None = None
) -> tuple[State | None, list[tuple[Any, ...]]]:
    """The state of the active generation and columns of its aggregate rows, in one statement.

    `tail` is what follows the condition (GROUP BY, ORDER BY, LIMIT); `index` is one that MariaDB would not choose.
    `also`: of other rows, too.
    """
    parts, parameters = [], list[object]()
    for it in [where] if also is None else [where, also]:
        source, more = _source(using, it, index)
        parts.append(f"SELECT {', '.join(columns)} FROM {source} {tail}")
        parameters.extend(more)
    has_sets = any(column in SETS for column in columns)
    return read_rows(using, " UNION ALL ".join(parts), len(columns), parameters, is_binary=has_sets)


def _source(using: str, where: Where, index: str) -> tuple[str, list[object]]:
    """What comes after FROM, with its parameters."""
    vendor = connections[using].vendor
    if vendor == "postgresql" and where.is_of_subjects_of_all_time:
        return _one_by_one(where.dimension, where.subjects or []), []
    hint = f" FORCE INDEX ({index})" if index and vendor == "mysql" else ""
    condition, parameters = where.sql()
    return f"{AGGREGATE_TABLE} AS a{hint} WHERE a.generation = (SELECT g.id {ACTIVE}) AND {condition}", parameters


def _one_by_one(dimension: int, subjects: Sequence[int]) -> str:
    """The ALL rows of some subjects, for a FROM: PostgreSQL looks each up by the primary key.

    It does not know how many rows the version that answers has, since its number comes out of a subquery, and takes it
    that they are few: then it reads all of them, and picks those of the subjects. As in the look-ups of a merge, LIMIT
    keeps it from making a join of it, and hides the constants, by which the index of the top pages matches.
    """
    return (
        f"(SELECT g.id AS generation, g.all_bucket AS bucket, {dimension:d}::smallint AS dimension,"
        f" {Granularity.ALL:d}::smallint AS granularity {ACTIVE} LIMIT 1) AS level"
        f" CROSS JOIN unnest(ARRAY[{_numbers(subjects)}]::integer[]) AS wanted(subject)"
        f" CROSS JOIN LATERAL (SELECT * FROM {AGGREGATE_TABLE} AS stored WHERE stored.generation = level.generation"
        " AND stored.dimension = level.dimension AND stored.granularity = level.granularity"
        " AND stored.bucket = level.bucket AND stored.subject = wanted.subject LIMIT 1) AS a"
    )


def read_with_visitors(using: str, rows: tuple[str, Sequence[Any]]) -> list[tuple[int, Any, int | None]]:
    """(number, part, visitor id or None) of a statement of ours that gives (number, part, session_key)."""
    statement, parameters = rows
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT t.number, t.part, v.id FROM ({statement}) AS t"
            f" LEFT JOIN {VISITOR_TABLE} AS v ON v.session_key = t.session_key",
            parameters,
        )
        found: list[tuple[int, Any, int | None]] = cursor.fetchall()
    return found


def united_pages(using: str, where: Where, tail: tuple[str, Sequence[Any]]) -> tuple[str, list[Any]]:
    condition, parameters = where.sql()
    statement, tail_parameters = tail
    digest = DIGEST[connections[using].vendor].format(column="t.path")
    return (
        # the path before the NULL, which takes its type and collation
        "SELECT s.id AS subject, CASE WHEN s.id IS NULL THEN t.path END AS path, t.page_views AS page_views"
        f" FROM ({statement}) AS t LEFT JOIN {SUBJECT_TABLE} AS s"
        f" ON s.dimension = {Dimension.PAGE:d} AND s.digest = {digest}"
        f" UNION ALL SELECT a.subject, NULL, a.page_views FROM {AGGREGATE_TABLE} AS a"
        f" WHERE a.generation = (SELECT g.id {ACTIVE}) AND {condition}"
    ), [*tail_parameters, *parameters]


def read_rows(
    using: str, rows: str, width: int, parameters: Sequence[Any], *, is_binary: bool = False
) -> tuple[State | None, list[tuple[Any, ...]]]:
    """Run a statement that gives the state as one row, and `rows`: one statement, so that both are of one instant.

    `is_binary`: the rows have sets.
    """
    columns = "".join([", NULL"] * width)
    statement = f"SELECT g.id, g.cursor, g.revision, g.time_zone, g.all_cursor{columns} {ACTIVE}"
    if rows:
        statement += f" UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, x.* FROM ({rows}) AS x"
    if connections[using].vendor == "mysql":
        refuse_garbling(connections[using])
    found = fetched(connections[using], statement, parameters, is_binary=is_binary)
    state = next((State(*row[:5]) for row in found if row[0] is not None), None)
    return state, [row[5:] for row in found if row[0] is None]


@contextmanager
def one_instant(using: str) -> Iterator[None]:
    """A read-only transaction that sees one instant, whatever the site's default; not inside another transaction.

    It begins with its first statement. SQLite: a deferred one, which takes no lock that a writer waits for.
    """
    connection: Any = connections[using]
    if connection.vendor == "sqlite":
        with _deferred(connection), transaction.atomic(using=using, durable=True):
            yield
        return
    with transaction.atomic(using=using, durable=True):
        with connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY{ALSO_SET[connection.vendor]}")
        yield


def export_snapshot(using: str) -> str:
    """What other connections may take for theirs as long as this transaction, one of `one_instant`, is open.

    PostgreSQL only. It may be idle meanwhile: whoever waits for the others says nothing.
    """
    with connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot()")
        snapshot: str = cursor.fetchone()[0]
    return snapshot


def import_snapshot(using: str, snapshot: str) -> None:
    """Read what another transaction reads; the first thing inside `one_instant`."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")


def read_by_index(using: str) -> None:
    """For the rest of the transaction: PostgreSQL reads rows by an index where one fits, whatever it thinks of them.

    Without statistics of a table that was just filled it goes through all of it for each portion, or sorts it.
    """
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL jit = off")


@contextmanager
def _deferred(connection: Any) -> Iterator[None]:
    """atomic() begins as OPTIONS["transaction_mode"] says: with IMMEDIATE it would take the write lock."""
    connection.ensure_connection()  # connecting sets the mode
    mode = connection.transaction_mode
    connection.transaction_mode = "DEFERRED"
    try:
        yield
    finally:
        connection.transaction_mode = mode
