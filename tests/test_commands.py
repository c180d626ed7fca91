"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testproject.cluster import MANAGE

COMMANDS = [
    ["backfill_aggregates"],
    ["backfill_aggregates", "--sync"],
    ["backfill_aggregates", "--status"],
    ["import_pageviews", str(MANAGE)],
    ["verify_aggregates"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_database_without_tables_is_an_error_without_a_traceback(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(MANAGE), *words, "--skip-checks"],
        env={**os.environ, "PAGESTATS_DB": "sqlite", "PAGESTATS_DB_NAME": str(tmp_path / "empty.sqlite3")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "CommandError: The database gave an error (no such table: " in done.stderr
    assert done.stderr.rstrip().endswith("Are all migrations applied?")
