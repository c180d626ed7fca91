"""The thread of a process: when it begins, what ends it, and that nothing of it is lost or done twice."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_pagestats.models import LeftOut, PageView, Reason
from django_pagestats.recording import background, flush, left_out, working
from testproject.settings import KIND
from tests.cluster import wait_until
from tests.recorders import as_a_site, locked, paths, run_site

RECORD = "from django_pagestats.recording import record_page_view as view, flush\n"


class Job:
    """Something for the thread to do, that notes how often it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.01, **options: bool) -> None:
        self.done = 0
        self.threads: set[int] = set()
        monkeypatch.setattr(background, "_jobs", {})
        background.every(lambda: seconds, self.work, name="a job", **{"is_flushed": True, **options})

    def work(self) -> None:
        self.done += 1
        self.threads.add(threading.get_ident())


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with as_a_site(monkeypatch):
        yield


@pytest.mark.usefixtures("site")
class TestThread:
    def test_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = Job(monkeypatch)
        starters = [threading.Thread(target=background.start) for _ in range(10)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        wait_until(lambda: job.done > 2, "the job is done again and again")
        assert len(job.threads) == 1
        assert sum(thread.name == "django-pagestats" for thread in threading.enumerate()) == 1

    def test_a_job_that_fails_does_not_end_it(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = Job(monkeypatch)

        def fail() -> None:
            raise RuntimeError("no")

        background.every(lambda: 0.01, fail, name="one that fails", is_flushed=False)
        background.start()
        wait_until(lambda: job.done > 3, "the other goes on")
        assert "one that fails failed, and is tried again: RuntimeError: no" in caplog.text

    def test_nor_does_a_log_handler_that_fails_or_an_interval_that_is_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Raising(logging.Handler):
            def handle(self, record: logging.LogRecord) -> bool:
                raise RuntimeError("no log")

        job = Job(monkeypatch)
        background.every(lambda: float("none"), job.work, name="a bad setting", is_flushed=True)
        handler = Raising()
        working.logger.addHandler(handler)
        try:
            background.start()
            wait_until(lambda: job.done > 3, "the other goes on")
        finally:
            working.logger.removeHandler(handler)

    def test_what_is_flushed_is_done_at_once_and_the_rest_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = Job(monkeypatch, seconds=600)
        seldom: list[int] = []
        background.every(lambda: 600, lambda: seldom.append(1), name="seldom", is_flushed=False)
        background.start()
        wait_until(lambda: seldom, "everything is done once in the beginning")
        for done in range(2, 5):
            flush()
            assert job.done == done
        assert seldom == [1]

    @pytest.mark.parametrize("is_registered_first", [True, False])
    def test_what_waits_long_holds_up_no_writing(
        self, is_registered_first: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As keeping up does where somebody else holds a lock: page views are written all the while."""
        begun, goes_on = threading.Event(), threading.Event()

        def wait_long() -> None:
            begun.set()
            goes_on.wait(60)

        job = Job(monkeypatch, seconds=0.01)
        monkeypatch.setattr(background, "FLUSH_SECONDS", 60)
        try:
            if not is_registered_first:
                background.start()
                wait_until(lambda: job.done, "the thread runs")
                assert not background._state.other.is_alive()
            background.every(lambda: 600, wait_long, name="waits long", is_flushed=False)
            background.start()
            assert begun.wait(30)
            done = job.done
            wait_until(lambda: job.done > done + 2, "the other job is done again and again")
            began = time.monotonic()
            flush()
            assert time.monotonic() - began < 30
        finally:
            goes_on.set()
        assert threading.get_ident() not in job.threads
        assert len(job.threads) == 1

    def test_where_nothing_else_is_to_be_done_there_is_no_second_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = Job(monkeypatch)
        background.start()
        wait_until(lambda: job.done > 2, "the job is done again and again")
        assert background._state.other.thread is None

    def test_what_was_left_out_is_written_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        order: list[str] = []
        monkeypatch.setattr(background, "_jobs", {})
        background.every(lambda: 600, lambda: order.append("last"), name="1", is_flushed=True, is_last=True)
        background.every(lambda: 600, lambda: order.append("first"), name="2", is_flushed=True)
        monkeypatch.setattr(background, "_last", {"1"})
        flush()
        assert order == ["first", "last"]

    def test_waiting_for_it_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        goes_on = threading.Event()
        monkeypatch.setattr(background, "_jobs", {})
        background.every(lambda: 600, lambda: goes_on.wait(30) and None, name="hangs", is_flushed=True)
        monkeypatch.setattr(background, "FLUSH_SECONDS", 0.1)
        background.start()
        began = time.monotonic()
        flush()
        assert time.monotonic() - began < 10
        goes_on.set()

    def test_where_no_thread_can_be_started_flush_does_it_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def cannot(self: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        job = Job(monkeypatch)
        monkeypatch.setattr(threading.Thread, "start", cannot)
        background.start()
        flush()
        assert job.threads == {threading.get_ident()}


def test_in_a_test_environment_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(monkeypatch)
    background.start()
    assert not background._state.writer.is_alive()
    flush()
    assert job.threads == {threading.get_ident()}


def test_what_is_left_of_tests_is_not_written_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go to the database of the site, which the settings name again."""
    job = Job(monkeypatch)
    monkeypatch.setattr(background, "_has_tested", False)
    background.start()
    monkeypatch.setattr(background, "is_testing", lambda: False)
    background._at_exit()
    assert job.done == 0


@pytest.mark.django_db(transaction=True)
class TestProcess:
    def test_the_end_of_a_process(self) -> None:
        run_site(RECORD + "for n in range(3): view(path=f'/{n}', session_key='k')", PAGESTATS_BUFFER="1")
        assert paths() == ["/0", "/1", "/2"]

    def test_an_exit_in_the_middle(self) -> None:
        script = "view(path='/a', session_key='k')\nimport sys\ntry: 1 / 0\nexcept ArithmeticError: sys.exit(0)"
        run_site(RECORD + script, PAGESTATS_BUFFER="1")
        assert paths() == ["/a"]

    def test_what_was_left_out_is_written_at_the_end(self) -> None:
        run_site(RECORD + "view(path='', session_key='k')\nview(path='/a', session_key='')")
        found = dict(LeftOut.objects.values_list("reason", "count"))
        assert found == {Reason.INVALID_PATH: 1, Reason.INVALID_SESSION_KEY: 1}

    def test_after_a_fork(self) -> None:
        """Right after it: the child has its own thread, and what the parent had gathered is the parent's."""
        script = """
import os
view(path='/parent', session_key='k')
view(path='', session_key='k')
if pid := os.fork():
    assert os.waitpid(pid, 0)[1] == 0
else:
    view(path='/child', session_key='k')
    from django_pagestats.recording import background
    assert background._state.writer.is_alive()
    flush()
    os._exit(0)
"""
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="600")
        assert sorted(paths()) == ["/child", "/parent"]  # the parent's may be in the first round of its thread
        assert LeftOut.objects.get(reason=Reason.INVALID_PATH).count == 1

    def test_after_a_fork_in_the_middle_of_a_write(self) -> None:
        """Whatever locks the parent's thread holds, the child has others."""
        script = """
import os, threading
from django_pagestats.recording import buffering, background, left_out
begun, goes_on = threading.Event(), threading.Event()
write = buffering._write_batch
def slow(*arguments):
    with buffering._buffer._lock, left_out._lock, background._state.lock:
        begun.set()
        goes_on.wait(30)
    write(*arguments)
buffering._write_batch = slow
view(path='/parent', session_key='k')
begun.wait(30)
if pid := os.fork():
    status = os.waitpid(pid, 0)[1]
    goes_on.set()
    assert status == 0
else:
    buffering._write_batch = write
    view(path='/child', session_key='k')
    flush()
    os._exit(0)
"""
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="0.01")
        assert sorted(paths()) == ["/child", "/parent"]

    def test_a_fork_waits_until_the_thread_does_nothing(self) -> None:
        """In the middle of a statement the driver holds locks of its own, which nobody would give back in the child."""
        script = """
import os, time
from django_pagestats.recording import buffering
write, begun = buffering._write_batch, []
def slow(*arguments):
    begun.append(1)
    time.sleep(0.5)
    write(*arguments)
    begun.clear()
buffering._write_batch = slow
view(path='/parent', session_key='k')
while not begun:
    time.sleep(0.01)
if pid := os.fork():
    assert os.waitpid(pid, 0)[1] == 0
else:
    os._exit(len(begun))
"""
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="0.01")
        assert paths() == ["/parent"]

    def test_the_end_does_not_wait_for_what_is_no_writing(self) -> None:
        script = """
import threading, time
from django_pagestats.recording import background
begun = threading.Event()
background.every(lambda: 600, lambda: begun.set() or time.sleep(50), name="waits long", is_flushed=False)
view(path='/a', session_key='k')
assert begun.wait(30)
"""
        began = time.monotonic()
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="600")
        assert time.monotonic() - began < 40
        assert paths() == ["/a"]

    def test_a_fork_waits_for_both_threads_but_not_for_ever(self) -> None:
        """Afterwards both go on; what the second one was busy with is not begun by the child."""
        script = """
import os, threading
from django_pagestats.recording import background
background.FORK_SECONDS = 0.2
begun, goes_on, done = threading.Event(), threading.Event(), []
def wait_long():
    begun.set()
    goes_on.wait(30)
    done.append(os.getpid())
background.every(lambda: 0.05, wait_long, name="waits long", is_flushed=False)
view(path='/parent', session_key='k')
assert begun.wait(30)
if pid := os.fork():
    assert os.waitpid(pid, 0)[1] == 0
    goes_on.set()
    while len(done) < 2:
        pass
    assert set(done) == {os.getpid()}
else:
    assert background._state.other.thread is None and background._state.other.working.acquire(timeout=0)
    background._state.other.working.release()
    view(path='/child', session_key='k')
    flush()
    os._exit(0)
"""
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="600")
        assert sorted(paths()) == ["/child", "/parent"]

    def test_a_child_of_multiprocessing(self) -> None:
        """As a worker of django-q2 is one: it ends without what Python runs at the end of others."""
        script = """
import multiprocessing
def work():
    view(path='/child', session_key='k')
child = multiprocessing.get_context('fork').Process(target=work)
child.start()
child.join()
assert child.exitcode == 0
"""
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="600")
        assert paths() == ["/child"]

    def test_uwsgi(self) -> None:
        """Which ends without what Python runs at the end, and calls this; what the site had set there is called too."""
        script = """
import sys, types, atexit
uwsgi = sys.modules['uwsgi'] = types.ModuleType('uwsgi')
uwsgi.atexit = lambda: print("the site's own")
view(path='/a', session_key='k')
uwsgi.atexit()
sys.stdout.flush()
import os
os._exit(0)
"""
        assert "the site's own" in run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="600")
        assert paths() == ["/a"]

    def test_a_database_that_hangs_does_not_hold_up_the_end(self) -> None:
        script = "from django_pagestats.recording import background\nbackground.FLUSH_SECONDS = 0.5\n" + (
            RECORD
            + "view(path='/a', session_key='k')\nview(path='/b', session_key='k')\nview(path='', session_key='k')"
        )
        began = time.monotonic()
        if KIND == "sqlite":
            connection.ensure_connection()
            with locked(60):
                said = run_site(script, PAGESTATS_BUFFER="1", timeout=40)
        else:
            with socket.create_server(("127.0.0.1", 0)) as deaf:
                port = {"postgresql": "PAGESTATS_PG_PORT", "mariadb": "PAGESTATS_MARIADB_PORT"}[KIND]
                said = run_site(script, PAGESTATS_BUFFER="1", timeout=40, **{port: str(deaf.getsockname()[1])})
        assert time.monotonic() - began < 20
        assert paths() == []
        assert "2 page views were not written when the process ended" in said
        assert "how many page views were left out was not written when the process ended: 1 invalid_path" in said

    def test_a_database_that_is_down_at_the_end_is_said(self) -> None:
        places = {"sqlite": "PAGESTATS_DB_NAME", "postgresql": "PAGESTATS_PG_PORT", "mariadb": "PAGESTATS_MARIADB_PORT"}
        nowhere = {places[KIND]: "/nowhere/db.sqlite3" if KIND == "sqlite" else "1"}
        said = run_site(RECORD + "view(path='/a', session_key='k')", PAGESTATS_BUFFER="1", **nowhere)
        assert "1 page views were not recorded" in said
        assert "how many page views were left out was not written when the process ended: 1 database" in said

    def test_where_all_is_written_the_end_says_nothing(self) -> None:
        script = "view(path='/a', session_key='k')\nview(path='', session_key='k')"
        assert "when the process ended" not in run_site(RECORD + script, PAGESTATS_BUFFER="1")

    def test_a_connection_that_is_lost_at_the_end_is_not_the_last(self) -> None:
        script = """
from django.db import OperationalError
from django_pagestats import intake
tries, insert = [], intake.insert
def lost_twice(*arguments, **options):
    tries.append(0)
    if len(tries) < 3:
        raise OperationalError("the connection is lost")
    return insert(*arguments, **options)
intake.insert = lost_twice
for n in range(3): view(path=f'/{n}', session_key='k')
"""
        run_site(RECORD + script, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="600")
        assert paths() == ["/0", "/1", "/2"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("site")
def test_what_was_left_out_is_written_once_with_many_who_count(settings: Any) -> None:
    counters = [
        threading.Thread(target=lambda: [left_out.count(Reason.ROBOT) for _ in range(500)] and None) for _ in range(4)
    ]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
        flush()
    flush()
    assert LeftOut.objects.get(reason=Reason.ROBOT).count == 2_000
    assert PageView.objects.count() == 0
