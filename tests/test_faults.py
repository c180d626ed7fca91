"""Every task may run twice, late or never, and every statement may fail: one effect, one chain, the end exact.

The faults are made by construction: links are copied and delivered late, triggers of the database let every third move
of a cursor and every seventh merge fail. The controls take a protection away and show that the same tests then fail.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.backends.signals import connection_created

from django_pagestats import backfill, folding, horizon
from django_pagestats.backfill import failing, starting
from django_pagestats.folding import chunks
from django_pagestats.folding.reading import Reader
from django_pagestats.folding.stretches import Cut
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation
from tests.chains import (
    Links,
    Other,
    active_generation,
    assert_all_counted,
    assert_exact,
    expire_lease,
    only_on,
    the_run,
)
from tests.factories import ALL, DAY, SITE, insert_page_views, make_page_views
from tests.factories import START as AT
from tests.patching import replace
from tests.test_ids import run_at_once
from tests.unprotected import merge_at_any_cursor, merge_in_two_transactions, without_epochs

pytestmark = pytest.mark.once

Deliver = Callable[[Links, random.Random], None]
Database = type(database_for("default"))


@pytest.fixture(autouse=True)
def patience(short_waits: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_MAX_FAILURES = 50
    # what a trigger raises is of another class on each database: here it passes, as a dead-lock does
    monkeypatch.setattr(failing, "PASSING", (*failing.PASSING, DatabaseError))


def deliver_three_times(links: Links, dice: random.Random) -> None:
    """Every link comes three times, one of them late: until the chain has ended, and all that is left then."""
    late = []
    while links.sent:
        link = links.sent.pop(0)
        for _ in range(2):
            links.deliver(link)
            assert_no_second_chain(links)
        late.append(link)
        if dice.random() < 0.4:
            links.deliver(late.pop(dice.randrange(len(late))))
            assert_no_second_chain(links)
    dice.shuffle(late)
    for link in late:
        links.deliver(link)


def shuffled_chain(kind: str, deliver: Deliver, *, seed: int) -> None:
    """A run of some fifteen chunks under whatever `deliver` does to its links; afterwards all must be exact."""
    shuffle_chain(kind, deliver, seed=seed)
    assert the_run().rows_folded == 120
    assert_all_counted()


def shuffle_chain(kind: str, deliver: Deliver, *, seed: int) -> None:
    dice = random.Random(seed)
    make_page_views(120, seed=seed, days=1, with_attributes=True)
    links = Links()
    links.start(kind, chunk_size=8)
    for _ in range(100):
        deliver(links, dice)
        if not the_run().is_active:
            break
        expire_lease()
        links.revive()
    assert the_run().status == "succeeded"


def count_chains(links: Links) -> int:
    """Of what is still queued, how many links can do anything."""
    run = the_run()
    return sum(link[2] == run.epoch and run.is_active for link in links.sent)


def assert_no_second_chain(links: Links) -> None:
    assert count_chains(links) <= 1


# -- copies


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_every_link_comes_three_times_some_late(kind: str) -> None:
    shuffled_chain(kind, deliver_three_times, seed=1)


@pytest.mark.django_db
def test_control_without_the_epoch_copies_make_chains_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    without_epochs(monkeypatch.setattr)
    make_page_views(300, with_attributes=True)
    links = Links()
    links.start(chunk_size=11)
    link = links.sent.pop()
    for _ in range(3):
        links.deliver(link)
    assert len(links.sent) == 3, "three chains, where the fence leaves one"


@pytest.mark.django_db
def test_with_the_epoch_copies_make_one_chain() -> None:
    make_page_views(300, with_attributes=True)
    links = Links()
    links.start(chunk_size=11)
    link = links.sent.pop()
    for _ in range(3):
        links.deliver(link)
    assert links.sent == [("default", the_run().pk, the_run().epoch)]
    assert the_run().rows_folded == 11


@pytest.mark.django_db
def test_a_task_of_an_older_epoch_changes_nothing() -> None:
    make_page_views(100, with_attributes=True)
    links = Links()
    links.start(chunk_size=10)
    old = links.sent[0]
    for _ in range(3):
        links.deliver_next()
    before = BackfillRun.objects.values().get()
    links.deliver(old)
    assert BackfillRun.objects.values().get() == before
    assert len(links.sent) == 1
    links.drain()
    before = BackfillRun.objects.values().get()
    links.deliver(old)
    links.deliver(("default", 10**6, 0))
    assert BackfillRun.objects.values().get() == before
    assert_all_counted()


# -- a worker that was taken over


def taken_over_before_its_merge(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link has read its chunk; its lease runs out, another worker takes the run over and folds; then it goes on."""
    read = Reader.read

    def read_and_be_taken_over(*args: Any, **expected: Any) -> Cut:
        chunk = read(*args, **expected)
        monkeypatch.setattr(Reader, "read", read)
        expire_lease()
        links.revive()
        links.deliver_next()
        return chunk

    monkeypatch.setattr(Reader, "read", read_and_be_taken_over)
    links.deliver_next(seconds=None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_a_worker_that_was_taken_over_stops_and_enqueues_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(100, with_attributes=True)
    links = Links()
    links.start(kind, chunk_size=10)
    taken_over_before_its_merge(links, monkeypatch)
    assert the_run().rows_folded == 10
    assert the_run().revival_count == 1
    assert len(links.sent) == 1
    links.drain()
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_control_without_the_epoch_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    without_epochs(monkeypatch.setattr)
    make_page_views(100, with_attributes=True)
    links = Links()
    links.start(chunk_size=10)
    taken_over_before_its_merge(links, monkeypatch)
    assert the_run().rows_folded != 10


# -- failing statements


class Faults:
    """Triggers that let every third move of a cursor and every seventh merge fail."""

    #: what fails, and when: of page views of one day each merge writes one row of the site's days
    EVENTS = {"generation": "UPDATE", "aggregate": "INSERT"}
    CONDITIONS = {
        "generation": 'NEW."cursor" <> OLD."cursor" OR NEW.all_cursor <> OLD.all_cursor',
        "aggregate": f"NEW.dimension = {SITE} AND NEW.granularity = {DAY}",
    }

    def __init__(self, *, cursor_every: int = 3, merge_every: int = 7) -> None:
        self.every = {"generation": cursor_every, "aggregate": merge_every}

    def __enter__(self) -> Faults:
        getattr(self, f"_make_{connection.vendor}")()
        return self

    def __exit__(self, *error: object) -> None:
        getattr(self, f"_drop_{connection.vendor}")()

    def _run(self, *statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _make_sqlite(self) -> None:
        counts = {"generation": 0, "aggregate": 0}

        def is_time(table: str, every: int) -> bool:
            counts[table] += 1
            return counts[table] % every == 0

        def add_function(connection: Any, **kwargs: Any) -> None:
            connection.connection.create_function("is_time", 2, is_time)

        self.add_function = add_function
        connection_created.connect(add_function)  # after an error the connection may be made anew
        connection.close()
        for table, every in self.every.items():
            self._run(
                f"CREATE TRIGGER fault_{table} BEFORE {self.EVENTS[table]} ON django_pagestats_{table}"
                f" WHEN ({self.CONDITIONS[table]}) AND is_time('{table}', {every})"
                f" BEGIN SELECT RAISE(ABORT, 'made to fail: {table}'); END"
            )

    def _drop_sqlite(self) -> None:
        connection_created.disconnect(self.add_function)
        for table in self.every:
            self._run(f"DROP TRIGGER fault_{table}")

    def _make_postgresql(self) -> None:
        for table, every in self.every.items():
            self._run(
                f"CREATE SEQUENCE fault_{table}_count",  # counts on through a rollback
                f"CREATE FUNCTION fault_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" IF mod(nextval('fault_{table}_count'), {every}) = 0"
                f" THEN RAISE EXCEPTION 'made to fail: {table}'; END IF; RETURN NEW; END $$",
                f"CREATE TRIGGER fault_{table} BEFORE {self.EVENTS[table]} ON django_pagestats_{table}"
                f" FOR EACH ROW WHEN ({self.CONDITIONS[table]}) EXECUTE FUNCTION fault_{table}()",
            )

    def _drop_postgresql(self) -> None:
        for table in self.every:
            self._run(f"DROP FUNCTION fault_{table} CASCADE", f"DROP SEQUENCE fault_{table}_count")

    def _make_mysql(self) -> None:
        for table, every in self.every.items():
            condition = self.CONDITIONS[table].replace('"', "`")
            self._run(
                f"SET @fault_{table} = 0",  # a session's variable counts on through a rollback
                f"CREATE TRIGGER fault_{table} BEFORE {self.EVENTS[table]} ON django_pagestats_{table} FOR EACH ROW"
                f" BEGIN IF {condition} THEN SET @fault_{table} = @fault_{table} + 1;"
                f" IF @fault_{table} MOD {every} = 0 THEN"
                f" SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'made to fail: {table}'; END IF; END IF; END",
            )

    def _drop_mysql(self) -> None:
        for table in self.every:
            self._run(f"DROP TRIGGER fault_{table}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_moves_of_the_cursor_and_merges_fail_and_every_link_comes_three_times(kind: str) -> None:
    failures: list[str] = []
    count = failing.Failing.count

    def see(counter: Any, error: Exception, *, is_chunk: bool) -> None:
        failures.append(str(error))
        count(counter, error, is_chunk=is_chunk)

    with Faults(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(failing.Failing, "count", see)
        shuffled_chain(kind, deliver_three_times, seed=2)
    moves, merges = (["made to fail: " + table in failure for failure in failures] for table in Faults.EVENTS)
    assert sum(moves) >= 9
    assert sum(merges) >= 3
    assert sum(moves) + sum(merges) == len(failures)
    assert the_run().failure_count == 0, "counted in a row"


@pytest.mark.in_turn(1)
@pytest.mark.django_db(transaction=True)
def test_control_with_cursor_and_aggregates_in_two_transactions_page_views_are_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks, "merge", merge_in_two_transactions)
    with Faults(merge_every=10**9):
        shuffle_chain("backfill", deliver_three_times, seed=2)
    assert Aggregate.objects.get(dimension=SITE, granularity=ALL).page_views > 120


@pytest.mark.in_turn(2)
@pytest.mark.django_db(transaction=True)
def test_control_without_the_epoch_there_are_many_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """All else is still right: a chunk's transaction compares the cursor too."""
    without_epochs(monkeypatch.setattr)
    monkeypatch.setattr("tests.test_faults.assert_no_second_chain", lambda links: chains.append(count_chains(links)))
    chains: list[int] = []
    with Faults():
        shuffled_chain("backfill", deliver_three_times, seed=2)
    assert max(chains) > 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("has_epochs", [True, False])
def test_control_without_epoch_and_cursor_a_worker_that_was_taken_over_counts_page_views_twice(
    has_epochs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_epochs:
        without_epochs(monkeypatch.setattr)
    monkeypatch.setattr(chunks, "merge", merge_at_any_cursor)
    make_page_views(100, with_attributes=True)
    links = Links()
    links.start(chunk_size=10)
    taken_over_before_its_merge(links, monkeypatch)
    links.drain()
    assert Aggregate.objects.get(dimension=SITE, granularity=ALL).page_views == (100 if has_epochs else 110)
    assert the_run().rows_folded == (100 if has_epochs else 110)


# -- at once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_two_copies_of_every_link_at_once(kind: str) -> None:
    def deliver_twice_at_once(links: Links, dice: random.Random) -> None:
        while links.sent:
            link = links.sent.pop(0)

            def work(barrier: threading.Barrier, link: Any = link) -> None:
                barrier.wait(30)
                links.deliver(link)

            assert run_at_once(work, work) == []
            assert len(links.sent) <= 1

    make_page_views(100, seed=8, with_attributes=True)
    links = Links()
    links.start(kind, chunk_size=20)
    deliver_twice_at_once(links, random.Random())
    assert the_run().rows_folded == 100
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_two_starts_at_once_make_one_run() -> None:
    """Both have seen that no run is active before the first one makes its own."""
    make_page_views(30, with_attributes=True)
    folding.ensure_active_generation("default")
    links = Links()
    create = starting._create
    started: list[backfill.Started] = []

    def start(barrier: threading.Barrier) -> None:
        barriers[threading.get_ident()] = barrier
        started.append(links.start())

    def create_together(*args: Any, **kwargs: Any) -> BackfillRun:
        barriers[threading.get_ident()].wait(30)
        return create(*args, **kwargs)

    barriers: dict[int, threading.Barrier] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "_create", create_together)
        assert run_at_once(start, start) == []
    assert sorted(it.outcome for it in started) == ["active", "started"]
    run = BackfillRun.objects.get()
    assert all(f"un {run.pk}" in it.message or f"run {run.pk}" in it.message for it in started)
    assert len(links.sent) == 1
    links.drain()
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_two_revivers_at_once_send_one_link() -> None:
    """Both have seen the run without a worker before the first one raises its epoch."""
    make_page_views(30, with_attributes=True)
    links = Links()
    links.start(chunk_size=10)
    links.sent.clear()
    expire_lease()
    lease = starting.lease
    barriers: dict[int, threading.Barrier] = {}

    def lease_together() -> Any:
        with contextlib.suppress(KeyError):
            barriers.pop(threading.get_ident()).wait(30)
        return lease()

    def revive(barrier: threading.Barrier) -> None:
        barriers[threading.get_ident()] = barrier
        links.revive()

    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor != "sqlite":  # there the first one has the write lock already
            patch.setattr(starting, "lease", lease_together)
        assert run_at_once(revive, revive) == []
    assert the_run().revival_count == 1
    assert len(links.sent) == 1
    links.drain()
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_copies_of_links_while_the_run_waits_for_its_horizon() -> None:
    make_page_views(30, with_attributes=True)
    links = Links()
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)])
        links.start()
        link = links.sent.pop()

        def work(barrier: threading.Barrier) -> None:
            barrier.wait(30)
            links.deliver(link, seconds=1)

        assert run_at_once(work, work) == []
        links.deliver(link, seconds=1)
        assert links.sent == []
        assert len(links.scheduled) == 1
        again = links.scheduled[0][0]
        assert run_at_once(*[lambda barrier: links.deliver(again, seconds=1)] * 2) == []
        assert len(links.scheduled) == 2
        other.commit()
    for late in (link, again, links.scheduled[1][0], links.scheduled[1][0]):
        links.deliver(late, seconds=5)
    assert the_run().status == "succeeded"
    assert the_run().rows_folded == 32
    assert_all_counted()


# -- keeping up at every step of a run


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("backfill", "ensure_active_generation"),
        ("backfill", "check_not_back"),
        *((kind, step) for kind in ("backfill", "rebuild") for step in ("active_generation", "poll", "merge")),
    ],
)
def test_keeping_up_comes_in_between_the_steps_of_a_run(kind: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30, with_attributes=True)
    folding.keep_up("default", seconds=5)
    make_page_views(30, seed=1, with_attributes=True)
    original: Callable[..., Any] = getattr(chunks if step == "merge" else folding, step)
    injected = []

    def keep_up_first(*args: Any, **kwargs: Any) -> Any:
        if not connection.atomic_blocks[-1]._from_testcase:  # somebody else is another connection, not in there
            return original(*args, **kwargs)
        replace(patch.setattr, keep_up_first, original)
        generation = active_generation()
        folder = folding.Folder("default", generation, chunk_size=7, fixed_size=7)
        injected.append(folder.fold(target).page_views)
        result = original(*args, **kwargs)
        replace(patch.setattr, original, keep_up_first)
        return result

    target = highest()
    with monkeypatch.context() as patch:
        replace(patch.setattr, original, keep_up_first)
        links = Links()
        links.start(kind, chunk_size=10)
        links.drain()
    assert sum(injected) > 0
    assert not the_run_is_active()
    folding.keep_up("default", seconds=5)
    assert_all_counted()


def highest() -> int:
    return horizon.highest_id("default") or 0


def the_run_is_active() -> bool:
    return BackfillRun.objects.filter(active_key=BackfillRun.ACTIVE).exists()


@pytest.mark.django_db(transaction=True)
def test_keeping_up_and_a_run_fold_the_same_chunk_at_once() -> None:
    """Both have read it before the first one merges it."""
    make_page_views(20, with_attributes=True)
    generation = folding.ensure_active_generation("default")
    make_page_views(20, seed=1, with_attributes=True)
    folders = [folding.Folder("default", generation, chunk_size=15) for _ in range(2)]
    folders[1].generation = Generation.objects.get()
    read = [folder.reader.next_chunk(generation.cursor, highest(), 15) for folder in folders]
    outcomes = []

    def work(chunk: folding.Chunk) -> Callable[[threading.Barrier], None]:
        def merge(barrier: threading.Barrier) -> None:
            barrier.wait(30)
            try:
                chunks.merge("default", chunk)
                outcomes.append("merged")
            except folding.CursorMovedError:
                outcomes.append("moved")

        return merge

    assert run_at_once(*map(work, read)) == []
    assert sorted(outcomes) == ["merged", "moved"]
    assert_exact()


# -- the real triggers count


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"cursor_every": 3, "merge_every": 10**9}, [True, True, False] * 4),
        ({"cursor_every": 10**9, "merge_every": 7}, ([True] * 6 + [False]) * 2),
    ],
    ids=["every third move of the cursor", "every seventh merge"],
)
def test_the_faults_are_there(faults: dict[str, int], expected: list[bool]) -> None:
    rows = make_page_views(20, days=1, with_attributes=True)
    folder = folding.Folder("default", folding.ensure_active_generation("default"), chunk_size=1, fixed_size=1)
    outcomes = []
    with Faults(**faults):
        for _ in expected:
            try:
                folder.fold(rows[-1].id)
                outcomes.append(True)
            except Exception as error:
                assert "made to fail" in str(error)
                folder.reload()
                outcomes.append(False)
    assert outcomes == expected
    assert_exact()
