"""One daemon thread in each process that records: it writes what was gathered, and does what is due each minute.

It is started by what first needs it in a process, also after a fork, and has its own connections. While a test
environment is set up there is none: `flush()` does the writing where a test asks for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import connections
from django.test.utils import _TestState

logger = logging.getLogger(__name__)


@dataclass
class _Job:
    """Something that the thread does every so many seconds; `is_flushed`: and whoever calls flush(), at once."""

    name: str
    seconds: Callable[[], float]
    work: Callable[[], None]
    is_flushed: bool
    due_at: float = field(default=0.0)


_jobs: dict[str, _Job] = {}
_woken = threading.Event()
_lock = threading.Lock()
#: the process that the thread belongs to
_pid = 0


def every(seconds: Callable[[], float], work: Callable[[], None], *, name: str, is_flushed: bool) -> None:
    """Have `work` done by the thread each time so many seconds have passed; one that raises is logged, and goes on."""
    _jobs[name] = _Job(name, seconds, work, is_flushed)


def is_testing() -> bool:
    """Whether a test environment is set up: nothing happens by itself then."""
    return hasattr(_TestState, "saved_data")


def start() -> None:
    """Start the thread if this process has none yet; a comparison if it has."""
    global _pid
    if _pid == os.getpid() or is_testing():
        return
    with _lock:
        if _pid == os.getpid():
            return
        _pid = os.getpid()
        _woken.clear()
        threading.Thread(target=_run, name="django-pagestats", daemon=True).start()


def wake() -> None:
    """Have the thread look at once at what there is to do."""
    _woken.set()


def flush() -> None:
    """Write what this process has gathered: buffered page views, and how many were left out. Safe to call anywhere.

    It uses this thread's connections; errors are logged, what could not be written stays for the next time.
    """
    for job in list(_jobs.values()):
        if job.is_flushed:
            _do(job)


def _run() -> None:
    while True:
        now = time.monotonic()
        for job in list(_jobs.values()):
            if job.due_at <= now or (_woken.is_set() and job.is_flushed):
                job.due_at = now + job.seconds()
                _do(job)
        _woken.clear()
        connections.close_all()
        soonest = min((job.due_at for job in _jobs.values()), default=now + 1)
        _woken.wait(max(0.0, soonest - time.monotonic()))


def _do(job: _Job) -> None:
    try:
        job.work()
    except Exception:
        logger.exception("%s failed, and is tried again", job.name)


atexit.register(flush)
