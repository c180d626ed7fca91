"""Pages together with those below them, compared with a naive count; few pages and many, and a tail of any length."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_pagestats import stats
from django_pagestats.exceptions import TailTooLongError
from django_pagestats.stats import trees
from tests.factories import START, Row, fold, insert_page_views
from tests.stats_oracle import fold_naively

pytestmark = pytest.mark.django_db

ROOTS = ["/", "/blog", "/blog/", "/blog/2026/", "/blogging", "/none/", "/q/?page=2", "/ünï/", "/\0"]
PATHS = [
    "/",
    "/blog",
    "/blog/",
    "/blog?page=2",
    "/blog/2026/",
    "/blog/2026/a/",
    "/blog/2026/?page=2",
    "/blogging",
    "/blogging/x",
    "/Blog/",
    "/q/",
    "/q/?page=2",
    "/ünï/😀/",
]
DAYS = {"start": START.date() + timedelta(days=1), "end": START.date() + timedelta(days=6)}


def belongs(path: str, root: str) -> bool:
    below = root if root.endswith("/") else f"{root}/"
    return path == root or path.partition("?")[0] == root or path.startswith(below)


@pytest.fixture(params=["folded", "half", "tail"])
def rows(request: pytest.FixtureRequest) -> list[Row]:
    found = insert_page_views(
        (PATHS[n * 7 % len(PATHS)], f"key{n * n % 11}", START + timedelta(hours=n * 5)) for n in range(60)
    )
    folded = {"folded": 60, "half": 30, "tail": 0}[request.param]
    if folded:
        fold_naively(found[:folded])
    return found


@pytest.mark.parametrize("most", [trees.MOST_PAGES_BY_DAY, 2])
def test_page_views_and_visitors_equal_a_naive_count(
    rows: list[Row], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "MOST_PAGES_BY_DAY", most)
    roots = [root for root in ROOTS if "\0" not in root or connection.vendor != "postgresql"] + ["/\0"]
    with stats.snapshot() as taken:
        by_day = trees.page_views_of_trees(taken, roots, **DAYS)
        counts = trees.count_page_views_of_trees(taken, roots, **DAYS)
        visitors = {root: len(trees.visitors_of_tree(taken, root, **DAYS)) for root in roots}
    for root in roots:
        mine = [it for it in rows if belongs(it.path, root) and DAYS["start"] <= it.viewed_at.date() < DAYS["end"]]
        assert counts[root] == len(mine), root
        assert visitors[root] == len({it.session_key for it in mine}), root
        expected: Counter[date] = Counter(it.viewed_at.date() for it in mine)
        is_by_day = None not in by_day[root]
        assert by_day[root] == expected if is_by_day else list(by_day[root].values()) == [len(mine)], root


def test_a_tail_that_does_not_fit_the_memory_is_counted_by_the_database(rows: list[Row], settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 0
    with stats.snapshot() as taken:
        counts = trees.count_page_views_of_trees(taken, ["/blog", "/"], **DAYS)
    mine = [it for it in rows if DAYS["start"] <= it.viewed_at.date() < DAYS["end"]]
    assert counts == {"/blog": len([it for it in mine if belongs(it.path, "/blog")]), "/": len(mine)}


def test_statements_do_not_grow_with_the_trees(rows: list[Row]) -> None:
    counts = []
    for roots in (["/blog"], [f"/{n}/" for n in range(100)] + ROOTS[:4]):
        with CaptureQueriesContext(connection) as captured, stats.snapshot() as taken:
            trees.page_views_of_trees(taken, roots, **DAYS)
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 9


@pytest.mark.parametrize("folded", [60, 25, 0])
@pytest.mark.parametrize("most", [trees.MOST_PAGES_BY_DAY, 2])
def test_visits_equal_a_naive_count_of_arrivals(
    folded: int, most: int, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(trees, "MOST_PAGES_BY_DAY", most)
    found: list[Row] = []
    for first, last in ((0, folded), (folded, 60)):
        found += insert_page_views(
            (
                PATHS[n * 7 % len(PATHS)],
                f"key{n * n % 11}",
                START + timedelta(hours=n * 5),
                {"source": "news.example"} if n % 3 else {},
            )
            for n in range(first, last)
        )
        if last == folded:
            fold()
    roots = [root for root in ROOTS if "\0" not in root]
    with stats.snapshot() as taken:
        counts = {root: trees.count_visits_of_tree(taken, root, **DAYS) for root in [*roots, "/\0"]}
    for root in roots:
        mine = [it for n, it in enumerate(found) if n % 3 and belongs(it.path, root)]
        wanted = len([it for it in mine if DAYS["start"] <= it.viewed_at.date() < DAYS["end"]])
        assert counts[root] == wanted, root
    assert counts["/"] > counts["/blog/"] > 0 and counts["/\0"] == 0
    if folded == 25:
        settings.PAGESTATS_TAIL_LIMIT = 0
        with stats.snapshot() as taken, pytest.raises(TailTooLongError):
            trees.count_visits_of_tree(taken, "/", **DAYS)


def test_nothing_is_asked_of_no_trees() -> None:
    with stats.snapshot() as taken:
        assert trees.page_views_of_trees(taken, [], **DAYS) == {}
        assert trees.count_page_views_of_trees(taken, ["/"], start=START.date(), end=START.date()) == {"/": 0}
        assert len(trees.visitors_of_tree(taken, "/", start=START.date(), end=START.date())) == 0
        assert trees.count_visits_of_tree(taken, "/", start=START.date(), end=START.date()) == 0
