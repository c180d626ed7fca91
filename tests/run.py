"""Run the tests on each database, with one report of coverage: what `make test` does.

    python -m tests.run [--no-coverage] [--jobs 2] [--only-crashes | --not-once] project sqlite postgresql mariadb

"project" stands for the tests that no database makes a difference to: the demo, the docs, the wheel, the browser.
Exits 1 if a test failed on any of them. The tests of a database whose server is missing are counted as skipped; in CI
that is a failure (tests/servers.py).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests import torture

PROJECT_TESTS = [f"tests/test_{name}.py" for name in ("admin_browser", "contract", "demo", "docs", "packaging")]
PYTHON = [sys.executable, "-m"]
#: the crash matrix, and the model of the run's protocol
CRASH_TESTS = sorted(
    f"tests/{path.name}"
    for pattern in ("test_crash_*.py", "test_protocol.py")
    for path in Path(__file__).parent.glob(pattern)
)
COVERAGE = [*PYTHON, "coverage"]
LAST_LINE = re.compile(r"^=+ (.+?) =+$")


class Result(NamedTuple):
    status: int
    output: str

    @property
    def last_line(self) -> str:
        """pytest's own count."""
        last = self.output.strip().rpartition("\n")[2]
        return LAST_LINE.sub(r"\1", last)


def run(kind: str, *, with_coverage: bool, is_live: bool, tests: Sequence[str] = ()) -> Result:
    """The tests on one database; `is_live` shows the output as it comes, otherwise it is shown at the end."""
    runner = [*COVERAGE, "run", "-m"] if with_coverage else PYTHON
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if kind == "project":  # on SQLite too, and maybe at the same time
        environment["PAGESTATS_TEST_SUFFIX"] = environment.get("PAGESTATS_TEST_SUFFIX", "") + "_project"
    else:
        environment["PAGESTATS_DB"] = kind
    show(f"\n--- tests on {kind}\n")
    lines = []
    with subprocess.Popen(
        [*runner, "pytest", "--color=no", *(PROJECT_TESTS if kind == "project" else tests)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if is_live:
                show(line)
    result = Result(process.returncode, "".join(lines))
    if not is_live:
        show(f"\n--- tests on {kind}: {result.last_line}\n{result.output}")
    return result


def show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-coverage", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="so many databases at once")
    parser.add_argument("--only-crashes", action="store_true", help="only the crash matrix")
    parser.add_argument("--not-once", action="store_true", help='leave out what is marked "once"')
    parser.add_argument("kinds", nargs="+")
    options = parser.parse_args()
    os.environ.pop("PAGESTATS_DB", None)
    os.environ["PAGESTATS_TURN"] = torture.turn()  # one for all, though midnight may come
    begun = time.monotonic()
    if not options.no_coverage:
        subprocess.run([*COVERAGE, "erase"], check=True)
    tests = [*(CRASH_TESTS if options.only_crashes else ()), *(("-m", "not once") if options.not_once else ())]
    one = partial(run, with_coverage=not options.no_coverage, is_live=options.jobs == 1, tests=tests)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip(options.kinds, pool.map(one, options.kinds), strict=True))
    status = int(any(result.status for result in results.values()))
    if not options.no_coverage:
        subprocess.run([*COVERAGE, "combine", "--quiet"], check=True)
        status |= subprocess.run([*COVERAGE, "report"], check=False).returncode
    show(f"\nin {time.monotonic() - begun:.0f} s:\n")
    for kind, result in results.items():
        show(f"  {kind:<12}{'FAILED' if result.status else 'passed'}: {result.last_line}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
