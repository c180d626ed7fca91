"""One daemon thread in each process that records: it writes what was gathered, and does what is due each minute.

It is started by what first needs it in a process, also after a fork, and closes its connections after each round: so
that no process holds one more than it had, none gets stale, and a fork inherits none. While a test environment is set
up there is no thread: `flush()` does the writing where a test asks for it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import connections
from django.test.utils import _TestState

from django_pagestats.recording import places

logger = logging.getLogger(__name__)

#: flush() waits so long for the thread, and the end of a process does: a database that hangs must not hold it up
FLUSH_SECONDS = 10.0
#: a fork waits so long until the thread does nothing: in the middle of a statement the driver's own locks are held, and
#: stay so for ever in the child
FORK_SECONDS = 2.0
#: a job whose interval cannot be told, as with a setting that is no number, is due again after so long
_FALLBACK_SECONDS = 60.0


@dataclass
class _Job:
    """Something that the thread does every so many seconds; `is_flushed`: and whoever calls flush(), at once."""

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


_jobs: dict[str, _Job] = {}
_last: set[str] = set()
#: what a forked process does not share with its parent is forgotten in it
_forgetting: list[Callable[[], None]] = []


class _State:
    """The thread of one process, and who waits for it; a forked process gets a new one."""

    def __init__(self) -> None:
        self.pid = 0
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()
        self.woken = threading.Event()
        #: held by the thread while it does something; whoever forks the process takes it too
        self.working = threading.Lock()
        #: how many rounds were asked for by flush(), and up to which of them all is done
        self.asked = self.answered = 0
        self.done = threading.Condition()
        self.is_ending = False
        self.is_held = False

    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


_state = _State()
#: whether this process ever had a test environment: what is left of tests must not go to the site's database at exit
_has_tested = False


def every(
    seconds: Callable[[], float], work: Callable[[], None], *, name: str, is_flushed: bool, is_last: bool = False
) -> None:
    """Have `work` done by the thread each time so many seconds have passed; one that raises is logged, and goes on.

    `is_last`: after the others, of which it writes down what they could not do.
    """
    _jobs[name] = _Job(name, seconds, work, is_flushed)
    _last.update([name] if is_last else [])


def after_fork(forget: Callable[[], None]) -> None:
    """Have `forget` called in each forked process: what was gathered is the parent's, who writes it."""
    _forgetting.append(forget)


def is_testing() -> bool:
    """Whether a test environment is set up: nothing happens by itself then."""
    return hasattr(_TestState, "saved_data")


def start() -> None:
    """Start the thread if this process has none yet; a comparison if it has. Never raises."""
    global _has_tested
    if _state.pid == os.getpid():
        return
    if is_testing():
        _has_tested = True
        return
    if _state.pid:  # a fork that Python knows nothing of
        _forget()
    state = _state
    with state.lock:
        if state.pid == os.getpid():
            return
        thread = threading.Thread(target=_run, args=(state,), name="django-pagestats", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter ends, or the system has no more: the next one tries
            thread.start()
            state.thread, state.pid = thread, os.getpid()
            _hook_ends()


def wake(name: str, *, within: float = 0.0) -> None:
    """Have the thread do this job at once, or within so many seconds."""
    job = _jobs[name]
    job.due_at = min(job.due_at, time.monotonic() + within)
    _state.woken.set()


def flush() -> None:
    """Write what this process has gathered: buffered page views, and how many were left out. Safe to call anywhere.

    It waits for at most FLUSH_SECONDS; errors are logged, what could not be written stays for the next time. Inside a
    transaction, and in a running event loop, it has it written and does not wait: the thread may need a lock that the
    transaction holds.
    """
    global _has_tested
    if is_testing():
        _has_tested = True
        _flush_here()
        return
    state = _state
    if not state.is_alive() or state.pid != os.getpid():
        _flush_here()
        return
    with state.done:
        state.asked += 1
        number = state.asked
    state.woken.set()
    if state.thread is threading.current_thread() or places.in_event_loop() or _in_transaction():
        return
    with state.done:
        state.done.wait_for(lambda: state.answered >= number, FLUSH_SECONDS)


def is_flushing() -> bool:
    """Whether somebody waits for all to be written, who may be the end of the process."""
    return _state.asked > _state.answered or not _state.is_alive()


def is_ending() -> bool:
    """Whether the process ends, and what is not written now never will be."""
    return _state.is_ending


def _in_order() -> list[_Job]:
    return sorted(_jobs.values(), key=lambda job: job.name in _last)


def _flush_here() -> None:
    """On this thread's connections; those that it opened are closed again."""
    opened = {connection.alias for connection in connections.all(initialized_only=True) if connection.connection}
    for job in _in_order():
        if job.is_flushed:
            job.do(time.monotonic())
    if not is_testing():
        _close({connection.alias for connection in connections.all(initialized_only=True)} - opened)


def _in_transaction() -> bool:
    return any(
        connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)
        for connection in connections.all(initialized_only=True)
    )


def _run(state: _State) -> None:
    while True:
        state.woken.clear()
        asked = state.asked
        _work(state, [job for job in _in_order() if job.is_flushed], at_once=asked > state.answered)
        with state.done:
            state.answered = asked
            state.done.notify_all()
            if state.is_ending and state.asked == asked:
                return
        # whoever waits for what is flushed, such as the end of the process, does not wait for the rest
        _work(state, [job for job in _in_order() if not job.is_flushed])
        soonest = min((job.due_at for job in _jobs.values()), default=time.monotonic() + _FALLBACK_SECONDS)
        state.woken.wait(max(0.0, soonest - time.monotonic()))


def _work(state: _State, jobs: list[_Job], *, at_once: bool = False) -> None:
    with state.working:
        for job in jobs:
            now = time.monotonic()
            if at_once or job.due_at <= now:
                job.do(now)
        _close(set(connections))


def _close(aliases: set[str]) -> None:
    for connection in connections.all(initialized_only=True):
        if connection.alias in aliases:
            with contextlib.suppress(Exception):  # one that is broken may not even close
                connection.close()


# -- the end of a process, and its beginning


def _at_exit() -> None:
    """Write what is left; the thread, which may be in the middle of it, ends with that."""
    if _has_tested:
        return
    state = _state
    state.is_ending = True
    flush()
    if state.thread is not None and state.pid == os.getpid():
        state.thread.join(0.1)


def _hook_ends() -> None:
    """Besides atexit, which runs neither under uWSGI nor in a child of multiprocessing."""
    with contextlib.suppress(ImportError):  # there is such a module inside of uWSGI only
        uwsgi = importlib.import_module("uwsgi")
        before = getattr(uwsgi, "atexit", None)

        def at_exit() -> None:
            _at_exit()
            if before is not None:
                before()

        vars(uwsgi)["atexit"] = at_exit
    multiprocessing, util = sys.modules.get("multiprocessing"), sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and util is not None and multiprocessing.parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=0)


def _before_fork() -> None:
    state = _state
    if state.is_alive() and state.thread is not threading.current_thread():
        state.is_held = state.working.acquire(timeout=FORK_SECONDS)


def _after_fork() -> None:
    if _state.is_held:
        _state.is_held = False
        _state.working.release()


def _forget() -> None:
    global _state
    _state = _State()
    for forget in _forgetting:
        forget()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forget)
atexit.register(_at_exit)
