"""Servers that go away in the middle of a run, each an instance of the test's own: PostgreSQL, and Redis.

What is right in the end is right because cursor and aggregates are of one transaction; the control that takes it away
is in tests/test_crash_statements.py, and that without a revival too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_pagestats.models import BackfillRun
from testproject.cluster import MANAGE, Cluster
from tests import servers
from tests.chains import expire_lease, only_on, the_run
from tests.cluster import Site, wait_until
from tests.crashes import CHUNK_SIZE, PAGE_VIEWS, Visitors, assert_right, make_large_table

#: a revival comes soon after the server
LEASE_SECONDS = 5
COUNTS = (
    "from django_pagestats import stats;"
    " print(stats.count_page_views(), stats.count_unique_visitors(), stats.count_paths())"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# -- PostgreSQL


def programs_of_postgresql() -> Path | None:
    """Where initdb and pg_ctl are."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


class Instance:
    """A PostgreSQL server with a folder and a port of its own, run by `postgres` if the tests are run by root."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pagestats-pg-"))
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.as_user:
            shutil.chown(self.folder, "postgres")

    def __enter__(self) -> Instance:
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop", must=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-o", options, "-w", "start")

    def stop(self, how: str) -> None:
        """`immediate`: as a power cut would, sessions and all; `fast`: sessions are ended, then it shuts down."""
        self._run("pg_ctl", "-D", str(self.data), "-m", how, "-w", "stop")

    def _run(self, program: str, *words: str, must: bool = True) -> None:
        command = [*self.as_user, str(self.programs / program), *words]
        done = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert not must or done.returncode == 0, f"{command}: {done.stderr}"

    def ask(self, question: str) -> Any:
        """One value, or None while it cannot be asked."""
        import psycopg

        try:
            with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres") as connection:
                found = connection.execute(question).fetchone()  # type: ignore[arg-type]
        except psycopg.OperationalError:
            return None
        return None if found is None else found[0]


class OutageSite:
    """Sixty thousand page views in a server of its own, with live visitors; others do all that is done there."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.instance = instance
        self.log = folder / "qcluster.log"
        self.environment = {
            "PAGESTATS_DB": "postgresql",
            "PAGESTATS_DB_NAME": "postgres",
            "PAGESTATS_PG_HOST": "127.0.0.1",
            "PAGESTATS_PG_PORT": str(instance.port),
            "PAGESTATS_PG_USER": "postgres",
            "PAGESTATS_LINK_SECONDS": "0.3",
            "PAGESTATS_LEASE_SECONDS": str(LEASE_SECONDS),
            "PAGESTATS_POLL": "0.05",
        }
        self.manage("migrate", "--verbosity", "0")
        self.manage("demo_data", "--page-views", str(PAGE_VIEWS))

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(MANAGE), *words],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def manage(self, *words: str) -> str:
        process = self.begin(*words)
        out, _ = process.communicate(timeout=200)
        assert process.returncode == 0, f"{words}: {process.returncode}\n{out}"
        return out

    def visitors(self) -> subprocess.Popen[str]:
        """Live visitors, whose page views are lost while the server is away: which are there is for it to say."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.visitors"],
            cwd=MANAGE.parent,
            env={**os.environ, **self.environment, "DJANGO_SETTINGS_MODULE": "testproject.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def rows_folded(self) -> int:
        return self.instance.ask("SELECT rows_folded FROM django_pagestats_backfillrun ORDER BY id DESC LIMIT 1") or 0

    def assert_right(self) -> None:
        self.manage("backfill_aggregates", "--sync")  # those of the visitors since the target
        self.manage("verify_aggregates")
        told = self.manage("shell", "--verbosity", "0", "-c", COUNTS)
        counted = self.instance.ask(
            "SELECT concat_ws(' ', count(*), count(DISTINCT session_key), count(DISTINCT path))"
            " FROM django_pagestats_pageview"
        )
        assert told.strip().splitlines()[-1] == counted
        assert int(counted.split()[0]) >= PAGE_VIEWS


@pytest.fixture
def outage_site(tmp_path: Path) -> Iterator[OutageSite]:
    programs = programs_of_postgresql()
    if programs is None:
        servers.missing("no initdb of PostgreSQL: neither on PATH nor in /usr/lib/postgresql")
    with Instance(programs) as instance:
        yield OutageSite(instance, tmp_path)


@only_on("postgresql")
@pytest.mark.in_turn(2)
@pytest.mark.parametrize("how", [pytest.param("fast", marks=pytest.mark.torture), "immediate"])
def test_a_server_that_stops_and_starts_under_sync(how: str, outage_site: OutageSite) -> None:
    """It waits for the server, for a lease, and goes on: nobody has to do anything."""
    visitors = outage_site.visitors()
    backfill = outage_site.begin("backfill_aggregates", "--sync", "--chunk-size", str(CHUNK_SIZE))
    try:
        wait_until(lambda: outage_site.rows_folded() > 2_000, "some chunks")
        outage_site.instance.stop(how)
        outage_site.instance.start()
        told, _ = backfill.communicate(timeout=120)
        assert backfill.returncode == 0, told
    finally:
        backfill.kill()
        visitors.communicate("", timeout=60)
    assert re.search(r"Run \d+ succeeded", told)
    outage_site.assert_right()


@only_on("postgresql")
@pytest.mark.torture
def test_a_server_that_stops_and_starts_under_a_cluster(outage_site: OutageSite) -> None:
    """Its link ends in an error; the run stays, and is revived by whoever follows it."""
    visitors = outage_site.visitors()
    cluster = Cluster(log=outage_site.log, environment=outage_site.environment)
    cluster.start()
    try:
        outage_site.manage("backfill_aggregates", "--chunk-size", str(CHUNK_SIZE))
        wait_until(lambda: outage_site.rows_folded() > 2_000, "some chunks")
        outage_site.instance.stop("immediate")
        outage_site.instance.start()
        outage_site.manage("backfill_aggregates", "--wait")
    finally:
        cluster.kill()
        visitors.communicate("", timeout=60)
    outage_site.assert_right()


# -- Redis


class OwnRedis:
    """A Redis server without a file, on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()

    def __enter__(self) -> OwnRedis:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.answers, "a Redis that answers")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def client(self) -> Any:
        import redis

        return redis.Redis(host="127.0.0.1", port=self.port)

    def answers(self) -> bool:
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    if shutil.which("redis-server") is None:
        servers.missing("no redis-server on PATH")
    with OwnRedis() as own_redis:
        yield own_redis


def folded_more(than: int) -> bool:
    return the_run().rows_folded > than


@only_on("postgresql")
@pytest.mark.in_turn(2)
@pytest.mark.django_db(transaction=True)
def test_a_redis_that_is_flushed_and_one_that_stops_and_starts(own_redis: OwnRedis, tmp_path: Path) -> None:
    """What it had forgotten is sent again when the lease is over; while it is down the run stays."""
    make_large_table()
    site = Site(
        tmp_path,
        broker="redis",
        PAGESTATS_LINK_SECONDS="0.1",
        PAGESTATS_REDIS_HOST="127.0.0.1",
        PAGESTATS_REDIS_PORT=str(own_redis.port),
    )
    with Visitors(site) as visitors, site.cluster() as cluster:
        site.manage("backfill_aggregates", "--chunk-size", str(CHUNK_SIZE))
        wait_until(lambda: folded_more(2_000), "some chunks")
        stop_the_worker(cluster)
        own_redis.flush()
        go_on_after(site, cluster)
        own_redis.stop()
        wait_until(has_lost_its_link, "a link that could not be sent")
        status = json.loads(site.manage("backfill_aggregates", "--status", "--json"))
        assert status["status"] == "running"
        own_redis.start()
        expire_lease()
        site.manage("backfill_aggregates", "--wait")
        recorded = visitors.leave()
    assert the_run().status == "succeeded"
    assert the_run().revival_count >= 1
    assert_right(recorded)


def stop_the_worker(cluster: Cluster) -> None:
    """Between two links, so that the next one is in the queue: it is stopped before it takes it."""
    for pid in cluster.pusher_pids():
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: the_run().enqueued_at is not None, "a link in the queue")


def go_on_after(site: Site, cluster: Cluster) -> None:
    before = the_run()
    for pid in cluster.pusher_pids():
        os.kill(pid, signal.SIGCONT)
    assert BackfillRun.objects.filter(pk=before.pk, epoch=before.epoch).exists(), "nothing was in the queue"
    expire_lease()
    site.manage("backfill_aggregates")
    wait_until(lambda: folded_more(before.rows_folded), "the next chunk")


def has_lost_its_link() -> bool:
    """A worker has had the run, and its next link is nowhere."""
    run = the_run()
    return bool(run.error) and "queue did not take" in run.error
