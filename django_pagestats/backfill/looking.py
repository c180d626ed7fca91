"""How far a run is, and what there is to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats import folding
from django_pagestats.backfill.chain import lease
from django_pagestats.backfill.words import said
from django_pagestats.clock import database_now
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import BackfillRun, BuildSegment, RunEvent
from django_pagestats.silence import last_viewed_at, silence
from django_pagestats.texts import Text

Kind = BuildSegment.Kind
Status = BackfillRun.Status

#: a run that no worker has taken for so long has no cluster, most likely
QUEUED_SECONDS = 10
#: a run that waits goes on when django-q2's scheduler looks next, which it does every 30 seconds
SCHEDULER_TIME = timedelta(seconds=40)
#: what a run did in less says nothing of its rate
LEAST_SECONDS = 0.002


@dataclass(frozen=True)
class Progress:
    """How far a run is, by its position in the range of keys."""

    page_views: int  #: folded, by its own worker and by those of its segments
    percent: float  #: at most 99.9 until the run has succeeded
    rows_per_second: float | None  #: page views, by wall clock
    eta_seconds: float | None  #: of the page views that are still to be folded


class Step(models.TextChoices):
    """What an active run is at."""

    FOLD = "fold", _("folds page views")
    ALL_TIME = "all_time", _("makes the rows of all time")
    CHECK = "check", _("checks the new generation")


def step(run: BackfillRun) -> Step | None:
    """What a run is at, with its generation as that was read with it; None: it has ended."""
    if not run.is_active:
        return None
    generation = run.generation
    if generation.cursor < run.target:
        return Step.FOLD
    is_closed = generation.all_cursor >= generation.cursor
    return Step.CHECK if is_closed and run.builds else Step.ALL_TIME


def step_percent(run: BackfillRun) -> float | None:
    """How far a run is with its step; None: it has ended."""
    now_at = step(run)
    if now_at is Step.FOLD:
        return _percent(run, run.cursor + _done(segments_of(run, Kind.FOLD)))
    if now_at is Step.ALL_TIME:
        return folding.pass_percent(run.generation, _done(segments_of(run, Kind.ALL_TIME))) or 0.0
    if now_at is Step.CHECK:
        return _percent(run, (run.check_state or {}).get("after") or run.start_cursor)
    return None


def active_run(using: str) -> BackfillRun | None:
    """The run that is queued, running or paused; there is one at a time."""
    return BackfillRun.objects.using(using).filter(active_key=BackfillRun.ACTIVE).first()


def current_run(using: str) -> BackfillRun | None:
    """The active run, or else the last one, with its generation; None if there never was one."""
    runs = BackfillRun.objects.using(using).select_related("generation")
    return runs.filter(active_key=BackfillRun.ACTIVE).first() or runs.order_by("-pk").first()


def progress(run: BackfillRun, now: datetime | None = None) -> Progress:
    """How far a run is; `now` by the database's clock."""
    segments = segments_of(run, Kind.FOLD)
    folded = run.rows_folded + _folded(segments)
    percent = 100.0 if run.status == Status.SUCCEEDED else _percent(run, run.cursor + _done(segments))
    if run.started_at is None:
        return Progress(folded, percent, None, None)
    end = run.finished_at or run.paused_at or now or database_now(run._state.db or "default")
    elapsed = max(worked_seconds(run, end), 0.001)
    eta = None
    if run.is_going and percent > 0 and run.cursor < run.target:  # nobody knows of the steps after the last chunk
        eta = elapsed * (100.0 - percent) / percent
    return Progress(folded, percent, folded / elapsed if elapsed >= LEAST_SECONDS else None, eta)


def page_views(run: BackfillRun) -> int:
    """How many page views a run has folded, with those of its segments that it has not taken in."""
    return run.rows_folded + _folded(segments_of(run, Kind.FOLD))


def segments_of(run: BackfillRun, kind: str | None = None) -> list[BuildSegment]:
    """The parts of a build that others do, or of them those of a kind, in order; of a run that can go on with them."""
    can_go_on = run.is_active or (run.status == Status.FAILED and run.generation.doomed_at is None)
    if not (run.builds and can_go_on):
        return []
    found = BuildSegment.objects.using(run._state.db).filter(run=run).order_by("kind", "after")
    return list(found if kind is None else found.filter(kind=kind))


def _folded(segments: list[BuildSegment]) -> int:
    return sum(segment.rows_folded for segment in segments)


def _done(segments: list[BuildSegment]) -> int:
    return sum(segment.cursor - segment.after for segment in segments)


def _percent(run: BackfillRun, reached: int) -> float:
    span = run.target - run.start_cursor
    return min(99.9, 100.0 * max(0, reached - run.start_cursor) / span) if span > 0 else 0.0


def worked_seconds(run: BackfillRun, until: datetime) -> float:
    """How long a run took up to some time, by wall clock; the time that it was paused is not counted."""
    if run.started_at is None:
        return 0.0
    return max(0.0, (until - run.started_at).total_seconds() - run.idle_seconds)


#: what a run shows of itself in the status object, beside what is computed
RUN_FIELDS = (
    "kind",
    "target",
    "chunk_size",
    "nice",
    "error",
    "wait_reason",
    "wait_until",
    "failure_count",
    "revival_count",
    "pause_requested_at",
    "cancel_requested_at",
    "actor",
    "via",
    "created_at",
    "enqueued_at",
    "taken_at",
    "started_at",
    "finished_at",
)
COMPUTED_FIELDS = (
    "run_id",
    "rows_folded",
    "percent",
    "step",
    "step_percent",
    "rows_per_second",
    "eta_seconds",
    "cursor",
    "cluster_problem",
    "problem",
)
#: what the status object says of the page views, whether a run is there or not
SITE_FIELDS = ("last_viewed_at", "silence")


def status(using: str) -> dict[str, Any]:
    """The active run, or else the last one, as one object of plain values; status "none" if there never was one."""
    run, now = current_run(using), database_now(using)
    last = last_viewed_at(using, now)
    of_site = dict(zip(SITE_FIELDS, (_plain(last), _plain(silence(last, now))), strict=True))
    if run is None:
        return {"status": "none", **dict.fromkeys((*COMPUTED_FIELDS, *RUN_FIELDS)), **of_site}
    so_far = progress(run, now)
    computed = (
        run.pk,
        so_far.page_views,
        _rounded(so_far.percent),
        step(run),
        _rounded(step_percent(run)),
        _rounded(so_far.rows_per_second),
        _rounded(so_far.eta_seconds),
        run.generation.cursor,
        missing_cluster(run, now) or None,
        problem(using),
    )
    fields = {name: _plain(getattr(run, name)) for name in RUN_FIELDS}
    return {"status": run.status, **dict(zip(COMPUTED_FIELDS, computed, strict=True)), **fields, **of_site}


def problem(using: str) -> str | None:
    """What keeps the aggregates from being right until a person does something; None most often."""
    generation = folding.active_generation(using)
    try:
        if generation is not None:
            folding.check_not_back(using, generation)
    except TableWentBackError as error:
        return str(error)
    return folding.deleted_page_views(using) or None


def missing_cluster(run: BackfillRun, now: datetime, via: str = RunEvent.Via.COMMAND) -> Text:
    """What there is to say if nobody seems to work on the run, at some door; `now` by the database's clock."""
    if not run.is_going or (run.wait_until is not None and run.wait_until + SCHEDULER_TIME > now):
        return ""
    values = {"run": run.pk, "command": f"manage.py {run.command} --sync"}
    if run.enqueued_at is None:
        if run.lease_until > now:
            return ""
        since = f"{run.progressed_at or run.taken_at or run.created_at:%Y-%m-%d %H:%M:%S} UTC"
        told = _(
            "Nobody has worked on run {run} since {since}. A cluster goes on with it by itself; or do it with"
            " '{command}'."
        )
        return said(via, told, **values, since=since)
    waits = (now - run.enqueued_at).total_seconds()
    if waits < QUEUED_SECONDS:
        return ""
    if run.taken_at is None:
        told = _(
            "No worker has taken run {run} for {seconds} s: no cluster seems to run, or it takes no task. Start one"
            " with 'manage.py qcluster', or restart the one that runs, or do it with '{command}'."
        )
        return said(via, told, **values, seconds=f"{waits:.0f}")
    told = _(
        "No worker has taken a task of run {run} since {since}; one has waited for {seconds} s: start the cluster, or"
        " restart the cluster if one runs, or do it with '{command}'."
    )
    return said(via, told, **values, since=f"{run.taken_at:%Y-%m-%d %H:%M:%S} UTC", seconds=f"{waits:.0f}")


def is_stuck(run: BackfillRun, now: datetime) -> bool:
    """Whether a link of the run has been in the queue for longer than a lease, or its lease is over for so long."""
    since = run.lease_until if run.enqueued_at is None else run.enqueued_at
    return run.is_going and since + lease() <= now


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value == "" else value
