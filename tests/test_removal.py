"""Taking the app out of a site: its cluster works on, and nothing of ours is left in its queue."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from django_pagestats import aliases, tasks
from django_pagestats.apps import schedule_tending
from testproject.cluster import MANAGE
from testproject.settings import KIND
from tests import servers
from tests.chains import only_on
from tests.cluster import Site, wait_until

OURS = [(tasks.LINK, ("default", 7, 0)), (tasks.TEND, ("default",))]
OTHERS = [("math.hypot", (3, 4)), (tasks.LINK, ("elsewhere", 7, 0)), (tasks.TEND, ("elsewhere",))]


@cache
def packages() -> list[str]:
    queued = [SignedPackage.dumps({"func": func, "args": args, "kwargs": {}}) for func, args in [*OURS, *OTHERS]]
    return [*queued, "of another site, with another key"]


def is_left(package: str | bytes) -> bool:
    text = package.decode() if isinstance(package, bytes) else package
    return text in packages()[len(OURS) :]


@pytest.fixture
def queue(transactional_db: None) -> Iterator[None]:
    """Tasks of ours and of others, and schedules for two databases."""
    OrmQ.objects.bulk_create(OrmQ(key="site", payload=package, lock=timezone.now()) for package in packages())
    Schedule.objects.all().delete()
    tasks.ensure_schedule("default")
    for func, args in [(tasks.LINK, ("default", 7, 0)), (tasks.LINK, ("elsewhere", 7, 0)), ("math.hypot", (3, 4))]:
        Schedule.objects.create(func=func, args=repr(args), schedule_type=Schedule.ONCE, next_run=timezone.now())
    yield
    OrmQ.objects.all().delete()
    Schedule.objects.all().delete()
    tasks.ensure_schedule("default")


def unapply(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens at the end of `migrate django_pagestats zero`, but for the tables, which the other tests need."""
    monkeypatch.setattr(aliases, "has_tables", lambda using: False)
    migrations = MigrationLoader(connection).disk_migrations
    plan = [(migration, True) for (label, _), migration in migrations.items() if label == "django_pagestats"]
    schedule_tending(apps.get_app_config("django_pagestats"), using="default", plan=plan)


@pytest.mark.usefixtures("queue")
def test_unapplying_leaves_nothing_of_that_database_in_the_orms_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    unapply(monkeypatch)
    assert [task.payload for task in OrmQ.objects.order_by("pk")] == packages()[len(OURS) :]
    assert set(Schedule.objects.values_list("args", flat=True)) == {"('elsewhere', 7, 0)", "(3, 4)"}


@pytest.mark.usefixtures("queue")
def test_the_app_of_another_plan_leaves_the_queue_alone() -> None:
    migrations = MigrationLoader(connection).disk_migrations
    for label, backwards in [("auth", True), ("django_pagestats", False), ("django_pagestats", True)]:
        plan = [(migration, backwards) for key, migration in migrations.items() if key[0] == label]
        schedule_tending(apps.get_app_config("django_pagestats"), using="default", plan=plan)
    assert OrmQ.objects.count() == len(packages())
    assert Schedule.objects.filter(func=tasks.TEND).count() == 1


@pytest.mark.usefixtures("queue")
def test_a_queue_that_is_down_does_not_stop_the_migration(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Conf, "ORM", "no such database")
    unapply(monkeypatch)
    assert "tasks of the statistics on default may be left in the queue" in caplog.text


if KIND == "postgresql":

    @pytest.mark.django_db
    def test_unapplying_leaves_nothing_of_that_database_in_redis(
        monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        servers.require("redis")
        settings.PAGESTATS_CLUSTER = f"pagestats-{uuid.uuid4().hex}"
        monkeypatch.setattr(Conf, "ORM", None)
        monkeypatch.setattr(Conf, "REDIS", settings.REDIS)
        key = f"django_q:{settings.PAGESTATS_CLUSTER}:q"
        with servers.connect_redis() as redis:
            redis.rpush(key, *packages())
            try:
                unapply(monkeypatch)
                assert all(map(is_left, redis.lrange(key, 0, -1)))
                assert redis.llen(key) == len(packages()) - len(OURS)
            finally:
                redis.delete(key)


@pytest.mark.django_db(transaction=True)
def test_a_cluster_without_the_app_works_on(tmp_path: Path) -> None:
    """Its only worker would die of each task of ours, and be started anew, for ever."""
    for func, args in [*OURS, ("math.hypot", (3, 4))]:
        async_task(func, *args, q_options={"broker": ORM()})
    site = Site(tmp_path, DJANGO_SETTINGS_MODULE="tests.removed_settings")
    with site.cluster() as cluster:
        wait_until(lambda: Task.objects.filter(func="math.hypot").exists(), "the site's own task")
        log = cluster.log()
    assert cluster.exit_status == 0
    assert Task.objects.get(func="math.hypot").result == 5.0
    assert len(cluster.worker_pids()) == 1
    assert "run 7 on default: nothing is done, for django_pagestats is not in INSTALLED_APPS" in log
    assert "tending default: nothing is done" in log
    assert "Traceback" not in log


def manage(file: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, str(MANAGE), *words, "--skip-checks"],
        env={**os.environ, "PAGESTATS_DB": "sqlite", "PAGESTATS_DB_NAME": str(file)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stderr


@only_on("sqlite")  # on a file of its own
def test_migrating_to_zero_removes_the_schedule(tmp_path: Path) -> None:
    file = tmp_path / "site.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        count = "SELECT COUNT(*) FROM django_q_schedule"
        manage(file, "migrate", "-v0")
        assert database.execute(count).fetchall() == [(1,)]
        manage(file, "migrate", "django_pagestats", "zero", "-v0")
        assert database.execute(count).fetchall() == [(0,)]
        assert "Traceback" not in manage(file, "migrate", "auth", "-v0")
        assert database.execute(count).fetchall() == [(0,)]
