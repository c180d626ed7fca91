"""Links that come twice at once, an hour late, after a pause and a resume; watchdogs that look together; wrong clocks.

On a site with live visitors, from connections of their own. That a link is delivered at all is done here, in the place
of a cluster: so every delivery can be repeated, and held back.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F, Q
from django_q.models import OrmQ

from django_pagestats import backfill, tasks
from django_pagestats.backfill import starting
from django_pagestats.clock import database_now
from django_pagestats.models import BackfillRun
from testproject.cluster import MANAGE
from tests import torture
from tests.chains import expire_lease, the_run
from tests.cluster import Site, wait_until
from tests.crashes import CHUNK_SIZE, Visitors, assert_right, make_large_table, next_link, queued_epochs
from tests.factories import make_page_views
from tests.test_ids import run_at_once
from tests.unprotected import without_epochs

pytestmark = pytest.mark.django_db(transaction=True)

#: at the last; a link that waits for a visitor's transaction takes a turn too
MOST_TURNS = 400
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def short_links(settings: Any) -> None:
    settings.PAGESTATS_LINK_SECONDS = 0.3
    settings.PAGESTATS_SETTLE_SECONDS = 0.1
    settings.PAGESTATS_NICE = 0


def at_once(work: Callable[[], object], *, times: int = 2) -> None:
    """By so many threads, each with a connection of its own, from a common start."""

    def wait_and_work(barrier: threading.Barrier) -> None:
        barrier.wait(30)
        work()

    assert run_at_once(*[wait_and_work] * times) == []


def an_hour_goes_by() -> None:
    """By the database's clock: every moment that the run knows is an hour earlier than it was."""
    earlier = {
        field.name: F(field.name) - HOUR
        for field in BackfillRun._meta.concrete_fields
        if field.get_internal_type() == "DateTimeField"
    }
    BackfillRun.objects.update(**earlier)


class Deliveries:
    """The queue of the run, and what becomes of its links."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.run = the_run().pk
        self.ever: list[int] = []
        self.happened: set[str] = set()

    def deliver(self, epoch: int) -> None:
        tasks.link("default", self.run, epoch)

    def next_link(self) -> int:
        """The one live link, of those in the queue and of a waiting run's; it stays where it is."""
        epoch = next_link()
        self.ever.append(epoch)
        return epoch

    def assert_one_chain(self) -> None:
        run = the_run()
        assert queued_epochs(run).count(run.epoch) <= 1

    # -- what happens

    def twice_at_once(self) -> None:
        epoch = self.next_link()
        at_once(lambda: self.deliver(epoch))
        assert the_run().epoch == epoch + 1, "both have worked"

    def an_hour_late(self) -> None:
        """After the run was paused and resumed, and has gone on: the link knows nothing of it."""
        late = self.next_link()
        assert backfill.pause("default", via="test").outcome in ("asked", "done")
        if the_run().status != "paused":
            self.deliver(late)  # the worker obeys; its copy comes late
        assert the_run().status == "paused"
        an_hour_goes_by()
        before = BackfillRun.objects.values().get(pk=self.run)
        self.deliver(late)
        assert BackfillRun.objects.values().get(pk=self.run) == before
        assert tasks.resume_backfill("default", via="test").outcome == "done"
        self.deliver(self.next_link())
        an_hour_goes_by()
        before = BackfillRun.objects.values().get(pk=self.run)
        for epoch in self.dice.sample(self.ever, min(5, len(self.ever))):
            self.deliver(epoch)
        assert BackfillRun.objects.values().get(pk=self.run) == before

    def two_watchdogs_at_once(self) -> None:
        """The link was lost; of those who look at the same time one revives the run."""
        OrmQ.objects.all().delete()
        expire_lease()
        before = the_run()
        at_once(lambda: tasks.revive("default"))
        assert (the_run().epoch, the_run().revival_count) == (before.epoch + 1, before.revival_count + 1)
        assert queued_epochs(the_run()) == [before.epoch + 1]

    def play(self) -> None:
        ways = [self.an_hour_late, self.two_watchdogs_at_once, self.twice_at_once, self.twice_at_once]
        for turn in range(MOST_TURNS):
            if not the_run().is_active:
                return
            way = self.twice_at_once if turn == 0 or the_run().wait_until is not None else self.dice.choice(ways)
            way()
            self.happened.add(way.__name__)
            self.assert_one_chain()
        raise AssertionError("the run does not end")


def start(kind: str = "backfill", *, chunk_size: int = CHUNK_SIZE) -> int:
    started = tasks.start_backfill("default", kind=kind, via="test", chunk_size=chunk_size)
    assert started.outcome == "started" and started.run is not None, started.message
    return started.run.pk


@pytest.mark.in_turn(1)
@pytest.mark.parametrize("seed", torture.seeds())
def test_links_come_twice_late_or_never_and_the_numbers_are_right(seed: int, tmp_path: Path) -> None:
    make_large_table()
    with Visitors(Site(tmp_path)) as visitors:
        for kind in ("backfill", "rebuild") if torture.IS_LONG else ("backfill",):
            start(kind)
            deliveries = Deliveries(seed)
            deliveries.play()
            assert the_run().status == "succeeded", the_run().error
            assert deliveries.happened == {"an_hour_late", "two_watchdogs_at_once", "twice_at_once"}
        recorded = visitors.leave()
    assert_right(recorded)


@pytest.mark.control
def test_control_without_the_epoch_a_link_that_comes_twice_makes_two_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    without_epochs(monkeypatch.setattr)
    make_page_views(5_000, with_attributes=True)
    start(chunk_size=5)
    OrmQ.objects.all().delete()
    at_once(lambda: tasks.link("default", the_run().pk, 0))
    assert len(queued_epochs(the_run())) == 2


@pytest.mark.control
def test_control_without_a_look_at_the_epoch_two_watchdogs_send_two_links(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)

    def revive(run: BackfillRun, is_free: Q, *, now: datetime, enqueue: backfill.Enqueue) -> bool:
        both.wait(30)  # both have seen the run without a worker
        BackfillRun.objects.filter(pk=run.pk).update(epoch=F("epoch") + 1, lease_until=now + HOUR)
        enqueue("default", run.pk, BackfillRun.objects.get(pk=run.pk).epoch)
        return True

    monkeypatch.setattr(starting, "_revive", revive)
    make_page_views(100, with_attributes=True)
    start()
    OrmQ.objects.all().delete()
    expire_lease()
    at_once(lambda: tasks.revive("default"))
    assert len(queued_epochs(the_run())) == 2


# -- clocks


class WrongClocks(Site):
    """A site of which every process but this one has a clock that is some minutes ahead, or behind."""

    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder, DJANGO_SETTINGS_MODULE="tests.skewed_settings", **environment)

    def look(self, skew: int, *options: str, without: str = "") -> str:
        """What `backfill_aggregates` says: it starts a run, or looks whether the active one is to be revived."""
        environment = {**self.environment, "PAGESTATS_SKEW": str(skew), "PAGESTATS_WITHOUT": without}
        done = subprocess.run(
            [sys.executable, str(MANAGE), "backfill_aggregates", *options],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert f"the clock is wrong by {skew} s" in done.stderr
        return done.stdout


@pytest.mark.in_turn(1)
def test_clocks_that_are_minutes_ahead_and_behind_do_no_harm(tmp_path: Path) -> None:
    """Two clusters, as two hosts have, and somebody on each who looks after the run; a lease is a minute.

    To django-q2 a task from a clock that is ahead is not due yet, and one that the other has just taken was taken so
    long ago that it is to be delivered once more.
    """
    make_large_table()
    site = WrongClocks(tmp_path, PAGESTATS_LINK_SECONDS="0.2")
    ahead, behind = (site.another_cluster(PAGESTATS_SKEW=seconds) for seconds in ("300", "-300"))
    with Visitors(Site(tmp_path)) as visitors, behind, contextlib.ExitStack() as later:
        assert "started" in site.look(-300, "--chunk-size", str(CHUNK_SIZE))
        wait_until(lambda: the_run().rows_folded > 0, "a chunk")
        later.enter_context(ahead)
        for skew in (300, -300):
            assert "revived" not in site.look(skew)
        wait_until(lambda: not the_run().is_active, "the end of the run", timeout=120)
        recorded = visitors.leave()
        assert (the_run().status, the_run().revival_count) == ("succeeded", 0), the_run().error
        assert_are_near(database_now("default"), the_run())
    for cluster in (ahead, behind):
        assert " processing " in cluster.log(), "it has done nothing"
    assert_right(recorded)


def assert_are_near(now: datetime, run: BackfillRun) -> None:
    """Every moment that workers wrote is of the database's clock."""
    for name in ("started_at", "taken_at", "progressed_at", "finished_at"):
        assert abs(getattr(run, name) - now) < timedelta(minutes=4), name


@pytest.mark.control
def test_control_with_leases_by_ones_own_clock_a_live_run_is_taken_away(tmp_path: Path) -> None:
    make_page_views(2_000, with_attributes=True)
    start(chunk_size=5)
    tasks.link("default", the_run().pk, 0)
    site = WrongClocks(tmp_path)
    assert "is already running" in site.look(300)
    assert "was without a worker and is revived" in site.look(300, without="the database's clock")
