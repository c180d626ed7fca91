"""What a person may want of a run: that it pauses, goes on, or is given up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from django_pagestats.backfill import states
from django_pagestats.backfill.chain import Enqueue, brief_transaction, lease
from django_pagestats.backfill.looking import active_run, current_run
from django_pagestats.backfill.words import KINDS, STATES, joined, said, words
from django_pagestats.clock import database_now
from django_pagestats.conf.complaints import rest_factor
from django_pagestats.models import BackfillRun, Generation
from django_pagestats.texts import Text

logger = logging.getLogger(__name__)

Status = BackfillRun.Status

#: a wish withdrawn, or changed to another, is not to be obeyed any more
WISHES = ("pause_requested_at", "cancel_requested_at")
NO_WISH: dict[str, Any] = {
    "pause_requested_at": None,
    "cancel_requested_at": None,
    "requested_by": "",
    "requested_via": "",
}


#: of a run whose worker obeys at the end of its chunk; and where there is none
ASKED: dict[str, Text] = {
    Status.PAUSED: _("Run {run} will be paused at the end of the chunk or step that it is at"),
    Status.CANCELLED: _("Run {run} will be cancelled at the end of the chunk or step that it is at"),
}
NOTHING_TO: dict[str, Text] = {
    Status.PAUSED: _("there is nothing to pause"),
    Status.CANCELLED: _("there is nothing to cancel"),
}


class UnfitError(Exception):
    """The generation of a run that was to be resumed is none to go on with; the text says why, and what to do."""

    def __init__(self, why: Text) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Answer:
    """What came of a wish; `message` says what happened, and what happens next: see `words`."""

    outcome: str  #: "done", "already" (it is so), "asked" (at the end of the chunk), or "refused"
    run: BackfillRun | None
    message: Text


def pause(using: str, *, run_id: int | None = None, actor: str = "", via: str) -> Answer:
    """Stop the active run at the end of its chunk, or at once if nobody is at work on it, until somebody resumes it.

    With `run_id` that one and no other, as whoever looks at a page of it means.
    """
    return _stop(using, Status.PAUSED, run_id=run_id, actor=actor, via=via)


def cancel(using: str, *, run_id: int | None = None, actor: str = "", via: str) -> Answer:
    """Give the active run up at the end of its chunk, or at once if nobody is at work on it; `run_id` as in `pause`.

    What a backfill has folded stays; a generation that was being built never answers, and its rows are deleted in
    chunks.
    """
    return _stop(using, Status.CANCELLED, run_id=run_id, actor=actor, via=via)


def _stop(using: str, to: str, *, run_id: int | None, actor: str, via: str) -> Answer:
    while run := active_run(using):
        if run_id not in (None, run.pk):
            break
        if run.status == to:
            return Answer("already", run, paused(run, via))
        if run.cancel_requested_at is not None and to == Status.PAUSED:
            told = _("Run {run} is to be cancelled, and cannot be paused any more")
            return Answer("refused", run, said(via, told, run=run.pk))
        now = database_now(using)
        wish = {"requested_by": actor[:255], "requested_via": via}
        if is_at_work(run, now):
            column = "pause_requested_at" if to == Status.PAUSED else "cancel_requested_at"
            same = BackfillRun.objects.using(using).filter(pk=run.pk, epoch=run.epoch, status=run.status)
            with brief_transaction(using):
                is_asked = same.update(**wish, **{column: now})
            if is_asked:
                logger.info("run %s: to be %s, asked for by %s from %s", run.pk, to, actor or "nobody", via)
                return Answer("asked", run, said(via, ASKED[to], run=run.pk))
            continue
        for name, value in wish.items():
            setattr(run, name, value)
        with brief_transaction(using):
            is_done = _change(run, to, now=now, reason="", raise_epoch=True)
        if is_done:
            return Answer("done", run, _told(run, via))
    last = current_run(using)
    if last is not None and last.status == to and run_id in (None, last.pk):
        return Answer("already", last, said(via, _("Run {run} {state}"), run=last.pk, state=STATES[last.status]))
    return Answer("refused", None, _not_active(run_id, NOTHING_TO[to], via))


def _not_active(run_id: int | None, so: Text, via: str) -> Text:
    told = _("No run is active") if run_id is None else _("Run {run} is not active any more")
    return joined(via, ": ", said(via, told, run=run_id), so)


def is_at_work(run: BackfillRun, now: datetime) -> bool:
    """Whether a worker has the run, or a link of its is on the way; `now` by the database's clock."""
    return run.status == Status.RUNNING and run.wait_until is None and run.lease_until > now


def obey(run: BackfillRun, *, now: datetime, reason: str, raise_epoch: bool = False) -> bool:
    """Pause or cancel a run as it was asked for; False if the run has moved on, or the wish has changed meanwhile."""
    to = Status.CANCELLED if run.cancel_requested_at else Status.PAUSED
    return _change(run, to, now=now, reason=reason, raise_epoch=raise_epoch, seen=WISHES)


def _change(
    run: BackfillRun, to: str, *, now: datetime, reason: str, raise_epoch: bool, seen: Sequence[str] = ()
) -> bool:
    moment = {"paused_at": now} if to == Status.PAUSED else {"finished_at": now}
    who = {"requested_by": run.requested_by, "requested_via": run.requested_via}
    done = states.change(
        run,
        to,
        now=now,
        actor=run.requested_by,
        via=run.requested_via,
        reason=reason,
        seen=seen,
        epoch=run.epoch + raise_epoch,
        wait_until=None,
        wait_reason="",
        enqueued_at=None,
        **(NO_WISH | who | moment),
    )
    if done:
        logger.info("run %s: %s by %s from %s", run.pk, to, run.requested_by or "nobody", run.requested_via)
    return done


def _told(run: BackfillRun, via: str) -> Text:
    if run.status == Status.PAUSED:
        return joined(via, ". ", paused(run, via), _("Answers stay exact meanwhile"))
    told = (
        _(
            "Run {run} ({kind}) is cancelled: the aggregates in use stay as they are, and those that it had built are"
            " deleted in chunks"
        )
        if run.builds
        else _(
            "Run {run} ({kind}) is cancelled: what it has folded stays, answers stay exact, and a new backfill goes on"
            " from there"
        )
    )
    return said(via, told, run=run.pk, kind=KINDS[run.kind])


def paused(run: BackfillRun, via: str) -> Text:
    """What there is to say of a run that stands still, to whoever came by some door."""
    its = words(via)
    told = (
        _("Run {run} ({kind}) is paused by {who}: {resume} goes on with it, {cancel} gives it up")
        if run.requested_by
        else _("Run {run} ({kind}) is paused: {resume} goes on with it, {cancel} gives it up")
    )
    values = {"run": run.pk, "kind": KINDS[run.kind], "who": run.requested_by}
    return said(via, told, **values, resume=its["resume"], cancel=its["cancel"])


def possible(using: str, run: BackfillRun) -> list[str]:
    """Which of "pause", "resume" and "cancel" would do something to a run."""
    if run.is_going and run.cancel_requested_at:
        return []
    if run.is_going:
        return ["resume" if run.pause_requested_at else "pause", "cancel"]
    if run.status == Status.PAUSED:
        return ["resume", "cancel"]
    if not (run.builds or run.generation.is_active):
        return []
    return ["resume"] if run.status == Status.FAILED and current_run(using) == run else []


def change_nice(using: str, nice: float | None, *, run_id: int | None = None, actor: str = "", via: str) -> Answer:
    """Let the active run rest so many times as long as each chunk takes, from its next chunk on.

    None: as PAGESTATS_NICE says. `run_id` as in `pause`. Raises ValueError for what PAGESTATS_NICE may not be.
    """
    if complaint := rest_factor(nice):
        raise ValueError(f"The rest after a chunk {complaint}")
    run = active_run(using)
    if run is None or run_id not in (None, run.pk):
        return Answer("refused", run, _not_active(run_id, _("there is nothing to change"), via))
    what = "as PAGESTATS_NICE says" if nice is None else f"{nice:g} times as long as it took"
    told = (
        _("Run {run} rests after each chunk as PAGESTATS_NICE says, from the next chunk on")
        if nice is None
        else _("Run {run} rests after each chunk {nice} times as long as it took, from the next chunk on")
    )
    with brief_transaction(using):
        runs = BackfillRun.objects.using(using).filter(pk=run.pk, active_key=BackfillRun.ACTIVE)
        if not runs.update(nice=nice):
            return Answer("refused", run, said(via, _("Run {run} has ended meanwhile"), run=run.pk))
        now = database_now(using)
        reason = f"rests after each chunk {what}"
        states.record(run, run.status, run.status, now=now, actor=actor, via=via, reason=reason)
    run.nice = nice
    logger.info("run %s: %s, asked for by %s from %s", run.pk, reason, actor or "nobody", via)
    return Answer("done", run, said(via, told, run=run.pk, nice="" if nice is None else f"{nice:g}"))


def resume(using: str, *, run_id: int | None = None, actor: str = "", via: str, enqueue: Enqueue) -> Answer:
    """Let a paused run, or the last one if it failed, go on from its cursor; a pause asked for is withdrawn.

    `run_id` as in `pause`.
    """
    run = current_run(using)
    if run is not None and run_id not in (None, run.pk):
        told = _("Run {run} is not the last one any more, and cannot be resumed")
        return Answer("refused", run, said(via, told, run=run_id))
    if run is None:
        return Answer("refused", None, said(via, _("No run can be resumed")))
    if run.status in (Status.SUCCEEDED, Status.CANCELLED):
        told = _("No run can be resumed: the last one, run {run}, {state}")
        return Answer("refused", run, said(via, told, run=run.pk, state=STATES[run.status]))
    if run.is_going:
        return _withdraw(using, run, via)
    try:
        resumed = _resume(using, run, actor=actor, via=via, enqueue=enqueue)
    except IntegrityError:  # the database has room for one active run
        resumed = False
    except UnfitError as error:
        told = _("Run {run} cannot be resumed, since {why}")
        return Answer("refused", run, said(via, told, run=run.pk, why=error.why))
    if not resumed:
        fresh = current_run(using)
        if fresh == run and fresh is not None and fresh.is_going:  # somebody else resumed it at the same time
            return _withdraw(using, fresh, via)
        told = _("Run {run} has changed meanwhile: {look}")
        return Answer("refused", run, said(via, told, run=run.pk, look=words(via)["look"]))
    logger.info("run %s: resumed by %s from %s", run.pk, actor or "nobody", via)
    told = _("Run {run} ({kind}) is resumed, and goes on after page view {cursor}")
    return Answer("done", run, said(via, told, run=run.pk, kind=KINDS[run.kind], cursor=run.generation.cursor))


def _resume(using: str, run: BackfillRun, *, actor: str, via: str, enqueue: Enqueue) -> bool:
    now = database_now(using)
    since = run.paused_at or run.finished_at or now
    # of a run that had not started yet no time is counted, so none that it stood still is to be taken off
    stood_still = 0.0 if run.started_at is None else max(0.0, (now - since).total_seconds())
    with brief_transaction(using):
        if not states.change(
            run,
            Status.QUEUED,
            now=now,
            actor=actor,
            via=via,
            epoch=run.epoch + 1,
            lease_until=now + lease(),
            enqueued_at=now,
            failure_count=0,
            stalled_count=0,
            error="",
            traceback=None,
            paused_at=None,
            finished_at=None,
            end_cursor=None,
            idle_seconds=run.idle_seconds + stood_still,
            **NO_WISH,
        ):
            return False
        # locked, so that a sweep, or whoever makes another generation answer, either is seen here or sees this run
        generation = Generation.objects.using(using).select_for_update().get(pk=run.generation_id)
        if not (run.builds or generation.is_active):
            raise UnfitError(_("another generation answers by now: start a new one"))
        if generation.doomed_at is not None:
            raise UnfitError(
                _(
                    "its aggregates do not add up, or are being deleted: start a new one with"
                    " 'manage.py backfill_aggregates --rebuild'"
                )
            )
        enqueue(using, run.pk, run.epoch)
    return True


def _withdraw(using: str, run: BackfillRun, via: str) -> Answer:
    wished = BackfillRun.objects.using(using).filter(pk=run.pk, pause_requested_at__isnull=False, status=run.status)
    with brief_transaction(using):
        is_withdrawn = wished.filter(cancel_requested_at=None).update(**NO_WISH)
    if is_withdrawn:
        told = _("Run {run} goes on: the pause that was asked for is withdrawn")
        return Answer("done", run, said(via, told, run=run.pk))
    if run.cancel_requested_at is not None:
        told = _("Run {run} is to be cancelled, and cannot be resumed any more")
        return Answer("refused", run, said(via, told, run=run.pk))
    told = _("Run {run} {state}: there is nothing to resume")
    return Answer("already", run, said(via, told, run=run.pk, state=STATES[run.status]))
