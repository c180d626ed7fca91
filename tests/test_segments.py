"""Several workers build one generation: what each does is counted once, whoever is late, lost, or comes twice."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from contextlib import suppress
from datetime import date
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError
from django.test import override_settings

from django_pagestats import backfill, folding
from django_pagestats.backfill import helping, parts, working
from django_pagestats.backfill.parts import PartsOfFold, PartsOfPass
from django_pagestats.folding import sweeping, zones
from django_pagestats.folding.reading import Reader
from django_pagestats.management.telling import Telling
from django_pagestats.merging import database_for, days
from django_pagestats.merging.lookup import LookupDatabase
from django_pagestats.models import Aggregate, BackfillRun, BuildSegment, Generation, SharedDay
from django_pagestats.spawned import spawned
from django_pagestats.verify import Verification
from tests.chains import (
    Link,
    Links,
    Other,
    active_generation,
    assert_all_counted,
    assert_exact,
    expire_lease,
    only_on,
    small_parts,
    the_run,
)
from tests.factories import ALL, START, insert_page_views, make_page_views
from tests.patching import replace
from tests.test_backfill import raising
from tests.test_ids import run_at_once
from tests.torture import SERVERS

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_settling", "small")]

Database = type(database_for("default"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    small_parts(monkeypatch)
    settings.PAGESTATS_WORKERS = 3


def segments(kind: str = "fold") -> list[BuildSegment]:
    return list(BuildSegment.objects.filter(kind=kind).order_by("after"))


def is_of_a_segment(link: Link) -> bool:
    return len(link) == 4


def of_segments(links: Links) -> list[Link]:
    return list(filter(is_of_a_segment, links.sent))


def deliver(links: Links, *, of_a_segment: bool) -> None:
    """The first link of the one kind or of the other."""
    link = next(link for link in links.sent if is_of_a_segment(link) == of_a_segment)
    links.sent.remove(link)
    links.deliver(link)


def begun(count: int = 90, *, kind: str = "rebuild", chunk_size: int = 10, workers: int = 3) -> Links:
    """A run that is cut, by its first chunk."""
    make_page_views(count, with_attributes=True)
    links = Links()
    with override_settings(PAGESTATS_WORKERS=workers):
        links.start(kind, chunk_size=chunk_size)
        links.deliver_next()
    return links


# -- cutting


@pytest.mark.django_db
def test_a_rebuild_is_cut_into_as_many_parts_as_there_may_be_workers() -> None:
    links = begun()
    run, (second, third) = the_run(), segments()
    first = run.start_cursor
    assert run.target - first == 90
    assert (second.after - first, third.after - first, third.upto - first) == (30, 60, 90)
    assert second.upto == third.after
    assert of_segments(links) == [("default", run.pk, 0, second.pk), ("default", run.pk, 0, third.pk)]
    links.drain()
    assert the_run().rows_folded == 90
    assert not BuildSegment.objects.exists()
    assert_all_counted()


@pytest.mark.django_db
def test_little_is_not_worth_a_second_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartsOfFold, "LEAST", 50)
    links = begun(90)
    assert not BuildSegment.objects.exists()
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_one_worker_is_the_default(settings: Any) -> None:
    del settings.PAGESTATS_WORKERS
    make_page_views(90, with_attributes=True)
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    assert not BuildSegment.objects.exists()


@pytest.mark.django_db
def test_where_there_is_one_writer_there_is_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "SHARES_BUILDS", False)
    begun(kind="backfill")
    assert not BuildSegment.objects.exists() and not the_run().is_build


@pytest.mark.django_db
@pytest.mark.parametrize("order", [0, -1, "segments first", "run first"])
def test_whoever_comes_first_all_is_counted_once(order: Any) -> None:
    links = begun(60, chunk_size=7)
    while links.sent:
        which = order
        if isinstance(order, str):
            wanted = order == "segments first"
            which = next((n for n, link in enumerate(links.sent) if is_of_a_segment(link) == wanted), 0)
        links.deliver(links.sent.pop(which))
        assert_exact()
    assert (the_run().status, the_run().rows_folded) == ("succeeded", 60)
    assert_all_counted()


@pytest.mark.django_db
def test_what_is_left_of_the_widest_part_is_halved_when_a_worker_is_free() -> None:
    links = begun(180)
    second, third = segments()
    for _ in range(7):
        link = next(link for link in links.sent if link[3:] == (second.pk,)) if second in of_open() else None
        if link:
            links.sent.remove(link)
            links.deliver(link)
    assert BuildSegment.objects.get(pk=second.pk).is_done
    deliver(links, of_a_segment=False)
    # the run's own worker had 40 to go then, the third, which nobody had begun, 60
    cut, new = segments()[1:]
    assert (cut.pk, cut.upto, new.after, new.upto) == (third.pk, third.after + 30, third.after + 30, third.upto)
    links.drain()
    assert the_run().rows_folded == 180
    assert_all_counted()


def of_open() -> list[BuildSegment]:
    return [segment for segment in segments() if segment.is_open]


# -- a first backfill


@pytest.mark.django_db
def test_a_first_backfill_is_built_beside_what_answers_and_then_answers() -> None:
    links = begun(kind="backfill")
    empty, run = active_generation(), the_run()
    assert run.is_build and run.generation != empty
    assert backfill.status("default")["kind"] == "backfill"
    assert backfill.state_of(run.generation, run) == backfill.State.BUILT
    links.drain()
    assert active_generation() == the_run().generation
    assert Generation.objects.get(pk=empty.pk).doomed_at is not None
    assert_all_counted()


@pytest.mark.django_db
def test_a_backfill_of_what_came_since_is_not_shared() -> None:
    make_page_views(40, with_attributes=True)
    backfill.run_here("default", via="test")
    links = begun(90, kind="backfill")
    assert not the_run().is_build and not BuildSegment.objects.exists()
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_first_backfill_that_failed_goes_on_where_it_was() -> None:
    links = begun(kind="backfill")
    deliver(links, of_a_segment=True)
    BackfillRun.objects.update(status="failed", active_key=None)
    assert backfill.possible("default", the_run()) == ["resume"]
    with links.commits():
        assert backfill.resume("default", via="test", enqueue=links.enqueue).outcome == "done"
    links.drain()
    assert the_run().rows_folded == 90
    assert_all_counted()


# -- late, twice, or never


@pytest.mark.django_db
def test_a_link_of_a_segment_that_comes_twice_does_nothing_the_second_time() -> None:
    links = begun()
    link = of_segments(links)[0]
    links.deliver(link)
    done = segments()[0].cursor
    sent = list(links.sent)
    links.deliver(link)
    assert (segments()[0].cursor, links.sent) == (done, sent)
    assert_exact()
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_nobody_waits_for_a_worker_that_is_lost() -> None:
    links = begun()
    lost = of_segments(links)
    links.deliver(lost[0])
    links.sent = [link for link in links.sent if not is_of_a_segment(link)]
    while links.sent:
        links.deliver_next()
        links.sent = [link for link in links.sent if not is_of_a_segment(link)]
    assert (the_run().status, the_run().rows_folded) == ("succeeded", 90)
    assert_all_counted()
    for link in lost:
        links.deliver(link, seconds=60)
    assert_all_counted()


@pytest.mark.django_db
def test_a_segment_without_a_sign_of_life_gets_a_link_again() -> None:
    links = begun(180)
    links.sent = [link for link in links.sent if not is_of_a_segment(link)]
    BuildSegment.objects.update(lease_until=START)
    deliver(links, of_a_segment=False)
    assert of_segments(links) == [("default", the_run().pk, 1, segment.pk) for segment in segments()]
    links.drain()
    assert_all_counted()


def overtaken(links: Links, monkeypatch: pytest.MonkeyPatch) -> int:
    """A segment's worker has read its chunk; meanwhile the run's own comes there, and takes the segment over."""
    read = Reader.next_chunk

    def read_and_be_overtaken(*args: Any, **expected: Any) -> folding.Chunk:
        chunk = read(*args, **expected)
        monkeypatch.setattr(Reader, "next_chunk", read)
        for _ in range(20):
            if active_of_run() > chunk.after:
                break
            deliver(links, of_a_segment=False)
        return chunk

    monkeypatch.setattr(Reader, "next_chunk", read_and_be_overtaken)
    deliver(links, of_a_segment=True)
    return active_of_run()


def active_of_run() -> int:
    return the_run().generation.cursor


@pytest.mark.django_db
@pytest.mark.parametrize("least", [2, 100], ids=["half of it", "all of it"])
def test_the_chunk_of_a_worker_that_was_overtaken_changes_nothing(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    links = begun(150)
    monkeypatch.setattr(PartsOfFold, "LEAST", least)
    overtaken(links, monkeypatch)
    assert_exact()
    links.drain()
    assert (the_run().status, the_run().rows_folded) == ("succeeded", 150)
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_control_without_the_cursor_of_the_segment_its_page_views_are_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links = begun(150)
    monkeypatch.setattr(folding.OfSegment, "moves", lambda self, chunk, is_fenced: True)
    overtaken(links, monkeypatch)
    assert segments()[0].error or counted_twice()


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_was_taken_over_folds_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another link of the same segment: each folds it, one after the other, by turns of the epoch."""
    links = begun()
    read = Reader.next_chunk
    first = of_segments(links)[0]

    def read_and_be_taken_over(*args: Any, **expected: Any) -> folding.Chunk:
        chunk = read(*args, **expected)
        monkeypatch.setattr(Reader, "next_chunk", read)
        links.deliver(("default", first[1], 1, first[3]))  # type: ignore[misc]
        return chunk

    monkeypatch.setattr(Reader, "next_chunk", read_and_be_taken_over)
    sent = len(links.sent)
    links.sent.remove(first)
    links.deliver(first)
    assert len(links.sent) == sent, "one went, and the other worker sent one"
    assert segments()[0].rows_folded == 10
    assert_exact()
    links.drain()
    assert_all_counted()


def counted_twice() -> bool:
    try:
        assert_exact()
    except AssertionError:
        return True
    return False


# -- wishes


@pytest.mark.django_db
def test_a_pause_is_obeyed_by_each_and_all_go_on_afterwards() -> None:
    links = begun(180)
    deliver(links, of_a_segment=True)
    backfill.pause("default", via="test")
    links.drain()
    assert the_run().status == "paused"
    done = [segment.cursor for segment in segments()]
    assert links.sent == []
    expire_lease()
    links.revive()
    assert links.sent == [] and [segment.cursor for segment in segments()] == done
    with links.commits():
        backfill.resume("default", via="test", enqueue=links.enqueue)
    links.deliver_next()
    assert len(of_segments(links)) == 2, "each gets a link again"
    links.drain()
    assert the_run().rows_folded == 180
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_of_a_run_that_was_cancelled_no_segment_writes_a_row_any_more(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = begun(kind=kind)
    backfill.cancel("default", via="test")
    deliver(links, of_a_segment=False)
    assert the_run().status == "cancelled"
    monkeypatch.setattr(helping.SegmentClaim, "is_wished", lambda self: False)  # one that has not looked yet
    read = Reader.next_chunk

    def read_and_be_swept(*args: Any, **expected: Any) -> folding.Chunk:
        chunk = read(*args, **expected)
        folding.sweep("default")
        return chunk

    monkeypatch.setattr(Reader, "next_chunk", read_and_be_swept)
    links.drain(seconds=60)
    assert not Aggregate.objects.filter(generation=the_run().generation_id).exists()
    assert not BuildSegment.objects.exists()
    monkeypatch.undo()
    backfill.run_here("default", via="test")
    assert_all_counted()


@pytest.mark.django_db
def test_a_segment_rests_and_is_throttled_as_its_run(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    links = begun(180)
    settings.PAGESTATS_THROTTLE = ["tests.test_segments.throttle"]
    deliver(links, of_a_segment=True)
    segment = segments()[0]
    assert segment.cursor == segment.after
    assert segment.wait_reason == "throttled: too much to do"
    ((link, at),) = links.scheduled
    assert link == ("default", the_run().pk, segment.epoch, segment.pk) and at == segment.lease_until
    settings.PAGESTATS_THROTTLE = []
    links.deliver(link)
    assert segments()[0].wait_reason == "" and segments()[0].rows_folded == 10
    backfill.change_nice("default", 5, via="test")
    rests: list[float] = []
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: rests.append(seconds))
    settings.PAGESTATS_LINK_SECONDS = 100  # so long a rest is one in this worker
    links.deliver(of_segments(links)[0], seconds=60)
    assert rests, "after a chunk"
    backfill.change_nice("default", 0, via="test")
    links.drain()
    assert_all_counted()


def throttle(using: str) -> str:
    return "too much to do"


# -- failures


@pytest.mark.django_db
def test_what_may_pass_is_tried_again_in_the_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    links = begun()
    error = OperationalError("somebody else was faster")
    monkeypatch.setattr(Database, "merge", raising(error, times=2, original=Database.merge))
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: None)
    links.deliver(of_segments(links)[0], seconds=60)
    assert segments()[0].is_done and segments()[0].error == ""
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_segment_that_fails_is_left_to_the_runs_own_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    links = begun()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "merge", raising(ZeroDivisionError("a fault")))
        deliver(links, of_a_segment=True)
    assert segments()[0].error == "ZeroDivisionError: a fault"
    links.drain()
    assert (the_run().status, the_run().rows_folded) == ("succeeded", 90)
    assert_all_counted()


@pytest.mark.django_db
def test_what_fails_everybody_fails_the_run_and_names_the_page_view(monkeypatch: pytest.MonkeyPatch) -> None:
    links = begun()
    poisoned = segments()[1].after + 5
    read = Database.read_page_views

    def read_page_views(self: Any, after: int, upto: int | None, limit: int, **options: bool) -> Any:
        if after < poisoned <= (upto or poisoned):
            raise ZeroDivisionError(f"page view {poisoned}")
        return read(self, after, upto, limit, **options)

    monkeypatch.setattr(Database, "read_page_views", read_page_views)
    links.drain()
    run = the_run()
    assert run.status == "failed" and f"page view {poisoned}" in run.error
    assert_exact()
    monkeypatch.undo()
    with links.commits():
        backfill.resume("default", via="test", enqueue=links.enqueue)
    links.drain()
    assert_all_counted()


# -- rows of all time


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "STEP_ROWS", 20)
    monkeypatch.setattr(days, "MOST_BUCKETS", 5)


def begun_pass(links: Links) -> Links:
    """A run whose pass is cut."""
    for _ in range(200):
        if segments("all_time"):
            return links
        links.deliver_next()
    raise AssertionError("the pass was not cut")


@pytest.mark.django_db
@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("of_a_segment", [True, False], ids=["segments first", "run first"])
def test_a_pass_is_shared_by_subject(of_a_segment: bool) -> None:
    links = begun_pass(begun(45))
    assert len(of_segments(links)) == 2
    second, third = segments("all_time")
    assert second.upto == third.after
    while links.sent:
        which = next((n for n, link in enumerate(links.sent) if is_of_a_segment(link) == of_a_segment), 0)
        links.deliver(links.sent.pop(which))
        assert_exact()
    assert the_run().status == "succeeded"
    assert_all_counted()
    assert list(Verification("default")) == []


@pytest.mark.django_db
@pytest.mark.usefixtures("few_rows")
def test_a_step_of_a_pass_whose_segment_was_taken_over_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    links = begun_pass(begun(90))
    slice_after = days.Days.slice_after

    def slice_and_be_overtaken(self: days.Days, subject: int | None, *, upto: int | None = None) -> days.Slice:
        made = slice_after(self, subject, upto=upto)
        if subject == segment.cursor:
            monkeypatch.setattr(days.Days, "slice_after", slice_after)
            BuildSegment.objects.filter(pk=segment.pk).delete()
        return made

    (segment, _) = segments("all_time")
    before = Aggregate.objects.filter(granularity=ALL).count()
    monkeypatch.setattr(days.Days, "slice_after", slice_and_be_overtaken)
    deliver(links, of_a_segment=True)
    assert Aggregate.objects.filter(granularity=ALL).count() == before
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.usefixtures("few_rows")
def test_segments_of_a_pass_that_was_given_up_are_dropped() -> None:
    links = begun_pass(begun(90))
    late = of_segments(links)
    links.deliver(late[0])
    Generation.objects.filter(pk=the_run().generation_id).update(pass_cursor=None, pass_subject=None)
    deliver(links, of_a_segment=False)
    for link in late:
        links.deliver(link, seconds=60)
    links.drain()
    assert_all_counted()
    assert not BuildSegment.objects.exists()


# -- days that two fold at the same time


def two_chunks_at_once(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Of the run and of a segment, of the same days; the errors that came out.

    Each has looked the rows up before the other one writes any, if it can.
    """
    insert_page_views([(f"/{number % 3}", f"key {number}", START) for number in range(40)])
    links = Links()
    with override_settings(PAGESTATS_WORKERS=2):
        links.start("rebuild", chunk_size=8)
        links.deliver_next()
    run, (segment,) = the_run(), segments()
    both = threading.Barrier(2)
    looked = threading.local()
    lookup = Database._lookup  # type: ignore[attr-defined]

    def lookup_and_meet(*args: Any) -> Any:
        found = lookup(*args)
        looked.times = getattr(looked, "times", 0) + 1
        if looked.times == 2:  # after that for the days there are: the rows of hours, with their sets
            with suppress(threading.BrokenBarrierError):
                both.wait(1)
        return found

    monkeypatch.setattr(Database, "_lookup", lookup_and_meet)

    def fold(place: folding.Place | None, cursor: int, upto: int, barrier: threading.Barrier) -> None:
        with folding.Folder("default", Generation.objects.get(pk=run.generation_id), 8, place=place) as folder:
            folder.is_shared = True
            barrier.wait(30)
            folder.fold(upto, fence=lambda chunk: None)

    return run_at_once(
        partial(fold, None, run.generation.cursor, segment.after),
        partial(fold, folding.OfSegment("default", segment), segment.cursor, segment.upto),
    )


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_day_that_two_fold_is_ones_until_he_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert two_chunks_at_once(monkeypatch) == []
    monkeypatch.undo()
    assert_exact()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_of_a_day_two_lose_page_views_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LookupDatabase, "lock_days", lambda self, days: None)
    errors = two_chunks_at_once(monkeypatch)
    monkeypatch.undo()
    assert any(isinstance(error, DatabaseError) for error in errors) or counted_twice()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_an_hour_that_belongs_to_two_days_is_locked_with_either() -> None:
    database = database_for("default")
    locked = threading.Event()

    def lock(day: int, barrier: threading.Barrier) -> None:
        with database_for("default").chunk_transaction():
            barrier.wait(30)
            database_for("default").lock_days([day])
            assert not locked.is_set(), "the other one holds it"
            locked.set()
            assert sorted(SharedDay.objects.values_list("pk", flat=True))[-1] >= day
            locked.clear()

    assert run_at_once(partial(lock, 7), partial(lock, 8)) == []
    assert database.SHARES_BUILDS


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_what_a_frozen_worker_holds_is_free_after_a_lease(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its days, which others wait for, and its segment, without which the generation cannot be swept."""
    settings.PAGESTATS_LEASE_SECONDS = 1
    monkeypatch.setattr(helping, "LOCK_SECONDS", 1)
    links = begun(90)
    segment = segments()[0]
    first = (START.date() - date(1970, 1, 1)).days
    frozen, ends = threading.Barrier(2), threading.Event()

    def hold(barrier: threading.Barrier) -> None:
        with suppress(DatabaseError), database_for("default").chunk_transaction():
            BuildSegment.objects.filter(pk=segment.pk).update(wait_reason="")
            database_for("default").lock_days(range(first - 2, first + 60))
            frozen.wait(30)
            ends.wait(120)

    def go_on(barrier: threading.Barrier) -> None:
        frozen.wait(30)
        try:
            links.drain(seconds=60)
        finally:
            ends.set()

    assert run_at_once(hold, go_on) == []
    assert (the_run().status, the_run().rows_folded) == ("succeeded", 90), the_run().error
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_sweep_leaves_a_generation_alone_of_which_somebody_holds_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "LOCK_SECONDS", 1)
    begun(90)
    run = the_run()
    backfill.cancel("default", via="test")
    BackfillRun.objects.update(status="cancelled", active_key=None)
    with Other() as other:
        other.execute(f"UPDATE {BuildSegment._meta.db_table} SET rows_folded = 0")
        folding.sweep("default")
        assert Generation.objects.get(pk=run.generation_id).doomed_at is None
    folding.sweep("default")
    assert Generation.objects.get(pk=run.generation_id).swept_at is not None
    assert not BuildSegment.objects.exists()


# -- processes


@pytest.mark.in_turn
@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "alive"])
def test_a_process_that_was_started_ends_with_who_has_started_it(stops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_pagestats.spawned.END_SECONDS", 1.0)
    with spawned("tests.test_segments.tell_and_wait", "default", [()]) as (process,):
        module = process.receive()
        assert module == ("__main__", None), "not that of whoever has started it"
        pid = process.process.pid
        assert pid is not None
        if stops:
            os.kill(pid, signal.SIGSTOP)
    assert process.process.exitcode in (-signal.SIGTERM, -signal.SIGKILL)


def tell_and_wait(using: str, *, pipe: Connection) -> None:
    main = sys.modules["__main__"]
    pipe.send((main.__name__, getattr(main, "__file__", None) and "a file"))
    pipe.poll(60)


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("backfill", marks=pytest.mark.in_turn(0, of=SERVERS)),
        pytest.param("rebuild", marks=pytest.mark.in_turn(1, of=SERVERS)),
    ],
)
def test_processes_build_one_generation(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartsOfFold, "LEAST", 500)
    monkeypatch.setattr(PartsOfPass, "LEAST", 5)
    monkeypatch.setattr(parts, "PATIENCE_SECONDS", 3.0)
    make_page_views(6_000, with_attributes=True)
    seen: set[int] = set()
    fold = folding.Folder.fold

    def fold_when_others_do(self: folding.Folder, *args: Any, **options: Any) -> folding.Chunk:
        chunk = fold(self, *args, **options)
        seen.update(BuildSegment.objects.exclude(rows_folded=0).values_list("pk", flat=True))
        return chunk

    monkeypatch.setattr(working.folding.Folder, "fold", fold_when_others_do)

    def watch(run: BackfillRun) -> bool:
        if not seen:  # until another process has folded something
            folding.rest(0.1, "default")
            seen.update(BuildSegment.objects.exclude(rows_folded=0).values_list("pk", flat=True))
        return False

    started = backfill.run_here("default", kind=kind, via="test", chunk_size=100, workers=3, watch=watch)
    assert started.run is not None and started.run.status == "succeeded", started.run and started.run.error
    assert seen, "others have folded"
    assert started.run.rows_folded == 6_000
    assert_all_counted()


@pytest.mark.django_db
def test_inside_a_transaction_this_process_does_it_alone() -> None:
    make_page_views(90, with_attributes=True)
    started = backfill.run_here("default", kind="rebuild", via="test", chunk_size=10, workers=3)
    assert started.run is not None and started.run.status == "succeeded"
    assert_all_counted()


# -- looking


@pytest.mark.django_db
def test_progress_counts_what_all_have_done() -> None:
    links = begun()
    for _ in range(2):
        deliver(links, of_a_segment=True)
    run = the_run()
    assert (run.rows_folded, backfill.progress(run).page_views) == (10, 30)
    assert backfill.progress(run).percent == pytest.approx(100 * 30 / 90)
    assert backfill.status("default")["rows_folded"] == 30
    assert len(backfill.segments_of(run)) == 2


@pytest.mark.django_db
def test_the_words_of_a_failed_run_count_what_all_have_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    links = begun()
    for _ in range(2):
        deliver(links, of_a_segment=True)
    monkeypatch.setattr(Database, "merge", raising(ZeroDivisionError("a fault")))
    with caplog.at_level("INFO"):
        deliver(links, of_a_segment=False)
    assert "failed after 30 page views" in caplog.text
    with pytest.raises(CommandError, match=r"Run \d+ failed after 30 page views: An unexpected error .*a fault"):
        Telling("default", io.StringIO(), is_json=False, is_silent=True).end(the_run())


def test_rules_of_both() -> None:
    calendar = Reader("default", Generation(time_zone="Europe/Berlin")).calendar
    first = [100, 200, zones._digest(calendar, 100, 200)]
    later = [300, 400, zones._digest(calendar, 300, 400)]
    assert folding.rules_of_both(first, [], calendar) == first == folding.rules_of_both([], first, calendar)
    assert folding.rules_of_both(None, first, calendar) is None
    both = [100, 400, zones._digest(calendar, 100, 400)]
    assert folding.rules_of_both(first, later, calendar) == folding.rules_of_both(later, first, calendar) == both
    assert folding.rules_of_both(first, [300, 400, "of another machine"], calendar) == [100, 400, zones.MIXED]


@pytest.mark.django_db
def test_the_command_says_where_workers_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    make_page_views(30, with_attributes=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "SHARES_BUILDS", False)
        call_command("backfill_aggregates", "--sync", "--workers", "2")
    assert "SQLite has one writer: one worker does it." in capsys.readouterr().out
    assert_all_counted()
