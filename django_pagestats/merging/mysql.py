"""MariaDB, and MySQL by the same statements: few and large ones, since each costs a round trip and a parse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from django.db import OperationalError, transaction

from django_pagestats.merging.base import AGGREGATE_TABLE, Waits, condition
from django_pagestats.merging.charsets import refuse_garbling
from django_pagestats.merging.lookup import LookupDatabase, StoredRow
from django_pagestats.merging.page_views import PAGE_VIEW_TABLE, PageViewRow, Uncountable
from django_pagestats.merging.portions import portions
from django_pagestats.merging.rows import AggregateRow, Key
from django_pagestats.merging.troubles import RowsLockedError, Trouble
from django_pagestats.models.constraints import COUNTABLE_TIME
from django_pagestats.tally import Level

LOCK_WAIT_TIMEOUT = 1205
#: numbers of errors: of locks; of rows that changed and deadlocks; of privileges for a database, a login, a table, a
#: column, the server and a routine; of columns and tables that are missing; of full disks and tables; of --read-only,
#: of read-only transactions and servers; of binlog_format STATEMENT; of a shutdown, of KILL, of a server that is away
#: or went away
TROUBLES = {
    LOCK_WAIT_TIMEOUT: Trouble.LOCKED,
    1665: Trouble.BINARY_LOG,
    **dict.fromkeys((1020, 1213), Trouble.CONFLICT),
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1370), Trouble.FORBIDDEN),
    **dict.fromkeys((1054, 1146), Trouble.MISSING),
    **dict.fromkeys((1021, 1114), Trouble.DISK_FULL),
    **dict.fromkeys((1290, 1792, 1836), Trouble.READ_ONLY),
    **dict.fromkeys((1053, 1927, 2002, 2003, 2006, 2013, 2055), Trouble.LOST),
}
#: out of range for an AUTO_INCREMENT column, in InnoDB's words and in the server's
OUT_OF_IDS = (167, 1467)
#: of others in this database, among those that hold locks; the server refuses it to whoever has not the PROCESS
#: privilege
OLDEST_TRANSACTION = (
    "SELECT t.trx_mysql_thread_id FROM information_schema.INNODB_TRX AS t JOIN information_schema.PROCESSLIST AS p"
    " ON p.ID = t.trx_mysql_thread_id AND p.DB = DATABASE() WHERE t.trx_rows_locked > 0"
    " AND p.ID <> CONNECTION_ID() ORDER BY t.trx_started LIMIT 1"
)
COUNTABLE = COUNTABLE_TIME["mysql"].format(column="viewed_at")
#: TO_SECONDS('1970-01-01')
EPOCH_SECONDS = 62_167_219_200
#: rows of ids that one statement inserts: with the longest paths 2 MB, see STATEMENT_BYTES
INSERTED_VALUES = 250
#: seconds that reading a chunk waits for a row lock
LOCK_WAIT_SECONDS = 1


class MySQL(LookupDatabase):
    #: bytes of one INSERT; max_allowed_packet is 16 MB by default, and may be 4 MB on old set-ups
    STATEMENT_BYTES: ClassVar[int] = 1_000_000
    SHARE: ClassVar[str] = " LOCK IN SHARE MODE"
    BY_PRIMARY_KEY: ClassVar[str] = " FORCE INDEX (PRIMARY)"

    @contextmanager
    def folding(self, idle_seconds: float) -> Iterator[None]:
        if not self.connection.mysql_is_mariadb:  # MySQL has no such time-out
            yield
            return
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT @@SESSION.idle_transaction_timeout")
            (own,) = cursor.fetchone()
        limit = max(1, round(idle_seconds))
        with self._session(idle_transaction_timeout=min(limit, own or limit)):  # 0: none
            yield

    def trouble(self, error: BaseException) -> Trouble | None:
        return TROUBLES.get(error.args[0]) if error.args else None

    def lock_holder(self, table: str) -> str:
        if self.connection.needs_rollback:
            return ""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(OLDEST_TRANSACTION)
                found = cursor.fetchone()
        except OperationalError as error:
            if self.trouble(error) is not Trouble.FORBIDDEN:
                raise
            return "Which connection holds it the server tells to users with the PROCESS privilege only."
        return f"The oldest transaction is that of connection {found[0]}; KILL {found[0]} ends it." if found else ""

    def refuse_garbling(self) -> None:
        refuse_garbling(self.connection)

    def read_page_views(
        self, after: int, upto: int | None, limit: int, *, with_attributes: bool = False
    ) -> list[PageViewRow]:
        self.refuse_garbling()
        # TO_SECONDS: unix_timestamp() depends on the session's time zone, TIMESTAMPDIFF rounds up before 1970
        bound = "" if upto is None else f" AND id <= {upto:d}"
        attributes = ", attributes" if with_attributes else ""
        statement = (
            f"SELECT id, path, session_key, CASE WHEN {COUNTABLE} THEN TO_SECONDS(viewed_at) - {EPOCH_SECONDS:d} END"
            f"{attributes} FROM {PAGE_VIEW_TABLE} WHERE id > {after:d}{bound} ORDER BY id LIMIT {limit:d}"
        )
        if upto is None:
            return self._counted(self._fetch(statement))
        return self._counted(self._read_settled(statement + " LOCK IN SHARE MODE"))

    def uncountable(self, after: int | None, upto: int, limit: int) -> list[Uncountable]:
        return self._uncountable(COUNTABLE, "'viewed_at', CAST(viewed_at AS CHAR)", after, upto, limit)

    def _fetch(self, statement: str) -> list[PageViewRow]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            rows: list[PageViewRow] = cursor.fetchall()
        return rows

    def _read_settled(self, statement: str) -> list[PageViewRow]:
        """Read with a shared lock: it waits for rows that are inserted and not yet committed, and then has them.

        The lock needs a transaction of its own, and ends with it before ids and merge.
        """
        with self._session(innodb_lock_wait_timeout=LOCK_WAIT_SECONDS):
            try:
                with self.chunk_transaction():
                    return self._fetch(statement)
            except OperationalError as error:
                if error.args[0] == LOCK_WAIT_TIMEOUT:
                    raise RowsLockedError from error
                raise

    @contextmanager
    def transaction(self, *, durable: bool = False, waits: Waits | None = None) -> Iterator[None]:
        """See `Database.transaction`.

        The settings are put back before the commit and what is done on it, or else after the rollback.
        """
        begins = self.begins_here()
        with (
            self._session(**self._settings(waits)) as put_back,
            transaction.atomic(using=self.connection.alias, durable=durable),
        ):
            if begins:
                with self.connection.cursor() as cursor:
                    # of this transaction alone: Django's atomic() sends no BEGIN, and the next statement begins it
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            yield
            put_back()

    def _settings(self, waits: Waits | None) -> dict[str, int]:
        if waits is None:
            return {}
        settings = {"innodb_lock_wait_timeout": waits.lock_seconds}
        if self.connection.mysql_is_mariadb:
            settings["idle_transaction_timeout"] = max(1, round(waits.idle_seconds))
        return settings

    @contextmanager
    def _session(self, **wanted: int) -> Iterator[Callable[[], None]]:
        """Other settings of the session, for the length of a block or until it calls what it is given."""
        if not wanted:
            yield lambda: None
            return
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(f'@@SESSION.{name}' for name in wanted)}")
            before = _set_statement(dict(zip(wanted, cursor.fetchone(), strict=True)))
            session = self.connection.connection
        with ExitStack() as changed, self.connection.cursor() as cursor:
            changed.callback(self.put_back, session, before)
            cursor.execute(_set_statement(wanted))

            def put_back_now() -> None:  # with an error, if there is one: nothing must be committed then
                cursor.execute(before)
                changed.pop_all()

            yield put_back_now

    def select_ids(self, table: str, column: str, values: Sequence[str], where: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with self.connection.cursor() as cursor:
            # fewer than 1,000 at a time: MariaDB makes a longer IN list a temporary table
            for portion in portions(values, 900):
                marks = ", ".join(["%s"] * len(portion))
                cursor.execute(f"SELECT {column}, id FROM {table} WHERE {column} IN ({marks}){where}", portion)
                found.update(cursor.fetchall())
        return found

    def insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, unique: Sequence[str], key: str
    ) -> dict[str, int]:
        # never INSERT IGNORE: it cuts long values silently. And never id = id: naming the AUTO_INCREMENT column lets
        # the server go on from that row's id, and other new rows of the statement are lost to others' ids
        marks = "(" + ", ".join(["%s"] * len(columns)) + ")"
        with self.connection.cursor() as cursor:
            for portion in portions(rows, INSERTED_VALUES):
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * len(portion))}"
                    f" ON DUPLICATE KEY UPDATE {columns[0]} = {columns[0]}",
                    [value for row in portion for value in row],
                )
        return {}

    def is_out_of_ids(self, error: BaseException) -> bool:
        return bool(error.args) and error.args[0] in OUT_OF_IDS

    def counter_reset(self, table: str) -> str:
        return f"ALTER TABLE {table} AUTO_INCREMENT = 1"  # InnoDB takes the next one that is free

    def wait_for_row(self, table: str, pk: int) -> None:
        # an UPDATE that reads other tables has a snapshot from before its wait: with innodb_snapshot_isolation it would
        # fail on a row that was changed meanwhile (1020), where another fold is just as right
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} WHERE id = {pk:d} FOR UPDATE")

    def _lookup(
        self, generation: int, level: Level, keys: Sequence[Key], inline_visitors: int | None
    ) -> list[StoredRow]:
        sets = self._sets(level, inline_visitors)
        with self.connection.cursor() as cursor:
            # STRAIGHT_JOIN: one look-up by primary key for each wanted row, in this order
            cursor.execute(
                f"SELECT STRAIGHT_JOIN a.bucket, a.subject, a.page_views, a.visitors, {sets} FROM"
                " JSON_TABLE(%s, '$[*]' COLUMNS (bucket INT PATH '$[0]', subject INT PATH '$[1]')) AS wanted"
                f" JOIN {AGGREGATE_TABLE} AS a FORCE INDEX (PRIMARY) ON a.generation = {generation:d}"
                f" AND a.dimension = {level.dimension:d} AND a.granularity = {level.granularity:d}"
                " AND a.bucket = wanted.bucket AND a.subject = wanted.subject",
                [json.dumps(sorted(keys))],
            )
            return [StoredRow(*row) for row in cursor.fetchall()]

    def _write(self, generation: int, rows: Iterable[AggregateRow], *, replacing: bool) -> None:
        values: list[str] = []
        size = 0
        for dimension, granularity, bucket, subject, page_views, visitors, visitor_set, repeat_set in rows:
            repeats = "NULL" if repeat_set is None else f"0x{repeat_set.hex()}"
            values.append(
                f"({generation:d},{dimension:d},{granularity:d},{bucket:d},{subject:d},{page_views:d},{visitors:d},"
                f"0x{visitor_set.hex()},{repeats})"
            )
            size += len(values[-1])
            if size >= self.STATEMENT_BYTES:
                self._insert(values, replacing=replacing)
                values, size = [], 0
        if values:
            self._insert(values, replacing=replacing)

    def _insert(self, values: list[str], *, replacing: bool) -> None:
        conflict = ""
        if replacing:
            conflict = " ON DUPLICATE KEY UPDATE page_views = VALUES(page_views), visitors = VALUES(visitors),"
            conflict += " visitor_set = VALUES(visitor_set), repeat_set = VALUES(repeat_set)"
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {AGGREGATE_TABLE} (generation, dimension, granularity, bucket, subject, page_views,"
                f" visitors, visitor_set, repeat_set) VALUES {','.join(values)}{conflict}"
            )

    def delete_aggregates(self, generation: int, limit: int, *, of: tuple[Level, int] | None = None) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {AGGREGATE_TABLE} WHERE generation = {generation:d}{condition(of)} LIMIT {limit:d}"
            )
            deleted: int = cursor.rowcount
        return deleted


def _set_statement(values: dict[str, int]) -> str:
    return f"SET {', '.join(f'SESSION {name} = {value:d}' for name, value in values.items())}"
