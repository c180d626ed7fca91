"""A thread that does jobs when they are due, and closes its connections after each round of them."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from django.db import connections

logger = logging.getLogger(__name__)

#: a job whose interval cannot be told, as with a setting that is no number, is due again after so long; and a thread
#: that has no jobs looks again
_FALLBACK_SECONDS = 60.0


@dataclass
class Job:
    """Something to do every so many seconds; `is_flushed`: by the thread that writes, and at once by flush()."""

    name: str
    seconds: Callable[[], float]
    work: Callable[[], None]
    is_flushed: bool
    due_at: float = field(default=0.0)

    def do(self, now: float) -> None:
        try:
            self.due_at = now + _FALLBACK_SECONDS
            self.due_at = now + self.seconds()
            self.work()
        except Exception as error:
            with contextlib.suppress(Exception):  # a log handler that raises must not end the thread
                logger.error("%s failed, and is tried again: %s: %s", self.name, type(error).__name__, error)


class Worker:
    """One such thread, which others wake."""

    def __init__(self, jobs: Callable[[], list[Job]]) -> None:
        self.jobs = jobs
        self.thread: threading.Thread | None = None
        self.woken = threading.Event()
        #: held by the thread while it does something; whoever forks the process takes it too
        self.working = threading.Lock()
        self.is_held = False

    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def work(self, *, at_once: bool = False) -> None:
        """Do what is due, or all."""
        with self.working:
            for job in self.jobs():
                now = time.monotonic()
                if at_once or job.due_at <= now:
                    job.do(now)
            close(set(connections))

    def rest(self) -> None:
        """Until it is woken, or something is due."""
        soonest = min((job.due_at for job in self.jobs()), default=time.monotonic() + _FALLBACK_SECONDS)
        self.woken.wait(max(0.0, soonest - time.monotonic()))


def close(aliases: Collection[str]) -> None:
    """Close the connections that this thread has to these databases."""
    for connection in connections.all(initialized_only=True):
        if connection.alias in aliases:
            with contextlib.suppress(Exception):  # one that is broken may not even close
                connection.close()
