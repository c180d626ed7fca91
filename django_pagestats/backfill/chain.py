"""What the parts of a run's chain share: how a link gets to the queue, and how long a sign of life counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol

from django.db import DatabaseError, connections
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import InsideTransactionError, RunLockedError
from django_pagestats.merging import Trouble, Waits, database_for
from django_pagestats.models import BackfillRun, Generation

#: how long whoever wants to change a run waits for the end of the chunk that is being folded
LOCK_SECONDS = 10
#: how long the next request of a page that does a run's work is expected
PAGE_TIME = timedelta(seconds=5)
#: how the reason begins of a wait that is but a rest after a chunk
RESTS = "rests"


class Enqueue(Protocol):
    """Gives a link to the queue, when the transaction it is called in commits; with `at`, not before that time.

    Of the run, or of one of its segments, whose epoch it is then.
    """

    def __call__(
        self, using: str, run_id: int, epoch: int, *, at: datetime | None = None, segment: int | None = None
    ) -> None: ...


def enqueue_nothing(
    using: str, run_id: int, epoch: int, *, at: datetime | None = None, segment: int | None = None
) -> None:
    """For a run that is worked on in this process."""


def leave_to_page(
    using: str, run_id: int, epoch: int, *, at: datetime | None = None, segment: int | None = None
) -> None:
    """For a run whose page does its work: none is sent, and the page's next request is expected soon.

    Nobody is at work until then, so that a wish comes true at once; when the page is closed, anybody may go on.
    """
    until = at or database_now(using) + PAGE_TIME
    runs = BackfillRun.objects.using(using).filter(pk=run_id, epoch=epoch)
    runs.update(enqueued_at=None, lease_until=until, wait_until=until)


def lease() -> timedelta:
    """How long a sign of life counts."""
    return timedelta(seconds=conf.LEASE_SECONDS)


def check_outside(using: str) -> None:
    """Raise InsideTransactionError within a transaction, which would undo chunks together: each commits by itself.

    A test's own does not count.
    """
    if _is_inside(using):
        raise InsideTransactionError(
            "A run commits each chunk by itself, and is seen by others meanwhile, and this was asked for inside another"
            f" transaction on {using!r}: end that first (transaction.atomic(), or ATOMIC_REQUESTS), and ask again, as"
            " from transaction.on_commit()."
        )


def _is_inside(using: str) -> bool:
    blocks = connections[using].atomic_blocks
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)


@contextmanager
def brief_transaction(
    using: str,
    *,
    of: type[BackfillRun | Generation] = BackfillRun,
    is_switch: bool = False,
    seconds: int | None = None,
) -> Iterator[None]:
    """A transaction about a run that waits for its row no longer than a chunk should last; then RunLockedError.

    RunLockedError too where somebody else was faster in changing it: inside the caller's transaction the site's
    isolation level counts. Or about a generation; one that switches raises InsideTransactionError there.
    """
    if is_switch and _is_inside(using):
        raise InsideTransactionError(
            _(
                "Another generation comes to answer in a transaction of its own, and this was asked for inside another"
                " one: end that first, and ask again."
            )
        )
    database = database_for(using)
    waits = Waits(LOCK_SECONDS if seconds is None else seconds, conf.LEASE_SECONDS)
    try:
        with database.transaction(durable=is_switch, waits=waits):
            yield
    except DatabaseError as error:
        trouble = database.trouble(error)
        if trouble is Trouble.CONFLICT:
            raise RunLockedError(conflict(using, of)) from error
        if trouble is not Trouble.LOCKED:
            raise
        if database.end_idle(of._meta.db_table, conf.LEASE_SECONDS):
            raise RunLockedError(format_lazy(ENDED, seconds=f"{conf.LEASE_SECONDS:g}")) from error
        holder = database.lock_holder(of._meta.db_table)
        raise RunLockedError(format_lazy("{} {}", LOCKED[of], holder) if holder else LOCKED[of]) from error


ENDED = _(
    "A worker that had not moved for {seconds} s held it, and its session was ended: nothing was changed. Try again."
)
LOCKED: dict[type[BackfillRun | Generation], Promise] = {
    BackfillRun: _(
        "The run is locked by whoever folds a chunk of it, for longer than a chunk should last: nothing was changed."
        " Try again; a worker that is frozen gives it back after PAGESTATS_LEASE_SECONDS (SQLite: when its process"
        " ends)."
    ),
    Generation: _(
        "The generation is locked by whoever folds a chunk of it, for longer than a chunk should last: nothing was"
        " changed. Try again; a worker that is frozen gives it back after PAGESTATS_LEASE_SECONDS (SQLite: when its"
        " process ends)."
    ),
}
CHANGED: dict[type[BackfillRun | Generation], Promise] = {
    BackfillRun: _("The run was changed by somebody else at the same time, and so not from here."),
    Generation: _("The generation was changed by somebody else at the same time, and so not from here."),
}


def conflict(using: str, of: type[BackfillRun | Generation]) -> str | Promise:
    """What there is to say where somebody else changed a run or a generation first."""
    again = (
        _("This was asked for inside a transaction, which goes on seeing what was before: end it, and try again.")
        if connections[using].in_atomic_block
        else _("Try again.")
    )
    return format_lazy("{} {}", CHANGED[of], again)
