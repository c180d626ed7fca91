"""Answers about named dimensions against a naive count; what is refused, and how; what the tail costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import stats
from django_pagestats.exceptions import AnswerUnsettledError, DimensionError, TailTooLongError, UnknownDimensionError
from django_pagestats.ids import known_subject_ids, subject_ids, visitor_ids
from django_pagestats.models import Aggregate, Generation, PageView
from django_pagestats.stats import reading
from django_pagestats.stats.statements import MovedError
from django_pagestats.stats.tail import values
from django_pagestats.stats.tail.values import Attributes
from tests.factories import Row, insert_page_views, make_page_views
from tests.named import dimensions_of_settings
from tests.stats_oracle import Oracle, clean, fold_naively
from tests.test_stats import MODES, ZONES, as_midnight, in_autocommit, sites
from tests.test_stats_consistency import FOLDED, Injector, fold_to, switch
from tests.test_stats_consistency import in_atomic as in_deferred_atomic
from tests.test_stats_consistency import other as other

START = datetime(2025, 3, 1, 8, tzinfo=timezone.utc)
DAY = date(2025, 3, 1)
#: each asks some thirty questions
EXAMPLES = max(2, (settings.default.max_examples if settings.default else 100) // 6)


def variant(path: str, attributes: Mapping[str, str]) -> str | None:
    """Of both, and not of every page view."""
    return f"{attributes['country']} {path[:9]}" if "country" in attributes else None


def initial(path: str) -> str | None:
    """Of the path alone, and not of every one."""
    return path[1:2] or None


def failing(attributes: Mapping[str, str]) -> str:
    raise RuntimeError("out of order")


DIMENSIONS = {
    "country": "country",
    "source": "source",
    "entry": "django_pagestats.dimensions.entry",
    "section": "django_pagestats.dimensions.section",
    "variant": f"{__name__}.variant",
    "initial": f"{__name__}.initial",
}
VALUES = {
    "country": st.sampled_from(["DE", "de", "FR", "never"]),
    "source": st.sampled_from(["direct", "news.example", "Ünïcode \U0001f600", "bad\0", "/\ud800"]),
    "entry": st.sampled_from(["/", "/a", "/x ", "/" + "long" * 300]),
    "section": st.sampled_from(["/", "a", "A", "x "]),
    "variant": st.sampled_from(["DE /", "DE /a", "FR /x"]),
    "initial": st.sampled_from(["a", "x", "é"]),
}
ATTRIBUTES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from(["DE", "de", "FR"]),
        "source": st.sampled_from(["direct", "news.example", "Ünïcode \U0001f600"]),
        "other": st.sampled_from(["1", "2"]),
    },
)
named = override_settings(PAGESTATS_DIMENSIONS=DIMENSIONS)


def build(site: Any, attributes: Sequence[Any]) -> tuple[str, list[Row]]:
    zone, views, folded, all_time, with_ids = site
    clean()
    rows = insert_page_views([(*view, it) for view, it in zip(views, attributes, strict=False)])
    if folded:
        fold_naively(rows[:folded], zone, all_time=all_time)
        visitor_ids("default", [row.session_key for row in rows[:with_ids]])
        give_ids(rows[:with_ids], zone)
    return zone, rows


def give_ids(rows: Sequence[Row], zone: str = "UTC") -> None:
    """To values, as before the fold that needs them."""
    oracle = Oracle(rows, zone, dimensions_of_settings())
    for dimension in oracle.dimensions or ():
        wanted = [value for row in rows if (value := oracle.value(row, dimension["name"])) is not None]
        subject_ids("default", sorted(set(wanted)), dimension=dimension["id"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", MODES)
def test_answers_equal_a_naive_count(mode: Callable[[], Any]) -> None:
    @settings(max_examples=EXAMPLES)
    @given(sites(), st.lists(ATTRIBUTES, min_size=30, max_size=30), st.integers(-4, 4), st.integers(0, 5), st.data())
    def check(site: Any, attributes: list[Any], first: int, length: int, data: st.DataObject) -> None:
        with named:
            zone, rows = build(site, attributes)
            oracle = Oracle(rows, zone, dimensions_of_settings())
            tail_limit = data.draw(st.sampled_from([1_000, max(1, len(rows) - site[2])]))  # perhaps with a gap too long
            with override_settings(PAGESTATS_TIME_ZONE=zone, PAGESTATS_TAIL_LIMIT=tail_limit), mode() as asked:
                equals_a_naive_count(asked, oracle, first, length, data)

    check()


def equals_a_naive_count(asked: Any, oracle: Oracle, first: int, length: int, data: st.DataObject) -> None:
    middle = ZONES[oracle.zone].astimezone(ZoneInfo(oracle.zone)).date()
    bounds = middle + timedelta(days=first), middle + timedelta(days=first + length)
    start, end = (data.draw(st.sampled_from([bound, None])) for bound in bounds)
    given_as = data.draw(st.sampled_from([lambda bound: bound, lambda bound: as_midnight(bound, oracle.zone)]))
    span = {"start": given_as(start), "end": given_as(end)}
    for name in data.draw(st.permutations(sorted(DIMENSIONS))):
        where = {name: data.draw(VALUES[name])}
        limit, offset = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 3))
        top = [stats.ValueStats(*ranked) for ranked in oracle.top(name, start, end)]
        assert asked.top(name, 100, **span) == top
        assert asked.top(name, limit, offset=offset, **span) == top[offset : offset + limit]
        assert asked.count_values(name, **span) == len(top)
        assert asked.count_page_views(where=where, **span) == oracle.page_views(None, start, end, where)
        assert asked.count_unique_visitors(where=where, **span) == oracle.visitors(None, start, end, where)
        assert asked.time_series("day", *bounds, where=where) == oracle.days(*bounds, where=where)
    assert asked.count_visits(**span) == oracle.visits(None, start, end)
    assert asked.count_visits("/a", **span) == oracle.visits("/a", start, end)


def test_a_snapshot_of_the_folded_part_equals_a_naive_count(transactional_db: None) -> None:
    @settings(max_examples=EXAMPLES)
    @given(sites(), st.lists(ATTRIBUTES, min_size=30, max_size=30), st.integers(-4, 4), st.integers(0, 5), st.data())
    def check(site: Any, attributes: list[Any], first: int, length: int, data: st.DataObject) -> None:
        with named:
            zone, rows = build(site, attributes)
            oracle = Oracle(rows[: site[2]], zone, dimensions_of_settings())
            tail_limit = data.draw(st.sampled_from([1_000, 2]))
            within = data.draw(st.sampled_from([nullcontext, transaction.atomic]))
            options = {"PAGESTATS_TIME_ZONE": zone, "PAGESTATS_TAIL_LIMIT": tail_limit}
            with override_settings(**options), within(), stats.snapshot(exact=False) as asked:
                equals_a_naive_count(asked, oracle, first, length, data)

    check()


# -- what is refused


@named
@pytest.mark.django_db
def test_two_conditions_are_one_too_many() -> None:
    two: list[dict[str, Any]] = [
        {"where": {"country": "DE", "source": "direct"}},
        {"path": "/", "where": {"country": "DE"}},
    ]
    for conditions in two:
        for ask in (stats.count_page_views, stats.count_unique_visitors):
            with pytest.raises(ValueError, match=r"one condition in all .* in no aggregate.*stats\.visitors\(\)"):
                ask(**conditions)
        with pytest.raises(ValueError, match="one condition in all"):
            stats.time_series("day", DAY, DAY, **conditions)


@named
@pytest.mark.django_db
def test_no_condition_is_the_whole_site() -> None:
    make_page_views(7)
    assert stats.count_page_views(where={}) == stats.count_page_views(where=None) == 7


@named
@pytest.mark.django_db
def test_what_is_no_condition_and_no_dimension() -> None:
    wrong: Any
    for wrong in ("country", ["country"], 3):
        with pytest.raises(ValueError, match=r"where=.* would do"):
            stats.count_page_views(where=wrong)
    for wrong in (5, None, ["DE"]):
        with pytest.raises(ValueError, match=r"where\['country'\]=.*text would do"):
            stats.count_unique_visitors(where={"country": wrong})
    for wrong in (None, 5, ["country"]):
        with pytest.raises(ValueError, match=r"dimension=.*text would do"):
            stats.top(wrong)
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="whole number"):
            stats.top("country", wrong)
        with stats.snapshot() as snapshot, pytest.raises(ValueError, match="whole number"):
            snapshot.top("country", offset=wrong)
    with pytest.raises(ValueError, match="path=5"):
        stats.count_visits(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hours are kept of the whole site"):
        stats.time_series("hour", DAY, DAY, where={"country": "DE"})
    with pytest.raises(ValueError, match="not the beginning of a day"):
        stats.top("country", start=START)
    with pytest.raises(ValueError, match="not the beginning of a day"):
        stats.count_page_views(where={"country": "DE"}, start=START)


@named
@pytest.mark.django_db
def test_a_dimension_that_the_generation_does_not_have() -> None:
    rows = make_page_views(20, with_attributes=True)
    with override_settings(PAGESTATS_DIMENSIONS={"country": "country", "source": "gone"}):
        fold_naively(rows[:10])
    asks: list[Callable[[str], object]] = [
        stats.top,
        stats.count_values,
        lambda name: stats.count_page_views(where={name: "DE"}),
        lambda name: stats.time_series("day", DAY, DAY, where={name: "DE"}),
    ]
    for ask in asks:
        with pytest.raises(UnknownDimensionError, match=r"country, source\. PAGESTATS_DIMENSIONS has one.*--rebuild"):
            ask("section")
        with pytest.raises(UnknownDimensionError, match=r"country, source\. Add one to PAGESTATS_DIMEN.*--rebuild"):
            ask("browser")
        with pytest.raises(UnknownDimensionError, match=r"top_pages\(\)"):
            ask("path")
    with pytest.raises(UnknownDimensionError, match=r"'source' or 'django_pagestats.dimensions.entry'.*--rebuild"):
        stats.count_visits()
    with pytest.raises(UnknownDimensionError, match=r"'django_pagestats.dimensions.entry'.*--rebuild"):
        stats.count_visits("/")
    assert stats.dimensions() == [
        stats.DimensionInfo("country", "country", is_current=True),
        stats.DimensionInfo("source", "gone", is_current=False),
    ]


@named
@pytest.mark.django_db
def test_a_generation_of_before_there_were_any() -> None:
    rows = make_page_views(20)
    fold_naively(rows[:10], dimensions=None)
    assert stats.dimensions() == []
    with pytest.raises(UnknownDimensionError, match="There are: none"):
        stats.top("country")
    assert stats.count_page_views() == 20


@named
@pytest.mark.django_db
def test_before_the_first_fold_the_dimensions_are_those_of_the_settings() -> None:
    assert stats.dimensions() == [stats.DimensionInfo(*item, is_current=True) for item in DIMENSIONS.items()]
    assert stats.top("country") == []
    rows = make_page_views(50, with_attributes=True)
    top = Oracle(rows, dimensions=dimensions_of_settings()).top("country")
    assert stats.top("country") == [stats.ValueStats(*ranked) for ranked in top] != []


@named
@pytest.mark.django_db
def test_before_the_first_fold_values_are_those_of_generations_that_do_not_answer() -> None:
    """A rebuild that is under way has numbered its dimensions: of equal values the first that it knew comes first."""
    rows = insert_page_views([("/", "key", START, {"source": source}) for source in ("b", "a")])
    with override_settings(PAGESTATS_DIMENSIONS={"x": "x", "y": "y", "source": "source"}):
        fold_naively(rows[:1], is_active=None)
    assert known_subject_ids("default", ["b"], 5)
    assert [it.value for it in stats.top("source")] == ["b", "a"]


@pytest.mark.django_db
def test_visits_without_a_dimension_of_sources_are_counted_by_where_they_landed() -> None:
    with override_settings(PAGESTATS_DIMENSIONS={"landed": DIMENSIONS["entry"]}):
        rows = make_page_views(200, with_attributes=True)
        fold_naively(rows[:100], all_time=50)
        assert stats.count_visits() == Oracle(rows).visits() > 0
        assert stats.count_visits(rows[0].path, start=DAY) == Oracle(rows).visits(rows[0].path, DAY)


# -- the tail


@named
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", MODES)
def test_a_long_tail_is_refused_and_the_folded_part_told(mode: Callable[[], Any]) -> None:
    rows = make_page_views(30, with_attributes=True)
    fold_naively(rows[:10])
    with override_settings(PAGESTATS_TAIL_LIMIT=19):
        with mode() as asked:
            refused: list[Callable[[], object]] = [
                lambda: asked.top("country"),
                lambda: asked.top("country", start=DAY),
                lambda: asked.count_values("section"),
                lambda: asked.count_page_views(where={"country": "DE"}),
                lambda: asked.count_unique_visitors(where={"country": "DE"}, start=DAY),
                lambda: asked.time_series("day", DAY, DAY + timedelta(days=3), where={"country": "DE"}),
                lambda: asked.count_visits(),
                lambda: asked.count_visits("/"),
            ]
            for ask in refused:
                with pytest.raises(TailTooLongError, match=r"19 page views.*backfill_aggregates.*exact=False"):
                    ask()
            assert asked.count_page_views() == 30  # all else is answered
            assert len(asked.dimensions()) == len(DIMENSIONS)
        with stats.snapshot(exact=False) as snapshot:
            top = Oracle(rows[:10], dimensions=dimensions_of_settings()).top("country")
            assert snapshot.top("country") == [stats.ValueStats(*ranked) for ranked in top]
    with override_settings(PAGESTATS_TAIL_LIMIT=20), mode() as asked:
        assert asked.count_visits() == Oracle(rows).visits()


@pytest.mark.django_db
def test_a_function_that_raises_spoils_the_answers_about_its_dimension_only() -> None:
    with override_settings(PAGESTATS_DIMENSIONS={**DIMENSIONS, "failing": f"{__name__}.failing", "lost": "no.such"}):
        rows = make_page_views(20, with_attributes=True)
        for function, error in (("failing", "out of order"), ("lost", "cannot be imported")):
            with pytest.raises(DimensionError, match=error):
                stats.top(function)
        oracle = Oracle(rows, dimensions=dimensions_of_settings()[: len(DIMENSIONS)])
        for name in DIMENSIONS:
            assert stats.count_values(name) == oracle.values(name)
        assert stats.count_page_views() == 20
        assert stats.count_page_views("/") == oracle.page_views("/")
        # nothing is called, nor imported, for nothing
        PageView.objects.all().delete()
        assert stats.top("failing") == stats.top("lost") == []


def attributes_read(ask: Callable[[], object]) -> list[int]:
    """How many page views each statement that reads attributes asks for."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [
        query["sql"].count(",")  # one between the columns, and all but one between the ids
        for query in captured.captured_queries
        if "attributes" in query["sql"]
    ]


@named
@pytest.mark.django_db(transaction=True)
def test_attributes_are_read_when_they_are_asked_for_in_portions_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ROWS_PER_STATEMENT", 7)
    rows = make_page_views(40, with_attributes=True)
    fold_naively(rows[:20], all_time=15)
    with stats.snapshot() as snapshot:
        assert attributes_read(lambda: (snapshot.summary(), snapshot.top_pages(), snapshot.count_page_views("/"))) == []
        assert attributes_read(lambda: snapshot.top("section")) == []  # of the path alone
        # of all time: those folded into days too; then those of the days are known, and those of other dimensions
        assert attributes_read(lambda: snapshot.top("country")) == [7, 7, 7, 4]
        assert attributes_read(lambda: (snapshot.top("country", start=DAY), snapshot.top("source"))) == []
        assert attributes_read(lambda: (snapshot.count_visits("/"), snapshot.top("variant"))) == []


@named
@pytest.mark.django_db(transaction=True)
def test_attributes_that_are_too_long_to_be_kept_are_read_for_each_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ROWS_PER_STATEMENT", 10)
    monkeypatch.setattr(values, "MOST_CHARACTERS", 1_000)
    long = [("/", f"key{n}", START, {"country": "DE", "x": f"{n:0>150}"}) for n in range(20)]
    rows = insert_page_views([*long, *(("/", f"key{n}", START, {"country": "FR"}) for n in range(10))])
    wanted = [stats.ValueStats("DE", 20, 20), stats.ValueStats("FR", 10, 10)]
    with stats.snapshot() as snapshot:
        assert attributes_read(lambda: snapshot.top("country")) == [10, 10, 10]
        assert snapshot.top("country") == wanted
        assert attributes_read(lambda: snapshot.top("source")) == [10, 10]  # those of the last ten are kept
        assert snapshot.top("variant") == [stats.ValueStats(f"{v} /", n, n) for v, n in (("DE", 20), ("FR", 10))]
    attributes = Attributes("default")
    attributes.of([row.id for row in rows])
    attributes.of([row.id for row in rows[20:]])
    kept = attributes._texts.values()
    assert 0 < sum(map(len, kept)) <= 1_000
    assert len({id(text) for text in attributes._kept.values()}) == len(kept)  # each is there once


# -- while others commit


def questions(asked: Any) -> list[Any]:
    return [
        asked.top("country"),
        asked.top("entry", 5, start=DAY, end=DAY + timedelta(days=3)),
        asked.count_values("variant"),
        asked.count_page_views(where={"country": "DE"}),
        asked.count_unique_visitors(where={"source": "direct"}),
        asked.time_series("day", DAY, DAY + timedelta(days=5), where={"section": "/"}),
        asked.count_visits(),
        asked.count_visits("/", start=DAY),
    ]


def expected(rows: Sequence[Row]) -> list[Any]:
    oracle = Oracle(rows, dimensions=dimensions_of_settings())

    def top(*question: Any) -> list[stats.ValueStats]:
        return [stats.ValueStats(*ranked) for ranked in oracle.top(*question)]

    return [
        top("country"),
        top("entry", DAY, DAY + timedelta(days=3))[:5],
        oracle.values("variant"),
        oracle.page_views(where={"country": "DE"}),
        oracle.visitors(where={"source": "direct"}),
        oracle.days(DAY, DAY + timedelta(days=5), where={"section": "/"}),
        oracle.visits(),
        oracle.visits("/", DAY),
    ]


@pytest.fixture
def rows(transactional_db: None, other: str) -> Any:
    """Thirty page views, six of them folded."""
    with named:
        made = make_page_views(30, paths=6, days=4, with_attributes=True)
        fold_naively(made[:FOLDED])
        give_ids(made)  # so that the order does not depend on when it is asked
        yield made


def begin_again(rows: Sequence[Row]) -> None:
    Aggregate.objects.all()._raw_delete("default")  # type: ignore[attr-defined]
    Generation.objects.all()._raw_delete("default")  # type: ignore[attr-defined]
    fold_naively(rows[:FOLDED], all_time=2)


def switch_to_fewer_dimensions(rows: Sequence[Row]) -> None:
    """Numbered otherwise: a generation of before the first ones were turned off and on."""
    few = ("section", "variant", "source", "entry", "country")
    with override_settings(PAGESTATS_DIMENSIONS={"x": "x", **{name: DIMENSIONS[name] for name in few}}):
        switch(rows, 20)


CHANGES: dict[str, Callable[[list[Row]], None]] = {
    "a chunk": lambda rows: fold_to(rows, 20),
    "the whole tail": lambda rows: fold_to(rows, 30),
    "a generation": lambda rows: switch(rows, 18),
}


@pytest.mark.in_turn(0)
@pytest.mark.once
@pytest.mark.parametrize("mode", [in_autocommit, in_deferred_atomic])
@pytest.mark.parametrize("change", CHANGES)
def test_a_commit_between_any_two_statements(rows: list[Row], mode: Callable[[], Any], change: str) -> None:
    wanted = expected(rows)
    for number in range(2, 40):
        begin_again(rows)
        injector = Injector(lambda: CHANGES[change](rows), at=lambda n, _, number=number: n == number)
        with mode() as asked, connection.execute_wrapper(injector):
            assert questions(asked) == wanted, number
        if not injector.acted:
            assert number > 20
            return


@pytest.mark.once
def test_a_rebuild_with_other_dimensions_between_any_two_statements(rows: list[Row]) -> None:
    wanted = Oracle(rows, dimensions=dimensions_of_settings())
    for number in range(2, 12):
        begin_again(rows)
        injector = Injector(lambda: switch_to_fewer_dimensions(rows), at=lambda n, _, number=number: n == number)
        with connection.execute_wrapper(injector):
            answer = stats.top("source")
        # values that no fold has seen under the new number have no ids yet
        assert {(it.value, it.page_views, it.visitors) for it in answer} == set(wanted.top("source")), number
        if not injector.acted:
            return
    pytest.fail("it takes more statements than that")


@pytest.mark.once
def test_a_fold_during_every_tally_of_the_tail(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "one_instant", None)  # it must settle without
    for ask in (lambda: stats.top("country"), lambda: stats.top("country", start=DAY), lambda: stats.count_visits()):
        wanted = ask()
        count = iter(range(FOLDED + 1, 30))
        read = [False]

        def at(number: int, sql: str, read: list[bool] = read) -> bool:
            was_read, read[0] = read[0], "SELECT id, attributes" in sql
            return was_read

        injector = Injector(lambda count=count: fold_to(rows, next(count)), at=at)  # type: ignore[misc]
        with connection.execute_wrapper(injector), override_settings(PAGESTATS_READ_SECONDS=0):
            assert ask() == wanted
        begin_again(rows)


@pytest.mark.once
def test_a_snapshot_is_of_one_instant_whatever_is_committed(rows: list[Row]) -> None:
    wanted = expected(rows)
    with stats.snapshot() as snapshot:
        late = insert_page_views([("/", "late", START, {"country": "DE", "source": "direct"})], using="other")
        fold_to(rows + late, 31)
        assert questions(snapshot) == wanted
        switch(rows + late, 31)
        assert questions(snapshot) == wanted
    assert questions(stats) == expected(rows + late)


@pytest.mark.once
def test_a_snapshot_in_a_transaction_follows_a_fold_within_its_tail(rows: list[Row]) -> None:
    wanted = expected(rows)
    with in_deferred_atomic(), stats.snapshot() as snapshot:
        insert_page_views([("/", "late", START, {"country": "DE"})], using="other")  # of a later instant
        for count in (6, 11, 18, 30):
            fold_to(rows, count)
            assert questions(snapshot) == wanted


@pytest.mark.once
def test_page_views_that_are_gone_before_their_attributes_are_read(rows: list[Row]) -> None:
    """What is counted without them would be neither what was there nor what is."""
    gone = rows[20]

    def delete() -> None:
        PageView.objects.using("other").filter(pk=gone.id).delete()

    rest = [row for row in rows if row != gone]
    for mode in (in_autocommit, in_deferred_atomic):
        injector = Injector(delete, at=lambda n, sql: "attributes" in sql and "FROM django_pagestats_pageview" in sql)
        options = override_settings(PAGESTATS_READ_SECONDS=0.1)
        with options, mode() as asked, connection.execute_wrapper(injector):
            if mode is in_autocommit or connection.vendor == "sqlite":
                wanted = rest if mode is in_autocommit else rows
                assert asked.count_page_views(where={"section": gone.path.strip("/").split("/")[0] or "/"}) > 0
                assert asked.count_visits() == Oracle(wanted).visits()
            else:
                with pytest.raises(AnswerUnsettledError):
                    asked.count_visits()
        PageView.objects.get_or_create(pk=gone.id, defaults=gone._asdict())


def test_it_is_told_that_they_are_gone(rows: list[Row]) -> None:
    with pytest.raises(MovedError):
        Attributes("default").of([rows[0].id, rows[-1].id + 1])
