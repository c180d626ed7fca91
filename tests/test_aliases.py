"""Which databases hold our tables: an app with a database of its own, replicas, and databases that are none of ours."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django_q.models import Schedule

from django_pagestats import aliases, backfill, checks, tasks
from django_pagestats.apps import schedule_tending
from django_pagestats.models import BackfillRun
from testproject.cluster import MANAGE
from testproject.settings import KIND
from tests.chains import only_on
from tests.checking import running
from tests.factories import make_page_views
from tests.routers import DefaultRouter, StatsRouter

pytestmark = pytest.mark.usefixtures("short_waits")


@contextmanager
def second_database(alias: str, wrapper: Any) -> Iterator[str]:
    """Another alias, for the length of a block."""
    wrapper.connect()  # of an alias in the settings a test may not
    connections.settings[alias] = wrapper.settings_dict
    connections[alias] = wrapper
    try:
        yield alias
    finally:
        wrapper.close()
        delattr(connections._connections, alias)  # type: ignore[attr-defined]
        del connections.settings[alias]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[str]:
    """A database without a table, in a file of its own."""
    from django.db.backends.sqlite3.base import DatabaseWrapper

    wanted = {**connection.settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty")}
    with second_database("empty", DatabaseWrapper({**wanted, "OPTIONS": {}}, "empty")) as alias:
        yield alias


READ_ONLY: dict[str, dict[str, Any]] = {
    "sqlite": {"init_command": "PRAGMA query_only = ON"},
    "postgresql": {"options": "-c default_transaction_read_only=on"},
    "mariadb": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
}


@pytest.fixture
def replica() -> Iterator[str]:
    """The tables of the default database, for one who may only read."""
    wrapper = connection.copy("replica")
    wrapper.settings_dict = deepcopy(wrapper.settings_dict)
    wrapper.settings_dict["OPTIONS"] = {**wrapper.settings_dict.get("OPTIONS", {}), **READ_ONLY[KIND]}
    with second_database("replica", wrapper) as alias:
        yield alias


def scheduled() -> set[str]:
    return set(Schedule.objects.filter(func=tasks.TEND).values_list("args", flat=True))


def stray(alias: str) -> None:
    """A schedule that is left of earlier times."""
    tasks.ensure_schedule("default")
    Schedule.objects.create(
        name=f"pagestats: tend {alias}",
        func=tasks.TEND,
        args=repr((alias,)),
        schedule_type=Schedule.MINUTES,
        minutes=1,
    )


# -- schedules


@pytest.mark.django_db(transaction=True)
def test_a_database_without_tables_gets_no_schedule(empty: str) -> None:
    with pytest.raises(CommandError, match="'empty' has no tables of page statistics: they are in 'default'"):
        call_command("backfill_aggregates", database=empty)
    tasks.ensure_schedule(empty)
    assert scheduled() == {"('default',)"}


@pytest.mark.django_db(transaction=True)
def test_a_database_that_cannot_be_written_gets_no_schedule(replica: str, caplog: pytest.LogCaptureFixture) -> None:
    make_page_views(20)
    backfill.run_here("default", via="test")
    assert not aliases.why_not_written("default")
    tasks.start_backfill(replica, via="test")  # there is nothing new: no error tells of the replica
    assert scheduled() == {"('default',)"}
    assert "nothing will keep the statistics on replica up" in caplog.text
    assert not BackfillRun.objects.exclude(status="succeeded").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("alias", ["empty", "nowhere"])
def test_tending_what_is_not_ours_says_so_once(empty: str, alias: str, caplog: pytest.LogCaptureFixture) -> None:
    stray(alias)
    tasks.tend(alias)
    (record,) = caplog.records
    assert record.exc_info is None
    assert "Its schedule is removed." in record.getMessage()
    assert scheduled() == {"('default',)"}


@pytest.mark.django_db(transaction=True)
def test_a_link_of_what_is_not_ours_says_so_in_a_line(empty: str, caplog: pytest.LogCaptureFixture) -> None:
    for alias in (empty, "nowhere"):
        caplog.clear()
        tasks.link(alias, 7, 0)
        (record,) = caplog.records
        assert record.exc_info is None
        assert "run 7: a link came for nothing: " in record.getMessage()


@pytest.mark.django_db(transaction=True)
def test_tending_a_database_that_is_down_keeps_its_schedule(empty: str, caplog: pytest.LogCaptureFixture) -> None:
    stray(empty)
    Path(str(connections[empty].settings_dict["NAME"])).write_bytes(b"no database " * 100)
    tasks.tend(empty)
    assert "file is not a database" in caplog.text
    assert "the database cannot be asked" in caplog.text
    assert "('empty',)" in scheduled()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("alias", ["empty", "nowhere"])
def test_migrate_removes_strays(empty: str, alias: str, settings: Any) -> None:
    stray(alias)
    settings.DATABASE_ROUTERS = [DefaultRouter()]
    schedule_tending(apps.get_app_config("django_pagestats"), using="default")
    assert scheduled() == {"('default',)"}


@pytest.mark.django_db(transaction=True)
def test_migrating_a_database_in_which_our_tables_are_not_removes_its_schedule(empty: str) -> None:
    """Without a router any database may have them, and it is asked."""
    stray(empty)
    schedule_tending(apps.get_app_config("django_pagestats"), using=empty)
    assert scheduled() == {"('default',)"}


# -- commands


@pytest.mark.django_db
def test_commands_ask_the_router(settings: Any, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings.DATABASE_ROUTERS = [StatsRouter()]
    with second_database("stats", connection.copy("stats")):
        assert aliases.home() == "stats"
        for words in (["backfill_aggregates", "--status"], ["verify_aggregates"]):
            with pytest.raises(CommandError, match="'empty' has no tables of page statistics: they are in 'stats'"):
                call_command(*words, database=empty)
            call_command(*words)
    settings.DATABASE_ROUTERS = []
    assert aliases.home() == "default"


@pytest.mark.django_db
def test_a_check_says_where_the_tables_are_missing(settings: Any, empty: str) -> None:
    """Also when the default database is named, as a plain `migrate` does: there the router keeps them out."""
    settings.DATABASE_ROUTERS = [StatsRouter()]
    with second_database("stats", connections[empty].copy("stats")):
        for command, named in [("migrate", "default"), ("check", "default"), ("check", "stats")]:
            found = not_migrated(command, named)
            assert [message.hint for message in found] == ["Run manage.py migrate --database stats."]
            assert "not migrated on 'stats'" in found[0].msg
        assert not_migrated("migrate", "stats") == not_migrated("check", "empty") == []
        assert checks.check_databases() == []


def not_migrated(command: str, named: str) -> list[CheckMessage]:
    with running(command):
        return [each for each in checks.check_databases(databases=[named]) if each.id == "pagestats.W036"]


class OwnDatabase:
    """A site of two SQLite files, with real commands."""

    def __init__(self, folder: Path) -> None:
        self.default, self.stats = folder / "default.sqlite3", folder / "stats.sqlite3"

    def manage(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, str(MANAGE), *words],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.own_database_settings",
                "PAGESTATS_DB": "sqlite",
                "PAGESTATS_DB_NAME": str(self.default),
                "PAGESTATS_STATS_NAME": str(self.stats),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def schedules(self) -> list[str]:
        with closing(sqlite3.connect(self.default)) as database:
            return [name for (name,) in database.execute("SELECT name FROM django_q_schedule")]


@only_on("sqlite")  # both are files of its own
def test_the_app_in_a_database_of_its_own(tmp_path: Path) -> None:
    """The README's commands, with a router; nothing is left in the cluster by the one that came too early."""
    site = OwnDatabase(tmp_path)
    site.manage("migrate", "-v0")
    told = site.manage("backfill_aggregates", status=1)
    assert "The database 'stats' has no tables of page statistics: run manage.py migrate --database stats." in told
    assert site.schedules() == []
    site.manage("migrate", "-v0", "--database", "stats")
    log = tmp_path / "access.log"
    agent = "Opera/9.80 (X11; Linux) Presto/2.12"
    log.write_text(f'1.2.3.4 - - [28/Nov/2025:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "{agent}"\n')
    site.manage("import_pageviews", str(log), "-v0")
    assert "1 page views" in site.manage("backfill_aggregates", "--sync")
    site.manage("verify_aggregates")
    told = site.manage("backfill_aggregates", "--database", "default", status=1)
    assert (
        "The database 'default' has no tables of page statistics: they are in 'stats'. Write --database stats" in told
    )
    site.manage("backfill_aggregates")
    assert site.schedules() == ["pagestats: tend stats"]
