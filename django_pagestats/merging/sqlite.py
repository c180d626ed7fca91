"""SQLite: one writer at a time, so everything that can be done before the write lock is done before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django_pagestats.merging.base import (
    AGGREGATE_TABLE,
    PAGE_VIEW_TABLE,
    AggregateRow,
    Database,
    Key,
    PageViewRow,
    StoredRow,
    portions,
)
from django_pagestats.tally import Level

#: parameters of one statement; SQLite before 3.32 takes 999
MOST_PARAMETERS = 999


class SQLite(Database):
    CHUNK_SECONDS: ClassVar[float] = 0.1
    READS_AHEAD: ClassVar[bool] = False
    NICE: ClassVar[float] = 1.0

    def read_page_views(self, after: int, upto: int | None, limit: int) -> list[PageViewRow]:
        bound = "" if upto is None else f" AND id <= {upto:d}"
        with self.connection.cursor() as cursor:
            # substr: strftime('%s') may round a fraction of a second up
            cursor.execute(
                "SELECT id, path, session_key, CAST(strftime('%%s', substr(viewed_at, 1, 19)) AS INTEGER)"
                f" FROM {PAGE_VIEW_TABLE} WHERE id > %s{bound} ORDER BY id LIMIT %s",
                [after, limit],
            )
            rows: list[PageViewRow] = cursor.fetchall()
        return rows

    def select_ids(self, table: str, column: str, values: Sequence[str], where: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        with self.connection.cursor() as cursor:
            for portion in portions(values, MOST_PARAMETERS):
                marks = ", ".join(["%s"] * len(portion))
                cursor.execute(f"SELECT {column}, id FROM {table} WHERE {column} IN ({marks}){where}", portion)
                found.update(cursor.fetchall())
        return found

    def insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], key: str
    ) -> dict[str, int]:
        marks = ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows
            )
        return {}

    def _lookup(
        self, generation: int, level: Level, keys: Sequence[Key], inline_visitors: int | None
    ) -> list[StoredRow]:
        sets = "a.visitor_set"
        if inline_visitors is not None:
            sets = f"CASE WHEN a.visitors <= {inline_visitors:d} THEN a.visitor_set END"
        with self.connection.cursor() as cursor:
            # CROSS JOIN: SQLite then keeps this order of the loops
            cursor.execute(
                f"SELECT a.bucket, a.subject, a.page_views, a.visitors, {sets} FROM json_each(%s) AS wanted"
                f" CROSS JOIN {AGGREGATE_TABLE} AS a WHERE a.generation = %s AND a.dimension = %s"
                " AND a.granularity = %s AND a.bucket = json_extract(wanted.value, '$[0]')"
                " AND a.subject = json_extract(wanted.value, '$[1]')",
                [json.dumps(keys), generation, int(level.dimension), int(level.granularity)],
            )
            return [StoredRow(*row) for row in cursor.fetchall()]

    def _write(self, generation: int, rows: Iterable[AggregateRow], *, replacing: bool) -> None:
        conflict = " ON CONFLICT (generation, dimension, granularity, bucket, subject) DO UPDATE SET"
        conflict += (
            " page_views = excluded.page_views, visitors = excluded.visitors, visitor_set = excluded.visitor_set"
        )
        with self.connection.cursor() as cursor:
            for portion in portions(rows, MOST_PARAMETERS // 8):
                marks = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(portion))
                parameters: list[Any] = []
                for row in portion:
                    parameters += (generation, *row)
                cursor.execute(
                    f"INSERT INTO {AGGREGATE_TABLE} (generation, dimension, granularity, bucket, subject, page_views,"
                    f" visitors, visitor_set) VALUES {marks}{conflict if replacing else ''}",
                    parameters,
                )

    def delete_aggregates(self, generation: int, limit: int) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {AGGREGATE_TABLE} WHERE rowid IN"
                f" (SELECT rowid FROM {AGGREGATE_TABLE} WHERE generation = %s LIMIT %s)",
                [generation, limit],
            )
            deleted: int = cursor.rowcount
        return deleted
