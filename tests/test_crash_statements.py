"""`kill -9` of a worker between every two statements of a link, one after another, on a site with live visitors.

The workers are real processes that really die; beginning and end of each transaction are places to die at too. After
each death the sums are compared with a plain count, and the run goes on: by the link in the queue if the dead worker
had committed one, else by a revival. A link of an epoch before comes once more each time, as the ORM's broker would
send it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_pagestats import tasks
from django_pagestats.merging import database_for
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
    queued_epochs,
)
from tests.dying import Order, Place, places_of
from tests.factories import make_page_views

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_turn]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def nursery(site: Site) -> Iterator[Nursery]:
    with Nursery(site) as nursery:
        yield nursery


def start() -> int:
    """A run in chunks of 200; gives its id."""
    started = tasks.start_backfill("default", via="test", chunk_size=CHUNK_SIZE)
    assert started.outcome == "started" and started.run is not None, started.message
    return started.run.pk


class Deaths:
    """Lets one worker after another die, in each place of a link in turn; each place once, in the long form again."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.places: list[Place] = []

    def new_places(self, steps: list[str]) -> list[Place]:
        """Where nobody has died yet, of the places between a link's statements."""
        found = places_of(steps)
        return found if torture.IS_LONG else [place for place in found if place not in self.places]

    def die(self, place: Place, died: dict[str, Any]) -> None:
        """Note a death, if it was one: a link may have had no such place, a chunk without new visitors for example."""
        if died["ended"] != 0:
            assert died["steps"][-1] == place.before
            self.places.append(place)

    def in_chunks(self, run: int, *, is_warm: bool = False, thread: str = "main", without: str = "") -> None:
        """Die in links of one chunk.

        A link before it, by the same worker, is left alone: a run of which every link dies without progress would
        rightly be given up. A warm worker has done two of them: by then it uses what it has read ahead.
        """
        alone = 2 if is_warm else 1

        def work(dies: Place | None) -> dict[str, Any]:
            epoch = next_link()
            before = the_run().rows_folded
            epochs = [epoch - 1, *range(epoch, epoch + alone + 1)]
            done = self.nursery.order(Order(run, epochs, dies, thread, is_warm, without=without))
            assert_consistent()
            assert the_run().rows_folded - before in (alone * CHUNK_SIZE, (alone + 1) * CHUNK_SIZE)
            return done

        for place in self.new_places(work(None)["steps"]):
            self.die(place, work(place))

    def in_short_runs(self) -> int:
        """Die in links that do all of a run over the newest page views; how many of these there were."""

        def work(dies: Place | None) -> dict[str, Any]:
            make_page_views(1, with_attributes=True)
            run = start()
            done = self.nursery.order(Order(run, [next_link()], dies, seconds=TO_THE_END))
            assert_consistent()
            if the_run().is_active:
                finish(self.nursery, run)
            assert the_run().status == "succeeded"
            return done

        work(None)  # all that was recorded so far: not short
        places = self.new_places(work(None)["steps"])
        for place in places:
            self.die(place, work(place))
        return 2 + len(places)

    def assert_were_before(self, *statements: str) -> None:
        missing = [text for text in statements if not any(text in place.before for place in self.places)]
        assert not missing, self.places


def finish(nursery: Nursery, run: int) -> None:
    """Let one link do what is left of a run."""
    assert nursery.order(Order(run, [next_link()], seconds=TO_THE_END))["ended"] == 0
    assert (the_run().pk, the_run().status) == (run, "succeeded"), the_run().error


CLAIM = 'SET "epoch"'
RUN = 'SET "lease_until"'
CURSOR = 'SET "cursor"'
if connection.vendor == "mysql":
    CLAIM, RUN, CURSOR = (text.replace('"', "`") for text in (CLAIM, RUN, CURSOR))


def test_workers_die_between_every_two_statements_of_a_link(site: Site, nursery: Nursery) -> None:
    make_large_table()
    deaths = Deaths(nursery)
    with Visitors(site) as visitors:
        run = start()
        nursery.order(Order(run, [next_link()]))  # takes the run, and waits for its horizon
        deaths.in_chunks(run)
        deaths.assert_were_before(CLAIM, RUN, "django_q_ormq", CURSOR, "aggregate", "COMMIT", "the end of the link")
        deaths.in_chunks(run, is_warm=True)
        if database_for("default").READS_AHEAD:
            deaths.in_chunks(run, is_warm=True, thread="reader")
        finish(nursery, run)
        count = deaths.in_short_runs()
        deaths.assert_were_before("runevent", "the end of the link")
        recorded = visitors.leave()
    assert_right(recorded + count)


def die_before(statement: str, nursery: Nursery, run: int, *, without: str = "") -> None:
    """Let a link of one chunk die before the first statement that has this text in it."""
    places = places_of(nursery.order(Order(run, [the_run().epoch], without=without))["steps"])
    place = next(place for place in places if statement in place.before)
    assert nursery.order(Order(run, [the_run().epoch], place, without=without))["ended"] == -9


@pytest.mark.control
def test_control_without_a_revival_the_run_never_goes_on(nursery: Nursery) -> None:
    """Every link that was ever sent comes again, as it may with the ORM's broker: the dead worker's claim is over."""
    make_page_views(3_000, with_attributes=True)
    run = start()
    nursery.order(Order(run, [0]))
    die_before(CURSOR, nursery, run)
    before = the_run().rows_folded
    nursery.order(Order(run, sorted(set(queued_epochs(the_run())))))
    assert (the_run().status, the_run().rows_folded) == ("running", before)
    nursery.order(Order(run, [next_link()]))  # which revives it
    assert the_run().rows_folded == before + CHUNK_SIZE


@pytest.mark.control
def test_control_with_cursor_and_aggregates_in_two_transactions_a_death_makes_wrong_numbers(nursery: Nursery) -> None:
    make_page_views(3_000, with_attributes=True)
    run = start()
    nursery.order(Order(run, [0]))
    die_before(CURSOR, nursery, run, without="one transaction")
    with pytest.raises(AssertionError, match="page_views"):
        assert_consistent()


@pytest.mark.control
def test_control_without_the_epoch_a_link_that_comes_again_works_too(nursery: Nursery) -> None:
    make_page_views(3_000, with_attributes=True)
    run = start()
    nursery.order(Order(run, [0]))
    with pytest.raises(AssertionError, match="rows_folded"):
        Deaths(nursery).in_chunks(run, without="epochs")
