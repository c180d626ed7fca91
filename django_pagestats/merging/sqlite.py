"""SQLite: one writer at a time, so everything that can be done before the write lock is done before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from django.db import OperationalError

from django_pagestats.buckets import Dimension
from django_pagestats.merging.base import AGGREGATE_TABLE, Database, Highest, condition
from django_pagestats.merging.fresh import new_rows
from django_pagestats.merging.page_views import COUNTABLE_SECONDS, PAGE_VIEW_TABLE, PageViewRow, Uncountable
from django_pagestats.merging.portions import portions
from django_pagestats.merging.repeats import Visits
from django_pagestats.merging.rows import AggregateRow, deserialized, serialized
from django_pagestats.merging.troubles import Trouble
from django_pagestats.models.constraints import SQLITE_SHAPE
from django_pagestats.tally import Counts, Level

#: SQLite's own words; Python tells the code of an error from 3.11 on only
TROUBLES = {
    "is locked": Trouble.LOCKED,
    "disk is full": Trouble.DISK_FULL,
    "readonly database": Trouble.READ_ONLY,
    "no such table": Trouble.MISSING,
    "no such column": Trouble.MISSING,
    "has no column named": Trouble.MISSING,
}
#: a time's whole seconds since the epoch: without its fraction, which might be rounded up
SECONDS = "CAST(strftime('%s', substr(viewed_at, 1, 19)) AS INTEGER)"
SHAPE = SQLITE_SHAPE.format(column="viewed_at")
READABLE = f"typeof(path) = 'text' AND typeof(session_key) = 'text' AND {SHAPE}"
WHY_UNCOUNTABLE = (
    "CASE WHEN typeof(path) <> 'text' THEN 'path' WHEN typeof(session_key) <> 'text' THEN 'session_key'"
    " ELSE 'viewed_at' END, substr(CASE WHEN typeof(path) <> 'text' THEN quote(path) WHEN"
    " typeof(session_key) <> 'text' THEN quote(session_key) ELSE quote(viewed_at) END, 1, 200)"
    # a real date, from 1970 to 2199, of a page view whose texts are texts
    f", CASE WHEN typeof(path) = 'text' AND typeof(session_key) = 'text' AND typeof(viewed_at) = 'text' AND NOT"
    f" ({SHAPE}) AND date(substr(viewed_at, 1, 10), '+0 days') IS substr(viewed_at, 1, 10) AND"
    " strftime('%Y-%m-%d', viewed_at) BETWEEN '1970' AND '2200' THEN strftime('%Y-%m-%d %H:%M:%f', viewed_at) END"
)
INSERT_ROW = (
    f"INSERT INTO {AGGREGATE_TABLE} (generation, dimension, granularity, bucket, subject, page_views, visitors,"
    " visitor_set, repeat_set) VALUES ({generation:d}, %s, %s, %s, %s, %s, %s, %s, %s)"
)
#: parameters of one statement; SQLite before 3.32 takes 999
MOST_PARAMETERS = 999
#: pages of the write-ahead log, 40 MB of it with SQLite's pages of 4 KB, between two checkpoints of a fold
CHECKPOINT_PAGES = 10_000


@lru_cache(maxsize=1)  # SQLite asks for the count and for the set of the same two
def united(stored: bytes, new: bytes) -> tuple[int, bytes]:
    """The visitors of two stored sets: how many, and their set."""
    visitors = deserialized(stored)
    visitors |= deserialized(new)
    return serialized(visitors)


def united_repeats(*rows: Any) -> bytes | None:
    """The repeat set of two rows of the site: of each its page views and its sets."""
    both = Visits.stored(*rows[:3])
    both.add(Visits.stored(*rows[3:]))
    return both.sets()[2]


class Unites:
    """What unites sets, for SQLite, which tells of an error in it only that there was one."""

    error: Exception | None = None

    def sets(self, stored: bytes, new: bytes, column: int) -> int | bytes:
        with self._telling():
            return united(stored, new)[column]

    def repeats(self, *rows: Any) -> bytes | None:
        with self._telling():
            return united_repeats(*rows)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            raise


#: the functions that each of Django's connections has lent SQLite, and the driver's connection that has them
LENT: WeakKeyDictionary[Any, tuple[Any, Unites]] = WeakKeyDictionary()


class SQLite(Database):
    CHUNK_SECONDS: ClassVar[float] = 0.1
    STEP_ROWS: ClassVar[int] = 4_000
    #: chunks are small here, and each commit of a few new ids writes nearly every page of their indexes
    CHUNKS_AT_ONCE: ClassVar[int] = 8
    READS_AHEAD: ClassVar[bool] = False
    SHARES_BUILDS: ClassVar[bool] = False
    NICE: ClassVar[float] = 1.0

    @contextmanager
    def folding(self, idle_seconds: float) -> Iterator[None]:
        """Let the WAL grow: chunk after chunk writes the same pages, and each checkpoint copies and syncs them all."""
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_autocheckpoint")
            (before,) = cursor.fetchone()
            session = self.connection.connection
        with ExitStack() as changed:
            if 0 < before < CHECKPOINT_PAGES:  # 0: whoever turned it off sees to the checkpoints
                changed.callback(self.put_back, session, f"PRAGMA wal_autocheckpoint = {before:d}")
                with self.connection.cursor() as cursor:
                    cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
            yield

    def trouble(self, error: BaseException) -> Trouble | None:
        text = str(error)
        return next((trouble for words, trouble in TROUBLES.items() if words in text), None)

    def read_page_views(
        self, after: int, upto: int | None, limit: int, *, with_attributes: bool = False
    ) -> list[PageViewRow]:
        bound = "" if upto is None else f" AND id <= {upto:d}"
        attributes = ", attributes" if with_attributes else ""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, path, session_key, CASE WHEN {READABLE} THEN {SECONDS} END"
                f"{attributes} FROM {PAGE_VIEW_TABLE} WHERE id > {after:d}{bound} ORDER BY id LIMIT {limit:d}"
            )
            rows: list[PageViewRow] = cursor.fetchall()
        return self._counted(rows)

    def uncountable(self, after: int | None, upto: int, limit: int) -> list[Uncountable]:
        within = f"{COUNTABLE_SECONDS.start:d} AND {COUNTABLE_SECONDS.stop - 1:d}"
        countable = f"{READABLE} AND coalesce({SECONDS} BETWEEN {within}, 0)"
        return self._uncountable(countable, WHY_UNCOUNTABLE, after, upto, limit)

    def select_ids(self, table: str, column: str, values: Sequence[str], where: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with self.connection.cursor() as cursor:
            for portion in portions(values, MOST_PARAMETERS):
                marks = ", ".join(["%s"] * len(portion))
                cursor.execute(f"SELECT {column}, id FROM {table} WHERE {column} IN ({marks}){where}", portion)
                found.update(cursor.fetchall())
        return found

    def insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, unique: Sequence[str], key: str
    ) -> dict[str, int]:
        inserted: dict[str, int] = {}
        marks = f"({', '.join(['%s'] * len(columns))})"
        with self.connection.cursor() as cursor:
            for portion in portions(rows, MOST_PARAMETERS // len(columns)):
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * len(portion))}"
                    f" ON CONFLICT ({', '.join(unique)}) DO NOTHING RETURNING {key}, id",
                    [value for row in portion for value in row],
                )
                inserted.update(cursor.fetchall())
        return inserted

    def counter_reset(self, table: str) -> str:
        return f"UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM {table}) WHERE name = '{table}'"

    def prepare(self, counted: Iterable[tuple[Level, Counts]]) -> list[AggregateRow]:
        # in the order of the primary key, so that neighbours are found and written together
        levels = (new_rows(level, sorted(counts), counts) for level, counts in counted)
        return list(chain.from_iterable(levels))

    def merge(
        self,
        generation: int,
        prepared: list[AggregateRow],
        highest: Highest | None = None,
        *,
        is_shared: bool = False,
    ) -> Highest:
        """See `Database.merge`; nothing needs to be known of the highest buckets.

        SQLite unites the sets itself, by a function of ours, so that each row is found once and one set at a time is
        in memory.
        """
        with self._uniting(), self.connection.cursor() as cursor:
            cursor.executemany(
                f"{INSERT_ROW.format(generation=generation)}"
                " ON CONFLICT (generation, dimension, granularity, bucket, subject) DO UPDATE SET"
                " page_views = page_views + excluded.page_views,"
                " visitors = pagestats_united(visitor_set, excluded.visitor_set, 0),"
                " visitor_set = pagestats_united(visitor_set, excluded.visitor_set, 1),"
                f" repeat_set = CASE WHEN dimension = {Dimension.SITE:d} THEN pagestats_repeats(page_views,"
                " visitor_set, repeat_set, excluded.page_views, excluded.visitor_set, excluded.repeat_set) END",
                prepared,
            )
        return {}

    def insert_rows(self, generation: int, rows: Iterable[AggregateRow]) -> None:
        with self.connection.cursor() as cursor:
            cursor.executemany(INSERT_ROW.format(generation=generation), list(rows))

    @contextmanager
    def _uniting(self) -> Iterator[None]:
        """Lend the connection the functions; an error in one is raised as it is, and not as one of the database."""
        raw, unites = LENT.get(self.connection, (None, None))
        if unites is None or raw is not self.connection.connection:
            unites = Unites()
            self.connection.connection.create_function("pagestats_united", 3, unites.sets)
            self.connection.connection.create_function("pagestats_repeats", 6, unites.repeats)
            LENT[self.connection] = self.connection.connection, unites
        unites.error = None
        try:
            yield
        except OperationalError:
            if unites.error is not None:
                raise unites.error from None
            raise

    def delete_aggregates(self, generation: int, limit: int, *, of: tuple[Level, int] | None = None) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {AGGREGATE_TABLE} WHERE rowid IN"
                f" (SELECT rowid FROM {AGGREGATE_TABLE} WHERE generation = {generation:d}{condition(of)}"
                f" LIMIT {limit:d})"
            )
            deleted: int = cursor.rowcount
        return deleted
