"""What the parts of a run's chain share: how a link gets to the queue, and how long a sign of life counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol

from django.db import OperationalError, transaction

from django_pagestats.conf import conf
from django_pagestats.exceptions import RunLockedError
from django_pagestats.merging import Trouble, database_for
from django_pagestats.models import BackfillRun, Generation

#: how long whoever wants to change a run waits for the end of the chunk that is being folded
LOCK_SECONDS = 10
#: how the reason begins of a wait that is but a rest after a chunk
RESTS = "rests"


class Enqueue(Protocol):
    """Gives a link to the queue, when the transaction it is called in commits; with `at`, not before that time."""

    def __call__(self, using: str, run_id: int, epoch: int, *, at: datetime | None = None) -> None: ...


def enqueue_nothing(using: str, run_id: int, epoch: int, *, at: datetime | None = None) -> None:
    """For a run that is worked on in this process."""


def lease() -> timedelta:
    """How long a sign of life counts."""
    return timedelta(seconds=conf.LEASE_SECONDS)


@contextmanager
def brief_transaction(
    using: str,
    *,
    of: type[BackfillRun | Generation] = BackfillRun,
    is_switch: bool = False,
    seconds: int | None = None,
) -> Iterator[None]:
    """A transaction about a run that waits for its row no longer than a chunk should last; then RunLockedError.

    Or about a generation; one that switches is READ COMMITTED, and not part of another.
    """
    database = database_for(using)
    seconds = LOCK_SECONDS if seconds is None else seconds
    begun = database.chunk_transaction() if is_switch else transaction.atomic(using=using)
    try:
        with begun, database.lock_wait(seconds, conf.LEASE_SECONDS):
            yield
    except OperationalError as error:
        if database.trouble(error) is not Trouble.LOCKED:
            raise
        if database.end_idle(of._meta.db_table, conf.LEASE_SECONDS):
            raise RunLockedError(
                f"A worker that had not moved for {conf.LEASE_SECONDS:g} s held it, and its session was ended: nothing"
                " was changed. Try again."
            ) from error
        holder = database.lock_holder(of._meta.db_table)
        what = "run" if of is BackfillRun else "generation"
        raise RunLockedError(
            f"The {what} is locked by whoever folds a chunk of it, for longer than a chunk should last: nothing was"
            " changed. Try again; a worker that is frozen gives it back after PAGESTATS_LEASE_SECONDS (SQLite: when its"
            f" process ends). {holder}".rstrip()
        ) from error
