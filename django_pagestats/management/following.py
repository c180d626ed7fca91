"""Following a run that a cluster works on, with a progress bar, to its end."""

from __future__ import annotations

import time

from django_pagestats import backfill, tasks
from django_pagestats.clock import DatabaseClock
from django_pagestats.exceptions import QueueUnreachableError, RunLockedError
from django_pagestats.management.progress import ProgressBar
from django_pagestats.management.telling import INTERRUPTED, Telling
from django_pagestats.models import BackfillRun

POLL_SECONDS = 0.5


def follow(run: BackfillRun, telling: Telling) -> None:
    """Show a run until it ends, and say how; Ctrl-C ends the watching only."""
    try:
        with telling.bar() as bar:
            run = _follow(telling.using, run, bar)
    except KeyboardInterrupt:
        telling.say(f"Stopped watching. Run {run.pk} goes on: see --status, or follow it again with --wait.")
        raise SystemExit(INTERRUPTED) from None
    telling.end(run)


def _follow(using: str, run: BackfillRun, bar: ProgressBar) -> BackfillRun:
    runs = BackfillRun.objects.using(using).select_related("generation")
    clock = DatabaseClock(using)
    has_warned = False
    while run.is_going:
        missing = backfill.missing_cluster(run, clock.now())
        if missing and not has_warned:
            bar.note(str(missing))
        has_warned = bool(missing)
        bar.show(run)
        time.sleep(POLL_SECONDS)
        try:
            tasks.revive(using)
        except (QueueUnreachableError, RunLockedError) as error:  # it may pass: go on watching
            bar.note(str(error))
        before, run = run, runs.get(pk=run.pk)
        if run.revival_count > before.revival_count:
            since = before.progressed_at or before.created_at
            bar.note(f"No sign of life of run {run.pk} since {since:%H:%M:%S} UTC: another worker may take it now.")
    bar.show(run)
    return run
