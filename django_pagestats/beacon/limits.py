"""How many requests of one client the endpoint takes: PAGESTATS_RATE_LIMIT, in windows of fixed length.

By the address that cannot be chosen, never by anything that a client says of itself; and by a keyed hash of it, so that
no address is kept in any memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from datetime import datetime, timezone

from django.core.cache import caches
from django.db import router
from django.http import HttpRequest

from django_pagestats import salts
from django_pagestats.conf import conf
from django_pagestats.conf.complaints import RATE
from django_pagestats.headers.addresses import client_address
from django_pagestats.models import Salt
from django_pagestats.recording import suspending, visitors
from django_pagestats.recording.memory import PREFIX

logger = logging.getLogger(__name__)

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: clients that a process remembers in a window; those that were there first go first
MOST_CLIENTS = 50_000
#: a failure is told of so often
TOLD_SECONDS = 60.0


class Counts:
    """How often each client asked in the window of now, in this process."""

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self._window = ""
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def next(self, client: str, window: str) -> int:
        with self._lock:
            if window != self._window:
                self._window = window
                self._numbers.clear()
            number = self._numbers[client] = self._numbers.get(client, 0) + 1
            if len(self._numbers) > self._most:
                self._numbers.popitem(last=False)
        return number

    def clear(self) -> None:
        with self._lock:
            self._numbers.clear()


_own = Counts()
_told_at = 0.0


def forget() -> None:
    """Begin to count anew; for tests."""
    global _told_at
    _told_at = 0.0
    _own.clear()


def is_too_many(request: HttpRequest, *, now: datetime | None = None) -> bool:
    """Whether this is one request more of its client than PAGESTATS_RATE_LIMIT allows.

    A client whose address is not known is not limited, nor is anybody while the database or the cache fails: a limit
    keeps a flood out, and is no reason to lose a page view.
    """
    rate = RATE.fullmatch(conf.RATE_LIMIT)
    address = client_address(request.META)
    if rate is None or address is None:  # a check names what is no rate (pagestats.E001)
        return False
    at = now or datetime.now(timezone.utc)
    seconds = SECONDS[rate[2]]
    window = f"{int(at.timestamp() // seconds)}:{seconds}"
    alias = router.db_for_write(Salt)
    if suspending.is_resting(alias):
        return False
    try:
        number = _next(visitors.hashed(salts.day_of(at), alias, "rate", address), window, seconds)
    except Exception as error:  # each backend has its own
        _tell(error)
        return False
    return number > int(rate[1])


def _next(client: str, window: str, seconds: int) -> int:
    """How often this client has asked in this window, with this time."""
    return _own.next(client, window) if conf.CACHE is None else _of_cache(conf.CACHE, f"{window}:{client}", seconds)


def _of_cache(alias: str, key: str, seconds: int) -> int:
    cache = caches[alias]
    name = f"{PREFIX}:rate:{key}"
    if cache.add(name, 1, timeout=seconds + 1):
        return 1
    try:
        return int(cache.incr(name))
    except ValueError:  # it has gone in between
        return 1


def _tell(error: Exception) -> None:
    global _told_at
    if time.monotonic() >= _told_at:
        _told_at = time.monotonic() + TOLD_SECONDS
        logger.error("PAGESTATS_RATE_LIMIT could not be looked at (%s): nobody is limited.", type(error).__name__)
