"""Start, follow or do a backfill."""

from __future__ import annotations

import json
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from django_pagestats import backfill, folding, tasks
from django_pagestats.conf import conf
from django_pagestats.exceptions import PageStatsError, QueueUnreachableError
from django_pagestats.management.progress import ProgressBar, describe, duration
from django_pagestats.models import BackfillRun

POLL_SECONDS = 0.5
#: a run that no worker has taken for so long has no cluster, most likely
QUEUED_SECONDS = 10
INTERRUPTED = 130


class Command(BaseCommand):
    help = "Build the aggregates from the page views there are, in chunks; safe to interrupt, and to run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the database alias of the page views")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--wait", action="store_true", help="follow the run with a progress bar")
        how.add_argument("--sync", action="store_true", help="do it in this process, without a cluster")
        how.add_argument("--status", action="store_true", help="show the active or last run, and start nothing")
        parser.add_argument(
            "--rebuild", action="store_true", help="build new aggregates beside those in use, check them, then switch"
        )
        parser.add_argument(
            "--chunk-size", type=int, metavar="N", help="fixed number of page views a chunk; by default it adapts"
        )
        parser.add_argument("--json", action="store_true", help="print the status as one JSON object")

    def handle(self, *, database: str, **options: Any) -> None:
        if database not in connections:
            raise CommandError(f"There is no database {database!r}; DATABASES has {', '.join(connections)}.")
        if options["chunk_size"] is not None and options["chunk_size"] < 1:
            raise CommandError(f"--chunk-size must be at least 1, not {options['chunk_size']}.")
        try:
            self._do(database, options)
        except PageStatsError as error:
            raise CommandError(str(error)) from error

    def _do(self, using: str, options: dict[str, Any]) -> None:
        self.speaks = options["verbosity"] > 0 and not options["json"]
        if not options["status"]:
            wanted = {
                "kind": BackfillRun.Kind.REBUILD if options["rebuild"] else BackfillRun.Kind.BACKFILL,
                "chunk_size": options["chunk_size"],
                "via": "command",
            }
            if options["sync"]:
                self._sync(using, wanted)
            else:
                self._start(using, wanted, wait=options["wait"])
        elif not options["json"]:
            self._show_status(using)
        if options["json"]:
            self.stdout.write(json.dumps(backfill.status(using)))

    # -- through the cluster

    def _start(self, using: str, wanted: dict[str, Any], *, wait: bool) -> None:
        if not tasks.queue_is_installed():
            raise CommandError("django_q is not in INSTALLED_APPS: use --sync to backfill in this process.")
        started = tasks.start_backfill(using, **wanted)
        self._say(started.message)
        if started.run is None:
            return
        if wait:
            self._wait(using, started.run)
        elif started.outcome == "started":
            self._say("Follow it with --wait, look at it with --status.")

    def _wait(self, using: str, run: BackfillRun) -> None:
        try:
            with self._bar() as bar:
                run = self._follow(using, run, bar)
        except KeyboardInterrupt:
            self._say(f"Stopped watching. Run {run.pk} goes on: see --status, or follow it again with --wait.")
            sys.exit(INTERRUPTED)
        self._say_end(run)

    def _follow(self, using: str, run: BackfillRun, bar: ProgressBar) -> BackfillRun:
        runs = BackfillRun.objects.using(using).select_related("generation")
        asked_at = time.monotonic()
        has_warned = False
        while run.is_active:
            has_waited = time.monotonic() - asked_at > QUEUED_SECONDS
            if has_waited and run.status == BackfillRun.Status.QUEUED and not has_warned:
                bar.note(
                    f"No worker has taken run {run.pk} for {QUEUED_SECONDS} s: no cluster seems to run."
                    " Start one with 'manage.py qcluster', or do it here with --sync."
                )
                has_warned = True
            bar.show(run)
            time.sleep(POLL_SECONDS)
            try:
                tasks.revive(using)
            except QueueUnreachableError as error:  # it may come back: go on watching
                bar.note(str(error))
            run = runs.get(pk=run.pk)
        bar.show(run)
        return run

    # -- in this process

    def _sync(self, using: str, wanted: dict[str, Any]) -> None:
        with _interrupts() as interrupted, self._bar() as bar:

            def watch(run: BackfillRun) -> bool:
                bar.show(run)
                return bool(interrupted)

            started = backfill.run_here(using, watch=watch, **wanted)
            if started.run is not None:
                bar.show(started.run)
        run = started.run
        if run is None:
            self._say(started.message)
        elif run.is_active:
            self._say(f"Stopped run {run.pk} after a chunk; nothing is lost. Run the command again to go on.")
            sys.exit(INTERRUPTED)
        else:
            self._say_end(run)
            if swept := folding.sweep(using):
                self._say(f"Deleted {swept:,} rows of the aggregates before.")

    # -- saying

    def _say(self, text: str) -> None:
        if self.speaks:
            self.stdout.write(text)

    def _say_end(self, run: BackfillRun) -> None:
        if run.status != BackfillRun.Status.SUCCEEDED:
            raise CommandError(f"Run {run.pk} {run.status} after {run.rows_folded:,} page views: {run.error}")
        assert run.started_at is not None and run.finished_at is not None  # noqa: S101 - it has succeeded
        took = (run.finished_at - run.started_at).total_seconds()
        self._say(
            f"Run {run.pk} succeeded: {run.rows_folded:,} page views in {duration(took)}"
            f" ({run.rows_folded / max(took, 0.001):,.0f} per second)."
        )

    def _bar(self) -> ProgressBar:
        return ProgressBar(self.stdout, is_silent=not self.speaks)

    def _show_status(self, using: str) -> None:
        runs = BackfillRun.objects.using(using).select_related("generation").order_by("-pk")
        run = runs.filter(active_key=BackfillRun.ACTIVE).first() or runs.first()
        self.stdout.write("No backfill has run yet." if run is None else describe(run))
        tail = folding.tail_length(using, conf.TAIL_LIMIT)
        if tail > conf.TAIL_LIMIT:
            self.stdout.write(
                f"More than {conf.TAIL_LIMIT:,} page views are not folded yet, too many for keeping up: answers count"
                " them, slowly. Start a backfill."
            )
        else:
            self.stdout.write(f"{tail:,} page views are not folded yet; answers count them all the same.")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C fills the list instead of breaking off in the middle of a chunk."""
    seen: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    except ValueError:  # not in the main thread: nobody can press Ctrl-C there
        yield seen
        return
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
