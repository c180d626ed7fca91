"""Real clusters whose processes are killed, stopped and frozen in the middle of runs, on a site with live visitors.

Whatever happens, whoever looks after the run (`--wait`, the admin's page and the schedule do so by `revive`) lets it go
on, and in the end the numbers are those of a plain count. Two runs are never active, and a run that nobody stops ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction

from django_pagestats import backfill
from django_pagestats.clock import database_now
from django_pagestats.models import Aggregate, BackfillRun
from testproject.cluster import MANAGE, Cluster
from testproject.settings import KIND
from tests import servers, torture
from tests.chains import expire_lease, the_run
from tests.cluster import BROKERS, Site, wait_until
from tests.crashes import CHUNK_SIZE, Visitors, assert_consistent, assert_right, make_large_table
from tests.factories import ALL, SITE, make_page_views

pytestmark = pytest.mark.django_db(transaction=True)

#: so long without progress the run is looked after; a lease is not waited for
PATIENCE = 3.0
#: for what takes seconds on an idle machine
TIMEOUT = 120.0


class Scene:
    """A site with visitors, a run, and clusters to which things happen."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.dice = random.Random(seed)
        self.clusters: list[Cluster] = []

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill_clusters()
        self.site.forget()

    @property
    def cluster(self) -> Cluster:
        return self.clusters[-1]

    def start_cluster(self, workers: int = 1) -> None:
        self.clusters.append(self.site.another_cluster(PAGESTATS_CLUSTER_WORKERS=str(workers)))
        self.cluster.start()

    def kill_clusters(self) -> None:
        for cluster in self.clusters:
            cluster.kill()
        self.clusters.clear()

    # -- the run

    def start(self, *options: str) -> None:
        self.site.manage("backfill_aggregates", "--chunk-size", str(CHUNK_SIZE), *options)

    def look_after(self) -> None:
        """What `--wait` does, without waiting for the lease."""
        expire_lease()
        self.site.manage("backfill_aggregates")

    def wait_for(self, condition: Callable[[], object], what: str, *, timeout: float = TIMEOUT) -> None:
        """Look after the run whenever it has not moved for a while."""
        deadline = time.monotonic() + timeout
        seen, seen_at = None, time.monotonic()
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {the_run()}, {self.cluster.log()}"
            if seen != (seen := the_run().rows_folded):
                seen_at = time.monotonic()
            elif time.monotonic() > seen_at + PATIENCE:
                self.look_after()
                seen_at = time.monotonic()
            time.sleep(0.02)

    def go_on(self, *, timeout: float = TIMEOUT) -> None:
        """The run folds a chunk; if there is none to be folded any more, a new run does."""

        def has_moved() -> bool:
            run = the_run()
            return (run.pk, run.rows_folded) != before or not run.is_active

        before = (the_run().pk, the_run().rows_folded)
        self.wait_for(has_moved, "no progress", timeout=timeout)
        if not the_run().is_active:
            assert the_run().status == "succeeded", the_run().error
            self.start("--rebuild")
            self.wait_for(lambda: the_run().rows_folded > 0, "no progress of a new run")

    def end(self) -> None:
        self.wait_for(lambda: not the_run().is_active, "the run does not end")
        assert the_run().status == "succeeded", the_run().error

    @contextlib.contextmanager
    def mid_link(self) -> Iterator[None]:
        """A worker has the run, and cannot commit before the end of this block: it is in the middle of its link."""
        while True:
            self.go_on()
            with transaction.atomic():
                run = BackfillRun.objects.select_for_update().get(pk=the_run().pk)
                if run.status == "running" and run.enqueued_at is None:
                    yield
                    return

    # -- what may happen

    def everything_is_killed(self) -> None:
        """And a cluster with another number of workers comes."""
        with self.mid_link():
            self.kill_clusters()
        assert_consistent()
        self.start_cluster(self.dice.choice([1, 2, 3]))

    def the_pusher_is_killed(self) -> None:
        """The link that it had in hand is lost, and with it perhaps the queue's only place: then for good (#23)."""
        self._kill(self.cluster.pusher_pids()[-1])
        wait_until(lambda: len(self.cluster.pusher_pids()) > 1, "a new pusher")
        with contextlib.suppress(AssertionError):
            self.go_on(timeout=5 * PATIENCE)
        self.kill_clusters()
        self.start_cluster()

    def the_monitor_is_killed(self) -> None:
        """The new one waits for ever for the lock of the dead: nothing is acknowledged any more (django-q2 #23)."""
        self._kill(self.cluster.monitor_pids()[-1])
        wait_until(lambda: len(self.cluster.monitor_pids()) > 1, "a new monitor")
        self.go_on()
        self.everything_is_killed()

    def the_sentinel_is_killed(self) -> None:
        """What is left of the cluster are orphans, which work on; a new cluster comes beside them."""
        orphans = self.cluster
        self._kill(parent(orphans.worker_pids()[-1]))
        orphans.process.wait(TIMEOUT)
        self._replace(orphans)

    def the_main_process_is_killed(self) -> None:
        orphans = self.cluster
        self._kill(orphans.process.pid)
        orphans.process.wait(TIMEOUT)
        self._replace(orphans)

    def _replace(self, orphans: Cluster) -> None:
        self.go_on()
        self.start_cluster()
        self.go_on()
        with self.mid_link():
            orphans.kill()
        self.clusters.remove(orphans)

    def another_host_comes_and_goes(self) -> None:
        """Two clusters on one database, killed in turn, each while the other goes on."""
        self.start_cluster(self.dice.choice([1, 2]))
        self.go_on()
        for cluster in list(self.clusters):
            with self.mid_link():
                cluster.kill()
            self.clusters.remove(cluster)
            if not self.clusters:
                self.start_cluster()
            self.go_on()

    def a_deploy(self) -> None:
        """SIGTERM in the middle of a chunk: the worker does its link to the end, and another cluster goes on."""
        cluster = self.cluster
        with self.mid_link():
            cluster.process.terminate()
        assert cluster.process.wait(TIMEOUT) == 0, cluster.log()  # a second SIGTERM would hang it for good
        self.clusters.remove(cluster)
        run = the_run()
        was_handed_over = run.enqueued_at is not None or run.wait_until is not None
        assert was_handed_over or not run.is_active, "the link was lost"
        self.start_cluster(self.dice.choice([1, 2, 3]))

    def the_worker_is_killed(self) -> None:
        """In its link, so that the run is lost, then while it waits for a task: see `freeze`."""
        self.kill_clusters()
        self.start_cluster()
        with self.mid_link():
            self._kill(self.cluster.worker_pids()[-1])
        wait_until(lambda: len(self.cluster.worker_pids()) > 1, "a new worker")
        self.go_on()
        self.freeze()
        status, told = ask_for_status(self.site)
        assert status == 4
        run = the_run()
        assert f"No worker has taken a task of run {run.pk} since {run.taken_at:%Y-%m-%d %H:%M:%S} UTC" in told
        assert "restart the cluster" in told
        # while a busy machine starts the process that asks a lease may go by: not three times
        assert any(self._is_well_after_a_part_here() for _ in range(3))
        self.kill_clusters()
        self.start_cluster()

    def _is_well_after_a_part_here(self) -> bool:
        do_a_part_here(self.site)
        return ask_for_status(self.site)[0] == 0

    def freeze(self) -> None:
        """An idle worker is killed, and holds the queue's lock for ever: processes live, and no task is taken.

        Killed again if it was not idle yet. Afterwards the time of a lease has gone by.
        """
        for _ in range(10):
            self.pause()
            wait_until(lambda: is_idle(self.cluster), "an idle worker")
            workers = len(self.cluster.worker_pids())
            self._kill(self.cluster.worker_pids()[-1])
            wait_until(lambda before=workers: len(self.cluster.worker_pids()) > before, "a new worker")
            self.site.manage("backfill_aggregates", "--resume")
            with contextlib.suppress(AssertionError):
                wait_until(lambda: the_run().status == "running", "the link is not taken", timeout=2 * PATIENCE)
                continue
            BackfillRun.objects.update(enqueued_at=database_now("default") - timedelta(minutes=2))
            return
        raise AssertionError("the cluster never froze")

    def a_pause(self) -> None:
        self.pause()
        self.site.manage("backfill_aggregates", "--resume")

    def pause(self) -> None:
        self._ask_for(backfill.pause, "paused")

    def _ask_for(self, wish: Callable[..., object], status: str) -> None:
        """Until a run is so: one may always end before it is asked, or with the chunk at hand."""
        while the_run().status != status:
            self.go_on()
            wish("default", via="test")
            self.wait_for(lambda: the_run().status == status or not the_run().is_active, f"it is not {status}")

    def a_cancellation(self) -> None:
        """And a new run."""
        self._ask_for(backfill.cancel, "cancelled")
        self.start(*self.dice.choice([("--rebuild",), ()]))
        if not the_run().is_active:
            self.start("--rebuild")

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


EVENTS = (
    Scene.everything_is_killed,
    Scene.the_pusher_is_killed,
    Scene.a_deploy,
    Scene.a_pause,
    Scene.the_sentinel_is_killed,
    Scene.another_host_comes_and_goes,
    Scene.a_cancellation,
    Scene.the_worker_is_killed,
    Scene.the_monitor_is_killed,
    Scene.the_main_process_is_killed,
)


#: of the bounded form: each at least once on one of the databases
SOME_EVENTS = {
    "sqlite": (Scene.everything_is_killed, Scene.a_deploy, Scene.the_worker_is_killed, Scene.a_pause),
    "postgresql": (
        Scene.the_pusher_is_killed,
        Scene.another_host_comes_and_goes,
        Scene.a_cancellation,
        Scene.the_worker_is_killed,
    ),
    "mariadb": (
        Scene.the_monitor_is_killed,
        Scene.a_pause,
        Scene.the_sentinel_is_killed,
        Scene.a_deploy,
        Scene.the_main_process_is_killed,
    ),
}


def is_idle(cluster: Cluster) -> bool:
    """Whether the last task that was begun has ended."""
    tasks = re.findall(r" processing (\S+) ", cluster.log())
    return not tasks or f"({tasks[-1]})" in cluster.log()


def parent(pid: int) -> int:
    """The process that forked another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(params=BROKERS if torture.IS_LONG else BROKERS[-1:])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "redis":
        servers.require("redis")
    return Site(tmp_path, broker=request.param, PAGESTATS_LINK_SECONDS="0.2", PAGESTATS_LEASE_SECONDS="5")


@pytest.mark.parametrize("seed", torture.seeds())
def test_processes_are_killed_one_after_another(site: Site, seed: int) -> None:
    """In the long form everything happens twice, in an order of its own; else some of it."""
    make_large_table()
    with Scene(site, seed) as scene, Visitors(site) as visitors:
        scene.start_cluster()
        scene.start()
        events = scene.dice.sample(EVENTS * 2, 2 * len(EVENTS)) if torture.IS_LONG else SOME_EVENTS[KIND]
        for event in events:
            scene.go_on()
            event(scene)
        scene.end()
        recorded = visitors.leave()
        scene.kill_clusters()
        assert_right(recorded)


def ask_for_status(site: Site) -> tuple[int, str]:
    """The exit status of `--status`, and what it prints."""
    done = subprocess.run(
        [sys.executable, str(MANAGE), "backfill_aggregates", "--status"],
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def do_a_part_here(site: Site) -> None:
    """`--sync` takes the run over from a cluster that does nothing; after some chunks Ctrl-C is pressed."""
    before = the_run().rows_folded
    here = subprocess.Popen(
        [sys.executable, str(MANAGE), *the_run().command.split(), "--sync"],
        env={**os.environ, **site.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: the_run().rows_folded > before or here.poll() is not None, "--sync does nothing")
    here.send_signal(signal.SIGINT)
    assert here.wait(TIMEOUT) in (130, 0)  # interrupted, unless it was faster
    assert the_run().rows_folded > before


@pytest.mark.control
@pytest.mark.in_turn(2)
def test_control_without_epoch_and_cursor_two_chains_count_page_views_twice(tmp_path: Path) -> None:
    """A link that is delivered twice, as after each death above: with the fences the second one does nothing."""
    site = Site(
        tmp_path,
        PAGESTATS_LINK_SECONDS="0.1",
        PAGESTATS_CLUSTER_WORKERS="2",
        PAGESTATS_WITHOUT="epochs,cursor",
        DJANGO_SETTINGS_MODULE="tests.unprotected_settings",
    )
    make_page_views(3_000, with_attributes=True)
    with Scene(site, 1) as scene:
        site.manage("backfill_aggregates", "--chunk-size", "20")
        twice(site)
        scene.start_cluster(2)
        wait_until(lambda: not the_run().is_active, "the end of the run", timeout=TIMEOUT)
        wait_until(lambda: site.queue_size() == 0, "the end of the other chain", timeout=TIMEOUT)
    assert Aggregate.objects.get(dimension=SITE, granularity=ALL).page_views > 3_000


def twice(site: Site) -> None:
    from django_pagestats import tasks

    with transaction.atomic():
        tasks.enqueue("default", the_run().pk, the_run().epoch)
