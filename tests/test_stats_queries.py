"""What an answer costs: how many statements, and which index each of them uses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from pyroaring import BitMap

from django_pagestats import stats
from django_pagestats.ids import subject_ids
from django_pagestats.models import Aggregate, Dimension, Generation, Granularity, PageView
from tests.factories import Row, insert_page_views, make_page_views
from tests.stats_oracle import Oracle, fold_naively

pytestmark = pytest.mark.django_db

DAY = date(2025, 3, 2)
START = datetime(2025, 3, 2, tzinfo=timezone.utc)
MONTH = {"start": DAY, "end": DAY + timedelta(days=30)}

#: question -> statements with an empty tail, and with a tail that has known and unknown paths and visitors
BUDGETS: dict[str, tuple[Callable[[], Any], int, int]] = {
    "count_page_views()": (lambda: stats.count_page_views(), 2, 2),
    "count_page_views(range)": (lambda: stats.count_page_views(**MONTH), 2, 2),
    "count_page_views(path)": (lambda: stats.count_page_views("/p0"), 2, 2),
    "count_page_views(path, range)": (lambda: stats.count_page_views("/p0", **MONTH), 2, 2),
    "count_page_views(path, open range)": (lambda: stats.count_page_views("/p0", start=DAY), 3, 3),
    "count_page_views(hours)": (lambda: stats.count_page_views(start=START + timedelta(hours=5)), 3, 3),
    "count_unique_visitors()": (lambda: stats.count_unique_visitors(), 2, 3),
    "count_unique_visitors(range)": (lambda: stats.count_unique_visitors(**MONTH), 2, 3),
    "count_unique_visitors(path)": (lambda: stats.count_unique_visitors("/p0"), 2, 3),
    "count_paths()": (lambda: stats.count_paths(), 2, 4),
    "count_paths(range)": (lambda: stats.count_paths(**MONTH), 2, 4),
    "top_pages()": (lambda: stats.top_pages(), 3, 6),
    "top_pages(range)": (lambda: stats.top_pages(**MONTH), 4, 6),
    "time_series(day)": (lambda: stats.time_series("day", *MONTH.values()), 2, 4),
    "time_series(day, path)": (lambda: stats.time_series("day", *MONTH.values(), path="/p0"), 2, 4),
    "time_series(hour)": (lambda: stats.time_series("hour", START, START + timedelta(hours=48)), 3, 5),
    "summary()": (lambda: stats.summary(), 4, 8),
}


def page_views(count: int) -> list[tuple[str, str, datetime]]:
    return [(f"/p{n % 40}", f"key{n % 33}", START + timedelta(hours=n % 40, seconds=n)) for n in range(count)]


@pytest.mark.parametrize("name", BUDGETS)
def test_statements_of_an_answer(name: str, django_assert_num_queries: Any) -> None:
    ask, of_empty_tail, of_tail = BUDGETS[name]
    rows = insert_page_views(page_views(200))
    fold_naively(rows)
    with django_assert_num_queries(of_empty_tail):
        ask()
    insert_page_views([*page_views(50), ("/new", "new", START), ("/p0", "new", START)])
    with django_assert_num_queries(of_tail):
        ask()


def test_a_snapshot_reads_the_tail_once(django_assert_num_queries: Any) -> None:
    rows = make_page_views(200)
    fold_naively(rows[:150])
    with stats.snapshot() as snapshot:
        snapshot.top_pages()
        with django_assert_num_queries(1):
            snapshot.count_page_views()
        with django_assert_num_queries(3):  # the first page view of all is read of the folded part and of the tail
            snapshot.summary()


@pytest.fixture
def many() -> Generation:
    """As many aggregate rows as make a planner care, without page views behind them."""
    fold_naively([])
    generation = Generation.objects.get()
    visitors = BitMap(range(1, 20)).serialize()
    subjects = sorted(subject_ids("default", [f"/p{n}" for n in range(1_500)]).values())
    first = (DAY - date(1970, 1, 1)).days

    def row(dimension: Dimension, granularity: Granularity, bucket: int, subject: int, page_views: int) -> Aggregate:
        return Aggregate(
            generation=generation.pk,
            dimension=dimension,
            granularity=granularity,
            bucket=bucket,
            subject=subject,
            page_views=page_views,
            visitors=19,
            visitor_set=visitors,
        )

    rows = [row(Dimension.PAGE, Granularity.ALL, 0, subject, 40 + 7 * subject % 5_000) for subject in subjects]
    rows += [
        row(Dimension.PAGE, Granularity.DAY, first + day, subject, 1 + subject % 50)
        for day in range(6)
        for subject in subjects
    ]
    rows += [row(Dimension.SITE, Granularity.HOUR, first * 24 + hour, 0, 60) for hour in range(400)]
    rows += [row(Dimension.SITE, Granularity.DAY, first + day, 0, 1_500) for day in range(6)]
    rows += [row(Dimension.SITE, Granularity.ALL, 0, 0, 9_000)]
    Aggregate.objects.bulk_create(rows, batch_size=1_000)
    insert_page_views(page_views(2_000))
    Generation.objects.update(cursor=PageView.objects.order_by("-pk")[5].pk)
    with connection.cursor() as cursor:
        for table in ("aggregate", "pageview", "subject", "generation"):
            verb = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
            cursor.execute(f"{verb} django_pagestats_{table}")
            if connection.vendor == "mysql":
                cursor.fetchall()
    return generation


PRIMARY_KEY = {
    "mysql": "PRIMARY",
    "postgresql": "django_pagestats_aggregate_pkey",
    "sqlite": "sqlite_autoindex_django_pagestats_aggregate_1",
}
LAST = {"start": DAY + timedelta(days=2), "end": DAY + timedelta(days=4)}
INDEXES: dict[str, tuple[Callable[[], Any], str]] = {
    "the site": (lambda: stats.count_unique_visitors(), "primary key"),
    "the site, some days": (lambda: stats.count_unique_visitors(**LAST), "primary key"),
    "the site, some hours": (lambda: stats.time_series("hour", START, START + timedelta(hours=9)), "primary key"),
    "a path": (lambda: stats.count_page_views("/p7"), "primary key"),
    "a path, some days": (lambda: stats.count_page_views("/p7", **LAST), "primary key"),
    "visitors of a path": (lambda: stats.count_unique_visitors("/p7", **LAST), "primary key"),
    "top pages": (lambda: stats.top_pages(10), "pagestats_top_pages"),
}


def plans(ask: Callable[[], Any], table: str) -> list[str]:
    """How the database executes each statement of an answer that reads this table."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    found = []
    for query in captured.captured_queries:
        if f"django_pagestats_{table}" in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute({"sqlite": "EXPLAIN QUERY PLAN "}.get(connection.vendor, "EXPLAIN ") + query["sql"])
                found.append("\n".join(str(row) for row in cursor.fetchall()))
    return found


def test_each_statement_finds_its_rows_by_an_index(many: Generation) -> None:
    with override_settings(PAGESTATS_TAIL_LIMIT=100):
        for name, (ask, wanted) in INDEXES.items():
            index = PRIMARY_KEY[connection.vendor] if wanted == "primary key" else wanted
            plan = plans(ask, "aggregate")[0]
            assert index in plan, name
            assert "Seq Scan on django_pagestats_aggregate" not in plan, name
            assert "SCAN a'" not in plan, name
        [first_page_view] = [plan for plan in plans(stats.summary, "pageview") if "viewed_at" in plan]
        assert "pagestats_viewed_at" in first_page_view
        tail = plans(stats.count_page_views, "pageview")[0]
        assert {"mysql": "PRIMARY", "postgresql": "pageview_pkey", "sqlite": "PRIMARY KEY"}[connection.vendor] in tail


def test_more_visitors_than_the_original_could_remember() -> None:
    """It kept the last 10,000 session keys in the task's arguments: 12,000 that come back at random are 12,000."""
    rows = [Row(n, f"/{n % 3}", f"key{n * 7_919 % 12_000}", START + timedelta(seconds=n)) for n in range(1, 24_001)]
    PageView.objects.bulk_create([PageView(**row._asdict()) for row in rows], batch_size=5_000)
    fold_naively(rows[:15_000])
    assert Oracle(rows).visitors() == 12_000
    for limit in (50_000, 100):
        with override_settings(PAGESTATS_TAIL_LIMIT=limit):
            assert stats.count_unique_visitors() == 12_000
            assert stats.count_unique_visitors("/1") == Oracle(rows).visitors("/1")
