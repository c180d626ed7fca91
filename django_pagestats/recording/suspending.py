"""Whether recording is worth a try: a database that fails or is slow is left alone for a while, in this process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError

from django_pagestats.conf import conf
from django_pagestats.recording import background

logger = logging.getLogger(__name__)

#: how long nothing is recorded after an INSERT that failed or was slow
SECONDS = 30.0

#: alias -> the time, of the monotonic clock, until which nothing is recorded there
_until: dict[str, float] = {}
_lock = threading.Lock()


def is_suspended(alias: str) -> bool:
    """Whether to leave this database alone; when the time is over one page view tries, for all others."""
    if alias not in _until:
        return False
    with _lock:
        until = _until.get(alias)
        now = time.monotonic()
        if until is None:
            return False
        if now >= until:
            _until[alias] = now + SECONDS
            return False
        return True


def is_resting(alias: str) -> bool:
    """Whether nothing is to be asked of this database now: what comes before an INSERT, such as a salt."""
    until = _until.get(alias)
    return until is not None and time.monotonic() < until


class SuspendedError(DatabaseError):
    """This database is left alone for a while."""


@contextmanager
def watched(alias: str) -> Iterator[None]:
    """Around what is asked of a database before an INSERT: one that fails or is slow there is left alone too.

    Raises SuspendedError where it is left alone already, and what is within raises.
    """
    if is_resting(alias):
        raise SuspendedError(f"the database {alias!r} is left alone for a while")
    began = time.monotonic()
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        suspend(alias, f"{type(error).__name__}: {error}")
        raise
    if time.monotonic() - began > conf.SLOW_SECONDS:
        suspend(alias, f"a look at a table took {time.monotonic() - began:.1f} s (PAGESTATS_SLOW_SECONDS)")


def suspend(alias: str, cause: str) -> None:
    """Record nothing there for 30 seconds; not while a test environment is set up, where one test is not the next."""
    if background.is_testing():
        return
    with _lock:
        _until[alias] = time.monotonic() + SECONDS
    logger.warning("Nothing is recorded in the database %r by this process for %d s: %s", alias, SECONDS, cause)


def lift(alias: str) -> None:
    """An INSERT went well: the database can be used."""
    if alias in _until:
        with _lock:
            _until.pop(alias, None)
