"""What was left out, counted in the process by reason and day, and written from time to time."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import date, datetime, timezone
from zoneinfo import ZoneInfo

from django.db import router, transaction
from django.db.models import F

from django_pagestats.conf import conf
from django_pagestats.models import LeftOut, Reason
from django_pagestats.recording import background

#: how often what was counted is written
WRITE_SECONDS = 60.0

#: alias (None: what the router says), day, reason -> count
_Key = tuple[str | None, date, str]
_counts: Counter[_Key] = Counter()
_lock = threading.Lock()


def count(reason: Reason, *, using: str | None = None, number: int = 1, at: datetime | None = None) -> None:
    """One more page view was left out, at an instant (None: now)."""
    day = (at or datetime.now(timezone.utc)).astimezone(ZoneInfo(conf.TIME_ZONE)).date()
    with _lock:
        _counts[using, day, reason.value] += number
    background.start()


def counted() -> dict[str, int]:
    """What was counted in this process and is not written yet, by reason, of all days and databases."""
    found: Counter[str] = Counter()
    with _lock:
        for (_using, _day, reason), number in _counts.items():
            found[reason] += number
    return dict(found)


def forget() -> None:
    """Forget what was counted and is not written; for tests."""
    with _lock:
        _counts.clear()


def write() -> None:
    """Add to the rows what was counted since the last time; what cannot be written is kept."""
    with _lock:
        taken = dict(_counts)
        _counts.clear()
    for key in list(taken):
        try:
            _add(*key, taken[key])
        except BaseException:
            with _lock:
                _counts.update(taken)
            raise
        del taken[key]


def _add(using: str | None, day: date, reason: str, number: int) -> None:
    alias = using or router.db_for_write(LeftOut)
    rows = LeftOut.objects.using(alias)
    with transaction.atomic(using=alias):
        if not rows.filter(day=day, reason=reason).update(count=F("count") + number):
            rows.bulk_create(
                [LeftOut(day=day, reason=reason, count=0)],
                ignore_conflicts=True,
            )
            rows.filter(day=day, reason=reason).update(count=F("count") + number)


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _counts.clear()


background.every(lambda: WRITE_SECONDS, write, name="writing what was left out", is_flushed=True, is_last=True)
background.after_fork(_forget)
