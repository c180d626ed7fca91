"""Who came again, and which pages changed, against a plain count: any page views, zones, and cuts of the tail."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import folding, stats
from django_pagestats.exceptions import TailTooLongError
from django_pagestats.ids import known_subject_ids
from django_pagestats.stats.changes import Moved, NewPage, changed_pages
from django_pagestats.stats.changes import new_pages as new_pages_of
from django_pagestats.stats.loyalty import DaysSeen, Loyalty, Week, loyalty_of
from tests.factories import Row, insert_page_views, make_page_views
from tests.stats_oracle import clean, fold_naively, fold_on
from tests.test_stats import ZONES, build, in_snapshot_in_atomic, sites

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = max(2, (settings.default.max_examples if settings.default else 100) // 4)
MODES = [stats.snapshot, in_snapshot_in_atomic]
START = date(2025, 3, 1)


def local(row: Row, zone: str) -> date:
    return row.viewed_at.astimezone(ZoneInfo(zone)).date()


def loyalty_naively(rows: Sequence[Row], zone: str, weeks: Sequence[tuple[date, date]], followed: int) -> Loyalty:
    days: defaultdict[str, set[date]] = defaultdict(set)
    for row in rows:
        days[row.session_key].add(local(row, zone))
    start, end = weeks[0][0], weeks[-1][1]
    seen = Counter(len({day for day in its if start <= day < end}) for its in days.values())
    of_week = [{key for key, its in days.items() if any(first <= day < last for day in its)} for first, last in weeks]
    new = [{key for key in them if min(days[key]) >= first} for them, (first, _) in zip(of_week, weeks, strict=True)]
    everybody = set[str]().union(*of_week)
    return Loyalty(
        len(everybody),
        sum(min(days[key]) < start for key in everybody),
        DaysSeen(seen[1], seen[2], seen[3] + seen[4] + seen[5], sum(many for of, many in seen.items() if of >= 6)),
        [
            Week(len(them), len(new[n]), [len(new[n] & later) for later in of_week[n + 1 : n + 1 + followed]])
            for n, them in enumerate(of_week)
        ],
    )


def totals_of(rows: Sequence[Row], zone: str, days: tuple[date, date]) -> Counter[str]:
    return Counter(row.path for row in rows if days[0] <= local(row, zone) < days[1])


def order(path: str, subjects: dict[str, int]) -> tuple[int, bytes]:
    return subjects.get(path, 2**40), path.encode()


def changed_naively(
    rows: Sequence[Row], zone: str, days: tuple[date, date], before: tuple[date, date], limit: int
) -> tuple[list[Moved], list[Moved]]:
    now, then = totals_of(rows, zone, days), totals_of(rows, zone, before)
    subjects = known_subject_ids("default", {row.path for row in rows})
    pages = [Moved(path, now[path], then[path]) for path in {*now, *then}]
    return tuple(  # type: ignore[return-value]
        sorted(
            (it for it in pages if sign * it.difference > 0),
            key=lambda it: (-sign * it.difference, *order(it.path, subjects)),
        )[:limit]
        for sign in (1, -1)
    )


def new_naively(rows: Sequence[Row], zone: str, days: tuple[date, date], limit: int) -> tuple[list[NewPage], int]:
    first: dict[str, date] = {}
    for row in rows:
        first[row.path] = min(local(row, zone), first.get(row.path, date.max))
    counted = totals_of(rows, zone, days)
    subjects = known_subject_ids("default", first)
    new = sorted(
        (NewPage(path, counted[path], first[path]) for path in counted if first[path] >= days[0]),
        key=lambda it: (-it.page_views, *order(it.path, subjects)),
    )
    return new[:limit], len(new)


def most_changed(
    taken: stats.Snapshot, days: tuple[date, date], before: tuple[date, date], *, limit: int
) -> tuple[list[Moved], list[Moved]]:
    gained, lost = changed_pages(taken, days, before)
    assert list(gained) == gained.rows(len(gained)) and list(lost) == lost.rows(len(lost))
    return gained.rows(limit), lost.rows(limit)


def new_pages(taken: stats.Snapshot, days: tuple[date, date], *, limit: int) -> tuple[list[NewPage], int]:
    found = new_pages_of(taken, days)
    return found.rows(limit), len(found)


def test_loyalty_and_changes_of_any_page_views_equal_a_plain_count() -> None:
    @settings(max_examples=EXAMPLES)
    @given(
        sites(),
        st.sampled_from(MODES),
        st.integers(-4, 4),
        st.lists(st.integers(1, 3), min_size=1, max_size=5),
        st.integers(-5, 5),
        st.integers(1, 4),
        st.integers(0, 4),
    )
    def check(
        site: Any, mode: Callable[[], Any], first: int, lengths: list[int], beside: int, length: int, limit: int
    ) -> None:
        zone, rows = build(site)
        edges = [ZONES[zone].astimezone(ZoneInfo(zone)).date() + timedelta(days=first)]
        for days in lengths:
            edges.append(edges[-1] + timedelta(days=days))
        weeks = list(pairwise(edges))
        whole, before = (edges[0], edges[-1]), (edges[0] + timedelta(beside), edges[0] + timedelta(beside + length))
        with override_settings(PAGESTATS_TIME_ZONE=zone), mode() as taken:
            assert loyalty_of(taken, weeks, followed=limit) == loyalty_naively(rows, zone, weeks, limit)
            assert most_changed(taken, whole, before, limit=limit) == changed_naively(rows, zone, whole, before, limit)
            assert new_pages(taken, whole, limit=limit) == new_naively(rows, zone, whole, limit)

    check()


def test_days_seen_go_on_beyond_what_three_digits_hold() -> None:
    """Seven and eight days, nine and sixteen: from there on the numbers begin anew."""
    wanted = {1: 3, 2: 4, 3: 2, 5: 1, 6: 2, 7: 1, 8: 5, 9: 1, 15: 1, 16: 2, 17: 1, 40: 1}
    at = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
    views = [
        ("/", f"{days} {n}", at + timedelta(days=day * 40 // days))
        for days, visitors in wanted.items()
        for n in range(visitors)
        for day in range(days)
    ]
    rows = insert_page_views(sorted(views, key=lambda it: it[2])[::-1])
    fold_naively(rows[: len(rows) // 2])
    with stats.snapshot() as taken:
        found = loyalty_of(taken, [(START, START + timedelta(days=40))], followed=0)
    assert found.days_seen == DaysSeen(3, 4, 3, 14)
    assert found.visitors == sum(wanted.values())


@pytest.fixture
def rows() -> list[Row]:
    return make_page_views(1_200, paths=80, visitors=90, days=60)


WEEKS = [(START + timedelta(days=n), START + timedelta(days=n + 7)) for n in range(14, 56, 7)]
DAYS, BEFORE = (date(2025, 3, 30), date(2025, 4, 20)), (date(2025, 3, 9), date(2025, 3, 30))


def test_folds_between_two_questions_change_nothing(rows: list[Row], no_settling: None) -> None:
    """The visitors of the tail get their ids, and its pages theirs, while the snapshot is asked."""
    generation = fold_naively(rows[:300], all_time=200)
    with transaction.atomic(), stats.snapshot() as taken:
        assert loyalty_of(taken, WEEKS, followed=3) == loyalty_naively(rows, "UTC", WEEKS, 3)
        fold_on(generation, rows[:700])
        assert loyalty_of(taken, WEEKS, followed=3) == loyalty_naively(rows, "UTC", WEEKS, 3)
        assert most_changed(taken, DAYS, BEFORE, limit=9) == changed_naively(rows, "UTC", DAYS, BEFORE, 9)
        fold_on(generation, rows)
        assert new_pages(taken, DAYS, limit=9) == new_naively(rows, "UTC", DAYS, 9)
        assert loyalty_of(taken, WEEKS, followed=3) == loyalty_naively(rows, "UTC", WEEKS, 3)


def test_a_fold_between_the_visitors_of_before_and_those_of_the_weeks(
    rows: list[Row], no_settling: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had no id yet among the first has one among the others."""
    generation = fold_naively(rows[:300])
    with transaction.atomic(), stats.snapshot() as taken:
        visitors = taken.visitors

        def then_folded(**bounds: Any) -> stats.VisitorSet:
            found = visitors(**bounds)
            fold_on(generation, rows[:900])
            return found

        monkeypatch.setattr(taken, "visitors", then_folded)
        assert loyalty_of(taken, WEEKS, followed=3) == loyalty_naively(rows, "UTC", WEEKS, 3)


def test_changes_are_of_all_pages_and_not_of_the_top_ones(no_settling: None) -> None:
    """A page that lost all has none in the range; one that the tail takes down gives its place to the next."""
    at = datetime(2025, 4, 1, tzinfo=timezone.utc)
    old = datetime(2025, 3, 15, tzinfo=timezone.utc)
    views = [(f"/same/{n}", f"key{k}", when) for n in range(30) for k in range(9) for when in (at, old)]
    gone = [("/gone", f"key{n}", old) for n in range(8)]
    up = [("/up", f"key{n}", at) for n in range(7)]
    second = [("/second", f"key{n}", at) for n in range(5)]
    rows = insert_page_views([*views, *gone, *up, *second])
    folding.keep_up("default", seconds=60)
    rows += insert_page_views([("/up", "late", old)] * 6 + [("/fresh", "late", at)] * 3)
    with stats.snapshot() as taken:
        gainers, losers = most_changed(taken, DAYS, BEFORE, limit=1)
        assert (gainers, losers) == ([Moved("/second", 5, 0)], [Moved("/gone", 0, 8)])
        first = date(2025, 4, 1)
        assert new_pages(taken, DAYS, limit=5) == ([NewPage("/second", 5, first), NewPage("/fresh", 3, first)], 2)
    assert [gainers, losers] == [*changed_naively(rows, "UTC", DAYS, BEFORE, 1)]


def test_all_changed_and_new_pages_are_searched_and_sorted(rows: list[Row]) -> None:
    """Each order, from both ends, of all pages and of those that begin so; those of the tail are among them."""
    fold_naively(rows[:900])
    rows += insert_page_views([(f"/fresh/\N{GRINNING FACE}{n}", f"key{n}", rows[-1].viewed_at) for n in range(3)])
    subjects = known_subject_ids("default", {row.path for row in rows})
    whole, before = (START + timedelta(days=30), START + timedelta(days=70)), (START, START + timedelta(days=30))
    keys: dict[str, Callable[[Any], Any]] = {
        "difference": lambda it: it.difference,
        "page_views": lambda it: it.page_views,
        "page_views_before": lambda it: it.page_views_before,
        "first_seen": lambda it: it.first_seen_on.toordinal(),
    }
    wanted = [*changed_naively(rows, "UTC", whole, before, 999), new_naively(rows, "UTC", whole, 999)[0]]
    with stats.snapshot() as taken:
        found = [*changed_pages(taken, whole, before), new_pages_of(taken, whole)]
        for pages, every in zip(found, wanted, strict=True):
            assert len(every) > 2
            for prefix in ("", every[1].path, every[0].path[:3], "/fresh/", "/nobody/", "\0"):
                some = [it for it in every if it.path.startswith(prefix)]
                narrowed = pages.beginning_with(prefix)
                assert list(narrowed) == some and len(narrowed) == len(some)
                for sign in (1, -1):
                    by_path = sorted(some, key=lambda it: it.path, reverse=sign < 0)
                    assert list(narrowed.by("path", is_descending=sign < 0)) == by_path
                    for number, key in keys.items():
                        if some and not hasattr(some[0], {"first_seen": "first_seen_on"}.get(number, number)):
                            continue
                        in_order = sorted(some, key=lambda it: (sign * key(it), *order(it.path, subjects)))
                        ordered = narrowed.by(number, is_descending=sign < 0)
                        assert ordered.rows(4, offset=3) == in_order[3:7], (number, sign)


def test_ranges_far_apart_of_many_years_and_equal_ones(rows: list[Row]) -> None:
    fold_naively(rows[:900])
    year_before = (date(2024, 3, 30), date(2024, 4, 20))
    ages = (date(2000, 1, 1), date(2025, 3, 20))
    with stats.snapshot() as taken:
        for before in (year_before, ages, DAYS):
            assert most_changed(taken, DAYS, before, limit=9) == changed_naively(rows, "UTC", DAYS, before, 9)
        weeks = [(ages[0], DAYS[0]), DAYS]
        assert loyalty_of(taken, weeks, followed=1) == loyalty_naively(rows, "UTC", weeks, 1)


def test_the_folded_part_alone_and_a_tail_that_is_too_long(rows: list[Row], settings: Any) -> None:
    fold_naively(rows[:900], all_time=500)
    settings.PAGESTATS_TAIL_LIMIT = 10
    with stats.snapshot(exact=False) as taken:
        assert loyalty_of(taken, WEEKS, followed=3) == loyalty_naively(rows[:900], "UTC", WEEKS, 3)
        assert most_changed(taken, DAYS, BEFORE, limit=9) == changed_naively(rows[:900], "UTC", DAYS, BEFORE, 9)
        assert new_pages(taken, DAYS, limit=9) == new_naively(rows[:900], "UTC", DAYS, 9)
    with stats.snapshot() as taken:
        for ask in (
            lambda: loyalty_of(taken, WEEKS, followed=3),
            lambda: most_changed(taken, DAYS, BEFORE, limit=9),
            lambda: new_pages(taken, DAYS, limit=9),
        ):
            with pytest.raises(TailTooLongError, match="not folded yet"):
                ask()


def test_statements_do_not_grow_with_days_visitors_and_pages(django_assert_max_num_queries: Any) -> None:
    for many in (1, 6):
        clean()
        make_page_views(300 * many, paths=40 * many, visitors=50 * many, days=60)
        folding.keep_up("default", seconds=60)
        make_page_views(20 * many, paths=30 * many, visitors=10 * many, days=60, seed=3)
        with stats.snapshot() as taken:
            with django_assert_max_num_queries(6):
                loyalty_of(taken, WEEKS, followed=12)
            with django_assert_max_num_queries(8):
                gained, lost = changed_pages(taken, DAYS, BEFORE)
                gained.rows(10), lost.rows(10)
            with django_assert_max_num_queries(6):
                new_pages_of(taken, DAYS).rows(10)
            with django_assert_max_num_queries(2):
                gained.beginning_with("/page").rows(10)
            with django_assert_max_num_queries(2):
                lost.by("path", is_descending=False).rows(10)
