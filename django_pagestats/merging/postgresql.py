"""PostgreSQL: arrays in, binary COPY out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from django.db import IntegrityError, OperationalError, transaction

from django_pagestats.merging.arrays import number_array, text_array
from django_pagestats.merging.base import AGGREGATE_TABLE, Waits, condition
from django_pagestats.merging.columns import COUNTABLE, by_name, page_views, read_columns, read_named_columns
from django_pagestats.merging.copying import copy_rows
from django_pagestats.merging.grouping import read_days
from django_pagestats.merging.lookup import LookupDatabase, StoredRow
from django_pagestats.merging.page_views import PageViewColumns, PageViewRow, Uncountable
from django_pagestats.merging.portions import portions_by_size
from django_pagestats.merging.rows import AggregateRow, Key, SubjectDays
from django_pagestats.merging.troubles import Trouble
from django_pagestats.models import Subject, Visitor
from django_pagestats.tally import Level

#: of the texts in one array; escaped they may be four times as long
ARRAY_CHARACTERS = 2_000_000
#: of so many it pays to insert them as if nobody else had any: that takes a third less time than with ON CONFLICT, and
#: whoever inserts has just looked
MANY_VALUES = 1_000

#: what a run has filled
ANALYZED = (AGGREGATE_TABLE, Subject._meta.db_table, Visitor._meta.db_table)
#: SQLSTATE: lock_not_available; serialization_failure, deadlock_detected; insufficient_privilege; undefined_column,
#: undefined_table; disk_full; read_only_sql_transaction; idle_in_transaction_session_timeout; admin_shutdown,
#: crash_shutdown, cannot_connect_now
TROUBLES = {
    "55P03": Trouble.LOCKED,
    **dict.fromkeys(("40001", "40P01"), Trouble.CONFLICT),
    "42501": Trouble.FORBIDDEN,
    **dict.fromkeys(("42703", "42P01"), Trouble.MISSING),
    "53100": Trouble.DISK_FULL,
    "25006": Trouble.READ_ONLY,
    "25P03": Trouble.IDLE,
    **dict.fromkeys(("57P01", "57P02", "57P03"), Trouble.LOST),
}
UNIQUE_VIOLATION, SEQUENCE_LIMIT = "23505", "2200H"
#: time-outs of a transaction whose client does not move: between two statements, and within a COPY that stops
TIMEOUTS = ("idle_in_transaction_session_timeout", "statement_timeout")
#: of a connection of Django's, while it folds: the first statement of each chunk's transaction
BEGINNINGS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
#: what each transaction of ours holds, shared, until it ends: by it others know that it is ours. "page", "stat"
MARK = (0x70616765, 0x73746174)
TAKE_MARK = "SELECT pg_try_advisory_xact_lock_shared({:d}, {:d})".format(*MARK)
IS_MARKED = (
    "EXISTS (SELECT 1 FROM pg_locks AS m WHERE m.pid = l.pid AND m.locktype = 'advisory' AND m.database = l.database"
    " AND m.classid = {:d} AND m.objid = {:d} AND m.objsubid = 2)"
).format(*MARK)
#: other sessions that hold rows of a table
HOLDERS = (
    "FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid WHERE l.relation = %s::regclass"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND l.mode IN ('RowShareLock', 'RowExclusiveLock') AND l.granted AND l.pid <> pg_backend_pid()"
)
SET_WAITS = "SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)"


class PostgreSQL(LookupDatabase):
    #: a fold's UPDATE goes with it; who makes another one answer changes a unique column, and waits
    SHARE: ClassVar[str] = " FOR KEY SHARE"

    @contextmanager
    def folding(self, idle_seconds: float) -> Iterator[None]:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name, setting::bigint FROM pg_settings WHERE name = ANY(%s)", [list(TIMEOUTS)])
            own = {name: milliseconds for name, milliseconds in cursor.fetchall() if milliseconds}  # 0: none
        # SET LOCAL: behind a transaction pooler the session is somebody else's after the COMMIT
        limit = round(idle_seconds * 1_000)
        local = (f"SET LOCAL {name} = {min(limit, own.get(name, limit)):d}" for name in TIMEOUTS)
        BEGINNINGS[self.connection] = "; ".join((READ_COMMITTED, *local))
        try:
            yield
        finally:
            BEGINNINGS.pop(self.connection, None)

    @contextmanager
    def transaction(self, *, durable: bool = False, waits: Waits | None = None) -> Iterator[None]:
        """See `Database.transaction`: what is set is of the transaction alone, and goes with its end or its error."""
        begins = self.begins_here()
        with transaction.atomic(using=self.connection.alias, durable=durable):
            if begins:
                self._begin(waits)
                yield
            elif waits is None:
                yield
            else:
                before = self._set_waits(f"{waits.lock_seconds:d}s", f"{waits.idle_seconds * 1_000:.0f}")
                yield
                self._set_waits(*before)

    def _begin(self, waits: Waits | None) -> None:
        """The first statement of a transaction; the mark takes a snapshot, so the isolation level comes before it."""
        parts = [BEGINNINGS.get(self.connection, READ_COMMITTED)]
        if waits is not None:
            parts.append(f"SET LOCAL lock_timeout = '{waits.lock_seconds:d}s'")
            parts.append(f"SET LOCAL idle_in_transaction_session_timeout = {waits.idle_seconds * 1_000:.0f}")
        with self.connection.cursor() as cursor:
            cursor.execute("; ".join((*parts, TAKE_MARK)))

    def _set_waits(self, *wanted: str) -> tuple[str, ...]:
        """Set them for the transaction; gives what they were."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
            )
            before: tuple[str, ...] = cursor.fetchone()
            cursor.execute(SET_WAITS, wanted)
        return before

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Without statistics of a table that was just filled the planner sorts all that is left of it, each time."""
        if not self.begins_here():  # the settings would stay for the rest of it
            yield
            return
        with transaction.atomic(using=self.connection.alias):
            with self.connection.cursor() as cursor:
                cursor.execute(f"{READ_COMMITTED}; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
            yield

    def trouble(self, error: BaseException) -> Trouble | None:
        state = getattr(error.__cause__, "sqlstate", "")
        if state is None:  # the driver's own error: the server cannot say anything any more
            return Trouble.LOST if isinstance(error, OperationalError) else None
        return Trouble.LOST if state.startswith("08") else TROUBLES.get(state)

    def end_idle(self, table: str, seconds: float) -> bool:
        """See `Database.end_idle`: only of transactions that have our mark, and of our own role."""
        if self.connection.needs_rollback:
            return False
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(pg_terminate_backend(a.pid)) {HOLDERS} AND {IS_MARKED} AND a.usename = current_user"
                " AND a.wait_event = 'ClientRead' AND a.state_change < clock_timestamp() - make_interval(secs => %s)",
                [table, seconds],
            )
            return bool(cursor.fetchone()[0])

    def lock_holder(self, table: str) -> str:
        if self.connection.needs_rollback:
            return ""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT a.pid, a.state, a.usename = current_user, a.usename, {IS_MARKED} {HOLDERS}"
                " ORDER BY a.xact_start LIMIT 1",
                [table],
            )
            found = cursor.fetchone()
        if found is None:
            return ""
        pid, state, is_own_role, role, is_ours = found
        whose = "a worker of the run" if is_ours else "not one of the run's workers"
        ends = f"SELECT pg_terminate_backend({pid}) ends it"
        if not is_own_role:
            # what it does is shown to its own role, and to those of pg_monitor
            return f"Session {pid} of PostgreSQL, of the role {role}, holds it ({whose}); as that role {ends}."
        return f"Session {pid} of PostgreSQL holds it ({state}; {whose}); {ends}."

    def read_page_views(
        self, after: int, upto: int | None, limit: int, *, with_attributes: bool = False
    ) -> list[PageViewRow]:
        with self.connection.cursor() as cursor:
            cursor.execute(page_views(after, upto, limit, with_attributes=with_attributes))
            rows: list[PageViewRow] = cursor.fetchall()
        return self._counted(rows)

    def read_columns(
        self,
        after: int,
        upto: int | None,
        limit: int,
        *,
        with_attributes: bool = False,
        names: Sequence[str] | None = None,
    ) -> PageViewColumns:
        if with_attributes and names is not None:
            columns = read_named_columns(self.connection, page_views(after, upto, limit, names=names), names)
            return columns or by_name(super().read_columns(after, upto, limit, with_attributes=True), names)
        rows = page_views(after, upto, limit, with_attributes=with_attributes)
        columns = read_columns(self.connection, rows, with_attributes=with_attributes)
        return columns or super().read_columns(after, upto, limit, with_attributes=with_attributes)

    def uncountable(self, after: int | None, upto: int, limit: int) -> list[Uncountable]:
        return self._uncountable(COUNTABLE, "'viewed_at', viewed_at::text", after, upto, limit)

    def select_ids(self, table: str, column: str, values: Sequence[str], where: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with self.connection.cursor() as cursor:
            for portion in portions_by_size(values, ARRAY_CHARACTERS, size=len):
                cursor.execute(
                    f"SELECT {column}, id FROM {table} WHERE {column} = ANY(%s::text[]){where}", [text_array(portion)]
                )
                found.update(cursor.fetchall())
        return found

    def insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, unique: Sequence[str], key: str
    ) -> dict[str, int]:
        if len(rows) >= MANY_VALUES:
            try:
                with transaction.atomic(using=self.connection.alias):
                    return self._insert_values(table, columns, rows, "", key)
            except IntegrityError:  # somebody else was faster with one of them: as if it had not been tried
                pass
        return self._insert_values(table, columns, rows, f" ON CONFLICT ({', '.join(unique)}) DO NOTHING", key)

    def _insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], on_conflict: str, key: str
    ) -> dict[str, int]:
        inserted: dict[str, int] = {}
        arrays = ", ".join("%s::integer[]" if isinstance(value, int) else "%s::text[]" for value in rows[0])
        with self.connection.cursor() as cursor:
            for portion in portions_by_size(rows, ARRAY_CHARACTERS, size=lambda row: len(row[-1])):
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"
                    f"{on_conflict} RETURNING {key}, id",
                    [
                        number_array(values) if isinstance(values[0], int) else text_array(values)
                        for values in zip(*portion, strict=True)
                    ],
                )
                inserted.update(cursor.fetchall())
        return inserted

    def taken_key(self, error: BaseException) -> str:
        details = getattr(error.__cause__, "diag", None)
        if getattr(error.__cause__, "sqlstate", None) != UNIQUE_VIOLATION or details is None:
            return ""
        table = details.table_name or ""
        return table if details.constraint_name == f"{table}_pkey" else ""

    def is_out_of_ids(self, error: BaseException) -> bool:
        return getattr(error.__cause__, "sqlstate", None) == SEQUENCE_LIMIT

    def counter_reset(self, table: str) -> str:
        return f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 1)) FROM {table}"

    def _lookup(
        self, generation: int, level: Level, keys: Sequence[Key], inline_visitors: int | None
    ) -> list[StoredRow]:
        if not keys:
            return []
        sets = self._sets(level, inline_visitors)
        buckets, subjects = zip(*keys, strict=True)
        with self.connection.cursor() as cursor:
            # LATERAL with LIMIT: a plain join with unnest() is free to scan the whole table, and did. OFFSET 0 hides
            # the constants: else the index of the top pages matches, and is scanned whole for each row
            cursor.execute(
                f"SELECT stored.* FROM (SELECT {level.dimension:d}::smallint AS dimension,"
                f" {level.granularity:d}::smallint AS granularity OFFSET 0) AS level"
                " CROSS JOIN unnest(%s::integer[], %s::integer[]) AS wanted(bucket, subject)"
                f" CROSS JOIN LATERAL (SELECT bucket, subject, page_views, visitors, {sets}, ctid::text"
                f" FROM {AGGREGATE_TABLE} WHERE generation = {generation:d} AND dimension = level.dimension"
                " AND granularity = level.granularity AND bucket = wanted.bucket AND subject = wanted.subject"
                " LIMIT 1) AS stored",
                [number_array(buckets), number_array(subjects)],
            )
            return [StoredRow(*row) for row in cursor.fetchall()]

    def days_of_subjects(
        self,
        generation: int,
        level: Level,
        buckets: Sequence[int],
        subjects: tuple[int, int],
        *,
        inline: int,
        limit: int,
    ) -> list[SubjectDays]:
        return read_days(self.connection, generation, level, buckets, subjects, inline=inline, limit=limit)

    def _remove(self, stored: Sequence[StoredRow]) -> None:
        # page_views is indexed, so an UPDATE would write a whole new row too; by ctid nothing is looked up twice.
        # A ctid stays what it is: only the holder of the generation's lock changes these rows.
        if stored:
            with self.connection.cursor() as cursor:
                locators = text_array([row.locator for row in stored])
                cursor.execute(f"DELETE FROM {AGGREGATE_TABLE} WHERE ctid = ANY(%s::tid[])", [locators])

    def _write(self, generation: int, rows: Iterable[AggregateRow], *, replacing: bool) -> None:
        copy_rows(self.connection, generation, rows)

    def analyze(self) -> None:
        # autovacuum comes late or never; until then the planner passes the index of the top pages over, and looks paths
        # and session keys up by reading all of them
        with self.connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {', '.join(ANALYZED)}")

    def delete_aggregates(self, generation: int, limit: int, *, of: tuple[Level, int] | None = None) -> int:
        with self.connection.cursor() as cursor:
            # ordered, so that it goes by the primary key: a scan of the table would pass all that is deleted already
            cursor.execute(
                f"DELETE FROM {AGGREGATE_TABLE} WHERE ctid = ANY(ARRAY("
                f"SELECT ctid FROM {AGGREGATE_TABLE} WHERE generation = {generation:d}{condition(of)}"
                f" ORDER BY generation, dimension, granularity, bucket, subject LIMIT {limit:d}))"
            )
            deleted: int = cursor.rowcount
        return deleted
