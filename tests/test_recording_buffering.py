"""Page views in the buffer: when they are written, and what becomes of them when they cannot be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from django_pagestats import intake
from django_pagestats.models import LeftOut, PageView, Reason
from django_pagestats.recording import background, buffering, flush, left_out, record_page_view, trying
from django_pagestats.recording.storing import store
from testproject.settings import KIND
from tests.cluster import wait_until
from tests.recorders import as_a_site, count_database, down, locked, paths, read_only, session_of
from tests.test_recording import failing_inserts

NOON = datetime(2025, 5, 1, 12, tzinfo=timezone.utc)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("buffered")]


@pytest.fixture
def buffered(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_BUFFER = True
    settings.PAGESTATS_BUFFER_SECONDS = 600
    monkeypatch.setattr(buffering, "_buffer", buffering.Buffer())


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with as_a_site(monkeypatch):
        yield


def record(*paths: str) -> None:
    for path in paths:
        assert record_page_view(path=path, session_key="k", viewed_at=NOON)


class TestFlushed:
    """In a test environment there is no thread: nothing is written but by flush(), on the connection of the test."""

    def test_no_query_until_it_is_flushed(self, django_assert_num_queries: Any) -> None:
        known = {"source": "café"}
        with django_assert_num_queries(0):
            assert record_page_view(path="/ü", session_key="k", viewed_at=NOON, attributes=known)
            record("/b")
        assert buffering.size() == 2
        flush()
        assert buffering.size() == 0
        assert list(PageView.objects.order_by("pk").values_list("path", "viewed_at", "attributes")) == [
            ("/ü", NOON, known),
            ("/b", NOON, None),
        ]

    def test_the_time_is_that_of_the_page_view(self) -> None:
        before = datetime.now(timezone.utc)
        record_page_view(path="/", session_key="k")
        after = datetime.now(timezone.utc)
        flush()
        assert before <= PageView.objects.get().viewed_at <= after

    def test_one_insert_for_many(self, django_assert_num_queries: Any) -> None:
        record(*map(str, range(500)))
        with connection.execute_wrapper(inserts := Inserts()):
            flush()
        assert inserts.count == 1
        assert PageView.objects.count() == 500

    def test_in_an_event_loop(self) -> None:
        async def view() -> Reason | None:
            return store(intake.row(path="/", session_key="k"), using=None)

        assert asyncio.run(view()) is None
        flush()
        assert paths() == ["/"]

    def test_recorded_though_the_transaction_is_rolled_back(self) -> None:
        with transaction.atomic():
            record("/a")
            transaction.set_rollback(True)
        flush()
        assert paths() == ["/a"]

    def test_beyond_the_limit(self, settings: Any) -> None:
        settings.PAGESTATS_BUFFER_LIMIT = 3
        record("/a", "/b", "/c")
        assert store(intake.row(path="/d", session_key="k")) is Reason.BUFFER_FULL
        assert not record_page_view(path="/e", session_key="k")
        flush()
        record("/f")
        flush()
        assert paths() == ["/a", "/b", "/c", "/f"]
        assert LeftOut.objects.get(reason=Reason.BUFFER_FULL).count == 2

    def test_what_is_refused_costs_itself_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        record(*(f"/{number}" for number in range(20)))
        store(intake.Row("", "k", NOON))
        record("/last")
        flush()
        assert paths() == [*(f"/{number}" for number in range(20)), "/last"]
        assert LeftOut.objects.get(reason=Reason.DATABASE).count == 1
        assert "1 page views were not recorded" in caplog.text
        assert buffering.size() == 0

    @pytest.mark.parametrize("trouble", [down, read_only, failing_inserts], ids=lambda trouble: trouble.__name__)
    def test_what_surely_failed_is_tried_again(self, trouble: Any, caplog: pytest.LogCaptureFixture) -> None:
        record("/a", "/b")
        with trouble():
            flush()
            flush()
        record("/c")
        assert "2 page views wait to be written" in caplog.text
        flush()
        assert paths() == ["/a", "/b", "/c"]
        assert count_database() == 0

    def test_however_often_it_was_flushed_they_are_kept(self) -> None:
        record("/a", "/b")
        with failing_inserts():
            for _time in range(120):
                flush()
        assert buffering.size() == 2
        flush()
        assert paths() == ["/a", "/b"]
        assert count_database() == 0

    def test_after_an_hour_they_are_left_out(self) -> None:
        record("/a", "/b")
        with failing_inserts():
            flush()
            failing = next(iter(buffering._buffer.failing.values()))
            failing.since -= 3_590
            flush()
            assert buffering.size() == 2
            failing.since -= 10
            flush()
        assert buffering.size() == 0
        record("/c")
        flush()
        assert paths() == ["/c"]
        assert LeftOut.objects.get(reason=Reason.DATABASE).count == 2

    def test_kept_page_views_count_for_the_limit(self, settings: Any) -> None:
        settings.PAGESTATS_BUFFER_LIMIT = 2
        record("/a", "/b")
        with failing_inserts():
            flush()
            assert store(intake.row(path="/c", session_key="k")) is Reason.BUFFER_FULL

    @pytest.mark.parametrize("is_done", [True, False])
    def test_a_commit_that_may_be_done_is_not_tried_again(
        self, is_done: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        record("/a", "/b")
        with lost_commits(is_done):
            flush()
        connection.close()
        assert buffering.size() == 0
        flush()
        assert paths() == (["/a", "/b"] if is_done else [])
        assert LeftOut.objects.get(reason=Reason.DATABASE).count == 2
        assert "2 page views were not recorded" in caplog.text

    @pytest.mark.skipif(KIND == "sqlite", reason="there is no server to end its sessions")
    def test_a_session_that_ends_before_the_insert(self) -> None:
        record("/a", "/b")
        with connection.execute_wrapper(ends_the_session):
            flush()
        flush()
        assert paths() == ["/a", "/b"]

    @pytest.mark.skipif(KIND != "sqlite", reason="others have no lock of the whole database")
    def test_a_database_that_is_locked(self, database: dict[str, Any]) -> None:
        database["OPTIONS"] = {**database["OPTIONS"], "timeout": 0.05}
        connection.close()
        record("/a")
        with locked(30):
            flush()
            assert buffering.size() == 1
        flush()
        assert paths() == ["/a"]
        connection.close()


class Inserts:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += sql.startswith("INSERT INTO django_pagestats_pageview")
        return execute(sql, params, many, context)


@contextmanager
def lost_commits(is_done: bool) -> Iterator[None]:
    """The connection is lost at the first COMMIT of page views: the server has got it, or it has not."""
    wrapper = type(connections["default"])
    commit = wrapper._commit
    lost: list[Any] = []

    def lose(self: Any) -> None:
        if lost or not inserts.count:
            return commit(self)
        lost.append(self)
        if is_done:
            commit(self)
        else:
            self.connection.rollback()
        if KIND == "postgresql":  # as the driver has it: without a state that the server would have given
            raise OperationalError("server closed the connection unexpectedly") from LostError()
        raise OperationalError(2013, "Lost connection to server during query")

    inserts = Inserts()
    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(inserts):
        patch.setattr(wrapper, "_commit", lose)
        yield
    assert lost


class LostError(Exception):
    sqlstate = None


def ends_the_session(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("INSERT INTO django_pagestats_pageview"):
        from tests.accounts import ask_administrator

        number = session_of()
        kill = f"SELECT pg_terminate_backend({number})" if KIND == "postgresql" else f"KILL CONNECTION {number}"
        ask_administrator(kill)
    return execute(sql, params, many, context)


@pytest.mark.usefixtures("site")
class TestThread:
    def test_within_the_seconds(self, settings: Any) -> None:
        settings.PAGESTATS_BUFFER_SECONDS = 0.05
        record("/a")
        wait_until(lambda: paths() == ["/a"], "the first page view is written")
        record("/b")
        wait_until(lambda: paths() == ["/a", "/b"], "the next one is written")

    def test_as_soon_as_there_are_so_many(self, settings: Any) -> None:
        settings.PAGESTATS_BUFFER_ROWS = 10
        record(*map(str, range(9)))
        assert paths() == []
        record("9")
        wait_until(lambda: len(paths()) == 10, "ten page views are written")

    def test_what_comes_while_others_are_written(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.PAGESTATS_BUFFER_SECONDS = 0.05
        begins, goes_on = threading.Event(), threading.Event()
        write = buffering._write_batch

        def slow(*arguments: Any) -> None:
            begins.set()
            assert goes_on.wait(30)
            write(*arguments)

        monkeypatch.setattr(buffering, "_write_batch", slow)
        record("/a")
        assert begins.wait(30)
        record("/b")
        goes_on.set()
        wait_until(lambda: paths() == ["/a", "/b"], "both are written")

    def test_exact_with_many_threads(self, settings: Any) -> None:
        settings.PAGESTATS_BUFFER_SECONDS = 0.01
        settings.PAGESTATS_BUFFER_ROWS = 7

        def visit(number: int) -> None:
            record(*(f"/{number}/{view}" for view in range(200)))

        visitors = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        flush()
        assert sorted(paths()) == sorted(f"/{number}/{view}" for number in range(8) for view in range(200))

    def test_flush_waits_until_all_is_written(self) -> None:
        record("/a", "/b")
        flush()
        assert paths() == ["/a", "/b"]

    def test_flush_in_a_transaction_does_not_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(background, "FLUSH_SECONDS", 60)
        began = time.monotonic()
        with transaction.atomic():
            PageView.objects.create(path="/of the caller", session_key="k", viewed_at=NOON)  # SQLite: the write lock
            record("/buffered")
            flush()
            transaction.set_rollback(True)
        assert time.monotonic() - began < 30
        wait_until(lambda: paths() == ["/buffered"], "it is written")

    def test_flush_in_an_event_loop_does_not_wait(self) -> None:
        async def view() -> None:
            record("/a")
            flush()

        asyncio.run(view())
        wait_until(lambda: paths() == ["/a"], "it is written")

    def test_its_connection_is_closed_after_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[Any] = []
        write = buffering._write_batch

        def noted(*arguments: Any) -> None:
            write(*arguments)
            opened.append(connections["default"])

        monkeypatch.setattr(buffering, "_write_batch", noted)
        record("/a")
        flush()
        assert [held.connection for held in opened] == [None]

    def test_a_database_that_comes_back(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(buffering, "LONGEST_REST_SECONDS", 0.05)
        settings.PAGESTATS_BUFFER_SECONDS = 0.02
        failed = threading.Event()
        insert = intake.insert

        def failing(*arguments: Any, **options: Any) -> int:
            if not failed.is_set():
                failed.set()
                raise OperationalError("no")
            return insert(*arguments, **options)

        monkeypatch.setattr(intake, "insert", failing)
        record("/a", "/b")
        wait_until(lambda: paths() == ["/a", "/b"], "they are written at the second try")
        assert failed.is_set()

    def test_who_flushes_has_it_tried_again_on_another_connection(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As at the end of a process, which nobody follows: one was kept in a pool while the server started anew."""
        settings.PAGESTATS_BUFFER_LIMIT = 3
        tried, insert = [], intake.insert

        def lost_twice(*arguments: Any, **options: Any) -> int:
            tried.append(connections["default"].connection)
            if len(tried) < 3:
                raise OperationalError("the connection is lost")
            return insert(*arguments, **options)

        monkeypatch.setattr(intake, "insert", lost_twice)
        record("/a", "/b")
        flush()
        assert paths() == ["/a", "/b"]
        assert len({id(held) for held in tried}) == 3
        record("/c", "/d", "/e")  # there is room for as many as before

    def test_but_not_for_ever_and_not_where_nobody_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tries: list[float] = []

        def failing(*arguments: Any, **options: Any) -> int:
            tries.append(0.0)
            raise OperationalError("no")

        with monkeypatch.context() as patch:
            patch.setattr(intake, "insert", failing)
            record("/a")
            background.wake(buffering.NAME)
            wait_until(lambda: buffering._buffer.failing, "it is tried")
            assert len(tries) == 1
            flush()
            assert len(tries) == 1 + 3
            patch.setattr(trying, "SECONDS", 0.0)
            flush()
            assert len(tries) == 1 + 3 + 1
        flush()
        assert paths() == ["/a"]

    def test_how_many_were_left_out_is_tried_again_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried, add = [], left_out.add

        def lost_twice(*arguments: Any) -> None:
            tried.append(0)
            if len(tried) < 3:
                raise OperationalError("the connection is lost")
            add(*arguments)

        monkeypatch.setattr(left_out, "add", lost_twice)
        left_out.count(Reason.ROBOT, number=7)
        flush()
        assert LeftOut.objects.get(reason=Reason.ROBOT).count == 7

    def test_while_it_fails_it_rests(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        """However many page views come: a database that is down is asked seldom."""
        settings.PAGESTATS_BUFFER_ROWS = 1
        tries: list[float] = []

        def failing(*arguments: Any, **options: Any) -> int:
            tries.append(0.0)
            raise OperationalError("no")

        with monkeypatch.context() as patch:
            patch.setattr(intake, "insert", failing)
            record("/a")
            wait_until(lambda: buffering._buffer.failing, "it is tried")
            place = next(iter(buffering._buffer.failing))
            buffering._buffer.failing[place].next_at += 600
            record("/b", "/c", "/d")
            background.wake(buffering.NAME)
            wait_until(lambda: not background._state.writer.woken.is_set(), "the thread has looked")
            assert len(tries) == 1
        flush()
        assert paths() == ["/a", "/b", "/c", "/d"]


def test_each_page_view_has_its_own_time_and_order() -> None:
    for hour in range(5):
        assert record_page_view(path=f"/{hour}", session_key="k", viewed_at=NOON + timedelta(hours=hour))
    flush()
    assert list(PageView.objects.order_by("pk").values_list("viewed_at", flat=True)) == [
        NOON + timedelta(hours=hour) for hour in range(5)
    ]


@pytest.mark.parametrize("is_in_transaction", [False, True])
def test_the_pool_is_asked_which_of_its_connections_are_broken(
    is_in_transaction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are, where the server has started anew; and none is touched in a transaction of the caller's."""
    done: list[str] = []
    pool = SimpleNamespace(check=lambda: done.append("check"))
    pooled = SimpleNamespace(in_atomic_block=is_in_transaction, close=lambda: done.append("close"), pool=pool)
    monkeypatch.setattr(trying, "connections", {"default": pooled})
    assert trying._renew("default") is not is_in_transaction
    assert done == ([] if is_in_transaction else ["close", "check"])
