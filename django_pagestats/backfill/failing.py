"""Failures of a worker: which of them may pass, how they are tried again, and what there is to say."""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any

from django.db import InterfaceError, OperationalError, connections

from django_pagestats import folding
from django_pagestats.backfill.claims import Claim
from django_pagestats.conf import conf
from django_pagestats.exceptions import DimensionError, QueueUnreachableError, UncountablePageViewError
from django_pagestats.merging import BINARY_LOG_TOLD, LASTING, Trouble, database_for
from django_pagestats.models import BackfillRun, BuildSegment, SharedDay

logger = logging.getLogger(__name__)

#: dead-locks, time-outs of locks and statements, serialisation failures, lost connections, a busy SQLite; no queue
PASSING = (OperationalError, InterfaceError, QueueUnreachableError)
#: each names what it is about and the cure, and comes again until a person has seen to it
TOLD = (UncountablePageViewError, DimensionError)
MEANINGS: dict[Trouble | None, str] = {
    Trouble.FORBIDDEN: "The database's user may not do this: it needs all privileges on the site's own database. ",
    Trouble.BINARY_LOG: f"{BINARY_LOG_TOLD} ",
    Trouble.DISK_FULL: "The disk of the database is full. ",
    Trouble.READ_ONLY: "The database is read-only: a replica, or set so. ",
}
#: what the size of a chunk does not cause, so that the same again will most likely do
BY_CHANCE = frozenset({Trouble.CONFLICT, Trouble.LOST})
#: failures in a row at one size by chance; but one page view alone is tried PAGESTATS_MAX_FAILURES times
CHANCES = 2
FIRST_WAIT_SECONDS = 0.1
MOST_WAIT_SECONDS = 2.0
#: of two transactions that met one has won, and soon ends
MOST_CONFLICT_SECONDS = 0.5
#: of a traceback's end
TRACEBACK_CHARACTERS = 20_000


class Failing:
    """Counts the failures of a run in its row, and those that one worker had in a row; tries again, or ends the run."""

    def __init__(self, claim: Claim, folder: folding.Folder) -> None:
        self.claim = claim
        self.folder = folder
        self._in_a_row = 0  #: in this process

    def has_passed(self) -> None:
        """A chunk was folded."""
        self._in_a_row = 0

    def count(self, error: Exception, *, is_chunk: bool) -> None:
        """Keep it in the run, with its text; what may pass is tried again, for a while, and anything else fails it.

        `is_chunk`: a chunk was to be folded.
        """
        using = self.claim.using
        logger.warning("run %s: %s: %s", self.claim.run.pk, type(error).__name__, error, exc_info=error)
        reconnect(using, seconds=conf.LEASE_SECONDS if self.claim.deadline is None else conf.LINK_SECONDS)
        end_frozen(using)
        self.claim.reread()
        if may_pass(using, error):
            self._try_again(error, is_chunk=is_chunk)
        elif isinstance(error, TOLD):
            self._fail(str(error), error)
        else:
            where = f" at {page_views(self.folder)}" if is_chunk else ""
            self._fail(f"An unexpected error{where}: {describe(using, error)}", error)

    def _try_again(self, error: Exception, *, is_chunk: bool) -> None:
        """The same page views, fewer at a time unless it was by chance; in the end they fail the run one at a time.

        `failure_count` is that of the failures in a row at the size there is: PAGESTATS_MAX_FAILURES of them at most.
        """
        # when the queue is down the chunk is committed: only its next link is missing
        is_chunk = is_chunk and not isinstance(error, QueueUnreachableError)
        trouble = database_for(self.claim.using).trouble(error)
        is_by_chance, is_conflict = trouble in BY_CHANCE, trouble is Trouble.CONFLICT
        count = self.claim.run.failure_count + 1
        has_had_chances = count >= min(CHANCES, conf.MAX_FAILURES)
        if is_chunk and (has_had_chances or not is_by_chance) and self.folder.shrink(by=2 if is_by_chance else 4):
            count = 0
        text = describe(self.claim.using, error)
        if is_chunk:
            text = f"{page_views(self.folder).capitalize()} could not be folded. {text}"
        if count >= conf.MAX_FAILURES:
            self._fail(f"{text} (tried {count} times in a row)", error, failure_count=count)
            return
        self._in_a_row += 1
        self.claim.stay(failure_count=count, error=text, chunk_size=self.folder.chunk_size)
        tries = max(self._in_a_row, count) - 1 if is_by_chance else self._in_a_row + count
        most = MOST_CONFLICT_SECONDS if is_conflict else MOST_WAIT_SECONDS
        folding.rest(min(most, wait_seconds(tries)), self.claim.using)
        self.folder.forget()
        self.folder.reload()
        if self.claim.is_time_up():
            self._hand_over()

    def _hand_over(self) -> None:
        try:
            self.claim.hand_over()
        except QueueUnreachableError as failure:  # still: whoever revives the run tries again after the lease
            logger.warning("run %s: %s", self.claim.run.pk, failure)
            self.claim.is_handed_over = True

    def _fail(self, text: str, error: Exception, **changes: Any) -> None:
        self.claim.end(BackfillRun.Status.FAILED, error=_storable(text), traceback=traceback_of(error), **changes)


def may_pass(using: str, error: Exception) -> bool:
    """Whether trying again may help."""
    trouble = database_for(using).trouble(error)
    if trouble is Trouble.BINARY_LOG or isinstance(error, TOLD):  # whose texts may have the words of a database
        return False
    return isinstance(error, PASSING) or not (trouble is None or trouble in LASTING)


def is_lasting(using: str, error: BaseException) -> bool:
    """Whether only a person can make it pass, so that its words do without a traceback."""
    return database_for(using).trouble(error) in LASTING


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


def end_frozen(using: str) -> None:
    """End the sessions of workers that have not moved for a lease, and hold days or segments that others wait for."""
    if not connections[using].in_atomic_block:
        for table in (SharedDay._meta.db_table, BuildSegment._meta.db_table):
            database_for(using).end_idle(table, conf.LEASE_SECONDS)


def describe(using: str, error: Exception) -> str:
    """An error in words, with what a person may do about it where that is known."""
    meaning = MEANINGS.get(database_for(using).trouble(error), "")
    return _storable(f"{meaning}{type(error).__name__}: {str(error).strip()}")


def _storable(text: str) -> str:
    """With escapes for what no database stores: what an error says may be the site's own code's."""
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def page_views(folder: folding.Folder) -> str:
    """Which page views a folder was folding when it failed."""
    if folder.trying is None:
        return f"the page views after {folder.cursor}"
    after, upto = folder.trying
    return f"page view {upto}" if upto == after + 1 else f"page views {after + 1} to {upto}"


def traceback_of(error: Exception) -> str:
    """Where it was raised, as Python shows it; of a long one the end. Of a dimension's function, the function's own."""
    shown = error.__cause__ if isinstance(error, DimensionError) and error.__cause__ is not None else error
    return _storable("".join(traceback.format_exception(shown)))[-TRACEBACK_CHARACTERS:]
