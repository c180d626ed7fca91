"""What all commands have in common."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from testproject.cluster import MANAGE

COMMANDS = [
    ["backfill_aggregates"],
    ["backfill_aggregates", "--sync"],
    ["backfill_aggregates", "--status"],
    ["import_pageviews", str(MANAGE)],
    ["show_left_out"],
    ["verify_aggregates"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_database_without_tables_is_an_error_without_a_traceback(words: list[str], tmp_path: Path) -> None:
    told = failure(words, tmp_path / "empty.sqlite3")
    assert told == "CommandError: The database 'default' has no tables of page statistics: run manage.py migrate."


def test_a_database_that_lacks_one_table_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "half.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE django_pagestats_pageview (id INTEGER PRIMARY KEY)")
    told = failure(["backfill_aggregates", "--status"], file)
    assert told.startswith("CommandError: The database gave an error (no such table: ")
    assert told.endswith("Are all migrations applied?")


def failure(words: list[str], file: Path) -> str:
    """The last line of a command that fails."""
    done = subprocess.run(
        [sys.executable, str(MANAGE), *words, "--skip-checks"],
        env={**os.environ, "PAGESTATS_DB": "sqlite", "PAGESTATS_DB_NAME": str(file)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]
