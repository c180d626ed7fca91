"""What was left out, counted in the process by reason and day, and written from time to time."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from datetime import date, datetime, timezone
from functools import partial

from django.db import DEFAULT_DB_ALIAS, router

from django_pagestats.clock import local_day
from django_pagestats.merging.left_out import add
from django_pagestats.models import LeftOut, Reason
from django_pagestats.recording import background, places, trying
from django_pagestats.schemas import schema_of

logger = logging.getLogger(__name__)

#: how often what was counted is written
WRITE_SECONDS = 60.0

#: alias (None: what the router says), schema in it, day, reason -> count
_Key = tuple[str | None, str | None, date, str]
_counts: Counter[_Key] = Counter()
_lock = threading.Lock()


def count(reason: Reason, *, using: str | None = None, number: int = 1, at: datetime | None = None) -> None:
    """One more page view was left out, at an instant (None: now)."""
    day = local_day(at or datetime.now(timezone.utc))
    schema = schema_of(using or DEFAULT_DB_ALIAS)
    with _lock:
        _counts[using, schema, day, reason.value] += number
    background.start()


def counted() -> dict[str, int]:
    """What was counted in this process and is not written yet, by reason, of all days and databases."""
    found: Counter[str] = Counter()
    with _lock:
        for (*_where, reason), number in _counts.items():
            found[reason] += number
    return dict(found)


def forget() -> None:
    """Forget what was counted and is not written; for tests."""
    with _lock:
        _counts.clear()


def write() -> None:
    """Add to the rows what was counted since the last time; what cannot be written is kept, and its error raised.

    Each count is a transaction of its own: so nobody who writes the same ones in another order waits for a lock twice,
    and one that cannot be written, in a database that is down, keeps no other from being.
    """
    with _lock:
        taken = dict(_counts)
        _counts.clear()
    failed: BaseException | None = None
    for (using, schema, day, reason), number in taken.items():
        try:
            alias = using or router.db_for_write(LeftOut)
            trying.try_hard(partial(_add, places.Place(alias, schema), day, reason, number), alias)
        except BaseException as error:
            failed = error
            with _lock:
                _counts[using, schema, day, reason] += number
    if failed is not None:
        raise failed


def _add(place: places.Place, day: date, reason: str, number: int) -> None:
    with places.at(place):
        add(place.alias, day, reason, number)


def _tell_left() -> None:
    if found := counted():
        logger.error(
            "how many page views were left out was not written when the process ended: %s",
            ", ".join(f"{number} {reason}" for reason, number in sorted(found.items())),
        )


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _counts.clear()


background.every(lambda: WRITE_SECONDS, write, name="writing what was left out", is_flushed=True, is_last=True)
background.after_fork(_forget)
background.at_end(_tell_left)
