"""Pausing, going on, giving up: every change of status that there is, who made it, and what it leaves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from django_pagestats import backfill, folding
from django_pagestats.backfill import claims, states
from django_pagestats.clock import database_now
from django_pagestats.exceptions import PausedError
from django_pagestats.folding import chunks
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, RunEvent
from django_pagestats.signals import backfill_failed, backfill_finished, backfill_started
from tests.chains import (
    Links,
    active_generation,
    assert_all_counted,
    assert_exact,
    expire_lease,
    the_run,
)
from tests.factories import START, make_page_views

pytestmark = pytest.mark.usefixtures("short_waits")

WISHES = {"paused": backfill.pause, "cancelled": backfill.cancel}


def wish(status: str) -> backfill.Answer:
    return WISHES[status]("default", actor="ada", via="admin")


def resume(links: Links) -> backfill.Answer:
    with links.commits():
        return backfill.resume("default", actor="ada", via="admin", enqueue=links.enqueue)


def half_done(kind: str = "backfill") -> Links:
    """Six chunks, two of which are folded; the third link is on the way."""
    make_page_views(60)
    links = Links()
    links.start(kind, chunk_size=10)
    links.deliver_next()
    links.deliver_next()
    assert the_run().rows_folded == 20
    return links


def events() -> list[tuple[str, str, str, str]]:
    """Of the last run; revivals left out, which change no status."""
    found = RunEvent.objects.filter(run=the_run()).order_by("pk")
    return [(it.from_status, it.to_status, it.actor, it.via) for it in found if it.from_status != it.to_status]


# -- at once, where nobody is at work


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_a_run_that_no_worker_has_taken_is_stopped_at_once(status: str) -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    answer = wish(status)
    assert answer.outcome == "done" and answer.message.startswith(f"Run {the_run().pk} (backfill) is {status}")
    assert the_run().status == status
    links.drain()
    assert the_run().rows_folded == 0, "the link that was on the way does nothing"
    assert events() == [("", "queued", "", "test"), ("queued", status, "ada", "admin")]


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_a_run_whose_worker_is_dead_is_stopped_at_once(status: str) -> None:
    links = half_done()
    expire_lease()
    assert wish(status).outcome == "done"
    assert the_run().status == status
    links.drain()
    assert the_run().rows_folded == 20, "the worker was not dead but slow: it finds another epoch"
    assert events()[-1] == ("running", status, "ada", "admin")


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_a_worker_that_was_taken_for_dead_in_its_chunk_folds_it_no_more(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = half_done()
    merge = chunks.merge

    def be_taken_for_dead(*args: Any, **options: Any) -> Any:
        expire_lease()
        assert wish(status).outcome == "done"
        return merge(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "merge", be_taken_for_dead)
        links.deliver_next()
    assert (the_run().status, the_run().rows_folded, links.sent) == (status, 20, [])
    assert_exact()


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_a_run_that_waits_is_stopped_at_once(status: str) -> None:
    links = half_done()
    BackfillRun.objects.update(wait_until=database_now("default"), wait_reason="waits for somebody")
    assert wish(status).outcome == "done"
    run = the_run()
    assert (run.status, run.wait_reason, run.wait_until) == (status, "", None)
    links.drain()
    assert the_run().rows_folded == 20


# -- at the end of a chunk, where a worker is


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_a_worker_obeys_before_its_next_chunk(status: str) -> None:
    links = half_done()
    answer = wish(status)
    assert answer.outcome == "asked" and f"will be {status} at the end of the chunk" in answer.message
    assert the_run().status == "running"
    links.deliver_next()
    run = the_run()
    assert (run.status, run.rows_folded, links.sent) == (status, 20, [])
    assert (run.pause_requested_at, run.cancel_requested_at) == (None, None)
    assert events()[-1] == ("running", status, "ada", "admin")
    assert RunEvent.objects.latest("pk").reason == f"after page view {active_generation().cursor}"
    assert_exact()


@pytest.mark.django_db
@pytest.mark.parametrize(("wanted", "becomes"), [("resume", "succeeded"), ("cancel", "cancelled")])
def test_a_wish_that_changes_while_the_worker_is_about_to_obey(
    wanted: str, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = half_done()
    assert wish("paused").outcome == "asked"
    obey = claims.Claim.obey

    def obey_late(claim: claims.Claim, *, reason: str) -> None:
        monkeypatch.setattr(claims.Claim, "obey", obey)
        assert (resume(links) if wanted == "resume" else wish("cancelled")).outcome in ("done", "asked")
        obey(claim, reason=reason)

    monkeypatch.setattr(claims.Claim, "obey", obey_late)
    links.drain()
    assert the_run().status == becomes
    assert [to for _, to, _, _ in events()] == ["queued", "running", becomes]
    assert_exact()


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_a_wish_comes_between_two_chunks_of_one_process(status: str) -> None:
    make_page_views(60)

    def watch(run: BackfillRun) -> bool:
        if run.rows_folded == 20:
            assert wish(status).outcome == "asked"
        return False

    started = backfill.run_here("default", via="test", chunk_size=10, watch=watch)
    assert started.run is not None and started.run.status == status
    assert the_run().rows_folded == 30, "the chunk that had begun is finished"
    assert_exact()


@pytest.mark.django_db
@pytest.mark.parametrize("status", WISHES)
def test_whoever_revives_obeys_for_a_worker_that_died(status: str) -> None:
    links = half_done()
    wish(status)
    links.sent.clear()
    expire_lease()
    assert links.revive() is not None
    assert (the_run().status, links.sent) == (status, [])
    assert events()[-1] == ("running", status, "ada", "admin")


@pytest.mark.django_db
def test_a_run_that_is_to_be_paused_may_be_cancelled() -> None:
    links = half_done()
    wish("paused")
    wish("cancelled")
    assert wish("paused").message == f"Run {the_run().pk} is to be cancelled, and cannot be paused any more"
    expire_lease()
    assert wish("paused").outcome == "refused"
    links.drain()
    assert the_run().status == "cancelled"


@pytest.mark.django_db
def test_the_last_chunk_is_faster_than_a_wish() -> None:
    make_page_views(20)
    links = Links()
    links.start(chunk_size=20)
    links.deliver_next()
    links.drain()
    assert wish("paused") == backfill.Answer("refused", None, "No run is active: there is nothing to pause")
    assert the_run().status == "succeeded"


# -- what is paused


@pytest.mark.django_db
def test_a_paused_run_stands_still_until_it_is_resumed() -> None:
    links = half_done()
    wish("paused")
    links.drain()
    run = the_run()
    assert links.start().run == run and links.sent == []
    assert "is paused by ada: --resume goes on with it" in links.start("rebuild").message
    with pytest.raises(PausedError, match="is paused by ada"):
        backfill.run_here("default", via="test")
    expire_lease()
    assert links.revive() is None
    assert wish("paused").outcome == "already"
    assert backfill.status("default")["eta_seconds"] is None
    assert the_run().rows_folded == 20
    answer = resume(links)
    assert (
        answer.message
        == f"Run {run.pk} (backfill) is resumed, and goes on after page view {active_generation().cursor}"
    )
    assert the_run().status == "queued"
    links.drain()
    assert the_run() == run and the_run().rows_folded == 60
    assert events() == [
        ("", "queued", "", "test"),
        ("queued", "running", "", "worker"),
        ("running", "paused", "ada", "admin"),
        ("paused", "queued", "ada", "admin"),
        ("queued", "running", "", "worker"),
        ("running", "succeeded", "", "worker"),
    ]
    assert_all_counted()


@pytest.mark.django_db
def test_a_run_that_was_paused_before_it_started_has_its_rate_from_its_start_on() -> None:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=10)
    wish("paused")
    BackfillRun.objects.update(paused_at=database_now("default") - timedelta(days=1))
    resume(links)
    links.deliver_next()  # of before the pause, which does nothing any more
    links.deliver_next()
    run = the_run()
    assert run.started_at is not None and run.idle_seconds == 0
    so_far = backfill.progress(run, run.started_at + timedelta(seconds=10))
    assert so_far.rows_per_second == run.rows_folded / 10 and (so_far.eta_seconds or 0) > 10


@pytest.mark.django_db
def test_the_time_that_a_run_stood_still_is_no_part_of_its_rate() -> None:
    links = half_done()
    wish("paused")
    links.drain()
    paused_at = database_now("default") - timedelta(days=1)
    started_at = paused_at - timedelta(seconds=10)
    BackfillRun.objects.update(created_at=started_at, started_at=started_at, paused_at=paused_at)
    assert backfill.progress(the_run()).rows_per_second == the_run().rows_folded / 10
    resume(links)
    run = the_run()
    assert run.idle_seconds > 86_000
    assert (backfill.progress(run).rows_per_second or 0) > run.rows_folded / 3_600
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_keeping_up_goes_on_while_a_run_is_paused() -> None:
    links = half_done()
    assert folding.keep_up("default", seconds=5).reason == "a run is at work on this generation"
    wish("paused")
    links.drain()
    assert folding.keep_up("default", seconds=5) == folding.KeptUp(40)
    resume(links)
    links.drain()
    assert the_run().status == "succeeded"
    assert_all_counted()


@pytest.mark.django_db
def test_a_late_link_of_before_a_pause_does_nothing_after_it() -> None:
    links = half_done()
    late = links.sent[0]
    wish("paused")
    links.deliver_next()
    resume(links)
    links.deliver(late)
    assert (the_run().status, the_run().rows_folded) == ("queued", 20)
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_pause_that_was_asked_for_can_be_withdrawn() -> None:
    links = half_done()
    wish("paused")
    assert resume(links).message.endswith("the pause that was asked for is withdrawn")
    assert resume(links).outcome == "already"
    links.drain()
    assert the_run().status == "succeeded"
    assert_all_counted()


# -- what is cancelled


@pytest.mark.django_db
def test_a_cancelled_backfill_leaves_what_it_has_folded() -> None:
    links = half_done()
    wish("cancelled")
    links.drain()
    assert_exact()
    assert resume(links).message == f"No run can be resumed: the last one, run {the_run().pk}, was cancelled"
    links.start(chunk_size=10)
    links.drain()
    assert the_run().rows_folded == 40
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("first", ["running", "paused"])
def test_a_cancelled_rebuild_leaves_the_old_aggregates_and_its_own_are_swept(first: str) -> None:
    make_page_views(40)
    backfill.run_here("default", via="test")
    old = active_generation()
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    new = the_run().generation
    if first == "paused":
        wish("paused")
        links.deliver_next()
        assert folding.sweep("default") == 0, "it may go on"
    wish("cancelled")
    links.drain()
    assert the_run().status == "cancelled"
    assert active_generation() == old
    assert folding.sweep("default", chunk_size=3) > 0
    assert not Aggregate.objects.filter(generation=new.pk).exists()
    assert_exact()


# -- what has failed


def fail(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "merge", lambda *args, **kwargs: 1 / 0)
        links.deliver_next()
    assert the_run().status == "failed"
    assert the_run().error.endswith("ZeroDivisionError: division by zero")


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_a_failed_run_can_be_resumed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    links = half_done(kind)
    fail(links, monkeypatch)
    assert folding.sweep("default") == 0, "a rebuild that may be resumed keeps its rows"
    assert resume(links).outcome == "done"
    assert (the_run().status, the_run().error, the_run().failure_count) == ("queued", "", 0)
    links.drain()
    assert the_run().rows_folded == 60
    assert_all_counted()


@pytest.mark.django_db
def test_a_failed_rebuild_is_swept_once_another_run_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    links = half_done("rebuild")
    fail(links, monkeypatch)
    new = the_run().generation_id
    backfill.run_here("default", via="test")
    assert folding.sweep("default") > 0
    assert not Aggregate.objects.filter(generation=new).exists()
    assert_all_counted()


@pytest.mark.django_db
def test_a_failed_rebuild_whose_rows_are_going_cannot_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    links = half_done("rebuild")
    fail(links, monkeypatch)
    assert folding.doom("default", the_run().generation_id)
    assert "cannot be resumed" in resume(links).message
    assert (the_run().status, links.sent) == ("failed", [])


@pytest.mark.django_db
def test_a_generation_that_a_run_goes_on_with_is_not_doomed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep had chosen it before the run was resumed."""
    links = half_done("rebuild")
    fail(links, monkeypatch)
    resume(links)
    assert not folding.doom("default", the_run().generation_id)
    links.drain()
    assert_all_counted()
    assert not folding.doom("default", active_generation().pk)
    assert not Generation.objects.filter(is_active=True).exclude(doomed_at=None).exists()


# -- a table that changes in the middle of a run


def replace_page_views(more: int) -> None:
    """As TRUNCATE does where ids begin anew, and more page views come than there were."""
    first = PageView.objects.order_by("pk").values_list("pk", flat=True)[0]
    count = PageView.objects.count() + more
    PageView.objects.all().delete()
    later = START + timedelta(days=900)
    PageView.objects.bulk_create(
        [PageView(pk=first + n, path=f"/{n % 3}", session_key=f"{n % 7}", viewed_at=later) for n in range(count)]
    )


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("more", [20, -50])
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
@pytest.mark.parametrize("was_paused", [False, True])
def test_a_run_does_not_go_on_with_other_page_views(kind: str, was_paused: bool, more: int) -> None:
    links = half_done(kind)
    if was_paused:
        wish("paused")
        links.deliver_next()
    replace_page_views(more)
    if was_paused:
        resume(links)
    links.drain()
    run = the_run()
    assert (run.status, run.rows_folded) == ("failed", 20)
    assert "--rebuild to count anew" in run.error
    assert resume(links).outcome == ("refused" if kind == "rebuild" else "done")
    links.drain()
    assert the_run().status == "failed", "it never goes on"
    backfill.run_here("default", kind="rebuild", via="test")
    assert backfill.status("default")["problem"] is None
    assert_all_counted()


@pytest.mark.django_db
def test_nor_in_the_middle_of_one_process() -> None:
    make_page_views(60)

    def watch(run: BackfillRun) -> bool:
        if run.rows_folded == 20:
            replace_page_views(20)
        return False

    started = backfill.run_here("default", via="test", chunk_size=10, watch=watch)
    assert started.run is not None and started.run.status == "failed"
    assert backfill.status("default")["problem"] is not None


# -- the watchdog


@pytest.mark.django_db
def test_so_many_revivals_without_progress_fail_a_run(settings: Any) -> None:
    settings.PAGESTATS_MAX_REVIVALS = 3
    links = half_done()
    for count in range(1, 4):
        expire_lease()
        assert links.revive() is not None
        assert (the_run().status, the_run().stalled_count) == ("running", count)
    links.sent.clear()
    expire_lease()
    assert links.revive() is not None
    run = the_run()
    assert (run.status, run.active_key, links.sent) == ("failed", None, [])
    assert run.error.startswith("Given to another worker 3 times in a row without progress (PAGESTATS_MAX_REVIVALS)")
    assert events()[-1] == ("running", "failed", "", "watchdog")
    resume(links)
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_progress_makes_the_count_of_revivals_begin_anew(settings: Any) -> None:
    settings.PAGESTATS_MAX_REVIVALS = 1
    links = half_done()
    for _ in range(3):
        links.sent.clear()
        expire_lease()
        links.revive()
        links.deliver_next()
        assert the_run().stalled_count == 0
    links.drain()
    assert the_run().revival_count == 3
    assert_all_counted()


# -- a link in the queue


@pytest.mark.django_db
def test_a_link_is_in_the_queue_until_a_worker_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    merge = chunks.merge
    seen = []

    def look(*args: Any, **options: Any) -> Any:
        seen.append((the_run().enqueued_at, the_run().taken_at is not None))
        return merge(*args, **options)

    assert the_run().enqueued_at is not None and the_run().taken_at is None
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "merge", look)
        links.deliver_next()
    assert seen == [(None, True)]
    assert the_run().enqueued_at is not None, "the next one"
    links.drain()
    assert the_run().enqueued_at is None


@pytest.mark.django_db
def test_a_link_of_a_revival_waits_since_the_first_that_nobody_took() -> None:
    make_page_views(60)
    backfill.run_here("default", via="test", chunk_size=10, watch=lambda run: True)
    BackfillRun.objects.update(wait_until=None)
    assert the_run().enqueued_at is None
    links = Links()
    expire_lease()
    links.revive()
    first = the_run().enqueued_at
    assert first is not None
    expire_lease()
    links.revive()
    assert the_run().enqueued_at == first
    assert backfill.missing_cluster(the_run(), first) == ""
    assert "No worker has taken a task of run" in backfill.missing_cluster(the_run(), first + timedelta(seconds=10))
    links.drain()
    assert backfill.missing_cluster(the_run(), first + timedelta(hours=1)) == ""
    assert_all_counted()


# -- the table of changes


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("to", BackfillRun.Status.values)
@pytest.mark.parametrize("before", BackfillRun.Status.values)
def test_no_other_change_than_those_of_the_table(before: str, to: str) -> None:
    make_page_views(10)
    Links().start()
    BackfillRun.objects.update(status=before)
    run = the_run()
    now = database_now("default")
    if (before, to) not in states.TRANSITIONS:
        with pytest.raises(states.IllegalChangeError):
            states.change(run, to, now=now, via="test")
        assert the_run().status == before
        return
    BackfillRun.objects.update(epoch=5)
    assert not states.change(run, to, now=now, via="test"), "of another epoch"
    run = the_run()
    BackfillRun.objects.update(status=next(status for status in BackfillRun.Status.values if status != before))
    assert not states.change(run, to, now=now, via="test"), "somebody else was faster"
    assert RunEvent.objects.count() == 1, "that of the start"
    BackfillRun.objects.update(status=before)
    assert states.change(run, to, now=now, via="test", reason="why")
    assert (the_run().status, the_run().is_active) == (to, to in states.ACTIVE)
    event = RunEvent.objects.latest("pk")
    assert (event.from_status, event.to_status, event.via, event.reason) == (before, to, "test", "why")


# -- signals


class Received:
    """What the signals of runs brought, while it is connected."""

    SIGNALS = {"started": backfill_started, "finished": backfill_finished, "failed": backfill_failed}

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.receivers = {name: self._receiver(name) for name in self.SIGNALS}

    def _receiver(self, name: str) -> Any:
        def receive(sender: type, run: BackfillRun, using: str, **kwargs: Any) -> None:
            assert (sender, using) == (BackfillRun, "default")
            self.seen.append((name, run.status))
            raise RuntimeError("a receiver's own fault")

        return receive

    def __enter__(self) -> Received:
        for name, signal in self.SIGNALS.items():
            signal.connect(self.receivers[name])
        return self

    def __exit__(self, *error: object) -> None:
        for name, signal in self.SIGNALS.items():
            signal.disconnect(self.receivers[name])


@pytest.mark.django_db(transaction=True)
def test_signals_are_sent_after_the_commit(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    make_page_views(30)
    with Received() as received:
        links = Links()
        links.start(chunk_size=10)
        fail(links, monkeypatch)
        resume(links)
        links.drain()
        assert received.seen == [("started", "queued"), ("failed", "failed"), ("finished", "succeeded")]
        make_page_views(10, seed=1)
        links.start("rebuild")
        wish("cancelled")
        assert received.seen[3:] == [("started", "queued"), ("finished", "cancelled")]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            backfill.start("default", via="test", enqueue=backfill.enqueue_nothing)
            1 / 0  # noqa: B018
        assert len(received.seen) == 5, "what is rolled back did not happen"
    assert "a receiver's own fault" in caplog.text
    assert_exact()
