"""`kill -9` of a worker between every two statements of a rebuild's last link, on a site with live visitors.

That link catches up with the active generation, checks the new one, and switches. Before each death keeping up has
moved the active generation on, so that there is something to catch up with. Whenever the worker dies one generation
answers, and it is right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_pagestats import backfill, folding, stats, tasks
from django_pagestats.models import BackfillRun, Generation, PageView
from tests import torture
from tests.chains import the_run
from tests.cluster import Site
from tests.crashes import (
    CHUNK_SIZE,
    TO_THE_END,
    Nursery,
    Visitors,
    assert_consistent,
    assert_right,
    make_large_table,
    next_link,
)
from tests.dying import Order, Place, places_of
from tests.factories import make_page_views

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_turn(2)]

#: enough for several chunks, and for days of many pages: it is the end of a rebuild that matters, not its length
PAGE_VIEWS = 12_000
#: of rebuilds after the first
LARGE_CHUNKS = 4_000
#: in the bounded form workers die in one of so many parts of the places, another one each time
PARTS = 4
#: the merge of a chunk: in the bounded form these deaths are left to tests/test_crash_statements.py
MERGING = re.compile(r"COPY|stored|(INSERT INTO|DELETE FROM) .?django_pagestats_aggregate|MAX\(bucket\)")


#: what the statements of a last link have, each of which somebody is to die before
NEEDED = ("COUNT", "SUM", "is_active", "runevent", "COMMIT")


@pytest.fixture
def nursery(tmp_path: Path, settings: Any) -> Iterator[Nursery]:
    settings.PAGESTATS_SETTLE_SECONDS = 0.1
    settings.PAGESTATS_MAX_REVIVALS = 1_000  # links that die before they fold make no progress
    with Nursery(Site(tmp_path)) as nursery:
        yield nursery


def start_rebuild(nursery: Nursery, chunk_size: int) -> BackfillRun:
    """And let it do all but its last link: until it is as far as its target, and the active generation."""
    started = tasks.start_backfill("default", kind="rebuild", via="test", chunk_size=chunk_size)
    assert started.outcome == "started" and started.run is not None, started.message
    while (cursor := the_run().generation.cursor) < the_run().target:
        left = PageView.objects.filter(pk__gt=cursor, pk__lte=the_run().target).count()
        # each folds one chunk and hands over: one more would begin with what comes after the last chunk
        links = max(1, math.ceil(left / chunk_size))
        epoch = next_link()
        nursery.order(Order(started.run.pk, list(range(epoch, epoch + links))))
    return the_run()


def keep_up() -> None:
    """There is something to catch up with, whether a visitor came or not."""
    make_page_views(1, with_attributes=True)
    before = folding.active_generation("default")
    assert before is not None
    kept_up = folding.keep_up("default", seconds=30)
    assert kept_up.page_views > 0, kept_up.reason


class LastLinks:
    """Lets one worker after another die in the last link of a rebuild, in each place in turn."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.places: list[Place] = []
        self.runs = 0
        self.made = 0

    def ready(self) -> BackfillRun:
        """A rebuild of which only the last link is to be done; its links died so far, if any."""
        run = backfill.active_run("default")
        if run is None:
            self.runs += 1
            run = start_rebuild(self.nursery, CHUNK_SIZE if self.runs == 1 else LARGE_CHUNKS)
        keep_up()
        self.made += 1
        return run

    def work(self, dies: Place | None, *, without: str = "") -> list[str]:
        run = self.ready()
        done = self.nursery.order(Order(run.pk, [next_link()], dies, seconds=TO_THE_END, without=without))
        assert_one_answers()
        if done["ended"] != 0 and dies is not None:
            assert done["steps"][-1] == dies.before
            self.places.append(dies)
        steps: list[str] = done["steps"]
        return steps


def assert_one_answers() -> None:
    """The old generation, or the new one if the run has succeeded; and it is what a plain count finds."""
    active = Generation.objects.get(is_active=True)
    run = the_run()
    assert run.status in ("running", "succeeded"), run.error
    assert (active.pk == run.generation_id) == (run.status == "succeeded")
    assert_consistent()
    assert stats.count_page_views() >= PageView.objects.filter(pk__lte=active.cursor).count()


def test_workers_die_between_every_two_statements_of_a_switch(tmp_path: Path, nursery: Nursery) -> None:
    make_large_table(PAGE_VIEWS)
    with Visitors(Site(tmp_path)) as visitors:
        started = tasks.start_backfill("default", via="test")
        assert started.run is not None
        nursery.order(Order(started.run.pk, [next_link()], seconds=TO_THE_END))
        if the_run().is_active:
            nursery.order(Order(started.run.pk, [next_link()], seconds=TO_THE_END))
        links = LastLinks(nursery)
        links.work(None)  # catches up in several chunks
        places = places_of(links.work(None))
        for place in places if torture.IS_LONG else some_of(places):
            links.work(place)
        die_in_both_counts(links, places)
        if the_run().is_active:
            links.work(None)
        recorded = visitors.leave()
    texts = " ".join(place.before for place in links.places)
    for statement in NEEDED:
        assert statement in texts, links.places
    assert_right(recorded + links.made, PAGE_VIEWS)


def some_of(places: list[Place]) -> list[Place]:
    """Today's part, with one place at least before each of the statements that make a switch."""
    places = [place for place in places if not MERGING.search(place.before)]
    some = places[torture.part(PARTS) :: PARTS]
    missing = [text for text in NEEDED if not any(text in place.before for place in some)]
    also = [next(place for place in reversed(places) if text in place.before) for text in missing]
    return [place for place in places if place in (*some, *also)]


def die_in_both_counts(links: LastLinks, places: list[Place]) -> None:
    """Before the count of a check that begins, and of one that goes on where a worker who died before had come to."""
    count = next(place for place in places if "COUNT" in place.before)
    later = next(place for place in places if "SUM" in place.before)
    if the_run().is_active:
        links.work(None)
    for has_begun, place in ((False, count), (False, later), (True, count)):
        run = links.ready()
        assert (run.check_state is not None) is has_begun
        links.work(place)
        assert links.places[-1] == place


@pytest.mark.control
def test_control_with_a_switch_in_two_transactions_nothing_answers(nursery: Nursery) -> None:
    make_page_views(500, with_attributes=True)
    folding.keep_up("default", seconds=30)
    links = LastLinks(nursery)
    steps = links.work(None, without="one transaction of the switch")
    place = [place for place in places_of(steps) if "is_active" in place.before and "UPDATE" in place.before][-1]
    with pytest.raises(Generation.DoesNotExist):
        links.work(place, without="one transaction of the switch")
