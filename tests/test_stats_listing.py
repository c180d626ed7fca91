"""The list of pages, or of the values of a dimension, as a table wants it, compared with a naive count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_pagestats import backfill, folding, stats
from django_pagestats.dimensions import section
from django_pagestats.exceptions import TailTooLongError
from django_pagestats.stats import listing
from django_pagestats.stats.folded import Ranked
from django_pagestats.stats.listing import (
    Wanted,
    every_value,
    list_values,
    page_views_by_day,
    page_views_of,
    visitors_by_value,
)
from tests.factories import Row, insert_page_views, make_page_views

pytestmark = pytest.mark.django_db(transaction=True)

START, END = date(2025, 3, 5), date(2025, 3, 20)
BEFORE = (date(2025, 2, 26), START)
VALUE: dict[str, Callable[[Row], str | None]] = {
    "page": lambda row: row.path,
    "source": lambda row: (row.attributes or {}).get("source"),
    "section": lambda row: section(row.path),
}
#: value, page views, visitors, page views before
Expected = tuple[str, int, int, int]
ORDERS: dict[str, Callable[[Expected], Any]] = {
    "page_views": lambda it: -it[1],
    "visitors": lambda it: (-it[2], -it[1]),
    "value": lambda it: it[0],
    "change": lambda it: (it[3] - it[1], -it[1]),
}


def expected(rows: list[Row], dimension: str, prefix: str = "") -> list[Expected]:
    keys: dict[str, list[str]] = {}
    before: dict[str, int] = {}
    for row in rows:
        value = VALUE[dimension](row)
        if value is None or not value.startswith(prefix):
            continue
        if within(row, START, END):
            keys.setdefault(value, []).append(row.session_key)
        elif within(row, *BEFORE):
            before[value] = before.get(value, 0) + 1
    return [(value, len(them), len(set(them)), before.get(value, 0)) for value, them in keys.items()]


def within(row: Row, start: date | None, end: date | None) -> bool:
    return (start is None or row.viewed_at.date() >= start) and (end is None or row.viewed_at.date() < end)


@pytest.fixture(params=["folded", "tail", "long tail", "half", "half, long tail"])
def rows(request: pytest.FixtureRequest, settings: Any) -> list[Row]:
    how = request.param
    hostile = ["/Blog/%_\\x", "/blog/😀", "/blog/\N{RIGHT-TO-LEFT OVERRIDE}", '/"><script>', "/=cmd"]
    at = datetime(2025, 3, 7, tzinfo=timezone.utc)
    begin = datetime(2025, 2, 26, tzinfo=timezone.utc)
    found = make_page_views(500, paths=90, visitors=60, start=begin, days=30, with_attributes=True)
    if "half" in how or how == "folded":
        folding.keep_up("default", seconds=60)
    found += insert_page_views(
        (path, f"key{n}", at + timedelta(hours=n), {"source": path}) for n, path in enumerate(hostile * 2)
    )
    found += make_page_views(200, paths=110, visitors=80, seed=2, with_attributes=True)
    if how == "folded":
        folding.keep_up("default", seconds=60)
    if "long" in how:
        settings.PAGESTATS_TAIL_LIMIT = 5
    return found


def test_any_page_of_the_list_in_any_order(rows: list[Row], settings: Any) -> None:
    is_long = getattr(settings, "PAGESTATS_TAIL_LIMIT", None) == 5
    for dimension, prefixes in {
        "page": ("", "/blog/", "/Blog/%_", "/blog/😀", "/none", "\0"),
        "source": ("", "/", "d"),
        "section": ("", "b"),
    }.items():
        if is_long and dimension != "page":
            with stats.snapshot() as taken, pytest.raises(TailTooLongError):
                list_values(taken, Wanted(dimension))
            continue
        for prefix in prefixes:
            wanted = expected(rows, dimension, prefix)
            of_value = {it[0]: it for it in wanted}
            for order, key in ORDERS.items():
                asked = Wanted(dimension, prefix, order, before=BEFORE, start=START, end=END)  # type: ignore[arg-type]
                with stats.snapshot() as taken:
                    whole = [(row.value, row.page_views, row.visitors) for row in every_value(taken, asked)]
                    listed = [list_values(taken, asked, limit=7, offset=at) for at in range(0, len(wanted) + 1, 7)]
                assert [key(of_value[it[0]]) for it in whole] == sorted(map(key, wanted)), (dimension, prefix, order)
                assert sorted(whole) == sorted(it[:3] for it in wanted)
                assert [(it.value, it.page_views, it.visitors) for one in listed for it in one.rows] == whole
                assert {one.count for one in listed} == {len(wanted)}
        with stats.snapshot() as taken:
            values = [it[0] for it in wanted]
            for start, end, place in ((START, END, 1), (*BEFORE, 3)):
                then = page_views_of(taken, dimension, values, start=start, end=end)
                assert then == {it[0]: it[place] for it in wanted}
                days = page_views_by_day(taken, dimension, values, start=start, end=end)
                assert {value: sum(of.values()) for value, of in days.items()} == then
            visitors = visitors_by_value(taken, dimension, values, start=START, end=END)
            assert visitors == {it[0]: it[2] for it in wanted}


def test_reversed_it_is_the_same_list_from_its_end(rows: list[Row]) -> None:
    with stats.snapshot() as taken:
        for order in ORDERS:
            wanted = Wanted(order=order, before=BEFORE, start=START, end=END)  # type: ignore[arg-type]
            forth = list_values(taken, wanted, limit=1_000)
            back = list_values(taken, replace(wanted, is_reversed=True), limit=1_000)
            assert back.rows == forth.rows[::-1] and back.count == forth.count


def test_people_are_counted_once_though_they_saw_several_rows(rows: list[Row]) -> None:
    with stats.snapshot() as taken:
        for start, end in ((START, END), (None, None)):
            for offset in (0, 10):
                listed = list_values(taken, Wanted(start=start, end=end), limit=10, offset=offset)
                shown = {row.value for row in listed.rows}
                keys = {row.session_key for row in rows if row.path in shown and within(row, start, end)}
                assert listed.people == len(keys) < sum(row.visitors for row in listed.rows)


def test_the_order_of_visitors_does_not_read_the_sets_of_all_pages(django_assert_max_num_queries: Any) -> None:
    views = [(f"/{n}", f"key{n}", datetime(2025, 3, 7, tzinfo=timezone.utc)) for n in range(1_000)]
    insert_page_views([*views, *[("/top", f"key{n}", views[0][2]) for n in range(50)]])
    folding.keep_up("default", seconds=60)
    with stats.snapshot() as taken, django_assert_max_num_queries(8):
        listed = list_values(taken, Wanted(order="visitors", start=START, end=END), limit=1)
    assert (listed.rows[0].value, listed.count) == ("/top", 1_001)


def test_all_rows_take_few_statements_and_portions_of_few_page_views(
    django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2025, 3, 7, tzinfo=timezone.utc)
    views = [(f"/{n % 1_200}", f"key{n % 700}", at + timedelta(days=n % 9)) for n in range(2_400)]
    insert_page_views(views)
    folding.keep_up("default", seconds=60)
    wanted = Wanted(order="value", start=START, end=END)
    with stats.snapshot() as taken:
        with django_assert_max_num_queries(9):
            rows = list(every_value(taken, wanted))
        monkeypatch.setattr(listing, "SMALL_PAGE_VIEWS", 7)
        assert list(every_value(taken, wanted)) == rows and len(rows) == 1_200
        assert max(len(it) for it in listing._small_portions([Ranked(1, "", 3, 0)] * 9 + [Ranked(2, "", 99, 0)])) == 2
    keys: dict[str, set[str]] = {}
    for path, key, _ in views:
        keys.setdefault(path, set()).add(key)
    assert {row.value: row.visitors for row in rows} == {path: len(them) for path, them in keys.items()}


def test_the_order_of_visitors_finds_who_is_far_behind_in_page_views() -> None:
    at = datetime(2025, 3, 7, tzinfo=timezone.utc)
    insert_page_views([(f"/{n}", f"key{n}", at) for n in range(150)] * 10)
    insert_page_views([("/late", f"other{n}", at) for n in range(9)])
    with stats.snapshot() as taken:
        listed = list_values(taken, Wanted(order="visitors", start=START, end=END), limit=2)
    assert [(row.value, row.visitors) for row in listed.rows] == [("/late", 9), ("/0", 1)]


@pytest.mark.parametrize("dimension", ["page", "source"])
def test_what_was_listed_needs_no_look_up_by_its_text(dimension: str) -> None:
    made = make_page_views(300, paths=12, days=21)
    found = insert_page_views(
        (f"/{n % 7}", f"key{n}", row.viewed_at, {"source": f"s{n % 5}"}) for n, row in enumerate(made)
    )
    backfill.run_here("default", via="test")
    days = [row.viewed_at.date() for row in found]
    start, end = min(days) + timedelta(days=7), max(days) + timedelta(days=1)
    with stats.snapshot() as taken:
        values = [row.value for row in list_values(taken, Wanted(dimension, start=start, end=end)).rows]
        with CaptureQueriesContext(connection) as captured:
            before = page_views_of(taken, dimension, values, start=min(days), end=start)
            by_day = page_views_by_day(taken, dimension, values, start=start, end=end)
    assert not any("digest" in query["sql"] for query in captured.captured_queries)
    rows = [*made, *found]
    for value in values:
        mine = [row.viewed_at.date() for row in rows if VALUE[dimension](row) == value]
        assert before[value] == sum(day < start for day in mine)
        assert sum(by_day[value].values()) == sum(day >= start for day in mine)
