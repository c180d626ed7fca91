"""What the tests of recording share: no test environment for a while, troubles of a database, and what came of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from django_pagestats.models import LeftOut, PageView, Reason
from django_pagestats.recording import background, buffering, flush, left_out, suspending
from testproject.settings import BASE_DIR, KIND

READ_ONLY = {
    "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
    "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
}[KIND]


def paths() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("path", flat=True))


def count_database() -> int:
    """How many page views were left out for the database's sake, all told."""
    flush()
    return sum(LeftOut.objects.filter(reason=Reason.DATABASE).values_list("count", flat=True))


@contextmanager
def as_a_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where no test environment is set up: with the thread, which has ended after the block, and suspensions."""
    with monkeypatch.context() as patch:
        patch.setattr(background, "is_testing", lambda: False)
        patch.setattr(background, "_state", background._State())
        patch.setattr(suspending, "_until", {})
        patch.setattr(buffering, "_buffer", buffering.Buffer())
        left_out._counts.clear()
        try:
            yield
        finally:
            state = background._state
            state.end()
            for thread in (state.writer.thread, state.other.thread):
                if thread is not None:
                    thread.join(30)
                    assert not thread.is_alive()
            left_out._counts.clear()


@contextmanager
def down() -> Iterator[None]:
    """Nobody answers where the database was; a connection that is open is lost."""
    place = {"NAME": "/nowhere/db.sqlite3"} if KIND == "sqlite" else {"HOST": "127.0.0.1", "PORT": "1"}
    before = {key: connection.settings_dict[key] for key in place}
    connection.close()
    connection.settings_dict.update(place)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


@contextmanager
def read_only() -> Iterator[None]:
    """This session may write nothing."""
    for_it, against_it = READ_ONLY
    with connection.cursor() as cursor:
        cursor.execute(for_it)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(against_it)


@contextmanager
def locked(seconds: float) -> Iterator[None]:
    """Another session keeps everybody from writing page views, for so long."""
    holds, ended = threading.Event(), threading.Event()

    def hold() -> None:
        other = connections["default"]
        try:
            with ExitStack() as stack:
                cursor = stack.enter_context(other.cursor())
                for statement in LOCK[0]:
                    cursor.execute(statement)
                holds.set()
                ended.wait(seconds)
                cursor.execute(LOCK[1])
        finally:
            other.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(30)
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


_TABLE = PageView._meta.db_table
LOCK: tuple[list[str], str] = {
    "sqlite": (["BEGIN IMMEDIATE"], "COMMIT"),
    "postgresql": (["BEGIN", f"LOCK TABLE {_TABLE} IN ACCESS EXCLUSIVE MODE"], "COMMIT"),
    "mariadb": ([f"LOCK TABLES {_TABLE} WRITE"], "UNLOCK TABLES"),
}[KIND]


def site_environment(**more: str) -> dict[str, str]:
    """What a process needs to be a site on the test's database."""
    return {
        **os.environ,
        "PAGESTATS_DB": KIND,
        "PAGESTATS_DB_NAME": str(connection.settings_dict["NAME"]),
        "DJANGO_SETTINGS_MODULE": "tests.served_settings",
        "PYTHONPATH": str(BASE_DIR),
        **more,
    }


def run_site(script: str, *, timeout: float = 60, **environment: str) -> str:
    """What a process of a site prints that sets Django up and does this."""
    done = subprocess.run(
        [sys.executable, "-c", f"import django\ndjango.setup()\n{script}"],
        env=site_environment(**environment),
        cwd=Path(BASE_DIR),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def session_of(using: str = "default") -> Any:
    """The number of this thread's session, for who ends it."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if KIND == "postgresql" else "SELECT connection_id()")
        return cursor.fetchone()[0]
