"""A worker's claim to a run: who gets the run, and what he may do with it while its epoch is his own."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import Value
from django.db.models.functions import Coalesce

from django_pagestats import folding
from django_pagestats.backfill import looking, states, wishes
from django_pagestats.backfill.chain import Enqueue, brief_transaction, lease
from django_pagestats.clock import DatabaseClock
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, BuildSegment, WorkedBy

logger = logging.getLogger(__name__)

Status = BackfillRun.Status


class SupersededError(Exception):
    """The run has another epoch by now, or has ended: whoever is at work here stops, and enqueues nothing."""


def claim(using: str, run_id: int, epoch: int, *, by: str, **changes: Any) -> BackfillRun | None:
    """Use an epoch up: of all who come with it, one gets the run, at the next epoch; with it go other changes.

    `by`: one of WorkedBy.
    """
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
        "taken_by": by,
    }
    with brief_transaction(using):
        if not runs.filter(epoch=epoch, status=Status.RUNNING).update(**changes):
            queued = runs.filter(epoch=epoch, status=Status.QUEUED).first()
            if queued is None or not states.change(queued, Status.RUNNING, now=now, via=states.Via.WORKER, **changes):
                return None
    return runs.filter(epoch=epoch + 1, status=Status.RUNNING).first()


class Held(ABC):
    """What a worker has taken, a run or a segment of one, as it was last seen, and the time there is to work on it.

    Every change of it by its worker goes through `update`, which raises SupersededError if its epoch is his no longer.
    """

    #: of the run, what others may have changed while a chunk was folded
    LOOKED_AT: ClassVar[Sequence[str]]

    def __init__(self, using: str, run: BackfillRun, *, enqueue: Enqueue, seconds: float | None) -> None:
        self.using = using
        self.run = run
        self.clock = DatabaseClock(using)
        self._enqueue = enqueue
        #: None: to the end, in this process, with nobody to hand over to
        self.deadline = None if seconds is None else time.monotonic() + seconds
        #: a link is on its way that goes on, now or later: this worker is done
        self.is_handed_over = False

    def is_time_up(self, next_takes: float = 0.0) -> bool:
        """Whether the time to work on it is over, or will be after something that takes so long."""
        return self.deadline is not None and time.monotonic() + next_takes >= self.deadline

    @property
    def is_of_page(self) -> bool:
        """Whether a person's browser waits for its end."""
        return False

    # -- what others want

    def look(self) -> None:
        """See what others have changed meanwhile."""
        self.run.refresh_from_db(using=self.using, fields=self.LOOKED_AT)

    def is_wished(self) -> bool:
        """Whether somebody wants the run to be paused or cancelled."""
        return bool(self.run.pause_requested_at or self.run.cancel_requested_at)

    # -- what its worker changes

    @abstractmethod
    def update(self, **changes: Any) -> None:
        """Change it while its epoch is ours; raises SupersededError if it no longer is."""

    @abstractmethod
    def enqueue(self, *, at: datetime | None = None) -> None:
        """Send the next link, in the transaction that hands it over; handed over it is once that has committed."""

    def stay(self, **changes: Any) -> None:
        """Give a sign of life, with other changes."""
        self.update(lease_until=self.clock.now() + lease(), **changes)

    def hand_over(self) -> None:
        """Let another link go on at once."""
        with database_for(self.using).transaction():
            self.update(**self.handing_over())
            self.enqueue()
        self.is_handed_over = True

    def handing_over(self) -> dict[str, Any]:
        """What changes of it with that."""
        return {"lease_until": self.clock.now() + lease()}

    @abstractmethod
    def give_back(self, reason: str, until: datetime) -> None:
        """Let another link go on at a later time."""


class Claim(Held):
    """The run that was claimed."""

    #: with what only the database adds up
    LOOKED_AT = ("rows_folded", "nice", *wishes.NO_WISH)
    #: all but the epoch, which may be somebody else's by now: what a rolled back transaction left in memory
    ROLLED_BACK = ("status", "active_key", "target", "settling", "check_state", "failure_count", "rows_folded")

    def __init__(
        self, using: str, run: BackfillRun, *, enqueue: Enqueue, seconds: float | None, workers: int = 1
    ) -> None:
        super().__init__(using, run, enqueue=enqueue, seconds=seconds)
        #: how many may build a generation at once, this one and others
        self.workers = workers

    @property
    def is_of_page(self) -> bool:
        return self.run.taken_by == WorkedBy.PAGE

    def reread(self) -> None:
        """Forget what a transaction that was rolled back had changed."""
        self.run.refresh_from_db(using=self.using, fields=self.ROLLED_BACK)

    def obey(self, *, reason: str) -> None:
        now = self.clock.now()
        if not wishes.obey(self.run, now=now, reason=reason):
            self.update(lease_until=now + lease())  # if the run is ours still, the wish has changed: look again

    # -- what its worker changes

    def update(self, **changes: Any) -> None:
        runs = BackfillRun.objects.using(self.using).filter(
            pk=self.run.pk, epoch=self.run.epoch, active_key=BackfillRun.ACTIVE
        )
        with database_for(self.using).one_statement():
            is_ours = runs.update(**changes)
        if not is_ours:
            raise SupersededError
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self.run, name, value)

    def enqueue(self, *, at: datetime | None = None) -> None:
        self._enqueue(self.using, self.run.pk, self.run.epoch, at=at)

    def enqueue_segment(self, segment: BuildSegment) -> None:
        """Send the link of a segment that nobody is at work on, in the transaction that gives it its epoch."""
        self._enqueue(self.using, self.run.pk, segment.epoch, segment=segment.pk)

    def handing_over(self) -> dict[str, Any]:
        now = self.clock.now()
        return {"lease_until": now + lease(), "enqueued_at": now}

    def give_back(self, reason: str, until: datetime) -> None:
        with database_for(self.using).transaction():
            self.update(wait_reason=reason, wait_until=until, lease_until=until)
            self.enqueue(at=until)
        self.is_handed_over = True
        logger.info("run %s: %s", self.run.pk, reason)

    def leave(self) -> None:
        """Go in the middle of the run: the next one need not wait for the lease, and nobody was lost."""
        now = self.clock.now()
        self.update(lease_until=now, wait_until=now)

    def end(self, status: str, **changes: Any) -> None:
        now = self.clock.now()
        changes |= {"finished_at": now, "wait_reason": "", "wait_until": None, "settling": None, **wishes.NO_WISH}
        reason = changes.get("error", "")
        if not states.change(self.run, status, now=now, via=states.Via.WORKER, reason=reason, **changes):
            raise SupersededError
        logger.info("run %s: %s after %s page views", self.run.pk, status, looking.page_views(self.run))

    def succeed(self) -> None:
        self.end(Status.SUCCEEDED, error="")
