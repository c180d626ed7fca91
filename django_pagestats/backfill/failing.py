"""Failures of a worker: which of them may pass, how long to wait for that, and what there is to say."""

from __future__ import annotations

import time
import traceback

from django.db import InterfaceError, OperationalError, connections

from django_pagestats import folding
from django_pagestats.exceptions import QueueUnreachableError
from django_pagestats.merging import Trouble, database_for

#: dead-locks, time-outs of locks and statements, serialisation failures, lost connections, a busy SQLite; no queue
PASSING = (OperationalError, InterfaceError, QueueUnreachableError)
MEANINGS: dict[Trouble | None, str] = {
    Trouble.DISK_FULL: "The disk of the database is full. ",
    Trouble.READ_ONLY: "The database is read-only: a replica, or set so. ",
}
FIRST_WAIT_SECONDS = 0.1
MOST_WAIT_SECONDS = 2.0
#: of a traceback's end
TRACEBACK_CHARACTERS = 20_000


def may_pass(using: str, error: Exception) -> bool:
    """Whether trying again may help."""
    return isinstance(error, PASSING) or database_for(using).trouble(error) is not None


def wait_seconds(tries: int) -> float:
    """How long to wait after so many failures in a row: twice as long each time."""
    return float(min(MOST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**tries))


def reconnect(using: str, *, seconds: float) -> None:
    """Get a connection that works, if it takes so long; raises what the database says then.

    Inside a transaction of the caller's nothing can be done: it is the caller's to end.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        return
    connection.close_if_unusable_or_obsolete()
    deadline = time.monotonic() + seconds
    tries = 0
    while True:
        try:
            return connection.ensure_connection()
        except PASSING:
            if time.monotonic() >= deadline:
                raise
        tries += 1
        time.sleep(wait_seconds(tries))


def describe(using: str, error: Exception) -> str:
    """An error in words, with what a person may do about it where that is known."""
    meaning = MEANINGS.get(database_for(using).trouble(error), "")
    return f"{meaning}{type(error).__name__}: {str(error).strip()}"


def page_views(folder: folding.Folder) -> str:
    """Which page views a folder was folding when it failed."""
    if folder.trying is None:
        return f"the page views after {folder.cursor}"
    after, upto = folder.trying
    return f"page view {upto}" if upto == after + 1 else f"page views {after + 1} to {upto}"


def traceback_of(error: Exception) -> str:
    """Where it was raised, as Python shows it; of a long one the end."""
    return "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
