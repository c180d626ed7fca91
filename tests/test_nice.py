"""PAGESTATS_NICE: a rest after each chunk, changed while the run is active; a long one gives the worker back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from django_pagestats import backfill, folding
from django_pagestats.backfill import claims, waiting
from django_pagestats.clock import database_now
from django_pagestats.folding import chunks
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, RunEvent
from tests.chains import Links, assert_all_counted, expire_lease, the_run
from tests.factories import make_page_views
from tests.patching import replace

pytestmark = pytest.mark.usefixtures("short_waits")

Database = type(database_for("default"))


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Instead of resting, keeps for how long."""
    rests: list[float] = []
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: rests.append(seconds))
    return rests


def slow_chunks(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Each chunk takes so long, by the clock that rests are measured by."""
    passed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(waiting.time, "monotonic", lambda: real() + passed[0])
    merge = Database.merge

    def merge_slowly(*args: Any, **kwargs: Any) -> Any:
        passed[0] += seconds
        return merge(*args, **kwargs)

    monkeypatch.setattr(Database, "merge", merge_slowly)


def change(nice: float | None, **which: Any) -> backfill.Answer:
    return backfill.change_nice("default", nice, actor="ada", via="admin", **which)


@pytest.mark.django_db
def test_in_this_process_nothing_rests_unless_it_is_asked_for(rests: list[float], settings: Any) -> None:
    make_page_views(30)
    backfill.run_here("default", via="test", chunk_size=10)
    assert rests == []
    backfill.run_here("default", kind="rebuild", via="test", chunk_size=10, nice=2.0)
    assert len(rests) == 2 and all(rests), "after each chunk but the last"
    settings.PAGESTATS_NICE = 1.0
    make_page_views(30, seed=1)
    backfill.run_here("default", via="test", chunk_size=10)
    assert len(rests) == 4
    make_page_views(30, seed=2)
    backfill.run_here("default", via="test", chunk_size=10, nice=0)
    assert len(rests) == 4, "what was asked for goes before the setting"


@pytest.mark.django_db
def test_it_is_changed_while_the_run_is_active(rests: list[float], settings: Any) -> None:
    settings.PAGESTATS_NICE = 0.0
    make_page_views(50)
    links = Links()
    links.start(chunk_size=10)
    seen: list[float | None] = []

    def watch(run: BackfillRun) -> bool:
        seen.append(run.nice)
        if len(seen) == 2:
            change(3.0)
        return False

    backfill.run_here("default", via="test", watch=watch)
    assert seen[:2] == [None, None] and seen[2] == 3.0
    assert len(rests) == 2, "from the next chunk on"
    assert_all_counted()


@pytest.mark.django_db
def test_who_changed_it_is_an_event() -> None:
    make_page_views(5)
    Links().start()
    run = the_run()
    assert change(2.5, run_id=run.pk).outcome == "done"
    event = RunEvent.objects.latest("pk")
    assert (event.from_status, event.to_status, event.actor, event.via) == ("queued", "queued", "ada", "admin")
    assert event.reason == "rests after each chunk 2.5 times as long as it took"
    assert change(None).message == f"Run {run.pk} rests after each chunk as PAGESTATS_NICE says, from the next chunk on"
    assert the_run().nice is None


@pytest.mark.django_db
def test_a_run_that_has_ended_or_another_one_is_left_alone() -> None:
    assert change(1.0).message == "No run is active: there is nothing to change"
    make_page_views(5)
    Links().start()
    pk = the_run().pk
    assert change(1.0, run_id=pk + 1).outcome == "refused"
    backfill.run_here("default", via="test")
    assert change(1.0, run_id=pk).message == f"Run {pk} is not active any more: there is nothing to change"
    assert the_run().nice is None
    assert not RunEvent.objects.filter(reason__startswith="rests").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("nice", [-1.0, 101.0, float("nan"), True])
def test_what_will_not_do_is_an_error(nice: Any) -> None:
    with pytest.raises(ValueError, match="must be None or a number from 0 to 100"):
        change(nice)


@pytest.mark.django_db
def test_a_long_rest_gives_the_worker_back(rests: list[float], monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PAGESTATS_NICE = 10.0
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    slow_chunks(monkeypatch, 3.0)
    before = database_now("default")
    links.deliver_next(seconds=60)
    run = the_run()
    assert rests == [] and links.sent == []
    ((link, at),) = links.scheduled
    assert run.wait_until == at and at - before > timedelta(seconds=29)
    assert run.lease_until == at, "nobody revives it meanwhile"
    assert run.wait_reason == "rests 10 times as long as its chunk took"
    assert run.status == "running"
    links.deliver(link)
    assert the_run().rows_folded == 20
    links.drain()
    while the_run().is_active:
        expire_lease()
        links.revive()
        links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_rest_in_this_process_looks_at_the_run_and_keeps_its_lease(
    rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(30)
    slow_chunks(monkeypatch, 0.0)
    ahead = [0.0]
    real = time.monotonic
    monkeypatch.setattr(waiting.time, "monotonic", lambda: real() + ahead[0])
    merge = Database.merge

    def take_two_seconds(*args: Any, **kwargs: Any) -> Any:
        ahead[0] += 2.0
        return merge(*args, **kwargs)

    def rest(seconds: float, using: str) -> None:
        rests.append(seconds)
        ahead[0] += seconds
        if len(rests) == 4:
            backfill.pause("default", via="test")

    monkeypatch.setattr(Database, "merge", take_two_seconds)
    replace(monkeypatch.setattr, folding.rest, rest)
    backfill.run_here("default", via="test", chunk_size=10, nice=50)
    assert the_run().status == "paused", "a hundred seconds of rest, and the wish is seen in the fourth"
    assert rests == [1.0] * 4
    assert the_run().lease_until > database_now("default") + timedelta(seconds=50)


@pytest.mark.django_db
@pytest.mark.parametrize("nice", [0.0, 1.0, 4.0, 19.0, 40.0, 100.0])
def test_chunks_are_shorter_so_that_rests_are(nice: float, settings: Any) -> None:
    settings.PAGESTATS_NICE = nice
    make_page_views(5)
    Links().start()
    run = BackfillRun.objects.select_related("generation").get()
    claim = claims.Claim("default", run, enqueue=backfill.enqueue_nothing, seconds=2.0)
    usual = Database.CHUNK_SECONDS
    wanted = waiting.Waiting(claim).chunk_seconds()
    assert 0 < wanted <= usual
    assert nice * wanted <= (waiting.SHORT_REST_SECONDS if nice <= 20 else waiting.LONG_REST_SECONDS) + 1e-9
    if nice <= 1:
        assert wanted == usual


@pytest.mark.once
@pytest.mark.django_db
def test_a_run_that_rests_folds_smaller_chunks(rests: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(8_000)
    sizes: dict[float, int] = {}
    monkeypatch.setattr(chunks, "FIRST_CHUNK_SIZE", 100)
    monkeypatch.setattr(Database, "CHUNK_SECONDS", 1_000.0)
    for nice in (0.0, 2.0):
        monkeypatch.setattr(waiting, "SHORT_REST_SECONDS", 1e-6)
        backfill.run_here("default", kind="rebuild", via="test", nice=nice)
        sizes[nice] = the_run().chunk_size
    assert sizes[0.0] > 1_000 and sizes[2.0] == 100
