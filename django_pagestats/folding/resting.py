"""How long does a fold wait: out of regard for others after each chunk, and for its horizon to come."""

from __future__ import annotations

import time

from django.db import connections

from django_pagestats import horizon
from django_pagestats.conf import conf
from django_pagestats.merging import database_for

#: how long a fold looks whether its horizon has come, before it gives its worker back
POLL_SECONDS = 1.5
POLL_STEP_SECONDS = 0.05


def niceness(using: str, *, is_cluster: bool) -> float:
    """How long to rest after a chunk, in times of what the chunk took; in this process not unless the setting says."""
    if conf.NICE is not None:
        return conf.NICE
    return database_for(using).NICE if is_cluster else 0.0


def rest(seconds: float, using: str) -> None:
    """Leave the database to others for a while; never inside a transaction."""
    if seconds > 0 and not connections[using].in_atomic_block:
        time.sleep(seconds)


def poll(using: str, settling: horizon.Settling, seconds: float = POLL_SECONDS) -> list[horizon.Blocker]:
    """Look for a moment whether the horizon has come; what it still waits for, or an empty list."""
    deadline = time.monotonic() + seconds
    while (waiting := horizon.blockers(using, settling)) and time.monotonic() < deadline:
        time.sleep(POLL_STEP_SECONDS)
    return waiting
