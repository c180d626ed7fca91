"""Buckets against naive datetimes, in the zones that are hard."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_pagestats.buckets import (
    DAY_SECONDS,
    HOUR_SECONDS,
    Calendar,
    day_date,
    day_number,
    epoch_seconds,
    instant,
)

#: summer time, offsets of :30 and :45 and of odd seconds, dates left out, dates that come back
ZONES = [
    "UTC",
    "Africa/Monrovia",  # -0:44:30 until January 1972
    "America/Havana",  # clocks change at midnight
    "America/Santo_Domingo",  # summer time of half an hour
    "America/St_Johns",  # clocks changed at 00:01 from 1987 to 2011
    "Antarctica/Troll",  # two hours of summer time
    "Asia/Kathmandu",  # +5:30 to +5:45 at the beginning of 1986
    "Asia/Pyongyang",  # +9 to +8:30 in 2015 and back, at 23:30, in 2018
    "Asia/Tehran",
    "Australia/Lord_Howe",  # summer time of half an hour
    "Europe/Berlin",
    "Pacific/Apia",  # left out 30 December 2011
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "America/Scoresbysund",
]
FIRST = -2 * DAY_SECONDS
LAST = epoch_seconds(datetime(2100, 1, 1, tzinfo=timezone.utc))
FOUR_WEEKS = 28 * DAY_SECONDS


def naive_offset(seconds: int, zone: str) -> int:
    offset = datetime.fromtimestamp(seconds, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def naive_day(seconds: int, zone: str) -> int:
    return (datetime.fromtimestamp(seconds, ZoneInfo(zone)).date() - date(1970, 1, 1)).days


def naive_hour(seconds: int, zone: str) -> int:
    return Fraction(seconds + naive_offset(seconds, zone) % 3600, 3600).__floor__()


def changes(zone: str, end: int = LAST) -> Iterator[tuple[int, int, int]]:
    """(first second of the new offset, old offset, new offset) of those that last four weeks at least."""
    tz, aware = ZoneInfo(zone), datetime.fromtimestamp
    earlier = aware(FIRST, tz).utcoffset()
    for tick in range(FIRST + FOUR_WEEKS, end, FOUR_WEEKS):
        later = aware(tick, tz).utcoffset()
        if later == earlier:
            continue
        low, high = tick - FOUR_WEEKS, tick
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if aware(middle, tz).utcoffset() == earlier else (low, middle)
        yield high, naive_offset(low, zone), naive_offset(high, zone)
        earlier = later


@cache
def change_instants(zone: str) -> list[int]:
    return [at for at, _, _ in changes(zone)] or [0]


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and an instant, most often within two days of a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    near = st.builds(
        lambda at, off: at + off,
        st.sampled_from(change_instants(zone)),
        st.integers(-2 * DAY_SECONDS, 2 * DAY_SECONDS) | st.integers(-HOUR_SECONDS, HOUR_SECONDS),
    )
    return zone, draw(near | near | st.integers(0, LAST))


@given(moments())
@example(("Asia/Pyongyang", 1_525_446_000))
@example(("Africa/Monrovia", 63_593_070 - 1))
def test_day_and_hour_are_those_of_local_clocks(moment: tuple[str, int]) -> None:
    zone, seconds = moment
    assert Calendar(zone).day_and_hour(seconds) == (naive_day(seconds, zone), naive_hour(seconds, zone))


def test_forgetting_the_offsets_of_days_changes_nothing() -> None:
    calendar = Calendar("Europe/Berlin")
    calendar.CACHE_SIZE = 3  # type: ignore[misc]
    for seconds in range(0, 400 * DAY_SECONDS, 7 * HOUR_SECONDS):
        assert calendar.day_and_hour(seconds) == (naive_day(seconds, "Europe/Berlin"), seconds // HOUR_SECONDS)


@given(moments())
def test_days_partition_time(moment: tuple[str, int]) -> None:
    zone, seconds = moment
    calendar = Calendar(zone)
    day = naive_day(seconds, zone)
    pieces = sorted((low, high, d) for d in range(day - 3, day + 4) for low, high in calendar.day_intervals(d))
    assert all(low < high for low, high, _ in pieces)
    assert all(earlier[1] == later[0] for earlier, later in pairwise(pieces))
    assert [d for low, high, d in pieces if low <= seconds < high] == [day]
    for low, high, d in pieces:
        assert naive_day(low, zone) == d == naive_day(high - 1, zone)


@given(moments())
def test_a_day_starts_at_the_first_instant_that_shows_its_date(moment: tuple[str, int]) -> None:
    zone, seconds = moment
    calendar = Calendar(zone)
    day = naive_day(seconds, zone)
    start = calendar.day_start(day)
    assert naive_day(start, zone) == day
    assert naive_day(start - 1, zone) < day
    assert start <= seconds
    assert calendar.begins_day(start)
    assert calendar.begins_day(seconds) == (seconds == start)


@given(moments())
def test_an_hour_starts_at_the_first_instant_of_its_bucket(moment: tuple[str, int]) -> None:
    zone, seconds = moment
    calendar = Calendar(zone)
    hour = naive_hour(seconds, zone)
    start = calendar.hour_start(hour)
    assert start <= seconds
    assert naive_hour(start - 1, zone) < naive_hour(start, zone) == hour
    assert calendar.begins_hour(start)
    assert calendar.begins_hour(seconds) == (seconds == start)


@given(moments())
def test_an_hour_begins_on_the_hour_of_local_clocks(moment: tuple[str, int]) -> None:
    zone, seconds = moment
    start = Calendar(zone).hour_start(naive_hour(seconds, zone))
    local = datetime.fromtimestamp(start, ZoneInfo(zone))
    assert (local.minute, local.second) == (0, 0) or naive_offset(start - 1, zone) != naive_offset(start, zone)


@given(moments())
def test_an_hour_lies_in_one_day_unless_clocks_change_in_it(moment: tuple[str, int]) -> None:
    zone, seconds = moment
    calendar = Calendar(zone)
    hour = calendar.hour(seconds)
    start, last = calendar.hour_start(hour), calendar.hour_start(hour + 1) - 1
    if naive_offset(start, zone) == naive_offset(last, zone):
        assert calendar.day(start) == calendar.day(last)


@pytest.mark.once
def test_hours_never_go_back_nor_skip_one_in_any_zone() -> None:
    """What `hour_start` and the ranges of an answer rest on."""
    seen = 0
    for zone in sorted(zoneinfo.available_timezones()):
        for at, old, new in changes(zone, end=epoch_seconds(datetime(2040, 1, 1, tzinfo=timezone.utc))):
            before, after = (at - 1 + old % HOUR_SECONDS) // HOUR_SECONDS, (at + new % HOUR_SECONDS) // HOUR_SECONDS
            assert before <= after <= before + 1, (zone, at, old, new)
            seen += 1
    assert seen > 10_000


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2025, 3, 30), [23]),
        ("Europe/Berlin", date(2025, 10, 26), [25]),
        ("Australia/Lord_Howe", date(2025, 4, 6), [24.5]),
        ("Antarctica/Troll", date(2025, 3, 30), [22]),
        ("America/Havana", date(2025, 3, 9), [23]),
        ("America/Havana", date(2025, 11, 2), [25]),
        ("Pacific/Apia", date(2011, 12, 29), [24]),
        ("Pacific/Apia", date(2011, 12, 30), []),
        # at 00:01 clocks went back to 23:01 of the day before
        ("America/St_Johns", date(2006, 10, 28), [24, Fraction(59, 60)]),
        ("America/St_Johns", date(2006, 10, 29), [Fraction(1, 60), 24]),
        ("Asia/Kathmandu", date(1986, 1, 1), [23.75]),
        ("Asia/Pyongyang", date(2018, 5, 4), [23.5]),
        ("Africa/Monrovia", date(1972, 1, 7), [Fraction(DAY_SECONDS - 2_670, HOUR_SECONDS)]),
    ],
)
def test_days_with_other_than_24_hours(zone: str, day: date, hours: list[float]) -> None:
    intervals = Calendar(zone).day_intervals(day_number(day))
    assert [Fraction(high - low, HOUR_SECONDS) for low, high in intervals] == hours


def test_a_date_left_out_starts_with_the_next_one() -> None:
    calendar = Calendar("Pacific/Apia")
    left_out, next_day = day_number(date(2011, 12, 30)), day_number(date(2011, 12, 31))
    assert calendar.day_start(left_out) == calendar.day_start(next_day)


def test_hours_of_half_past_and_of_an_hour_and_a_half() -> None:
    pyongyang = Calendar("Asia/Pyongyang")
    at = epoch_seconds(datetime(2018, 5, 4, 15, tzinfo=timezone.utc))
    start = pyongyang.hour_start(pyongyang.hour(at))
    end = pyongyang.hour_start(pyongyang.hour(at) + 1)
    assert (at - start, end - at) == (HOUR_SECONDS // 2, HOUR_SECONDS)


@given(
    st.integers(0, LAST * 1_000_000).map(
        lambda count: datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=count)
    )
)
def test_seconds_are_rounded_down_and_back_again(moment: datetime) -> None:
    assert instant(epoch_seconds(moment)) == moment.replace(microsecond=0)
    assert epoch_seconds(moment.astimezone(timezone(timedelta(hours=-7, minutes=-12)))) == epoch_seconds(moment)


def test_seconds_before_the_epoch_are_rounded_down() -> None:
    assert epoch_seconds(datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=timezone.utc)) == -1


@given(st.dates(date(1969, 12, 31), date(2199, 12, 31)))
def test_day_numbers(day: date) -> None:
    assert day_date(day_number(day)) == day
    assert day_number(day + timedelta(days=1)) == day_number(day) + 1
