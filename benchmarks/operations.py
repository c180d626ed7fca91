"""What operating a backfill costs: its protections, the site's page views meanwhile, and a lost task.

    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.operations protections [--rounds 5]
    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.operations recording [--seconds 20]
    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.operations revival [--times 5]

`protections`: rebuilds in this process, in turn with and without the fence of each chunk (epoch, lease, progress), the
look at the run after it, the check of the table, and the time-outs of its transaction; the cursor moves in both. And
how much of a rebuild's time is spent in their statements, which a noisy machine tells better.
`recording`: milliseconds of one `record_page_view()`, the median and the 99th percentile, alone, beside a rebuild at
full speed, and beside one that rests as long as each chunk takes; in turn.
`revival`: from the kill -9 of a worker in its chunk, on Redis, which forgets the task, to the claim of the next one:
with a lease of 5 s, by `--wait` and by the schedule alone.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import django
from django.db import connection

from testproject.cluster import MANAGE, Cluster

LEASE_SECONDS = 5


# -- protections


@contextmanager
def unprotected() -> Iterator[None]:
    """Nothing but the fold: whoever comes folds, and nobody looks whether anybody else does."""
    from django_pagestats.backfill.claims import Claim
    from django_pagestats.backfill.working import Worker
    from django_pagestats.merging import database_for

    def count(worker: Any, chunk: Any, *, handing_over: bool) -> None:
        worker.claim.run.rows_folded += chunk.page_views

    patches: list[Any] = [
        mock.patch.object(Worker, "_fence", count),
        mock.patch.object(Claim, "look", lambda claim: None),
        mock.patch.object(Worker, "_table_has_changed", lambda worker: False),
        mock.patch.object(type(database_for("default")), "folding", lambda database, seconds: no_time_outs()),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


@contextmanager
def no_time_outs() -> Iterator[None]:
    yield


@contextmanager
def protected() -> Iterator[None]:
    yield


class Share:
    """How much of a rebuild's time its protections take: their statements, each timed."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Share:
        from django_pagestats.backfill.claims import Claim
        from django_pagestats.backfill.working import Worker

        timed = (Worker, "_fence"), (Claim, "look"), (Worker, "_table_has_changed")
        self.patches = [mock.patch.object(owner, name, self._timed(getattr(owner, name))) for owner, name in timed]
        for patch in self.patches:
            patch.start()
        return self

    def __exit__(self, *error: object) -> None:
        for patch in self.patches:
            patch.stop()

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def rebuild(chunk_size: int | None) -> float:
    from benchmarks.compare import EMPTIED, IDS, forget
    from django_pagestats import backfill
    from django_pagestats.models import BackfillRun

    forget(EMPTIED + IDS)
    began = time.perf_counter()
    backfill.run_here("default", kind="rebuild", via="benchmark", chunk_size=chunk_size)
    took = time.perf_counter() - began
    run = BackfillRun.objects.latest("pk")
    if run.status != BackfillRun.Status.SUCCEEDED:
        raise SystemExit(f"run {run.pk} {run.status}: {run.error}")
    return took


def protections(options: argparse.Namespace) -> None:
    print("| round | with | without | with / without |\n|---|---|---|---|")
    ratios = []
    for number in range(options.rounds):
        took: dict[str, float] = {}
        ways: list[tuple[str, Callable[[], Any]]] = [("with", protected), ("without", unprotected)]
        for name, way in ways if number % 2 else reversed(ways):
            with way():
                took[name] = rebuild(options.chunk_size)
        ratios.append(took["with"] / took["without"])
        print(f"| {number + 1} | {took['with']:.1f} s | {took['without']:.1f} s | {ratios[-1]:.3f} |", flush=True)
    print(f"\nmedian with / without: {statistics.median(ratios):.3f}")
    with Share() as share:
        took = rebuild(options.chunk_size)
    print(f"in the statements of the protections: {share.seconds:.2f} s of {took:.1f} s, {share.seconds / took:.1%}")


# -- recording


@contextmanager
def rebuilding(*words: str) -> Iterator[None]:
    """A rebuild in another process, again and again until the block ends."""
    command = [sys.executable, str(MANAGE), "backfill_aggregates", "--rebuild", "--sync", "--verbosity", "0", *words]
    script = f"while {shlex.join(command)}; do :; done"
    child = subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)  # until it folds
        yield
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def record_for(seconds: float) -> list[float]:
    """Milliseconds of each of some page views, a hundred a second at most."""
    from django_pagestats.recording import record_page_view

    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        if not record_page_view(path="/benchmark", session_key=uuid.uuid4().hex):
            raise SystemExit("a page view was not recorded")
        took.append((time.perf_counter() - began) * 1_000)
        time.sleep(0.01)
    return took


def recording(options: argparse.Namespace) -> None:
    beside: dict[str, Callable[[], Any]] = {
        "alone": protected,
        "beside a rebuild": rebuilding,
        "beside a rebuild, NICE = 1": lambda: rebuilding("--nice", "1"),
    }
    took: dict[str, list[float]] = {name: [] for name in beside}
    for _ in range(options.rounds):
        for name, way in beside.items():
            with way():
                took[name] += record_for(options.seconds)
    print("| one page view | p50 ms | p99 ms | slowest ms | page views |\n|---|---|---|---|---|")
    for name, milliseconds in took.items():
        p99 = statistics.quantiles(milliseconds, n=100)[98]
        median = statistics.median(milliseconds)
        print(f"| {name} | {median:.2f} | {p99:.2f} | {max(milliseconds):.1f} | {len(milliseconds):,} |")


# -- revival


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def lose_and_revive(folder: Path, *, is_watched: bool) -> float:
    """Seconds from the kill of a worker in its chunk until another one has claimed the run."""
    from benchmarks.compare import EMPTIED, IDS, forget
    from django_pagestats.models import BackfillRun

    forget(EMPTIED + IDS)
    name = f"pagestats-{uuid.uuid4().hex}"
    environment = {
        **os.environ,
        "PAGESTATS_BROKER": "redis",
        "PAGESTATS_CLUSTER_NAME": name,
        "PAGESTATS_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    start = [sys.executable, str(MANAGE), "backfill_aggregates", "--chunk-size", "2000", "--verbosity", "0"]
    with Cluster(log=folder / f"{name}.log", environment=environment) as cluster:
        subprocess.run(start, env=environment, check=True)
        runs = BackfillRun.objects.all()
        wait_for(lambda: runs.latest("pk").rows_folded > 0)
        watcher = subprocess.Popen([*start, "--wait"], env=environment) if is_watched else None
        time.sleep(2)
        os.kill(cluster.worker_pids()[-1], signal.SIGKILL)
        killed_at = time.monotonic()
        wait_for(lambda: runs.latest("pk").revival_count > 0)
        wait_for(lambda: runs.latest("pk").enqueued_at is None)
        took = time.monotonic() - killed_at
        if watcher is not None:
            watcher.kill()
            watcher.wait()
    return took


def revival(options: argparse.Namespace) -> None:
    print(f"lease {LEASE_SECONDS} s\n\n| looked after by | seconds until another worker has it |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for label, is_watched, times in (("--wait", True, options.times), ("the schedule alone", False, 2)):
            took = [lose_and_revive(Path(folder), is_watched=is_watched) for _ in range(times)]
            each = ", ".join(f"{seconds:.1f}" for seconds in took)
            print(f"| {label} | {statistics.median(took):.1f} ({each}) |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["protections", "recording", "revival"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunk-size", type=int, help="protections: fixed, so that both fold the same chunks")
    parser.add_argument("--seconds", type=float, default=5, help="recording: of each way in a round")
    parser.add_argument("--times", type=int, default=5, help="revival: kills with --wait")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    print(f"{connection.vendor}, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n")
    {"protections": protections, "recording": recording, "revival": revival}[options.what](options)


if __name__ == "__main__":
    main()
