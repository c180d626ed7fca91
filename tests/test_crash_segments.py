"""`kill -9` of those who build one generation together: between every two statements, and of whole clusters.

Whoever dies, what was folded is counted once, and the build goes on: a segment whose worker is lost gets a link again,
or the run's own worker does what is left of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from django_pagestats import tasks
from django_pagestats.models import BackfillRun, BuildSegment
from tests import servers, torture
from tests.chains import assert_all_counted, assert_exact, only_on, the_run
from tests.cluster import BROKERS, Site, wait_until
from tests.crashes import TO_THE_END, Nursery, Visitors, assert_right, make_large_table, next_link
from tests.dying import Order, Place, places_of
from tests.factories import make_page_views
from tests.test_crash_clusters import Scene

pytestmark = [pytest.mark.django_db(transaction=True)]

#: a part of a build has ten chunks at least
SMALL_CHUNK = 5
PAGE_VIEWS = 160


@pytest.fixture
def nursery(tmp_path: Path, settings: Any) -> Iterator[Nursery]:
    settings.PAGESTATS_SETTLE_SECONDS = 0.1
    settings.PAGESTATS_MAX_REVIVALS = 1_000
    with Nursery(Site(tmp_path, PAGESTATS_WORKERS="2")) as nursery:
        yield nursery


def begin(nursery: Nursery) -> tuple[BackfillRun, BuildSegment]:
    """A rebuild that is cut in two, of which its own worker has folded one chunk."""
    started = tasks.start_backfill("default", kind="rebuild", via="test", chunk_size=SMALL_CHUNK)
    assert started.outcome == "started" and started.run is not None, started.message
    while not (found := list(BuildSegment.objects.filter(run=started.run))):
        nursery.order(Order(started.run.pk, [next_link()]))
    return the_run(), found[0]


def finish(nursery: Nursery) -> None:
    run = the_run()
    if run.is_active:
        nursery.order(Order(run.pk, [next_link()], seconds=TO_THE_END))
    assert the_run().status == "succeeded", the_run().error
    assert the_run().rows_folded == PAGE_VIEWS
    assert not BuildSegment.objects.filter(run=run).exists()
    assert_all_counted()


class Deaths:
    """Each place of a link once, however often it comes."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.places: list[Place] = []

    def order(self, order: Order) -> dict[str, Any]:
        done = self.nursery.order(order)
        if done["ended"] != 0 and order.dies is not None:
            assert done["steps"][-1] == order.dies.before
            self.places.append(order.dies)
        assert_exact()
        return done

    def assert_were_before(self, *statements: str) -> None:
        missing = [text for text in statements if not any(text in place.before for place in self.places)]
        assert not missing, self.places


@only_on("postgresql", "mysql")
@pytest.mark.in_turn(0)
def test_a_segments_worker_dies_between_every_two_statements_of_its_link(nursery: Nursery) -> None:
    make_page_views(PAGE_VIEWS, with_attributes=True)
    deaths = Deaths(nursery)

    def work(dies: Place | None) -> list[str]:
        """One chunk; a part that is done, or gone, makes room for a new run."""
        segment = BuildSegment.objects.filter(run__active_key="active", kind="fold").first()
        if segment is None or segment.upto - segment.cursor <= 2 * SMALL_CHUNK:
            if BackfillRun.objects.filter(active_key="active").exists():
                finish(nursery)
            _, segment = begin(nursery)
        order = Order(the_run().pk, [segment.epoch], dies, segment=segment.pk)
        steps: list[str] = deaths.order(order)["steps"]
        return steps

    for place in places_of(work(None)):
        work(place)
    deaths.assert_were_before("epoch", "shared", "aggregate", "django_q_ormq", "COMMIT", "the end of the link")
    finish(nursery)


@only_on("postgresql", "mysql")
@pytest.mark.in_turn(1)
@pytest.mark.parametrize("what", ["cuts", "takes in and takes over"])
def test_the_runs_own_worker_dies_where_it(what: str, nursery: Nursery) -> None:
    """In the link that cuts; or in the one that does all the rest, after another has done a half of its part."""
    make_page_views(PAGE_VIEWS, with_attributes=True)
    deaths = Deaths(nursery)

    def work(dies: Place | None) -> list[str]:
        if what == "cuts":
            tasks.start_backfill("default", kind="rebuild", via="test", chunk_size=SMALL_CHUNK)
            time.sleep(0.2)  # until its horizon has come
            seconds = 0.0
        else:
            run, segment = begin(nursery)
            nursery.order(Order(run.pk, list(range(12)), segment=segment.pk))
            seconds = TO_THE_END
        steps: list[str] = deaths.order(Order(the_run().pk, [next_link()], dies, seconds=seconds))["steps"]
        finish(nursery)
        return steps

    seen: set[str] = set()
    for place in places_of(work(None)):
        text = place.after if place.before == "COMMIT" else place.before
        is_about_parts = "segment" in text or (place.before == "COMMIT" and "ormq" in text)
        # in the bounded form before what writes: a death before a read is one before the next of these
        is_write = place.before.startswith(("INSERT", "UPDATE", "DELETE", "COMMIT"))
        if is_about_parts and (torture.IS_LONG or (is_write and place.before not in seen)):
            seen.add(place.before)
            work(place)
    deaths.assert_were_before("INSERT" if what == "cuts" else "DELETE FROM", "COMMIT")


class Builders(Scene):
    """Several workers build; each of them has a task of the same run."""

    def start_cluster(self, workers: int = 3) -> None:
        super().start_cluster(max(2, workers))

    def one_worker_is_killed(self) -> None:
        """While others hold their chunks open: whoever it is, in the middle of a chunk."""
        wait_until(lambda: BuildSegment.objects.filter(epoch__gt=0).exists() or not the_run().is_active, "a helper")
        with transaction.atomic():
            list(BuildSegment.objects.select_for_update().filter(run=the_run()))
            os.kill(self.dice.choice(self.cluster.worker_pids()), signal.SIGKILL)
        self.kill_clusters()  # its queue may be frozen by now: see test_crash_clusters
        self.start_cluster()
        self.go_on()


EVENTS = (
    Builders.one_worker_is_killed,
    Builders.everything_is_killed,
    Builders.another_host_comes_and_goes,
    Builders.a_pause,
    Builders.a_cancellation,
)


@only_on("postgresql", "mysql")
@pytest.mark.in_turn(2)
@pytest.mark.parametrize("seed", torture.seeds())
def test_clusters_that_build_together_are_killed_one_after_another(tmp_path: Path, seed: int, settings: Any) -> None:
    broker = BROKERS[-1]
    if broker == "redis":
        servers.require("redis")
    settings.PAGESTATS_WORKERS = 3
    wanted = {"PAGESTATS_LINK_SECONDS": "0.2", "PAGESTATS_LEASE_SECONDS": "5", "PAGESTATS_WORKERS": "3"}
    site = Site(tmp_path, broker=broker, **wanted)
    make_large_table()
    with Builders(site, seed) as scene, Visitors(site) as visitors:
        scene.start_cluster()
        scene.start()
        assert the_run().is_build
        for event in scene.dice.sample(EVENTS, len(EVENTS)):
            scene.go_on()
            event(scene)
        scene.end()
        recorded = visitors.leave()
        scene.kill_clusters()
        assert_right(recorded)
