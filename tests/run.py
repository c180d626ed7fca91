"""Run the tests on each database, each by some workers of pytest-xdist: what `make test` does.

    python -m tests.run [--workers 2] [--jobs 1] [--coverage] [--only-crashes] [--not-once]
                        project sqlite postgresql[:core] mariadb[:seams]

"project" stands for the tests that no database makes a difference to: the demo, the docs, the wheel, the browser.
Exits 1 if a test failed on any of them. The tests of a database whose server is missing are counted as skipped; in CI
that is a failure (tests/servers.py). --coverage: one report of all of them, which costs a third of the time.

Which tests: all of them, unless told otherwise. --not-once leaves out what is marked "once", of which one pair of
versions is enough (tox.ini). A database with ":seams" is for a pair that brings neither a new Python nor a new Django,
or for a database that another pair goes through all tests on: only the files of SEAM_TESTS (tests/workers.py); with
":core" the crash matrix, too.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from tests import torture, workers

PYTHON = [sys.executable, "-m"]
COVERAGE = [*PYTHON, "coverage"]
#: the crash matrix, and the model of the run's protocol
CRASH_TESTS = [f"tests/{name}" for name in (*workers.CRASH_TESTS, "test_protocol.py")]
#: what of a database's tests is run, by what stands after its name
PARTS: dict[str, list[str]] = {
    "": [],  # all
    "seams": [f"tests/{name}" for name in workers.SEAM_TESTS],
    "core": [f"tests/{name}" for name in workers.SEAM_TESTS] + CRASH_TESTS,
}
PROJECT_TESTS = [f"tests/{name}" for name in workers.PROJECT_TESTS]
LAST_LINE = re.compile(r"^=+ (.+?) =+$")
COUNT = re.compile(r"(\d+) (passed|failed|error|skipped)")


class Result(NamedTuple):
    status: int
    output: str

    @property
    def last_line(self) -> str:
        """pytest's own count."""
        last = self.output.strip().rpartition("\n")[2]
        return LAST_LINE.sub(r"\1", last)


def run(what: str, *, how: Sequence[str], is_alone: bool, tests: Sequence[str]) -> Result:
    """The tests on one database, shown as they go; unless `is_alone` each line says which database it is of."""
    kind, _, part = what.partition(":")
    tests = [*tests, *PARTS[part]]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # each worker imports every test, and many tests start processes: they need not compile the same again and again
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if kind == "project":  # on SQLite too, and maybe at the same time
        environment["PAGESTATS_TEST_SUFFIX"] = environment.get("PAGESTATS_TEST_SUFFIX", "") + "_project"
        tests = PROJECT_TESTS
    else:
        environment["PAGESTATS_DB"] = kind
    lines = []
    with subprocess.Popen([*how, *tests], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            show(line if is_alone else f"{kind:<10} | {line}")
    return Result(process.returncode, "".join(lines))


def in_sum(last_lines: Iterable[str]) -> str:
    """The counts of pytest's last lines, added up."""
    counts: Counter[str] = Counter()
    for line in last_lines:
        counts.update({outcome: int(count) for count, outcome in COUNT.findall(line)})
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in sorted(counts)) or "no tests"


def show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", default="2", help="so many for each database (default 2)")
    parser.add_argument("--jobs", type=int, default=1, help="so many databases at once")
    parser.add_argument("--coverage", action="store_true", help="with a report of coverage")
    parser.add_argument("--only-crashes", action="store_true", help="only the crash matrix")
    parser.add_argument("--not-once", action="store_true", help='leave out what is marked "once"')
    kinds = [f"{kind}{part and ':'}{part}" for kind in torture.KINDS for part in PARTS]
    parser.add_argument("kinds", nargs="+", choices=["project", *kinds], metavar="KIND[:PART]")
    options = parser.parse_args()
    os.environ.pop("PAGESTATS_DB", None)
    workers.draw()  # once for all databases, though midnight may come
    begun = time.monotonic()
    if options.coverage:
        subprocess.run([*COVERAGE, "erase"], check=True)
    how = [*([*COVERAGE, "run", "-m"] if options.coverage else PYTHON), "pytest", "--color=no"]
    how += ["--numprocesses", options.workers, "--dist", "loadgroup"]
    tests = [*(CRASH_TESTS if options.only_crashes else ()), *(("-m", "not once") if options.not_once else ())]
    one = partial(run, how=how, is_alone=options.jobs == 1, tests=tests)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip(options.kinds, pool.map(one, options.kinds), strict=True))
    status = int(any(result.status for result in results.values()))
    if options.coverage:
        subprocess.run([*COVERAGE, "combine", "--quiet"], check=True)
        status |= subprocess.run([*COVERAGE, "report"], check=False).returncode
    show(f"\nin {time.monotonic() - begun:.0f} s:\n")
    for kind, result in results.items():
        show(f"  {kind:<18}{'FAILED' if result.status else 'passed'}: {result.last_line}\n")
    show(f"  {'in all':<18}{'FAILED' if status else 'passed'}: {in_sum(it.last_line for it in results.values())}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
