"""The statuses of a run: which changes there are, who makes them, and how one is made and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Subquery
from django.dispatch import Signal

from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, Generation, RunEvent
from django_pagestats.sequences import sequence_told
from django_pagestats.signals import backfill_failed, backfill_finished

Status = BackfillRun.Status
Via = RunEvent.Via

#: every change there is: who makes it, and when
TRANSITIONS: dict[tuple[str, str], str] = {
    (Status.QUEUED, Status.RUNNING): "a worker, when it claims the first link of a start or a resume",
    (Status.QUEUED, Status.PAUSED): "whoever asks for it, at once: nobody is at work",
    (Status.QUEUED, Status.CANCELLED): "whoever asks for it, at once: nobody is at work",
    (Status.QUEUED, Status.FAILED): "the watchdog, when no worker took it however often it was enqueued",
    (Status.RUNNING, Status.PAUSED): "the worker, at the end of its chunk; whoever asks, if nobody is at work",
    (Status.RUNNING, Status.CANCELLED): "the worker, at the end of its chunk; whoever asks, if nobody is at work",
    (Status.RUNNING, Status.SUCCEEDED): "the worker, at the target; of a rebuild, in the transaction that switches",
    (Status.RUNNING, Status.FAILED): "the worker, after too many failures; the watchdog, after too many revivals",
    (Status.PAUSED, Status.QUEUED): "whoever resumes it",
    (Status.PAUSED, Status.CANCELLED): "whoever asks for it",
    (Status.FAILED, Status.QUEUED): "whoever resumes it, while it is the last run",
}
#: with one of these a run is the active one
ACTIVE = frozenset({Status.QUEUED, Status.RUNNING, Status.PAUSED})


ENDINGS: dict[str, Signal] = {
    Status.SUCCEEDED: backfill_finished,
    Status.CANCELLED: backfill_finished,
    Status.FAILED: backfill_failed,
}


class IllegalChangeError(Exception):
    """There is no such change: a fault of ours, not of the user's."""


def change(
    run: BackfillRun,
    to: str,
    *,
    now: datetime,
    actor: str = "",
    via: str,
    reason: str = "",
    seen: Sequence[str] = (),
    **columns: Any,
) -> bool:
    """Change a run's status and record it, in one transaction; False, and nothing done, if the run has moved on.

    That is, if its status, its epoch or one of the columns named by `seen` is not what `run` says any more. `columns`
    are changed with it.
    """
    if (run.status, to) not in TRANSITIONS:
        raise IllegalChangeError(f"{run}: {run.status} -> {to}")
    using = run._state.db
    as_seen = {name: getattr(run, name) for name in ("pk", "status", "epoch", *seen)}
    runs = BackfillRun.objects.using(using).filter(**as_seen)
    active_key = BackfillRun.ACTIVE if to in ACTIVE else None
    if to not in ACTIVE:
        columns["end_cursor"] = Subquery(Generation.objects.filter(pk=run.generation_id).values("cursor"))
    with database_for(using or DEFAULT_DB_ALIAS).transaction():
        if not runs.update(status=to, active_key=active_key, **columns):
            return False
        record(run, run.status, to, now=now, actor=actor, via=via, reason=reason)
        if to in ENDINGS:
            announce(ENDINGS[to], run)
    for name, value in {"status": to, "active_key": active_key, **columns}.items():
        if not hasattr(value, "resolve_expression"):
            setattr(run, name, value)
    return True


def announce(signal: Signal, run: BackfillRun) -> None:
    """Send a signal when the transaction commits; whatever a receiver does, it is not the run's failure."""
    using = run._state.db or DEFAULT_DB_ALIAS

    def send() -> None:
        fresh = BackfillRun.objects.using(using).get(pk=run.pk)
        signal.send_robust(BackfillRun, run=fresh, using=using)

    if signal.receivers:
        transaction.on_commit(send, using=using, robust=True)


def record(
    run: BackfillRun, from_status: str, to: str, *, now: datetime, actor: str = "", via: str, reason: str = ""
) -> None:
    """Add an event to a run, in the transaction of what it tells."""
    using = run._state.db or DEFAULT_DB_ALIAS
    with sequence_told(using):
        RunEvent.objects.using(using).create(
            run_id=run.pk, from_status=from_status, to_status=to, actor=actor[:255], via=via, reason=reason, at=now
        )
