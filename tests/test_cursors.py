"""Rows with sets come as bytes from every database, and are those that any cursor gives."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_pagestats import stats
from django_pagestats.merging import cursors
from django_pagestats.merging.cursors import fetched
from django_pagestats.models import Aggregate
from tests.factories import insert_page_views
from tests.stats_oracle import fold_naively

START = datetime(2025, 3, 2, tzinfo=timezone.utc)
TABLE = Aggregate._meta.db_table
HOSTILE = "/100%/'\"; \\x41 ? %s $1 :a"


def compared(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(bytes(it) if isinstance(it, memoryview | bytes) else it for it in row) for row in rows]


@pytest.mark.django_db
def test_binary_rows_are_those_that_are_not() -> None:
    fold_naively(insert_page_views((f"/{n % 3}", f"key{n % 7}", START) for n in range(40)))
    statement = (
        "SELECT g.time_zone, NULL, a.page_views, SUM(a.page_views), a.visitor_set, a.repeat_set"
        f" FROM {TABLE} AS a JOIN django_pagestats_generation AS g ON g.id = a.generation"
        " WHERE a.granularity = 2 AND %s <> %s GROUP BY 1, 3, 5, 6 ORDER BY 3, 5"
    )
    with CaptureQueriesContext(connection) as captured:
        binary = fetched(connection, statement, [HOSTILE, "other"], is_binary=True)
    assert len(binary) == 3
    assert compared(binary) == compared(fetched(connection, statement, [HOSTILE, "other"], is_binary=False))
    assert fetched(connection, statement, [HOSTILE, HOSTILE], is_binary=True) == []
    assert len(captured) == 1, "who looks at statements sees it"


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others send bytes as they are")
def test_sets_are_asked_for_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As digits they would be twice as long, and ten times as much work."""
    formats, made = [], cursors._binary

    def watched(*args: Any) -> Any:
        cursor = made(*args)
        formats.append(cursor)
        return cursor

    monkeypatch.setattr(cursors, "_binary", watched)
    fold_naively(insert_page_views([("/", "key", START)]))
    days = {"start": START.date(), "end": START.date().replace(day=9)}
    assert stats.count_unique_visitors(**days) == stats.count_unique_visitors("/", **days) == 1
    assert len(formats) == 2
    assert all(cursor.format.name == "BINARY" for cursor in formats)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others compile no statements")
def test_a_snapshot_s_statements_are_not_compiled() -> None:
    """A tenth of a second each, more than it takes to run them; and the session is as it was afterwards."""

    def is_on() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW jit")
            return str(cursor.fetchone()[0])

    before = is_on()
    with stats.snapshot():
        assert is_on() == "off"
    assert is_on() == before
