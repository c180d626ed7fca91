"""Which ranges are taken, what they mean, and what the errors say of those that are not."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st

from django_pagestats import stats
from django_pagestats.buckets import Calendar, Granularity, day_number, instant
from django_pagestats.stats.ranges import (
    EVERYTHING,
    Span,
    by_days,
    existing_buckets,
    hour_span,
    hour_start,
    intervals,
    page_span,
    segments,
    site_span,
)
from tests.factories import insert_page_views, make_page_views
from tests.test_stats import ZONES

UTC = timezone.utc
KATHMANDU = ZoneInfo("Asia/Kathmandu")


def in_zone(zone: str) -> Any:
    return lambda: Calendar(zone)


def no_calendar() -> Calendar:
    raise AssertionError("dates need no zone")


def test_dates_are_days_in_any_zone() -> None:
    days = Span(Granularity.DAY, day_number(date(2025, 3, 1)), day_number(date(2025, 3, 4)))
    assert page_span(date(2025, 3, 1), date(2025, 3, 4), no_calendar) == days
    assert site_span(date(2025, 3, 1), date(2025, 3, 4), no_calendar) == days
    assert site_span(None, date(2025, 3, 4), no_calendar) == Span(Granularity.DAY, None, days.high)
    assert page_span(None, None, no_calendar) == EVERYTHING


def test_a_local_midnight_is_its_day() -> None:
    start = datetime(2025, 3, 1, tzinfo=KATHMANDU)
    for bound in (start, start.astimezone(UTC)):
        assert page_span(bound, None, in_zone("Asia/Kathmandu")).low == day_number(date(2025, 3, 1))
    with pytest.raises(ValueError, match="start=2025-02-28T18:15:00"):
        page_span(start.astimezone(UTC), None, in_zone("UTC"))


def test_a_midnight_that_does_not_exist_is_the_first_instant_of_the_day() -> None:
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    missing = datetime(2018, 11, 4, tzinfo=sao_paulo)  # clocks went from 23:59:59 to 01:00
    first = datetime(2018, 11, 4, 1, tzinfo=sao_paulo)
    for bound in (missing, first, date(2018, 11, 4)):
        assert page_span(bound, None, in_zone("America/Sao_Paulo")).low == day_number(date(2018, 11, 4))


def test_hours_are_of_the_site_only() -> None:
    hours = site_span(datetime(2025, 3, 1, 7, tzinfo=KATHMANDU), date(2025, 3, 2), in_zone("Asia/Kathmandu"))
    assert (hours.granularity, hours.high - hours.low) == (Granularity.HOUR, 17)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"start=2025-03-01 or start=2025-03-02 would do"):
        page_span(datetime(2025, 3, 1, 7, tzinfo=KATHMANDU), None, in_zone("Asia/Kathmandu"))


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (datetime(2025, 3, 1), None, "is naive: a date, or an aware datetime"),  # noqa: DTZ001
        (datetime(2025, 3, 1, 7, 15, tzinfo=UTC), None, "2025-03-01T07:00:00[+]00:00 or 2025-03-01T08:00:00[+]00:00"),
        (datetime(2025, 3, 1, 7, 0, 0, 1, tzinfo=UTC), None, "2025-03-01T07:00:00[+]00:00 or"),
        (datetime(2025, 3, 1, 0, 0, 0, 1, tzinfo=UTC), None, "2025-03-01T00:00:00[+]00:00 or"),
        (date(2025, 3, 2), date(2025, 3, 1), "start=2025-03-02 is after end=2025-03-01"),
        (datetime(2025, 3, 2, 5, tzinfo=UTC), date(2025, 3, 1), "is after"),
        ("2025-03-01", None, "start='2025-03-01' is no range bound: a date or"),
        (None, 5, "end=5 is no range bound"),
        (None, datetime(1, 1, 1, tzinfo=UTC), "=[0-9T:+-]+ is out of range: a date, or an open range, would do"),
        (datetime(9999, 12, 31, tzinfo=UTC), None, "=[0-9T:+-]+ is out of range: a date, or an open range, would do"),
    ],
)
def test_what_is_no_range(start: Any, end: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        site_span(start, end, in_zone("UTC"))


def test_the_hours_that_would_do_are_local_ones() -> None:
    with pytest.raises(ValueError, match=r"T07:00:00\+05:45 or 2025-03-01T08:00:00\+05:45 would do"):
        site_span(datetime(2025, 3, 1, 7, 15, tzinfo=KATHMANDU), None, in_zone("Asia/Kathmandu"))


def test_a_range_may_be_empty_or_reach_to_the_ends_of_time() -> None:
    assert site_span(date(2025, 3, 1), date(2025, 3, 1), no_calendar).is_empty
    assert not Span(Granularity.DAY, None, 5).is_empty
    for zone in ZONES:
        span = site_span(date.min, date.max, in_zone(zone))
        assert intervals(span, Calendar(zone)) == [(None, None)]
        assert hour_span(date.min, date.max, in_zone(zone)).buckets(10) is None


def test_a_date_that_the_zone_left_out_has_no_bucket() -> None:
    span = page_span(date(2011, 12, 29), date(2012, 1, 1), no_calendar)
    found = [start for _, start in existing_buckets(span, Calendar("Pacific/Apia"))]
    assert found == [date(2011, 12, 29), date(2011, 12, 31)]


@given(st.sampled_from(sorted(ZONES)), st.integers(-100, 100))
def test_the_beginning_of_an_hour_is_found_without_a_search_or_with_one(zone: str, number: int) -> None:
    calendar = Calendar(zone)
    hour = calendar.hour(int(ZONES[zone].timestamp())) + number
    assert hour_start(hour, calendar) == calendar.hour_start(hour)


@given(
    st.sampled_from(sorted(ZONES)),
    st.integers(-9, 2),
    st.none() | st.integers(0, 12),
    st.booleans(),
    st.integers(-4 * 86_400, 4 * 86_400),
)
@example("America/St_Johns", 0, 1, False, 0)
def test_intervals_hold_the_instants_of_their_days(
    zone: str, first: int, length: int | None, has_start: bool, shift: int
) -> None:
    calendar = Calendar(zone)
    seconds = int(ZONES[zone].timestamp())
    low = calendar.day(seconds) + first
    span = Span(Granularity.DAY, low if has_start else None, None if length is None else low + length)
    found = intervals(span, calendar)
    for moment in (seconds + shift, seconds - 1, seconds, seconds + 59, seconds + 60, seconds + 3_600):
        is_in = any((start is None or start <= moment) and (end is None or moment < end) for start, end in found)
        assert is_in == (calendar.day(moment) in span)
    assert len(found) <= 4


@given(st.sampled_from(sorted(ZONES)), st.sampled_from([Granularity.DAY, Granularity.HOUR]), st.integers(-90, 90))
def test_segments_hold_the_instants_of_their_buckets(zone: str, granularity: Granularity, shift: int) -> None:
    calendar = Calendar(zone)
    seconds = int(ZONES[zone].timestamp()) + shift * 1_801
    bucket_of = calendar.day if granularity == Granularity.DAY else calendar.hour
    bucket = bucket_of(seconds)
    parts = segments(range(bucket - 2, bucket + 3), granularity, calendar)
    assert [part.bucket for part in parts if part.start <= seconds < part.end] == [bucket]
    assert all(bucket_of(part.start) == part.bucket == bucket_of(part.end - 1) for part in parts)
    assert parts == sorted(parts)


# -- the same through the functions


@pytest.mark.django_db
def test_ranges_of_every_function() -> None:
    insert_page_views(
        [("/", "a", datetime(2025, 3, 1, 23, 30, tzinfo=UTC)), ("/", "a", datetime(2025, 3, 2, tzinfo=UTC))]
    )
    day = date(2025, 3, 1)
    nine = datetime(2025, 3, 1, 21, tzinfo=UTC)
    with override_settings(PAGESTATS_TIME_ZONE="Asia/Kathmandu"):
        assert stats.count_page_views(start=day, end=day + timedelta(days=1)) == 0
        assert stats.count_page_views(start=day) == stats.count_page_views(path="/", start=day) == 2
        assert stats.count_page_views(end=day) == stats.count_paths(end=day) == 0
        assert stats.count_unique_visitors(start=day, end=day) == stats.count_paths(start=day, end=day) == 0
        assert stats.top_pages(start=day, end=day) == stats.time_series("day", day, day) == []
        assert stats.count_unique_visitors(path="/", start=day, end=date.max) == 1
        for ask in (stats.count_paths, stats.top_pages):
            with pytest.raises(ValueError, match="not the beginning of a day in Asia/Kathmandu"):
                ask(start=nine)
        with pytest.raises(ValueError, match="not the beginning of an hour in Asia/Kathmandu"):
            stats.count_page_views(start=nine)
        assert stats.count_page_views(start=nine + timedelta(minutes=15)) == 2


@pytest.mark.django_db
def test_a_time_series_wants_a_granularity_and_a_closed_range() -> None:
    day = date(2025, 3, 1)
    with pytest.raises(ValueError, match='"day" or "hour" would do'):
        stats.time_series("week", day, day)
    with pytest.raises(ValueError, match="needs both start and end"):
        stats.time_series("day", day, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hours are kept of the whole site"):
        stats.time_series("hour", day, day, path="/")
    with pytest.raises(ValueError, match="not the beginning of a day in UTC"):
        stats.time_series("day", datetime(2025, 3, 1, 5, tzinfo=UTC), date(2025, 3, 4))


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("granularity", ["day", "hour"])
def test_a_series_has_not_more_points_than_fit_a_page(granularity: str) -> None:
    for start, end in ((date(2, 1, 1), date(9997, 1, 1)), (date(1970, 1, 1), date(2400, 1, 1))):
        with pytest.raises(ValueError, match="too far apart for one series: 100,000 points would do"):
            stats.time_series(granularity, start, end)
    years = 270 if granularity == "day" else 11
    points = stats.time_series(granularity, date(1970, 1, 1), date(1970 + years, 1, 1))
    assert 90_000 < len(points) <= 100_000


@pytest.mark.django_db
def test_the_first_and_the_last_years_have_days_but_no_hours() -> None:
    for start, end in ((date(1, 1, 1), date(1, 1, 3)), (date(9999, 12, 28), date(9999, 12, 30))):
        assert len(stats.time_series("day", start, end)) == 2
        with pytest.raises(ValueError, match="is out of range: a date from year 2 to 9997 would do"):
            stats.time_series("hour", start, end)


@pytest.mark.django_db
@pytest.mark.parametrize("tail_limit", [50_000, 1])
def test_a_date_that_the_zone_left_out_has_no_page_views(tail_limit: int, settings: Any) -> None:
    """Of a long tail, too, where SQL has no instants to ask for."""
    settings.PAGESTATS_TIME_ZONE = "Pacific/Apia"
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    insert_page_views([("/", "k", datetime(2011, 12, 30, 9 + hour, 59, tzinfo=UTC)) for hour in range(3)])
    missing = {"start": date(2011, 12, 30), "end": date(2011, 12, 31)}
    for path in (None, "/"):
        assert stats.count_page_views(path, **missing) == stats.count_unique_visitors(path, **missing) == 0
        assert stats.count_page_views(path, start=date(2011, 12, 29), end=date(2011, 12, 31)) == 1
        assert stats.count_page_views(path, start=date(2011, 12, 30), end=date(2012, 1, 1)) == 2
        assert stats.time_series("day", **missing, path=path) == []
    assert stats.count_paths(**missing) == 0
    assert stats.top_pages(**missing) == []


@pytest.mark.django_db
@pytest.mark.parametrize("path", [5, b"/", True, ["/"]])
def test_a_path_is_text(path: Any) -> None:
    day = date(2025, 3, 1)
    for ask in (stats.count_page_views, stats.count_unique_visitors):
        with pytest.raises(ValueError, match="text, or None for the whole site, would do"):
            ask(path)
        with pytest.raises(ValueError, match="text, or None for the whole site, would do"):
            ask(path, start=day, end=day)
    with pytest.raises(ValueError, match="text, or None for the whole site, would do"):
        stats.time_series("day", day, day, path=path)


@pytest.mark.django_db
@pytest.mark.parametrize("tail_limit", [50_000, 3])
def test_beyond_the_last_page_there_are_none(tail_limit: int, settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = tail_limit
    make_page_views(20)
    pages = stats.top_pages(limit=100)
    assert stats.top_pages(limit=10**30) == pages
    assert stats.top_pages(limit=10**30, offset=1) == pages[1:]
    assert stats.top_pages(offset=10**30) == []
    assert stats.top_pages(limit=10**30, start=date(2000, 1, 1)) == pages


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [{"limit": -1}, {"offset": -1}, {"limit": "10"}, {"limit": 2.5}, {"limit": True}])
def test_a_limit_is_a_whole_number(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a whole number, 0 or more, would do"):
        stats.top_pages(**arguments)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["", "/\0", "/\ud800", "/never", "/" + "x" * 5_000])
def test_a_path_that_nobody_viewed(path: str) -> None:
    day = date(2025, 3, 1)
    insert_page_views([("/", "a", instant(1_740_000_000))])
    assert stats.count_page_views(path=path) == stats.count_unique_visitors(path=path, start=day) == 0
    assert stats.time_series("day", day, date(2025, 3, 2), path=path) == [stats.Point(day, 0, 0)]


@given(st.sampled_from(sorted(ZONES)), st.integers(-80, 80), st.integers(0, 150))
@example("America/St_Johns", -40, 90)  # two hours before midnight come twice, which is in two days
@example("UTC", 0, 72)
def test_hours_are_whole_days_and_the_hours_around_them(zone: str, first: int, length: int) -> None:
    calendar = Calendar(zone)
    middle = calendar.hour(int(ZONES[zone].timestamp()))
    span = Span(Granularity.HOUR, middle + first, middle + first + length)
    parts = by_days(span, calendar)
    start, end = (calendar.hour_start(middle + hour) for hour in (first - 30, first + length + 30))
    for seconds in range(start, end, 900):
        day, hour = calendar.day_and_hour(seconds)
        found = [part for part in parts if (day if part.granularity == Granularity.DAY else hour) in part]
        assert len(found) == (hour in span), "each instant is in one part, or in none"
    if zone == "UTC":
        assert sum(part.high - part.low for part in parts if part.granularity == Granularity.HOUR) <= 46  # type: ignore[operator]


def test_open_ranges_of_hours_are_days_too() -> None:
    noon = 12 + 24 * 20_000
    calendar = Calendar("UTC")
    days, hours = Granularity.DAY, Granularity.HOUR
    until = [Span(days, None, 20_000), Span(hours, noon - 12, noon)]
    since = [Span(hours, noon, noon + 12), Span(days, 20_001, None)]
    assert by_days(Span(hours, None, noon), calendar) == until
    assert by_days(Span(hours, noon, None), calendar) == since
