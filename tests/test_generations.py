"""Generations that are kept: one of them answers again, or is given up; answers stay exact, whoever else is at work."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from django_pagestats import backfill, folding, stats
from django_pagestats.backfill import chain, failing, generations, starting, switching
from django_pagestats.clock import database_now
from django_pagestats.exceptions import GenerationReplacedError, RunLockedError
from django_pagestats.folding import chunks
from django_pagestats.merging import database_for
from django_pagestats.models import REVISION_STEP, Aggregate, BackfillRun, Generation, PageView
from tests.accounts import ask_administrator
from tests.chains import (
    Links,
    Other,
    active_generation,
    assert_all_counted,
    assert_exact,
    assert_generation_exact,
    only_on,
    the_run,
)
from tests.factories import make_page_views
from tests.patching import replace
from tests.test_ids import run_at_once
from tests.test_wishes import fail, half_done, replace_page_views, resume

Database = type(database_for("default"))

pytestmark = pytest.mark.usefixtures("short_waits")


def rebuild(*, keep_old: bool = True) -> Generation:
    """A rebuild to its end; the generation that it built."""
    run = backfill.run_here("default", kind="rebuild", via="test", keep_old=keep_old).run
    assert run is not None and run.status == "succeeded"
    return run.generation


def activate(generation: Generation | int, *, keep_old: bool = False) -> backfill.Answer:
    number = generation if isinstance(generation, int) else generation.pk
    return backfill.activate("default", number, keep_old=keep_old, actor="ada", via="admin")


def discard(generation: Generation | int) -> backfill.Answer:
    number = generation if isinstance(generation, int) else generation.pk
    return backfill.discard("default", number, actor="ada", via="admin")


def two_generations() -> tuple[Generation, Generation]:
    """One that is kept, of thirty page views, and one that answers, of forty."""
    make_page_views(30, with_attributes=True)
    backfill.run_here("default", via="test")
    old = active_generation()
    make_page_views(10, seed=1, with_attributes=True)
    new = rebuild()
    old.refresh_from_db()
    return old, new


def fate(generation: Generation) -> tuple[bool, bool, bool]:
    """Whether it answers, is kept, is doomed."""
    generation.refresh_from_db()
    return bool(generation.is_active), generation.kept_at is not None, generation.doomed_at is not None


ANSWERS, KEPT, DOOMED = (True, False, False), (False, True, False), (False, False, True)


# -- keeping


@pytest.mark.django_db
@pytest.mark.parametrize("keep_old", [True, False])
def test_a_rebuild_keeps_the_old_generation_if_asked_to(keep_old: bool) -> None:
    make_page_views(30, with_attributes=True)
    backfill.run_here("default", via="test")
    old = active_generation()
    before = database_now("default")
    new = rebuild(keep_old=keep_old)
    assert (fate(old), fate(new)) == (KEPT if keep_old else DOOMED, ANSWERS)
    assert before <= (old.kept_at or old.doomed_at) <= database_now("default")
    rows = Aggregate.objects.filter(generation=old.pk).count()
    assert rows > 7
    assert folding.sweep("default", chunk_size=7) == (0 if keep_old else rows)
    assert Aggregate.objects.filter(generation=old.pk).exists() is keep_old
    assert_all_counted()


@pytest.mark.django_db
def test_only_a_rebuild_keeps() -> None:
    make_page_views(30, with_attributes=True)
    backfill.run_here("default", via="test", keep_old=True)
    assert fate(active_generation()) == ANSWERS
    assert backfill.kept("default") == []


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["start", "take over"])
def test_a_rebuild_that_is_active_keeps_too_if_a_later_start_asks_for_it(how: str) -> None:
    make_page_views(30, with_attributes=True)
    backfill.run_here("default", via="test")
    old = active_generation()
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    if how == "start":
        assert links.start("rebuild", keep_old=True).message.endswith("The generation that it replaces will be kept")
        assert not links.start("rebuild").message.endswith("kept"), "not to be told again"
        links.drain()
    else:
        rebuild()
    assert fate(old) == KEPT


@pytest.mark.django_db
def test_a_start_that_asks_while_the_worker_is_at_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has read its run long before; what counts is what the run says when it switches."""
    make_page_views(30, with_attributes=True)
    backfill.run_here("default", via="test")
    old = active_generation()
    links = Links()
    links.start("rebuild")
    difference = switching.Check.difference

    def ask_first(check: switching.Check) -> str:
        links.start("rebuild", keep_old=True)
        return difference(check)

    monkeypatch.setattr(switching.Check, "difference", ask_first)
    links.deliver_next(seconds=None)
    assert (the_run().status, fate(old)) == ("succeeded", KEPT)


@pytest.mark.django_db
def test_a_start_that_asks_when_the_rebuild_has_just_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30, with_attributes=True)
    links = Links()
    links.start("rebuild")
    run = the_run()
    links.drain()
    assert not starting._keep_old(run)
    assert not the_run().keep_old


@pytest.mark.django_db
def test_a_backfill_that_is_active_is_no_rebuild_to_keep_anything_for() -> None:
    links = half_done()
    assert "no rebuild was started" in links.start("rebuild", keep_old=True).message
    assert not the_run().keep_old


@pytest.mark.django_db
def test_a_sweep_that_had_chosen_it_before_leaves_it() -> None:
    old, _ = two_generations()
    assert not folding.doom("default", old.pk)
    assert fate(old) == KEPT


@pytest.mark.django_db
def test_what_is_kept_is_told_the_last_one_first() -> None:
    first, second = two_generations()
    rebuild()
    assert [int(text.split()[1]) for text in backfill.kept("default")] == [second.pk, first.pk]
    assert backfill.kept("default")[1] == (
        f"Generation {first.pk} is kept: 'manage.py backfill_aggregates --activate {first.pk}' makes it answer again,"
        f" '--discard {first.pk}' deletes it"
    )


# -- answering again


@pytest.mark.django_db
@pytest.mark.parametrize("keep_old", [True, False])
def test_a_kept_generation_answers_again(keep_old: bool, caplog: pytest.LogCaptureFixture) -> None:
    old, new = two_generations()
    caplog.set_level(logging.INFO, generations.__name__)
    answer = activate(old, keep_old=keep_old)
    assert answer.outcome == "done"
    assert (fate(old), fate(new)) == (ANSWERS, KEPT if keep_old else DOOMED)
    what = "is kept: “Activate” on its page" if keep_old else "are deleted in chunks"
    assert answer.message.startswith(f"Generation {old.pk} answers again.") and what in answer.message
    assert "10 page views came after those that it counts" in answer.message
    assert f"generation {old.pk}: answers, by ada from admin" in caplog.text
    assert stats.count_page_views() == 40
    assert stats.summary().pending == 10
    assert_exact()
    assert folding.sweep("default") == 0 or not keep_old
    assert folding.keep_up("default", seconds=5) == folding.KeptUp(10)
    assert_all_counted()
    assert Aggregate.objects.filter(generation=new.pk).exists() is keep_old


@pytest.mark.django_db
def test_both_get_a_new_revision_each_time() -> None:
    """Whoever reads an answer in several statements sees that another one answered in between, there and back."""
    old, new = two_generations()
    before = old.revision, new.revision
    activate(old, keep_old=True)
    activate(new, keep_old=True)
    for generation, revision in zip((old, new), before, strict=True):
        generation.refresh_from_db()
        assert 2 * REVISION_STEP <= generation.revision - revision < 4 * REVISION_STEP


@pytest.mark.django_db
def test_a_second_time_says_that_it_is_so() -> None:
    old, new = two_generations()
    activate(old)
    answer = activate(old)
    assert (answer.outcome, answer.message) == ("already", f"Generation {old.pk} answers already")
    assert (fate(old), fate(new)) == (ANSWERS, DOOMED)


def no_such(links: Links) -> tuple[int, str]:
    return 10**6, f"There is no generation {10**6}"


def being_deleted(links: Links) -> tuple[int, str]:
    doomed = rebuild()
    rebuild(keep_old=False)
    return doomed.pk, "is being deleted"


def deleted(links: Links) -> tuple[int, str]:
    gone = rebuild()
    rebuild(keep_old=False)
    folding.sweep("default")
    return gone.pk, "was deleted"


def being_built(links: Links) -> tuple[int, str]:
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    return the_run().generation_id, "is being built, and not checked yet"


def half_built(links: Links) -> tuple[int, str]:
    being_built(links)
    BackfillRun.objects.filter(active_key="active").update(status="failed", active_key=None)
    return the_run().generation_id, "is left over, and will be deleted"


def replaced_before_this_release(links: Links) -> tuple[int, str]:
    old = active_generation()
    rebuild()
    Generation.objects.filter(pk=old.pk).update(kept_at=None)
    return old.pk, "is left over, and will be deleted"


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize(
    "make", [no_such, being_deleted, deleted, being_built, half_built, replaced_before_this_release]
)
@pytest.mark.parametrize("verb", [activate, discard])
def test_others_are_refused_and_it_is_said_which_would_do(
    verb: Callable[[int], backfill.Answer], make: Callable[[Links], tuple[int, str]]
) -> None:
    kept, _ = two_generations()
    number, why = make(Links())
    before = list(Generation.objects.order_by("pk").values())
    answer = verb(number)
    assert why in answer.message
    if verb is discard and make in (being_deleted, deleted):
        assert answer.outcome == "already"
    else:
        assert answer.outcome == "refused"
        assert re.search(f"(the one that is kept is|those that are kept are) {kept.pk}", str(answer.message))
    assert list(Generation.objects.order_by("pk").values()) == before


@pytest.mark.django_db
@pytest.mark.parametrize("verb", [activate, discard])
def test_it_is_said_if_none_is_kept(verb: Callable[[int], backfill.Answer]) -> None:
    assert verb(7).message == "There is no generation 7: no generation is kept"


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("status", ["queued", "running", "paused"])
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_not_while_a_run_is_active(kind: str, status: str) -> None:
    old, new = two_generations()
    make_page_views(30, seed=2, with_attributes=True)
    links = Links()
    links.start(kind, chunk_size=10)
    if status == "running":
        links.deliver_next()
    elif status == "paused":
        backfill.pause("default", via="test")
    answer = activate(old)
    assert (answer.outcome, answer.run) == ("refused", the_run())
    assert answer.message == f"Run {the_run().pk} ({kind}) is {status}: let it end, or cancel it, first"
    assert (fate(old), fate(new)) == (KEPT, ANSWERS)
    backfill.cancel("default", via="test")
    links.drain()
    assert activate(old).outcome == "done"
    assert_exact()


@pytest.mark.django_db
@pytest.mark.parametrize("more", [20, -30])
def test_not_where_its_page_views_are_gone(more: int) -> None:
    old, _ = two_generations()
    replace_page_views(more)
    rebuild(keep_old=False)
    answer = activate(old)
    assert answer.outcome == "refused"
    assert answer.message.startswith(f"Generation {old.pk} cannot answer. ") and "--rebuild" in answer.message
    assert fate(old) == KEPT
    assert_generation_exact(active_generation())


@pytest.mark.django_db
def test_one_of_another_zone_answers_and_it_is_said(settings: Any) -> None:
    old, _ = two_generations()
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    rebuild()
    answer = activate(old)
    assert answer.outcome == "done"
    assert "cut by the days and hours of UTC, and PAGESTATS_TIME_ZONE is Asia/Kathmandu" in answer.message
    folding.keep_up("default", seconds=5)
    assert_all_counted()


@pytest.mark.django_db
def test_what_a_long_tail_needs_is_said(settings: Any) -> None:
    old, _ = two_generations()
    settings.PAGESTATS_TAIL_LIMIT = 5
    message = activate(old, keep_old=True).message
    assert "More than 5 page views came after those that it counts" in message
    assert "slowly, until “Backfill aggregates” has folded them" in message
    assert stats.count_page_views() == 40
    backfill.run_here("default", via="test")
    assert_all_counted()


@pytest.mark.django_db
def test_page_views_that_only_the_old_one_counts_are_told() -> None:
    old, _ = two_generations()
    PageView.objects.filter(pk__in=list(PageView.objects.order_by("pk").values_list("pk", flat=True)[:7])).delete()
    rebuild()
    assert "page views were deleted" in activate(old).message


@pytest.mark.django_db
def test_nothing_is_done_if_what_is_to_be_said_cannot_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = two_generations()
    replace(monkeypatch.setattr, folding.tail_length, lambda using, limit: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        activate(old)
    assert (fate(old), fate(new)) == (KEPT, ANSWERS)


@pytest.mark.django_db
def test_a_target_that_keeping_up_waited_for_is_forgotten() -> None:
    """It was fixed for page views that came long ago, by the clock of another time."""
    old, new = two_generations()
    Generation.objects.update(settling={"kept": "from before"})
    activate(old)
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.settling, new.settling) == (None, None)


# -- giving up


@pytest.mark.django_db
def test_a_kept_generation_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    old, new = two_generations()
    caplog.set_level(logging.INFO, generations.__name__)
    answer = discard(old)
    assert answer.outcome == "done" and "kept no longer" in answer.message
    assert f"generation {old.pk}: kept no longer, by ada from admin" in caplog.text
    assert (fate(old), fate(new)) == (DOOMED, ANSWERS)
    assert folding.sweep("default", chunk_size=5) > 5
    assert not Aggregate.objects.filter(generation=old.pk).exists()
    assert discard(old).outcome == "already"
    assert activate(old).outcome == "refused"
    assert_all_counted()


@pytest.mark.django_db
def test_the_one_that_answers_is_not_given_up() -> None:
    old, new = two_generations()
    answer = discard(new)
    assert answer.outcome == "refused"
    assert answer.message == f"Generation {new.pk} answers: the one that is kept is {old.pk}"
    assert fate(new) == ANSWERS


# -- runs of before


@pytest.mark.django_db
@pytest.mark.parametrize("keep_old", [True, False])
def test_a_failed_backfill_of_another_generation_is_not_resumed(
    keep_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = two_generations()
    make_page_views(30, seed=2, with_attributes=True)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    fail(links, monkeypatch)
    assert backfill.possible("default", the_run()) == ["resume"]
    activate(old, keep_old=keep_old)
    assert backfill.possible("default", the_run()) == []
    answer = resume(links)
    assert answer.outcome == "refused"
    assert answer.message.endswith("cannot be resumed, since another generation answers by now: start a new one")
    assert (the_run().status, links.sent) == ("failed", [])
    folding.sweep("default")
    assert Aggregate.objects.filter(generation=new.pk).exists() is keep_old, "nobody goes on with it"
    links.start(chunk_size=10)
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_failed_rebuild_is_resumed_and_replaces_whichever_answers_then(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = two_generations()
    links = Links()
    links.start("rebuild", chunk_size=10, keep_old=True)
    links.deliver_next()
    fail(links, monkeypatch)
    activate(old, keep_old=True)
    resume(links)
    links.drain()
    assert (fate(old), fate(new), fate(the_run().generation)) == (KEPT, KEPT, ANSWERS)
    assert_all_counted()


# -- races


def in_another_session(act: Callable[[], Any]) -> list[Any]:
    """What it gives, done on a connection of its own while this one stands still."""
    given: list[Any] = []
    assert run_at_once(lambda barrier: given.append(act())) == []
    return given


class Once:
    """Calls something at a step, the first time only."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, before: Any = None, after: Any = None
    ):
        self.original = getattr(owner, name)
        self.before, self.after = before, after
        self.happened: list[Any] = []
        monkeypatch.setattr(owner, name, lambda *args, **options: self(*args, **options))

    def __call__(self, *args: Any, **options: Any) -> Any:
        is_time, before, after = not self.happened, self.before, self.after
        self.happened.append(None) if is_time else None
        if is_time and before:
            self.happened[0] = before()
        result = self.original(*args, **options)
        if is_time and after:
            self.happened[0] = after()
        return result


def wait_until_somebody_waits_for_us() -> None:
    """Until another session wants a lock that this one has."""
    mine, waits = {
        "postgresql": (
            "pg_backend_pid()",
            "SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))",
        ),
        "mysql": (
            "connection_id()",
            "SELECT 1 FROM information_schema.innodb_lock_waits AS w JOIN information_schema.innodb_trx AS t"
            " ON t.trx_id = w.blocking_trx_id WHERE t.trx_mysql_thread_id = %s",
        ),
    }[connection.vendor]
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {mine}")
        (session,) = cursor.fetchone()
    while time.monotonic() < deadline:
        if ask_administrator(waits, session):
            return
        # MariaDB looks anew where nobody has looked for a tenth of a second: two who ask by turns keep it from that
        time.sleep(random.uniform(0.15, 0.6))
    raise AssertionError("nobody came to wait")


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_another_generation_comes_to_answer_before_a_run_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start has read which one answers, and then that is another."""
    old, _ = two_generations()
    make_page_views(30, seed=2, with_attributes=True)
    step = Once(monkeypatch, starting, "lease", before=lambda: in_another_session(lambda: activate(old).outcome))
    links = Links()
    assert links.start(chunk_size=10).outcome == "started"
    assert step.happened == [["done"]]
    assert (the_run().generation, BackfillRun.objects.filter(active_key="active").count()) == (old, 1)
    links.drain()
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_start_waits_for_another_generation_that_is_coming_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the locks, and has not committed, when the run is stored."""
    old, _ = two_generations()
    make_page_views(30, seed=2, with_attributes=True)
    links = Links()
    has_switched = threading.Event()

    def let_a_start_come() -> None:
        has_switched.set()
        wait_until_somebody_waits_for_us()

    Once(monkeypatch, switching, "switch", after=let_a_start_come)

    def start(barrier: threading.Barrier) -> None:
        barrier.wait(30)
        assert has_switched.wait(30)
        assert links.start(chunk_size=10).outcome == "started"

    def other(barrier: threading.Barrier) -> None:
        barrier.wait(30)
        assert activate(old).outcome == "done"

    assert run_at_once(start, other) == []
    assert the_run().generation == old
    links.drain()
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["start", "resume"])
def test_no_generation_comes_to_answer_that_waited_for_a_start(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is stored and not committed when the locks are asked for."""
    old, new = two_generations()
    make_page_views(30, seed=2, with_attributes=True)
    links = Links()
    if how == "resume":
        links.start(chunk_size=10)
        fail(links, monkeypatch)
    is_stored = threading.Event()

    def enqueue(*link: Any, **options: Any) -> None:
        is_stored.set()
        wait_until_somebody_waits_for_us()
        links.enqueue(*link, **options)

    answers = []

    def start(barrier: threading.Barrier) -> None:
        barrier.wait(30)
        if how == "start":
            backfill.start("default", via="test", chunk_size=10, enqueue=enqueue)
        else:
            backfill.resume("default", via="test", enqueue=enqueue)

    def other(barrier: threading.Barrier) -> None:
        barrier.wait(30)
        assert is_stored.wait(30)
        answers.append(activate(old))

    assert run_at_once(start, other) == []
    assert [(it.outcome, it.run) for it in answers] == [("refused", the_run())]
    assert (fate(old), fate(new)) == (KEPT, ANSWERS)
    links.drain()
    assert_all_counted()


class BeforeTheLock:
    """Does something in another session before the first statement that locks generations."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act: Callable[[], Any] | None = act
        self.given: list[Any] = []

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        if "django_pagestats_generation" in sql and "FOR UPDATE" in sql and self.act is not None:
            act, self.act = self.act, None
            self.given = in_another_session(act)
        return execute(sql, *rest)


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_two_generations_come_to_answer_at_once() -> None:
    first, second = two_generations()
    third = rebuild()
    step = BeforeTheLock(lambda: activate(second, keep_old=True).outcome)
    with connection.execute_wrapper(step):
        assert activate(first).outcome == "done"
    assert step.given == ["done"]
    assert (fate(first), fate(second), fate(third)) == (ANSWERS, DOOMED, KEPT)
    assert_exact()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_the_generation_that_was_to_answer_is_given_up_first() -> None:
    old, new = two_generations()
    step = BeforeTheLock(lambda: discard(old).outcome)
    with connection.execute_wrapper(step):
        assert "is being deleted" in activate(old).message
    assert step.given == ["done"]
    assert (fate(old), fate(new)) == (DOOMED, ANSWERS)


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_rebuild_switches_from_the_one_that_answers_then() -> None:
    """Another one came to answer before the locks were there: the switch is tried again, and is no failure."""
    old, new = two_generations()
    links = Links()
    links.start("rebuild", keep_old=True)

    def activate_in_spite_of_the_run() -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generations, "active_run", lambda using: None)
            return activate(old, keep_old=True).outcome

    step = BeforeTheLock(activate_in_spite_of_the_run)
    failures: list[Exception] = []
    with connection.execute_wrapper(step), pytest.MonkeyPatch.context() as patch:
        patch.setattr(failing.Failing, "count", lambda self, error, **which: failures.append(error))
        links.deliver_next(seconds=None)
    assert (step.given, failures, the_run().status) == (["done"], [], "succeeded")
    assert (fate(old), fate(new), fate(the_run().generation)) == (KEPT, KEPT, ANSWERS)
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_frozen_while_it_keeps_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "LOCK_SECONDS", 1)
    old, new = two_generations()
    make_page_views(10, seed=2, with_attributes=True)
    lock = "UPDATE django_pagestats_generation SET revision = revision + 1 WHERE id = %s"
    with Other() as frozen:
        frozen.execute(lock, [new.pk])
        with pytest.raises(RunLockedError, match=r"The generation is locked .* nothing was changed"):
            activate(old)
        if connection.vendor == "postgresql":  # a fold's lock and that of a start go together
            assert Links().start().outcome == "started"
            assert backfill.cancel("default", via="test").outcome == "done"
        else:
            with pytest.raises(RunLockedError, match="The generation is locked"):
                Links().start()
        frozen.execute(lock, [old.pk])
        with pytest.raises(RunLockedError, match="The generation is locked"):
            discard(old)
    assert (fate(old), fate(new)) == (KEPT, ANSWERS)
    assert not BackfillRun.objects.filter(active_key="active").exists()
    assert activate(old).outcome == "done"


@pytest.mark.django_db
def test_a_start_gives_up_if_generations_keep_changing(monkeypatch: pytest.MonkeyPatch) -> None:
    two_generations()
    make_page_views(10, seed=2, with_attributes=True)
    runs = BackfillRun.objects.count()
    monkeypatch.setattr(Database, "stays_active", lambda database, generation: False)
    with pytest.raises(GenerationReplacedError, match="start it again"):
        Links().start()
    assert BackfillRun.objects.count() == runs
    assert Links().start("rebuild").outcome == "started", "which replaces whichever answers at its end"


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_keeping_up_does_not_fold_into_the_one_that_answered_before(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = two_generations()
    make_page_views(10, seed=2, with_attributes=True)
    step = Once(monkeypatch, chunks, "merge", before=lambda: in_another_session(lambda: activate(old).outcome))
    assert folding.keep_up("default", seconds=5).reason == "another generation answers by now"
    assert step.happened == [["done"]]
    new.refresh_from_db()
    assert_generation_exact(new)
    assert folding.keep_up("default", seconds=5).page_views == 20
    assert_all_counted()
