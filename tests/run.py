"""Run the tests on one database after the other, with one report of coverage: what `make test` does.

    python -m tests.run sqlite postgresql mariadb

Exits 1 if a test failed on any of them. The tests of a database whose server is missing are counted as skipped; in CI
that is a failure (tests/servers.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

LAST_LINE = re.compile(r"=+ (.+?) =+")


def run(kind: str) -> tuple[int, str]:
    """The exit status of the tests on one database, and pytest's own last line."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if kind != "sqlite":  # the tests of the whole project run once, where no database is named: on SQLite
        environment["PAGESTATS_DB"] = kind
    last = ""
    with subprocess.Popen(
        [sys.executable, "-m", "coverage", "run", "-m", "pytest", "--color=no"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            last = line.strip() or last
    found = LAST_LINE.fullmatch(last)
    return process.returncode, found.group(1) if found else last


def main(kinds: list[str]) -> int:
    os.environ.pop("PAGESTATS_DB", None)
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase"], check=True)
    begun = time.monotonic()
    results = {}
    for kind in kinds:
        sys.stdout.write(f"\n--- tests on {kind}\n")
        sys.stdout.flush()
        results[kind] = run(kind)
    subprocess.run([*coverage, "combine", "--quiet"], check=True)
    reported = subprocess.run([*coverage, "report"], check=False).returncode
    sys.stdout.write(f"\nin {time.monotonic() - begun:.0f} s:\n")
    for kind, (status, last) in results.items():
        sys.stdout.write(f"  {kind:<12}{'passed' if status == 0 else 'FAILED'}: {last}\n")
    return int(any(status for status, _ in results.values()) or reported != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
