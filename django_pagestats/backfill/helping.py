"""A worker that does a part of a build, beside the run's own: a link of a segment's chain.

It may come twice, late, or never, as a link of the run may, and is fenced in the same way, by the segment's epoch. What
fails it fails no run: the segment is left to the run's own worker, who fails as well if there is a reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

from django.db import DatabaseError
from django.db.models import F, Q

from django_pagestats import folding
from django_pagestats.backfill import failing, keeping, waiting, wishes
from django_pagestats.backfill.chain import Enqueue, enqueue_nothing, lease
from django_pagestats.backfill.claims import Held, SupersededError
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.merging import RowsLockedError, Trouble, Waits, database_for
from django_pagestats.merging.days import Days
from django_pagestats.models import BuildSegment

logger = logging.getLogger(__name__)

#: how long the end of the chunk is waited for of whoever has a segment
LOCK_SECONDS = 5
#: between two looks for a segment that nobody is at work on
LOOK_SECONDS = 0.1


def help_build(
    using: str,
    segment_id: int,
    epoch: int,
    *,
    enqueue: Enqueue,
    seconds: float | None,
    is_called_off: Callable[[], bool] = lambda: False,
) -> bool:
    """One link of a segment: claim it, work for so many seconds (None: to its end), hand over to the next link.

    False if somebody else has it, or holds its row.
    """
    folding.check_autocommit(using)
    segments = BuildSegment.objects.using(using).filter(pk=segment_id)
    try:
        with database_for(using).transaction(waits=Waits(LOCK_SECONDS, conf.LEASE_SECONDS)):
            taken = segments.filter(epoch=epoch, error="").update(
                epoch=epoch + 1, lease_until=database_now(using) + lease(), wait_reason=""
            )
    except DatabaseError as error:
        if database_for(using).trouble(error) is not Trouble.LOCKED:
            raise
        failing.end_frozen(using)  # it gets a link again
        return False
    segment = segments.filter(epoch=epoch + 1).select_related("run__generation").first() if taken else None
    if segment is None:
        return False
    claim = SegmentClaim(using, segment, enqueue=enqueue, seconds=seconds)
    Helper(claim, is_called_off=is_called_off).work()
    return True


def help_here(using: str, run_id: int, *, pipe: Connection) -> None:
    """Do one segment after another of a run that somebody else does, in a process that he has started for it."""
    while not pipe.poll():  # he has nothing to say: then he is gone, or has ended
        free = BuildSegment.objects.using(using).filter(run=run_id, error="", cursor__lt=F("upto"))
        free = free.filter(Q(epoch=0) | Q(lease_until__lte=database_now(using)))
        found = free.order_by("after").values_list("pk", "epoch").first()
        if found is None or not help_build(
            using, *found, enqueue=enqueue_nothing, seconds=None, is_called_off=pipe.poll
        ):
            time.sleep(LOOK_SECONDS)


class SegmentClaim(Held):
    """The segment that was claimed."""

    LOOKED_AT = ("status", "active_key", "nice", *wishes.NO_WISH)

    def __init__(self, using: str, segment: BuildSegment, *, enqueue: Enqueue, seconds: float | None) -> None:
        super().__init__(using, segment.run, enqueue=enqueue, seconds=seconds)
        self.segment = segment

    def look(self) -> None:
        super().look()
        try:
            self.segment.refresh_from_db(using=self.using, fields=["after", "upto", "cursor"])
        except BuildSegment.DoesNotExist:
            raise SupersededError from None

    def is_wished(self) -> bool:
        return super().is_wished() or not self.run.is_going

    def update(self, **changes: Any) -> None:
        self.swap({}, **changes)

    def swap(self, seen: dict[str, Any], **changes: Any) -> None:
        """Change it where it is still as it was seen; raises SupersededError, or CursorMovedError if it is ours."""
        ours = BuildSegment.objects.using(self.using).filter(pk=self.segment.pk, epoch=self.segment.epoch)
        with database_for(self.using).one_statement():
            is_changed = ours.filter(**seen).update(**changes)
        if not is_changed:
            raise folding.CursorMovedError if seen and ours.exists() else SupersededError
        for name, value in changes.items():
            setattr(self.segment, name, value)

    def enqueue(self, *, at: datetime | None = None) -> None:
        self._enqueue(self.using, self.run.pk, self.segment.epoch, at=at, segment=self.segment.pk)

    def give_back(self, reason: str, until: datetime) -> None:
        with database_for(self.using).transaction():
            self.update(wait_reason=reason, lease_until=until)
            self.enqueue(at=until)
        self.is_handed_over = True

    def leave(self) -> None:
        """Whoever comes next need not wait for the lease."""
        self.update(lease_until=self.clock.now())


class Helper:
    """The loop: one piece after another, until the segment is done, is handed over, or is somebody else's."""

    def __init__(self, claim: SegmentClaim, *, is_called_off: Callable[[], bool]) -> None:
        self.claim = claim
        self.is_called_off = is_called_off
        self.waiting = waiting.Waiting(claim)
        is_fold = claim.segment.kind == BuildSegment.Kind.FOLD
        self.doing: Folds | Passes = Folds(claim, self.waiting) if is_fold else Passes(claim)
        self._failures = 0  #: in a row

    def work(self) -> None:
        try:
            with self.doing:
                while not (self.claim.segment.is_done or self.claim.is_handed_over):
                    if self.claim.is_wished() or self.claim.segment.error or self.is_called_off():
                        return self.claim.leave()
                    self._step()
                if self.claim.is_handed_over:
                    self.doing.keep()
        except SupersededError:
            logger.info("%s of run %s: somebody else's, stopped", self.claim.segment, self.claim.run.pk)

    def _step(self) -> None:
        began = time.monotonic()
        try:
            if self.waiting.for_throttles():
                return
            self.doing.step()
            self._failures = 0
            if not self.claim.is_handed_over:
                self.claim.look()
                if not self.claim.segment.is_done:
                    self.waiting.after_chunk(time.monotonic() - began, is_called_off=self.is_called_off)
        except folding.CursorMovedError:
            self.claim.look()
            self.doing.reload()
        except RowsLockedError:
            self.waiting.for_rows()
        except SupersededError:
            raise
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Try again what may pass, with smaller chunks; else leave the segment to the run's own worker."""
        claim = self.claim
        logger.warning("%s of run %s: %s: %s", claim.segment, claim.run.pk, type(error).__name__, error, exc_info=error)
        failing.reconnect(claim.using, seconds=conf.LINK_SECONDS)
        failing.end_frozen(claim.using)
        self._failures += 1
        if not failing.may_pass(claim.using, error) or self._failures >= conf.MAX_FAILURES:
            claim.update(error=failing.describe(claim.using, error))
            return
        claim.stay()
        self.doing.shrink()
        folding.rest(failing.wait_seconds(self._failures), claim.using)
        claim.look()
        self.doing.reload()


class Folds:
    """Folds page views."""

    def __init__(self, claim: SegmentClaim, waits: waiting.Waiting) -> None:
        self.claim = claim
        self.waiting = waits
        run, segment = claim.run, claim.segment
        place = folding.OfSegment(claim.using, segment)
        kept = keeping.take_kept(claim.using, run, segment=segment, place=place)
        self.expects_next = kept is not None
        self.folder = kept or folding.Folder(
            claim.using, run.generation, segment.chunk_size, fixed_size=run.fixed_chunk_size, place=place
        )
        self.last_took = 0.0

    def __enter__(self) -> Folds:
        self.folder.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.folder.__exit__(*error)

    def step(self) -> None:
        claim, folder = self.claim, self.folder
        began = time.monotonic()
        folder.chunk_seconds = self.waiting.chunk_seconds()
        is_last = claim.is_time_up(self.last_took)
        expected = 1.0 if is_last and not self.expects_next else 2.0
        if claim.deadline is None:
            expected = float("inf")
        folder.fold(claim.segment.upto, fence=lambda chunk: self._fence(chunk, is_last=is_last), expected=expected)
        claim.segment.cursor = folder.cursor
        claim.is_handed_over = is_last and not claim.segment.is_done
        self.last_took = time.monotonic() - began

    def _fence(self, chunk: folding.Chunk, *, is_last: bool) -> None:
        self.claim.stay(chunk_size=self.folder.chunk_size, wait_reason="")
        if is_last and chunk.upto < self.claim.segment.upto:
            self.claim.enqueue()

    def shrink(self) -> None:
        self.folder.shrink()
        self.folder.forget()

    def reload(self) -> None:
        self.folder.reload()

    def keep(self) -> None:
        """Leave the folder for the next link."""
        keeping.keep(self.claim.run, self.folder, segment=self.claim.segment)


class Passes:
    """Makes rows of all time out of those of days."""

    def __init__(self, claim: SegmentClaim) -> None:
        self.claim = claim
        self.generation = claim.run.generation
        self.days = Days(claim.using, self.generation)

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def step(self) -> None:
        claim = self.claim
        cursor = claim.segment.cursor
        made = self.days.slice_after(cursor, upto=claim.segment.upto)
        rows = list(folding.rows_of_all_time(1 - self.generation.all_bucket, made.merged))
        is_last = claim.is_time_up() and made.upto < claim.segment.upto
        with database_for(claim.using).chunk_transaction():
            claim.swap(
                {"cursor": cursor, "upto__gte": made.upto},
                cursor=made.upto,
                lease_until=claim.clock.now() + lease(),
                wait_reason="",
            )
            database_for(claim.using).insert_rows(self.generation.pk, rows)
            if is_last:
                claim.enqueue()
        claim.is_handed_over = is_last

    def shrink(self) -> None:
        """A slice is small enough for any database."""

    def reload(self) -> None:
        """Nothing is kept."""

    def keep(self) -> None:
        """Nothing is kept."""
