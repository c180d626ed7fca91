"""Rows with bytes as they are: PostgreSQL sends others as hexadecimal digits, which both sides have to convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def fetched(connection: Any, statement: str, parameters: Sequence[Any], *, is_binary: bool) -> list[tuple[Any, ...]]:
    """All rows of a statement; `is_binary`: of one that gives sets."""
    with connection.cursor() as cursor:
        if not is_binary or connection.vendor != "postgresql":
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())
        with _binary(connection, cursor.connection) as binary:
            # with its parameters in it, as it is with a cursor of Django's
            binary.execute(connection.ops.compose_sql(statement, parameters))
            return list(binary.fetchall())


def _binary(connection: Any, of_psycopg: Any) -> Any:
    """Django's own cursors bind in the client, and psycopg gives these no binary rows."""
    from psycopg import Cursor
    from psycopg.pq import Format

    cursor = Cursor(of_psycopg)
    cursor.format = Format.BINARY
    return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)
