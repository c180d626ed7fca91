"""Sessions that end under a worker, and a PostgreSQL that is stopped, on a site with live visitors.

PostgreSQL ends a worker's session in the middle of its chunk, at the end of it, and, worst, when the chunk is committed
and the worker is not told. The server that is stopped is the test's own (tests/own_servers.py).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from django_pagestats import backfill
from django_pagestats.models import Aggregate, BackfillRun, Generation
from testproject.cluster import MANAGE
from testproject.settings import KIND
from tests import torture
from tests.chains import expire_lease, only_on, the_run
from tests.cluster import Site, wait_until
from tests.crashes import CHUNK_SIZE, Visitors, assert_consistent, assert_right, make_large_table
from tests.factories import make_page_views
from tests.own_servers import OwnPostgreSQL, OwnRedis, this_process_on

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = 120.0
#: so long without progress the run is looked after; a lease is not waited for
PATIENCE = 3.0
#: an advisory lock
AT_COMMIT = 4_711


def ask(sql: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def start(site: Site) -> None:
    site.manage("backfill_aggregates", "--chunk-size", str(CHUNK_SIZE))


def go_on() -> None:
    """The run folds another chunk, by itself."""
    before = the_run().rows_folded
    wait_until(lambda: the_run().rows_folded > before, "no progress", timeout=TIMEOUT)
    assert the_run().is_active, "too few page views for this test"


def end() -> None:
    wait_until(lambda: not the_run().is_active, "the end of the run", timeout=TIMEOUT)
    assert the_run().status == "succeeded", the_run().error


def revive(site: Site) -> None:
    expire_lease()
    site.manage("backfill_aggregates")


def look_after_it(site: Site, *, to_the_end: bool = False) -> None:
    """What `--wait` does, without waiting for the lease: until a chunk is folded, or the run ends."""
    before = the_run().rows_folded
    seen, looked_at = before, time.monotonic()
    deadline = looked_at + TIMEOUT
    while the_run().is_active and (to_the_end or the_run().rows_folded == before):
        assert time.monotonic() < deadline, "no progress"
        if the_run().rows_folded != seen:
            seen, looked_at = the_run().rows_folded, time.monotonic()
        elif time.monotonic() > looked_at + PATIENCE:
            revive(site)
            looked_at = time.monotonic()
        time.sleep(0.05)
    assert the_run().is_active != to_the_end


def hurry(site: Site) -> None:
    """Nothing will happen to the run any more: in the bounded form it does the rest in a few chunks."""
    if torture.IS_LONG:
        return
    backfill.pause("default", via="test")
    wait_until(lambda: the_run().status == "paused", "a pause", timeout=TIMEOUT)
    BackfillRun.objects.update(fixed_chunk_size=10_000)
    site.manage("backfill_aggregates", "--resume")


# -- PostgreSQL ends sessions


def who_waits() -> list[tuple[int, str]]:
    """Sessions that wait for a lock of this one: their pids, and what they wait in."""
    ask("SELECT pg_stat_clear_snapshot()")  # which a transaction keeps to its end
    return ask(
        "SELECT pid, query FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks WHERE NOT granted)"
        " AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )


def terminate(pid: int) -> None:
    ask("SELECT pg_terminate_backend(%s)", pid)
    wait_until(lambda: not has_session(pid), "the end of a session")


def has_session(pid: int) -> bool:
    ask("SELECT pg_stat_clear_snapshot()")
    return bool(ask("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))


@contextlib.contextmanager
def waits_for_the_generation() -> Iterator[None]:
    """A chunk cannot move its cursor before the end of this block."""
    with transaction.atomic():
        Generation.objects.select_for_update(no_key=True).get(is_active=True)
        yield


@contextlib.contextmanager
def waits_for_the_aggregates() -> Iterator[None]:
    """It has moved its cursor, and cannot merge: everybody may read the table, and nobody else may write."""
    with transaction.atomic():
        ask(f"LOCK TABLE {Aggregate._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def waits_in_its_commit() -> Iterator[None]:
    """It has done all, and asked for the commit: see `commits_wait`."""
    ask("SELECT pg_advisory_lock(%s)", AT_COMMIT)
    yield
    ask("SELECT pg_advisory_unlock(%s)", AT_COMMIT)


@contextlib.contextmanager
def commits_wait() -> Iterator[None]:
    """A deferred trigger: the COMMIT of a chunk waits for whoever has the advisory lock."""
    ask(
        "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({AT_COMMIT}); RETURN NULL; END $$"
    )
    ask(
        f"CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE ON {Generation._meta.db_table}"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()"
    )
    try:
        yield
    finally:
        ask("DROP FUNCTION wait_at_commit() CASCADE")


Waits = Callable[[], AbstractContextManager[None]]
#: and the statement that a session is in when it is ended there
PLACES: dict[str, tuple[Waits, str]] = {
    "before the cursor": (waits_for_the_generation, "UPDATE"),
    "in the merge": (waits_for_the_aggregates, "aggregate"),
    "in the commit": (waits_in_its_commit, "COMMIT"),
}


def end_the_session(place: str, *, first: Callable[[], object] = bool) -> None:
    """In this place of a chunk; nothing of the chunk is left."""
    waits, statement = PLACES[place]
    with waits():
        first()
        wait_until(who_waits, f"a chunk that waits {place}")
        ((pid, query),) = who_waits()
        assert statement in query
        before = the_run()
        terminate(pid)
        assert (the_run().rows_folded, the_run().epoch) == (before.rows_folded, before.epoch)
        assert_consistent()


@only_on("postgresql")
def test_postgresql_ends_sessions_in_every_part_of_a_chunk(tmp_path: Path) -> None:
    make_large_table()
    site = Site(tmp_path, PAGESTATS_LINK_SECONDS="0.5")
    with commits_wait(), Visitors(site) as visitors, site.cluster():
        start(site)
        for place in list(PLACES) * (5 if torture.IS_LONG else 1):
            go_on()
            end_the_session(place)
        go_on()
        assert the_run().revival_count == 0, "the worker connects anew, and goes on by itself"
        hurry(site)
        end()
        recorded = visitors.leave()
    assert_right(recorded)


@only_on("postgresql")
@pytest.mark.in_turn(1)
@pytest.mark.control
def test_control_with_cursor_and_aggregates_in_two_transactions_the_end_of_a_session_makes_wrong_numbers(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path, PAGESTATS_WITHOUT="one transaction", DJANGO_SETTINGS_MODULE="tests.unprotected_settings")
    make_page_views(3_000, with_attributes=True)
    start(site)
    cluster = site.cluster()
    try:
        with pytest.raises(AssertionError, match="page_views"):
            end_the_session("before the cursor", first=cluster.start)
    finally:
        cluster.kill()


# -- PostgreSQL is stopped, and started


class Outage:
    """A PostgreSQL of the test's own, and what is done to it."""

    def __init__(self, server: OwnPostgreSQL) -> None:
        self.server = server

    def connect(self, **options: Any) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.server.port, user="postgres", dbname="postgres", autocommit=True, **options
        )

    def stop_in_a_chunk(self, visitors: Visitors) -> None:
        """At once, while a chunk's transaction is open; and start it again once a visitor has noticed."""
        with contextlib.suppress(Exception), self.connect() as other:  # it goes away with the server
            other.execute("BEGIN")
            other.execute(f"SELECT 1 FROM {Generation._meta.db_table} WHERE is_active FOR NO KEY UPDATE")
            wait_until(lambda: self.is_waited_for(other.info.backend_pid), "a chunk")
            connection.close()
            told = len(visitors.told())
            self.server.stop()
        wait_until(lambda: len(visitors.told()) > told, "a page view that could not be recorded")
        self.server.start()

    def is_waited_for(self, pid: int) -> bool:
        return bool(ask("SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))", pid))

    def end_a_session_that_has_committed(self) -> None:
        """The commit of a chunk is done, but waits for a standby that does not exist: the worker is never told."""
        wait_until(lambda: self._pid_in_commit() is not None, "the commit of a chunk", timeout=TIMEOUT)
        before = the_run().rows_folded
        pid = self._pid_in_commit()
        assert pid is not None
        terminate(pid)
        assert the_run().rows_folded > before, "it was committed all the same"
        assert_consistent()
        self._set("RESET synchronous_standby_names")

    def _pid_in_commit(self) -> int | None:
        """Of a session that has written aggregates; the commits of others are let go, and then the next ones wait."""
        waiting = ask(
            "SELECT pid, EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.mode = 'RowExclusiveLock'"
            " AND l.relation = %s::regclass) FROM pg_stat_activity a WHERE wait_event = 'SyncRep'",
            Aggregate._meta.db_table,
        )
        for pid, has_written_aggregates in waiting:
            if has_written_aggregates:
                return int(pid)
        if waiting:
            self._set("RESET synchronous_standby_names")
        self._set("SET synchronous_standby_names = 'nobody'")
        return None

    def _set(self, what: str) -> None:
        ask(f"ALTER SYSTEM {what}")
        ask("SELECT pg_reload_conf()")


@only_on("postgresql")
@pytest.mark.in_turn(1)
def test_a_postgresql_that_is_stopped_and_one_that_does_not_tell_of_a_commit(tmp_path: Path) -> None:
    """In mid-chunk, so that the worker's link is lost; the cluster is not started anew."""
    with OwnPostgreSQL() as server, this_process_on(server):
        call_command("migrate", verbosity=0)
        make_large_table()
        site = Site(
            tmp_path,
            PAGESTATS_LINK_SECONDS="0.5",
            PAGESTATS_PG_HOST="127.0.0.1",
            PAGESTATS_PG_PORT=str(server.port),
            PAGESTATS_PG_USER="postgres",
            PAGESTATS_DB_USER="",
        )
        waits_for_standbys = site.another_cluster(PGOPTIONS="-c synchronous_commit=on")
        outage = Outage(server)
        with Visitors(site) as visitors, waits_for_standbys:
            start(site)
            for _ in range(5 if torture.IS_LONG else 1):
                go_on()
                outage.end_a_session_that_has_committed()
                look_after_it(site)
                outage.stop_in_a_chunk(visitors)
                assert_consistent()
                look_after_it(site)
            hurry(site)
            look_after_it(site, to_the_end=True)
            recorded = visitors.leave_a_server_that_was_down()
        assert_right(recorded)


@only_on("postgresql")
@pytest.mark.in_turn(1)
def test_a_postgresql_that_is_stopped_under_sync(tmp_path: Path) -> None:
    """It waits for the server, for a lease, and goes on: nobody has to do anything."""
    with OwnPostgreSQL() as server, this_process_on(server):
        call_command("migrate", verbosity=0)
        make_large_table()
        server_of_ours = {"PAGESTATS_PG_HOST": "127.0.0.1", "PAGESTATS_PG_PORT": str(server.port)}
        site = Site(tmp_path, PAGESTATS_PG_USER="postgres", PAGESTATS_DB_USER="", **server_of_ours)
        here = subprocess.Popen(
            [sys.executable, str(MANAGE), "backfill_aggregates", "--sync", "--chunk-size", str(CHUNK_SIZE)],
            env={**os.environ, **site.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_until(lambda: BackfillRun.objects.filter(rows_folded__gt=2_000).exists(), "some chunks")
            connection.close()
            server.stop()
            server.start()
            told, _ = here.communicate(timeout=TIMEOUT)
        finally:
            here.kill()
        assert here.returncode == 0, told
        assert_right(0)


# -- Redis is emptied, stopped, and started


class SiteOnRedis(Site):
    """With a Redis of its own, which the cluster and every command use."""

    def __init__(self, folder: Path, redis: OwnRedis) -> None:
        super().__init__(
            folder,
            broker="redis",
            PAGESTATS_LINK_SECONDS="0.5",
            PAGESTATS_REDIS_HOST="127.0.0.1",
            PAGESTATS_REDIS_PORT=str(redis.port),
        )
        self.redis = redis

    def queue_size(self) -> int:
        return self.redis.queue_size(self.name)


@contextlib.contextmanager
def mid_link() -> Iterator[None]:
    """A worker has the run, and cannot commit before the end of this block."""
    while True:
        with transaction.atomic():
            run = BackfillRun.objects.select_for_update().get(pk=the_run().pk)
            if run.status == "running" and run.enqueued_at is None:
                yield
                return


#: it makes no difference to Redis; PostgreSQL has its own servers to stop
on_mariadb_or_at_length = pytest.mark.torture if KIND != "mariadb" else lambda test: test


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with OwnRedis(tmp_path) as redis:
        yield redis


@on_mariadb_or_at_length
def test_redis_is_emptied_stopped_and_started(tmp_path: Path, redis: OwnRedis) -> None:
    make_large_table()
    site = SiteOnRedis(tmp_path, redis)
    with Visitors(site) as visitors:
        with site.cluster():
            start(site)
            go_on()
        for _ in range(5 if torture.IS_LONG else 1):
            empty(redis, site)
            with site.another_cluster():
                look_after_it(site)
                stop_and_start(redis)
                look_after_it(site)
                hurry(site)
        if the_run().is_active:
            with site.another_cluster():
                look_after_it(site, to_the_end=True)
        assert the_run().revival_count > 0, "the link that Redis forgot"
        recorded = visitors.leave()
    assert_right(recorded)


def empty(redis: OwnRedis, site: SiteOnRedis) -> None:
    """No cluster is there; the run's link is, and is lost."""
    if site.queue_size() == 0:  # the cluster had taken the link, and was stopped before it worked on it
        revive(site)
    assert site.queue_size() == 1
    redis.flush()


def stop_and_start(redis: OwnRedis) -> None:
    """The chunk that is folded meanwhile is committed, and its next link cannot be sent."""
    with mid_link():
        redis.stop()
    wait_until(lambda: not is_at_work(), "a run that cannot go on")
    assert_consistent()
    redis.start()


def is_at_work() -> bool:
    """Whether the run still folds chunks."""
    before = the_run().rows_folded
    time.sleep(0.5)
    return the_run().rows_folded != before


@pytest.mark.control
@on_mariadb_or_at_length
def test_control_without_a_revival_a_link_that_redis_forgot_is_the_last(tmp_path: Path, redis: OwnRedis) -> None:
    make_page_views(3_000, with_attributes=True)
    site = SiteOnRedis(tmp_path, redis)
    start(site)
    redis.flush()
    with site.cluster() as cluster:
        assert site.queue_size() == 0 and " processing " not in cluster.log()
        assert site.manage("backfill_aggregates").count("already queued")  # looked at; the lease is not over
        assert (site.queue_size(), the_run().rows_folded) == (0, 0)
        look_after_it(site, to_the_end=True)
