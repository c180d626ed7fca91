"""The queue: what is enqueued, when, with which options; and the schedule that tends."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import TestCase
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule, Task
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage

from django_pagestats import backfill, tasks
from django_pagestats.apps import schedule_tending
from django_pagestats.exceptions import QueueUnreachableError, RunLockedError
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, Generation, PageView, Salt
from tests.chains import active_generation, assert_all_counted, assert_exact, expire_lease, the_run
from tests.factories import make_page_views

pytestmark = pytest.mark.usefixtures("short_waits")

Database = type(database_for("default"))
NAME = "pagestats: tend default"


def queued() -> list[dict[str, Any]]:
    return [SignedPackage.loads(task.payload) for task in OrmQ.objects.order_by("pk")]


def work_on_the_queue(most: int = 100) -> int:
    """What a cluster's worker does with our tasks, in this process; how many there were."""
    for count in range(most):
        first = OrmQ.objects.order_by("pk").first()
        if first is None:
            return count
        task = SignedPackage.loads(first.payload)
        first.delete()
        assert task["func"] == tasks.LINK
        tasks.link(*task["args"], **task["kwargs"])
    raise AssertionError("the chain did not end")


@contextmanager
def not_on_the_orm_broker(monkeypatch: pytest.MonkeyPatch, *, down: Sequence[bool] = ()) -> Iterator[list[Any]]:
    """As with Redis: what is sent is seen here; `down` says of the first ones whether sending fails."""
    sent: list[tuple[Any, ...]] = []
    failing = iter(down)

    def send(*link: Any) -> None:
        if next(failing, False):
            raise QueueUnreachableError("no Redis")
        sent.append((connection.in_atomic_block, *link))

    with monkeypatch.context() as patch:
        patch.setattr(Conf, "ORM", None)
        patch.setattr(tasks, "_async_link", send)
        yield sent


def work_off(sent: list[Any]) -> None:
    """Every link that was sent, and those that they send."""
    while sent:
        tasks.link(*sent.pop(0)[1:])


# -- links


@pytest.mark.django_db
def test_a_link_that_finds_the_run_locked_leaves_no_failure_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(*args: Any, **kwargs: Any) -> None:
        raise RunLockedError("somebody has it")

    monkeypatch.setattr(tasks.backfill, "work", locked)
    tasks.link("default", 7, 0)
    assert "run 7: a link came and went: somebody has it" in caplog.text


@pytest.mark.django_db
def test_a_start_enqueues_a_link_and_the_chain_ends(settings: Any) -> None:
    settings.PAGESTATS_LINK_SECONDS = 0.0
    make_page_views(30)
    started = tasks.start_backfill("default", actor="ada", via="test", chunk_size=10)
    assert started.run is not None
    (task,) = queued()
    assert (task["func"], task["args"], task["kwargs"]) == (tasks.LINK, ("default", started.run.pk, 0), {})
    assert task["save"] is False and task["group"] == "pagestats"
    assert "ack_failure" not in task and "cluster" not in task
    assert work_on_the_queue() == 4
    assert_all_counted()
    assert the_run().actor == "ada"
    assert not Task.objects.exists()


@pytest.mark.django_db
def test_links_go_to_the_cluster_of_the_settings(settings: Any) -> None:
    settings.PAGESTATS_CLUSTER = "statistics"
    make_page_views(3)
    tasks.start_backfill("default", via="test")
    assert queued()[0]["cluster"] == "statistics"
    assert OrmQ.objects.get().key == "statistics"
    assert Schedule.objects.get(name=NAME).cluster == "statistics"


@pytest.mark.django_db(transaction=True)
def test_in_the_queues_database_the_link_is_there_if_and_only_if_the_transaction_commits() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.enqueue("default", 1, 5)
        assert len(queued()) == 1, "it is in the table already"
        raise ZeroDivisionError
    assert queued() == []
    with transaction.atomic():
        tasks.enqueue("default", 1, 5)
    assert [task["args"] for task in queued()] == [("default", 1, 5)]


@pytest.mark.django_db(transaction=True)
def test_a_chunk_that_fails_leaves_no_link(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PAGESTATS_MAX_FAILURES = 1
    settings.PAGESTATS_LINK_SECONDS = 0.0
    make_page_views(30)
    tasks.start_backfill("default", via="test", chunk_size=10)

    def fail(*args: Any, **kwargs: Any) -> None:
        assert len(queued()) == 2, "the next link is part of the chunk's transaction"
        raise DatabaseError("no")

    monkeypatch.setattr(Database, "merge", fail)
    link = queued()[0]["args"]
    tasks.link(*link)
    assert [task["args"] for task in queued()] == [link]
    assert the_run().error.endswith("DatabaseError: no")


@pytest.mark.django_db(transaction=True)
def test_with_another_queue_the_link_is_sent_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    with not_on_the_orm_broker(monkeypatch) as sent:
        with transaction.atomic():
            tasks.enqueue("default", 1, 5)
            assert sent == []
        assert sent == [(False, "default", 1, 5)]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tasks.enqueue("default", 1, 6)
            raise ZeroDivisionError
        assert len(sent) == 1


@pytest.mark.django_db(transaction=True)
def test_with_another_queue_a_whole_chain(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PAGESTATS_LINK_SECONDS = 0.0
    make_page_views(30)
    with not_on_the_orm_broker(monkeypatch) as sent:
        tasks.start_backfill("default", via="test", chunk_size=10)
        while sent:
            in_atomic_block, *link = sent.pop(0)
            assert not in_atomic_block
            tasks.link(*link)
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_is_down_after_the_commit_is_a_failure_that_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PAGESTATS_LINK_SECONDS = 0.0
    make_page_views(30)
    with not_on_the_orm_broker(monkeypatch, down=[False, True]) as sent:
        tasks.start_backfill("default", via="test", chunk_size=10)
        tasks.link(*sent.pop()[1:])
        assert the_run().error == "QueueUnreachableError: no Redis"
        assert_exact()
        work_off(sent)
    assert the_run().rows_folded == 30
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_stays_down_ends_the_link_without_a_failure(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PAGESTATS_LINK_SECONDS = 0.0
    make_page_views(30)
    with not_on_the_orm_broker(monkeypatch, down=[False, True, True]) as sent:
        tasks.start_backfill("default", via="test", chunk_size=10)
        tasks.link(*sent.pop()[1:])
        assert (the_run().status, the_run().rows_folded, sent) == ("running", 10, [])
        expire_lease()
        tasks.revive("default")
        work_off(sent)
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_revivals_that_the_queue_did_not_take_do_not_fail_the_run(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PAGESTATS_MAX_REVIVALS = 2
    make_page_views(30)
    with not_on_the_orm_broker(monkeypatch, down=[False] + [True] * 5) as sent:
        tasks.start_backfill("default", via="test", chunk_size=10)
        sent.clear()
        for _ in range(5):
            expire_lease()
            with pytest.raises(QueueUnreachableError):
                tasks.revive("default")
        assert (the_run().status, the_run().stalled_count) == ("queued", 0)
        expire_lease()
        assert tasks.revive("default") is not None
        assert the_run().stalled_count == 1
        tasks.link(*sent.pop()[1:])
        work_off(sent)
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_a_synchronous_queue_folds_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain would call itself, link in link, until the stack ends."""
    monkeypatch.setattr(Conf, "SYNC", True)
    make_page_views(30)
    calls = []
    work = backfill.work
    monkeypatch.setattr(backfill, "work", lambda *args, **kwargs: calls.append(work(*args, **kwargs)))
    monkeypatch.setattr(tasks, "_async_link", lambda *link: pytest.fail("nothing is to be sent"))
    tasks.start_backfill("default", via="test", chunk_size=1)
    assert the_run().status == "succeeded"
    assert len(calls) == 1
    assert queued() == []
    assert_all_counted()


# -- a link for later


@pytest.mark.django_db
def test_a_link_for_later_is_one_schedule_that_runs_once() -> None:
    at = timezone.now() + timedelta(seconds=30)
    for epoch in (4, 5):
        with TestCase.captureOnCommitCallbacks(execute=True):
            tasks.enqueue("default", 7, epoch, at=at)
    schedule = Schedule.objects.get(func=tasks.LINK)
    assert (schedule.schedule_type, schedule.next_run) == (Schedule.ONCE, at)
    assert ast.literal_eval(schedule.args) == ("default", 7, 5)
    assert queued() == []


@pytest.mark.django_db(transaction=True)
def test_django_q_makes_the_link_of_a_schedule_and_forgets_it() -> None:
    Schedule.objects.all().delete()
    make_page_views(3)
    run = tasks.start_backfill("default", via="test").run
    assert run is not None
    OrmQ.objects.all().delete()
    tasks.enqueue("default", run.pk, 0, at=timezone.now() - timedelta(seconds=1))
    Schedule.objects.filter(name=NAME).delete()
    scheduler()
    assert not Schedule.objects.exists()
    (task,) = queued()
    assert (task["args"], task["save"]) == (("default", run.pk, 0), False)
    work_on_the_queue()
    assert_all_counted()


# -- the schedule that tends


@pytest.fixture
def no_schedules(db: None) -> None:
    Schedule.objects.all().delete()


@pytest.mark.django_db
def test_migrate_has_made_the_schedule() -> None:
    schedule = Schedule.objects.get(name=NAME)
    assert (schedule.func, ast.literal_eval(schedule.args)) == (tasks.TEND, ("default",))
    assert (schedule.schedule_type, schedule.minutes, schedule.repeats) == (Schedule.MINUTES, 1, -1)


@pytest.mark.usefixtures("no_schedules")
def test_the_schedule_is_made_once() -> None:
    for _ in range(2):
        schedule_tending(apps.get_app_config("django_pagestats"), using="default")
    assert Schedule.objects.filter(name=NAME).count() == 1
    call_command("migrate", verbosity=0)
    assert Schedule.objects.filter(name=NAME).count() == 1


@pytest.mark.usefixtures("no_schedules")
def test_the_schedule_follows_the_settings(settings: Any) -> None:
    tasks.ensure_schedule("default")
    schedule = Schedule.objects.get(name=NAME)
    settings.PAGESTATS_TEND_MINUTES = 15
    settings.PAGESTATS_CLUSTER = "statistics"
    tasks.ensure_schedule("default")
    again = Schedule.objects.get(name=NAME)
    assert (again.pk, again.minutes, again.cluster) == (schedule.pk, 15, "statistics")
    assert again.next_run == schedule.next_run
    settings.PAGESTATS_TEND_MINUTES = 0
    tasks.ensure_schedule("default")
    assert not Schedule.objects.filter(name=NAME).exists()
    tasks.ensure_schedule("default")
    assert not Schedule.objects.exists()


@pytest.mark.usefixtures("no_schedules")
def test_of_two_schedules_one_is_left() -> None:
    tasks.ensure_schedule("default")
    first = Schedule.objects.get(name=NAME)
    Schedule.objects.create(name=NAME, func=tasks.TEND, args="('default',)", schedule_type=Schedule.MINUTES, minutes=1)
    tasks.ensure_schedule("default")
    assert Schedule.objects.get(name=NAME) == first


@pytest.mark.usefixtures("no_schedules")
def test_where_our_tables_are_not_no_schedule_is_made(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [NowhereRouter()]
    schedule_tending(apps.get_app_config("django_pagestats"), using="default")
    assert not Schedule.objects.exists()


class NowhereRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_pagestats" else None


@pytest.mark.usefixtures("no_schedules")
def test_without_django_q_no_schedule_is_made(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert not tasks.queue_is_installed()
    tasks.ensure_schedule("default")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_q"]
    assert tasks.queue_is_installed()
    assert not Schedule.objects.exists()


@pytest.mark.usefixtures("no_schedules")
def test_a_schedule_that_missed_an_hour_does_not_run_sixty_times() -> None:
    """With django-q2's `catch_up` each tick moves next_run on by a minute only."""
    tasks.ensure_schedule("default")
    Schedule.objects.update(next_run=timezone.now() - timedelta(hours=1))
    tasks.tend("default")
    assert Schedule.objects.get(name=NAME).next_run > timezone.now()
    on_time = timezone.now() + timedelta(seconds=20)
    Schedule.objects.update(next_run=on_time)
    tasks.tend("default")
    assert Schedule.objects.get(name=NAME).next_run == on_time


# -- tending


@pytest.mark.django_db
def test_tending_keeps_up_revives_and_sweeps(settings: Any) -> None:
    make_page_views(40)
    tasks.tend("default")
    assert_all_counted()
    backfill.run_here("default", kind="rebuild", via="test")
    old = Generation.objects.get(is_active=None)
    make_page_views(10, seed=1)
    tasks.tend("default")
    assert not Aggregate.objects.filter(generation=old.pk).exists()
    assert active_generation().cursor == PageView.objects.latest("pk").pk
    tasks.start_backfill("default", kind="rebuild", via="test")
    OrmQ.objects.all().delete()
    tasks.tend("default")
    assert queued() == []
    expire_lease()
    tasks.tend("default")
    assert len(queued()) == 1
    assert work_on_the_queue() >= 1
    assert_all_counted()


@pytest.mark.django_db
def test_tending_deletes_salts_whose_time_is_over() -> None:
    for period in ("2020-01-01", "2020-02", "permanent"):
        Salt.objects.create(period=period, value=b"salt")
    tasks.tend("default")
    assert list(Salt.objects.values_list("period", flat=True)) == ["permanent"]


@pytest.mark.django_db
def test_tending_says_what_it_leaves_to_a_run(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 10
    make_page_views(11)
    with caplog.at_level("INFO", logger="django_pagestats.tasks"):
        tasks.tend("default")
    assert "more than 10 page views wait: run backfill_aggregates" in caplog.text


@pytest.mark.django_db
def test_tending_a_table_that_went_back_logs_the_cure_and_sweeps_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_page_views(20)
    tasks.tend("default")
    backfill.run_here("default", kind="rebuild", via="test")
    old = Generation.objects.get(is_active=None)
    PageView.objects.all().delete()
    tasks.tend("default")
    assert "--rebuild" in caplog.text
    assert not Aggregate.objects.filter(generation=old.pk).exists()


@pytest.mark.django_db
def test_reviving_uses_the_real_queue() -> None:
    make_page_views(10)
    tasks.start_backfill("default", via="test")
    OrmQ.objects.all().delete()
    assert tasks.revive("default") is None
    expire_lease()
    assert tasks.revive("default") == the_run()
    assert queued()[0]["args"] == ("default", the_run().pk, 1)
    work_on_the_queue()
    assert_all_counted()


def test_the_names_of_the_tasks_are_those_of_functions() -> None:
    from django.utils.module_loading import import_string

    assert import_string(tasks.LINK) is tasks.link
    assert import_string(tasks.TEND) is tasks.tend


@pytest.mark.django_db
def test_an_error_while_tending_is_logged_and_holds_up_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Raised, it would leave a row of django-q2 behind, one a minute for ever."""
    make_page_views(20)
    tasks.tend("default")
    backfill.run_here("default", kind="rebuild", via="test")
    old = Generation.objects.get(is_active=None)
    make_page_views(5, seed=1)

    def fail(*args: Any, **options: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(Database, "merge", fail)
    tasks.tend("default")
    assert "_keep_up failed, and is tried again" in caplog.text
    assert "the disk is full" in caplog.text
    assert not Aggregate.objects.filter(generation=old.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_is_down_does_not_break_the_callers_transaction(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With ATOMIC_REQUESTS the hook runs after the view: an error would be a 500, and drop the site's own hooks."""
    make_page_views(20)
    ran = []
    with not_on_the_orm_broker(monkeypatch, down=[True, True]):
        with transaction.atomic():
            tasks.start_backfill("default", via="test")
            transaction.on_commit(lambda: ran.append("the site's"))
        assert ran == ["the site's"]
        assert "no Redis" in caplog.text
        with pytest.raises(QueueUnreachableError):
            expire_lease()
            tasks.revive("default")
    expire_lease()
    tasks.revive("default")
    work_on_the_queue()
    assert_all_counted()
