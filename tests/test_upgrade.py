"""A site of a release before goes on: with 1,000,000 page views it gets the column of attributes while it records; and
with its aggregates it answers, is folded and rebuilt, which gives each named dimension its whole history.
"""

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

from django_pagestats import backfill, folding, stats
from django_pagestats.exceptions import UnknownDimensionError
from django_pagestats.models import Aggregate, PageView
from testproject.settings import KIND
from tests.chains import active_generation, assert_all_counted, make_as_before, rows_upto
from tests.factories import make_page_views
from tests.flushing import flush as empty
from tests.stats_oracle import Oracle

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


def storage(table: str = TABLE) -> Any:
    """Where the rows of the table are: another one once somebody has written them anew."""
    question = {
        "sqlite": f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'",
        "postgresql": f"SELECT pg_relation_filenode('{table}')",
        "mariadb": "SELECT table_id FROM information_schema.innodb_sys_tables WHERE name ="
        f" concat(database(), '/{table}')",
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


# -- from aggregates of the site and its pages to those of named dimensions


@pytest.fixture
def folded_before(no_settling: None) -> Iterator[list[Any]]:
    """The database of the release before named dimensions, with aggregates as it made them: their rows."""
    make_page_views(2_000, with_attributes=True)
    backfill.run_here("default", via="test")
    make_as_before()
    call_command("migrate", "django_pagestats", "0007", verbosity=0)
    try:
        yield aggregates("")
    finally:
        call_command("migrate", "django_pagestats", verbosity=0)


def aggregates(more: str) -> list[Any]:
    columns = "generation, dimension, granularity, bucket, subject, page_views, visitors, visitor_set"
    stored = _ask(f"SELECT {columns}{more} FROM {Aggregate._meta.db_table} ORDER BY 1, 2, 3, 4, 5")
    return [(*row[:7], bytes(row[7]), *row[8:]) for row in stored]


def test_aggregates_of_before_answer_are_folded_on_and_rebuilt(folded_before: list[Any]) -> None:
    kept = storage(Aggregate._meta.db_table)
    call_command("migrate", "django_pagestats", "0008", verbosity=0)
    assert storage(Aggregate._meta.db_table) == kept, "the rows were written anew"
    assert aggregates(", repeat_set") == [(*row, None) for row in folded_before]
    call_command("migrate", "django_pagestats", verbosity=0)
    before = active_generation()
    assert before.dimensions is None
    for seed in (1, 2):
        assert_answers()
        with pytest.raises(UnknownDimensionError, match="rebuild"):
            stats.top("source")
        call_command("verify_aggregates", verbosity=0)  # raises at a difference
        make_page_views(500, seed=seed, with_attributes=True)
        folding.keep_up("default", seconds=30)
    assert_all_counted()
    backfill.run_here("default", kind="rebuild", via="test")
    assert active_generation() != before
    assert_all_counted()
    call_command("verify_aggregates", verbosity=0)
    make_page_views(100, seed=3, with_attributes=True)
    assert_answers()
    oracle = Oracle(rows_upto(), dimensions=active_generation().dimensions)
    for name in ("source", "entry", "section", "country", "device"):
        found = [(it.value, it.page_views, it.visitors) for it in stats.top(name, 1_000)]
        assert found and found == oracle.top(name)
    assert stats.count_single_page_visitors() == oracle.single_page_visitors()


def assert_answers() -> None:
    oracle = Oracle(rows_upto())
    assert (stats.count_page_views(), stats.count_unique_visitors()) == (oracle.page_views(), oracle.visitors())
    assert stats.top_pages(1_000) == oracle.top_pages()
