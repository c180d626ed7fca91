"""How hard a write is tried: where somebody waits for it, who may be the end of the process, more than once.

By itself a thread comes again in a while. The end of a process does not, and may meet nothing worse than a connection
that was kept in a pool while the server started anew.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from django.db import Error, connections

from django_pagestats.recording import background

logger = logging.getLogger(__name__)

#: tries in all, of which none begins later than so long after the first: flush() waits for them
TRIES = 3
SECONDS = 5.0


def try_hard(work: Callable[[], None], using: str) -> None:
    """Do it; while somebody waits for it, an error of the database is met by another try, on another connection.

    What may be stored although it raises is for `work` to know, and not to do again.
    """
    latest = time.monotonic() + SECONDS
    for _try in range(TRIES - 1):
        try:
            return work()
        except Error as error:
            if background.is_testing() or not background.is_flushing() or not _renew(using):
                raise
            if time.monotonic() >= latest:
                raise
            logger.info("trying again to write to %s, after %s: %s", using, type(error).__name__, error)
    return work()


def _renew(using: str) -> bool:
    """Close this thread's connection, and those of its pool that are broken; False in a transaction of the caller's."""
    connection: Any = connections[using]
    if connection.in_atomic_block:
        return False
    with contextlib.suppress(Exception):  # one that is broken may not even close
        connection.close()
    with contextlib.suppress(Exception):  # psycopg's: the server that ended one of them has ended all
        if pool := getattr(connection, "pool", None):
            pool.check()
    return True
