"""Which days a range has, what it is compared with, and all of it in a URL; no database is asked."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from django.utils import translation
from hypothesis import example, given
from hypothesis import strategies as st

from django_pagestats.buckets import Calendar
from django_pagestats.charts import MOST_POINTS
from django_pagestats.dashboard.comparing import COMPARISONS, Against, Comparison, compare, percentage
from django_pagestats.dashboard.numbers import ratio, ratio_change
from django_pagestats.dashboard.ranges import (
    DAY,
    FIRST_DAY,
    FREE,
    HOUR,
    INTERVALS,
    LAST_DAY,
    MOST_DAYS,
    RANGES,
    Choice,
    Days,
    first_weekday,
    interval_of,
    intervals_of,
    neighbour,
    pieces,
    today_of,
    week_start,
)
from django_pagestats.dashboard.state import State, Table
from django_pagestats.stats.ranges import site_span
from tests.test_buckets import ZONES

TABLES = {"pages": ("path", "page_views", "visitors")}
NOW = datetime(2026, 11, 30, 13, 55, tzinfo=timezone.utc)
SINCE = date(2024, 3, 4)
DATES = st.dates(date(1971, 1, 1), date(2198, 12, 31))
NOWS = st.datetimes(datetime(1972, 1, 1), datetime(2099, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@st.composite
def some_days(draw: Any) -> Days:
    start = draw(DATES)
    return Days(start, min(LAST_DAY, start + timedelta(days=draw(st.integers(1, 2_000)))))


def days(first: str, last: str) -> Days:
    return Days(date.fromisoformat(first), date.fromisoformat(last) + timedelta(days=1))


# --- ranges


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("today", "2026-11-30", "2026-11-30"),
        ("yesterday", "2026-11-29", "2026-11-29"),
        ("7d", "2026-11-24", "2026-11-30"),
        ("28d", "2026-11-03", "2026-11-30"),
        ("91d", "2026-09-01", "2026-11-30"),
        ("month", "2026-11-01", "2026-11-30"),
        ("last_month", "2026-10-01", "2026-10-31"),
        ("12m", "2025-12-01", "2026-11-30"),
        ("all", "2024-03-04", "2026-11-30"),
    ],
)
def test_relative_ranges_have_today_in_them(name: str, first: str, last: str) -> None:
    assert Choice(name).days(date(2026, 11, 30), SINCE) == days(first, last)
    assert name in RANGES


def test_all_time_of_an_empty_site_is_today() -> None:
    assert Choice("all").days(date(2026, 11, 30)) == days("2026-11-30", "2026-11-30")
    assert Choice("all").days(date(2026, 11, 30), date(2027, 1, 1)) == days("2026-11-30", "2026-11-30")


def test_a_range_is_moved_by_its_length_or_by_months() -> None:
    month, week = Choice("last_month"), Choice("7d")
    assert neighbour(month, days("2024-03-01", "2024-03-31"), -1) == days("2024-02-01", "2024-02-29")
    assert neighbour(Choice("12m"), days("2023-12-01", "2024-11-30"), 1) == days("2024-12-01", "2025-11-30")
    assert neighbour(week, days("2024-02-26", "2024-03-03"), 1) == days("2024-03-04", "2024-03-10")


@given(some_days(), st.sampled_from(list(INTERVALS)), st.integers(0, 6))
@example(days("2024-02-29", "2024-02-29"), "month", 1)
def test_pieces_are_the_range_cut_at_weeks_and_months(span: Days, interval: str, first: int) -> None:
    if interval == HOUR:
        return
    cut = pieces(span, interval, first)
    assert [piece.days.start for piece in cut] + [span.end] == [span.start] + [piece.days.end for piece in cut]
    for piece in cut:
        start, last = piece.days.start, piece.days.last
        following = piece.days.end
        if interval == DAY:
            assert (piece.days.count, piece.is_cut) == (1, False)
        elif interval == "week":
            assert week_start(start, first) == week_start(last, first), "one week"
            assert piece.is_cut == (piece.days.count < 7)
            assert piece.is_cut or start.isoweekday() % 7 == first
        else:
            assert (start.year, start.month) == (last.year, last.month), "one month"
            assert piece.is_cut == (start.day != 1 or following.day != 1)
    assert not any(piece.is_cut for piece in cut[1:-1])


@given(st.integers(1, MOST_DAYS), DATES, st.sampled_from(["", *INTERVALS]), st.integers(0, 6))
@example(31, date(2026, 10, 1), "hour", 1)
@example(MOST_DAYS, date(1971, 1, 31), "", 1)
def test_a_chart_never_has_too_many_points(count: int, start: date, wanted: str, first: int) -> None:
    span = Days(start, start + timedelta(days=count))
    interval = interval_of(span, wanted)
    assert interval in intervals_of(span)
    assert wanted not in intervals_of(span) or interval == wanted
    assert (25 * count if interval == HOUR else len(pieces(span, interval, first))) <= MOST_POINTS + 30


def test_the_usual_intervals() -> None:
    assert [interval_of(Choice(name).days(date(2026, 11, 30), SINCE)) for name in RANGES] == (
        ["hour", "hour", "day", "day", "day", "day", "day", "month", "month"]
    )


def test_weeks_begin_as_the_language_or_the_setting_has_it(settings: Any) -> None:
    sunday = date(2026, 11, 29)
    assert (first_weekday(), week_start(sunday, first_weekday())) == (0, sunday)
    with translation.override("de"):
        assert (first_weekday(), week_start(sunday, first_weekday())) == (1, date(2026, 11, 23))
        settings.PAGESTATS_FIRST_DAY_OF_WEEK = 6
        assert (first_weekday(), week_start(sunday, first_weekday())) == (6, date(2026, 11, 28))


# --- what they are compared with


def compared(name: str, against: str, now: datetime = NOW, zone: str = "UTC") -> Comparison:
    calendar = Calendar(zone)
    choice = Choice(name)
    found = compare(choice, choice.days(today_of(now, calendar), SINCE), Against(against), now, calendar)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "against", "first", "last"),
    [
        ("today", "weekdays", "2026-11-23", "2026-11-23"),
        ("today", "dates", "2026-11-29", "2026-11-29"),
        ("today", "year", "2025-11-30", "2025-11-30"),
        ("7d", "weekdays", "2026-11-17", "2026-11-23"),
        ("28d", "weekdays", "2026-10-06", "2026-11-02"),
        ("month", "weekdays", "2026-09-27", "2026-10-26"),
        ("month", "dates", "2026-10-01", "2026-10-31"),
        ("month", "year", "2025-11-01", "2025-11-30"),
        ("12m", "dates", "2024-12-01", "2025-11-30"),
    ],
)
def test_the_days_before(name: str, against: str, first: str, last: str) -> None:
    assert compared(name, against).days == days(first, last)


def test_nothing_is_before_all_time_and_nothing_may_be_chosen() -> None:
    for choice, against in (Choice("all"), Against()), (Choice("28d"), Against("none")):
        assert compare(choice, choice.days(date(2026, 11, 30), SINCE), against, NOW, Calendar("UTC")) is None


def test_today_is_compared_up_to_the_hour_that_has_begun_and_pages_by_whole_days() -> None:
    found = compared("28d", "weekdays")
    assert found.until == datetime(2026, 11, 30, 13, tzinfo=timezone.utc)
    assert found.counted == (date(2026, 11, 3), found.until)
    assert found.before == (date(2026, 10, 6), datetime(2026, 11, 2, 13, tzinfo=timezone.utc))
    assert (found.counted_days, found.days_before) == (days("2026-11-03", "2026-11-30"), found.days)


def test_a_day_of_this_month_has_none_beside_it_in_a_shorter_one() -> None:
    march = compared("month", "dates", datetime(2026, 3, 30, 9, 5, tzinfo=timezone.utc))
    assert march.days_before == days("2026-02-01", "2026-02-28")
    assert march.before == (date(2026, 2, 1), datetime(2026, 2, 28, 9, tzinfo=timezone.utc))
    assert march.part(days("2026-03-28", "2026-03-28"), DAY) == days("2026-02-28", "2026-02-28")
    assert march.part(days("2026-03-29", "2026-03-29"), DAY) is None
    assert march.part(days("2026-03-01", "2026-03-31"), "month") == march.days


def test_leap_days() -> None:
    leap = compare(
        Choice(FREE, days("2024-02-26", "2024-03-03")),
        days("2024-02-26", "2024-03-03"),
        Against("year"),
        NOW,
        Calendar("UTC"),
    )
    assert leap is not None
    beside = [leap.part(piece.days, DAY) for piece in pieces(days("2024-02-26", "2024-03-03"), DAY, 1)]
    assert [found and found.start.isoformat()[5:] for found in beside] == (
        ["02-26", "02-27", "02-28", None, "03-01", "03-02", "03-03"]
    )


def test_after_midnight_today_alone_is_compared_with_nothing_yet() -> None:
    found = compared("today", "weekdays", datetime(2026, 11, 30, 0, 20, tzinfo=timezone.utc))
    assert (found.counted, found.until) == ((date(2026, 11, 30), date(2026, 11, 30)), None)
    assert found.before == (date(2026, 11, 23), date(2026, 11, 23))


def test_a_free_choice_may_be_shorter_than_what_is_over_of_the_range() -> None:
    other = days("2026-01-01", "2026-01-03")
    found = compare(Choice("7d"), days("2026-11-24", "2026-11-30"), Against(FREE, other), NOW, Calendar("UTC"))
    assert found is not None
    assert (found.before, found.days_before) == ((other.start, other.end), other)


def test_days_of_before_the_first_page_view_are_nothing_to_compare_with() -> None:
    found = compared("28d", "weekdays")
    assert [found.is_known(since) for since in (None, date(2026, 10, 6), date(2026, 10, 7))] == [False, True, False]


def test_days_to_come_are_compared_with_nothing() -> None:
    span = days("2027-01-01", "2027-01-31")
    found = compare(Choice(FREE, span), span, Against(), NOW, Calendar("UTC"))
    assert found is not None
    assert found.counted_days.count == found.days_before.count == 0
    assert found.counted.start == found.counted.end


@given(
    st.sampled_from(ZONES),
    NOWS,
    st.sampled_from([name for name in RANGES if name != "all"]),
    st.sampled_from([name for name in COMPARISONS if name != "none"]),
)
@example("Asia/Pyongyang", datetime(2018, 5, 5, 5, tzinfo=timezone.utc), "7d", "weekdays")  # 23:30 was followed by 0:00
@example("Asia/Pyongyang", datetime(2018, 5, 11, 5, tzinfo=timezone.utc), "7d", "dates")
@example("Australia/Lord_Howe", datetime(2026, 10, 10, 15, 15, tzinfo=timezone.utc), "7d", "weekdays")  # no 2:00 then
@example("Pacific/Apia", datetime(2012, 1, 6, 15, tzinfo=timezone.utc), "7d", "weekdays")  # 30 December left out
@example("America/Havana", datetime(2026, 3, 15, 4, 30, tzinfo=timezone.utc), "today", "weekdays")
def test_both_periods_are_as_long_in_any_zone(zone: str, now: datetime, name: str, against: str) -> None:
    calendar = Calendar(zone)
    found = compared(name, against, now, zone)
    span = Choice(name).days(today_of(now, calendar), SINCE)
    for period in found.counted, found.before:
        site_span(period.start, period.end, lambda: calendar)  # raises for what `stats` would not take
    assert found.days.end <= span.start
    assert found.counted_days.end <= today_of(now, calendar) + timedelta(days=1)
    if against == "weekdays":
        assert (span.start - found.days.start).days % 7 == 0
        assert found.counted_days.count == found.days_before.count
    if found.until is None:
        return
    ends = [period.end for period in (found.counted, found.before)]
    assert ends[0] == found.until <= now < found.until + timedelta(hours=2)
    if isinstance(ends[1], datetime):
        local, other = (end.astimezone(ZoneInfo(zone)) for end in (found.until, ends[1]))
        wanted = datetime.combine(other.date(), local.time(), ZoneInfo(zone))
        exists = wanted.astimezone(timezone.utc).astimezone(ZoneInfo(zone)) == wanted
        assert local.time() == other.time() or not exists or not calendar.begins_hour(int(wanted.timestamp()))


@given(some_days(), st.sampled_from(list(INTERVALS)), st.sampled_from(["weekdays", "dates", "year"]), st.integers(0, 6))
@example(days("2024-02-01", "2024-03-31"), "week", "year", 1)
@example(days("2023-12-15", "2025-01-15"), "month", "year", 1)
def test_what_stands_beside_pieces_is_in_order_and_never_twice(
    span: Days, interval: str, against: str, first: int
) -> None:
    found = compare(Choice(FREE, span), span, Against(against), NOW, Calendar("UTC"))
    assert found is not None
    cut = pieces(span, DAY if interval == HOUR else interval, first)
    beside = [(piece.days, part) for piece in cut if (part := found.part(piece.days, interval)) is not None]
    assert all(before.end <= after.start for (_, before), (_, after) in pairwise(beside))
    assert all(found.days.start <= part.start and part.end <= found.days.end for _, part in beside)
    assert all(part.count <= piece.count for piece, part in beside) or interval == "month"
    if against != "year":
        assert sum(part.count for _, part in beside) == span.count


RATIOS = [
    (3.0, 2.0, "3.0", "2.0", "+50 %"),
    (2.04, 2.0, "2.04", "2.00", "+2.0 %"),
    (2.001, 2.0, "2.00", "2.00", "±0 %"),
    (2.0, 2.0, "2.0", "2.0", "±0 %"),
]


@pytest.mark.parametrize(("now", "before", "text", "text_before", "told"), RATIOS)
def test_ratios_that_differ_do_not_look_alike(
    now: float, before: float, text: str, text_before: str, told: str
) -> None:
    changed = ratio_change(now, before, base=50)
    assert (ratio(now, beside=before), changed.before, changed.text) == (text, text_before, told)
    assert changed.direction == ("same" if told == "±0 %" else "up")
    assert ratio_change(now, before, base=9).text == "-" and ratio(now) == text[:3]


def test_a_small_base_has_no_percentage() -> None:
    assert [percentage(12, before) for before in (0, 9, 10, 24)] == [None, None, 20.0, -50.0]


# --- the URL


@st.composite
def states(draw: Any) -> State:
    def either(names: list[str]) -> tuple[str, Days | None]:
        name = draw(st.sampled_from([*names, FREE]))
        return name, draw(some_days()) if name == FREE else None

    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
    sorts = st.sampled_from(["", *TABLES["pages"], *(f"-{name}" for name in TABLES["pages"])])
    table = draw(st.builds(Table, search=text, sort=sorts, page=st.integers(1, 10**6)))
    return State(
        Choice(*either(list(RANGES))),
        Against(*either(list(COMPARISONS))),
        draw(st.sampled_from(["", *INTERVALS])),
        {"pages": table} if table != Table() else {},
    )


@given(states())
def test_a_url_gives_the_state_that_made_it(state: State) -> None:
    assert State.parse(QueryDict(state.query().removeprefix("?")), tables=TABLES) == state


VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["free", "28d", "hour", "9" * 400, "0", "-1", "1e3", "\u0661", "<script>", "2026-02-30", "0001-01-01"]
    ),
    DATES.map(str),
    st.just("x" * 3_000),
)
NAMES = ["range", "from", "to", "compare", "compare_from", "compare_to", "interval"]


@given(st.dictionaries(st.sampled_from([*NAMES, "pages_q", "pages_sort", "pages_p", "other"]), VALUES))
@example({"range": "free", "from": "2026-01-02", "to": "2026-01-01"})
@example({"range": "free", "from": "1970-01-01", "to": "2199-12-31"})
@example({"compare": "free", "compare_from": "2026-01-01"})
def test_whatever_a_url_says_is_a_state(query: dict[str, str]) -> None:
    state = State.parse(query, tables=TABLES, default="7d")
    span = state.range.days(date(2026, 11, 30), SINCE)
    assert 0 < span.count <= MOST_DAYS
    assert span.start >= FIRST_DAY
    assert state.interval in ("", *INTERVALS)
    assert 1 <= state.table("pages").page <= 10**6
    compare(state.range, span, state.against, NOW, Calendar("Europe/Berlin"))
    assert State.parse(QueryDict(state.query()[1:]), tables=TABLES) == state


def test_a_search_keeps_the_range_and_another_range_begins_each_table_anew() -> None:
    state = State(Choice("7d")).with_table("pages", page=3)
    assert state.query() == "?range=7d&pages_p=3"
    assert state.with_table("pages", search="/blog/").query() == "?range=7d&pages_q=%2Fblog%2F"
    assert state.at_first_pages(range=Choice("28d")).query() == "?range=28d"
