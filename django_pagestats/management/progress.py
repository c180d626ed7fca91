"""A run's progress for the eyes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from tqdm import tqdm

from django_pagestats import backfill
from django_pagestats.models import BackfillRun

#: seconds between two lines where there is no terminal
LINE_SECONDS = 5.0
BAR_SECONDS = 0.1
BAR_FORMAT = "{desc} {percentage:5.1f}% |{bar}| {postfix}"


def duration(seconds: float) -> str:
    """Seconds as 4.2 s, 3:07 or 1:02:03."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figures(run: BackfillRun, so_far: backfill.Progress) -> str:
    text = f"{so_far.page_views:,} page views"
    if (step := backfill.step(run)) not in (None, backfill.Step.FOLD):
        text += f", {backfill.english(step.label)} ({backfill.step_percent(run):.0f} %)"
    if so_far.rows_per_second is not None:
        text += f", {so_far.rows_per_second:,.0f}/s"
    if so_far.eta_seconds is not None:
        text += f", {duration(so_far.eta_seconds)} left"
    if run.wait_reason:
        text += f", {run.wait_reason}"
    if run.wait_until is not None and run.is_going:
        day = "" if run.wait_until.date() == datetime.now(timezone.utc).date() else f"{run.wait_until:%Y-%m-%d} "
        text += f" (until {day}{run.wait_until:%H:%M:%S} UTC)"
    return text


def describe(run: BackfillRun) -> str:
    """A run in words, on a few lines."""
    so_far = backfill.progress(run)
    by = f" by {run.actor}" if run.actor else ""
    lines = [
        f"Run {run.pk}, a {run.kind} started{by} from {run.via} at {run.created_at:%Y-%m-%d %H:%M:%S} UTC,"
        f" {run.state}: {so_far.percent:.1f} %",
        f"{_figures(run, so_far)}; cursor {run.cursor} of {run.target}, chunk size {run.chunk_size}",
    ]
    if run.nice is not None:
        lines.append(f"rests {run.nice:g} times as long as each chunk takes")
    if run.taken_at is not None and run.is_active:
        lines.append(f"a worker took a task of it last at {run.taken_at:%Y-%m-%d %H:%M:%S} UTC")
    if run.cancel_requested_at or run.pause_requested_at:
        by = f" by {run.requested_by}" if run.requested_by else ""
        what = "cancelled" if run.cancel_requested_at else "paused"
        lines.append(f"to be {what} at the end of its chunk, asked for{by} from {run.requested_via}")
    if run.error:
        lines.append(f"last error: {run.error}")
    return "\n".join(lines)


class ProgressBar:
    """Shows a run each time it is given one, but not more often than somebody can read."""

    def __init__(self, out: Any, *, is_silent: bool = False) -> None:
        self._out = out
        self._file = getattr(out, "_out", out)  # a command's stdout ends each write with a new line
        self._is_silent = is_silent
        self._is_terminal = bool(out.isatty())
        self._bar: tqdm[Any] | None = None
        self._shown_at = time.monotonic()
        self._last_line = ""

    def __enter__(self) -> ProgressBar:
        if self._is_terminal and not self._is_silent:
            self._bar = tqdm(
                total=100.0,
                file=self._file,
                dynamic_ncols=True,
                bar_format=BAR_FORMAT,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, run: BackfillRun) -> None:
        if self._is_silent:
            return
        now = time.monotonic()
        if run.is_active and now - self._shown_at < (BAR_SECONDS if self._bar is not None else LINE_SECONDS):
            return
        self._shown_at = now
        so_far = backfill.progress(run)
        if self._bar is not None:
            self._bar.n = so_far.percent
            self._bar.set_description_str(f"run {run.pk} {run.status}", refresh=False)
            self._bar.set_postfix_str(_figures(run, so_far))
            return
        line = f"run {run.pk} {run.status}: {so_far.percent:.1f} %, {_figures(run, so_far)}"
        if line != self._last_line:
            self._out.write(line)
            self._last_line = line

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._is_silent:
            return
        if self._bar is not None:
            self._bar.write(text, file=self._file)
        else:
            self._out.write(text)
