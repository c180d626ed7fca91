"""What a site without a cluster keeps up with: by itself, and by the open page of a run; --sync beside them.

    PAGESTATS_DB=sqlite PAGESTATS_DB_NAME=/tmp/bench.sqlite3 python -m benchmarks.no_cluster [--rounds 3] [--ticks 20]

The database has page views already (benchmarks.data). Each round makes a rebuild by --sync, and one by the requests of
its page, with the time between two of them; then so many ticks of keeping up, each of which finds more page views than
it has time for.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import django
from django.core.management import call_command
from django.db import connection

from benchmarks.data import store
from benchmarks.keeping_up import Visits

#: page views that wait when a tick begins
WAITING = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ticks", type=int, default=20)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    sync, page, ticks, longest = [], [], [], []
    for _ in range(options.rounds):
        sync.append(rate_of_sync())
        page.append(rate_of_page())
        folded, seconds = ticks_of_keeping_up(options.ticks)
        ticks += folded
        longest.append(max(seconds))
    minute = statistics.median(ticks)
    print(f"{connection.vendor}, {options.rounds} rounds, load {os.getloadavg()[0]:.0f}\n")
    print("| way | page views a second |\n|---|---|")
    print(f"| --sync, a rebuild | {statistics.median(sync):,.0f} |")
    print(f"| the open page of a run, a rebuild | {statistics.median(page):,.0f} |")
    print(f"| keeping up by itself, 0.2 s a minute ({minute:,.0f} a minute) | {minute / 60:,.0f} |")
    print(f"\nthe longest tick took {max(longest):.2f} s")


def last_rate() -> float:
    from django_pagestats.models import BackfillRun

    run = BackfillRun.objects.latest("pk")
    if run.status != BackfillRun.Status.SUCCEEDED or run.finished_at is None:
        raise SystemExit(f"run {run.pk} {run.status}: {run.error}")
    return float(run.rows_folded / (run.finished_at - run.created_at).total_seconds())


def rate_of_sync() -> float:
    call_command("backfill_aggregates", "--rebuild", "--sync", verbosity=0)
    return last_rate()


def rate_of_page() -> float:
    from django_pagestats import backfill, folding
    from django_pagestats.admin.live import WORK_SECONDS
    from django_pagestats.clock import database_now
    from django_pagestats.models import BackfillRun

    started = backfill.start("default", kind="rebuild", via="benchmark", enqueue=backfill.leave_to_page)
    assert started.run is not None
    while (run := BackfillRun.objects.get(pk=started.run.pk)).is_going:
        backfill.work_for_page("default", run, database_now("default"), has_queue=False)
        time.sleep(WORK_SECONDS)
    folding.sweep("default")
    return last_rate()


def ticks_of_keeping_up(count: int) -> tuple[list[int], list[float]]:
    """Page views folded by each, and how long it took."""
    from django_pagestats import folding, tending
    from django_pagestats.models import PageView

    visits = Visits()
    folded: list[int] = []
    seconds: list[float] = []
    folding.keep_up("default", seconds=60)
    for _ in range(count):
        missing = WAITING - folding.tail_length("default", WAITING)
        store(iter(list(visits.of_a_minute(missing))), PageView._meta.db_table)
        began = time.perf_counter()
        folded.append(folding.keep_up("default", seconds=tending.SECONDS).page_views)
        seconds.append(time.perf_counter() - began)
    return folded, seconds


if __name__ == "__main__":
    main()
