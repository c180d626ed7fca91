"""What is read of many ranges together: each answer is that of its range, and the aggregates are read once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_pagestats import stats
from django_pagestats.models import Aggregate
from django_pagestats.stats.together import read_together, read_visits_together
from tests.factories import insert_page_views
from tests.stats_oracle import Oracle, as_outside_transactions, fold_naively

pytestmark = pytest.mark.django_db

START = datetime(2025, 3, 1, tzinfo=timezone.utc)
DAY = START.date()
VIEWS = [
    (f"/{n % 4}", f"key{n * n % 41}", START + timedelta(hours=7 * n), {"source": "s"} if n % 3 == 0 else {})
    for n in range(160)
]
#: days, and hours at either edge, which are of days that another range has as whole ones
RANGES: list[tuple[Any, Any]] = [
    (DAY, DAY + timedelta(days=20)),
    (DAY + timedelta(days=3), START + timedelta(days=22, hours=13)),
    (START + timedelta(days=5, hours=7), DAY + timedelta(days=19)),
    (START + timedelta(days=22, hours=2), START + timedelta(days=22, hours=9)),
]
DAYS = [(DAY, DAY + timedelta(days=20)), (DAY + timedelta(days=15), DAY + timedelta(days=30)), (DAY, DAY)]


def statements(ask: Callable[[], Any]) -> int:
    """Of aggregates."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    return sum(Aggregate._meta.db_table in query["sql"] for query in captured.captured_queries)


@pytest.mark.parametrize("tail", [0, 30])
def test_sets_of_days_and_hours_are_read_by_one_statement(tail: int) -> None:
    rows = insert_page_views(VIEWS)
    fold_naively(rows[: len(rows) - tail])
    oracle = Oracle(rows)
    with as_outside_transactions(), stats.snapshot() as taken:
        assert statements(lambda: read_together(taken, RANGES)) == 1

        def ask() -> None:
            for start, end in RANGES:
                assert taken.count_page_views(start=start, end=end) == oracle.page_views(None, start, end)
                assert taken.count_unique_visitors(start=start, end=end) == oracle.visitors(None, start, end)
                assert taken.count_single_page_visitors(start=start, end=end) == oracle.single_page_visitors(start, end)

        assert statements(ask) == 0


@pytest.mark.parametrize("tail", [0, 30])
def test_visits_of_several_ranges_are_read_by_one_statement(tail: int) -> None:
    rows = insert_page_views(VIEWS)
    fold_naively(rows[: len(rows) - tail])
    oracle = Oracle(rows)
    with as_outside_transactions(), stats.snapshot() as taken:
        assert statements(lambda: read_visits_together(taken, DAYS)) == 1

        def ask() -> None:
            for start, end in DAYS:
                assert taken.count_visits(start=start, end=end) == oracle.visits(None, start, end)

        assert statements(ask) == 0


def test_where_nobody_counts_visits_none_are_read() -> None:
    fold_naively(insert_page_views(VIEWS[:9]), dimensions=[])
    with as_outside_transactions(), stats.snapshot() as taken:
        assert statements(lambda: read_visits_together(taken, DAYS)) == 0
