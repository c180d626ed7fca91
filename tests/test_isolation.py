"""Whatever the isolation level of the site, and though each request be a transaction: what we change is changed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from django.utils import timezone
from django_q.models import Schedule

from django_pagestats import backfill, folding
from django_pagestats.backfill import claims
from django_pagestats.exceptions import InsideTransactionError, RunLockedError
from django_pagestats.models import BackfillRun, Generation
from django_pagestats.tasks import schedules
from tests.chains import Links, Other, active_generation, assert_all_counted, expire_lease, the_run
from tests.factories import make_page_views
from tests.test_admin import ACTION, PAGE_VIEWS, RUNS, level_tags, messages_of
from tests.test_admin import root as root
from tests.test_generations import wait_until_somebody_waits_for_us
from tests.test_ids import run_at_once

LEVELS = {"postgresql": ["repeatable read", "serializable"], "mysql": ["snapshot", "serializable"]}

pytestmark = [
    pytest.mark.usefixtures("short_waits", "strict"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.once,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="has one isolation level"),
    pytest.mark.parametrize("level", LEVELS.get(connection.vendor, ["none"])),
]


@pytest.fixture
def strict(level: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default of the site's sessions; "snapshot" is MariaDB's `innodb_snapshot_isolation`."""
    options = dict(connection.settings_dict.get("OPTIONS", {}))
    if connection.vendor == "postgresql":
        options["options"] = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    else:
        options["isolation_level"] = "repeatable read" if level == "snapshot" else level
        options["init_command"] = f"SET SESSION innodb_snapshot_isolation = {'ON' if level == 'snapshot' else 'OFF'}"
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    connection.close()
    yield
    connection.close()


def fold_elsewhere() -> None:
    """Another worker folds a chunk of the run meanwhile: its run and its generation move on."""
    with Other() as other:
        other.execute("UPDATE django_pagestats_backfillrun SET rows_folded = rows_folded + 1")
        other.execute("UPDATE django_pagestats_generation SET revision = revision + 1")
        other.commit()


#: what takes or waits for a lock of ours
WRITES = re.compile(r"(?s)(UPDATE|INSERT|DELETE)\b.*django_pagestats_|.*django_pagestats_.*(FOR |SHARE)")


class FoldsFirst:
    """Before the first statement of a verb that takes a lock, and after all that it read, a chunk is folded."""

    has_folded = False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.has_folded and WRITES.match(sql):
            self.has_folded = True
            fold_elsewhere()
        return execute(sql, params, many, context)


@contextmanager
def folding_first() -> Iterator[None]:
    first = FoldsFirst()
    with connection.execute_wrapper(first):
        yield
    assert first.has_folded


# -- what there is before


def running() -> Links:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    return links


def queued() -> Links:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=10)
    return links


def lost() -> Links:
    links = running()
    expire_lease()
    return links


def is_paused() -> Links:
    links = queued()
    backfill.pause("default", via="test")
    return links


def folded() -> Links:
    make_page_views(20)
    backfill.run_here("default", via="test")
    make_page_views(40, seed=1)
    return Links()


def with_an_old_one() -> Links:
    make_page_views(20)
    backfill.run_here("default", via="test")
    backfill.run_here("default", kind="rebuild", via="test", keep_old=True)
    return Links()


def an_old_one() -> int:
    return Generation.objects.order_by("pk").values_list("pk", flat=True)[0]


#: what there is before, what is done, and what comes of it
VERBS: dict[str, tuple[Callable[[], Links], Callable[[Links], Any], str]] = {
    "start": (folded, lambda links: links.start(chunk_size=10), "started"),
    "start a rebuild": (folded, lambda links: links.start("rebuild"), "started"),
    "start again": (lost, lambda links: links.start(), "active"),
    "ask for a pause": (running, lambda links: backfill.pause("default", via="test"), "asked"),
    "ask for an end": (running, lambda links: backfill.cancel("default", via="test"), "asked"),
    "pause": (queued, lambda links: backfill.pause("default", via="test"), "done"),
    "cancel": (queued, lambda links: backfill.cancel("default", via="test"), "done"),
    "resume": (is_paused, lambda links: backfill.resume("default", via="test", enqueue=links.enqueue), "done"),
    "change_nice": (running, lambda links: backfill.change_nice("default", 2.0, via="test"), "done"),
    "activate": (with_an_old_one, lambda links: backfill.activate("default", an_old_one(), via="test"), "done"),
    "discard": (with_an_old_one, lambda links: backfill.discard("default", an_old_one(), via="test"), "done"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_succeeds_while_chunks_are_folded(verb: str) -> None:
    before, do, expected = VERBS[verb]
    links = before()
    with folding_first():
        outcome = do(links)
    assert outcome.outcome == expected


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "activate"])
def test_inside_a_transaction_that_sees_what_was_before_the_answer_is_a_sentence(verb: str, level: str) -> None:
    """Or the verb succeeds, where the database lets a transaction write what it cannot see."""
    before, do, expected = VERBS[verb]
    links = before()
    with transaction.atomic():
        list(BackfillRun.objects.all()), list(Generation.objects.all())
        if (connection.vendor, level) == ("mysql", "serializable"):
            with Other() as other, pytest.raises(OperationalError, match="Lock wait timeout"):
                other.execute("SET SESSION innodb_lock_wait_timeout = 1")
                other.execute("UPDATE django_pagestats_generation SET revision = revision + 1")
            assert do(links).outcome == expected, "who has read the rows holds them: nobody folds meanwhile"
            return
        with folding_first():
            try:
                assert do(links).outcome == expected
            except RunLockedError as error:
                assert "end it, and try again" in str(error)
            else:
                return
        if connection.vendor == "postgresql":
            assert BackfillRun.objects.exists(), "the caller's transaction goes on"


def test_activate_is_refused_inside_a_transaction() -> None:
    with_an_old_one()
    with transaction.atomic(), pytest.raises(InsideTransactionError, match="end that first"):
        backfill.activate("default", an_old_one(), via="test")
    assert active_generation().pk != an_old_one()


def test_a_link_claims_its_run_while_somebody_writes_it() -> None:
    links = running()
    with folding_first():
        links.deliver_next(seconds=None)
    assert the_run().status == "succeeded"
    assert_all_counted()


def test_a_sweep_dooms_a_generation_while_it_changes() -> None:
    with_an_old_one()
    Generation.objects.filter(pk=an_old_one()).update(kept_at=None)
    with folding_first():
        assert folding.sweep("default") > 0


# -- a statement by itself, which waits for somebody who then commits


def while_somebody_writes(write: Callable[[], object], do: Callable[[], object]) -> None:
    def wait_for_it(barrier: threading.Barrier) -> None:
        barrier.wait(30)
        do()

    def write_meanwhile(barrier: threading.Barrier) -> None:
        with transaction.atomic():
            write()
            barrier.wait(30)
            wait_until_somebody_waits_for_us()

    assert run_at_once(wait_for_it, write_meanwhile) == []


def test_a_schedule_moves_on_while_the_scheduler_writes_it() -> None:
    schedules.ensure_schedule("default")
    Schedule.objects.update(next_run=timezone.now() - timedelta(hours=1))
    while_somebody_writes(lambda: Schedule.objects.update(repeats=-2), lambda: schedules.skip_missed_ticks("default"))
    assert Schedule.objects.get().next_run > timezone.now()


def test_a_worker_gives_a_sign_of_life_while_somebody_writes_its_run() -> None:
    links = running()
    worker = claims.Claim("default", the_run(), enqueue=links.enqueue, seconds=None)
    while_somebody_writes(lambda: BackfillRun.objects.update(nice=2.0), lambda: worker.stay(wait_reason="lives"))
    assert (the_run().nice, the_run().wait_reason) == (2.0, "lives")


# -- each request a transaction


@pytest.fixture
def each_request_is_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


POSTS: dict[str, tuple[Callable[[], Links], str, dict[str, object]]] = {
    "pause": (running, "{run}/pause/", {}),
    "cancel": (running, "{run}/cancel/", {}),
    "resume": (is_paused, "{run}/resume/", {}),
    "nice": (running, "{run}/nice/", {"nice": "2"}),
    "start": (folded, "backfill/", {}),
}


@pytest.mark.usefixtures("each_request_is_a_transaction")
@pytest.mark.parametrize("what", POSTS)
def test_a_button_of_the_admin(what: str, root: Client) -> None:
    before, url, values = POSTS[what]
    before()
    with folding_first():
        response = root.post(RUNS + url.format(run=the_run().pk), values, follow=True)
    assert response.status_code == 200
    assert level_tags(response) == ["success"], messages_of(response)


@pytest.mark.usefixtures("each_request_is_a_transaction")
def test_the_action_of_the_admin(root: Client) -> None:
    folded()
    with folding_first():
        response = root.post(PAGE_VIEWS, ACTION, follow=True)
    assert level_tags(response) == ["success"], messages_of(response)


@pytest.mark.usefixtures("each_request_is_a_transaction")
def test_the_progress_of_a_run_whose_worker_is_lost(root: Client) -> None:
    lost()
    with folding_first():
        response = root.get(f"{RUNS}{the_run().pk}/progress/")
    assert (response.status_code, response.json()["queue_problem"]) == (200, "")
    assert the_run().revival_count == 1
