"""Working on a run: a link of its chain, or the whole of it in this process."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from django_pagestats import folding, horizon, throttles
from django_pagestats.backfill import failing, history, looking, states, wishes
from django_pagestats.backfill.chain import RESTS, Enqueue, brief_transaction, enqueue_nothing, lease
from django_pagestats.backfill.looking import active_run
from django_pagestats.backfill.starting import Started, start
from django_pagestats.backfill.switching import Check, lock, switch
from django_pagestats.clock import DatabaseClock
from django_pagestats.conf import conf
from django_pagestats.exceptions import (
    DifferentRunError,
    PausedError,
    QueueUnreachableError,
    TableWentBackError,
    TakenOverError,
)
from django_pagestats.merging import RowsLockedError, database_for
from django_pagestats.models import BackfillRun

logger = logging.getLogger(__name__)

Kind = BackfillRun.Kind
Status = BackfillRun.Status

#: how long a waiting run is left alone before the next look
WAIT_SECONDS = 10
#: between two questions to the throttles
THROTTLE_SECONDS = 1.0
#: a rest in a worker that is held meanwhile; and from so many times a chunk on, one that gives the worker back, about
#: as long as django-q2 takes to look at its schedules
SHORT_REST_SECONDS = 1.0
LONG_RESTS_FROM = 20
LONG_REST_SECONDS = 30.0
#: so many times as long as a link works a worker may rest: a link has three times as long before django-q2 ends it
MOST_LINKS_OF_REST = 2
#: between two looks at the run during a rest
LOOK_SECONDS = 1.0


class SupersededError(Exception):
    """The run has another epoch by now, or has ended: whoever is at work here stops, and enqueues nothing."""


def work(using: str, run_id: int, epoch: int, *, enqueue: Enqueue, seconds: float | None) -> None:
    """One link: claim the run, fold chunks for so many seconds (None: to the end), hand over to the next link.

    Harmless however often and however late it is called. Every exception is counted in the run: what may pass is tried
    again with smaller chunks, and fails the run after PAGESTATS_MAX_FAILURES of the smallest; any other fails it.
    """
    if run := _claim(using, run_id, epoch):
        _Worker(using, run, enqueue=enqueue, seconds=seconds).work()


def _claim(using: str, run_id: int, epoch: int, **changes: Any) -> BackfillRun | None:
    """Use an epoch up: of all who come with it, one gets the run, at the next epoch; with it go other changes."""
    folding.check_autocommit(using)
    clock = DatabaseClock(using)
    runs = BackfillRun.objects.using(using).filter(pk=run_id).select_related("generation")
    now = clock.now()
    changes |= {
        "epoch": epoch + 1,
        "started_at": Coalesce("started_at", Value(now)),
        "lease_until": now + lease(),
        "wait_until": None,
        "enqueued_at": None,
        "taken_at": now,
    }
    with brief_transaction(using):
        if not runs.filter(epoch=epoch, status=Status.RUNNING).update(**changes):
            queued = runs.filter(epoch=epoch, status=Status.QUEUED).first()
            if queued is None or not states.change(queued, Status.RUNNING, now=now, via=states.Via.WORKER, **changes):
                return None
    return runs.filter(epoch=epoch + 1, status=Status.RUNNING).first()


def run_here(
    using: str,
    *,
    kind: str = Kind.BACKFILL,
    actor: str = "",
    via: str,
    chunk_size: int | None = None,
    nice: float | None = None,
    keep_old: bool = False,
    watch: Callable[[BackfillRun], bool] | None = None,
) -> Started:
    """Start a run and work on it in this process to its end; an active run of the same kind is taken over.

    `watch` is called with the run after each chunk, and stops the work by returning True; the run then stays where it
    is, and the next call goes on. A run that somebody pauses or cancels meanwhile is returned as it is then. Raises
    DifferentRunError if a run of another kind is active, PausedError if the run is paused, and TakenOverError if
    another worker took it over meanwhile.
    """
    run = active_run(using)
    if run is not None and run.status == Status.PAUSED:
        raise PausedError(f"{wishes.paused(run)}.")
    if run is not None and run.kind != kind:
        raise DifferentRunError(
            f"Run {run.pk} ({run.kind}) is active: let it end first ({run.command} --wait), or take it over"
            f" ({run.command} --sync)."
        )
    if run is not None:
        started = Started("active", run, f"Run {run.pk} taken over")
    else:
        wanted: dict[str, Any] = {"kind": kind, "actor": actor, "via": via, "chunk_size": chunk_size, "nice": nice}
        started = start(using, **wanted, keep_old=keep_old, enqueue=enqueue_nothing)
    if started.run is None:
        return started
    changes: dict[str, Any] = {} if chunk_size is None else {"fixed_chunk_size": chunk_size, "chunk_size": chunk_size}
    changes |= {} if nice is None else {"nice": nice}
    changes |= {"keep_old": True} if keep_old else {}
    claimed = _claim(using, started.run.pk, started.run.epoch, **changes)
    if claimed is not None:
        worker = _Worker(using, claimed, enqueue=enqueue_nothing, seconds=None, watch=watch)
        is_ours = worker.work()
        claimed.refresh_from_db(using=using)
        if is_ours or claimed.status in (Status.PAUSED, Status.CANCELLED):
            return Started(started.outcome, claimed, started.message)
    raise TakenOverError(f"Run {started.run.pk} was taken over by another worker, which goes on with it: see --status.")


#: Alias, run (with its birth: a rolled back or flushed database gives its number again) and the epoch handed over.
Handover = tuple[str, int, datetime, int]
#: The folder of the last link in this process that handed over, and when, for the next one if it comes here too: with
#: the ids it has found, and with what it reads ahead meanwhile. Its ids were committed before that epoch was, or within
#: seconds after; once a lease is over it is used no more, so that no database can have been restored in between.
_KEPT: dict[Handover, tuple[folding.Folder, float]] = {}


def release_kept(*, older_than: float = -math.inf) -> None:
    """Give back the memory of what was kept for a next link more than so many seconds ago: that went elsewhere."""
    for handover, (folder, kept_at) in list(_KEPT.items()):
        if time.monotonic() - kept_at >= older_than:
            folder.release()
            _KEPT.pop(handover, None)


class _Worker:
    """Works on one run while it holds the epoch."""

    REFRESHED = ("status", "active_key", "target", "settling", "check_state", "failure_count", "rows_folded")
    #: what others may have changed while a chunk was folded, and what only the database adds up
    LOOKED_AT = ("rows_folded", "nice", *wishes.NO_WISH)

    def __init__(
        self,
        using: str,
        run: BackfillRun,
        *,
        enqueue: Enqueue,
        seconds: float | None,
        watch: Callable[[BackfillRun], bool] | None = None,
    ) -> None:
        self.using = using
        self.run = run
        self.enqueue = enqueue
        self.watch = watch
        self.clock = DatabaseClock(using)
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.last_took = 0.0
        self.rests_for = 0.0  #: seconds of the chunk after which there is a rest to come
        self.is_folding = False  #: also after a chunk that failed
        self.failures = 0  #: in a row, in this process
        self.has_looked_back = False
        self.throttled: throttles.Wait | None = None
        self.asks_again_at = time.monotonic()
        kept = self._kept_folder()
        #: most likely the next link comes here too, if this one did; else what it would read ahead is read in vain
        self.expects_next = kept is not None
        self.folder = kept or self._new_folder()

    def _kept_folder(self) -> folding.Folder | None:
        release_kept(older_than=conf.LEASE_SECONDS)
        kept = _KEPT.pop(self._handover(self.run.epoch - 1), None)
        release_kept()  # of another run
        if kept is None:
            return None
        folder, _ = kept
        folder.go_on(self.run.generation)
        return folder

    def _new_folder(self) -> folding.Folder:
        return folding.Folder(
            self.using, self.run.generation, self.run.chunk_size, fixed_size=self.run.fixed_chunk_size
        )

    def _handover(self, epoch: int) -> Handover:
        return self.using, self.run.pk, self.run.created_at, epoch

    # -- the loop

    def work(self) -> bool:
        """Work until the run ends or is handed over; False if somebody else took it meanwhile."""
        try:
            with self.folder:
                self._loop()
        except SupersededError:
            logger.info("run %s: epoch %s is over, stopped", self.run.pk, self.run.epoch)
            return False
        if self.run.status == Status.SUCCEEDED:
            self._analyze()
        return True

    def _analyze(self) -> None:
        try:
            database_for(self.using).analyze()
        except DatabaseError as error:  # the run has succeeded all the same
            logger.warning("run %s: no new statistics for the planner: %s", self.run.pk, error)

    def _loop(self) -> None:
        while self.run.is_going:
            try:
                handed_over = self._step()
                if not handed_over:
                    self._look()
                    handed_over = self._rest()
            except SupersededError:
                raise
            except Exception as error:
                handed_over = self._count_failure(error)
            if handed_over or self._is_called_off():
                return self._let_go(handed_over)

    def _look(self) -> None:
        self.run.refresh_from_db(using=self.using, fields=self.LOOKED_AT)

    def _is_called_off(self) -> bool:
        """Whether whoever watches has had enough."""
        return self.watch is not None and self.run.is_going and self.watch(self.run)

    def _step(self) -> bool:
        """Do the next thing; True if this worker is done with the run and somebody else goes on."""
        self.is_folding = False
        if self._is_wished():
            return self._obey()
        if self._table_has_changed():
            return False
        if self.run.settling is not None:
            blockers = folding.poll(self.using, horizon.Settling.from_json(self.run.settling))
            if blockers:
                return self._wait(blockers[0])
            self._update(settling=None, wait_reason="")
        if waiting := self._throttled():
            gave_back = self._hold(f"throttled: {waiting.reason}", waiting.until)
            if not gave_back:
                folding.rest(THROTTLE_SECONDS, self.using)
            return gave_back
        if self.folder.cursor < self.run.target:
            return self._fold()
        if self.run.kind == Kind.BACKFILL:
            self._finish()
            return False
        return self._finish_rebuild()

    def _table_has_changed(self) -> bool:
        """Whether the page views that the run has folded are not those of the table any more; then it has failed."""
        try:
            check = folding.check_not_replaced if self.has_looked_back else folding.check_not_back
            check(self.using, self.folder.generation)
        except TableWentBackError as error:
            with transaction.atomic(using=self.using):
                self._end(Status.FAILED, error=str(error))
                if self.run.kind == Kind.REBUILD:
                    folding.doom(self.using, self.run.generation_id)
            return True
        self.has_looked_back = True
        return False

    def _fold(self) -> bool:
        began = time.monotonic()
        self.is_folding = True
        self.folder.chunk_seconds = self._chunk_seconds()
        handing_over = self._is_time_up(self.last_took)
        try:
            self.folder.fold(
                self.run.target,
                fence=lambda chunk: self._fence(chunk, handing_over=handing_over),
                expected=self._expected_chunks(handing_over=handing_over),
            )
        except folding.CursorMovedError:
            return False
        except RowsLockedError:
            return self._wait(horizon.rows_locked(self.clock.now()))
        self.last_took = time.monotonic() - began
        self.failures = 0
        self.run.generation.cursor = self.folder.cursor
        self.rests_for = self.last_took if self.folder.cursor < self.run.target else 0.0
        return handing_over

    def _expected_chunks(self, *, handing_over: bool) -> float:
        """How many chunks will be folded here: as many as there is time for, as far as the last one tells, or more."""
        if self.deadline is None or self.expects_next:
            return math.inf
        if handing_over:
            return 1.0
        left = self.deadline - time.monotonic()
        return max(2.0, left / (self.last_took * (1 + self._nice()))) if self.last_took else 2.0

    def _is_time_up(self, next_takes: float = 0.0) -> bool:
        return self.deadline is not None and time.monotonic() + next_takes >= self.deadline

    def _fence(self, chunk: folding.Chunk, *, handing_over: bool) -> None:
        """The first statement of a chunk's transaction; and the next link goes out in it, or not at all."""
        now = self.clock.now()
        seconds = looking.worked_seconds(self.run, now)
        folded = self.run.rows_folded + chunk.page_views
        self._log(chunk.upto, folded, seconds, now)
        longer = history.longer(self.run.history, (seconds, folded, self.folder.chunk_size))
        self._update(
            lease_until=now + lease(),
            rows_folded=F("rows_folded") + chunk.page_views,
            chunk_size=self.folder.chunk_size,
            progressed_at=now,
            failure_count=0,
            stalled_count=0,
            wait_reason="",
            enqueued_at=now if handing_over else None,
            **({} if longer is None else {"history": longer}),
        )
        if handing_over:
            self.enqueue(self.using, self.run.pk, self.run.epoch)

    def _log(self, cursor: int, folded: int, seconds: float, now: datetime) -> None:
        """Say how far it is, once it commits; for the first chunk of each second, whichever process folded the last."""
        before = self.run.progressed_at
        if before is not None and int(before.timestamp()) == int(now.timestamp()):
            return
        said = self.run.pk, cursor, self.run.target, folded, folded / max(seconds, 0.001)
        text = "run %s: cursor %s of %s, %s page views, %.0f per second"
        transaction.on_commit(lambda: logger.info(text, *said), using=self.using, robust=True)

    def _update(self, **changes: Any) -> None:
        """Change the run while the epoch is ours; raises SupersededError if it no longer is."""
        runs = BackfillRun.objects.using(self.using).filter(
            pk=self.run.pk, epoch=self.run.epoch, active_key=BackfillRun.ACTIVE
        )
        if not runs.update(**changes):
            raise SupersededError
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self.run, name, value)

    # -- waiting, failing, letting go

    def _throttled(self) -> throttles.Wait | None:
        """A reason to wait before the next chunk; asked for at the beginning, and once a second."""
        if conf.THROTTLE and time.monotonic() >= self.asks_again_at:
            self.throttled = throttles.reason_to_wait(self.using)
            self.asks_again_at = time.monotonic() + THROTTLE_SECONDS
        return self.throttled

    def _wait(self, blocker: horizon.Blocker) -> bool:
        reason = f"waits for {blocker}"
        if blocker.pid is None and self.run.wait_reason.startswith(f"waits for {blocker.kind}"):
            reason = self.run.wait_reason  # the same wait goes on: since when does not change
        return self._hold(reason)

    def _hold(self, reason: str, until: datetime | None = None, *, seconds: float = WAIT_SECONDS) -> bool:
        """Give the worker back: a later link, or whoever revives, goes on at `wait_until`."""
        now = self.clock.now()
        if self.deadline is None:  # in this process there is nobody else: look again
            self._update(lease_until=now + lease(), wait_reason=reason)
            return False
        until = max(until or now, now + timedelta(seconds=seconds))
        with transaction.atomic(using=self.using):
            self._update(wait_reason=reason, wait_until=until, lease_until=until)
            self.enqueue(self.using, self.run.pk, self.run.epoch, at=until)
        logger.info("run %s: %s", self.run.pk, reason)
        return True

    def _nice(self) -> float:
        """How long to rest after a chunk, in times of what it took."""
        if self.run.nice is not None:
            return self.run.nice
        return folding.niceness(self.using, is_cluster=self.deadline is not None)

    def _chunk_seconds(self) -> float:
        """How long a chunk should last: not so long that the rest after it is more than a worker may be held."""
        usual = database_for(self.using).CHUNK_SECONDS
        nice = self._nice()
        if nice <= 0:
            return usual
        return min(usual, (SHORT_REST_SECONDS if nice <= LONG_RESTS_FROM else LONG_REST_SECONDS) / nice)

    def _rest(self) -> bool:
        """Leave the database to others after a chunk; True if this worker is given back meanwhile."""
        seconds, self.rests_for = self._nice() * self.rests_for, 0.0
        if self._is_wished():
            return False
        if self.deadline is not None and seconds > MOST_LINKS_OF_REST * conf.LINK_SECONDS:
            return self._hold(f"{RESTS} {self._nice():g} times as long as its chunk took", seconds=seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            folding.rest(min(left, LOOK_SECONDS), self.using)
            if left <= LOOK_SECONDS:
                return False
            self._update(lease_until=self.clock.now() + lease())
            self._look()
            if self._is_wished() or self._nice() == 0 or self._is_called_off():
                return False
        return False

    def _is_wished(self) -> bool:
        return bool(self.run.pause_requested_at or self.run.cancel_requested_at)

    def _count_failure(self, error: Exception) -> bool:
        """Keep it in the run, with its text; what may pass is tried again, for a while, and anything else fails it."""
        logger.warning("run %s: %s: %s", self.run.pk, type(error).__name__, error, exc_info=error)
        failing.reconnect(self.using, seconds=conf.LEASE_SECONDS if self.deadline is None else conf.LINK_SECONDS)
        # all but the epoch, which may be somebody else's by now: what a rolled back transaction left in memory
        self.run.refresh_from_db(using=self.using, fields=self.REFRESHED)
        if failing.may_pass(self.using, error):
            return self._try_again(error)
        where = f" at {failing.page_views(self.folder)}" if self.is_folding else ""
        self._fail(f"An unexpected error{where}: {failing.describe(self.using, error)}", error)
        return False

    def _try_again(self, error: Exception) -> bool:
        """The same page views, fewer at a time; at one at a time PAGESTATS_MAX_FAILURES times in a row at most."""
        # when the queue is down the chunk is committed: only its next link is missing
        is_chunk = self.is_folding and not isinstance(error, QueueUnreachableError)
        is_smaller = is_chunk and self.folder.shrink()
        count = self.run.failure_count + (not is_smaller)
        text = failing.describe(self.using, error)
        if is_chunk:
            text = f"{failing.page_views(self.folder).capitalize()} could not be folded. {text}"
        if count >= conf.MAX_FAILURES:
            self._fail(f"{text} (tried {count} times in a row)", error, failure_count=count)
            return False
        self.failures += 1
        self._update(
            failure_count=count, error=text, chunk_size=self.folder.chunk_size, lease_until=self.clock.now() + lease()
        )
        folding.rest(failing.wait_seconds(self.failures + count), self.using)
        self.folder.forget()
        self.folder.reload()
        if not self._is_time_up():
            return False
        try:
            return self._hand_over()
        except QueueUnreachableError as failure:  # still: whoever revives the run tries again after the lease
            logger.warning("run %s: %s", self.run.pk, failure)
            return True

    def _fail(self, text: str, error: Exception, **changes: Any) -> None:
        self._end(Status.FAILED, error=text, traceback=failing.traceback_of(error), **changes)

    def _hand_over(self) -> bool:
        with transaction.atomic(using=self.using):
            now = self.clock.now()
            self._update(lease_until=now + lease(), enqueued_at=now)
            self.enqueue(self.using, self.run.pk, self.run.epoch)
        return True

    def _let_go(self, handed_over: bool) -> None:
        if handed_over:
            self.folder.keep()
            _KEPT[self._handover(self.run.epoch)] = self.folder, time.monotonic()
        else:  # stopped by whoever watches: the next one need not wait for the lease, and nobody was lost
            now = self.clock.now()
            self._update(lease_until=now, wait_until=now)

    def _finish(self) -> None:
        self._end(Status.SUCCEEDED, error="")

    def _end(self, status: str, **changes: Any) -> None:
        now = self.clock.now()
        changes |= {"finished_at": now, "wait_reason": "", "wait_until": None, "settling": None, **wishes.NO_WISH}
        reason = changes.get("error", "")
        if not states.change(self.run, status, now=now, via=states.Via.WORKER, reason=reason, **changes):
            raise SupersededError
        logger.info("run %s: %s after %s page views", self.run.pk, status, self.run.rows_folded)

    def _obey(self) -> bool:
        now = self.clock.now()
        if not wishes.obey(self.run, now=now, reason=f"after page view {self.folder.cursor}"):
            self._update(lease_until=now + lease())  # if the run is ours still, the wish has changed: look again
        return False

    # -- a rebuild's end

    def _finish_rebuild(self) -> bool:
        """Catch up with the active generation, check, switch; one step at a time."""
        if target := self._missing_target():
            # its horizon is waited for anew: after a TRUNCATE ids come again that the old cursor has passed
            settling = replace(horizon.fix_target(self.using), target=target)
            self._update(target=target, settling=settling.as_json(), check_state=None)
            return False
        check = Check(self.using, self.run.generation_id, self.folder.cursor, self.run.check_state)
        if not check.step():
            self._update(check_state=check.state, lease_until=self.clock.now() + lease())
            return self._hand_over() if self._is_time_up() else False
        if difference := check.difference():
            with transaction.atomic(using=self.using):
                self._end(Status.FAILED, error=f"The new generation was not switched to: {difference}")
                folding.doom(self.using, self.run.generation_id)
            return False
        self._switch()
        return False

    def _missing_target(self) -> int | None:
        """The active generation's cursor while it is ahead."""
        active = folding.active_generation(self.using)
        if active is None or active.cursor <= self.folder.cursor:
            return None
        if (horizon.highest_id(self.using) or 0) < active.cursor:
            return None  # the table went back: this rebuild is the cure, and not bound to what was counted
        return active.cursor

    def _switch(self) -> None:
        """Make the new generation answer, in one transaction; does nothing if the old one has moved on meanwhile."""
        with database_for(self.using).chunk_transaction():
            now = self.clock.now()
            self._update(lease_until=now + lease())
            locked = lock(self.using, self.run.generation_id)
            if locked is None or self._missing_target():  # what was read before the lock is read again
                return
            self.run.refresh_from_db(using=self.using, fields=["keep_old"])  # a later start may have asked for it
            switch(self.using, self.run.generation_id, locked.values(), keep_old=self.run.keep_old, now=now)
            self._finish()
