"""The points of a chart against a naive count: by hour, day, week and month, in hard zones, with a tail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats import stats
from django_pagestats.buckets import Calendar
from django_pagestats.dashboard.comparing import Against, compare
from django_pagestats.dashboard.ranges import FREE, Choice, Days, today_of
from django_pagestats.dashboard.series import Asked, Count, Point, series
from tests.factories import Row, insert_page_views, make_page_views
from tests.stats_oracle import clean, fold_naively

ZONE = "Europe/Berlin"
NOW = datetime(2026, 11, 18, 13, 55, tzinfo=timezone.utc)
SINCE = date(2026, 9, 10)
SPAN = Days(date(2026, 9, 2), date(2026, 12, 1))

pytestmark = pytest.mark.django_db


def asked(interval: str, span: Days = SPAN, *, zone: str = ZONE, path: str | None = None, **options: Any) -> Asked:
    calendar, now, choice = Calendar(zone), options.pop("now", NOW), Choice(FREE, span)
    comparison = compare(choice, span, Against(options.pop("against", "weekdays")), now, calendar)
    return Asked(span, interval, now, calendar, 1, options.pop("since", SINCE), comparison, path)


def points(wanted: Asked) -> list[Point]:
    with stats.snapshot() as taken:
        return series(taken, wanted)


def counted(rows: Iterable[Row], is_in: Callable[[datetime], bool], zone: str = ZONE) -> Count:
    found = [row.session_key for row in rows if is_in(row.viewed_at.astimezone(ZoneInfo(zone)))]
    return Count(len(found), len(set(found)))


def some_rows() -> list[Row]:
    """Of eighty days from SINCE on; the last hundred and fifty are no part of the aggregates yet."""
    start = datetime(2026, 9, 10, 0, 30, tzinfo=timezone.utc)
    rows = make_page_views(900, start=start, days=69, paths=5, visitors=60)
    fold_naively(rows[:750], ZONE)
    return [row for row in rows if row.viewed_at <= NOW]


@pytest.mark.parametrize(
    ("interval", "path", "tail_limit"),
    [
        *((interval, path, 1_000) for interval in ("day", "week", "month") for path in (None, "/")),
        ("week", None, 50),
        ("week", "/", 50),
    ],
)
def test_each_point_is_the_count_of_its_days_as_one_set(
    interval: str, path: str | None, tail_limit: int, settings: Any
) -> None:
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    rows = [row for row in some_rows() if path in (None, row.path)]
    found = points(asked(interval, path=path))
    today = today_of(NOW, Calendar(ZONE))
    assert found[0].days.start == SPAN.start
    assert found[-1].days.end == SPAN.end
    for point in found:
        is_known = point.days.end > SINCE and point.days.start <= today
        expected = counted(rows, lambda at, point=point: at.date() in point.days)  # type: ignore[misc]
        assert point.count == (expected if is_known else None), point
        assert point.is_running == (today in point.days)
        if (beside := point.days_before) is not None and point.count_before is not None:
            assert point.count_before == counted(rows, lambda at, beside=beside: at.date() in beside)  # type: ignore[misc]
    if path is None and interval == "week":
        assert any(point.count and 0 < point.count.visitors < point.count.page_views for point in found)


def test_hours_stand_beside_those_when_clocks_showed_the_same() -> None:
    """The day on which clocks were set back has an hour twice; a week before it came once."""
    rows = some_rows()
    found = points(asked("hour", Days(date(2026, 10, 25), date(2026, 10, 26))))
    assert len(found) == 25
    for point in found:
        begins = point.begins_at
        assert begins is not None
        expected = counted(rows, lambda at, begins=begins: begins <= at < begins + timedelta(hours=1))  # type: ignore[misc]
        assert point.count == expected
        before = point.begins_at_before
        local = begins.astimezone(ZoneInfo(ZONE))
        assert (before is None) == bool(local.fold)
        if before is not None:
            assert before.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None) == (local - timedelta(days=7)).replace(
                tzinfo=None
            )
            assert point.count_before == counted(
                rows,
                lambda at, before=before: before <= at < before + timedelta(hours=1),  # type: ignore[misc]
            )


def test_nothing_is_said_of_what_is_to_come_nor_of_before_the_first_page_view() -> None:
    some_rows()
    today = points(asked("hour", Days(date(2026, 11, 18), date(2026, 11, 19))))
    assert [point.count is None for point in today] == [False] * 15 + [True] * 9
    assert [point.is_running for point in today].index(True) == 14
    assert all(point.count_before is not None for point in today), "the days before are over"
    by_day = points(asked("day"))
    assert [point.days.start for point in by_day if point.count is not None] == (
        [SINCE + timedelta(days=number) for number in range(70)]
    )
    assert all(point.count is None for point in points(asked("day", since=None)))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.datetimes(datetime(2018, 4, 20), datetime(2018, 5, 12)),  # noqa: DTZ001
        ),
        max_size=30,
    ),
    st.integers(0, 30),
    st.sampled_from(["Asia/Pyongyang", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]),
)
def test_the_sums_of_points_are_the_totals_in_zones_of_halves_and_quarters(
    views: list[tuple[str, datetime]], folded: int, zone: str
) -> None:
    """In Pyongyang a day began half an hour after the hour that it began in, on 5 May 2018."""
    clean()
    rows = insert_page_views(("/", key, at.replace(tzinfo=timezone.utc)) for key, at in views)
    fold_naively(rows[:folded], zone)
    span = Days(date(2018, 4, 30), date(2018, 5, 9))
    now = datetime(2018, 6, 1, tzinfo=timezone.utc)
    total = counted(rows, lambda at: at.date() in span, zone)
    for interval in "hour", "day", "week", "month":
        found = [it.count for it in points(asked(interval, span, zone=zone, now=now, since=span.start))]
        counts = [count for count in found if count is not None]
        if interval != "hour" or zone != "Asia/Pyongyang":
            assert sum(count.page_views for count in counts) == total.page_views, interval
        assert sum(count.visitors for count in counts) >= total.visitors


def test_the_statements_of_a_chart_do_not_depend_on_its_pieces_or_page_views() -> None:
    def statements(interval: str) -> int:
        wanted = asked(interval)
        with (
            stats.snapshot() as taken,
            CaptureQueriesContext(
                connection,
            ) as captured,
        ):
            series(taken, wanted)
        return len(captured)

    some_rows()
    few = {interval: statements(interval) for interval in ("week", "month")}
    assert few["week"] == few["month"] <= 6
    make_page_views(500, start=datetime(2026, 9, 12, tzinfo=timezone.utc), days=60, visitors=300)
    assert {interval: statements(interval) for interval in few} == few


def test_visitors_up_to_an_hour_are_those_of_days_and_of_a_few_hours() -> None:
    rows = some_rows()
    until = datetime(2026, 11, 18, 13, tzinfo=timezone.utc)
    with stats.snapshot() as taken, CaptureQueriesContext(connection) as captured:
        assert taken.count_unique_visitors(start=SINCE, end=until) == counted(rows, lambda at: at < until).visitors
    tables = [query["sql"] for query in captured if "visitor_set" in query["sql"]]
    assert len(tables) == 3, "sixty-nine days, and the hours of one"
