"""Start, follow or do a backfill."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import backfill, folding, tasks
from django_pagestats.exceptions import PausedError
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.management.following import follow
from django_pagestats.management.options import add_options, check_options, wanted_nice
from django_pagestats.management.telling import INTERRUPTED, PAUSED, Telling
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, RunEvent

#: option -> the verb that does it
WISHES = {"pause": backfill.pause, "resume": tasks.resume_backfill, "cancel": backfill.cancel}


class Command(DatabaseCommand):
    help = "Build the aggregates from the page views there are, in chunks; safe to interrupt, and to run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_options(parser)

    def check_options(self, options: dict[str, Any]) -> None:
        check_options(options)

    def work(self, *, database: str, **options: Any) -> None:
        is_silent = options["verbosity"] == 0
        self.telling = Telling(database, self.stdout, is_json=options["json"], is_silent=is_silent)
        if options["status"]:
            self.telling.status()
            return
        if options["sync"] or options["wait"]:  # nobody would take a task that is not committed
            backfill.check_outside(database)
        if options["activate"] is not None or options["discard"] is not None:
            told = self._change_generation(database, options)
        elif wish := next((name for name in WISHES if options[name]), None):
            told = self._wish(database, wish, options)
        else:
            told = self._begin(database, options)
        self.telling.report(*told)

    def _begin(self, using: str, options: dict[str, Any]) -> tuple[str, backfill.Text]:
        wanted = {
            "kind": BackfillRun.Kind.REBUILD if options["rebuild"] else BackfillRun.Kind.BACKFILL,
            "chunk_size": options["chunk_size"],
            "nice": wanted_nice(options),
            "keep_old": options["keep_old"],
            "via": RunEvent.Via.COMMAND,
        }
        if options["nice"] is not None and backfill.active_run(using) is not None:
            self._change_nice(using, options)
        if options["sync"]:
            started = self._sync(using, wanted, workers=options["workers"] or 1)
        else:
            started = self._start(using, wanted, wait=options["wait"])
        return started.outcome, started.message

    # -- pausing, going on, giving up

    def _wish(self, using: str, wish: str, options: dict[str, Any]) -> tuple[str, backfill.Text]:
        if wish == "resume" and options["sync"]:
            answer = backfill.resume(using, via=RunEvent.Via.COMMAND, enqueue=backfill.enqueue_nothing)
        else:
            if wish == "resume":
                _check_queue()
            answer = WISHES[wish](using, via=RunEvent.Via.COMMAND)
        self.telling.answer(answer)
        if options["nice"] is not None:
            self._change_nice(using, options)
        run = answer.run
        if run is not None and options["sync"]:
            self._sync(using, {"kind": run.kind, "via": RunEvent.Via.COMMAND}, workers=options["workers"] or 1)
        elif run is not None and options["wait"]:
            follow(run, self.telling)
        return answer.outcome, answer.message

    def _change_nice(self, using: str, options: dict[str, Any]) -> None:
        answer = backfill.change_nice(using, wanted_nice(options), via=RunEvent.Via.COMMAND)
        self.telling.say(f"{answer.message}.")

    # -- generations

    def _change_generation(self, using: str, options: dict[str, Any]) -> tuple[str, backfill.Text]:
        if options["discard"] is not None:
            answer = backfill.discard(using, options["discard"], via=RunEvent.Via.COMMAND)
        else:
            keep_old = options["keep_old"]
            answer = backfill.activate(using, options["activate"], keep_old=keep_old, via=RunEvent.Via.COMMAND)
        self.telling.answer(answer)
        if options["sync"]:
            self._sweep(using)
        return answer.outcome, answer.message

    # -- through the cluster

    def _start(self, using: str, wanted: dict[str, Any], *, wait: bool) -> backfill.Started:
        _check_queue()
        started = tasks.start_backfill(using, **wanted)
        if wait and started.run is not None and started.run.kind != wanted["kind"]:
            other = f"'manage.py {started.run.command} --wait'"
            raise CommandError(f"{started.message}. Follow it with {other}, or run this again when it has ended.")
        self.telling.say(started.message)
        if wait and started.run is not None:
            follow(started.run, self.telling)
        elif started.outcome == "started":
            self.telling.say("Follow it with --wait, look at it with --status.")
        elif started.outcome == "nothing_new":
            self.telling.problem()
        return started

    # -- in this process

    def _sync(self, using: str, wanted: dict[str, Any], *, workers: int) -> backfill.Started:
        if workers > 1 and not database_for(using).SHARES_BUILDS:
            self.telling.say("SQLite has one writer: one worker does it.")
        with _interrupts() as interrupted, self.telling.bar() as bar:

            def watch(run: BackfillRun) -> bool:
                bar.show(run)
                return bool(interrupted)

            try:
                started = backfill.run_here(using, watch=watch, workers=workers, **wanted)
            except PausedError as error:
                raise CommandError(str(error), returncode=PAUSED) from error
            if started.run is not None:
                bar.show(started.run)
        run = started.run
        if run is None:
            self.telling.say(started.message)
            self.telling.problem()
        elif run.is_going:
            again = f"'manage.py {run.command} --sync{f' --workers {workers}' if workers > 1 else ''}'"
            self.telling.say(f"Stopped run {run.pk} after a chunk; nothing is lost. To go on run {again} again.")
            raise SystemExit(INTERRUPTED)
        else:
            self.telling.end(run)
            self._sweep(using)
        return started

    def _sweep(self, using: str) -> None:
        if swept := folding.sweep(using, nice=folding.niceness(using, is_cluster=False)):
            self.telling.say(f"Deleted {swept:,} rows of the aggregates before.")


def _check_queue() -> None:
    if not tasks.queue_is_installed():
        raise CommandError("django_q is not in INSTALLED_APPS: use --sync to backfill in this process.")


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
