"""Answers against a naive count: any views, zones, cuts between aggregates and tail, and ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import backfill, stats
from django_pagestats.buckets import Calendar, day_number, instant
from django_pagestats.ids import subject_ids, visitor_ids
from django_pagestats.stats import folded, statements
from tests.factories import START, Row, insert_page_views, make_page_views, rows_of_any_kind
from tests.stats_oracle import Oracle, clean, fold_naively

#: zones, and an instant at which something unusual happens in each
ZONES = {
    "UTC": datetime(2025, 1, 1, tzinfo=timezone.utc),
    "Asia/Kathmandu": datetime(1985, 12, 31, 18, 30, tzinfo=timezone.utc),  # +5:30 becomes +5:45
    "Australia/Lord_Howe": datetime(2024, 4, 6, 15, tzinfo=timezone.utc),  # back half an hour
    "America/St_Johns": datetime(2006, 10, 29, 2, 31, tzinfo=timezone.utc),  # back an hour, one minute after midnight
    "Africa/Monrovia": datetime(1972, 1, 7, 0, 44, 30, tzinfo=timezone.utc),  # -0:44:30 becomes 0
    "Pacific/Apia": datetime(2011, 12, 30, 10, tzinfo=timezone.utc),  # 30 December is left out
    "America/Sao_Paulo": datetime(2018, 11, 4, 3, tzinfo=timezone.utc),  # no midnight
}
#: each asks some twenty questions: a fraction of what the profile gives a pure test
EXAMPLES = max(2, (settings.default.max_examples if settings.default else 100) // 6)
PATHS = ["/", "/A", "/a", "/x", "/x ", "/é", "/\U0001f600", "/" + "long" * 300]
KEYS = [f"key{number}" for number in range(12)]


Site = tuple[str, list[tuple[str, str, datetime]], int, int, int]


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """A zone, page views near its unusual instant, how many of them are folded, of all time too, and have ids."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    centre = ZONES[zone]
    times = st.integers(-3 * 86_400, 3 * 86_400) | st.integers(-7_200, 7_200) | st.sampled_from([-1, 0, 1])
    view = st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from(KEYS),
        st.builds(lambda s, us: centre + timedelta(seconds=s, microseconds=us), times, st.sampled_from([0, 999_999])),
    )
    views = draw(st.lists(view, max_size=30))
    folded = draw(st.integers(0, len(views)))
    all_time = draw(st.integers(0, folded))
    return zone, views, folded, all_time, draw(st.integers(folded, len(views)))


@contextmanager
def in_autocommit() -> Iterator[Any]:
    yield stats


@contextmanager
def in_atomic() -> Iterator[Any]:
    with transaction.atomic():
        yield stats


@contextmanager
def in_snapshot_in_atomic() -> Iterator[Any]:
    with transaction.atomic(), stats.snapshot() as snapshot:
        yield snapshot


MODES = [in_autocommit, in_atomic, stats.snapshot, in_snapshot_in_atomic]


def build(site: Site) -> tuple[str, list[Row]]:
    zone, views, folded, all_time, with_ids = site
    clean()
    rows = insert_page_views(views)
    if folded:
        fold_naively(rows[:folded], zone, all_time=all_time)
        # ids are given before the fold that needs them
        visitor_ids("default", [row.session_key for row in rows[:with_ids]])
        subject_ids("default", [row.path for row in rows[:with_ids]])
    return zone, rows


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tail_limit", [1_000, 3], ids=["short tail", "long tail"])
def test_answers_of_days_equal_a_naive_count(tail_limit: int) -> None:
    @settings(max_examples=EXAMPLES)
    @given(sites(), st.sampled_from(MODES), st.integers(-4, 4), st.integers(0, 5), st.integers(0, 3), st.data())
    def check(site: Any, mode: Callable[[], Any], first: int, length: int, bounds: int, data: st.DataObject) -> None:
        zone, rows = build(site)
        oracle = Oracle(rows, zone)
        middle = ZONES[zone].astimezone(ZoneInfo(zone)).date()
        start: date | None = middle + timedelta(days=first)
        end: date | None = middle + timedelta(days=first + length)
        assert start is not None and end is not None
        path = data.draw(st.sampled_from([*PATHS, "/never"]))
        limit, offset = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 3))
        with override_settings(PAGESTATS_TIME_ZONE=zone, PAGESTATS_TAIL_LIMIT=tail_limit), mode() as asked:
            assert asked.time_series("day", start, end) == oracle.days(start, end)
            assert asked.time_series("day", start, end, path=path) == oracle.days(start, end, path)
            start, end = start if bounds & 1 else None, end if bounds & 2 else None
            given_as = data.draw(st.sampled_from([lambda bound: bound, lambda bound: as_midnight(bound, zone)]))
            span = {"start": given_as(start), "end": given_as(end)}
            assert asked.count_page_views(**span) == oracle.page_views(None, start, end)
            assert asked.count_page_views(path=path, **span) == oracle.page_views(path, start, end)
            wanted = data.draw(st.lists(st.sampled_from([*PATHS, "/never", "bad\0", "/\ud800"])))
            assert asked.count_page_views_of(wanted, **span) == oracle.page_views_of(wanted, start, end)
            assert asked.count_unique_visitors(**span) == oracle.visitors(None, start, end)
            assert asked.count_unique_visitors(path=path, **span) == oracle.visitors(path, start, end)
            assert asked.count_paths(**span) == oracle.paths(start, end)
            top = oracle.top_pages(start, end)
            assert asked.top_pages(limit=100, **span) == top
            assert asked.top_pages(limit, offset=offset, **span) == top[offset : offset + limit]
            assert totals(asked.summary(**span)) == totals_of(oracle, start, end)

    check()


def totals(summary: stats.Summary) -> tuple[Any, ...]:
    return summary.page_views, summary.visitors, summary.paths, summary.first_viewed_at


def totals_of(oracle: Oracle, start: date | None, end: date | None) -> tuple[Any, ...]:
    within = oracle.within(None, start, end)
    first = min((row.viewed_at for row in within), default=None)
    return len(within), oracle.visitors(None, start, end), oracle.paths(start, end), first


def as_midnight(day: date | None, zone: str) -> datetime | None:
    """The first instant of a local day, with the offset that it has then."""
    if day is None:
        return None
    return instant(Calendar(zone).day_start(day_number(day))).astimezone(ZoneInfo(zone))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tail_limit", [1_000, 3], ids=["short tail", "long tail"])
def test_answers_of_hours_equal_a_naive_count(tail_limit: int) -> None:
    @settings(max_examples=EXAMPLES // 2)
    @given(sites(), st.sampled_from(MODES), st.integers(-60, 30), st.integers(0, 30) | st.integers(31, 120))
    def check(site: Any, mode: Callable[[], Any], first: int, length: int) -> None:
        zone, rows = build(site)
        calendar = Calendar(zone)
        middle = calendar.hour(int(ZONES[zone].timestamp()))
        start = instant(calendar.hour_start(middle + first)).astimezone(ZoneInfo(zone))
        end = instant(calendar.hour_start(middle + first + length)).astimezone(ZoneInfo(zone))
        within = [row for row in rows if start <= row.viewed_at < end]
        with override_settings(PAGESTATS_TIME_ZONE=zone, PAGESTATS_TAIL_LIMIT=tail_limit), mode() as asked:
            assert asked.time_series("hour", start, end) == Oracle(rows, zone).hours(start, end)
            if not (calendar.begins_day(int(start.timestamp())) and calendar.begins_day(int(end.timestamp()))):
                assert asked.count_page_views(start=start, end=end) == len(within)
                assert asked.count_unique_visitors(start=start, end=end) == Oracle(within).visitors()

    check()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tail_limit", [1_000, 3], ids=["short tail", "long tail"])
def test_the_summary_equals_a_naive_count(tail_limit: int) -> None:
    @settings(max_examples=EXAMPLES // 2)
    @given(sites(), st.sampled_from(MODES))
    def check(site: Any, mode: Callable[[], Any]) -> None:
        zone, rows = build(site)
        oracle = Oracle(rows, zone)
        tail = len(rows) - site[2]
        with override_settings(PAGESTATS_TIME_ZONE=zone, PAGESTATS_TAIL_LIMIT=tail_limit), mode() as asked:
            assert asked.summary() == stats.Summary(
                page_views=len(rows),
                visitors=oracle.visitors(),
                paths=oracle.paths(),
                first_viewed_at=min((row.viewed_at for row in rows), default=None),
                pending=tail,
                pending_is_exact=tail <= tail_limit,
                is_exact=True,
            )
            assert asked.count_page_views() == len(rows)
            assert asked.count_page_views_of(PATHS) == oracle.page_views_of(PATHS)
            assert asked.count_unique_visitors() == oracle.visitors()
            assert asked.count_paths() == oracle.paths()
            assert asked.top_pages(limit=100) == oracle.top_pages()

    check()


@pytest.mark.django_db
@pytest.mark.parametrize("tail_limit", [1_000, 1])
def test_the_summary_of_a_range_and_of_its_folded_part(settings: Any, tail_limit: int) -> None:
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    rows = make_page_views(300, days=10)
    fold_naively(rows[:200])
    start, end = START.date() + timedelta(days=2), START.date() + timedelta(days=5)
    for oracle, is_exact in ((Oracle(rows), True), (Oracle(rows[:200]), False)):
        with stats.snapshot(exact=is_exact) as asked:
            for bounds in ({"start": start, "end": end}, {"start": start}, {"end": end}):
                found = asked.summary(**bounds)
                assert totals(found) == totals_of(oracle, bounds.get("start"), bounds.get("end"))
                assert (found.pending, found.is_exact) == (100, is_exact), "they are of all time"
            assert totals(asked.summary(start=start, end=start)) == (0, 0, 0, None)
            assert totals(asked.summary(start=date(2030, 1, 1))) == (0, 0, 0, None)
    with pytest.raises(ValueError, match="is not the beginning of a day"):
        stats.summary(start=START + timedelta(hours=1))


@pytest.mark.django_db
@pytest.mark.parametrize("tail_limit", [1_000, 1])
@pytest.mark.parametrize("path", ["bad\0", "/\ud800"])
def test_a_path_that_is_no_text_of_a_database_is_not_another_one(settings: Any, tail_limit: int, path: str) -> None:
    """It had the days of the empty path."""
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    days = START.date(), START.date() + timedelta(days=2)
    with rows_of_any_kind():
        insert_page_views([("", "k", START), ("bad", "l", START)])
    assert [point.page_views for point in stats.time_series("day", *days, path=path)] == [0, 0]
    assert (stats.count_page_views(path), stats.count_unique_visitors(path)) == (0, 0)


@pytest.mark.skipif(connection.vendor == "postgresql", reason="it stores no NUL")
@pytest.mark.django_db
@pytest.mark.parametrize("tail_limit", [1_000, 1])
@pytest.mark.parametrize("is_folded", [True, False])
def test_a_path_with_a_nul_that_is_there_counts_as_itself(settings: Any, tail_limit: int, is_folded: bool) -> None:
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    with rows_of_any_kind():
        rows = insert_page_views([("/x\0", "k", START), ("/x\0", "l", START), ("/x", "k", START)])
    if is_folded:
        fold_naively(rows)
    assert stats.top_pages() == [stats.PageStats("/x\0", 2, 2), stats.PageStats("/x", 1, 1)]
    assert (stats.count_page_views("/x\0"), stats.count_unique_visitors("/x\0")) == (2, 2)
    [point] = stats.time_series("day", START.date(), START.date() + timedelta(days=1), path="/x\0")
    assert (point.page_views, point.visitors) == (2, 2)


@pytest.mark.django_db
@pytest.mark.parametrize("tail_limit", [1_000, 1])
def test_a_path_that_only_a_raw_insert_can_make(settings: Any, tail_limit: int) -> None:
    """Recording and the table refuse an empty path; where one is, a statistics page must not break by one."""
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    views = [("", "k", START), ("", "l", START), ("/a", "k", START)]
    wanted = [stats.PageStats("", 2, 2), stats.PageStats("/a", 1, 1)]
    with rows_of_any_kind():
        insert_page_views(views)
    assert stats.top_pages() == wanted
    backfill.run_here("default", via="test")
    assert stats.top_pages() == wanted
    with rows_of_any_kind():
        insert_page_views(views)
    assert stats.top_pages() == [stats.PageStats("", 4, 2), stats.PageStats("/a", 2, 1)]


@pytest.mark.django_db
def test_sets_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages and days there are: a set may have megabytes."""
    monkeypatch.setattr(folded, "SUBJECT_SETS_PER_STATEMENT", 30)
    monkeypatch.setattr(statements, "SET_BYTES_PER_STATEMENT", 500)
    make_page_views(600, paths=12, days=12)
    backfill.run_here("default", via="test")
    read = statements.read_aggregates
    sizes = []

    def read_and_count(using: str, columns: Any, *args: Any, **kwargs: Any) -> Any:
        state, rows = read(using, columns, *args, **kwargs)
        if "a.visitor_set" in columns:
            sizes.append(len(rows))
        return state, rows

    monkeypatch.setattr(statements, "read_aggregates", read_and_count)
    days = {"start": START.date(), "end": START.date() + timedelta(days=12)}
    assert len(stats.top_pages(**days)) == 10
    assert sum(sizes) > 60 and max(sizes) <= 30
