"""Who keeps the statistics up: a cluster, or where there is none a process that records, once a minute among all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import Max
from django.test.utils import CaptureQueriesContext

from django_pagestats import backfill, folding, recording, stats, tasks, tending
from django_pagestats.clock import database_now
from django_pagestats.folding import chunks
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, Salt, WorkedBy
from django_pagestats.recording import background
from tests.chains import Links, active_generation, assert_all_counted, assert_exact, small_steps
from tests.factories import make_page_views
from tests.patching import replace

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_settling")]


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tending, "_told", {})


@pytest.fixture(autouse=True)
def a_machine_that_is_not_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time enough for all that a test is about, but for those that are about the time."""
    monkeypatch.setattr(tending, "SECONDS", 30.0)


SECONDS = tending.SECONDS


def go_by(**time: float) -> None:
    """As if so much time had gone by since anybody kept up, or since the first look."""
    gone = timedelta(**time)
    for generation in Generation.objects.filter(is_active=True):
        tended_at = generation.tended_at and generation.tended_at - gone
        Generation.objects.filter(pk=generation.pk).update(tended_at=tended_at, created_at=generation.created_at - gone)


def writes(work: Callable[[], object]) -> list[str]:
    """The statements of some work that are no reading."""
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries if not query["sql"].startswith(("SELECT", "SAVEPOINT", "RELEASE"))]


class TestWhoDoesIt:
    def test_a_site_without_a_cluster_is_kept_up_from_five_minutes_on_and_each_minute(self) -> None:
        make_page_views(40)
        tending.tend_here()
        assert active_generation().cursor == 0, "a cluster may come yet"
        go_by(minutes=4, seconds=59)
        tending.tend_here()
        assert not Aggregate.objects.exists()
        go_by(seconds=1)
        tending.tend_here()
        assert_all_counted()
        assert active_generation().tended_by == WorkedBy.SITE
        make_page_views(5, seed=1)
        tending.tend_here()
        assert active_generation().cursor < PageView.objects.latest("pk").pk, "not twice in a minute"
        go_by(minutes=1)
        tending.tend_here()
        assert_all_counted()

    def test_where_a_cluster_does_it_nothing_is_done(self) -> None:
        make_page_views(40)
        tasks.tend("default")
        tasks.tend("default")
        assert_all_counted()
        make_page_views(5, seed=1)
        for _ in range(4):
            go_by(minutes=1, seconds=10)
            tending.tend_here()
        assert active_generation().cursor < PageView.objects.latest("pk").pk
        go_by(minutes=1)
        tending.tend_here()
        assert_all_counted()

    def test_a_cluster_that_comes_back_does_it_from_then_on(self) -> None:
        make_page_views(40)
        tending.tend_here()
        go_by(minutes=5)
        tending.tend_here()
        tasks.tend("default")
        assert active_generation().tended_by == WorkedBy.CLUSTER
        make_page_views(5, seed=1)
        go_by(minutes=2)
        tending.tend_here()
        assert active_generation().cursor < PageView.objects.latest("pk").pk

    def test_a_schedule_that_comes_more_seldom_is_waited_for_twice_as_long(self, settings: Any) -> None:
        settings.PAGESTATS_TEND_MINUTES = 10
        make_page_views(40)
        tending.tend_here()
        go_by(minutes=19)
        tending.tend_here()
        assert not Aggregate.objects.exists()
        go_by(minutes=1)
        tending.tend_here()
        assert_all_counted()

    def test_true_does_it_beside_a_cluster(self, settings: Any) -> None:
        settings.PAGESTATS_KEEP_UP = True
        make_page_views(40)
        tasks.tend("default")
        tasks.tend("default")
        make_page_views(5, seed=1)
        go_by(minutes=1)
        tending.tend_here()
        assert_all_counted()

    def test_false_never_does_it(self, settings: Any) -> None:
        settings.PAGESTATS_KEEP_UP = False
        make_page_views(40)
        folding.ensure_active_generation("default")
        go_by(days=1)
        with CaptureQueriesContext(connection) as queries:
            tending.tend_here()
        assert len(queries) == 0 and not Aggregate.objects.exists()

    def test_what_comes_to_answer_is_kept_up_by_whoever_kept_up_what_did(self) -> None:
        make_page_views(40)
        tasks.tend("default")
        tasks.tend("default")
        before = active_generation()
        backfill.run_here("default", kind="rebuild", via="test")
        after = active_generation()
        assert after != before
        assert (after.tended_at, after.tended_by) == (before.tended_at, WorkedBy.CLUSTER)

    def test_it_is_said_once_by_each_process_that_begins(self, caplog: pytest.LogCaptureFixture) -> None:
        make_page_views(4)
        tending.tend_here()
        with caplog.at_level("INFO", logger="django_pagestats.tending"):
            for seed in range(1, 4):
                go_by(minutes=5)
                make_page_views(4, seed=seed)
                tending.tend_here()
        assert caplog.text.count("a process of the site does it from now on") == 1


@pytest.mark.django_db(transaction=True)
class TestOneOfMany:
    def test_of_two_processes_in_the_same_minute_one_does_it(self) -> None:
        make_page_views(4)
        tending.tend_here()
        go_by(minutes=5)
        seen, now = active_generation(), database_now("default")
        taken: list[bool] = []

        def take() -> None:
            taken.append(tending.claim("default", seen, now))
            connections.close_all()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False, False, False, True]

    def test_another_process_takes_the_minute_between_the_look_and_the_claim(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_page_views(40)
        tending.tend_here()
        go_by(minutes=5)
        look = tending._generation_to_tend

        def look_and_be_overtaken(using: str) -> Generation | None:
            seen = look(using)

            def other() -> None:
                found = look(using)
                assert found is not None and tending.claim(using, found, database_now(using))
                connections.close_all()

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            return seen

        monkeypatch.setattr(tending, "_generation_to_tend", look_and_be_overtaken)
        tending.tend_here()
        assert not Aggregate.objects.exists(), "it folded in another process's minute"
        assert active_generation().tended_by == WorkedBy.SITE

    def test_a_cluster_that_folds_the_same_at_the_same_time_changes_nothing_of_the_numbers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_page_views(700)
        tending.tend_here()
        go_by(minutes=5)
        read = folding.Folder.fold

        def fold_and_be_overtaken(*args: Any, **expected: Any) -> Any:
            monkeypatch.setattr(folding.Folder, "fold", read)
            tasks.tend("default")
            return read(*args, **expected)

        monkeypatch.setattr(folding.Folder, "fold", fold_and_be_overtaken)
        tending.tend_here()
        assert_all_counted()


class TestWhatItCosts:
    def test_an_empty_site_is_left_empty_by_two_statements(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            tending.tend_here()
        assert len(queries) == 2
        assert not Generation.objects.exists()

    def test_where_every_page_view_is_counted_two_statements_look_and_none_writes(self) -> None:
        make_page_views(40)
        tending.tend_here()
        go_by(minutes=5)
        tending.tend_here()
        assert_all_counted()
        go_by(hours=2)
        with CaptureQueriesContext(connection) as queries:
            tending.tend_here()
        assert len(queries) == 2
        assert writes(tending.tend_here) == []

    def test_beside_a_cluster_page_views_that_wait_cost_three_statements(self) -> None:
        make_page_views(40)
        tasks.tend("default")
        tasks.tend("default")
        make_page_views(5, seed=1)
        go_by(minutes=2)
        with CaptureQueriesContext(connection) as queries:
            tending.tend_here()
        assert len(queries) == 3

    def test_a_gap_of_the_rows_of_all_time_that_is_not_worth_it_is_not_written_for(self) -> None:
        make_page_views(40)
        tending.tend_here()
        go_by(minutes=5)
        tending.tend_here()
        make_page_views(5, seed=1)
        go_by(minutes=1)
        tending.tend_here()
        generation = active_generation()
        assert generation.cursor > generation.all_cursor
        go_by(minutes=1)
        assert writes(tending.tend_here) == []
        Generation.objects.update(all_moved_at=database_now("default") - timedelta(hours=1))
        tending.tend_here()
        assert active_generation().all_cursor == generation.cursor

    def test_a_slow_fold_ends_after_the_chunk_that_it_is_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A chunk that took all the time there is: the rest is the next minute's."""
        monkeypatch.setattr(tending, "SECONDS", SECONDS)
        monkeypatch.setattr(chunks, "FIRST_CHUNK_SIZE", 5)
        make_page_views(50)
        tending.tend_here()
        go_by(minutes=5)
        fold = folding.Folder.fold

        def fold_slowly(*args: Any, **expected: Any) -> Any:
            time.sleep(SECONDS)
            return fold(*args, **expected)

        monkeypatch.setattr(folding.Folder, "fold", fold_slowly)
        tending.tend_here()
        first = PageView.objects.order_by("pk")[4].pk
        assert active_generation().cursor == first
        assert_exact()
        go_by(minutes=1)
        tending.tend_here()
        assert active_generation().cursor > first

    def test_a_chunk_is_made_to_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Half of the time there is at the most, where a chunk of the database's own would take a second."""
        make_page_views(50)
        tending.tend_here()
        go_by(minutes=5)
        monkeypatch.setattr(type(database_for("default")), "CHUNK_SECONDS", 1.0)
        monkeypatch.setattr(tending, "SECONDS", SECONDS)
        wanted = []
        fold = folding.Folder.fold

        def look(self: folding.Folder, *args: Any, **expected: Any) -> Any:
            wanted.append(self.chunk_seconds)
            return fold(self, *args, **expected)

        monkeypatch.setattr(folding.Folder, "fold", look)
        tending.tend_here()
        assert wanted and max(wanted) <= SECONDS / 2

    def test_a_step_towards_all_time_is_made_to_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        database = type(database_for("default"))
        monkeypatch.setattr(database, "STEP_ROWS", 100)
        make_page_views(40)
        folding.keep_up("default", seconds=10)
        make_page_views(300, seed=1)
        steps = []
        tally = folding.AllTime._tally_gap

        def look(self: folding.AllTime) -> None:
            before = self.generation.all_cursor
            tally(self)
            steps.append(active_generation().all_cursor - before)

        monkeypatch.setattr(folding.AllTime, "_tally_gap", look)
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # however busy the machine is
        folding.keep_up("default", seconds=SECONDS)
        assert len(steps) >= 15 and max(steps) <= 20
        assert_all_counted()

    @pytest.mark.parametrize("seconds", [0.0, 0.2])
    def test_what_is_waited_for_first_takes_no_time_of_the_fold(
        self, seconds: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """MariaDB's horizon is a second off: nothing would ever be folded."""
        make_page_views(40)
        replace(monkeypatch.setattr, folding.poll, lambda using, settling: time.sleep(0.3) or [])
        assert folding.keep_up("default", seconds=seconds).page_views == (40 if seconds else 0)


class TestWhatElseItDoes:
    def test_nothing_while_a_run_is_active_and_says_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        make_page_views(40)
        Links().start()
        go_by(minutes=5)
        with caplog.at_level("INFO", logger="django_pagestats.tending"):
            for _ in range(3):
                tending.tend_here()
                go_by(minutes=1)
        assert not Aggregate.objects.exists()
        assert caplog.text.count("a run is at work on this generation") == 1

    def test_a_tail_that_is_too_long_is_left_to_a_run(self, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.PAGESTATS_TAIL_LIMIT = 10
        make_page_views(11)
        tending.tend_here()
        go_by(minutes=5)
        with caplog.at_level("INFO", logger="django_pagestats.tending"):
            tending.tend_here()
        assert "more than 10 page views wait: run backfill_aggregates" in caplog.text
        assert not Aggregate.objects.exists()
        assert stats.count_page_views() == 11

    def test_aggregates_that_answer_no_more_are_deleted(self) -> None:
        make_page_views(40)
        backfill.run_here("default", via="test")
        backfill.run_here("default", kind="rebuild", via="test")
        old = Generation.objects.get(is_active=None)
        go_by(minutes=5)
        tending.tend_here()
        assert not Aggregate.objects.filter(generation=old.pk).exists()
        old.refresh_from_db()
        assert old.swept_at is not None
        assert_all_counted()

    def test_what_a_failed_rebuild_may_go_on_with_is_left_and_costs_no_write(self) -> None:
        make_page_views(40)
        backfill.run_here("default", via="test")
        Links().start("rebuild")
        BackfillRun.objects.filter(kind="rebuild").update(status="failed", active_key=None)
        go_by(minutes=5)
        assert writes(tending.tend_here) == []

    def test_a_pass_under_way_is_gone_on_with_before_the_next_page_views(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else each minute's page views would have it begin anew, and a site would never have rows of all time."""
        make_page_views(40, paths=6, days=3)
        folding.ensure_active_generation("default")
        step = folding.AllTime.step

        def step_slowly(self: folding.AllTime) -> bool:
            is_done = step(self)
            time.sleep(SECONDS)
            return is_done

        monkeypatch.setattr(folding.AllTime, "step", step_slowly)
        with small_steps():
            for seed in range(1, 30):
                folding.keep_up("default", seconds=SECONDS)
                assert_exact()
                if active_generation().all_moved_at is not None:
                    break
                make_page_views(1, seed=seed)
        assert active_generation().all_moved_at is not None
        assert seed > 2, "it took no more than one tick"

    def test_an_error_is_said_once_and_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        make_page_views(40)
        folding.keep_up("default", seconds=10)
        make_page_views(5, seed=1)
        highest = PageView.objects.aggregate(pk=Max("pk"))["pk"]
        Generation.objects.update(last_page_view=[active_generation().cursor, 5])
        for _ in range(3):
            go_by(minutes=5)
            tending.tend_here()
        assert caplog.text.count("--rebuild to count anew") == 1
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        Generation.objects.update(last_page_view=None)
        go_by(minutes=1)
        tending.tend_here()
        assert active_generation().cursor == highest

    def test_a_database_without_our_tables_is_no_error_of_the_thread(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(tending.aliases, "home", lambda: "default")
        from django.db import transaction

        with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Generation._meta, "db_table", "not_there")
            tending.tend_here()
            transaction.set_rollback(True)
        assert "keeping up on default, in this process" in caplog.text


class TestTheThread:
    def test_its_job_is_done_about_once_a_minute_and_never_by_a_flush(self) -> None:
        job = background._jobs["keeping the statistics up"]
        assert job.work is tending.tend_here and not job.is_flushed
        assert 60 < job.seconds() < 70
        make_page_views(4)
        recording.flush()
        assert not Generation.objects.exists()

    def test_a_salt_goes_when_its_day_is_over_though_nobody_comes(self) -> None:
        Salt.objects.create(period="2025-03-01", value=b"x" * 16)
        job = background._jobs["deleting salts that are over"]
        assert job.seconds() <= 3_600 and not job.is_flushed
        job.work()
        assert not Salt.objects.exists()

    def test_while_a_test_environment_is_set_up_there_is_no_thread(self) -> None:
        assert recording.record_page_view(path="/", session_key="a")
        assert background.is_testing()
        assert not [thread for thread in threading.enumerate() if thread.name == "django-pagestats"]
