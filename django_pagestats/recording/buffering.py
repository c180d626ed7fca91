"""Page views that are gathered in the process and written by the thread: PAGESTATS_BUFFER.

A request costs no statement then, and up to a second of page views is lost with a process that is killed. They are
recorded whatever becomes of the caller's transaction.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

from django.db import DataError, IntegrityError, transaction

from django_pagestats import intake
from django_pagestats.conf import conf
from django_pagestats.exceptions import GarbledTextError, SequenceBehindError
from django_pagestats.intake import Row
from django_pagestats.merging import Trouble, database_for
from django_pagestats.models import Reason
from django_pagestats.recording import background, left_out, trying
from django_pagestats.recording.places import Place, at, place_of

logger = logging.getLogger(__name__)

NAME = "writing buffered page views"
#: what could not be written is tried again, each time after twice as long, up to so many seconds
LONGEST_REST_SECONDS = 30.0
#: for so long since it failed first, however often that was, for each flush() tries too; then it is left out
KEPT_SECONDS = 3_600.0
#: how often the thread looks without being asked to
_IDLE_SECONDS = 60.0
#: the database says which page view it refuses only by refusing all that come with it
_REFUSED = (DataError, IntegrityError, GarbledTextError, SequenceBehindError)
#: a COMMIT that failed for these was answered: nothing of it is stored
_ROLLED_BACK = frozenset({Trouble.LOCKED, Trouble.CONFLICT, Trouble.DISK_FULL, Trouble.READ_ONLY})


class Failing:
    """A place whose page views could not be written: since when, how often in a row, and when to try again."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.tries = 0
        self.next_at = 0.0

    def again(self) -> None:
        self.tries += 1
        self.next_at = time.monotonic() + min(LONGEST_REST_SECONDS, 2.0 ** min(self.tries - 1, 10))

    def is_over(self) -> bool:
        return time.monotonic() - self.since >= KEPT_SECONDS


class Buffer:
    """The page views of this process that are not written yet, by place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Place, list[Row]] = {}
        #: how many there are, with those that are being written
        self._size = 0
        self.failing: dict[Place, Failing] = {}

    def __len__(self) -> int:
        return self._size

    def add(self, place: Place, row: Row, limit: int) -> int:
        """How many there are with this one; 0: it had no room."""
        with self._lock:
            if self._size >= limit:
                return 0
            self._rows.setdefault(place, []).append(row)
            self._size += 1
            return self._size

    def places(self) -> list[Place]:
        with self._lock:
            return list(self._rows)

    def take(self, place: Place) -> list[Row]:
        with self._lock:
            return self._rows.pop(place, [])

    def put_back(self, place: Place, rows: Iterable[Row]) -> None:
        with self._lock:
            self._rows[place] = [*rows, *self._rows.get(place, ())]

    def settle(self, number: int) -> None:
        """So many are written, or will never be."""
        with self._lock:
            self._size -= number


_buffer = Buffer()


def add(row: Row, alias: str) -> Reason | None:
    """Put it into the buffer; BUFFER_FULL where it has no room. Asks no database."""
    background.start()
    size = _buffer.add(place_of(alias), row, conf.BUFFER_LIMIT)
    if not size:
        return Reason.BUFFER_FULL
    if size % conf.BUFFER_ROWS == 0:
        background.wake(NAME)
    elif size == 1:
        background.wake(NAME, within=conf.BUFFER_SECONDS)
    return None


def size() -> int:
    """How many page views of this process are not written yet."""
    return len(_buffer)


def write() -> None:
    """Write what there is, place by place; what surely was not written is kept for the next time."""
    for place in _buffer.places():
        failing = _buffer.failing.get(place)
        if failing is None or background.is_flushing() or time.monotonic() >= failing.next_at:
            _write_place(place)
    if len(_buffer):
        background.wake(NAME, within=conf.BUFFER_SECONDS)


def _write_place(place: Place) -> None:
    rows = _buffer.take(place)
    batches = deque(intake.batches(rows, attrgetter("path")))
    try:
        trying.try_hard(lambda: _write_batches(batches, place), place.alias)
    except Exception as error:
        _keep([row for batch in batches for row in batch], place, error)
    else:
        _buffer.failing.pop(place, None)


def _write_batches(batches: deque[list[Row]], place: Place) -> None:
    """Each in a transaction; when this raises, those that are left are surely not stored."""
    with at(place):
        while batches:
            batch = batches[0]
            try:
                _write_batch(batch, place)
            except _REFUSED as error:
                batches.popleft()
                if len(batch) > 1:  # the halves, so that the one that is refused is found in few steps
                    middle = len(batch) // 2
                    batches.extendleft([batch[middle:], batch[:middle]])
                else:
                    _leave_out(1, place, error)
            else:
                batches.popleft()
                _buffer.settle(len(batch))


def _write_batch(batch: list[Row], place: Place) -> None:
    """One INSERT in a transaction of its own: only of its end, a step by itself, it may be unknown if it was done."""
    is_committing = False
    try:
        with transaction.atomic(using=place.alias):
            intake.insert(batch, using=place.alias)
            is_committing = True
    except Exception as error:
        if not is_committing or isinstance(error, _REFUSED) or _is_rolled_back(error, place):
            raise
        # it may be stored: a page view counted twice is worse than one that is missing and said to be
        _tell_lost(len(batch), place, error)


def _is_rolled_back(error: Exception, place: Place) -> bool:
    return database_for(place.alias).trouble(error) in _ROLLED_BACK


def _keep(rows: list[Row], place: Place, error: Exception) -> None:
    failing = _buffer.failing.setdefault(place, Failing())
    failing.again()
    if failing.is_over() or background.is_ending():
        _leave_out(len(rows), place, error)
        return
    _buffer.put_back(place, rows)
    logger.warning("%d page views wait to be written to %s: %s", len(rows), place, _shown(error))


def _leave_out(number: int, place: Place, error: Exception) -> None:
    _buffer.settle(number)
    _tell_lost(number, place, error)


def _tell_lost(number: int, place: Place, error: Exception) -> None:
    left_out.count(Reason.DATABASE, using=place.alias, number=number)
    logger.error("%d page views were not recorded in %s: %s", number, place, _shown(error))


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[: intake.SHOWN_LENGTH]}"


def _tell_left() -> None:
    if number := size():
        logger.error("%d page views were not written when the process ended", number)


def _forget() -> None:
    global _buffer
    _buffer = Buffer()


background.every(lambda: _IDLE_SECONDS, write, name=NAME, is_flushed=True)
background.after_fork(_forget)
background.at_end(_tell_left)
