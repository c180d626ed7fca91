"""The order of pages, and those whose paths begin with a text, against plain Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import backfill, stats
from django_pagestats.merging import ordering, reading
from django_pagestats.merging.prefixes import end_of_prefix
from django_pagestats.stats import below
from tests.factories import Row, insert_page_views
from tests.stats_oracle import Oracle
from tests.test_stats import MODES, ZONES, Site, as_midnight, build, sites

#: neighbours in an order that is not that of the bytes, and what LIKE would take for something else
PATHS = [
    "/",
    "/A",
    "/a",
    "/B",
    "/a%",
    "/a_",
    "/ab",
    "/a\\",
    "/x",
    "/x ",
    "/é",
    "/z",
    "/\U0001f600",
    "/\U0010ffff",
    "/\ue000",
]
PREFIXES = ["", *PATHS, "/a%b", "A", "/\U0001f600x", "/" + "long" * 300, "\U0010ffff", "bad\0", "/\ud800"]
DAY = date(2025, 3, 1)
START = datetime(2025, 3, 1, 8, tzinfo=timezone.utc)
#: each asks some forty questions
EXAMPLES = max(2, (settings.default.max_examples if settings.default else 100) // 6)


def ordered(oracle: Oracle, start: Any = None, end: Any = None) -> list[str]:
    counts: dict[str, int] = {}
    for row in oracle.within(None, start, end):
        counts[row.path] = counts.get(row.path, 0) + 1
    return sorted(counts, key=lambda path: (-counts[path], path))


def below_of(oracle: Oracle, prefix: str, start: Any = None, end: Any = None) -> list[Row]:
    return [row for row in oracle.within(None, start, end) if row.path.startswith(prefix)]


@st.composite
def ordered_sites(draw: st.DrawFn) -> Site:
    """As `sites()`, of these paths, and with few page views each, so that many are equal."""
    zone, views, folded, all_time, with_ids = draw(sites())
    views = [(draw(st.sampled_from(PATHS)), key, at) for _, key, at in views]
    return zone, views, folded, all_time, with_ids


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tail_limit", [1_000, 3], ids=["short tail", "long tail"])
def test_order_and_prefixes_equal_plain_python(tail_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(max_examples=EXAMPLES)
    @given(ordered_sites(), st.sampled_from(MODES), st.integers(-4, 4), st.integers(0, 5), st.integers(0, 3), st.data())
    def check(site: Any, mode: Callable[[], Any], first: int, length: int, bounds: int, data: st.DataObject) -> None:
        zone, rows = build(site)
        middle = ZONES[zone].astimezone(ZoneInfo(zone)).date() + timedelta(days=first)
        start = middle if bounds & 1 else None
        end = middle + timedelta(days=length) if bounds & 2 else None
        given_as = data.draw(st.sampled_from([lambda bound: bound, lambda bound: as_midnight(bound, zone)]))
        # few pages are looked up, many added up by the database
        monkeypatch.setattr(below, "SUBJECTS_PER_STATEMENT", data.draw(st.sampled_from([500, 0, 2])))
        monkeypatch.setattr(below, "INLINE_VISITORS", data.draw(st.sampled_from([400, 1])))
        with override_settings(PAGESTATS_TIME_ZONE=zone, PAGESTATS_TAIL_LIMIT=tail_limit), mode() as asked:
            span, oracle = {"start": given_as(start), "end": given_as(end)}, Oracle(rows, zone)
            has_the_order(asked, ordered(oracle, start, end), span)
            prefix = data.draw(st.sampled_from(PREFIXES))
            has_all_below(asked, prefix, below_of(oracle, prefix, start, end), span)

    check()


def has_the_order(asked: Any, pages: list[str], span: dict[str, Any]) -> None:
    assert [asked.page_at(n, **span) for n in range(1, len(pages) + 3)] == [*pages, None, None]
    assert [asked.rank(path, **span) for path in pages] == list(range(1, len(pages) + 1))
    assert {
        asked.rank(path, **span) for path in {"", "/never", "bad\0", "/\ud800", "/A", "/\U0001f600"} - {*pages}
    } == {None}
    for q in (0, 0.5, 0.95, Fraction(1, 3), 1 - 2**-53):
        wanted = pages[::-1][floor(Fraction(q) * len(pages))] if pages else None
        assert asked.page_at_percentile(q, **span) == wanted, q


def has_all_below(asked: Any, prefix: str, rows: list[Row], span: dict[str, Any]) -> None:
    assert asked.paths(prefix, **span) == sorted({row.path for row in rows})
    assert asked.count_page_views(prefix=prefix, **span) == len(rows)
    assert asked.count_unique_visitors(prefix=prefix, **span) == len({row.session_key for row in rows})


@pytest.mark.django_db(transaction=True)
def test_after_late_page_views_and_a_rebuild(settings: Any) -> None:
    """Also of the folded part alone; then more is folded than before."""
    views = [(path, f"key{n % 7}", START + timedelta(hours=n * 5)) for n, path in enumerate(PATHS * 4)]
    rows = insert_page_views(views)
    backfill.run_here("default", via="test")
    late = [(path, f"late{n % 3}", START + timedelta(hours=n)) for n, path in enumerate([*PATHS[::2], "/new", "/a"])]
    rows += insert_page_views(late)
    for limit in (1_000, 3):
        settings.PAGESTATS_TAIL_LIMIT = limit
        with stats.snapshot() as taken:
            look(taken, rows, PREFIXES)
        with stats.snapshot(exact=False) as folded:
            look(folded, rows[: len(views)], ["/a", "/"])
    backfill.run_here("default", via="test", kind="rebuild")
    look(stats, rows, ["/a", "/", "/\U0001f600"])


def look(asked: Any, rows: list[Row], prefixes: list[str]) -> None:
    span = {"start": DAY, "end": DAY + timedelta(days=4)}
    oracle = Oracle(rows)
    has_the_order(asked, ordered(oracle, *span.values()), span)
    for prefix in prefixes:
        has_all_below(asked, prefix, below_of(oracle, prefix, *span.values()), span)


@pytest.mark.once
@pytest.mark.django_db
def test_what_is_refused_says_what_would_do() -> None:
    noon = START + timedelta(hours=4)
    for ask, words in (
        (lambda: stats.rank(None), "path=None: text"),  # type: ignore[arg-type]
        (lambda: stats.rank("/", start=noon), "not the beginning of a day"),
        (lambda: stats.page_at(0), "n=0: a whole number, 1 or more"),
        (lambda: stats.page_at(True), "n=True"),
        (lambda: stats.page_at_percentile(1), "q=1: a number from 0 on and below 1"),
        (lambda: stats.page_at_percentile(float("nan")), "q=nan"),
        (lambda: stats.paths(b"/"), "prefix=b'/': text"),  # type: ignore[arg-type]
        (lambda: stats.paths("/", start=noon), "not the beginning of a day"),
        (lambda: stats.count_page_views("/a", prefix="/"), "one condition"),
        (lambda: stats.count_unique_visitors(where={"country": "DE"}, prefix="/"), "one condition"),
        (lambda: stats.count_unique_visitors(prefix="/", end=noon), "not the beginning of a day"),
    ):
        with pytest.raises(ValueError, match=words):
            ask()
    assert stats.page_at(2**70) is None


@pytest.mark.once
@pytest.mark.django_db
def test_neither_order_nor_prefixes_take_more_statements_for_more_pages(
    django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And few rows come here: a rank is a count, a place a window as wide as the tail."""
    insert_page_views((f"/{n:04}", f"key{n % 50}", START) for n in range(2_000))
    backfill.run_here("default", via="test")
    insert_page_views([("/0500", "new", START), ("/new", "new", START)])
    sizes = []
    read = reading.read_rows

    def read_and_count(*args: Any, **kwargs: Any) -> Any:
        state, rows = read(*args, **kwargs)
        sizes.append(len(rows))
        return state, rows

    monkeypatch.setattr(reading, "read_rows", read_and_count)
    monkeypatch.setattr(ordering, "read_rows", read_and_count)
    for span in ({}, {"start": DAY}):
        with django_assert_max_num_queries(9):
            assert stats.rank("/1500", **span) == 1_501
        with django_assert_max_num_queries(7):
            assert stats.page_at(1_501, **span) == "/1500"
        assert max(sizes) == 5, "two page views in the tail: two pages before and two after"
        with django_assert_max_num_queries(9):
            assert stats.count_page_views(prefix="/1", **span) == 1_000
        with django_assert_max_num_queries(12):
            assert stats.count_unique_visitors(prefix="/1", **span) == 50
        with django_assert_max_num_queries(9):
            assert stats.count_unique_visitors(prefix="/", **span) == 51
        assert max(sizes) <= 1_000, "the sets of pages that begin so"
        sizes.clear()
        with django_assert_max_num_queries(4):
            assert len(stats.paths("/1", **span)) == 1_000
        sizes.clear()


@pytest.mark.once
def test_what_comes_after_all_texts_with_a_prefix() -> None:
    assert end_of_prefix("") is None and end_of_prefix("\U0010ffff" * 3) is None
    assert end_of_prefix("/blog/") == "/blog0"
    assert end_of_prefix("/\U0010ffff") == "0"
    assert end_of_prefix("/\ud7ff") == "/\ue000", "no database holds half a surrogate pair"
