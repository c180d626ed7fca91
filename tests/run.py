"""Run the tests on one database after the other, with one report of coverage: what `make test` does.

    python -m tests.run [--no-coverage] project sqlite postgresql mariadb

"project" stands for the tests that no database makes a difference to: the demo, the docs, the wheel. Exits 1 if a test
failed on any of them. The tests of a database whose server is missing are counted as skipped; in CI that is a failure
(tests/servers.py).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time

PROJECT_TESTS = [f"tests/test_{name}.py" for name in ("contract", "demo", "docs", "packaging")]
PYTHON = [sys.executable, "-m"]
COVERAGE = [*PYTHON, "coverage"]
LAST_LINE = re.compile(r"=+ (.+?) =+")


def run(kind: str, *, with_coverage: bool) -> tuple[int, str]:
    """The exit status of the tests on one database, and pytest's own last line."""
    runner = [*COVERAGE, "run", "-m"] if with_coverage else PYTHON
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if kind != "project":
        environment["PAGESTATS_DB"] = kind
    last = ""
    with subprocess.Popen(
        [*runner, "pytest", "--color=no", *(PROJECT_TESTS if kind == "project" else ())],
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


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-coverage", action="store_true")
    parser.add_argument("kinds", nargs="+")
    options = parser.parse_args()
    os.environ.pop("PAGESTATS_DB", None)
    begun = time.monotonic()
    if not options.no_coverage:
        subprocess.run([*COVERAGE, "erase"], check=True)
    results = {}
    for kind in options.kinds:
        sys.stdout.write(f"\n--- tests on {kind}\n")
        sys.stdout.flush()
        results[kind] = run(kind, with_coverage=not options.no_coverage)
    status = int(any(failed for failed, _ in results.values()))
    if not options.no_coverage:
        subprocess.run([*COVERAGE, "combine", "--quiet"], check=True)
        status |= subprocess.run([*COVERAGE, "report"], check=False).returncode
    sys.stdout.write(f"\nin {time.monotonic() - begun:.0f} s:\n")
    for kind, (failed, last) in results.items():
        sys.stdout.write(f"  {kind:<12}{'FAILED' if failed else 'passed'}: {last}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
