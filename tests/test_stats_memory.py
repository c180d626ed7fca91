"""What an answer takes of memory: bounded by characters, however long the paths of its page views."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from django_pagestats import stats
from django_pagestats.merging import database_for
from django_pagestats.models import PATH_MAX_LENGTH, PageView
from django_pagestats.stats import tail
from django_pagestats.stats.ranges import EVERYTHING
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.tail import LongTail, ShortTail, long
from testproject.settings import BASE_DIR
from tests.cluster import Site
from tests.factories import START, Row, insert_page_views, make_page_views
from tests.stats_oracle import Oracle, fold_naively

# of this process only: getrusage() begins with the memory of the parent
PEAK = """
import re
from pathlib import Path

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) // 1_024

import django
django.setup()
from django.db import connection
from django_pagestats import stats
connection.ensure_connection()
before = peak()
assert len(stats.top_pages(10)) == 10
print(peak() - before)
"""
#: page views with as many characters, of four bytes each, as a path has room for: 96 MB of them
LONG_ROWS, LONG_PATHS = 12_000, 12
#: what the drivers and Python need for two portions of 8,000,000 characters, which are 32 MB of text
MOST_MEGABYTES = 130


def insert_long_paths() -> None:
    """By the database itself: from here it would take a minute."""
    numbers = {
        "mysql": f"SELECT seq AS n FROM seq_1_to_{LONG_ROWS}",
        "postgresql": f"SELECT generate_series(1, {LONG_ROWS}) AS n",
        "sqlite": f"WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {LONG_ROWS})"
        " SELECT n FROM s",
    }[connection.vendor]
    path = {
        "mysql": f"CONCAT(CHAR(65 + n %% {LONG_PATHS}), %s)",
        "postgresql": f"chr(65 + n %% {LONG_PATHS}) || %s",
        "sqlite": f"char(65 + n %% {LONG_PATHS}) || %s",
    }[connection.vendor]
    key = {"mysql": "CONCAT('k', n)"}.get(connection.vendor, "'k' || n")
    at = "viewed_at" if connection.vendor == "sqlite" else "first.viewed_at"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at)"
            f" SELECT {path}, {key}, {at} FROM ({numbers}) AS numbers,"
            f" (SELECT MIN(viewed_at) AS viewed_at FROM {PageView._meta.db_table}) AS first",
            ["\U0001f600" * 2_000],
        )


@pytest.mark.once
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there it is told how much memory a process took")
@pytest.mark.django_db(transaction=True)
def test_long_paths_do_not_fill_the_memory(tmp_path: Path) -> None:
    """12,000 page views, far below PAGESTATS_TAIL_LIMIT, of whose visitors and paths most are known."""
    known = [(chr(65 + n % LONG_PATHS) + "\U0001f600" * 2_000, f"k{n}", START) for n in range(100)]
    fold_naively(insert_page_views(known))
    insert_long_paths()
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        cwd=BASE_DIR,
        env={**os.environ, **Site(tmp_path).environment, "DJANGO_SETTINGS_MODULE": "testproject.settings"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_MEGABYTES


@pytest.fixture
def small_bounds(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 30 page views could be longer than the bound, and with a tail of 200 at the most."""
    settings.PAGESTATS_TAIL_LIMIT = 200
    monkeypatch.setattr(tail, "FEW_ROWS", 30)
    monkeypatch.setattr(tail, "MOST_CHARACTERS", 100 * 60)
    monkeypatch.setattr(tail, "CHARACTERS_PER_ROW", 0)


def rows_of(count: int, length: int) -> list[Row]:
    return insert_page_views(
        (f"/{n % 7}{'x' * (length - 12)}", f"key{n % 50:07}", START + timedelta(minutes=n)) for n in range(count)
    )


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("count", "length", "kind", "statements"),
    [
        (30, 300, ShortTail, 2),  # so few are not measured: no page views are so long
        (31, 60, ShortTail, 4),
        (100, 60, ShortTail, 4),  # just as many characters as may be
        (100, 61, LongTail, 3),
        (200, 30, ShortTail, 4),  # just as many page views
        (201, 20, LongTail, 3),
    ],
)
def test_a_tail_is_measured_before_it_is_read(
    count: int, length: int, kind: type[Any], statements: int, django_assert_num_queries: Any
) -> None:
    rows = rows_of(count, length)
    assert sum(len(row.path) + len(row.session_key) for row in rows) == count * length
    with transaction.atomic():  # where a long tail may be told at once
        moment = Moment("default", is_isolated=True)
        with django_assert_num_queries(statements + 2 * (kind is LongTail)):
            assert type(moment.tail_of(EVERYTHING)) is kind
    assert (moment.tail_of(EVERYTHING).pending, moment.tail_of(EVERYTHING).pending_is_exact) == ((count, count <= 200))
    assert stats.top_pages(10) == Oracle(rows).top_pages()
    assert stats.summary().pending == count


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("more", [1, 30, 31, 170])
def test_page_views_that_come_between_measuring_and_reading(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement reads the tail: it has all of them, or the tail is a long one."""
    rows = rows_of(40, 60)
    measure: Callable[..., Any] = tail._measure

    def measure_and_record(*args: Any) -> Any:
        measured = measure(*args)
        if len(rows) == 40:
            rows.extend(rows_of(more, 60))
        return measured

    monkeypatch.setattr(tail, "_measure", measure_and_record)
    assert stats.count_page_views() == 40 + more
    assert stats.top_pages(10) == Oracle(rows).top_pages()


@pytest.mark.django_db
def test_a_higher_limit_has_room_for_more_characters(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "FEW_ROWS", 30)
    monkeypatch.setattr(tail, "MOST_CHARACTERS", 100)
    rows_of(50, 160)
    for limit, kind in ((49, LongTail), (50, ShortTail)):
        settings.PAGESTATS_TAIL_LIMIT = limit
        with transaction.atomic():
            assert type(Moment("default").tail_of(EVERYTHING)) is kind


@pytest.mark.django_db
def test_paths_of_a_long_tail_come_a_few_characters_at_a_time(
    settings: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 1
    rows = rows_of(100, 60)
    fold_naively(rows[:20])
    wanted = Oracle(rows).top_pages()
    read: list[int] = []

    def read_and_count(using: str, statement: Any) -> Any:
        portion = long_read(using, statement)
        read.append(sum(len(path) for _, path, _ in portion))
        return portion

    long_read = long.read_with_visitors
    monkeypatch.setattr(long, "read_with_visitors", read_and_count)
    monkeypatch.setattr(long, "CHARACTERS_PER_STATEMENT", 600)
    assert stats.top_pages(10) == wanted
    assert len(read) > 5 and max(read) <= 600


@pytest.mark.django_db
def test_the_texts_of_a_tail_are_kept_once() -> None:
    rows = make_page_views(300, paths=5, visitors=7)
    short = ShortTail("default", Moment("default").folded.state, database_for("default").read_page_views(0, None, 301))
    columns = [kept for kept in vars(short).values() if isinstance(kept, (list, dict))]
    texts = [value for column in columns for value in column if isinstance(value, str)]
    assert sorted(texts) == sorted({row.path for row in rows} | {row.session_key for row in rows})
    assert PATH_MAX_LENGTH * tail.FEW_ROWS < tail.MOST_CHARACTERS
