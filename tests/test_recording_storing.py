"""One INSERT of our own, and a database that is down, slow or read-only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models.signals import post_save, pre_save

from django_pagestats import intake
from django_pagestats.models import PageView, Reason
from django_pagestats.recording import direct, record_page_view, suspending
from django_pagestats.recording.storing import store
from testproject.settings import KIND
from tests.recorders import as_a_site, count_database, down, locked, paths, read_only
from tests.test_recording import failing_inserts

NOON = datetime(2025, 5, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)

pytestmark = pytest.mark.django_db(transaction=True)


def row(path: str = "/a", **more: Any) -> intake.Row:
    return intake.row(path=path, session_key="k", viewed_at=NOON, **more)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with as_a_site(monkeypatch):
        yield


class Clock:
    """The clock of suspensions, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(suspending, "time", clock)
    return clock


class TestStore:
    def test_all_values_arrive(self) -> None:
        known = {"source": "café “x”", "device": "mobile"}
        assert store(row("/ü", attributes=known)) is None
        assert PageView.objects.values("path", "session_key", "viewed_at", "attributes").get() == {
            "path": "/ü",
            "session_key": "k",
            "viewed_at": NOON,
            "attributes": known,
        }

    def test_without_attributes_they_are_null(self) -> None:
        store(row())
        assert PageView.objects.filter(attributes__isnull=True).count() == 1

    @pytest.mark.skipif(KIND != "postgresql", reason="an option of psycopg")
    def test_parameters_bound_by_the_server(self, database: dict[str, Any]) -> None:
        database["OPTIONS"] = {**database.get("OPTIONS", {}), "server_side_binding": True}
        connection.close()
        try:
            assert store(row(attributes={"source": "a"})) is None
            assert PageView.objects.get().attributes == {"source": "a"}
        finally:
            connection.close()

    def test_no_signals(self) -> None:
        sent: list[Any] = []

        def receive(sender: Any, **kwargs: Any) -> None:
            sent.append(sender)

        for signal in pre_save, post_save:
            signal.connect(receive, sender=PageView)
        try:
            assert record_page_view(path="/", session_key="k")
        finally:
            for signal in pre_save, post_save:
                signal.disconnect(receive, sender=PageView)
        assert sent == []

    def test_no_savepoint_outside_a_transaction(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(1) as captured:
            store(row())
        assert captured.captured_queries[0]["sql"].startswith("INSERT")

    def test_the_callers_rows_stay_when_an_insert_fails(self) -> None:
        with transaction.atomic():
            PageView.objects.create(path="/before", session_key="k", viewed_at=NOON)
            with failing_inserts():
                assert store(row()) is Reason.DATABASE
            assert store(row("/recorded")) is None
            PageView.objects.create(path="/after", session_key="k", viewed_at=NOON)
        assert paths() == ["/before", "/recorded", "/after"]

    def test_a_savepoint_of_ours_is_put_back_only(self) -> None:
        with transaction.atomic():
            store(row("/kept"))
            try:
                with transaction.atomic():
                    store(row("/undone"))
                    raise LookupError
            except LookupError:
                pass
        assert paths() == ["/kept"]


@pytest.mark.usefixtures("site")
class TestTroubles:
    def test_down(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        with down():
            assert not record_page_view(path="/lost", session_key="k")
            assert "Nothing is recorded in the database 'default' by this process for 30 s" in caplog.text
            caplog.clear()
            assert not record_page_view(path="/lost", session_key="k")
            assert caplog.text == ""  # one message says it, and not each page view
        assert not record_page_view(path="/suspended", session_key="k")
        clock.now += suspending.SECONDS
        assert record_page_view(path="/again", session_key="k")
        assert record_page_view(path="/and again", session_key="k")
        assert paths() == ["/again", "/and again"]
        assert count_database() == 3

    def test_while_suspended_nothing_is_asked(self, clock: Clock, django_assert_num_queries: Any) -> None:
        with failing_inserts():
            assert store(row()) is Reason.DATABASE
        with django_assert_num_queries(0):
            assert store(row()) is Reason.DATABASE
        with connection.cursor():
            clock.now += suspending.SECONDS - 0.1
        with django_assert_num_queries(0):
            assert store(row()) is Reason.DATABASE

    def test_when_the_time_is_over_one_tries_for_all(self, clock: Clock) -> None:
        suspending.suspend("default", "a test")
        clock.now += suspending.SECONDS
        assert [suspending.is_suspended("default") for _time in range(3)] == [False, True, True]
        clock.now += suspending.SECONDS
        assert not suspending.is_suspended("default")

    def test_each_database_by_itself(self, clock: Clock) -> None:
        suspending.suspend("elsewhere", "a test")
        assert suspending.is_suspended("elsewhere")
        assert store(row()) is None
        assert suspending.is_suspended("elsewhere")

    def test_slow(self, clock: Clock, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.PAGESTATS_SLOW_SECONDS = 0.1
        connection.ensure_connection()
        with locked(0.5):
            assert record_page_view(path="/slow", session_key="k")
        assert "(PAGESTATS_SLOW_SECONDS)" in caplog.text
        assert not record_page_view(path="/suspended", session_key="k")
        clock.now += suspending.SECONDS
        assert record_page_view(path="/quick", session_key="k")
        assert paths() == ["/slow", "/quick"]

    def test_slow_inside_a_transaction_of_the_callers(self, settings: Any) -> None:
        settings.PAGESTATS_SLOW_SECONDS = 0.01
        with transaction.atomic():
            with connection.execute_wrapper(slowly):
                assert record_page_view(path="/slow", session_key="k")
            assert not record_page_view(path="/suspended", session_key="k")
        assert paths() == ["/slow"]

    def test_read_only(self, clock: Clock) -> None:
        with read_only():
            assert store(row()) is Reason.DATABASE
            assert suspending.is_suspended("default")
        clock.now += suspending.SECONDS
        assert store(row("/again")) is None
        assert paths() == ["/again"]

    @pytest.mark.parametrize("bad", [("", "k"), ("/\x00", "k"), ("/", "")], ids=repr)
    def test_bad_values_suspend_nothing(self, bad: tuple[str, str]) -> None:
        assert store(intake.Row(*bad, NOON)) is Reason.DATABASE
        assert not record_page_view(path="", session_key="k")
        assert not record_page_view(path="/", session_key="k", using="nowhere")
        assert store(row()) is None
        assert paths() == ["/a"]

    def test_a_broken_transaction_suspends_nothing(self) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            assert store(row()) is Reason.DATABASE
        assert store(row()) is None

    def test_what_fails_in_a_transaction_of_the_callers_suspends_nothing(self) -> None:
        with transaction.atomic(), failing_inserts():
            assert store(row()) is Reason.DATABASE
        assert store(row()) is None

    def test_a_connection_that_was_lost_unseen_costs_one_page_view(self, clock: Clock) -> None:
        if KIND == "sqlite":
            pytest.skip("there is no server to end its sessions")
        from tests.accounts import ask_administrator
        from tests.recorders import session_of

        connection.ensure_connection()
        number = session_of()
        ask_administrator(
            f"SELECT pg_terminate_backend({number})" if KIND == "postgresql" else f"KILL CONNECTION {number}"
        )
        assert store(row()) is Reason.DATABASE
        connections["default"].close()
        clock.now += suspending.SECONDS
        assert store(row("/again")) is None


def slowly(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    import time

    result = execute(sql, params, many, context)
    time.sleep(0.02)
    return result


def test_tests_of_a_site_suspend_nothing() -> None:
    with failing_inserts():
        assert store(row()) is Reason.DATABASE
    assert store(row()) is None


def test_the_statements_name_the_columns_of_the_model() -> None:
    table = "INSERT INTO django_pagestats_pageview"
    assert f"{table} (path, session_key, viewed_at) VALUES (%s, %s, %s)" == direct.SHORT
    assert f"{table} (path, session_key, viewed_at, attributes) VALUES (%s, %s, %s, %s)" == direct.WHOLE
