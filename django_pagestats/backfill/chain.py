"""What the parts of a run's chain share: how a link gets to the queue, and how long a sign of life counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from django_pagestats.conf import conf


class Enqueue(Protocol):
    """Gives a link to the queue, when the transaction it is called in commits; with `at`, not before that time."""

    def __call__(self, using: str, run_id: int, epoch: int, *, at: datetime | None = None) -> None: ...


def enqueue_nothing(using: str, run_id: int, epoch: int, *, at: datetime | None = None) -> None:
    """For a run that is worked on in this process."""


def lease() -> timedelta:
    """How long a sign of life counts."""
    return timedelta(seconds=conf.LEASE_SECONDS)
