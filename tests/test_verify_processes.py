"""Several processes find what one finds, in one snapshot; none of them is lost without a word."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from django_pagestats.buckets import Calendar
from django_pagestats.exceptions import InsideTransactionError, ProcessFailedError
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from django_pagestats.spawned import Spawned
from django_pagestats.verify import Verification, counting, sharing
from django_pagestats.verify.groups import Group
from tests.factories import insert_page_views, make_page_views
from tests.test_verify import DAY_1, PAGE, SITE, fold, other  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.once,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_settling"),
]
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL shares a snapshot")


@pytest.fixture
def folded() -> Generation:
    make_page_views(300, paths=20, days=12)
    generation = fold()
    connection.close()  # a command begins without a connection
    return generation


def differences(processes: int) -> list[str]:
    verification = Verification("default", processes=processes)
    found = [str(difference) for difference in verification]
    assert (verification.page_views, verification.differences) == (PageView.objects.count(), len(found))
    return found


def after_the_start(monkeypatch: pytest.MonkeyPatch, act: Callable[[list[Spawned]], None]) -> None:
    """Do something once the processes are started, and nothing of them was received."""
    spawned = sharing.spawned

    @contextmanager
    def started(*arguments: Any) -> Iterator[list[Spawned]]:
        with spawned(*arguments) as processes:
            act(processes)
            yield processes

    monkeypatch.setattr(sharing, "spawned", started)


# -- how days are shared


def test_shares_have_about_as_many_page_views() -> None:
    start = datetime(2025, 3, 1, tzinfo=timezone.utc)
    insert_page_views([("/", "k", start + timedelta(minutes=10 * n)) for n in range(1_440)])
    page_views = counting.PageViews("default", PageView.objects.latest("pk").pk, Calendar("UTC"))
    days = [(date(2025, 3, 1 + number) - date(1970, 1, 1)).days for number in range(10)]
    low, middle, high = page_views.shares(None, 3)
    assert (low.first, high.end) == (None, None)
    assert low.end == middle.first and middle.end == high.first
    assert abs(low.end - days[3]) <= 1 and abs(middle.end - days[6]) <= 1
    assert page_views.shares(days[9], 3) == [Group(days[9])], "of frozen days none is shared"
    assert page_views.shares(None, 1) == [Group()]


def test_an_empty_table_is_one_share() -> None:
    assert counting.PageViews("default", 0, Calendar("UTC")).shares(None, 4) == [Group()]


# -- what they find


@on_postgresql
@pytest.mark.parametrize("processes", [2, 5])
def test_nothing_is_found_in_what_is_right(folded: Generation, processes: int) -> None:
    verification = Verification("default", processes=processes)
    assert list(verification) == []
    assert verification.page_views == 300
    assert verification.aggregates == Aggregate.objects.count()


@on_postgresql
def test_they_find_what_one_process_finds(folded: Generation) -> None:
    for wrong in Aggregate.objects.filter(generation=folded.pk).order_by("bucket", "subject")[::7]:
        row = Aggregate.objects.filter(pk=wrong.pk)
        kind = (wrong.bucket + wrong.subject) % 4
        if kind == 0:
            row.delete()
        else:
            row.update(**[{"visitors": 77}, {"page_views": 99}, {"visitor_set": b"rubbish"}][kind - 1])
    Subject.objects.filter(pk=Subject.objects.earliest("pk").pk)._raw_delete("default")
    Visitor.objects.filter(pk=Visitor.objects.earliest("pk").pk)._raw_delete("default")
    PageView.objects.filter(pk__in=PageView.objects.values_list("pk", flat=True)[3:300:50]).delete()
    alone = differences(1)
    shared = differences(3)
    assert sorted(shared) == sorted(alone)
    assert len(alone) > 40
    assert differences(3) == shared, "in the same order each time"


@on_postgresql
def test_more_differences_than_a_pipe_holds(folded: Generation) -> None:
    insert_page_views([(f"/{'long' * 300}/{n}", "k", DAY_1 + timedelta(days=n % 9)) for n in range(1_500)])
    fold()
    Aggregate.objects.filter(dimension=PAGE).update(visitors=5)
    assert sorted(differences(2)) == sorted(differences(1))


@on_postgresql
def test_the_command_with_processes(folded: Generation) -> None:
    alone, shared = StringIO(), StringIO()
    call_command("verify_aggregates", stdout=alone, json=True)
    call_command("verify_aggregates", stdout=shared, json=True, processes=3)
    assert json.loads(shared.getvalue()) == json.loads(alone.getvalue())


# -- one snapshot


@on_postgresql
def test_writers_and_folds_are_not_seen(folded: Generation, monkeypatch: pytest.MonkeyPatch, other: Any) -> None:  # noqa: F811
    def record_and_fold() -> None:
        insert_page_views([(f"/new/{n}", f"new {n}", DAY_1 + timedelta(days=n % 20)) for n in range(100)])
        fold()
        Aggregate.objects.filter(dimension=SITE).update(visitors=1_000)

    after_the_start(monkeypatch, lambda processes: other(record_and_fold))
    verification = Verification("default", processes=3)
    assert list(verification) == []
    assert verification.page_views == 300 < PageView.objects.count()


@on_postgresql
def test_not_inside_a_transaction_of_the_callers(folded: Generation) -> None:
    with transaction.atomic(), pytest.raises(InsideTransactionError, match="Other processes do not see"):
        list(Verification("default", processes=2))


# -- a process that is lost


@on_postgresql
@pytest.mark.parametrize("which", [0, 1])
def test_a_process_that_is_killed_fails_the_command(
    folded: Generation, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    def kill(processes: list[Spawned]) -> None:
        pid = processes[which].process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    after_the_start(monkeypatch, kill)
    out = StringIO()
    with pytest.raises(CommandError, match=r"ended early \(-9\)"):
        call_command("verify_aggregates", processes=2, stdout=out)
    assert "differences: 0" not in out.getvalue()
    assert not multiprocessing.active_children()


@on_postgresql
def test_a_process_that_fails_fails_the_command(folded: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "export_snapshot", lambda using: "00000003-00000003-1")
    with pytest.raises(ProcessFailedError, match=r"failed: .*snapshot"):
        list(Verification("default", processes=2))
    assert not multiprocessing.active_children()


@on_postgresql
def test_ctrl_c_ends_them_all(folded: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Spawned] = []

    def interrupt(processes: list[Spawned]) -> None:
        started.extend(processes)
        raise KeyboardInterrupt

    after_the_start(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(Verification("default", processes=3))
    assert len(started) == 3
    assert not any(process.process.is_alive() for process in started)
    assert not connection.in_atomic_block


# -- elsewhere


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL shares a snapshot")
def test_elsewhere_it_is_one_process_and_says_so(folded: Generation) -> None:
    out = StringIO()
    call_command("verify_aggregates", processes=4, stdout=out)
    told, result = out.getvalue().splitlines()
    assert told.endswith("lets no other process read the same snapshot: it is done in one process.")
    assert "differences: 0" in result


def test_less_than_one_process() -> None:
    with pytest.raises(CommandError, match="--processes 0: at least 1"):
        call_command("verify_aggregates", processes=0)
