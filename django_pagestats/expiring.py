"""Values that a process keeps for some seconds, a bounded number of them; another process knows nothing of them."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Expiring(Generic[T]):
    """Values by key, each for some seconds; when one half is full, the older half goes.

    Without a lock, which a fork could leave closed for ever: whoever changes it at the same time may forget a value,
    and never has a wrong one.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        #: key -> when it is over, by the monotonic clock, and the value
        self._young: dict[Hashable, tuple[float, T]] = {}
        self._old: dict[Hashable, tuple[float, T]] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: Hashable) -> T | None:
        found = self._young.get(key) or self._old.get(key)
        return found[1] if found is not None and time.monotonic() < found[0] else None

    def put(self, key: Hashable, value: T, seconds: float) -> None:
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = time.monotonic() + seconds, value

    def clear(self) -> None:
        self._young, self._old = {}, {}
