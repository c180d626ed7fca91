"""The tally against counting one by one."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.buckets import Calendar, Dimension, Granularity
from django_pagestats.tally import LEVELS, SITE_DAY, SITE_HOUR, Counts, Level, Tally, tally
from tests.test_buckets import HOUR_SECONDS, ZONES, change_instants, naive_day, naive_hour

PageViews = list[tuple[int, int, int]]


@st.composite
def zones_and_page_views(draw: st.DrawFn) -> tuple[str, PageViews]:
    """A zone, and page views of few subjects and visitors around changes of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    ats = st.sampled_from(change_instants(zone)) | st.just(0)
    seconds = st.builds(lambda at, after: at + after, ats, st.integers(-30 * HOUR_SECONDS, 30 * HOUR_SECONDS))
    return zone, draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), seconds), max_size=40))


def comparable(counts: Counts) -> dict[tuple[int, int], Counter[int]]:
    return {key: Counter(visitors) for key, visitors in counts.items()}


def every_level(tallied: Tally) -> list[tuple[Level, Counts]]:
    return [*tallied.of_times(), *tallied.of_all_time(0)]


def all_levels(tallied: Tally) -> dict[Level, dict[tuple[int, int], Counter[int]]]:
    return {level: comparable(counts) for level, counts in every_level(tallied)}


def naive_levels(page_views: PageViews, zone: str) -> dict[Level, dict[tuple[int, int], Counter[int]]]:
    found: dict[Level, dict[tuple[int, int], Counter[int]]] = {level: {} for level in LEVELS}
    for subject, visitor, seconds in page_views:
        for (dimension, granularity), counts in found.items():
            bucket = {
                Granularity.HOUR: naive_hour(seconds, zone),
                Granularity.DAY: naive_day(seconds, zone),
                Granularity.ALL: 0,
            }[granularity]
            key = bucket, subject if dimension == Dimension.PAGE else 0
            counts.setdefault(key, Counter())[visitor] += 1
    return found


@given(zones_and_page_views())
def test_it_counts_as_one_counts_one_by_one(given_views: tuple[str, PageViews]) -> None:
    zone, page_views = given_views
    tallied = tally(page_views, Calendar(zone))
    assert all_levels(tallied) == naive_levels(page_views, zone)
    assert tallied.page_views == len(page_views)


@given(zones_and_page_views(), st.randoms(use_true_random=False))
def test_the_order_of_page_views_does_not_matter(given_views: tuple[str, PageViews], random: object) -> None:
    zone, page_views = given_views
    shuffled = copy.copy(page_views)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert all_levels(tally(shuffled, Calendar(zone))) == all_levels(tally(page_views, Calendar(zone)))


@given(zones_and_page_views(), st.integers(0, 40))
def test_tallies_of_parts_add_up(given_views: tuple[str, PageViews], cut: int) -> None:
    zone, page_views = given_views
    calendar = Calendar(zone)
    parts = all_levels(tally(page_views[:cut], calendar)), all_levels(tally(page_views[cut:], calendar))
    for level, counts in all_levels(tally(page_views, calendar)).items():
        one, other = (part[level] for part in parts)
        assert {key: one.get(key, Counter()) + other.get(key, Counter()) for key in {*one, *other}} == counts


@given(zones_and_page_views())
def test_every_kind_of_row_adds_up_to_all_page_views(given_views: tuple[str, PageViews]) -> None:
    zone, page_views = given_views
    for _, counts in every_level(tally(page_views, Calendar(zone))):
        assert sum(map(len, counts.values())) == len(page_views)


@given(zones_and_page_views())
def test_hours_add_up_to_the_day_they_were_seen_in(given_views: tuple[str, PageViews]) -> None:
    zone, page_views = given_views
    tallied = tally(page_views, Calendar(zone))
    days = all_levels(tallied)[SITE_DAY]
    for (day, _), visitors in days.items():
        hours = [Counter(seen) for (seen_day, _), seen in tallied.site_hours.items() if seen_day == day]
        assert sum(hours, Counter()) == visitors


@given(zones_and_page_views())
def test_reading_a_tally_does_not_change_it(given_views: tuple[str, PageViews]) -> None:
    zone, page_views = given_views
    tallied = tally(page_views, Calendar(zone))
    first = all_levels(tallied)
    for _, counts in every_level(tallied):
        for visitors in counts.values():
            visitors_seen = list(visitors)
            assert visitors_seen
    assert all_levels(tallied) == first


def test_an_hour_of_two_days_counts_in_both() -> None:
    """Pyongyang, 4 May 2018: at 23:30 clocks went on to 00:00, in the middle of an HOUR."""
    zone = ZoneInfo("Asia/Pyongyang")
    before = int(datetime(2018, 5, 4, 23, 29, 59, tzinfo=zone).timestamp())
    tallied = tally([(1, 1, before), (1, 2, before + 1)], Calendar(zone.key))
    may_4 = (date(2018, 5, 4) - date(1970, 1, 1)) // timedelta(days=1)
    hours = dict(every_level(tallied))[SITE_HOUR]
    days = dict(every_level(tallied))[SITE_DAY]
    assert list(hours.values()) == [[1, 2]]
    assert days == {(may_4, 0): [1], (may_4 + 1, 0): [2]}


def test_nothing_to_tally() -> None:
    tallied = tally([], Calendar("UTC"))
    assert tallied.page_views == 0
    assert all(counts == {} for _, counts in every_level(tallied))
