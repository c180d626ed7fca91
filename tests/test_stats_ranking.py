"""The first values of some days, and how many there are, by look-ups: always what adding up all rows gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from django_pagestats import stats
from django_pagestats.stats import ranking
from tests.factories import insert_page_views
from tests.stats_oracle import Oracle, fold_naively

FIRST = date(2025, 3, 1)
START = datetime(2025, 3, 1, tzinfo=timezone.utc)

views = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 7)), min_size=1, max_size=40)


@contextmanager
def small_numbers() -> Iterator[None]:
    """Every branch is taken with a few page views."""
    with ExitStack() as stack:
        for name, number in {
            "FEWEST_DAYS": 1,
            "MANY_DAYS": 2,
            "FEWEST_VALUES": 3,
            "MORE_VALUES": 0,
            "MOST_VIEWED": 5,
            "LAST_DAYS": 1,
            "MORE_DAYS": 2,
            "MOST_KNOWN": 5,
            "FEW_LOOK_UPS": 4,
            "FEW_ROWS": 4,
            "DEARER": 1,
        }.items():
            stack.enter_context(patch.object(ranking, name, number))
        yield


class RankingTest(TestCase):
    @settings(max_examples=max(10, (settings.default.max_examples if settings.default else 100) // 2))
    @given(views, st.integers(0, 40), st.integers(0, 40), st.integers(0, 7), st.integers(1, 8))
    def test_it_is_that_of_a_naive_count(
        self, made: list[tuple[int, int, int]], folded: int, of_all_time: int, first: int, days: int
    ) -> None:
        """With page views that are folded into days only, and a tail: each of them of any page and day."""
        rows = insert_page_views(
            (f"/{page}", f"key{visitor}", START + timedelta(days=day), {"country": f"C{page % 3}"})
            for page, visitor, day in made
        )
        folded = min(folded, len(rows))
        if folded:
            fold_naively(rows[:folded], all_time=min(of_all_time, folded))
        start, end = FIRST + timedelta(days=first), FIRST + timedelta(days=first + days)
        oracle = Oracle(rows)
        with small_numbers():
            assert stats.top_pages(2, start=start, end=end) == oracle.top_pages(start, end)[:2]
            assert stats.top_pages(2, offset=1, start=start) == oracle.top_pages(start, None)[1:3]
            assert stats.top_pages(3, end=end) == oracle.top_pages(None, end)[:3]
            assert stats.count_paths(start=start, end=end) == oracle.paths(start, end)
            assert stats.count_paths(end=end) == oracle.paths(None, end)
            if folded:
                countries = {f"C{page % 3}" for page, _, day in made if first <= day < first + days}
                assert stats.count_values("country", start=start, end=end) == len(countries)


@pytest.mark.django_db
@pytest.mark.once
def test_rows_of_days_are_not_all_added_up() -> None:
    """Of two hundred pages on a hundred days; nor are the pages of all days collected."""
    made = insert_page_views(
        (f"/{n % 200}", f"key{n % 7}", START + timedelta(days=n * 7 % 100))
        for n in range(4_000)
        for _ in range(1 + (n % 200 < 3))
    )
    fold_naively(made)
    days = {"start": FIRST, "end": FIRST + timedelta(days=90)}

    def statements(ask: Any) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            ask()
        return [query["sql"] for query in captured.captured_queries]

    with patch.object(ranking, "FEWEST_VALUES", 20):
        tops = statements(lambda: stats.top_pages(2, **days))
        counts = statements(lambda: stats.count_paths(**days))
    assert not any("AS total" in sql for sql in tops)
    assert sum("ORDER BY a.page_views DESC" in sql for sql in tops) == 1
    assert not any("COUNT(DISTINCT" in sql for sql in counts)
    assert stats.top_pages(2, **days) == Oracle(made).top_pages(days["start"], days["end"])[:2]
    assert stats.count_paths(**days) == Oracle(made).paths(days["start"], days["end"])


@pytest.mark.django_db
def test_a_page_may_be_first_by_page_views_that_its_row_of_all_time_does_not_count_yet() -> None:
    counted = [("/0", 3), ("/1", 3), ("/2", 3), ("/3", 2), ("/4", 1), ("/5", 1)]
    made = insert_page_views(
        (path, f"key{n}", START + timedelta(hours=n)) for path, count in counted for n in range(count)
    )
    of_all_time = len(made)
    made += insert_page_views(("/5", f"late{n}", START + timedelta(hours=30)) for n in range(5))
    fold_naively(made, all_time=of_all_time)
    with small_numbers():
        found = stats.top_pages(2, start=FIRST, end=FIRST + timedelta(days=2))
    assert [(page.path, page.page_views) for page in found] == [("/5", 6), ("/0", 3)]


@pytest.mark.django_db
def test_a_page_that_is_new_may_be_before_those_with_the_most_of_all_time() -> None:
    old = [(path, START) for path in ("/0", "/1", "/2") for _ in range(4)]
    new = [(path, START + timedelta(days=5)) for path in ("/0", "/1", "/3", "/3", "/4")]
    made = insert_page_views((path, f"key{n}", at) for n, (path, at) in enumerate([*old, *new, ("/5", START)]))
    fold_naively(made)
    with small_numbers():
        found = stats.top_pages(2, start=FIRST + timedelta(days=1), end=FIRST + timedelta(days=7))
    assert (found[0].path, found[0].page_views, found[1].page_views) == ("/3", 2, 1)
