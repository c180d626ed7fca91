"""What is remembered for some time: by this process alone, or in a cache that all processes share."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from django_pagestats.conf import conf

logger = logging.getLogger(__name__)

#: keys that a process remembers; the oldest go first
MOST_KEYS = 50_000
PREFIX = "pagestats"
#: a cache that failed, or was slow, is not asked for so long
ALONE_SECONDS = 30.0


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
    """Keys in one of the site's caches; while that fails or is slow, the process remembers alone.

    So a view more may be counted, and never one lost.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def add(self, key: str, seconds: float) -> bool:
        name, timeout = f"{PREFIX}:{key}", max(1, round(seconds))
        done = self._ask(lambda cache: bool(cache.add(name, 1, timeout=timeout)))
        return own.add(key, seconds) if done is None else done

    def delete(self, key: str) -> bool:
        done = self._ask(lambda cache: bool(cache.delete(f"{PREFIX}:{key}")))
        return own.delete(key) if done is None else done

    def _ask(self, what: Callable[[BaseCache], bool]) -> bool | None:
        """None: the cache is not to be asked, or could not answer."""
        began = time.monotonic()
        if began < _left_alone.get(self._alias, 0.0):
            return None
        try:
            done = what(caches[self._alias])
        except Exception as error:  # each backend has its own
            _leave_alone(self._alias, f"it failed ({type(error).__name__})")
            return None
        if time.monotonic() - began > conf.SLOW_SECONDS:
            _leave_alone(self._alias, f"it took {time.monotonic() - began:.1f} s (PAGESTATS_SLOW_SECONDS)")
        return done


own = OfProcess()
#: alias -> the time, of the monotonic clock, until which a cache is not asked
_left_alone: dict[str, float] = {}


def memory() -> Memory:
    """The memory that PAGESTATS_CACHE names."""
    return own if conf.CACHE is None else OfCache(conf.CACHE)


def _leave_alone(alias: str, why: str) -> None:
    _left_alone[alias] = time.monotonic() + ALONE_SECONDS
    logger.error("The cache %r is left alone by this process for %d s: %s.", alias, ALONE_SECONDS, why)


def forget() -> None:
    """Forget all that this process remembers; for tests."""
    own.clear()
    _left_alone.clear()
