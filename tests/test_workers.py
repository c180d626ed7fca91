"""The runner and its workers: what is counted is what happened, and nothing is left out in silence."""

from __future__ import annotations

import configparser
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import run, torture, workers
from tests.own_servers import free_port

ROOT = Path(__file__).resolve().parent.parent
CI = ROOT / ".ci" / "run"


def pytest_without_a_server(*, ci: str) -> subprocess.CompletedProcess[str]:
    """By a worker, with a PostgreSQL that nobody can reach."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    environment |= {"PAGESTATS_DB": "postgresql", "PAGESTATS_PG_PORT": str(free_port()), "CI": ci}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n1", "--dist=loadgroup", "--color=no", "tests/test_conf.py"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_without_a_server_its_tests_are_counted_as_skipped_with_the_reason() -> None:
    done = pytest_without_a_server(ci="")
    assert done.returncode == 0, done.stdout
    assert "SKIPPED, all of them: postgresql: not reachable" in done.stdout
    counted = run.in_sum([run.Result(0, done.stdout).last_line])
    assert counted.endswith(" skipped") and "passed" not in counted, counted


def test_without_a_server_ci_fails() -> None:
    done = pytest_without_a_server(ci="true")
    assert done.returncode != 0, done.stdout
    assert "in CI no server may be missing" in done.stdout


def test_the_sum_counts_whatever_happened() -> None:
    lines = [
        "1 failed, 1318 passed, 10 skipped, 3 warnings in 200.12s (0:03:20)",
        "1356 passed, 2 skipped, 1 error in 61.01s",
        "2 errors in 1.02s",
        "no tests ran in 0.01s",
    ]
    assert run.in_sum(lines) == "3 error, 1 failed, 2674 passed, 12 skipped"
    assert run.in_sum(["Killed"]) == "no tests"


def test_processes_go_to_one_worker_and_other_tests_to_any() -> None:
    assert workers.group_of("tests/test_cluster.py::test_a[orm]") == "processes"
    assert workers.group_of("tests/test_crash_links.py::test_b[x::y]") == "processes"
    assert workers.group_of("tests/test_tally.py::test_c") == "tests/test_tally.py::test_c"
    assert [name for name in (*workers.GROUP_OF, *workers.SEAM_TESTS) if not (ROOT / "tests" / name).exists()] == []


def test_what_is_left_out_on_servers_asks_no_database() -> None:
    texts = [(ROOT / "tests" / name).read_text() for name in workers.SERVERLESS_TESTS]
    assert not [word for text in texts for word in ("django_db", "connection", "database_for", "KIND") if word in text]


@pytest.mark.skipif(not CI.exists(), reason="what CI runs is no part of an sdist")
def test_every_pair_is_tested_and_every_version_goes_through_all_tests() -> None:
    text = CI.read_text()
    oldest, between, seams = (
        re.search(rf"^{name}=(\S+)$", text, re.M).group(1).split(",")  # type: ignore[union-attr]
        for name in ("OLDEST", "BETWEEN", "SEAMS")
    )
    newest = "py313-django61"  # make test
    assert len(between) == 2  # one today, the other one in two days
    everything = {newest, *("-".join(name.split("-")[:2]) for name in (*oldest, *between))}
    config = configparser.ConfigParser()
    config.read(ROOT / "tox.ini")
    pairs = {
        f"py{python}-django{django}"
        for pythons, djangos in re.findall(r"py\{?([\d,]+)\}?-django\{?([\d,]+)\}?", config["tox"]["env_list"])
        for python in pythons.split(",")
        for django in djangos.split(",")
    }
    assert len(pairs) == 8 and all(name.endswith("-seams") for name in seams)
    assert everything.isdisjoint(name.removesuffix("-seams") for name in seams)
    assert everything | {name.removesuffix("-seams") for name in seams} == pairs
    for place in 0, 1:  # each Python, each Django
        assert {pair.split("-")[place] for pair in everything} == {pair.split("-")[place] for pair in pairs}


@pytest.mark.parametrize("named", torture.KINDS)
def test_whatever_goes_in_turn_is_done_somewhere_each_day(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGESTATS_TURN", named)
    assert {torture.turn(shift) for shift in range(3)} == set(torture.KINDS)
    assert {torture.turn(shift, of=torture.SERVERS) for shift in range(2)} == set(torture.SERVERS)


def test_all_workers_draw_the_same_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torture, "IS_LONG", True)
    monkeypatch.setattr(torture, "FORM", "5")
    monkeypatch.delenv("PAGESTATS_SEED", raising=False)
    monkeypatch.delenv("PAGESTATS_DRAW", raising=False)
    workers.draw()
    drawn = torture.seeds()
    random.seed(1)
    workers.draw()
    assert torture.seeds() == drawn and len(set(drawn)) > 1
