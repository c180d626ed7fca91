"""A link of a run's chain: a worker folds chunks while it has time, and hands over to the next link."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime

from django.db import DatabaseError, transaction
from django.db.models import F

from django_pagestats import folding
from django_pagestats.backfill import claims, failing, history, keeping, looking, waiting
from django_pagestats.backfill.chain import Enqueue, lease
from django_pagestats.backfill.closing import Closing
from django_pagestats.backfill.parts import PartsOfFold, workers_of
from django_pagestats.backfill.rebuilding import Rebuilding
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.merging import RowsLockedError, database_for
from django_pagestats.models import BackfillRun, WorkedBy

logger = logging.getLogger(__name__)

Status = BackfillRun.Status


def work(
    using: str,
    run_id: int,
    epoch: int,
    *,
    enqueue: Enqueue,
    seconds: float | None,
    by: str = WorkedBy.CLUSTER,
) -> None:
    """One link: claim the run, fold chunks for so many seconds (None: to the end), hand over to the next link.

    Harmless however often and however late it is called. Every exception is counted in the run: what may pass is tried
    again, in the end with smaller chunks, and fails the run after PAGESTATS_MAX_FAILURES of the smallest; any other
    fails it.
    """
    if run := claims.claim(using, run_id, epoch, by=by):
        # to the end in this process, or for its page: there is nobody else to take a link
        workers = 1 if seconds is None or by == WorkedBy.PAGE else workers_of(using)
        Worker(claims.Claim(using, run, enqueue=enqueue, seconds=seconds, workers=workers)).work()


class Worker:
    """The loop: one thing after another, until the run ends, is handed over, or is somebody else's.

    The claim holds the run and the time there is, the folder where the generation stands; here is kept what the last
    chunk tells of the next.
    """

    def __init__(self, claim: claims.Claim, *, watch: Callable[[BackfillRun], bool] | None = None) -> None:
        self.claim = claim
        self.watch = watch
        kept = keeping.take_kept(claim.using, claim.run)
        self.folder = kept or _new_folder(claim)
        self.waiting = waiting.Waiting(claim)
        self.failing = failing.Failing(claim, self.folder)
        self.parts = PartsOfFold(claim, self.folder)
        self.closing = Closing(claim)
        self.rebuilding = Rebuilding(claim, self.folder)
        #: most likely the next link comes here too, if this one did; else what it would read ahead is read in vain
        self.expects_next = kept is not None
        self.last_took = 0.0
        self.rests_for = 0.0  #: seconds of the chunk after which there is a rest to come
        self.is_folding = False  #: also after a chunk that failed
        self.has_looked_back = False

    def work(self) -> bool:
        """Work until the run ends or is handed over; False if somebody else took it meanwhile."""
        run = self.claim.run
        try:
            with self.folder:
                self._loop()
        except claims.SupersededError:
            logger.info("run %s: epoch %s is over, stopped", run.pk, run.epoch)
            return False
        if run.status == Status.SUCCEEDED:
            self._analyze()
        return True

    def _loop(self) -> None:
        while self.claim.run.is_going:
            try:
                self._step()
                if not self.claim.is_handed_over:
                    self.claim.look()
                    took, self.rests_for = self.rests_for, 0.0
                    self.waiting.after_chunk(took, is_called_off=self._is_called_off)
            except claims.SupersededError:
                raise
            except Exception as error:
                self.failing.count(error, is_chunk=self.is_folding)
                self.parts.forget()
                self.closing.parts.forget()
            if self.claim.is_handed_over or self._is_called_off():
                return self._let_go()

    def _step(self) -> None:
        """Do the next thing."""
        run = self.claim.run
        self.is_folding = False
        if self.claim.is_wished():
            self.claim.obey(reason=f"after page view {self.folder.cursor}")
        elif self._table_has_changed() or self.waiting.for_horizon() or self.waiting.for_throttles():
            return
        elif self.folder.cursor < run.target:
            self._fold()
        elif target := self._later_target():
            self.rebuilding.aim_at(target)
        elif not self._is_closed():
            return
        elif not run.builds:
            self.claim.succeed()
        else:
            self.rebuilding.step()

    def _table_has_changed(self) -> bool:
        """Whether the page views that the run has folded are not those of the table any more; then it has failed."""
        try:
            check = folding.check_not_replaced if self.has_looked_back else folding.check_not_back
            check(self.claim.using, self.folder.generation)
        except TableWentBackError as error:
            if self.claim.run.builds:
                self.rebuilding.give_up(str(error))
            else:
                self.claim.end(Status.FAILED, error=str(error))
            return True
        self.has_looked_back = True
        return False

    def _fold(self) -> None:
        claim, folder = self.claim, self.folder
        # ids may begin far above zero
        self.parts.share(max(folder.cursor, claim.run.start_cursor), claim.run.target)
        limit = self.parts.limit(claim.run.target)
        if folder.cursor >= limit:
            self._meet()
            return
        began = time.monotonic()
        self.is_folding = True
        folder.is_shared = bool(self.parts.segments)
        folder.chunk_seconds = self.waiting.chunk_seconds()
        handing_over = claim.is_time_up(self.last_took)
        try:
            folder.fold(
                limit,
                fence=lambda chunk: self._fence(chunk, handing_over=handing_over),
                expected=self._expected_chunks(handing_over=handing_over),
            )
        except folding.CursorMovedError:
            return
        except RowsLockedError:
            self.waiting.for_rows()
            return
        self.last_took = time.monotonic() - began
        self.failing.has_passed()
        claim.run.generation.cursor = folder.cursor
        claim.is_handed_over = handing_over
        self.rests_for = self.last_took if folder.cursor < claim.run.target else 0.0

    def _meet(self) -> None:
        """The next page views are those of a segment."""
        self.parts.meet()
        self.folder.reload()
        self.claim.run.generation.cursor = self.folder.cursor
        self.failing.has_passed()
        if self.claim.is_time_up():
            self.claim.hand_over()

    def _later_target(self) -> int | None:
        """Of a rebuild, but not while a pass is under way: that is of one cursor, and would have to begin anew."""
        is_bound = not self.claim.run.builds or self.closing.is_in_pass()
        return None if is_bound else self.rebuilding.missing_target()

    def _is_closed(self) -> bool:
        """Whether the rows of all time are where the days are; if not, a step is taken."""
        began = time.monotonic()
        try:
            is_closed = self.closing.step()
        except RowsLockedError:
            self.waiting.for_rows()
            return False
        if not is_closed:
            self.failing.has_passed()
            self.rests_for = time.monotonic() - began
        return is_closed

    def _expected_chunks(self, *, handing_over: bool) -> float:
        """How many chunks will be folded here: as many as there is time for, as far as the last one tells, or more."""
        deadline = self.claim.deadline
        if deadline is None or self.expects_next:
            return math.inf
        if handing_over:
            return 1.0
        left = deadline - time.monotonic()
        return max(2.0, left / (self.last_took * (1 + self.waiting.nice()))) if self.last_took else 2.0

    def _fence(self, chunk: folding.Chunk, *, handing_over: bool) -> None:
        """The first statement of a chunk's transaction; and the next link goes out in it, or not at all."""
        run = self.claim.run
        now = self.claim.clock.now()
        seconds = looking.worked_seconds(run, now)
        folded = run.rows_folded + chunk.page_views + self.parts.page_views
        self._log(chunk.upto, folded, seconds, now)
        longer = history.longer(run.history, (seconds, folded, self.folder.chunk_size))
        self.claim.update(
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
            self.claim.enqueue()

    def _log(self, cursor: int, folded: int, seconds: float, now: datetime) -> None:
        """Say how far it is, once it commits; for the first chunk of each second, whichever process folded the last."""
        run = self.claim.run
        before = run.progressed_at
        if before is not None and int(before.timestamp()) == int(now.timestamp()):
            return
        said = run.pk, cursor, run.target, folded, folded / max(seconds, 0.001)
        text = "run %s: cursor %s of %s, %s page views, %.0f per second"
        transaction.on_commit(lambda: logger.info(text, *said), using=self.claim.using, robust=True)

    def _is_called_off(self) -> bool:
        """Whether whoever watches has had enough."""
        return self.watch is not None and self.claim.run.is_going and self.watch(self.claim.run)

    def _let_go(self) -> None:
        if self.claim.is_handed_over and self.claim.is_of_page:
            return  # a process of the site has other things to keep
        if self.claim.is_handed_over:
            keeping.keep(self.claim.run, self.folder)
        else:  # stopped by whoever watches
            self.claim.leave()

    def _analyze(self) -> None:
        try:
            database_for(self.claim.using).analyze()
        except DatabaseError as error:  # the run has succeeded all the same
            logger.warning("run %s: no new statistics for the planner: %s", self.claim.run.pk, error)


def _new_folder(claim: claims.Claim) -> folding.Folder:
    run = claim.run
    return folding.Folder(claim.using, run.generation, run.chunk_size, fixed_size=run.fixed_chunk_size)
