"""Throttles: what makes a run wait, for how long, and that it holds no worker meanwhile."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import override_settings

from django_pagestats import backfill, checks, folding, throttles
from django_pagestats.backfill import waiting
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.models import BackfillRun
from tests.chains import Links, Other, assert_all_counted, expire_lease, only_on, the_run
from tests.factories import make_page_views

UTC = timezone.utc
BUSY = f"{__name__}.busy"
answers: list[Any] = []


def busy(using: str) -> Any:
    """The next of the answers, or nothing to wait for."""
    assert using == "default"
    answer = answers.pop(0) if answers else None
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture(autouse=True)
def asked_each_time(short_waits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "THROTTLE_SECONDS", 0)  # asked before each chunk
    answers.clear()


@pytest.mark.django_db
def test_a_throttled_run_gives_its_worker_back_and_goes_on_later(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = [BUSY]
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    answers[:] = [None, "the site is busy"]
    links.deliver_next(seconds=60)
    run = the_run()
    assert (run.status, run.rows_folded, links.sent) == ("running", 10, [])
    assert run.wait_reason == "throttled: the site is busy"
    ((link, at),) = links.scheduled
    assert run.wait_until == at and timedelta(seconds=5) < at - database_now("default") <= timedelta(seconds=10)
    assert backfill.missing_cluster(run, database_now("default")) == ""
    links.deliver(link, seconds=60)
    assert (the_run().status, the_run().wait_reason) == ("succeeded", "")
    assert_all_counted()


@pytest.mark.django_db
def test_a_throttle_may_say_when_to_look_again(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = [BUSY]
    make_page_views(30)
    links = Links()
    links.start()
    later = database_now("default") + timedelta(hours=3)
    answers[:] = [throttles.Wait("it is not night", later)]
    links.deliver_next()
    assert the_run().wait_until == later and links.scheduled[0][1] == later
    assert links.revive() is None, "its time has not come"
    expire_lease()
    assert links.revive() is not None
    assert the_run().revival_count == 0, "it was not lost"
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_in_this_process_it_waits_here_and_can_be_stopped(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = [BUSY]
    make_page_views(30)
    answers[:] = ["busy", "busy", None, None, "busy"]
    seen = []

    def watch(run: BackfillRun) -> bool:
        seen.append((run.wait_reason, run.rows_folded))
        return False

    backfill.run_here("default", via="test", chunk_size=10, watch=watch)
    assert seen[:5] == [("throttled: busy", 0)] * 2 + [("", 10), ("", 20), ("throttled: busy", 20)]
    assert the_run().status == "succeeded"
    assert_all_counted()
    make_page_views(10, seed=1)
    answers[:] = ["busy"] * 5
    started = backfill.run_here("default", via="test", watch=lambda run: True)
    assert started.run is not None and started.run.rows_folded == 0


@pytest.mark.django_db
def test_a_throttle_that_fails_is_a_reason_to_wait(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.PAGESTATS_THROTTLE = [BUSY]
    make_page_views(30)
    links = Links()
    links.start()
    answers[:] = [OSError("no route to the monitor")]
    links.deliver_next()
    text = f"the throttle {BUSY} failed: OSError: no route to the monitor"
    assert the_run().wait_reason == f"throttled: {text}"
    assert the_run().failure_count == 0
    assert BUSY in caplog.text


@pytest.mark.django_db
def test_the_first_reason_counts(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = [BUSY, BUSY]
    answers[:] = [None, "the second", "the third"]
    assert throttles.reason_to_wait("default") == throttles.Wait("the second")


@pytest.mark.django_db
def test_keeping_up_is_not_throttled(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = [BUSY]
    make_page_views(30)
    answers[:] = ["busy"]
    assert folding.keep_up("default", seconds=5).page_views == 30


def test_a_throttle_that_does_not_exist(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = ["django_pagestats.throttles.replica_lag", "django_pagestats.throttles.moon"]
    assert [message.id for message in checks.check_settings()] == ["pagestats.E004"]


@pytest.mark.parametrize(
    ("name", "value", "is_right"),
    [
        ("THROTTLE", (), True),
        ("THROTTLE", BUSY, False),
        ("THROTTLE", [busy], False),
        ("HOURS", "22:00-06:00", True),
        ("HOURS", "22:00", False),
        ("HOURS", "08:00-08:00", False),
        ("HOURS", "25:00-26:00", False),
        ("HOURS", None, True),
    ],
)
def test_their_settings(name: str, value: object, is_right: bool) -> None:
    with override_settings(**{f"PAGESTATS_{name}": value}):
        complaints = {setting.name for setting in conf.all() if setting.complaint()}
    assert complaints == (set() if is_right else {f"PAGESTATS_{name}"})


# -- hours


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        ("22:00-06:00", "UTC", datetime(2026, 1, 5, 22, tzinfo=UTC), None),
        ("22:00-06:00", "UTC", datetime(2026, 1, 5, 5, 59, tzinfo=UTC), None),
        ("22:00-06:00", "UTC", datetime(2026, 1, 5, 6, tzinfo=UTC), datetime(2026, 1, 5, 22, tzinfo=UTC)),
        ("01:00-05:00", "UTC", datetime(2026, 1, 5, 5, tzinfo=UTC), datetime(2026, 1, 6, 1, tzinfo=UTC)),
        ("01:00-05:00", "UTC", datetime(2026, 1, 5, 0, tzinfo=UTC), datetime(2026, 1, 5, 1, tzinfo=UTC)),
        ("01:00-05:00", "Asia/Kathmandu", datetime(2026, 1, 5, 20, tzinfo=UTC), None),
        # summer time begins in the night: 01:00 of the next day is one hour earlier by UTC
        ("01:00-05:00", "Europe/Berlin", datetime(2026, 3, 28, 5, tzinfo=UTC), datetime(2026, 3, 29, 0, tzinfo=UTC)),
        ("03:00-05:00", "Europe/Berlin", datetime(2026, 3, 28, 5, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ],
)
def test_hours(hours: str, zone: str, now: datetime, until: datetime | None) -> None:
    with override_settings(PAGESTATS_HOURS=hours, PAGESTATS_TIME_ZONE=zone):
        found = throttles.outside_hours(now)
    assert (found.until if found else None) == until
    assert found is None or found.reason == f"it is not {hours} ({zone})"


@pytest.mark.django_db
def test_without_hours_it_is_always_time() -> None:
    assert throttles.hours("default") is None


# -- the database's


@only_on("sqlite")
@pytest.mark.django_db
def test_sqlite_has_neither_replicas_nor_connections(settings: Any) -> None:
    settings.PAGESTATS_MAX_ACTIVE_CONNECTIONS = 0
    assert throttles.replica_lag("default") is throttles.active_connections("default") is None


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_active_connections(settings: Any) -> None:
    settings.PAGESTATS_MAX_ACTIVE_CONNECTIONS = 0
    sleep = "SELECT pg_sleep(30)" if connection.vendor == "postgresql" else "SELECT SLEEP(30)"
    with Other() as other:
        statement = Running(other, sleep)
        found = statement.until(lambda: throttles.active_connections("default"))
        assert found is not None and found.endswith("connections are active, more than 0")
        settings.PAGESTATS_MAX_ACTIVE_CONNECTIONS = 1_000
        assert throttles.active_connections("default") is None
        statement.stop()


class Running:
    """A statement that goes on in another connection until it is stopped."""

    def __init__(self, other: Other, sql: str) -> None:
        (self.pid,) = other.execute(
            "SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT CONNECTION_ID()"
        )[0]
        self.thread = threading.Thread(target=self._execute, args=[other, sql])
        self.thread.start()
        self.until(self._is_seen)  # what MariaDB counts are the sessions of others, too

    def _is_seen(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
                if connection.vendor == "postgresql"
                else "SELECT id FROM information_schema.processlist WHERE id = %s AND info IS NOT NULL",
                [self.pid],
            )
            return cursor.fetchone() is not None

    @staticmethod
    def _execute(other: Other, sql: str) -> None:
        other.connection.inc_thread_sharing()
        with suppress(DatabaseError):
            other.execute(sql)

    def until(self, ask: Any) -> Any:
        for _ in range(1_000_000):
            if found := ask():
                return found
        raise AssertionError("it never began")

    def stop(self) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_cancel_backend(%s)", [self.pid])
            else:
                cursor.execute(f"KILL QUERY {self.pid:d}")
        self.thread.join(30)


@only_on("postgresql")
@pytest.mark.django_db
def test_replica_lag(settings: Any) -> None:
    """A table of the same name that comes before the catalogue's, since no replica is at hand."""
    assert throttles.replica_lag("default") is None
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE public.pg_stat_replication AS SELECT * FROM pg_catalog.pg_stat_replication LIMIT 0"
        )
        cursor.execute("SET LOCAL search_path = public, pg_catalog")
    for name, lag in (("near", "1 second"), ("far", "12.5 seconds"), ("idle", None)):
        see_a_replica(name, lag, "streaming")
    assert throttles.replica_lag("default") == "the replica far is 12.5 s behind, more than 5 s"
    settings.PAGESTATS_MAX_REPLICA_LAG = 13
    assert throttles.replica_lag("default") is None
    see_a_replica("hidden", None, None)  # to a role without pg_monitor nothing of it is shown but its name
    told = throttles.replica_lag("default")
    assert told is not None and re.fullmatch(
        r"how far a replica is, is not shown to the role (\w+): run GRANT pg_monitor TO \1", told
    )


def see_a_replica(name: str, lag: str | None, state: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO public.pg_stat_replication (application_name, replay_lag, state)"
            " VALUES (%s, %s::interval, %s)",
            [name, lag, state],
        )


def naive(using: str) -> throttles.Wait:
    return throttles.Wait("soon", datetime(2026, 1, 1))  # noqa: DTZ001 - that is the fault


@pytest.mark.django_db
def test_a_time_without_a_zone_is_a_failure_of_the_throttle_and_not_of_the_run(settings: Any) -> None:
    settings.PAGESTATS_THROTTLE = ["tests.test_throttles.naive"]
    found = throttles.reason_to_wait("default")
    assert found is not None and "must be an aware datetime" in found.reason and found.until is None


@pytest.mark.django_db
def test_a_wait_that_is_over_is_no_missing_cluster_until_the_scheduler_has_looked() -> None:
    make_page_views(5)
    Links().start()
    now = database_now("default")
    until = {"wait_until": now - timedelta(seconds=30), "lease_until": now - timedelta(seconds=30)}
    BackfillRun.objects.update(status="running", enqueued_at=None, **until)
    assert backfill.missing_cluster(the_run(), now) == ""
    assert "Nobody has worked on" in backfill.missing_cluster(the_run(), now + timedelta(seconds=20))
