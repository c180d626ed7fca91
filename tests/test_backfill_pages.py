"""A run's page does its work: one request after another, two pages at once, and beside a cluster that comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django_q.models import OrmQ

from django_pagestats import backfill, folding, tasks, throttles
from django_pagestats.backfill import keeping, pages
from django_pagestats.clock import database_now
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, BuildSegment, WorkedBy
from tests.chains import assert_all_counted, assert_exact, expire_lease, small_parts, the_run
from tests.factories import make_page_views
from tests.patching import replace
from tests.test_admin import RUNS, log_in
from tests.test_admin import root as root
from tests.test_tasks import work_on_the_queue

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("short_waits")]

NOTICE = "This page is doing the work: keep it open, or start a cluster (manage.py qcluster)."


@contextmanager
def no_queue() -> Iterator[None]:
    """Without the app there would be no lists of its own in the admin either, which its site has in the tests."""
    with pytest.MonkeyPatch.context() as patch:
        replace(patch.setattr, tasks.queue_is_installed, lambda: False)
        yield


@pytest.fixture(autouse=True)
def one_chunk_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SECONDS", 0.0)


def start(**wanted: Any) -> BackfillRun:
    """As the button does on a site without django_q."""
    with no_queue():
        started = tasks.start_backfill("default", actor="ada", via="admin", chunk_size=10, **wanted)
    assert started.run is not None
    return started.run


def request(*, has_queue: bool = False, seen: BackfillRun | None = None) -> None:
    """What one request of the page does, of the run as it is, or as it was seen."""
    backfill.work_for_page("default", seen or the_run(), database_now("default"), has_queue=has_queue)


def is_left(*, has_queue: bool = True) -> bool:
    return backfill.is_left_to_page(the_run(), database_now("default"), has_queue=has_queue)


def go_by(**time: float) -> None:
    """As if so much time had gone by for the run."""
    gone, run = timedelta(**time), the_run()
    moved = {
        name: at - gone
        for name in ("lease_until", "wait_until", "enqueued_at", "taken_at")
        if (at := getattr(run, name)) is not None
    }
    BackfillRun.objects.filter(pk=run.pk).update(**moved)


def requests_to_the_end(**options: Any) -> int:
    for count in range(100):
        if not the_run().is_going:
            return count
        request(**options)
        assert_exact()
    raise AssertionError("the run did not end")


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> Iterator[None]:
    """Once, when a chunk of the request is read and is about to be merged; by another process's connection."""
    merge = folding.chunks.merge
    errors: list[BaseException] = []

    def other() -> None:
        try:
            happens()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    def merge_and_be_overtaken(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(folding.chunks, "merge", merge)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return merge(*args, **options)

    monkeypatch.setattr(folding.chunks, "merge", merge_and_be_overtaken)
    yield
    assert not errors, errors
    assert folding.chunks.merge is merge, "no chunk came to be merged"


class TestWithoutAQueue:
    def test_requests_fold_chunk_by_chunk_to_the_end(self) -> None:
        make_page_views(45)
        start()
        run = the_run()
        assert (run.status, run.enqueued_at, run.taken_by) == ("queued", None, "")
        assert is_left(has_queue=False)
        request()
        assert (the_run().rows_folded, the_run().taken_by, the_run().status) == (10, WorkedBy.PAGE, "running")
        assert requests_to_the_end() >= 4
        assert_all_counted()
        assert (the_run().status, the_run().revival_count, the_run().actor) == ("succeeded", 0, "ada")
        assert not OrmQ.objects.exists()

    def test_a_rebuild_and_a_build_that_a_cluster_had_begun_with_others(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        make_page_views(45)
        start()
        requests_to_the_end()
        small_parts(monkeypatch)
        settings.PAGESTATS_WORKERS = 3
        tasks.start_backfill("default", kind="rebuild", via="admin", chunk_size=10)
        link = OrmQ.objects.order_by("pk").last()
        assert link is not None
        settings.PAGESTATS_LINK_SECONDS = 0.0
        tasks.link("default", the_run().pk, 0)
        assert BuildSegment.objects.exists()
        OrmQ.objects.all().delete()
        expire_lease()
        requests_to_the_end()
        assert_all_counted()
        assert not BuildSegment.objects.exists()

    def test_parts_are_cut_for_nobody(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        small_parts(monkeypatch)
        settings.PAGESTATS_WORKERS = 3
        make_page_views(45)
        start(kind="rebuild")
        for _ in range(3):
            request()
            assert not BuildSegment.objects.exists()

    def test_a_run_with_nothing_to_wait_for_is_no_worker_lost(self) -> None:
        """However long nobody looks at its page."""
        make_page_views(25)
        start()
        request()
        go_by(days=3)
        request()
        assert (the_run().revival_count, the_run().stalled_count, the_run().rows_folded) == (0, 0, 20)

    def test_what_it_waits_for_is_waited_for(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.PAGESTATS_THROTTLE = ["tests.test_backfill_pages.not_now"]
        make_page_views(25)
        start()
        request()
        assert (the_run().rows_folded, the_run().wait_reason) == (0, "throttled: not now")
        assert not is_left(has_queue=False)
        settings.PAGESTATS_THROTTLE = []
        go_by(minutes=1)
        requests_to_the_end()
        assert_all_counted()

    def test_a_request_does_not_rest_longer_than_it_works(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        make_page_views(25)
        start(nice=100.0)
        monkeypatch.setattr(pages, "SECONDS", 10.0)
        slow = folding.chunks.merge

        def merge_slowly(*args: Any, **options: Any) -> Any:
            threading.Event().wait(0.02)
            return slow(*args, **options)

        monkeypatch.setattr(folding.chunks, "merge", merge_slowly)
        request()
        assert the_run().rows_folded == 10
        assert the_run().wait_reason.startswith("rests 100 times")

    def test_nothing_is_kept_in_a_process_of_the_site(self) -> None:
        make_page_views(45)
        start()
        request()
        assert the_run().is_going and keeping._KEPT == {}

    def test_chunks_are_such_as_a_browser_can_wait_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(database_for("default")), "CHUNK_SECONDS", 1.0)
        make_page_views(45)
        start()
        seen = []
        fold = folding.Folder.fold

        def look(self: folding.Folder, *args: Any, **expected: Any) -> Any:
            seen.append(self.chunk_seconds)
            return fold(self, *args, **expected)

        monkeypatch.setattr(folding.Folder, "fold", look)
        request()
        assert seen and max(seen) <= 0.25


def not_now(using: str) -> throttles.Wait | str:
    return "not now"


class TestWithAClusterThatIsDown:
    def test_a_link_that_nobody_takes_is_the_pages_after_ten_seconds(self) -> None:
        make_page_views(25)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        assert not is_left()
        go_by(seconds=9)
        request(has_queue=True)
        assert the_run().rows_folded == 0
        go_by(seconds=1)
        assert is_left()
        requests_to_the_end(has_queue=True)
        assert_all_counted()
        assert OrmQ.objects.count() == 1, "each request left a task for nobody"
        assert work_on_the_queue() == 1
        assert_all_counted()

    def test_the_link_that_waited_comes_in_the_middle(self) -> None:
        """The cluster was started again: its first task is an old one, and the schedule gives it the run."""
        make_page_views(45)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        go_by(seconds=10)
        request(has_queue=True)
        assert work_on_the_queue() == 1
        assert (the_run().rows_folded, the_run().taken_by) == (10, WorkedBy.PAGE)
        tasks.tend("default")
        assert not is_left()
        request(has_queue=True)
        assert the_run().rows_folded == 10
        work_on_the_queue()
        assert_all_counted()
        assert the_run().taken_by == WorkedBy.CLUSTER

    def test_a_cluster_that_dies_again_gives_the_run_back_to_the_page(self) -> None:
        make_page_views(45)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        go_by(seconds=10)
        request(has_queue=True)
        tasks.tend("default")
        go_by(seconds=10)
        assert is_left()
        requests_to_the_end(has_queue=True)
        assert_all_counted()

    def test_a_run_that_a_cluster_works_on_is_not_the_pages(self, settings: Any) -> None:
        settings.PAGESTATS_LINK_SECONDS = 0.0
        make_page_views(45)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        run = the_run()
        tasks.link("default", run.pk, run.epoch)
        assert (the_run().taken_by, is_left()) == (WorkedBy.CLUSTER, False)
        BackfillRun.objects.update(enqueued_at=None)  # a link is at it
        go_by(hours=1)
        assert not is_left(), "whoever looks after it sends a link first"


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_of_two_pages_that_saw_the_same_one_works(self) -> None:
        make_page_views(45)
        start()
        request()
        seen = the_run()
        request(seen=seen)
        request(seen=seen)
        assert the_run().rows_folded == 20
        assert_exact()

    def test_a_second_page_leaves_alone_what_the_first_is_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_page_views(45)
        start()
        with meanwhile(monkeypatch, request):
            request()
        assert the_run().rows_folded == 10
        assert_exact()
        requests_to_the_end()
        assert_all_counted()

    def test_a_cluster_that_comes_back_takes_the_run_in_the_middle_of_a_request(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_page_views(45)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        OrmQ.objects.all().delete()
        go_by(seconds=10)
        with meanwhile(monkeypatch, lambda: tasks.tend("default")):
            request(has_queue=True)
        assert the_run().rows_folded == 0, "a chunk of an epoch that is over was folded"
        assert (OrmQ.objects.count(), the_run().revival_count) == (1, 0)
        events = the_run().events.order_by("-pk").values_list("reason", flat=True)
        assert events[0] == "a cluster runs, and goes on with what its page has begun"
        assert not is_left()
        work_on_the_queue()
        assert_all_counted()

    def test_a_cluster_folds_all_in_the_middle_of_a_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_page_views(45)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        OrmQ.objects.all().delete()
        go_by(seconds=10)

        def come_back() -> None:
            tasks.tend("default")
            work_on_the_queue()

        with meanwhile(monkeypatch, come_back):
            request(has_queue=True)
        assert_all_counted()
        assert the_run().rows_folded == 45

    def test_a_command_takes_the_run_over_from_a_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_page_views(45)
        start()
        with meanwhile(monkeypatch, lambda: backfill.run_here("default", via="test")):
            request()
        assert_all_counted()
        assert (the_run().rows_folded, the_run().taken_by) == (45, WorkedBy.COMMAND)


class TestAPageThatIsClosed:
    def test_between_two_requests_a_wish_comes_true_at_once(self) -> None:
        make_page_views(45)
        start()
        request()
        assert backfill.pause("default", via="admin").outcome == "done"
        request()
        assert (the_run().status, the_run().rows_folded) == ("paused", 10)
        with no_queue():
            assert tasks.resume_backfill("default", via="admin").outcome == "done"
        requests_to_the_end()
        assert_all_counted()

    @pytest.mark.django_db(transaction=True)
    def test_a_wish_in_the_middle_of_a_request_comes_true_at_its_next_chunk(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "SECONDS", 10.0)
        make_page_views(45)
        start()
        with meanwhile(monkeypatch, lambda: backfill.cancel("default", via="admin")):
            request()
        assert (the_run().status, the_run().rows_folded) == ("cancelled", 10)
        assert_exact()

    def test_a_process_that_was_killed_in_a_request_is_lost_after_its_lease(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_page_views(45)
        start()
        request()

        class KilledError(BaseException):
            pass

        def die(*args: Any, **options: Any) -> None:
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(folding.chunks, "merge", die)
            with pytest.raises(KilledError):
                request()
        request()
        assert the_run().rows_folded == 10, "the request may be alive for all that is known"
        expire_lease()
        request()
        assert (the_run().rows_folded, the_run().revival_count) == (20, 1)
        requests_to_the_end()
        assert_all_counted()

    def test_one_that_dies_each_time_is_given_up(self, settings: Any) -> None:
        settings.PAGESTATS_MAX_REVIVALS = 2
        make_page_views(45)
        run = start()
        for _ in range(5):
            BackfillRun.objects.filter(pk=run.pk, status__in=["queued", "running"]).update(
                status="running", wait_until=None, taken_by=WorkedBy.PAGE, stalled_count=2
            )
            expire_lease()
            request()
        assert the_run().status == "failed"

    def test_the_cluster_goes_on_with_what_is_left(self) -> None:
        make_page_views(45)
        start()
        request()
        assert tasks.revive("default") is None, "its page is expected still"
        go_by(seconds=6)
        assert tasks.revive("default") == the_run()
        work_on_the_queue()
        assert_all_counted()
        assert the_run().revival_count == 0


class TestTheRequest:
    def work(self, client: Client, **query: Any) -> Any:
        return client.post(f"{RUNS}{the_run().pk}/fold/", query_params=query or None)

    def test_it_answers_as_the_progress_does_and_says_who_works(self, root: Client) -> None:
        make_page_views(45)
        start()
        with no_queue():
            page = root.get(f"{RUNS}{the_run().pk}/change/").content.decode()
            assert "data-works" in page and NOTICE in page
            answer = self.work(root).json()
            assert (answer["status"], answer["texts"]["page_views"], answer["works"]) == ("running", "10", True)
            assert answer["problems"] == [NOTICE] and answer["queue_problem"] == ""
            assert answer["seconds"] < 1
            assert answer["texts"]["waits_until"] == "-"
            assert [event[1] for event in answer["events"]] == ["Queued", "Queued → Running"]
            again = root.post(f"{RUNS}{the_run().pk}/fold/?after={answer['newest_event']}").json()
            assert again["events"] == []
            while answer["works"]:
                answer = self.work(root).json()
        assert (answer["status"], answer["seconds"], answer["problems"]) == ("succeeded", None, [])
        assert_all_counted()

    def test_with_a_live_cluster_nothing_is_said_and_nothing_done(self, root: Client) -> None:
        make_page_views(45)
        tasks.start_backfill("default", via="admin", chunk_size=10)
        answer = self.work(root).json()
        assert (answer["works"], answer["problems"], answer["seconds"]) == (False, [], 1)
        assert the_run().rows_folded == 0
        assert "data-works" not in root.get(f"{RUNS}{the_run().pk}/change/").content.decode()

    def test_looking_at_a_page_does_not_take_the_run_from_it(self, root: Client) -> None:
        make_page_views(45)
        start()
        request()
        go_by(minutes=1)
        answer = root.get(f"{RUNS}{the_run().pk}/progress/").json()
        assert answer["works"] is True and not OrmQ.objects.exists()

    def test_who_may_not_push_the_buttons_may_not_do_the_work(self) -> None:
        make_page_views(45)
        start()
        client = log_in("view_backfillrun", "add_backfillrun")
        assert self.work(client).status_code == 403
        with no_queue():
            answer = client.get(f"{RUNS}{the_run().pk}/progress/").json()
            page = client.get(f"{RUNS}{the_run().pk}/change/").content.decode()
        assert answer["works"] is False and "data-works" not in page and "/fold/" not in page
        assert answer["problems"] == []
        request()
        with no_queue():
            answer = client.get(f"{RUNS}{the_run().pk}/progress/").json()
        assert (answer["works"], answer["problems"]) == (
            False,
            ["The page that somebody else has open is doing the work."],
        )
        assert self.work(Client()).status_code == 302
        assert the_run().rows_folded == 10

    def test_it_is_a_post_with_a_token(self, root: Client) -> None:
        make_page_views(45)
        start()
        for method in root.get, root.put, root.delete, root.head:
            assert method(f"{RUNS}{the_run().pk}/fold/").status_code == 405
        assert root.post(f"{RUNS}4711/fold/").status_code == 404
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = root.cookies
        assert self.work(strict).status_code == 403
        assert the_run().rows_folded == 0

    def test_a_run_that_is_locked_is_told(self, root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        make_page_views(45)
        start()

        def refuse(*args: Any, **options: Any) -> None:
            raise backfill.chain.RunLockedError("The run is locked.")

        with no_queue(), monkeypatch.context() as patch:
            patch.setattr(pages, "work", refuse)
            answer = self.work(root).json()
        assert answer["queue_problem"] == "The run is locked."

    @pytest.mark.django_db(transaction=True)
    def test_requests_that_are_transactions_are_no_trouble(self, root: Client) -> None:
        make_page_views(45)
        start()
        kept = connection.settings_dict["ATOMIC_REQUESTS"]
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        was_atomic: list[bool] = []
        transaction.on_commit(lambda: None)
        work = pages.work

        def look(*args: Any, **options: Any) -> None:
            was_atomic.append(connection.in_atomic_block)
            work(*args, **options)

        try:
            with no_queue(), pytest.MonkeyPatch.context() as patch:
                patch.setattr(pages, "work", look)
                self.work(root)
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = kept
        assert was_atomic == [False]
        assert the_run().rows_folded == 10


def test_the_list_of_runs_says_that_the_page_would_do_it(root: Client) -> None:
    make_page_views(25)
    start()
    request()
    assert "messagelist" not in root.get(RUNS).content.decode(), "its page is expected still"
    go_by(minutes=1)
    told = "Its page does the work, too, while it is open."
    with no_queue():
        assert told in unescape(root.get(RUNS).content.decode())
    OrmQ.objects.all().delete()
    BackfillRun.objects.update(taken_by=WorkedBy.CLUSTER)
    without = unescape(root.get(RUNS).content.decode())
    assert "Nobody has worked on run" in without and told not in without, "the schedule revives it first"


@pytest.mark.parametrize("has_queue", [True, False])
def test_the_list_of_runs_has_the_cluster_to_paste_where_a_site_has_outgrown_itself(
    root: Client, settings: Any, has_queue: bool
) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 10
    make_page_views(10)
    with nullcontext() if has_queue else no_queue():
        small = unescape(root.get(RUNS).content.decode())
        make_page_views(1, seed=1)
        large = unescape(root.get(RUNS).content.decode())
    assert "too many for keeping up" not in small and "too many for keeping up" in large
    assert (tasks.A_CLUSTER in large) == (not has_queue)
