"""What backfill_aggregates says: sentences for a person, or one JSON object for a script."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import backfill, folding
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.management.progress import ProgressBar, describe, duration
from django_pagestats.models import BackfillRun, RunEvent
from django_pagestats.silence import last_viewed_at, silence

#: exit statuses
PAUSED = 3
STUCK = 4
INTERRUPTED = 130


class Telling:
    """Says things on a command's output; what is no success ends the command with the status that stands for it."""

    def __init__(self, using: str, out: Any, *, is_json: bool, is_silent: bool) -> None:
        self.using = using
        self.out = out
        self.is_json = is_json
        self.is_silent = is_silent or is_json

    def say(self, text: backfill.Text) -> None:
        if not self.is_silent:
            self.out.write(str(text))

    def report(self, outcome: str, message: backfill.Text) -> None:
        """The one object of --json: what came of it, and how the run stands."""
        if self.is_json:
            self.out.write(json.dumps({"outcome": outcome, "message": str(message), **backfill.status(self.using)}))

    def answer(self, answer: backfill.Answer) -> None:
        """What came of a wish; one that is refused ends the command."""
        if answer.outcome == "refused":
            self.report(answer.outcome, answer.message)
            raise CommandError(f"{answer.message}.")
        self.say(f"{answer.message}.")

    def bar(self) -> ProgressBar:
        return ProgressBar(self.out, is_silent=self.is_silent)

    def end(self, run: BackfillRun) -> None:
        """How a run ended; but for a success that ends the command."""
        if run.status == BackfillRun.Status.PAUSED:
            paused = backfill.paused(run, RunEvent.Via.COMMAND)
            self.report(run.status, paused)
            self.say(f"{paused}.")
            raise SystemExit(PAUSED)
        if run.status != BackfillRun.Status.SUCCEEDED:
            why = f": {run.error}" if run.error else ""
            text = f"Run {run.pk} {run.status} after {backfill.page_views(run):,} page views{why}"
            self.report(run.status, text)
            raise CommandError(text)
        assert run.finished_at is not None  # noqa: S101 - it has succeeded
        took = backfill.worked_seconds(run, run.finished_at)
        self.say(
            f"Run {run.pk} succeeded: {run.rows_folded:,} page views in {duration(took)}"
            f" ({run.rows_folded / max(took, 0.001):,.0f} per second)."
        )
        for told in backfill.kept(self.using)[: int(run.keep_old)]:
            self.say(f"{told}.")
        if not self.problem() and (tail := folding.tail_length(self.using, conf.TAIL_LIMIT)):
            self.say(f"{_at_most(tail)} page views came since; answers count them already.")

    def problem(self) -> bool:
        """Say what only a person can bring in order; whether the aggregates are wrong until then."""
        problem = backfill.problem(self.using)
        if text := problem or folding.other_settings(self.using):
            self.say(text)
        return problem is not None

    def status(self) -> None:
        """How the active or last run stands, which is all that --status is for: it is told however quiet one is."""
        if self.is_json:
            self.out.write(json.dumps(backfill.status(self.using)))
        else:
            self._show_run()
            self._show_last_page_view()
        if problem := backfill.problem(self.using):
            raise CommandError(problem)
        run = backfill.active_run(self.using)
        if run is not None and backfill.is_stuck(run, database_now(self.using)):
            raise SystemExit(STUCK)
        if not self.is_json:
            tail = folding.tail_length(self.using, conf.TAIL_LIMIT)
            some = f"{tail:,} page views are not folded yet; answers count them all the same."
            self.out.write(backfill.english(folding.attention(self.using, tail)) or some)

    def _show_last_page_view(self) -> None:
        now = database_now(self.using)
        last = last_viewed_at(self.using, now)
        if told := silence(last, now):
            self.out.write(told)
        elif last is not None:
            self.out.write(f"The last page view is of {last:%Y-%m-%d %H:%M:%S} UTC.")

    def _show_run(self) -> None:
        run = backfill.current_run(self.using)
        if run is None:
            self.out.write("No backfill has run yet.")
            return
        self.out.write(describe(run))
        for told in backfill.kept(self.using):
            self.out.write(f"{told}.")
        if missing := backfill.missing_cluster(run, database_now(self.using)):
            self.out.write(str(missing))


def _at_most(tail: int) -> str:
    return f"More than {conf.TAIL_LIMIT:,}" if tail > conf.TAIL_LIMIT else f"{tail:,}"
