"""The ids of session keys and paths: one each, exact to the byte, whoever inserts at the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from pyroaring import BitMap

from django_pagestats import folding, horizon, ids, stats
from django_pagestats.exceptions import SubjectIdsExhaustedError, VisitorIdsExhaustedError
from django_pagestats.ids import IdCache, known_subject_ids, known_visitor_ids, subject_ids, visitor_ids
from django_pagestats.merging import database_for, postgresql
from django_pagestats.models import Subject, Visitor
from tests.chains import assert_exact
from tests.factories import START as AT
from tests.factories import draw_from, insert_page_views

#: each of them another path, and another session key, to the byte
LOOK_ALIKES = [
    "/A",
    "/a",
    "/x",
    "/x ",
    "/x  ",
    " /x",
    "/\u00e9",  # composed
    "/e\u0301",  # decomposed
    "/e",
    "/ß",
    "/ss",
    "/😀",
    "/😁",
    "/\u200b",
    "/",
    "/0",
    "/%",
    "/_",
    "/\\",
    "/'",
    '/"',
]
LONG = ["/" + "x" * 2_046 + end for end in ("a", "b", "A", "é", "😀")]
DAY = timedelta(days=1)
IdsOf = Callable[..., dict[str, int]]


@pytest.fixture(params=["few", "many"] if connection.vendor == "postgresql" else ["few"])
def as_so_many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL inserts many at once in another way than a few."""
    if request.param == "many":
        monkeypatch.setattr(postgresql, "MANY_VALUES", 1)


def run_at_once(*works: Callable[[threading.Barrier], object]) -> list[BaseException]:
    """Each in a thread with a connection of its own, over a common barrier; the errors that came out."""
    barrier = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[threading.Barrier], object]) -> None:
        try:
            work(barrier)
        except BaseException as error:
            errors.append(error)
            barrier.abort()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return errors


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ids_of", "model", "column"), [(visitor_ids, Visitor, "session_key"), (subject_ids, Subject, "value")]
)
def test_what_looks_alike_is_not_the_same(ids_of: IdsOf, model: type[Visitor | Subject], column: str) -> None:
    found = ids_of("default", LOOK_ALIKES)
    assert sorted(found) == sorted(LOOK_ALIKES)
    assert len(set(found.values())) == len(LOOK_ALIKES)
    assert dict(model._default_manager.values_list(column, "pk")) == found
    assert ids_of("default", LOOK_ALIKES[::-1]) == found
    assert model._default_manager.count() == len(LOOK_ALIKES)


@pytest.mark.django_db
def test_paths_of_the_greatest_length_are_stored_whole() -> None:
    found = subject_ids("default", LONG)
    assert dict(Subject.objects.values_list("value", "pk")) == found
    assert len(set(found.values())) == len(LONG)
    assert all(len(path) == 2_048 for path in found)


@pytest.mark.django_db
def test_session_keys_of_the_greatest_length_are_stored_whole() -> None:
    keys = ["😀" * 254 + end for end in ("a", "b")]
    assert len(set(visitor_ids("default", keys).values())) == 2
    assert set(Visitor.objects.values_list("session_key", flat=True)) == set(keys)


@pytest.mark.django_db
@pytest.mark.usefixtures("as_so_many")
def test_more_than_one_statement_of_them() -> None:
    keys = [f"key-{number}" for number in range(2_500)]
    found = visitor_ids("default", keys[::2])
    everything = visitor_ids("default", keys)
    assert len(set(everything.values())) == 2_500
    assert {key: everything[key] for key in found} == found
    assert known_visitor_ids("default", [*keys, "nobody"]) == everything


@pytest.mark.django_db
def test_looking_up_makes_nothing() -> None:
    assert known_visitor_ids("default", ["x"]) == {}
    assert known_subject_ids("default", ["/x"]) == {}
    assert not Visitor.objects.exists() and not Subject.objects.exists()


@pytest.mark.django_db
def test_nothing_asked_nothing_done(django_assert_num_queries: Callable[[int], Iterator[None]]) -> None:
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        assert subject_ids("default", []) == visitor_ids("default", []) == {}


@pytest.mark.django_db
def test_a_visitor_beyond_the_bits_of_a_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OverflowError):
        BitMap([ids.MOST_VISITORS + 1_000_001])
    (highest,) = visitor_ids("default", ["x"]).values()
    monkeypatch.setattr(ids, "MOST_VISITORS", highest)
    assert visitor_ids("default", ["x"]) == {"x": highest}
    with pytest.raises(VisitorIdsExhaustedError, match=f"is above {highest}"):
        visitor_ids("default", ["x", "y"])


# -- ids that do not fit, and ids that are taken


def do_as_told(error: Exception) -> None:
    """Run the statements that a message ends with."""
    with connection.cursor() as cursor:
        for statement in str(error).partition("left: ")[2].split(";")[:-1]:
            cursor.execute(statement)


@pytest.fixture
def counters_put_back() -> Iterator[None]:
    yield
    for model in (Visitor, Subject):
        model._default_manager.all()._raw_delete("default")
        draw_from(model, 1_000)


KINDS = [
    pytest.param(visitor_ids, Visitor, 2**32, VisitorIdsExhaustedError, id="visitors"),
    pytest.param(subject_ids, Subject, 2**31, SubjectIdsExhaustedError, id="subjects"),
]


@pytest.mark.usefixtures("counters_put_back", "as_so_many")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("ids_of", "model", "beyond", "error"), KINDS)
def test_a_new_id_that_does_not_fit_is_refused_and_nothing_stored(
    ids_of: IdsOf, model: type[Visitor | Subject], beyond: int, error: type[Exception]
) -> None:
    before = ids_of("default", ["/before"])
    if connection.vendor == "sqlite" or model is Visitor:  # the others' columns of subjects hold no higher one
        draw_from(model, beyond)
    else:
        draw_from(model, beyond - 1)
        ids_of("default", ["/the last"])
        before = ids_of("default", ["/before"])
        model._default_manager.filter(pk=beyond - 1)._raw_delete("default")
    with pytest.raises(error, match=r"id \d+ is above .* cannot hold it.*DELETE FROM") as raised:
        ids_of("default", ["/before", "/x", "/y"])
    assert model._default_manager.count() == 1
    do_as_told(raised.value)
    found = ids_of("default", ["/before", "/x", "/y"])
    assert found["/before"] == before["/before"] and max(found.values()) < 1_000_000
    assert model._default_manager.count() == 3


@pytest.mark.usefixtures("counters_put_back")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [2**32 + 5, -7])
def test_a_visitor_whose_id_no_set_can_hold_breaks_no_answer(number: int) -> None:
    """He is in no set, and so counted as the new visitor that he is, in a short tail and in a long one."""
    insert_page_views([("/", f"k{number % 3}", AT) for number in range(9)])
    folding.keep_up("default", seconds=60)
    assert stats.summary().pending == 0
    Visitor.objects.create(pk=number, session_key="odd")
    insert_page_views([("/", "odd", AT), ("/", "k1", AT), ("/new", "odd", AT)])
    for limit in (50_000, 1):
        with override_settings(PAGESTATS_TAIL_LIMIT=limit):
            assert stats.count_unique_visitors() == 4
            assert stats.count_unique_visitors(path="/") == 4
            assert [(page.path, page.visitors) for page in stats.top_pages()] == [("/", 4), ("/new", 1)]
            assert [point.visitors for point in stats.time_series("day", AT.date(), AT.date() + DAY)] == [4]
    with pytest.raises(VisitorIdsExhaustedError, match=f"id {number} is") as raised:
        folding.keep_up("default", seconds=60)
    assert Visitor.objects.count() == 4
    do_as_told(raised.value)
    folding.keep_up("default", seconds=60)
    assert_exact()


# -- the cache


@pytest.mark.django_db
def test_what_the_cache_knows_is_not_asked_again(django_assert_num_queries: Callable[[int], Iterator[None]]) -> None:
    cache = IdCache()
    found = visitor_ids("default", ["a", "b"], cache)
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        assert visitor_ids("default", ["b", "a", "a"], cache) == found


def numbered(values: Iterable[str]) -> dict[str, int]:
    return {value: int(value.strip("x")) for value in values}


def test_the_cache_is_bounded_and_forgets_the_older_half() -> None:
    cache = IdCache(limit=10)
    for number in range(1, 101):
        assert cache.resolve([str(number)], numbered)[str(number)] == number
        assert len(cache._young) + len(cache._old) <= 12
    asked: list[str] = []

    def fetch(missing: set[str]) -> dict[str, int]:
        asked.extend(missing)
        return numbered(missing)

    found = cache.resolve(map(str, range(90, 101)), fetch)
    assert {str(number): number for number in range(90, 101)}.items() <= found.items()
    assert set(asked) < {str(number) for number in range(90, 101)}, "the youngest are remembered"


def test_the_cache_is_bounded_by_characters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdCache, "MOST_CHARACTERS", 1_000)
    cache = IdCache()
    for number in range(100):
        cache.resolve([f"{number}".rjust(100, "x")], numbered)
        assert sum(map(len, (*cache._young, *cache._old))) <= 2_300


@pytest.mark.django_db
def test_after_many_that_were_all_new_the_next_are_inserted_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database tells what it has inserted, and until some are there already."""
    monkeypatch.setattr(ids, "MANY_NEW", 3)
    cache = IdCache()
    looked: list[set[str]] = []
    look = ids.known_visitor_ids

    def look_and_tell(using: str, session_keys: Iterable[str]) -> dict[str, int]:
        looked.append(set(session_keys))
        return look(using, session_keys)

    monkeypatch.setattr(ids, "known_visitor_ids", look_and_tell)
    tells = connection.vendor != "mysql"
    others = visitor_ids("default", ["b1", "c1"])
    looked.clear()
    for keys, looks in [("a1 a2 a3", True), ("b0 b1 b2", not tells), ("c0 c1 c2", True), ("d0", True), ("e0", True)]:
        found = visitor_ids("default", keys.split(), cache)
        assert looked == ([set(keys.split())] if looks else []), keys
        looked.clear()
        assert dict(Visitor.objects.values_list("session_key", "pk")) == {**others, **found}
    assert len(set(found.values())) == len(found) == 11


class UndoneError(Exception):
    """Raised to roll back."""


@pytest.mark.django_db(transaction=True)
def test_the_cache_is_filled_after_the_commit_only() -> None:
    """An insert that is undone leaves no id behind that is none."""
    cache = IdCache()
    insert = ids._insert

    def insert_and_fail(*args: object) -> None:
        with transaction.atomic():
            insert(*args)  # type: ignore[arg-type]
            raise UndoneError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(UndoneError):
        patch.setattr(ids, "_insert", insert_and_fail)
        visitor_ids("default", ["a"], cache)
    assert cache.resolve([], lambda missing: {}) == {}
    assert visitor_ids("default", ["a"], cache) == dict(Visitor.objects.values_list("session_key", "pk"))


# -- at once


@pytest.mark.django_db
@pytest.mark.usefixtures("as_so_many")
def test_an_insert_leaves_alone_what_is_there_already() -> None:
    before = visitor_ids("default", ["b", "d"])
    rows = [(session_key,) for session_key in "abcde"]
    table = Visitor._meta.db_table
    told = database_for("default").insert_values(
        table, ["session_key"], rows, unique=["session_key"], key="session_key"
    )
    stored = dict(Visitor.objects.values_list("session_key", "pk"))
    assert sorted(stored) == list("abcde") and stored.items() >= {**before, **told}.items()
    assert told.keys() in ({"a", "c", "e"}, set()), "those inserted, or nothing where nobody tells"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("as_so_many")
@pytest.mark.parametrize(("ids_of", "model"), [(visitor_ids, Visitor), (subject_ids, Subject)])
def test_overlapping_inserts_at_once_get_one_id_each(
    ids_of: IdsOf, model: type[Visitor | Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have looked, and found the same missing, before the first one inserts.

    On MariaDB with `ON DUPLICATE KEY UPDATE id = id` rows are lost here.
    """
    insert = ids._insert
    barriers: dict[int, threading.Barrier] = {}

    def insert_together(*args: Any) -> dict[str, int]:
        barriers[threading.get_ident()].wait(30)
        return insert(*args)

    monkeypatch.setattr(ids, "_insert", insert_together)
    results: list[dict[str, int]] = []

    def work(seed: int) -> Callable[[threading.Barrier], None]:
        def insert_rounds(barrier: threading.Barrier) -> None:
            barriers[threading.get_ident()] = barrier
            dice = random.Random(seed)
            for turn in range(4):
                values = [f"/{turn}/{number}" for number in range(300)]
                dice.shuffle(values)
                results.append(ids_of("default", values[:250]))

        return insert_rounds

    assert run_at_once(*(work(seed) for seed in range(3))) == []
    stored = dict(model._default_manager.values_list("value" if model is Subject else "session_key", "pk"))
    assert len(results) == 12
    for result in results:
        assert result == {value: stored[value] for value in result}


def insert_key(session_key: str) -> dict[str, int]:
    table = Visitor._meta.db_table
    database = ids.database_for("default")
    return database.insert_values(table, ["session_key"], [(session_key,)], unique=["session_key"], key="session_key")


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows inserted in opposite orders: somebody has to give way, and does it silently.

    The keys are of this test alone: deleted rows of the same keys would make MariaDB wait earlier.
    """
    if connection.vendor == "sqlite":
        monkeypatch.setattr(ids, "DEADLOCK_TRIES", 2)
    order = {}

    def work(first: str, second: str) -> Callable[[threading.Barrier], None]:
        def insert(barrier: threading.Barrier) -> None:
            order[first] = 0

            def one_after_the_other(missing: set[str]) -> dict[str, int]:
                order[first] += 1
                insert_key(first)
                if order[first] == 1 and connection.vendor != "sqlite":
                    barrier.wait(30)
                return insert_key(second)

            ids._insert("default", one_after_the_other, {first, second})

        return insert

    assert run_at_once(work("deadlock-one", "deadlock-two"), work("deadlock-two", "deadlock-one")) == []
    assert set(Visitor.objects.values_list("session_key", flat=True)) == {"deadlock-one", "deadlock-two"}
    if connection.vendor != "sqlite":
        assert sorted(order.values()) == [1, 2]


@pytest.mark.django_db
def test_inside_a_transaction_a_deadlock_is_the_callers() -> None:
    tries = []

    def fail(missing: set[str]) -> dict[str, int]:
        tries.append(missing)
        raise OperationalError("deadlock")

    with pytest.raises(OperationalError):
        ids._insert("default", fail, {"x"})
    assert len(tries) == 1


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_that_does_not_end_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    monkeypatch.setattr(ids, "DEADLOCK_TRIES", 3)

    def fail(missing: set[str]) -> dict[str, int]:
        tries.append(missing)
        raise OperationalError("deadlock")

    with pytest.raises(OperationalError):
        ids._insert("default", fail, {"x"})
    assert len(tries) == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("as_so_many")
def test_three_folds_of_the_same_visitors_and_subjects_at_once() -> None:
    """Three generations' worth of readers over the same page views: no deadlock reaches a fold, and one wins."""
    dice = random.Random(5)
    insert_page_views([(f"/{dice.randrange(200)}", f"k{dice.randrange(400)}", AT) for _ in range(900)])
    generation = folding.ensure_active_generation("default")

    def work(barrier: threading.Barrier) -> None:
        folder = folding.Folder("default", type(generation).objects.get(pk=generation.pk), chunk_size=300)
        while folder.cursor < target:
            barrier.wait(30)
            try:
                folder.fold(target)
            except folding.CursorMovedError:
                continue

    target = horizon.highest_id("default") or 0
    assert run_at_once(work, work, work) == []
    assert_exact()
