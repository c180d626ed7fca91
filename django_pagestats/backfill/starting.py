"""Starting a run, and giving it a link again when its worker died."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, connections
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats import folding, horizon
from django_pagestats.backfill import states, wishes
from django_pagestats.backfill.chain import Enqueue, brief_transaction, conflict, lease
from django_pagestats.backfill.looking import active_run
from django_pagestats.backfill.parts import is_worth_sharing, workers_of
from django_pagestats.backfill.words import KINDS, from_where, joined, said
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import GenerationReplacedError, QueueUnreachableError, RunLockedError
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, Generation, WorkedBy
from django_pagestats.sequences import sequence_told
from django_pagestats.signals import backfill_started
from django_pagestats.texts import Text

logger = logging.getLogger(__name__)

Kind = BackfillRun.Kind
Status = BackfillRun.Status


STARTED: dict[str, Text] = {
    Kind.BACKFILL: _("Backfill started: run {run}"),
    Kind.REBUILD: _("Rebuild started: run {run}"),
}
NOT_STARTED: dict[str, Text] = {
    Kind.BACKFILL: _("no backfill was started, since one run is active at a time"),
    Kind.REBUILD: _("no rebuild was started, since one run is active at a time"),
}
REVIVED = pgettext_lazy("Run 7 ...", "was without a worker and is revived")
ALREADY: dict[str, Text] = {
    Status.QUEUED: pgettext_lazy("Run 7 ...", "is already queued"),
    Status.RUNNING: pgettext_lazy("Run 7 ...", "is already running"),
}
#: a start begins anew when another generation came to answer meanwhile; more often than this nobody does that
TRIES = 5
#: whoever looks after a run comes again soon, and does not hold up a page or a tick meanwhile
REVIVE_LOCK_SECONDS = 1


@dataclass(frozen=True)
class Wanted:
    """What a start was asked for."""

    kind: str
    actor: str
    via: str
    chunk_size: int | None
    nice: float | None
    keep_old: bool  #: of a rebuild: whether the generation that it replaces is kept
    workers: int  #: how many may be at work on it at once


@dataclass(frozen=True)
class Started:
    """What a start did; `message` is the sentence for whoever asked: see `words`."""

    outcome: str  #: "started", "active", "empty" or "nothing_new"
    run: BackfillRun | None
    message: Text


def start(
    using: str,
    *,
    kind: str = Kind.BACKFILL,
    actor: str = "",
    via: str,
    chunk_size: int | None = None,
    nice: float | None = None,
    keep_old: bool = False,
    workers: int | None = None,
    enqueue: Enqueue,
) -> Started:
    """Start a run and enqueue its first link, unless one is active: then say so, and revive it if its worker died.

    A first backfill by several workers (None: as PAGESTATS_WORKERS says) builds a generation beside the empty one. With
    `keep_old` a rebuild keeps the generation that it replaces, also a rebuild that is active already. Raises
    TableWentBackError for a backfill of a table that lost page views which are counted.
    """
    folding.check_autocommit(using)
    wanted = Wanted(kind, actor, via, chunk_size, nice, keep_old, workers_of(using, workers))
    for _try in range(TRIES - 1):
        with suppress(GenerationReplacedError):
            return _start(using, wanted, enqueue)
    return _start(using, wanted, enqueue)


def _start(using: str, wanted: Wanted, enqueue: Enqueue) -> Started:
    kind = wanted.kind
    if found := active_run(using):
        return _already_active(using, found, wanted, enqueue)
    highest = horizon.highest_id(using)
    generation = folding.active_generation(using)
    if highest is None and (generation is None or generation.cursor <= 0 or kind == Kind.BACKFILL):
        if generation is not None and kind == Kind.BACKFILL:
            folding.check_not_back(using, generation)
        return Started("empty", None, said(wanted.via, _("No page views to backfill")))
    if kind == Kind.BACKFILL:
        generation = folding.ensure_active_generation(using)
        folding.check_not_back(using, generation)
        if highest == generation.cursor and not folding.is_far_behind(generation):
            told = said(wanted.via, _("Nothing new to backfill: every page view is counted"))
            return Started("nothing_new", None, _with_problem(using, told, wanted.via))
    try:
        run = _create(using, wanted, enqueue)
    except IntegrityError as error:
        # another start was faster: the database has room for one active run
        if found := active_run(using):
            return _already_active(using, found, wanted, enqueue)
        if connections[using].in_atomic_block:
            raise RunLockedError(conflict(using, BackfillRun)) from error
        raise
    logger.info("run %s: %s started by %s from %s", run.pk, run.kind, wanted.actor or "nobody", wanted.via)
    message = said(wanted.via, STARTED[run.kind], run=run.pk)
    return Started("started", run, message if kind == Kind.REBUILD else _with_problem(using, message, wanted.via))


def _with_problem(using: str, message: Text, via: str) -> Text:
    deleted = folding.deleted_page_views(using)
    return joined(via, ". ", message, deleted) if deleted else message


def _create(using: str, wanted: Wanted, enqueue: Enqueue) -> BackfillRun:
    # before the transaction: at SERIALIZABLE MariaDB would lock the ends of the table against visitors' page views
    settling = horizon.fix_target(using)
    first_cursor = folding.first_cursor(using)
    with brief_transaction(using, of=Generation):
        is_build = wanted.kind == Kind.REBUILD or _is_first(using, wanted, settling.target - first_cursor)
        if is_build:
            generation = folding.new_generation(using, first_cursor, is_active=False)
        else:
            generation = folding.ensure_active_generation(using)
        now = database_now(using)
        with sequence_told(using):
            run = BackfillRun.objects.using(using).create(
                kind=wanted.kind,
                is_build=is_build,
                keep_old=wanted.keep_old,
                active_key=BackfillRun.ACTIVE,
                generation=generation,
                lease_until=now + lease(),
                settling=settling.as_json(),
                start_cursor=max(generation.cursor, first_cursor),
                target=max(settling.target, generation.cursor),
                fixed_chunk_size=wanted.chunk_size,
                chunk_size=wanted.chunk_size or folding.first_chunk_size(),
                nice=wanted.nice,
                actor=wanted.actor[:255],
                via=wanted.via,
                created_at=now,
                enqueued_at=now,
            )
        # only now, that whoever makes another generation answer either sees this run or is seen here
        if not is_build and not database_for(using).stays_active(generation.pk):
            raise GenerationReplacedError(
                _("Another generation came to answer while a run was started: start it again.")
            )
        states.record(run, "", run.status, now=now, actor=wanted.actor, via=wanted.via)
        states.announce(backfill_started, run)
        enqueue(using, run.pk, run.epoch)
    return run


def _is_first(using: str, wanted: Wanted, page_views: int) -> bool:
    """Whether nothing is folded yet, and so much is to be that several workers do it, beside what answers."""
    generation = folding.active_generation(using)
    is_empty = generation is None or generation.revision == 0
    return wanted.workers > 1 and is_empty and is_worth_sharing(page_views, wanted.chunk_size)


def _already_active(using: str, run: BackfillRun, wanted: Wanted, enqueue: Enqueue) -> Started:
    via = wanted.via
    if run.status == Status.PAUSED:
        told = said(via, _("Nothing was started: one run is active at a time"))
        return Started("active", run, joined(via, ". ", wishes.paused(run, via), told))
    revived = revive(using, enqueue=enqueue)
    message = said(
        via,
        _("Run {run} ({kind}, started from {where}) {is_so}"),
        run=run.pk,
        kind=KINDS[run.kind],
        where=from_where(run.via),
        is_so=REVIVED if revived is not None else ALREADY[run.status],
    )
    if run.kind != wanted.kind:
        message = joined(via, ": ", message, NOT_STARTED[wanted.kind])
    elif wanted.chunk_size is not None and wanted.chunk_size != run.fixed_chunk_size:
        is_left = said(via, _("the chunk size of {size} is not used"), size=wanted.chunk_size)
        message = joined(via, ": ", message, is_left)
    if run.kind == wanted.kind and wanted.keep_old and _keep_old(run):
        message = joined(via, ". ", message, _("The generation that it replaces will be kept"))
    return Started("active", run, message)


def _keep_old(run: BackfillRun) -> bool:
    """Let an active run keep the generation that it replaces; False if it has ended meanwhile."""
    active = BackfillRun.objects.using(run._state.db).filter(pk=run.pk, active_key=BackfillRun.ACTIVE)
    with brief_transaction(run._state.db or "default"):
        return bool(active.update(keep_old=True))


def revive(using: str, *, enqueue: Enqueue, takes_from_page: bool = False) -> BackfillRun | None:
    """Give the active run a new link if its lease has run out; the run, or None where there was nothing to do.

    With `takes_from_page` also one whose page does the work, for whoever knows that there is a cluster again.

    A run that waits is continued by the same step, once its time has come. One that was to be paused or cancelled is so
    now; one that got PAGESTATS_MAX_REVIVALS links in a row without progress has failed.
    """
    now = database_now(using)
    is_free = Q(lease_until__lte=now) | _of_page() if takes_from_page else Q(lease_until__lte=now)
    runs = BackfillRun.objects.using(using).filter(is_free, active_key=BackfillRun.ACTIVE)
    run = runs.exclude(status=Status.PAUSED).first()
    if run is None:
        return None
    if run.pause_requested_at or run.cancel_requested_at:
        with brief_transaction(using, seconds=REVIVE_LOCK_SECONDS):
            has_obeyed = wishes.obey(run, now=now, reason="its worker had died", raise_epoch=True)
        return run if has_obeyed else None
    if _is_lost(run, now) and run.stalled_count >= conf.MAX_REVIVALS:
        with brief_transaction(using, seconds=REVIVE_LOCK_SECONDS):
            has_failed = _give_up(run, now=now)
        return run if has_failed else None
    try:
        return run if _revive(run, is_free, now=now, enqueue=enqueue) else None
    except QueueUnreachableError:
        # no worker got it, so this one says nothing about workers, however long the queue is down
        unsent = BackfillRun.objects.using(using).filter(pk=run.pk, epoch=run.epoch + 1, stalled_count__gt=0)
        unsent.update(stalled_count=F("stalled_count") - 1)
        raise


def _of_page() -> Q:
    """Runs whose pages do the work, but for one that waits or is to be stopped: that goes on by itself."""
    is_at_it = Q(wait_until=None) | Q(wait_reason="")
    no_wish = Q(pause_requested_at=None, cancel_requested_at=None)
    return is_at_it & no_wish & Q(taken_by=WorkedBy.PAGE, enqueued_at=None)


def _is_lost(run: BackfillRun, now: datetime) -> bool:
    """Whether its worker gave no sign of life for a lease; a run that waits has none."""
    return run.wait_until is None and run.lease_until <= now


def _revive(run: BackfillRun, is_free: Q, *, now: datetime, enqueue: Enqueue) -> bool:
    using = run._state.db or "default"
    lost = _is_lost(run, now)
    with brief_transaction(using, seconds=REVIVE_LOCK_SECONDS):
        raised = BackfillRun.objects.using(using).filter(
            is_free, pk=run.pk, epoch=run.epoch, active_key=BackfillRun.ACTIVE
        )
        if not raised.update(
            epoch=run.epoch + 1,
            lease_until=now + lease(),
            wait_until=None,
            enqueued_at=Coalesce("enqueued_at", Value(now)),
            revival_count=F("revival_count") + int(lost),
            stalled_count=F("stalled_count") + int(lost),
        ):
            return False
        since = f"{run.progressed_at or run.created_at:%Y-%m-%d %H:%M:%S} UTC"
        if lost:
            states.record(
                run,
                run.status,
                run.status,
                now=now,
                via=states.Via.WATCHDOG,
                reason=f"no sign of life since {since}: revived",
            )
        elif run.lease_until > now:
            reason = "a cluster runs, and goes on with what its page has begun"
            states.record(run, run.status, run.status, now=now, via=states.Via.WATCHDOG, reason=reason)
        enqueue(using, run.pk, run.epoch + 1)
    if lost:
        logger.warning("run %s: no sign of life since %s, revived", run.pk, since)
    run.refresh_from_db(using=using)
    return True


def _give_up(run: BackfillRun, *, now: datetime) -> bool:
    text = (
        f"Given to another worker {run.stalled_count} times in a row without progress (PAGESTATS_MAX_REVIVALS): either"
        " no cluster takes tasks, or each worker dies in the same chunk. See the cluster's log; resumed,"
        " it goes on from the cursor."
    )
    return states.change(
        run,
        Status.FAILED,
        now=now,
        via=states.Via.WATCHDOG,
        reason=text,
        epoch=run.epoch + 1,
        error=text,
        finished_at=now,
    )
