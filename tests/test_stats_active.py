"""Who is on the site now."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import stats
from django_pagestats.models import PageView
from django_pagestats.stats import PageStats, active
from tests.factories import Row, insert_page_views
from tests.stats_oracle import Oracle, clean
from tests.test_stats_queries import accesses

pytestmark = pytest.mark.django_db

NOW = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
PATHS = ["/", "/A", "/a", "/x", "/x ", "/é", "/\U0001f600"]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def pages(rows: list[Row], limit: int) -> list[PageStats]:
    """By a loop: most page views first, then by the bytes of the path."""
    oracle = Oracle(rows)
    found = [PageStats(path, oracle.page_views(path), oracle.visitors(path)) for path in {row.path for row in rows}]
    return sorted(found, key=lambda page: (-page.page_views, page.path.encode()))[:limit]


@pytest.mark.django_db(transaction=True)
def test_the_last_minutes_equal_a_naive_count() -> None:
    view = st.tuples(st.sampled_from(PATHS), st.sampled_from("abcd"), st.integers(-30, 700).map(ago))

    @settings(max_examples=20)
    @given(st.lists(view, max_size=25), st.sampled_from([0.5, 1, 5, 10]), st.integers(0, 4))
    def check(views: list[tuple[str, str, datetime]], minutes: float, limit: int) -> None:
        clean()
        rows = insert_page_views(views)
        within = [row for row in rows if ago(minutes * 60) < row.viewed_at <= NOW]
        assert active.count_visitors("default", minutes, NOW) == Oracle(within).visitors()
        assert active.most_viewed("default", minutes, limit, NOW) == pages(within, limit)

    check()


def test_who_is_there_now() -> None:
    now = datetime.now(timezone.utc)
    insert_page_views(
        [
            ("/", "old", now - timedelta(minutes=6)),
            ("/", "a", now - timedelta(minutes=4)),
            ("/", "b", now - timedelta(minutes=1)),
            ("/x", "b", now - timedelta(seconds=1)),
            ("/", "future", now + timedelta(minutes=1)),
        ]
    )
    assert stats.active_visitors() == 2
    assert stats.active_visitors(minutes=10) == 3
    assert stats.active_visitors(2, using="default") == 1
    assert stats.active_pages() == [PageStats("/", 2, 2), PageStats("/x", 1, 1)]
    assert stats.active_pages(limit=1) == [PageStats("/", 2, 2)]
    assert stats.active_pages(minutes=0.01) == []
    assert stats.active_pages(limit=0) == stats.active_pages(limit=10**30)[:0]


@pytest.mark.parametrize("minutes", [0, -1, 1_441, None, "5", True, float("nan")])
def test_minutes_that_will_not_do(minutes: Any) -> None:
    for ask in (stats.active_visitors, stats.active_pages):
        with pytest.raises(ValueError, match=r"minutes=.*: a number above 0 and up to 1,440 would do"):
            ask(minutes)


def test_a_limit_that_will_not_do() -> None:
    with pytest.raises(ValueError, match="limit=-1: a whole number, 0 or more, would do"):
        stats.active_pages(limit=-1)


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_on_a_big_table_only_the_last_minutes_are_read() -> None:
    """The index of the time finds them, though nobody had the planner's statistics renewed since."""
    views = [(f"/{n % 50}", f"key{n % 900}", NOW - timedelta(minutes=n)) for n in range(20_000)]
    insert_page_views(views)
    with connection.cursor() as cursor:
        cursor.execute(f"{'ANALYZE TABLE' if connection.vendor == 'mysql' else 'ANALYZE'} {PageView._meta.db_table}")
    later = NOW + timedelta(days=1)
    insert_page_views([(f"/{n}", f"late{n}", later - timedelta(seconds=n)) for n in range(100)])
    for ask in (
        lambda: active.count_visitors("default", 5, later),
        lambda: active.most_viewed("default", 5, 10, later),
    ):
        assert accesses(ask) == {("page views", "by pagestats_viewed_at")}
        with CaptureQueriesContext(connection) as captured:
            assert ask()
        assert len(captured) == 1
