"""What is remembered for some time: by this process alone, or in a cache that all processes share."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from typing import Protocol

from django.core.cache import caches

from django_pagestats.conf import conf

logger = logging.getLogger(__name__)

#: keys that a process remembers; the oldest go first
MOST_KEYS = 50_000
PREFIX = "pagestats"
#: a cache that fails is told of so often
TOLD_SECONDS = 60.0


class Memory(Protocol):
    """Keys, each for a number of seconds."""

    def add(self, key: str, seconds: float) -> bool:
        """Remember a key from now on; False if it is remembered already, and stays as it was."""

    def delete(self, key: str) -> bool:
        """Forget a key; False if it was not remembered."""


class OfProcess:
    """A bounded number of keys in this process; it touches none of the site's caches."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._until: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: str, seconds: float) -> bool:
        now = time.monotonic()
        with self._lock:
            until = self._until.get(key)
            if until is not None and now < until:
                return False
            self._until[key] = now + seconds
            self._until.move_to_end(key)
            if len(self._until) > self._most:
                self._until.popitem(last=False)
        return True

    def delete(self, key: str) -> bool:
        with self._lock:
            until = self._until.pop(key, None)
        return until is not None and time.monotonic() < until

    def clear(self) -> None:
        with self._lock:
            self._until.clear()


class OfCache:
    """Keys in one of the site's caches. One that fails remembers nothing: a view more is counted, never one lost."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def add(self, key: str, seconds: float) -> bool:
        try:
            return bool(caches[self._alias].add(f"{PREFIX}:{key}", 1, timeout=max(1, round(seconds))))
        except Exception as error:  # each backend has its own
            _tell(self._alias, error)
            return True

    def delete(self, key: str) -> bool:
        try:
            return bool(caches[self._alias].delete(f"{PREFIX}:{key}"))
        except Exception as error:
            _tell(self._alias, error)
            return False


own = OfProcess()
_told_at = 0.0


def memory() -> Memory:
    """The memory that PAGESTATS_CACHE names."""
    return own if conf.CACHE is None else OfCache(conf.CACHE)


def _tell(alias: str, error: Exception) -> None:
    global _told_at
    if time.monotonic() >= _told_at:
        _told_at = time.monotonic() + TOLD_SECONDS
        logger.error("The cache %r failed (%s): page views are counted without it.", alias, type(error).__name__)


def forget() -> None:
    """Forget all that this process remembers; for tests."""
    global _told_at
    own.clear()
    _told_at = 0.0
