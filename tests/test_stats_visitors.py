"""Sets of visitors, and visitors seen once, against a naive count: whatever is folded, and given an id, between two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date, datetime, timedelta, timezone
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import backfill, stats
from django_pagestats.buckets import Calendar, instant
from django_pagestats.exceptions import AnswerUnsettledError, TailTooLongError, UnknownDimensionError
from django_pagestats.ids import visitor_ids
from django_pagestats.merging.reading import State
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, Visitor
from django_pagestats.stats import Snapshot, reading, statements
from django_pagestats.stats.newcomers import Newcomers
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.statements import MovedError
from testproject.settings import ISOLATION
from tests import test_stats_consistency
from tests.chains import rows_upto
from tests.factories import DAY, SITE, Row, insert_page_views
from tests.named import dimensions_of_settings
from tests.stats_oracle import Oracle, fold_naively, write_aggregates
from tests.test_stats import MODES, PATHS, ZONES, build, sites
from tests.test_stats_consistency import MODES as MODES_OF_COMMITS
from tests.test_stats_consistency import SQLITE, in_atomic, in_autocommit
from tests.test_stats_consistency import other as other

pytestmark = pytest.mark.django_db(transaction=True)

FIRST_DAY, SECOND_DAY = date(2025, 3, 1), date(2025, 3, 2)
START = datetime(2025, 3, 1, 8, tzinfo=timezone.utc)
#: each asks some twenty questions: a fraction of what the profile gives a pure test
EXAMPLES = max(2, (settings.default.max_examples if settings.default else 100) // 4)


def keys_of(rows: Sequence[Row]) -> frozenset[str]:
    return frozenset(row.session_key for row in rows)


def check_sets(sets: Sequence[stats.VisitorSet], expected: Sequence[frozenset[str]]) -> None:
    """Whatever can be asked of them, two by two and three by three."""
    for a, x in zip(sets, expected, strict=True):
        assert (len(a), bool(a)) == (len(x), bool(x))
    pairs = list(zip(sets, expected, strict=True))
    for (a, x), (b, y) in product(pairs, pairs):
        assert [len(a & b), len(a | b), len(a - b), len(a ^ b)] == [len(x & y), len(x | y), len(x - y), len(x ^ y)]
        assert [a.isdisjoint(b), a <= b, a < b, a == b] == [x.isdisjoint(y), x <= y, x < y, x == y]
    for (a, x), (b, y), (c, z) in product(pairs, pairs, pairs):
        assert len((a & b) - c) == len((x & y) - z)
        assert len((a | b) & c) == len((x | y) & z)


# -- any page views, zones, ranges, cuts between aggregates and tail


def test_sets_of_any_ranges_equal_sets_of_session_keys() -> None:
    ranges = st.tuples(st.sampled_from([None, *PATHS, "/never", "/\ud800"]), st.integers(-4, 4), st.integers(0, 5))

    @settings(max_examples=EXAMPLES)
    @given(sites(), st.sampled_from(MODES), st.lists(ranges, min_size=2, max_size=3), st.integers(0, 3))
    def check(site: Any, mode: Callable[[], Any], asked_for: list[Any], bounds: int) -> None:
        zone, rows = build(site)
        middle = ZONES[zone].astimezone(ZoneInfo(zone)).date()
        sets, expected = [], []
        with override_settings(PAGESTATS_TIME_ZONE=zone), mode() as asked:
            for path, first, length in asked_for:
                start = middle + timedelta(days=first) if bounds & 1 else None
                end = middle + timedelta(days=first + length) if bounds & 2 else None
                sets.append(asked.visitors(path, start=start, end=end))
                expected.append(keys_of(Oracle(rows, zone).within(path, start, end)))
                assert asked.count_unique_visitors(path, start=start, end=end) == len(sets[-1])
            # of all time too, which is answered by other rows and another tail
            sets.append(asked.visitors())
            expected.append(keys_of(rows))
        check_sets(sets, expected)

    check()


def test_sets_of_hours_and_visitors_seen_once_in_them_equal_a_naive_count() -> None:
    @settings(max_examples=EXAMPLES // 2)
    @given(sites(), st.sampled_from(MODES), st.integers(-80, 30), st.integers(1, 110))
    def check(site: Any, mode: Callable[[], Any], first: int, length: int) -> None:
        zone, rows = build(site)
        calendar = Calendar(zone)
        middle = calendar.hour(int(ZONES[zone].timestamp()))
        start = instant(calendar.hour_start(middle + first)).astimezone(ZoneInfo(zone))
        end = instant(calendar.hour_start(middle + first + length)).astimezone(ZoneInfo(zone))
        within = [row for row in rows if start <= row.viewed_at < end]
        with override_settings(PAGESTATS_TIME_ZONE=zone), mode() as asked:
            if not (calendar.begins_day(int(start.timestamp())) and calendar.begins_day(int(end.timestamp()))):
                check_sets([asked.visitors(start=start, end=end), asked.visitors()], [keys_of(within), keys_of(rows)])
                once = Oracle(within).single_page_visitors()
                assert asked.count_single_page_visitors(start=start, end=end) == once

    check()


def test_visitors_seen_once_equal_a_naive_count() -> None:
    @settings(max_examples=EXAMPLES)
    @given(sites(), st.sampled_from(MODES), st.integers(-4, 4), st.integers(0, 5), st.integers(0, 3))
    def check(site: Any, mode: Callable[[], Any], first: int, length: int, bounds: int) -> None:
        zone, rows = build(site)
        middle = ZONES[zone].astimezone(ZoneInfo(zone)).date()
        start = middle + timedelta(days=first) if bounds & 1 else None
        end = middle + timedelta(days=first + length) if bounds & 2 else None
        with override_settings(PAGESTATS_TIME_ZONE=zone), mode() as asked:
            oracle = Oracle(rows, zone)
            assert asked.count_single_page_visitors(start=start, end=end) == oracle.single_page_visitors(start, end)
            assert asked.count_single_page_visitors() == oracle.single_page_visitors()

    check()


# -- folds, and ids, between two sets


@pytest.fixture
def site(other: str) -> list[Row]:
    """Twenty-four page views; of their keys most come after the first six, which are folded, four into all time."""
    made = insert_page_views(
        (f"/{n % 7}", f"key{n * 5 % 13}", START + timedelta(hours=3 * n), {"country": "DE" if n % 3 else "FR"})
        for n in range(24)
    )
    assert len(keys_of(made[:6])) == 6 and len(keys_of(made)) == 13
    fold_naively(made[:6], all_time=4)
    return made


def fold(rows: Sequence[Row], count: int, all_time: int) -> None:
    """Another session folds up to so many, after it gave their visitors ids, and so many of them into all time."""
    visitor_ids("other", keys_of(rows[:count]))
    with transaction.atomic(using="other"):
        generation = Generation.objects.using("other").get(is_active=True)
        write_aggregates(generation.pk, rows[:count], all_cursor=rows[all_time - 1].id, using="other")
        generation.cursor, generation.all_cursor = rows[count - 1].id, rows[all_time - 1].id
        generation.revision += 1
        generation.save(using="other")


#: all time and days, which have tails of their own, of the site, of paths and of values
ASKED: list[dict[str, Any]] = [
    {},
    {"start": FIRST_DAY, "end": FIRST_DAY + timedelta(days=2)},
    {"path": "/1"},
    {"path": "/3", "start": SECOND_DAY},
    {"where": {"country": "DE"}},
    {"where": {"section": "1"}, "end": SECOND_DAY + timedelta(days=1)},
]


def take(asked: Any) -> list[stats.VisitorSet]:
    return [asked.visitors(**it) for it in ASKED]


def expect(rows: Sequence[Row]) -> list[frozenset[str]]:
    oracle = Oracle(rows, dimensions=dimensions_of_settings())
    return [oracle.keys(**it) for it in ASKED]


@contextmanager
def outside() -> Iterator[Any]:
    with stats.snapshot() as snapshot:
        yield snapshot


@contextmanager
def inside() -> Iterator[Any]:
    with in_atomic(), stats.snapshot() as snapshot:
        yield snapshot


@contextmanager
def kept() -> Iterator[Any]:
    """As inside a transaction that shows every commit: on SQLite there is none."""
    moment = Moment("default", is_kept=True)
    moment.begin()
    yield Snapshot(moment)


SNAPSHOTS = pytest.mark.parametrize("snapshot", [outside, inside, kept])


@SNAPSHOTS
def test_sets_of_one_snapshot_agree_whatever_is_folded_between(site: list[Row], snapshot: Callable[[], Any]) -> None:
    with snapshot() as now:
        sets = take(now)
        for count, all_time in ((11, 4), (18, 11), (18, 18), (24, 18), (24, 24)):
            fold(site, count, all_time)
            sets += take(now)
        test_stats_consistency.switch(site, 24)
        sets += take(now)
    # whoever had an id, and whoever had none, is the same visitor in all of them
    many = len(ASKED)
    assert [len(first ^ later) for first, later in zip(sets, sets[many:], strict=False)] == [0] * (6 * many)
    check_sets([*sets[:many], *sets[-many:]], expect(site) * 2)
    check_sets(sets[2::many], expect(site)[2:3] * 7)


@SNAPSHOTS
@pytest.mark.parametrize("first", [0, 1, 4])
def test_a_visitor_that_gets_an_id_between_two_sets_is_one(
    site: list[Row], snapshot: Callable[[], Any], first: int
) -> None:
    """As in a fold that gives ids and whose chunk is merged later, or never."""
    with snapshot() as now:
        sets = take(now)[first : first + 1]
        visitor_ids("other", keys_of(site))
        sets += take(now)
    check_sets(sets, [expect(site)[first], *expect(site)])


@SNAPSHOTS
def test_where_all_time_is_far_behind_it_is_told_by_the_rows_of_days(
    site: list[Row], snapshot: Callable[[], Any]
) -> None:
    fold(site, 20, 4)
    with override_settings(PAGESTATS_TAIL_LIMIT=5), snapshot() as now:
        sets = take(now)
        fold(site, 23, 4)
        sets += take(now)
        assert now.count_single_page_visitors() == Oracle(site).single_page_visitors()
        fold(site, 24, 24)
        sets += take(now)
    check_sets([*sets[: len(ASKED)], *sets[-len(ASKED) :]], expect(site) * 2)


@SNAPSHOTS
def test_visitors_seen_once_after_a_fold_within_the_snapshot(site: list[Row], snapshot: Callable[[], Any]) -> None:
    with snapshot() as now:
        assert len(now.visitors()) == 13
        for count, all_time in ((11, 4), (18, 11), (24, 24)):
            fold(site, count, all_time)
            assert now.count_single_page_visitors() == Oracle(site).single_page_visitors()
            assert now.count_single_page_visitors(start=SECOND_DAY) == Oracle(site).single_page_visitors(SECOND_DAY)


def forget_all(newcomers: Newcomers, session_keys: Iterable[str], state: State, known: Any = None) -> None:
    Newcomers.__init__(newcomers, newcomers.using)
    look(newcomers, session_keys, state, known)


def forget_to_look_again(newcomers: Newcomers, session_keys: Iterable[str], state: State, known: Any = None) -> None:
    newcomers._state = state
    look(newcomers, session_keys, state, known)


look = Newcomers.look


@pytest.mark.parametrize("forgetful", [forget_all, forget_to_look_again])
def test_control_without_knowing_newcomers_again_sets_of_one_snapshot_disagree(
    site: list[Row], monkeypatch: pytest.MonkeyPatch, forgetful: Any
) -> None:
    monkeypatch.setattr(Newcomers, "look", forgetful)
    with pytest.raises(AssertionError):
        test_sets_of_one_snapshot_agree_whatever_is_folded_between(site, kept)


def test_sets_of_a_snapshot_outlive_it(site: list[Row]) -> None:
    with stats.snapshot() as now:
        sets = take(now)
    fold(site, 24, 24)
    check_sets(sets, expect(site))


def test_sets_of_two_snapshots_do_not_mix(site: list[Row]) -> None:
    with stats.snapshot() as now:
        first = now.visitors()
    with stats.snapshot() as now:
        second = now.visitors()
    for other_set in (second, stats.visitors()):
        with pytest.raises(ValueError, match="from one snapshot"):
            first & other_set


# -- sets of answers of their own


def test_sets_of_answers_between_which_nothing_happened_are_of_one_instant(site: list[Row]) -> None:
    """All time and days have tails of their own, of which all the same page views are in no aggregate."""
    check_sets(take(stats), expect(site))
    fold(site, 24, 24)
    check_sets(take(stats), expect(site))


def test_so_are_those_read_inside_a_transaction_that_sees_one_instant(
    site: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stats.visitors()
    monkeypatch.setattr(reading, "TRIES", 1)
    moved = iter([True])

    def move_once(moment: Moment, question: Any) -> Any:
        if next(moved, False):
            raise MovedError
        return answer(moment, question)

    answer = Moment.answer
    monkeypatch.setattr(Moment, "answer", move_once)
    assert before == stats.visitors()


HAPPENINGS: dict[str, Callable[[list[Row]], Any]] = {
    "a fold": lambda site: fold(site, 11, 4),
    "a fold of all time": lambda site: fold(site, 6, 6),
    "an id": lambda site: visitor_ids("other", [site[-1].session_key, site[-2].session_key]),
    "a page view": lambda site: insert_page_views([("/1", site[0].session_key, START)], using="other"),
    "one less": lambda site: PageView.objects.filter(pk=site[-1].id).delete(),
}


@pytest.mark.parametrize("happening", HAPPENINGS)
@pytest.mark.parametrize("days", [{}, {"start": FIRST_DAY}], ids=["all time", "days"])
def test_sets_of_answers_do_not_mix_if_anything_happened_between(
    site: list[Row], happening: str, days: dict[str, date]
) -> None:
    first = stats.visitors(**days)
    HAPPENINGS[happening](site)
    with pytest.raises(ValueError, match="from one snapshot"):
        first & stats.visitors(**days)


# -- the folded part, and a long tail


@pytest.mark.parametrize("tail_limit", [1_000, 5], ids=["short tail", "long tail"])
def test_sets_of_the_folded_part(site: list[Row], tail_limit: int) -> None:
    fold(site, 10, 7)
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), stats.snapshot(exact=False) as now:
        sets = take(now)
        fold(site, 24, 24)
        sets += take(now)
        assert now.count_single_page_visitors() == Oracle(site[:10]).single_page_visitors()
    check_sets(sets, expect(site[:10]) * 2)


def test_the_folded_part_inside_a_transaction_does_not_mix_instants(site: list[Row]) -> None:
    with in_atomic(), stats.snapshot(exact=False) as now:
        sets = take(now)
        fold(site, 24, 24)
        if SQLITE or ISOLATION:  # a transaction sees one instant: of SQLite any, elsewhere by the site's own level
            check_sets([*sets, *take(now)], expect(site[:6]) * 2)
            return
        with pytest.raises(AnswerUnsettledError, match="folded part"):
            now.visitors()


@pytest.mark.parametrize(
    "ask", [lambda asked: asked.visitors(), lambda asked: asked.count_single_page_visitors(start=FIRST_DAY)]
)
def test_a_long_tail_is_too_long(site: list[Row], ask: Callable[[Any], Any], settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 5
    for mode in (in_autocommit, in_atomic, outside, inside):
        with mode() as asked, pytest.raises(TailTooLongError, match=r"backfill_aggregates.*exact=False"):
            ask(asked)
    fold(site, 19, 19)
    assert ask(stats)


# -- a commit between any two statements of one answer

MORE_QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "a set": lambda asked: len(asked.visitors()),
    "a set of days": lambda asked: len(asked.visitors(start=FIRST_DAY, end=FIRST_DAY + timedelta(days=2))),
    "a set of a path": lambda asked: len(asked.visitors("/1", start=FIRST_DAY)),
    "a set of a value": lambda asked: len(asked.visitors(where={"country": "DE"})),
    "seen once": lambda asked: asked.count_single_page_visitors(),
    "seen once on some days": lambda asked: asked.count_single_page_visitors(start=SECOND_DAY),
}


@MODES_OF_COMMITS
@pytest.mark.parametrize("change", test_stats_consistency.CHANGES)
def test_a_commit_between_any_two_statements(
    site: list[Row], mode: Callable[[], Any], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_stats_consistency, "QUESTIONS", MORE_QUESTIONS)

    def ask(name: str) -> Any:
        with mode() as asked:
            return MORE_QUESTIONS[name](asked)

    expected = {
        "a set": 13,
        "a set of days": len(expect(site)[1]),
        "a set of a path": len(expect(site)[2]),
        "a set of a value": len(expect(site)[4]),
        "seen once": Oracle(site).single_page_visitors(),
        "seen once on some days": Oracle(site).single_page_visitors(SECOND_DAY),
    }
    for name, found in test_stats_consistency.answers_with_a_commit_between(site, ask, change, 1_000):
        assert found == expected[name], name


# -- repeat sets that are not known, and bounded memory


def test_of_a_generation_of_before_nobody_knows_who_came_back(site: list[Row]) -> None:
    Generation.objects.update(is_active=None)
    fold_naively(site, dimensions=None)
    one_each = {"start": FIRST_DAY, "end": SECOND_DAY}
    assert Oracle(site).page_views(None, **one_each) == Oracle(site).visitors(None, **one_each) == 6
    assert stats.count_single_page_visitors(**one_each) == 6
    with pytest.raises(UnknownDimensionError, match=r"of before repeat sets were kept.*--rebuild"):
        stats.count_single_page_visitors()
    backfill.run_here("default", kind=BackfillRun.Kind.REBUILD, via="test")
    assert stats.count_single_page_visitors() == Oracle(site).single_page_visitors()


def test_a_day_without_its_repeat_set_spoils_the_ranges_that_it_is_in(site: list[Row]) -> None:
    insert_page_views([("/1", "key0", START), ("/1", "key0", START + timedelta(days=1))] * 2)
    backfill.run_here("default", via="test")
    first = Aggregate.objects.filter(dimension=SITE, granularity=DAY).order_by("bucket").first()
    assert first is not None and first.page_views > first.visitors
    Aggregate.objects.filter(pk=first.pk).update(repeat_set=None)
    oracle = Oracle(rows_upto())
    assert stats.count_single_page_visitors(start=SECOND_DAY) == oracle.single_page_visitors(SECOND_DAY)
    assert stats.count_single_page_visitors() == oracle.single_page_visitors()
    with pytest.raises(UnknownDimensionError):
        stats.count_single_page_visitors(end=SECOND_DAY)


@pytest.mark.parametrize("order", [1, -1])
def test_whoever_came_on_two_days_came_twice_in_whatever_order_they_are_read(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sets are read a few at a time, too: of a long range not all are in memory."""
    made = insert_page_views((f"/{n}", f"key{n % 150}", START + timedelta(hours=12 * n)) for n in range(200))
    fold_naively(made)
    monkeypatch.setattr(statements, "SET_BYTES_PER_STATEMENT", 32 * 40)
    read, sizes = statements.read_aggregates, []

    def read_in_order(using: str, columns: Any, *args: Any, **kwargs: Any) -> Any:
        state, found = read(using, columns, *args, **kwargs)
        if "a.visitor_set" in columns:
            sizes.append(len(found))
        return state, found[::order]

    monkeypatch.setattr(statements, "read_aggregates", read_in_order)
    assert stats.count_single_page_visitors(start=FIRST_DAY, end=FIRST_DAY + timedelta(days=200)) == 100
    assert sum(sizes) == 100 and max(sizes) <= statements.SETS_PER_STATEMENT and min(sizes) < 40


@pytest.mark.parametrize("wrong", [{"start": START.replace(minute=30)}, {"start": FIRST_DAY, "end": date(2020, 1, 1)}])
def test_ranges_are_those_of_the_site(wrong: dict[str, Any]) -> None:
    for ask in (stats.visitors, stats.count_single_page_visitors):
        with pytest.raises(ValueError, match=r"would do|is after"):
            ask(**wrong)
    with pytest.raises(ValueError, match="is not the beginning of a day"):
        stats.visitors("/1", start=START)
    with pytest.raises(ValueError, match="intersect the sets"):
        stats.visitors("/1", where={"country": "DE"})
    with pytest.raises(UnknownDimensionError, match="no dimension 'colour'"):
        stats.visitors(where={"colour": "red"})
    with pytest.raises(ValueError, match="text, or None"):
        stats.visitors(3)  # type: ignore[arg-type]


def test_an_empty_range_is_an_empty_set_of_its_snapshot(site: list[Row]) -> None:
    empty = {"start": FIRST_DAY, "end": FIRST_DAY}
    assert stats.count_single_page_visitors(**empty) == 0
    for asked in (stats, None):
        with stats.snapshot() if asked is None else nullcontext(asked) as now:
            check_sets([now.visitors(**empty), now.visitors()], [set(), keys_of(site)])


def test_a_visitor_whose_id_no_set_can_hold_is_told_apart_all_the_same(site: list[Row]) -> None:
    Visitor.objects.create(pk=-1, session_key=site[-1].session_key)
    check_sets(take(stats), expect(site))


def test_hours_around_a_date_that_the_zone_left_out(settings: Any) -> None:
    """Samoa had no 30 December 2011: a part of hours there is all hours again when it is parted once more."""
    settings.PAGESTATS_TIME_ZONE = "Pacific/Apia"
    noon = datetime(2011, 12, 29, 22, tzinfo=timezone.utc)
    rows = insert_page_views([("/", f"k{n % 4}", noon + timedelta(hours=n)) for n in range(40)])
    fold_naively(rows, "Pacific/Apia")
    start = noon - timedelta(hours=3)
    for hours in (3, 13, 40, 73):
        seen = {row.session_key for row in rows if row.viewed_at < start + timedelta(hours=hours)}
        assert stats.count_unique_visitors(start=start, end=start + timedelta(hours=hours)) == len(seen)
        assert len(stats.visitors(start=start, end=start + timedelta(hours=hours))) == len(seen)
