"""A site with 1,000,000 page views gets the column of attributes while it goes on recording."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections

from django_pagestats.models import PageView
from testproject.settings import KIND
from tests.flushing import flush as empty

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]

ROWS = 1_000_000
TABLE = PageView._meta.db_table
#: as the release before wrote it, and as any other program may
INSERT = f"INSERT INTO {TABLE} (path, session_key, viewed_at) VALUES (%s, %s, %s)"
MANY = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    " INSERT INTO {table} (path, session_key, viewed_at)"
    " SELECT '/page/' || (i % 1000), 'visitor ' || (i % 50000), '2025-05-01 12:00:00' FROM n",
    "postgresql": "INSERT INTO {table} (path, session_key, viewed_at) SELECT '/page/' || (i % 1000),"
    " 'visitor ' || (i % 50000), '2025-05-01 12:00:00Z' FROM generate_series(1, {rows}) AS n(i)",
    "mariadb": "INSERT INTO {table} (path, session_key, viewed_at) SELECT concat('/page/', seq % 1000),"
    " concat('visitor ', seq % 50000), '2025-05-01 12:00:00' FROM seq_1_to_{rows}",
}[KIND]


class Recorder(threading.Thread):
    """Somebody who records all the while, by a connection of its own, and notes how long each page view took."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.ends = threading.Event()
        self.took: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.ends.is_set():
            began = time.monotonic()
            try:
                with connection.cursor() as cursor:
                    at = connection.ops.adapt_datetimefield_value(datetime.now(timezone.utc))
                    cursor.execute(INSERT, [f"/of/{self.name}", "k", at])
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                connection.close()
            else:
                self.took.append(time.monotonic() - began)
            time.sleep(0.002)
        connections["default"].close()


@pytest.fixture
def before() -> Iterator[None]:
    """The database of the release before, with page views."""
    call_command("migrate", "django_pagestats", "0004", verbosity=0)
    try:
        with connection.cursor() as cursor:
            cursor.execute(MANY.format(rows=ROWS, table=TABLE))
        yield
    finally:
        empty("default")  # nothing of a million rows is to be migrated back and forth
        call_command("migrate", "django_pagestats", verbosity=0)


def storage() -> Any:
    """Where the rows of the table are: another one once somebody has written them anew."""
    question = {
        "sqlite": f"SELECT rootpage FROM sqlite_schema WHERE name = '{TABLE}'",
        "postgresql": f"SELECT pg_relation_filenode('{TABLE}')",
        "mariadb": "SELECT table_id FROM information_schema.innodb_sys_tables WHERE name ="
        f" concat(database(), '/{TABLE}')",
    }[KIND]
    from tests.accounts import ask_administrator

    return ask_administrator(question) if KIND != "sqlite" else _ask(question)


def _ask(question: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return list(cursor.fetchall())


def test_the_column_is_added_while_others_record(before: None, capsys: pytest.CaptureFixture[str]) -> None:
    kept = storage()
    assert kept
    recorders = [Recorder(f"recorder-{number}") for number in range(3)]
    for recorder in recorders:
        recorder.start()
    time.sleep(0.5)
    began = time.monotonic()
    try:
        call_command("migrate", "django_pagestats", "0005", verbosity=0)
        took = time.monotonic() - began
        time.sleep(0.5)
    finally:
        for recorder in recorders:
            recorder.ends.set()
        for recorder in recorders:
            recorder.join()
    longest = max(max(recorder.took) for recorder in recorders)
    with capsys.disabled():
        sys.stdout.write(f"\n{KIND}: {took:.2f} s, while three recorded, of whom one waited {longest:.2f} s at most\n")
    assert [recorder.errors for recorder in recorders] == [[], [], []]
    assert storage() == kept, "the rows were written anew"
    assert PageView.objects.count() == ROWS + sum(len(recorder.took) for recorder in recorders)
    assert not PageView.objects.filter(attributes__isnull=False).exists()
