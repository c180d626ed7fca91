"""The list of pages as a table wants it, compared with a naive count."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from django_pagestats import folding, stats
from django_pagestats.stats.listing import every_page, list_pages
from tests.factories import Row, count_naively, insert_page_views, make_page_views

pytestmark = pytest.mark.django_db(transaction=True)

START, END = date(2025, 3, 5), date(2025, 3, 20)
ORDERS = {
    "page_views": lambda page: -page[1],
    "visitors": lambda page: (-page[2], -page[1]),
    "value": lambda page: page[0],
}


def expected(rows: list[Row], prefix: str) -> list[tuple[str, int, int]]:
    pages = count_naively(rows, start=START, end=END).pages
    return [(path, it.page_views, it.visitors) for path, it in pages.items() if path.startswith(prefix)]


@pytest.fixture(params=["folded", "tail", "long tail", "half", "half, long tail"])
def rows(request: pytest.FixtureRequest, settings: Any) -> list[Row]:
    how = request.param
    hostile = ["/Blog/%_\\x", "/blog/😀", "/blog/\N{RIGHT-TO-LEFT OVERRIDE}", '/"><script>', "/=cmd"]
    at = datetime(2025, 3, 7, tzinfo=timezone.utc)
    found = make_page_views(500, paths=90, visitors=60)
    if "half" in how or how == "folded":
        folding.keep_up("default", seconds=60)
    found += insert_page_views((path, f"key{n}", at + timedelta(hours=n)) for n, path in enumerate(hostile * 2))
    found += make_page_views(200, paths=110, visitors=80, seed=2)
    if how == "folded":
        folding.keep_up("default", seconds=60)
    if "long" in how:
        settings.PAGESTATS_TAIL_LIMIT = 5
    return found


def test_any_page_of_the_list_in_any_order(rows: list[Row]) -> None:
    for prefix in ("", "/blog/", "/Blog/%_", "/blog/😀", "/none", "\0"):
        wanted = expected(rows, prefix)
        for order, key in ORDERS.items():
            with stats.snapshot() as taken:
                whole = [
                    (row.path, row.page_views, row.visitors)
                    for row in every_page(taken, prefix=prefix, order=order, start=START, end=END)  # type: ignore[arg-type]
                ]
                listed = [
                    list_pages(taken, prefix=prefix, order=order, limit=7, offset=offset, start=START, end=END)  # type: ignore[arg-type]
                    for offset in range(0, len(wanted) + 1, 7)
                ]
            assert [key(page) for page in whole] == sorted(map(key, wanted)), (prefix, order)
            assert sorted(whole) == sorted(wanted)
            assert [(it.path, it.page_views, it.visitors) for one in listed for it in one.rows] == whole
            assert {one.count for one in listed} == {len(wanted)}


def test_reversed_it_is_the_same_list_from_its_end(rows: list[Row]) -> None:
    with stats.snapshot() as taken:
        for order in ORDERS:
            forth = list_pages(taken, order=order, limit=1_000, start=START, end=END)  # type: ignore[arg-type]
            back = list_pages(taken, order=order, is_reversed=True, limit=1_000, start=START, end=END)  # type: ignore[arg-type]
            assert back.rows == forth.rows[::-1] and back.count == forth.count


def test_people_are_counted_once_though_they_saw_several_rows(rows: list[Row]) -> None:
    with stats.snapshot() as taken:
        for start, end in ((START, END), (None, None)):
            for offset in (0, 10):
                listed = list_pages(taken, limit=10, offset=offset, start=start, end=end)
                shown = {row.path for row in listed.rows}
                keys = {row.session_key for row in rows if row.path in shown and within(row, start, end)}
                assert listed.people == len(keys) < sum(row.visitors for row in listed.rows)


def within(row: Row, start: date | None, end: date | None) -> bool:
    return (start is None or row.viewed_at.date() >= start) and (end is None or row.viewed_at.date() < end)


def test_the_order_of_visitors_does_not_read_the_sets_of_all_pages(django_assert_max_num_queries: Any) -> None:
    views = [(f"/{n}", f"key{n}", datetime(2025, 3, 7, tzinfo=timezone.utc)) for n in range(1_000)]
    insert_page_views([*views, *[("/top", f"key{n}", views[0][2]) for n in range(50)]])
    folding.keep_up("default", seconds=60)
    with stats.snapshot() as taken, django_assert_max_num_queries(8):
        listed = list_pages(taken, order="visitors", limit=1, start=START, end=END)
    assert (listed.rows[0].path, listed.count) == ("/top", 1_001)


def test_the_order_of_visitors_finds_who_is_far_behind_in_page_views() -> None:
    at = datetime(2025, 3, 7, tzinfo=timezone.utc)
    insert_page_views([(f"/{n}", f"key{n}", at) for n in range(150)] * 10)
    insert_page_views([("/late", f"other{n}", at) for n in range(9)])
    with stats.snapshot() as taken:
        listed = list_pages(taken, order="visitors", limit=2, start=START, end=END)
    assert [(row.path, row.visitors) for row in listed.rows] == [("/late", 9), ("/0", 1)]
