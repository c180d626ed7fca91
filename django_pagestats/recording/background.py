"""Two daemon threads in each process that records: one writes what was gathered, one does the rest that is due.

So that nothing which may wait long, as keeping the statistics up may, holds up the page views. They are started by what
first needs them in a process, also after a fork, and close their connections after each round: so that no process holds
more than it had, none gets stale, and a fork inherits none. While a test environment is set up there is no thread:
`flush()` does the writing where a test asks for it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable

from django.db import connections
from django.test.utils import _TestState

from django_pagestats.recording import places
from django_pagestats.recording.working import Job, Worker, close

#: flush() waits so long for the thread, and the end of a process does: a database that hangs must not hold it up
FLUSH_SECONDS = 10.0
#: a fork waits so long until the threads do nothing: in the middle of a statement the driver's own locks are held, and
#: stay so for ever in the child
FORK_SECONDS = 2.0

_jobs: dict[str, Job] = {}
_last: set[str] = set()
#: what a forked process does not share with its parent is forgotten in it
_forgetting: list[Callable[[], None]] = []
#: who says at the end what is not written
_telling: list[Callable[[], None]] = []


class _State:
    """The threads of one process, and who waits for the one that writes; a forked process gets a new one."""

    def __init__(self) -> None:
        self.pid = 0
        self.lock = threading.Lock()
        self.writer = Worker(lambda: _in_order(is_flushed=True))
        self.other = Worker(lambda: _in_order(is_flushed=False))
        #: how many rounds were asked for by flush(), and up to which of them all is done
        self.asked = self.answered = 0
        self.done = threading.Condition()
        #: the process ends; and the thread that writes has ended with it
        self.is_ending = self.is_over = False

    def ask(self) -> int:
        """Ask for a round; the number of it, 0: nobody does it any more."""
        with self.done:
            if self.is_over:
                return 0
            self.asked += 1
            return self.asked

    def end(self) -> None:
        """Have both threads end, the one that writes after a round that begins later than this."""
        with self.done:
            self.is_ending = True
            self.asked += 1
        for worker in (self.writer, self.other):
            worker.woken.set()


_state = _State()
#: whether this process ever had a test environment: what is left of tests must not go to the site's database at exit
_has_tested = False


def every(
    seconds: Callable[[], float], work: Callable[[], None], *, name: str, is_flushed: bool, is_last: bool = False
) -> None:
    """Have `work` done by a thread each time so many seconds have passed; one that raises is logged, and goes on.

    `is_flushed`: it writes what was gathered, and flush() waits for it; what may wait long for others is not, and has a
    thread of its own. `is_last`: after the others, of which it writes down what they could not do.
    """
    _jobs[name] = Job(name, seconds, work, is_flushed)
    _last.update([name] if is_last else [])


def after_fork(forget: Callable[[], None]) -> None:
    """Have `forget` called in each forked process: what was gathered is the parent's, who writes it."""
    _forgetting.append(forget)


def at_end(tell: Callable[[], None]) -> None:
    """Have `tell` called when a process has written at its end what it could: it logs what is left."""
    _telling.append(tell)


def is_testing() -> bool:
    """Whether a test environment is set up: nothing happens by itself then."""
    return hasattr(_TestState, "saved_data")


def start() -> None:
    """Start the threads if this process has none yet; a comparison if it has. Never raises."""
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
            state.writer.thread, state.pid = thread, os.getpid()
            _hook_ends()


def wake(name: str, *, within: float = 0.0) -> None:
    """Have its thread do this job at once, or within so many seconds."""
    job = _jobs[name]
    job.due_at = min(job.due_at, time.monotonic() + within)
    (_state.writer if job.is_flushed else _state.other).woken.set()


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
    number = state.ask() if state.writer.is_alive() and state.pid == os.getpid() else 0
    if not number:
        _flush_here()
        return
    state.writer.woken.set()
    if state.writer.thread is threading.current_thread() or places.in_event_loop() or _in_transaction():
        return
    with state.done:
        state.done.wait_for(lambda: state.answered >= number, FLUSH_SECONDS)


def tell_left() -> None:
    """Log what is not written yet; after the last flush() of a process, which nobody follows."""
    for tell in _telling:
        with contextlib.suppress(Exception):  # a log handler that raises must not keep the others from being told
            tell()


def is_flushing() -> bool:
    """Whether somebody waits for all to be written, who may be the end of the process."""
    return _state.asked > _state.answered or _state.is_over or not _state.writer.is_alive()


def is_ending() -> bool:
    """Whether the process ends, and what is not written now never will be."""
    return _state.is_ending


def _in_order(*, is_flushed: bool) -> list[Job]:
    jobs = [job for job in list(_jobs.values()) if job.is_flushed is is_flushed]
    return sorted(jobs, key=lambda job: job.name in _last)


def _flush_here() -> None:
    """On this thread's connections; those that it opened are closed again."""
    opened = {connection.alias for connection in connections.all(initialized_only=True) if connection.connection}
    for job in _in_order(is_flushed=True):
        job.do(time.monotonic())
    if not is_testing():
        close({connection.alias for connection in connections.all(initialized_only=True)} - opened)


def _in_transaction() -> bool:
    return any(
        connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)
        for connection in connections.all(initialized_only=True)
    )


def _run(state: _State) -> None:
    while True:
        state.writer.woken.clear()
        asked = state.asked
        state.writer.work(at_once=asked > state.answered)
        with state.done:
            state.answered = asked
            state.done.notify_all()
            if state.is_ending and state.asked == asked:
                state.is_over = True
                return
        _start_other(state)
        state.writer.rest()


def _start_other(state: _State) -> None:
    """Unless it runs, or has nothing to do: a job that is not flushed may be registered at any time."""
    if state.other.is_alive() or not state.other.jobs():
        return
    thread = threading.Thread(target=_run_other, args=(state,), name="django-pagestats-other", daemon=True)
    with contextlib.suppress(RuntimeError):  # the system has no more threads: the next round tries
        thread.start()
        state.other.thread = thread


def _run_other(state: _State) -> None:
    while True:
        state.other.woken.clear()
        if state.is_ending:
            return
        state.other.work()
        state.other.rest()


# -- the end of a process, and its beginning


def _at_exit() -> None:
    """Write what is left; the threads, which may be in the middle of something, end with that."""
    if _has_tested:
        return
    state = _state
    state.end()
    flush()
    for thread in (state.writer.thread, state.other.thread):
        if thread is not None and state.pid == os.getpid():
            thread.join(0.1)
    tell_left()


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
    until = time.monotonic() + FORK_SECONDS
    for worker in (_state.writer, _state.other):
        if worker.is_alive() and worker.thread is not threading.current_thread():
            worker.is_held = worker.working.acquire(timeout=max(0.0, until - time.monotonic()))


def _after_fork() -> None:
    for worker in (_state.writer, _state.other):
        if worker.is_held:
            worker.is_held = False
            worker.working.release()


def _forget() -> None:
    global _state
    _state = _State()
    for forget in _forgetting:
        forget()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forget)
atexit.register(_at_exit)
