"""Start, follow or do a backfill."""

from __future__ import annotations

import json
import signal
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import backfill, folding, tasks
from django_pagestats.clock import DatabaseClock, database_now
from django_pagestats.conf import MOST_ROWS, conf, rest_factor
from django_pagestats.exceptions import PausedError, QueueUnreachableError, RunLockedError
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.management.progress import ProgressBar, describe, duration
from django_pagestats.models import BackfillRun, RunEvent

POLL_SECONDS = 0.5
#: exit statuses
PAUSED = 3
STUCK = 4
INTERRUPTED = 130
#: option -> the verb that does it
WISHES = {"pause": backfill.pause, "resume": tasks.resume_backfill, "cancel": backfill.cancel}


class Command(DatabaseCommand):
    help = "Build the aggregates from the page views there are, in chunks; safe to interrupt, and to run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--wait", action="store_true", help="Follow the run with a progress bar.")
        how.add_argument("--sync", action="store_true", help="Do it in this process, without a cluster.")
        how.add_argument("--status", action="store_true", help="Show the active or last run; start nothing.")
        how.add_argument("--pause", action="store_true", help="Stop the active run after its chunk, until --resume.")
        how.add_argument(
            "--cancel",
            action="store_true",
            help="Give the active run up after its chunk; a rebuild's rows are deleted.",
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="Go on with the run that is paused, or with the last one if it failed.",
        )
        parser.add_argument(
            "--rebuild", action="store_true", help="Build new aggregates beside those in use, check them, then switch."
        )
        parser.add_argument(
            "--chunk-size", type=int, metavar="N", help="A fixed number of page views a chunk; by default it adapts."
        )
        parser.add_argument(
            "--nice",
            type=_nice,
            metavar="N",
            help="Rest N times as long as each chunk takes; it may be changed while the run is active. 'default': as"
            " PAGESTATS_NICE says.",
        )
        parser.add_argument(
            "--keep-old",
            action="store_true",
            help="With --rebuild or --activate: keep the aggregates that answered before, for --activate.",
        )
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--activate", type=int, metavar="ID", help="Let a generation that is kept answer again.")
        which.add_argument(
            "--discard", type=int, metavar="ID", help="Keep a generation no longer; its rows are deleted."
        )
        parser.add_argument("--json", action="store_true", help="Print the status as one JSON object.")

    def work(self, *, database: str, **options: Any) -> None:
        self.is_json = options["json"]
        self.speaks = options["verbosity"] > 0 and not self.is_json
        _check_options(options)
        if options["status"]:
            self._status(database, is_json=self.is_json)
            return
        if options["activate"] is not None or options["discard"] is not None:
            told = self._change_generation(database, options)
        elif wish := next((name for name in WISHES if options[name]), None):
            told = self._wish(database, wish, options)
        else:
            told = self._begin(database, options)
        self._tell(database, *told)

    def _tell(self, using: str, outcome: str, message: str) -> None:
        if self.is_json:
            self.stdout.write(json.dumps({"outcome": outcome, "message": message, **backfill.status(using)}))

    def _begin(self, using: str, options: dict[str, Any]) -> tuple[str, str]:
        wanted = {
            "kind": BackfillRun.Kind.REBUILD if options["rebuild"] else BackfillRun.Kind.BACKFILL,
            "chunk_size": options["chunk_size"],
            "nice": _wanted_nice(options),
            "keep_old": options["keep_old"],
            "via": RunEvent.Via.COMMAND,
        }
        if options["nice"] is not None and backfill.active_run(using) is not None:
            self._change_nice(using, options)
        started = self._sync(using, wanted) if options["sync"] else self._start(using, wanted, wait=options["wait"])
        return started.outcome, started.message

    # -- pausing, going on, giving up

    def _wish(self, using: str, wish: str, options: dict[str, Any]) -> tuple[str, str]:
        if wish == "resume" and options["sync"]:
            answer = backfill.resume(using, via=RunEvent.Via.COMMAND, enqueue=backfill.enqueue_nothing)
        else:
            if wish == "resume":
                self._check_queue()
            answer = WISHES[wish](using, via=RunEvent.Via.COMMAND)
        self._say_answer(using, answer)
        if options["nice"] is not None:
            self._change_nice(using, options)
        run = answer.run
        if run is not None and options["sync"]:
            self._sync(using, {"kind": run.kind, "via": RunEvent.Via.COMMAND})
        elif run is not None and options["wait"]:
            self._wait(using, run)
        return answer.outcome, answer.message

    def _change_nice(self, using: str, options: dict[str, Any]) -> None:
        answer = backfill.change_nice(using, _wanted_nice(options), via=RunEvent.Via.COMMAND)
        self._say(f"{answer.message}.")

    # -- generations

    def _change_generation(self, using: str, options: dict[str, Any]) -> tuple[str, str]:
        if options["discard"] is not None:
            answer = backfill.discard(using, options["discard"], via=RunEvent.Via.COMMAND)
        else:
            keep_old = options["keep_old"]
            answer = backfill.activate(using, options["activate"], keep_old=keep_old, via=RunEvent.Via.COMMAND)
        self._say_answer(using, answer)
        if options["sync"]:
            self._sweep(using)
        return answer.outcome, answer.message

    # -- through the cluster

    def _start(self, using: str, wanted: dict[str, Any], *, wait: bool) -> backfill.Started:
        self._check_queue()
        started = tasks.start_backfill(using, **wanted)
        if wait and started.run is not None and started.run.kind != wanted["kind"]:
            follow = f"'manage.py {started.run.command} --wait'"
            raise CommandError(f"{started.message}. Follow it with {follow}, or run this again when it has ended.")
        self._say(started.message)
        if wait and started.run is not None:
            self._wait(using, started.run)
        elif started.outcome == "started":
            self._say("Follow it with --wait, look at it with --status.")
        elif started.outcome == "nothing_new":
            self._say_problem(using)
        return started

    def _check_queue(self) -> None:
        if not tasks.queue_is_installed():
            raise CommandError("django_q is not in INSTALLED_APPS: use --sync to backfill in this process.")

    def _wait(self, using: str, run: BackfillRun) -> None:
        try:
            with self._bar() as bar:
                run = self._follow(using, run, bar)
        except KeyboardInterrupt:
            self._say(f"Stopped watching. Run {run.pk} goes on: see --status, or follow it again with --wait.")
            sys.exit(INTERRUPTED)
        self._say_end(using, run)

    def _follow(self, using: str, run: BackfillRun, bar: ProgressBar) -> BackfillRun:
        runs = BackfillRun.objects.using(using).select_related("generation")
        clock = DatabaseClock(using)
        has_warned = False
        while run.is_going:
            missing = backfill.missing_cluster(run, clock.now())
            if missing and not has_warned:
                bar.note(missing)
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

    # -- in this process

    def _sync(self, using: str, wanted: dict[str, Any]) -> backfill.Started:
        with _interrupts() as interrupted, self._bar() as bar:

            def watch(run: BackfillRun) -> bool:
                bar.show(run)
                return bool(interrupted)

            try:
                started = backfill.run_here(using, watch=watch, **wanted)
            except PausedError as error:
                raise CommandError(str(error), returncode=PAUSED) from error
            if started.run is not None:
                bar.show(started.run)
        run = started.run
        if run is None:
            self._say(started.message)
            self._say_problem(using)
        elif run.is_going:
            again = f"'manage.py {run.command} --sync'"
            self._say(f"Stopped run {run.pk} after a chunk; nothing is lost. To go on run {again} again.")
            sys.exit(INTERRUPTED)
        else:
            self._say_end(using, run)
            self._sweep(using)
        return started

    def _sweep(self, using: str) -> None:
        if swept := folding.sweep(using, nice=folding.niceness(using, is_cluster=False)):
            self._say(f"Deleted {swept:,} rows of the aggregates before.")

    # -- saying

    def _say(self, text: str) -> None:
        if self.speaks:
            self.stdout.write(text)

    def _say_answer(self, using: str, answer: backfill.Answer) -> None:
        """What came of a wish; one that is refused ends the command."""
        if answer.outcome == "refused":
            self._tell(using, answer.outcome, answer.message)
            raise CommandError(f"{answer.message}.")
        self._say(f"{answer.message}.")

    def _say_end(self, using: str, run: BackfillRun) -> None:
        if run.status == BackfillRun.Status.PAUSED:
            self._tell(using, run.status, backfill.paused(run))
            self._say(f"{backfill.paused(run)}.")
            sys.exit(PAUSED)
        if run.status != BackfillRun.Status.SUCCEEDED:
            why = f": {run.error}" if run.error else ""
            text = f"Run {run.pk} {run.status} after {run.rows_folded:,} page views{why}"
            self._tell(using, run.status, text)
            raise CommandError(text)
        assert run.finished_at is not None  # noqa: S101 - it has succeeded
        took = backfill.worked_seconds(run, run.finished_at)
        self._say(
            f"Run {run.pk} succeeded: {run.rows_folded:,} page views in {duration(took)}"
            f" ({run.rows_folded / max(took, 0.001):,.0f} per second)."
        )
        for told in backfill.kept(using)[: int(run.keep_old)]:
            self._say(f"{told}.")
        if not self._say_problem(using) and (tail := folding.tail_length(using, conf.TAIL_LIMIT)):
            self._say(f"{_at_most(tail)} page views came since; answers count them already.")

    def _say_problem(self, using: str) -> bool:
        """Say what only a person can bring in order; whether the aggregates are wrong until then."""
        problem = backfill.problem(using)
        if text := problem or folding.other_zone(using):
            self._say(text)
        return problem is not None

    def _bar(self) -> ProgressBar:
        return ProgressBar(self.stdout, is_silent=not self.speaks)

    def _status(self, using: str, *, is_json: bool) -> None:
        if is_json:
            self.stdout.write(json.dumps(backfill.status(using)))
        else:
            self._show_run(using)
        if problem := backfill.problem(using):
            raise CommandError(problem)
        run = backfill.active_run(using)
        if run is not None and backfill.is_stuck(run, database_now(using)):
            sys.exit(STUCK)
        if not is_json:
            tail = folding.tail_length(using, conf.TAIL_LIMIT)
            some = f"{tail:,} page views are not folded yet; answers count them all the same."
            self.stdout.write(folding.attention(using, tail) or some)

    def _show_run(self, using: str) -> None:
        run = backfill.current_run(using)
        if run is None:
            self.stdout.write("No backfill has run yet.")
            return
        self.stdout.write(describe(run))
        for told in backfill.kept(using):
            self.stdout.write(f"{told}.")
        if missing := backfill.missing_cluster(run, database_now(using)):
            self.stdout.write(missing)


def _check_options(options: dict[str, Any]) -> None:
    """Raise CommandError for what goes together with nothing."""
    size = options["chunk_size"]
    _check_generation_options(options)
    for name in ("status", "pause", "resume", "cancel"):
        if options[name] and (options["rebuild"] or size is not None):
            raise CommandError(f"--{name} starts nothing: leave out --rebuild and --chunk-size.")
    if options["nice"] is not None and (options["status"] or options["pause"] or options["cancel"]):
        raise CommandError("--nice goes with a start or --resume; alone it changes the active run, or starts one.")
    if options["resume"] and (options["status"] or options["pause"] or options["cancel"]):
        raise CommandError("--resume goes with --wait or --sync, or alone.")
    if size is not None and not 1 <= size <= MOST_ROWS:
        raise CommandError(f"--chunk-size must be a whole number from 1 to {MOST_ROWS:,}, not {size}.")


def _nice(text: str) -> float | str:
    """The value of --nice; raises ArgumentTypeError for what PAGESTATS_NICE may not be."""
    if text == "default":
        return text
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if rest_factor(number):
        raise ArgumentTypeError(f"must be a number from 0 to 100, or 'default', not {text!r}")
    return number


def _wanted_nice(options: dict[str, Any]) -> float | None:
    return None if options["nice"] == "default" else options["nice"]


def _check_generation_options(options: dict[str, Any]) -> None:
    if options["keep_old"] and not options["rebuild"] and options["activate"] is None:
        raise CommandError("--keep-old goes with --rebuild or --activate.")
    others = ("wait", "status", "pause", "resume", "cancel", "rebuild", "chunk_size", "nice")
    for name in ("activate", "discard"):
        if options[name] is not None and any(options[other] not in (False, None) for other in others):
            raise CommandError(f"--{name} goes with --sync, which deletes in this process, or alone.")


def _at_most(tail: int) -> str:
    return f"More than {conf.TAIL_LIMIT:,}" if tail > conf.TAIL_LIMIT else f"{tail:,}"


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
