"""Rebuild the aggregates, in turn with the yardstick, and print a Markdown table.

    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench \\
        python -m benchmarks.compare [--cluster] [--workers 2] [--rounds 3] [--dimensions]

Each round begins without aggregates and without ids of visitors and paths, since the yardstick makes those too
(--keep-ids: a rebuild of a site that has them). A rebuild's time is its run's, from start to switch, with the check
before the switch. Peak memory is that of the process that folds.

Named dimensions are off, as the yardstick has none; with --dimensions each comes once more with them, yardstick and
rebuild: of six attributes (`benchmarks.data --attributes`), or "default", those of the default setting.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import django
from django.db import connection

from benchmarks.one_shot import one_shot
from testproject.cluster import MANAGE, Cluster
from testproject.settings import KIND

COMMAND = [sys.executable, str(MANAGE), "backfill_aggregates", "--rebuild", "--verbosity", "0", "--skip-checks"]
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
EMPTIED = ("buildsegment", "aggregate", "runevent", "backfillrun", "generation")
IDS = ("visitor", "subject")
SIX_ATTRIBUTES = ("source", "campaign", "country", "browser", "system", "device")
#: added to a way's name
WITH = ", dimensions"


class Rebuild(NamedTuple):
    seconds: float
    page_views: int
    peak_bytes: int


def forget(tables: Sequence[str]) -> None:
    """Empty tables of ours at once, and let the database settle; not part of any time."""
    names = [f"django_pagestats_{table}" for table in tables]
    with connection.cursor() as cursor:
        if KIND == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
            cursor.execute("CHECKPOINT")
            return
        if KIND == "mariadb":
            cursor.execute("SET foreign_key_checks = 0")
        for name in names:
            cursor.execute(f"TRUNCATE {name}" if KIND == "mariadb" else f"DELETE FROM {name}")
        if KIND == "mariadb":
            cursor.execute("SET foreign_key_checks = 1")
        else:
            cursor.execute("VACUUM")  # else the new rows would lie scattered in the room of the old ones
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def last_rebuild(peak_bytes: int) -> Rebuild:
    from django_pagestats.models import BackfillRun

    run = BackfillRun.objects.latest("pk")
    if run.status != BackfillRun.Status.SUCCEEDED or run.finished_at is None:
        raise SystemExit(f"run {run.pk} {run.status}: {run.error}")
    return Rebuild((run.finished_at - run.created_at).total_seconds(), run.rows_folded, peak_bytes)


def rebuild_sync(workers: int = 1) -> Rebuild:
    child = subprocess.Popen([*COMMAND, "--sync", "--workers", str(workers)])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the rebuild exited with {child.returncode}")
    return last_rebuild(usage.ru_maxrss * MAXRSS_BYTES)


def rebuild_through_cluster(workers: int = 1) -> Rebuild:
    """Time from the start of the run, with a cluster that waits for it; memory as Linux counts it."""
    wanted = {"PAGESTATS_WORKERS": str(workers), "PAGESTATS_CLUSTER_WORKERS": str(workers)}
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(log=Path(folder) / "qcluster.log", environment=wanted) as cluster,
    ):
        subprocess.run([*COMMAND, "--wait"], check=True)
        peak = max((high_water(pid) for pid in cluster.worker_pids()), default=0)
    return last_rebuild(peak)


def high_water(pid: int) -> int:
    """Peak resident bytes of a process; 0 if it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def show(label: str, seconds: float, *, yardstick: float | None = None, rebuild: Rebuild | None = None) -> None:
    ratio = f"{seconds / yardstick:.2f}" if yardstick else ""
    rate = f"{rebuild.page_views / seconds:,.0f}" if rebuild else ""
    memory = f"{rebuild.peak_bytes / 1e6:.0f}" if rebuild else ""
    print(f"| {label} | {seconds:.1f} | {ratio} | {rate} | {memory} |", flush=True)


def settings_of(dimensions: str | None) -> dict[str, Mapping[str, str]]:
    """What is added to the names of ways -> the PAGESTATS_DIMENSIONS that they have."""
    from django_pagestats.conf import DIMENSIONS

    if dimensions is None:
        return {"": {}}
    return {"": {}, WITH: DIMENSIONS if dimensions == "default" else {name: name for name in SIX_ATTRIBUTES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cluster", action="store_true", help="also through a real qcluster (PAGESTATS_BROKER)")
    parser.add_argument("--workers", type=int, default=1, help="also by so many at once, in each way")
    parser.add_argument("--no-yardstick", action="store_true", help="rebuilds only: for memory, and for larger tables")
    parser.add_argument("--keep-ids", action="store_true", help="visitors and paths have their ids already")
    parser.add_argument(
        "--dimensions", nargs="?", const="attributes", choices=["attributes", "default"], help="also with dimensions"
    )
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.dimension_settings"
    django.setup()
    ways: dict[str, Callable[[], Rebuild]] = {"--sync": rebuild_sync}
    if options.cluster:
        ways["cluster"] = rebuild_through_cluster
    if options.workers > 1:
        for way, rebuild in list(ways.items()):
            ways[f"{way}, {options.workers} workers"] = partial(rebuild, options.workers)  # type: ignore[call-arg]
    settings = settings_of(options.dimensions)
    yardsticks: dict[str, list[float]] = {label: [] for label in settings}
    rebuilds: dict[str, list[Rebuild]] = {way + label: [] for way in ways for label in settings}
    print(f"{KIND}, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n")
    print("| round | seconds | x one-shot | page views/s | peak MB |\n|---|---|---|---|---|")
    for number in range(1, options.rounds + 1):
        for label, dimensions in () if options.no_yardstick else settings.items():
            yardsticks[label].append(one_shot(list(dimensions)))
            show(f"{number} one-shot{label}", yardsticks[label][-1])
        for way, rebuild in ways.items():
            for label, dimensions in settings.items():
                os.environ["PAGESTATS_DIMENSIONS"] = json.dumps(dimensions)
                forget(EMPTIED if options.keep_ids else EMPTIED + IDS)
                done = rebuild()
                rebuilds[way + label].append(done)
                yardstick = None if options.no_yardstick else yardsticks[label][-1]
                show(f"{number} {way}{label}", done.seconds, yardstick=yardstick, rebuild=done)
    summarise(yardsticks, rebuilds)


def summarise(yardsticks: dict[str, list[float]], rebuilds: dict[str, list[Rebuild]]) -> None:
    """Medians; a ratio is the median of the rounds' ratios, since each round saw the same machine."""
    for label, took in yardsticks.items():
        if took:
            show(f"median one-shot{label}", statistics.median(took))
    for way, done in rebuilds.items():
        seconds = statistics.median(rebuild.seconds for rebuild in done)
        middle = Rebuild(seconds, done[0].page_views, max(rebuild.peak_bytes for rebuild in done))
        took = yardsticks[WITH if way.endswith(WITH) else ""]
        ratios = [rebuild.seconds / yardstick for rebuild, yardstick in zip(done, took, strict=False)]
        show(
            f"median {way}", seconds, yardstick=seconds / statistics.median(ratios) if ratios else None, rebuild=middle
        )
    for way in rebuilds:
        if way.endswith(WITH):
            show_ratio(way, way.removesuffix(WITH), rebuilds)
        elif way != "--sync":
            show_ratio(way, "--sync", rebuilds)


def show_ratio(way: str, other: str, rebuilds: dict[str, list[Rebuild]]) -> None:
    ratios = [a.seconds / b.seconds for a, b in zip(rebuilds[way], rebuilds[other], strict=True)]
    print(f"\n{way} / {other}: median {statistics.median(ratios):.2f} ({', '.join(f'{it:.2f}' for it in ratios)})")


if __name__ == "__main__":
    main()
