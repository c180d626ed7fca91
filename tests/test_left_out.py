"""What was left out: counted in the process without the database, and added to the rows exactly."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test import override_settings

from django_pagestats import recording
from django_pagestats.merging.left_out import add
from django_pagestats.models import LeftOut, Reason
from django_pagestats.recording import left_out
from tests.chains import Other
from tests.test_generations import wait_until_somebody_waits_for_us
from tests.test_ids import run_at_once
from tests.test_isolation import LEVELS
from tests.test_isolation import strict as strict

DAY = date(2025, 3, 1)
NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


def rows() -> dict[tuple[date, str], int]:
    return {(row.day, row.reason): row.count for row in LeftOut.objects.all()}


class failing:  # noqa: N801 - read as an adjective
    """Whoever adds for one of these reasons gets an error of the database's own."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons

    def __enter__(self) -> None:
        self._wrapper = connection.execute_wrapper(self._execute)
        self._wrapper.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._wrapper.__exit__(*error)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and params[1] in self.reasons:
            return execute("INSERT INTO pagestats_nowhere VALUES (1)", (), many, context)
        return execute(sql, params, many, context)


# -- one process


@pytest.mark.django_db
def test_what_was_counted_is_added_once() -> None:
    for _ in range(3):
        left_out.count(Reason.ROBOT, at=NOON)
    left_out.count(Reason.DUPLICATE, at=NOON, number=40)
    left_out.count(Reason.ROBOT, at=NOON + timedelta(days=1), using="default")
    assert left_out.counted() == {"robot": 4, "duplicate": 40}
    recording.flush()
    assert left_out.counted() == {}
    expected = {(DAY, "robot"): 3, (DAY, "duplicate"): 40, (DAY + timedelta(days=1), "robot"): 1}
    assert rows() == expected
    recording.flush()
    assert rows() == expected, "nothing is added twice"
    left_out.count(Reason.ROBOT, at=NOON, number=2)
    recording.flush()
    assert rows()[DAY, "robot"] == 5


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_a_day_is_one_of_the_statistics_zone(zone: str) -> None:
    """Midnight there cuts, whatever TIME_ZONE and the clock of UTC say."""
    midnight = datetime(2025, 3, 2, tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)
    with override_settings(PAGESTATS_TIME_ZONE=zone):
        left_out.count(Reason.GPC, at=midnight - timedelta(microseconds=1))
        left_out.count(Reason.GPC, at=midnight)
        left_out.count(Reason.GPC, at=midnight + timedelta(hours=23, minutes=59))
    recording.flush()
    assert rows() == {(date(2025, 3, 1), "gpc"): 1, (date(2025, 3, 2), "gpc"): 2}


@pytest.mark.django_db
def test_what_is_counted_before_midnight_is_written_for_that_day() -> None:
    """However long the process keeps it."""
    left_out.count(Reason.DNT, at=NOON - timedelta(days=400))
    recording.flush()
    assert rows() == {(DAY - timedelta(days=400), "dnt"): 1}


@pytest.mark.django_db
def test_a_database_that_fails_keeps_no_count_but_its_own(caplog: pytest.LogCaptureFixture) -> None:
    for reason in (Reason.ROBOT, Reason.STAFF, Reason.GPC):
        left_out.count(reason, at=NOON)
    with failing("robot", "staff"), caplog.at_level(logging.ERROR):
        recording.flush()
    assert rows() == {(DAY, "gpc"): 1}
    assert left_out.counted() == {"robot": 1, "staff": 1}
    assert "writing what was left out failed, and is tried again" in caplog.text
    left_out.count(Reason.ROBOT, at=NOON)
    recording.flush()
    assert rows() == {(DAY, "robot"): 2, (DAY, "staff"): 1, (DAY, "gpc"): 1}
    assert left_out.counted() == {}


@pytest.mark.django_db
def test_what_comes_while_it_is_written_is_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_and_count(*args: Any) -> None:
        add(*args)
        left_out.count(Reason.ROBOT, at=NOON, number=10)

    left_out.count(Reason.ROBOT, at=NOON)
    monkeypatch.setattr(left_out, "add", add_and_count)
    left_out.write()
    assert rows() == {(DAY, "robot"): 1}
    assert left_out.counted() == {"robot": 10}


def test_counting_is_no_matter_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mark for it pytest-django lets no test near the database."""
    left_out.count(Reason.ROBOT)
    assert left_out.counted() == {"robot": 1}


@pytest.mark.django_db(transaction=True)
def test_counting_inside_a_transaction_is_not_undone_with_it() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with connection.execute_wrapper(lambda *args: pytest.fail("the database was asked")):
            left_out.count(Reason.ROBOT, at=NOON)
        1 / 0  # noqa: B018 - leaves the block
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM pagestats_nowhere")
    left_out.count(Reason.ROBOT, at=NOON)
    recording.flush()
    assert rows() == {(DAY, "robot"): 2}


@pytest.mark.django_db(transaction=True)
def test_an_error_leaves_the_callers_transaction_as_it_was() -> None:
    left_out.count(Reason.ROBOT, at=NOON)
    with transaction.atomic():
        add("default", DAY, "staff", 1)
        with failing("robot"):
            recording.flush()
        add("default", DAY, "staff", 1)
    assert rows() == {(DAY, "staff"): 2}
    assert left_out.counted() == {"robot": 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_does_not_write_what_is_its_parents() -> None:
    left_out.count(Reason.ROBOT, number=5)
    connections.close_all()
    child = multiprocessing.get_context("fork").Process(target=_die_unless_forgotten)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert left_out.counted() == {"robot": 5}


def _die_unless_forgotten() -> None:
    os._exit(0 if left_out.counted() == {} else 1)


# -- several at once


@pytest.mark.django_db(transaction=True)
def test_two_that_add_at_once_add_both() -> None:
    def add_often(barrier: threading.Barrier) -> None:
        for number in range(25):
            barrier.wait()  # each time both begin with a row that may be new
            add("default", DAY + timedelta(days=number // 5), "robot", 1)

    errors = run_at_once(add_often, add_often)
    assert errors == []
    assert rows() == {(DAY + timedelta(days=n), "robot"): 10 for n in range(5)}


@pytest.mark.django_db(transaction=True)
def test_threads_of_a_process_that_count_while_it_is_written() -> None:
    def count_and_write(barrier: threading.Barrier) -> None:
        barrier.wait()
        for _ in range(40):
            left_out.count(Reason.ROBOT, at=NOON, number=3)
            left_out.count(Reason.STAFF, at=NOON)
            left_out.write()

    assert run_at_once(count_and_write, count_and_write, count_and_write) == []
    assert left_out.counted() == {}
    assert rows() == {(DAY, "robot"): 360, (DAY, "staff"): 120}


@pytest.fixture
def first(request: pytest.FixtureRequest) -> Iterator[threading.Thread]:
    """Another thread, with a session of its own, that adds 2 as soon as it is started."""
    errors = []

    def work() -> None:
        try:
            add("default", DAY, "robot", 2)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    yield threading.Thread(target=work)
    assert errors == []


@pytest.mark.skipif(connection.vendor == "sqlite", reason="has one writer")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_there", [False, True], ids=["a new row", "a row that is there"])
@pytest.mark.parametrize("level", LEVELS.get(connection.vendor, ["none"]))
def test_who_waits_for_one_that_has_not_committed_adds_to_its_count(
    is_there: bool, strict: None, first: threading.Thread
) -> None:
    """Whatever the isolation level of the site: at a stricter one it would fail, since the row has changed."""
    if is_there:
        add("default", DAY, "robot", 100)
    with transaction.atomic():
        add("default", DAY, "robot", 10)
        first.start()
        wait_until_somebody_waits_for_us()
    first.join(30)
    assert rows() == {(DAY, "robot"): 112 if is_there else 12}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="has one writer")
@pytest.mark.django_db(transaction=True)
def test_who_waits_for_one_that_is_rolled_back_adds_its_own(first: threading.Thread) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        add("default", DAY, "robot", 10)
        first.start()
        wait_until_somebody_waits_for_us()
        1 / 0  # noqa: B018 - leaves the block
    first.join(30)
    assert rows() == {(DAY, "robot"): 2}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others lock rows")
@pytest.mark.django_db(transaction=True)
def test_where_the_file_is_locked_the_counts_are_kept() -> None:
    left_out.count(Reason.ROBOT, at=NOON)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    with Other() as other:
        other.execute("INSERT INTO django_pagestats_leftout (day, reason, count) VALUES ('2025-03-01', 'robot', 7)")
        with pytest.raises(OperationalError, match="locked"):
            left_out.write()
        assert left_out.counted() == {"robot": 1}
        other.commit()
    left_out.write()
    connection.close()
    assert rows() == {(DAY, "robot"): 8}
