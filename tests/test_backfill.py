"""Runs: starting, working, handing over, failing, reviving, rebuilding, looking."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.test import TestCase, override_settings

from django_pagestats import backfill, folding, ids, tasks
from django_pagestats.backfill import chain, keeping, rebuilding, switching
from django_pagestats.backfill.generations import built_by
from django_pagestats.clock import DatabaseClock, database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import AutocommitOffError, DifferentRunError, TableWentBackError, TakenOverError
from django_pagestats.folding.reading import Reader
from django_pagestats.folding.stretches import Cut, Stretch
from django_pagestats.merging import RowsLockedError, database_for
from django_pagestats.models import REVISION_STEP, Aggregate, BackfillRun, Generation, PageView
from tests.accounts import ask_administrator
from tests.chains import (
    Links,
    Other,
    active_generation,
    assert_all_counted,
    assert_exact,
    assert_generation_exact,
    expire_lease,
    lose,
    only_on,
    the_run,
    unused_ids,
)
from tests.factories import ALL, DAY, PAGE, SITE, START, insert_page_views, make_page_views
from tests.patching import replace

pytestmark = pytest.mark.usefixtures("short_waits")

Database = type(database_for("default"))
DAYS = timedelta(days=3)


# -- starting


@pytest.mark.django_db
def test_an_empty_table_has_nothing_to_backfill() -> None:
    links = Links()
    for kind in ("backfill", "rebuild"):
        assert links.start(kind) == backfill.Started("empty", None, "No page views to backfill")
    assert links.sent == []
    assert not BackfillRun.objects.exists() and not Generation.objects.exists()


@pytest.mark.django_db
def test_nothing_new() -> None:
    make_page_views(3)
    links = Links()
    links.start()
    links.drain()
    started = links.start()
    assert (started.outcome, started.run) == ("nothing_new", None)
    assert "Nothing new to backfill" in started.message
    assert links.sent == []


@pytest.mark.django_db
def test_a_start_names_its_run_and_enqueues_one_link() -> None:
    rows = make_page_views(3)
    links = Links()
    started = links.start()
    run = the_run()
    assert started.outcome == "started" and started.run == run
    assert started.message.startswith("Backfill started") and str(run.pk) in started.message
    assert links.sent == [("default", run.pk, 0)]
    assert (run.status, run.kind, run.target, run.via) == ("queued", "backfill", rows[-1].id, "test")
    assert run.lease_until > database_now("default")


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_a_second_start_names_the_active_run_and_starts_nothing(kind: str) -> None:
    make_page_views(30)
    links = Links()
    first = links.start(chunk_size=10)
    second = links.start(kind)
    assert second.outcome == "active" and second.run == first.run
    assert f"Run {the_run().pk} (backfill, started from test) is already queued" in second.message
    links.deliver_next()
    assert "is already running" in links.start(kind).message
    assert BackfillRun.objects.count() == 1
    assert len(links.sent) == 1


@pytest.mark.django_db
def test_a_second_start_revives_a_run_without_a_worker() -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.sent.clear()
    expire_lease()
    assert "is revived" in links.start().message
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_the_database_refuses_a_second_active_run() -> None:
    make_page_views(3)
    Links().start()
    run = the_run()
    run.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        run.save(force_insert=True)


@pytest.mark.django_db
def test_other_page_views_in_the_place_of_those_that_are_counted_are_an_error_too() -> None:
    """After a TRUNCATE whose ids began anew, once there are more than there were."""
    rows = make_page_views(20)
    backfill.run_here("default", via="test", chunk_size=8)
    PageView.objects.all().delete()
    later = [PageView(pk=row.id, path="/", session_key="k", viewed_at=row.viewed_at + DAYS) for row in rows]
    PageView.objects.bulk_create([*later, PageView(pk=rows[-1].id + 1, path="/", session_key="k", viewed_at=START)])
    with pytest.raises(TableWentBackError, match=rf"Page view {rows[-1].id} is of .* --rebuild"):
        Links().start()
    with pytest.raises(TableWentBackError):
        folding.keep_up("default", seconds=5)
    assert "others are in the place" in (backfill.status("default")["problem"] or "")
    backfill.run_here("default", kind="rebuild", via="test")
    assert backfill.status("default")["problem"] is None
    assert_all_counted()


@pytest.mark.django_db
def test_a_last_page_view_that_is_deleted_or_edited_is_no_other_table() -> None:
    rows = make_page_views(20)
    backfill.run_here("default", via="test")
    PageView.objects.filter(pk=rows[-1].id).update(session_key="forgotten")
    make_page_views(5, seed=1)
    assert folding.keep_up("default", seconds=5).page_views == 5
    PageView.objects.filter(pk=active_generation().cursor).delete()
    make_page_views(5, seed=2)
    assert folding.keep_up("default", seconds=5).page_views == 5


@pytest.mark.django_db
@pytest.mark.parametrize("left", [0, 10])
def test_a_table_that_went_back_is_an_error_that_names_the_cure(left: int) -> None:
    rows = make_page_views(20)
    backfill.run_here("default", via="test")
    PageView.objects.filter(pk__gt=rows[left].id if left else 0).delete()
    with pytest.raises(TableWentBackError, match=r"--rebuild"):
        Links().start()
    links = Links()
    assert links.start("rebuild").outcome == "started"
    links.drain()
    assert the_run().status == "succeeded"
    assert_exact()
    assert (
        sum(
            Aggregate.objects.filter(generation=active_generation().pk, dimension=SITE, granularity=ALL).values_list(
                "page_views", flat=True
            )
        )
        == PageView.objects.count()
    )
    make_page_views(5, seed=1)
    backfill.run_here("default", via="test")
    assert_all_counted()


@pytest.mark.django_db
def test_page_views_that_were_deleted_are_told_from_those_that_never_were() -> None:
    """What costs nothing to know tells of the oldest ones, and of all with others in their place; never of gaps."""
    assert folding.deleted_page_views("default") == ""
    rows = make_page_views(30)
    assert folding.deleted_page_views("default") == ""
    PageView.objects.filter(pk__in=[rows[3].id, rows[8].id]).delete()  # before they were counted
    backfill.run_here("default", via="test")
    assert folding.deleted_page_views("default") == ""
    make_page_views(4, seed=1)
    assert folding.deleted_page_views("default") == ""
    PageView.objects.filter(pk__lte=rows[4].id).delete()
    assert "count 28 page views, and at most 25 of them are left" in folding.deleted_page_views("default")
    PageView.objects.filter(pk__lte=rows[-1].id).delete()
    assert "count 28 page views, and at most 0 of them are left" in folding.deleted_page_views("default")
    Generation.objects.update(pruned_before="2025-01-01")
    assert folding.deleted_page_views("default") == "", "these are meant to be gone"


@pytest.mark.django_db
def test_an_actor_too_long_for_its_column_is_cut() -> None:
    make_page_views(3)
    backfill.start("default", via="test", actor="x" * 300, enqueue=backfill.enqueue_nothing)
    assert the_run().actor == "x" * 255


# -- links


@pytest.mark.django_db
def test_a_link_folds_for_its_time_and_hands_over() -> None:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=20)
    assert links.drain(seconds=0) == 4
    assert_all_counted()


@pytest.mark.django_db
def test_a_link_with_time_left_goes_on() -> None:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=20)
    assert links.drain(seconds=30) == 1
    assert_all_counted()


@pytest.mark.django_db
def test_a_link_hands_over_in_the_chunk_that_takes_it_past_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(60)
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    fold = folding.Folder.fold

    def take_a_second(*args: Any, **kwargs: Any) -> Any:
        clock[0] += 1.0
        return fold(*args, **kwargs)

    monkeypatch.setattr(folding.Folder, "fold", take_a_second)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next(seconds=2.5)
    assert clock[0] == 1_003.0, "the chunk that goes past the time is the last one"
    assert the_run().rows_folded == 30 and len(links.sent) == 1


@pytest.mark.django_db
def test_claims_and_chunks_set_the_lease(settings: Any) -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    settings.PAGESTATS_LEASE_SECONDS = 500
    links.deliver_next()
    assert the_run().lease_until > database_now("default") + timedelta(seconds=400)


@pytest.mark.django_db(transaction=True)
def test_the_next_link_is_enqueued_inside_the_chunks_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a queue in the same database has it if, and only if, the chunk is committed."""
    make_page_views(30)
    seen: list[tuple[bool, int]] = []

    def enqueue(using: str, run_id: int, epoch: int, *, at: Any = None) -> None:
        seen.append((connection.in_atomic_block, epoch))

    backfill.start("default", via="test", chunk_size=10, enqueue=enqueue)
    backfill.work("default", the_run().pk, 0, enqueue=enqueue, seconds=0)
    assert seen == [(True, 0), (True, 1)]


@pytest.mark.django_db
def test_a_chunk_that_is_rolled_back_enqueues_nothing(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PAGESTATS_MAX_FAILURES = 1
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    monkeypatch.setattr(Database, "merge", raising(DatabaseError("malformed")))
    links.deliver_next()
    assert links.sent == []
    assert the_run().status == "failed"


@pytest.mark.django_db
def test_a_cluster_on_sqlite_rests_after_each_chunk(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    rests: list[float] = []
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: rests.append(seconds))
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.drain(seconds=30)
    assert len(rests) == (2 if connection.vendor == "sqlite" else 0)
    assert all(rest > 0 for rest in rests)


def raising(error: Exception, *, times: int = 10**6, original: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function that raises so many times, and is the original after that."""
    left = [times]

    def call(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        assert original is not None
        return original(*args, **kwargs)

    return call


@pytest.mark.django_db
def test_the_size_that_suited_is_handed_on_to_the_next_link() -> None:
    make_page_views(2_200)
    links = Links()
    links.start()
    sizes = []
    while links.sent:
        links.deliver_next()
        sizes.append(the_run().rows_folded)
    assert sizes[0] == 500 and sizes[1] > 600
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_a_failure_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    read = Reader.read

    def lose_the_connection(*args: Any, **expected: Any) -> Cut:
        monkeypatch.setattr(Reader, "read", read)
        mine = {"postgresql": "pg_backend_pid()", "mysql": "connection_id()"}[connection.vendor]
        kill = {"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}[connection.vendor]
        with connection.cursor() as cursor, Other() as other:
            cursor.execute(f"SELECT {mine}")
            other.execute(kill, [cursor.fetchone()[0]])
        return read(*args, **expected)

    monkeypatch.setattr(Reader, "read", lose_the_connection)
    links.deliver_next()
    assert (the_run().status, the_run().chunk_size) == ("running", 10), "tried again with as many"
    assert the_run().error.startswith(
        f"The page views after {active_generation().cursor} could not be folded. OperationalError"
    )
    links.drain()
    assert the_run().status == "succeeded"
    assert the_run().error == "", "it has not failed in the end"
    assert_all_counted()


# -- reviving


@pytest.mark.django_db
def test_nothing_is_revived_while_the_lease_lasts() -> None:
    links = Links()
    assert links.revive() is None
    make_page_views(30)
    links.start(chunk_size=10)
    links.sent.clear()
    assert links.revive() is None
    assert links.sent == []


@pytest.mark.django_db
def test_a_run_whose_lease_has_run_out_gets_a_new_epoch_and_a_link() -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    links.sent.clear()
    expire_lease()
    before = the_run()
    run = links.revive()
    assert run == before and run is not None
    assert (run.epoch, run.revival_count) == (before.epoch + 1, 1)
    assert run.lease_until > database_now("default")
    assert links.sent == [("default", run.pk, run.epoch)]
    assert links.revive() is None, "the new link has its time"
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_run_that_has_ended_is_not_revived() -> None:
    make_page_views(3)
    links = Links()
    links.start()
    links.drain()
    BackfillRun.objects.update(lease_until=database_now("default") - timedelta(days=1))
    assert links.revive() is None


@pytest.mark.django_db
def test_the_clock_of_the_database_is_carried_on() -> None:
    clock = DatabaseClock("default")
    first = clock.now()
    assert abs(first - database_now("default")) < timedelta(seconds=5)
    assert clock.now() >= first


# -- in this process


@pytest.mark.django_db
def test_here_a_run_of_the_same_kind_is_taken_over() -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    started = backfill.run_here("default", via="test")
    assert started.outcome == "active" and started.run == the_run()
    assert_all_counted()
    links.drain()
    assert the_run().rows_folded == 30


@pytest.mark.django_db
def test_here_a_run_of_another_kind_is_left_alone() -> None:
    make_page_views(30)
    Links().start(chunk_size=10)
    with pytest.raises(DifferentRunError, match=f"Run {the_run().pk} \\(backfill\\) is active"):
        backfill.run_here("default", kind="rebuild", via="test")
    assert BackfillRun.objects.count() == 1


@pytest.mark.django_db
def test_here_a_chunk_size_of_ones_own_goes_with_the_take_over() -> None:
    make_page_views(30)
    Links().start(chunk_size=10)
    backfill.run_here("default", via="test", chunk_size=7)
    assert (the_run().fixed_chunk_size, the_run().chunk_size) == (7, 7)
    assert_all_counted()


@pytest.mark.django_db
def test_a_second_start_says_what_it_does_not_do() -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    assert "is not used" not in links.start(chunk_size=10).message
    assert links.start(chunk_size=20).message.endswith("is already queued: the chunk size of 20 is not used")
    assert "no rebuild was started" in links.start("rebuild").message


@pytest.mark.django_db
def test_here_being_taken_over_is_an_error() -> None:
    make_page_views(30)

    def be_taken_over(run: BackfillRun) -> bool:
        BackfillRun.objects.update(epoch=run.epoch + 1)
        return False

    with pytest.raises(TakenOverError, match=r"Run \d+ was taken over by another worker"):
        backfill.run_here("default", via="test", chunk_size=10, watch=be_taken_over)
    assert (the_run().is_active, the_run().rows_folded) == (True, 10)


@pytest.mark.django_db(transaction=True)
def test_without_autocommit_nothing_is_begun() -> None:
    """Else the run would succeed, and all of it be undone when the connection is closed."""
    make_page_views(30)
    Links().start(chunk_size=10)
    connection.set_autocommit(False)
    try:
        for work in (
            lambda: backfill.run_here("default", via="test"),
            lambda: backfill.start("default", via="test", enqueue=backfill.enqueue_nothing),
            lambda: folding.keep_up("default", seconds=1),
        ):
            with pytest.raises(AutocommitOffError, match="Autocommit is off on the database 'default'"):
                work()
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    assert the_run().status == "queued"


@pytest.mark.django_db
def test_here_nothing_to_do_is_said() -> None:
    assert backfill.run_here("default", via="test").outcome == "empty"
    make_page_views(3)
    assert backfill.run_here("default", via="test").outcome == "started"
    assert backfill.run_here("default", via="test").outcome == "nothing_new"


@pytest.mark.django_db
def test_here_it_stops_after_a_chunk_and_goes_on_when_run_again() -> None:
    make_page_views(30)
    started = backfill.run_here("default", via="test", chunk_size=10, watch=lambda run: run.rows_folded == 20)
    run = started.run
    assert run is not None and run.is_active and run.rows_folded == 20
    assert run.lease_until <= database_now("default"), "whoever comes next need not wait for the lease"
    assert_exact()
    backfill.run_here("default", via="test")
    assert the_run() == run and the_run().rows_folded == 30
    assert_all_counted()


class SyncInAPlainTestCase(TestCase):
    """Whoever tests their site with our statistics does so inside one transaction."""

    def test_backfill_keep_up_rebuild(self) -> None:
        make_page_views(700)
        backfill.run_here("default", via="test")
        make_page_views(50, seed=1)
        folding.keep_up("default", seconds=30)
        backfill.run_here("default", kind="rebuild", via="test")
        folding.sweep("default")
        assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_isolation_level_of_the_site_does_not_matter(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping up changes the generation between the read and the merge of a chunk, and other rows while it merges."""
    before = {**connection.settings_dict["OPTIONS"]}
    set_isolation_level(level)
    try:
        make_page_views(60)
        folding.ensure_active_generation("default")
        read = Reader.read
        levels = []

        def keep_up_then_read(reader: Reader, after: int, target: int, size: int, **expected: Any) -> Cut:
            monkeypatch.setattr(Reader, "read", read)
            chunk = read(reader, after, target, size, **expected)
            other = folding.Folder("default", active_generation(), chunk_size=7, fixed_size=7)
            other.fold(target)
            return chunk

        merge = Database.merge

        def see_the_level(self: Any, *args: Any, **kwargs: Any) -> Any:
            levels.append(isolation_level())
            return merge(self, *args, **kwargs)

        monkeypatch.setattr(Reader, "read", keep_up_then_read)
        monkeypatch.setattr(Database, "merge", see_the_level)
        links = Links()
        links.start(chunk_size=10)
        links.drain()
        backfill.run_here("default", kind="rebuild", via="test")
        assert_all_counted()
        assert {str(seen).lower().replace("-", " ") for seen in levels if seen} <= {"read committed"}
        assert connection.vendor != "postgresql" or levels[0] == "read committed"
        with transaction.atomic():
            PageView.objects.count()
            assert connection.vendor != "postgresql" or isolation_level() == level
        assert the_run().failure_count == 0
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = before


def set_isolation_level(level: str) -> None:
    connection.close()
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        wanted = {"repeatable read": IsolationLevel.REPEATABLE_READ, "serializable": IsolationLevel.SERIALIZABLE}
        connection.settings_dict["OPTIONS"]["isolation_level"] = wanted[level]
    else:
        connection.settings_dict["OPTIONS"]["isolation_level"] = level


def isolation_level() -> str:
    """Of the transaction under way; MariaDB tells only after the first lock."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation" if connection.vendor == "postgresql" else "SELECT connection_id()")
        (told,) = cursor.fetchone()
    if connection.vendor == "mysql":
        found = "SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s"
        told = "".join(level for (level,) in ask_administrator(found, told))
    return str(told).lower()


# -- rebuilds


@pytest.mark.django_db
def test_a_rebuild_folds_beside_the_active_generation_and_switches() -> None:
    make_page_views(60)
    backfill.run_here("default", via="test")
    old = active_generation()
    links = Links()
    links.start("rebuild", chunk_size=20)
    links.deliver_next()
    assert active_generation() == old
    assert_exact()
    links.drain()
    new = active_generation()
    assert new == the_run().generation != old
    old.refresh_from_db()
    assert old.is_active is None
    assert_all_counted()
    assert_generation_exact(old)


@pytest.mark.django_db
def test_a_rebuild_begun_by_code_that_knew_no_builds_switches_too() -> None:
    """It ran on while a migration gave the runs `is_build`, which is false where nobody says so."""
    make_page_views(30)
    backfill.run_here("default", via="test")
    old = active_generation()
    links = Links()
    links.start("rebuild")
    BackfillRun.objects.update(is_build=False)
    assert built_by("default", the_run().generation) == the_run()
    links.drain()
    assert the_run().status == "succeeded" and active_generation() == the_run().generation != old
    assert_all_counted()


@pytest.mark.django_db
def test_both_generations_get_a_new_revision_with_the_switch() -> None:
    make_page_views(20)
    backfill.run_here("default", via="test")
    old = active_generation()
    backfill.run_here("default", kind="rebuild", via="test")
    before = old.revision
    old.refresh_from_db()
    assert REVISION_STEP <= old.revision - before < 2 * REVISION_STEP
    assert 3 <= active_generation().revision // REVISION_STEP < 6, "one chunk, its rows of all time, one switch"


@pytest.mark.django_db
def test_a_rebuild_takes_new_targets_until_it_has_reached_the_active_generation() -> None:
    make_page_views(40)
    backfill.run_here("default", via="test")
    links = Links()
    links.start("rebuild", chunk_size=20)
    first_target = the_run().target
    seed = 0
    while links.sent:
        links.deliver_next()
        if seed < 3:
            seed += 1
            make_page_views(20, seed=seed)
            folding.keep_up("default", seconds=5)
        assert_exact()
    assert the_run().target > first_target
    assert_all_counted()


@pytest.mark.django_db
def test_the_switch_checks_again_under_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping up moves the active generation on between the check and the switch."""
    make_page_views(40)
    backfill.run_here("default", via="test")
    switch = rebuilding.Rebuilding._switch
    overtaken = []

    def be_overtaken_and_switch(worker: Any) -> None:
        if not overtaken:
            make_page_views(10, seed=1)
            overtaken.append(folding.keep_up("default", seconds=5))
            before = active_generation()
            switch(worker)
            assert active_generation() == before, "not switched: it is behind"
            return
        switch(worker)

    monkeypatch.setattr(rebuilding.Rebuilding, "_switch", be_overtaken_and_switch)
    backfill.run_here("default", kind="rebuild", via="test")
    assert overtaken == [folding.KeptUp(10)]
    assert active_generation() == the_run().generation
    assert_all_counted()


TAMPERINGS = {
    "SITE/ALL": {"dimension": SITE, "granularity": ALL},
    "SITE/DAY": {"dimension": SITE, "granularity": DAY},
    "SITE/HOUR": {"dimension": SITE, "granularity": 1},
    "PAGE/ALL": {"dimension": PAGE, "granularity": ALL},
    "PAGE/DAY": {"dimension": PAGE, "granularity": DAY},
}


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_generation_that_does_not_add_up_is_not_switched_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(40)
    backfill.run_here("default", via="test")
    old = active_generation()
    links = Links()
    links.start("rebuild", chunk_size=20)
    new = the_run().generation
    while (victim := Aggregate.objects.filter(generation=new.pk, **TAMPERINGS[name]).first()) is None:
        links.deliver_next()
    Aggregate.objects.filter(pk=victim.pk).update(page_views=victim.page_views + 1)
    links.drain()
    run = the_run()
    assert (run.status, run.active_key) == ("failed", None)
    assert run.error.startswith("The new generation was not switched to: 40 page views")
    assert f"{name} 41" in run.error
    assert active_generation() == old
    assert_exact()
    assert folding.sweep("default") > 0
    assert not Aggregate.objects.filter(generation=new.pk).exists(), "what a failed rebuild leaves is swept"
    backfill.run_here("default", kind="rebuild", via="test")
    assert_all_counted()


@pytest.mark.django_db
def test_page_views_that_a_fold_passed_by_are_found_before_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_page_views(40)
    PageView.objects.filter(pk=rows[5].id).delete()
    backfill.run_here("default", via="test")
    links = Links()
    links.start("rebuild", chunk_size=20)
    links.deliver_next()
    PageView.objects.bulk_create([PageView(pk=rows[5].id, path="/", session_key="late", viewed_at=rows[5].viewed_at)])
    links.drain()
    assert the_run().status == "failed"
    assert "40 page views up to" in the_run().error and "SITE/ALL 39" in the_run().error


@pytest.mark.django_db
def test_the_check_goes_in_steps_that_fit_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "CHECK_PAGE_VIEWS", 7)
    monkeypatch.setattr(switching, "CHECK_DAYS", 5)
    make_page_views(40, days=40)
    backfill.run_here("default", via="test")
    links = Links()
    links.start("rebuild", chunk_size=40)
    assert links.drain(seconds=0) > 1 + 6 + 6
    assert the_run().status == "succeeded"
    assert_all_counted()


@pytest.mark.django_db
def test_the_check_does_not_step_through_gaps_between_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "CHECK_PAGE_VIEWS", 2)
    for number in (1, 2, 3, 10**15, 10**18):
        PageView.objects.create(id=number, path="/", session_key="k", viewed_at=START)
    links = Links()
    links.start("rebuild")
    assert links.drain() < 10
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_rebuild_waits_for_the_horizon_of_each_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a TRUNCATE ids come again: the old cursor is a target, and page views below it are not committed yet."""
    monkeypatch.setattr(folding.poll, "__defaults__", (0.1,))
    truncate_page_views()
    make_page_views(20)
    backfill.run_here("default", via="test")
    truncate_page_views()
    make_page_views(10)
    links = Links()
    links.start("rebuild", chunk_size=100)
    assert the_run().target == 10
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", f"{n}", START) for n in range(15)])
        links.drain(seconds=30)
        assert the_run().is_active, "the late one's id is below the old cursor"
        # MariaDB's shared lock asks for the row after the target too, and waits one target earlier
        assert the_run().target == {"postgresql": 20, "mysql": 10}[connection.vendor]
        other.commit()
    links.deliver(links.scheduled.pop()[0], seconds=30)
    links.drain(seconds=30)
    assert the_run().status == "succeeded"
    assert_exact()
    backfill.run_here("default", via="test")
    assert_all_counted()


def truncate_page_views() -> None:
    restart = " RESTART IDENTITY" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE TABLE {PageView._meta.db_table}{restart}")


@pytest.mark.django_db
def test_the_first_run_may_be_a_rebuild() -> None:
    make_page_views(20)
    links = Links()
    links.start("rebuild", chunk_size=7)
    links.drain()
    assert_all_counted()


# -- waiting for rows


@pytest.mark.django_db
def test_rows_that_are_locked_give_the_worker_back(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    read = Database.read_columns
    monkeypatch.setattr(Database, "read_columns", raising(RowsLockedError(), times=1, original=read))
    links.deliver_next(seconds=2)
    run = the_run()
    assert links.sent == [] and links.scheduled == [(("default", run.pk, run.epoch), run.wait_until)]
    assert (run.status, run.failure_count, run.revival_count) == ("running", 0, 0)
    links.deliver(links.scheduled[0][0], seconds=30)
    assert the_run().wait_until is None and the_run().wait_reason == ""
    assert_all_counted()


@pytest.mark.django_db
def test_the_check_counts_no_page_view_again_when_the_active_generation_has_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(switching, "CHECK_PAGE_VIEWS", 10)
    make_page_views(60)
    backfill.run_here("default", via="test")
    links = Links()
    links.start("rebuild")
    counted = []
    for seed in range(1, 40):
        if not the_run().is_active:
            break
        links.deliver_next()
        state = the_run().check_state
        counted.append(0 if state is None else state["page_views"])
        if state is not None and seed < 20:  # each time that it looks there are more
            make_page_views(1, seed=seed)
            folding.keep_up("default", seconds=5)
    assert [number for number, _ in groupby(counted)][:4] == [0, 10, 20, 30]
    assert the_run().status == "succeeded"
    links.start()
    links.drain()
    assert_all_counted()


# -- looking


@pytest.mark.django_db
def test_progress_is_by_position_in_the_range_of_keys() -> None:
    rows = make_page_views(40)
    links = Links()
    links.start(chunk_size=10)
    assert backfill.progress(the_run()) == backfill.Progress(0, 0.0, None, None)
    links.deliver_next()
    so_far = backfill.progress(the_run(), the_run().started_at + timedelta(seconds=5))
    done = 10 / 40
    assert rows[9].id - rows[0].id == 9
    assert so_far.percent == pytest.approx(100 * done)
    assert so_far.rows_per_second == pytest.approx(2.0)
    assert so_far.eta_seconds == pytest.approx(5 * (1 - done) / done)
    BackfillRun.objects.update(target=rows[9].id)
    assert backfill.progress(the_run()).percent == 99.9
    links.drain()
    assert backfill.progress(the_run()).percent == 100.0
    assert backfill.progress(the_run()).eta_seconds is None


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_progress_where_ids_begin_far_above_zero(kind: str) -> None:
    PageView.objects.bulk_create(
        [PageView(id=9_000_001 + n, path="/", session_key=f"{n}", viewed_at=START) for n in range(40)]
    )
    links = Links()
    links.start(kind, chunk_size=10)
    links.deliver_next()
    assert backfill.progress(the_run()).percent == pytest.approx(25)
    links.drain()
    assert_all_counted()


#: of the contract
STATUS_KEYS = {
    "run_id",
    "status",
    "kind",
    "rows_folded",
    "percent",
    "rows_per_second",
    "eta_seconds",
    "cursor",
    "target",
    "chunk_size",
    "error",
    "wait_reason",
}


@pytest.mark.django_db
def test_the_status_before_anything_ran() -> None:
    status = backfill.status("default")
    assert status.pop("status") == "none"
    assert set(status) >= STATUS_KEYS - {"status"}
    assert set(status.values()) == {None}


@pytest.mark.django_db
def test_the_status_is_of_the_active_run_or_else_of_the_last() -> None:
    rows = make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.drain()
    status = backfill.status("default")
    assert set(status) >= STATUS_KEYS
    assert {key: status[key] for key in ("run_id", "status", "kind", "rows_folded", "percent", "cursor", "target")} == {
        "run_id": the_run().pk,
        "status": "succeeded",
        "kind": "backfill",
        "rows_folded": 30,
        "percent": 100.0,
        "cursor": rows[-1].id,
        "target": rows[-1].id,
    }
    assert status["error"] is status["wait_reason"] is status["eta_seconds"] is None
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    status = backfill.status("default")
    assert (status["kind"], status["status"], status["run_id"]) == ("rebuild", "running", the_run().pk)


def test_override_settings_reaches_the_lease() -> None:
    with override_settings(PAGESTATS_LEASE_SECONDS=7):
        assert chain.lease() == timedelta(seconds=7)


# -- what a link hands over


def ids_looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many session keys each look-up asks the database for."""
    asked: list[int] = []
    known = ids.known_visitor_ids

    def see(using: str, session_keys: Any) -> dict[str, int]:
        asked.append(len(list(session_keys)))
        return known(using, session_keys)

    monkeypatch.setattr(ids, "known_visitor_ids", see)
    return asked


@pytest.mark.django_db
def test_the_next_link_in_the_same_process_knows_the_ids_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    insert_page_views([("/", f"visitor {n % 10}", START) for n in range(60)])
    links = Links()
    links.start(chunk_size=20)
    asked = ids_looked_up(monkeypatch)
    links.deliver_next()
    first = sum(asked)
    assert first >= 10
    links.drain()
    assert sum(asked) == first
    assert keeping._KEPT == {}
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["another link was in between", "another run of the same number"])
def test_ids_are_handed_to_the_very_next_link_only(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_page_views([("/", f"visitor {n % 10}", START) for n in range(60)])
    links = Links()
    links.start(chunk_size=20)
    links.deliver_next()
    if what == "another link was in between":
        expire_lease()
        links.revive()
        links.sent.pop(0)
    else:
        BackfillRun.objects.update(created_at=F("created_at") + timedelta(seconds=1))
    asked = ids_looked_up(monkeypatch)
    links.deliver_next()
    assert sum(asked) == 10
    links.drain()
    assert_all_counted()


def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """After which ids page views are read from the table, and how many at most."""
    seen: list[tuple[int, int]] = []
    read_stretch = Reader._read_stretch

    def see(reader: Reader, after: int, target: int, size: int) -> Stretch:
        seen.append((after, size))
        return read_stretch(reader, after, target, size)

    monkeypatch.setattr(Reader, "_read_stretch", see)
    return seen


@pytest.fixture
def links_with_reads_ahead(monkeypatch: pytest.MonkeyPatch) -> tuple[Links, list[tuple[int, int]]]:
    """Six chunks, two of which are folded by two links of this process: so the second one read ahead for the third."""
    rows = make_page_views(60)
    links = Links()
    links.start(chunk_size=10)
    seen = reads(monkeypatch)
    links.deliver_next()
    links.deliver_next()
    assert active_generation().cursor == rows[19].id
    return links, seen


@pytest.mark.django_db(transaction=True)
def test_a_link_reads_ahead_for_the_next_one_once_links_keep_to_one_process(
    links_with_reads_ahead: tuple[Links, list[tuple[int, int]]],
) -> None:
    links, seen = links_with_reads_ahead
    cursor = active_generation().cursor
    before = len(seen)
    links.deliver_next()
    assert active_generation().cursor > cursor
    assert cursor not in dict(seen[before:])
    links.drain()
    assert len(dict(seen)) == len(seen), "nothing is read twice"
    assert_all_counted()


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["folded", "a lease ago", "revived", "flushed", "lost"])
def test_what_was_read_ahead_is_not_used(
    what: str, links_with_reads_ahead: tuple[Links, list[tuple[int, int]]]
) -> None:
    """Since somebody else folded it meanwhile, or since nobody knows any more whether its ids are still those."""
    links, seen = links_with_reads_ahead
    if what == "folded":
        folding.Folder("default", active_generation(), chunk_size=7, fixed_size=7).fold(the_run().target)
    elif what == "a lease ago":
        for handover, (folder, kept_at) in keeping._KEPT.items():
            keeping._KEPT[handover] = folder, kept_at - conf.LEASE_SECONDS
    elif what == "revived":
        expire_lease()
        links.revive()
        links.sent.pop(0)
    elif what == "lost":
        lost = unused_ids()
        assert lost, "the chunk that was read ahead brought visitors"
        lose(lost)
    else:
        BackfillRun.objects.update(created_at=F("created_at") + timedelta(seconds=1))
    cursor = active_generation().cursor
    seen.clear()
    links.deliver_next()
    assert cursor in dict(seen)
    links.drain()
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_a_link_reads_nothing_ahead_where_the_last_one_was_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=10)
    seen = reads(monkeypatch)
    while links.sent:
        keeping._KEPT.clear()  # as a process of its own knows nothing of the others
        links.deliver_next()
    assert [size for _, size in seen] == [10] * 6
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_what_is_kept_for_a_link_that_went_elsewhere_is_given_back(
    links_with_reads_ahead: tuple[Links, list[tuple[int, int]]],
) -> None:
    tasks.tend("default")
    assert len(keeping._KEPT) == 1
    with override_settings(PAGESTATS_LEASE_SECONDS=0):
        tasks.tend("default")
    assert keeping._KEPT == {}
    links_with_reads_ahead[0].drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_run_that_was_let_go_was_not_lost() -> None:
    make_page_views(60)
    backfill.run_here("default", via="test", chunk_size=20, watch=lambda run: True)
    expire_lease()  # it has, but for a millisecond that the clocks may differ by
    links = Links()
    assert links.revive() is not None
    assert the_run().revival_count == 0
    links.drain()
    assert the_run().status == "succeeded"
    assert_all_counted()
