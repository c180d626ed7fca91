"""What becomes of a run whose chunk fails: it shrinks and is tried again, or fails and says where; nothing is left."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.signals import connection_created
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_pagestats import backfill, folding
from django_pagestats.backfill import failing
from django_pagestats.backfill.chain import brief_transaction
from django_pagestats.exceptions import RunLockedError
from django_pagestats.folding.reading import Reader
from django_pagestats.merging import Trouble, copying, database_for
from django_pagestats.models import BackfillRun, Generation, Subject, Visitor
from testproject.settings import ADMINISTRATOR
from tests.chains import (
    Links,
    Other,
    active_generation,
    assert_all_counted,
    assert_exact,
    expire_lease,
    lose,
    only_on,
    the_run,
    unused_ids,
)
from tests.factories import make_page_views
from tests.patching import replace
from tests.test_backfill import raising
from tests.test_ids import run_at_once

pytestmark = pytest.mark.usefixtures("short_waits")

Database = type(database_for("default"))
#: it fails, and does not hang, if nobody takes the lock away
LOCK_WAIT = {"postgresql": "SET lock_timeout = '20s'", "mysql": "SET innodb_lock_wait_timeout = 20"}
LOCKED = OperationalError("somebody else was faster")


def failing_merge(monkeypatch: pytest.MonkeyPatch, error: Exception, *, times: int = 10**6) -> None:
    monkeypatch.setattr(Database, "merge", raising(error, times=times, original=Database.merge))


# -- trying again


@pytest.mark.django_db
def test_what_may_pass_is_tried_again_with_a_quarter_of_the_page_views(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(2_000)
    links = Links()
    links.start()
    failing_merge(monkeypatch, LOCKED, times=2)
    links.deliver_next()
    run = the_run()
    assert (run.status, run.chunk_size, run.failure_count) == ("running", 125, 0)
    first, last = active_generation().cursor + 1, run.start_cursor + 500
    assert run.error == f"Page views {first} to {last} could not be folded. OperationalError: somebody else was faster"
    links.deliver_next()
    assert the_run().chunk_size == 31
    links.deliver_next()
    assert the_run().rows_folded == 31
    links.drain()
    assert the_run().status == "succeeded"
    assert the_run().error == ""
    assert_all_counted()


@pytest.mark.django_db
def test_at_the_smallest_chunk_so_many_tries_fail_the_run_and_name_the_page_view(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PAGESTATS_MAX_FAILURES = 3
    make_page_views(60)
    links = Links()
    links.start(chunk_size=20)
    links.deliver_next()
    first = active_generation().cursor + 1
    failing_merge(monkeypatch, LOCKED)
    sizes = []
    while the_run().is_active:
        links.deliver_next()
        sizes.append(the_run().chunk_size)
    assert sizes == [5, 1, 1, 1, 1], "two smaller ones, then three tries"
    run = the_run()
    assert (run.status, run.active_key, run.failure_count, run.rows_folded) == ("failed", None, 3, 20)
    assert run.error == (
        f"Page view {first} could not be folded. OperationalError: somebody else was faster (tried 3 times in a row)"
    )
    assert run.traceback is not None and "somebody else was faster" in run.traceback and "_fold" in run.traceback
    monkeypatch.undo()
    with links.commits():
        assert backfill.resume("default", via="test", enqueue=links.enqueue).outcome == "done"
    assert the_run().traceback is None
    links.drain()
    assert_all_counted()


@pytest.mark.django_db
def test_a_chunk_that_cannot_even_be_read_is_named_by_where_it_begins(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PAGESTATS_MAX_FAILURES = 1
    make_page_views(5)
    monkeypatch.setattr(Reader, "read", raising(OperationalError("gone")))
    backfill.run_here("default", via="test", chunk_size=1)
    assert the_run().error.startswith(f"The page views after {active_generation().cursor} could not be folded. ")


@pytest.mark.django_db
def test_a_fixed_chunk_size_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(300)
    links = Links()
    links.start(chunk_size=20)
    failing_merge(monkeypatch, LOCKED, times=2)
    links.drain()
    assert (the_run().chunk_size, the_run().fixed_chunk_size) == (20, 20)
    assert_all_counted()


@pytest.mark.django_db
def test_a_success_in_between_begins_the_count_anew(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PAGESTATS_MAX_FAILURES = 2
    make_page_views(8)
    merge = Database.merge
    calls = []

    def fail_every_second(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) % 2:
            raise LOCKED
        return merge(*args, **kwargs)

    monkeypatch.setattr(Database, "merge", fail_every_second)
    links = Links()
    links.start(chunk_size=1)
    links.drain()
    assert the_run().status == "succeeded" and len(calls) == 16
    assert_all_counted()


def test_waits_grow() -> None:
    waits = [failing.wait_seconds(tries) for tries in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[:3] == [0.2, 0.4, 0.8] and waits[-1] == failing.MOST_WAIT_SECONDS


@pytest.mark.django_db
def test_the_wait_before_each_try_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: rests.append(seconds))
    make_page_views(30)
    failing_merge(monkeypatch, LOCKED, times=3)
    backfill.run_here("default", via="test", chunk_size=30)
    waits = [rest for rest in rests if rest > 0]
    assert waits[:3] == [0.2, 0.4, 1.6], "the last one was at the smallest size"


@pytest.mark.django_db
def test_ids_that_the_database_lost_with_the_connection_are_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover to a replica that was behind: ids are committed before the chunk that needs them."""
    make_page_views(60)
    merge = Database.merge
    calls = []

    def lose_the_last_commits(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            lost.append(unused_ids())
            raise OperationalError("the server has gone away")
        return merge(*args, **kwargs)

    def rest(seconds: float, using: str) -> None:
        lose(lost.pop() if lost else ())  # the chunk is rolled back by now

    lost: list[list[Visitor | Subject]] = []
    replace(monkeypatch.setattr, folding.rest, rest)
    monkeypatch.setattr(Database, "merge", lose_the_last_commits)
    backfill.run_here("default", via="test", chunk_size=20)
    assert len(calls) > 3
    assert_all_counted()


# -- what no other try would help


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["backfill", "rebuild"])
def test_an_unexpected_exception_fails_the_run_at_once_with_its_traceback(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(40)
    links = Links()
    links.start(kind, chunk_size=10)
    links.deliver_next()
    failing_merge(monkeypatch, ValueError("odd"))
    links.deliver_next()
    run = the_run()
    assert (run.status, run.rows_folded, links.sent) == ("failed", 10, [])
    begin = run.start_cursor + 10
    assert run.error == f"An unexpected error at page views {begin + 1} to {begin + 10}: ValueError: odd"
    assert run.traceback is not None
    assert run.traceback.startswith("Traceback") and run.traceback.rstrip().endswith("ValueError: odd")
    assert "raise error" in run.traceback
    monkeypatch.undo()
    with links.commits():
        backfill.resume("default", via="test", enqueue=links.enqueue)
    links.drain()
    assert the_run().status == "succeeded"
    assert_all_counted()


def test_of_a_long_traceback_the_end_is_kept() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("x" * 30_000 + "the end")

    with pytest.raises(ValueError) as caught:
        deep(3)
    text = failing.traceback_of(caught.value)
    assert len(text) == failing.TRACEBACK_CHARACTERS and text.rstrip().endswith("the end")


# -- errors of real databases


@pytest.fixture
def other() -> Iterator[Other]:
    with Other() as other:
        yield other


def error_of(call: Callable[[], object]) -> DatabaseError | InterfaceError:
    with pytest.raises((DatabaseError, InterfaceError)) as caught:
        call()
    return caught.value


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_a_dead_lock_passes(other: Other) -> None:
    make_page_views(2)
    ids = [view.pk for view in Generation.objects.bulk_create(_generations(2))]
    statement = "UPDATE django_pagestats_generation SET revision = 1 WHERE id = %s"

    other.connection.inc_thread_sharing()

    def cross() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, [ids[0]])
            other.execute(statement, [ids[1]])
            thread = threading.Thread(target=lambda: theirs.append(_error_or_none(other, statement, ids[0])))
            thread.start()
            try:
                cursor.execute(statement, [ids[1]])
            finally:
                threads.append(thread)

    theirs: list[Exception | None] = []
    threads: list[threading.Thread] = []
    try:
        cross()
        ours = None
    except OperationalError as error:
        ours = error
    threads[0].join()
    found = ours or theirs[0]
    assert found is not None and failing.may_pass("default", found)


def _generations(count: int) -> list[Generation]:
    return [Generation(time_zone="UTC", created_at=timezone.now()) for _ in range(count)]


def _error_or_none(other: Other, statement: str, pk: int) -> Exception | None:
    try:
        other.execute(statement, [pk])
    except OperationalError as error:
        return error
    return None


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_statement_time_outs_and_lost_connections_pass(other: Other) -> None:
    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    run("SET statement_timeout = 50")
    assert failing.may_pass("default", error_of(lambda: run("SELECT pg_sleep(1)")))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert failing.may_pass("default", error_of(lambda: run("SELECT 1")))
    failing.reconnect("default", seconds=0)
    run("SELECT 1")


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_says_so() -> None:
    make_page_views(5)
    links = Links()
    links.start(chunk_size=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        error = error_of(lambda: Generation.objects.update(revision=1))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
    assert failing.may_pass("default", error)
    assert failing.describe("default", error).startswith("The database is read-only: a replica, or set so. ")


@only_on("mysql")
@pytest.mark.django_db(transaction=True)
def test_a_read_only_mariadb_says_so() -> None:
    make_page_views(5)
    Links().start(chunk_size=5)

    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute("START TRANSACTION READ ONLY")
            try:
                cursor.execute("UPDATE django_pagestats_generation SET revision = 1")
            finally:
                cursor.execute("ROLLBACK")

    error = error_of(write)
    assert database_for("default").trouble(error) is Trouble.READ_ONLY


def page_count() -> int:
    """Pages of the file of SQLite, once it has given back those that other tests left empty."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA page_count")
        count: int = cursor.fetchone()[0]
    return count


@only_on("sqlite")
@pytest.mark.django_db(transaction=True)
def test_a_read_only_or_full_sqlite_says_so() -> None:
    make_page_views(50)
    Links().start(chunk_size=5)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = on")
        error = error_of(lambda: Generation.objects.update(revision=1))
        cursor.execute("PRAGMA query_only = off")
        assert database_for("default").trouble(error) is Trouble.READ_ONLY
        cursor.execute(f"PRAGMA max_page_count = {page_count()}")
        try:
            error = error_of(lambda: make_page_views(5_000))
        finally:
            cursor.execute("PRAGMA max_page_count = 1073741823")
    assert failing.may_pass("default", error)
    assert failing.describe("default", error).startswith("The disk of the database is full. ")


@only_on("sqlite")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_run_on_a_full_disk_fails_with_its_text_or_says_it_where_it_can(settings: Any) -> None:
    settings.PAGESTATS_MAX_FAILURES = 1
    make_page_views(3_000, visitors=3_000)
    Links().start(chunk_size=1_000)
    pages = page_count()

    def fill_up(connection: Any, **kwargs: Any) -> None:
        connection.connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    connection_created.connect(fill_up)  # each connection has a limit of its own
    connection.close()
    try:
        with pytest.raises(CommandError, match=r"disk (of the database )?is full"):
            call_command("backfill_aggregates", "--sync", verbosity=0)
    finally:
        connection_created.disconnect(fill_up)
    assert not connection.in_atomic_block
    connection.close()
    assert_exact()
    call_command("backfill_aggregates", "--resume" if the_run().status == "failed" else "--sync", "--sync", verbosity=0)
    assert_all_counted()


@pytest.mark.django_db(transaction=True)
def test_a_failure_leaves_no_transaction_no_lock_and_no_temporary_table(
    monkeypatch: pytest.MonkeyPatch, settings: Any, other: Other
) -> None:
    settings.PAGESTATS_MAX_FAILURES = 1
    make_page_views(30)
    merge = Database.merge

    def fail_at_the_end(*args: Any, **kwargs: Any) -> Any:
        merge(*args, **kwargs)
        raise ValueError("odd")

    monkeypatch.setattr(Database, "merge", fail_at_the_end)
    backfill.run_here("default", via="test", chunk_size=30)
    assert the_run().status == "failed"
    assert not connection.in_atomic_block and connection.get_autocommit()
    # another session gets every row at once
    if connection.vendor == "postgresql":
        other.execute("SET lock_timeout = '1s'")
    elif connection.vendor == "mysql":
        other.execute("SET SESSION innodb_lock_wait_timeout = 1")
    else:
        other.execute("PRAGMA busy_timeout = 500")
    other.execute("UPDATE django_pagestats_backfillrun SET actor = 'x'")
    other.execute("UPDATE django_pagestats_generation SET revision = revision + 1")
    other.rollback()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")
            assert cursor.fetchone()[0] == 0


# -- a worker that is frozen in its chunk


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["pause", "cancel", "change_nice", "revive", "run_here", "work"])
def test_a_locked_run_is_told_and_nothing_waits_for_ever(
    verb: str, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_pagestats.backfill.chain.LOCK_SECONDS", 1)
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    if verb == "revive":
        expire_lease()
    other.execute("UPDATE django_pagestats_backfillrun SET actor = 'frozen' WHERE id = %s", [the_run().pk])
    calls: dict[str, Callable[[], object]] = {
        "pause": lambda: backfill.pause("default", via="test"),
        "cancel": lambda: backfill.cancel("default", via="test"),
        "change_nice": lambda: backfill.change_nice("default", 2.0, via="test"),
        "revive": links.revive,
        "run_here": lambda: backfill.run_here("default", via="test"),
        "work": lambda: links.deliver(links.sent[0]),
    }
    cure = {"postgresql": r"pg_terminate_backend\(\d+\)", "mysql": "to users with the PROCESS privilege"}[
        connection.vendor
    ]
    with pytest.raises(RunLockedError, match=f"for longer than a chunk should last: .* {cure}") as caught:
        calls[verb]()
    assert "nothing was changed" in str(caught.value)
    assert not connection.in_atomic_block
    other.rollback()
    expire_lease()
    links.revive()
    links.drain()
    if the_run().status != "succeeded":
        backfill.run_here("default", via="test")
    assert_all_counted()


@only_on("mysql")
@pytest.mark.django_db(transaction=True)
def test_a_user_who_may_see_transactions_is_told_which_connection_to_end(
    other: Other, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_pagestats.backfill.chain.LOCK_SECONDS", 1)
    make_page_views(30)
    Links().start(chunk_size=10)
    other.execute("UPDATE django_pagestats_backfillrun SET actor = 'frozen' WHERE id = %s", [the_run().pk])
    connection.close()
    database.update(ADMINISTRATOR)
    try:
        with pytest.raises(RunLockedError, match=r"that of connection \d+; KILL \d+ ends it"):
            backfill.pause("default", via="test")
    finally:
        connection.close()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_the_server_ends_the_transaction_of_a_worker_that_does_not_move(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still in its merge for longer than the lease, and another session has its row by then."""
    settings.PAGESTATS_LEASE_SECONDS = 1.0
    make_page_views(20)
    merge = Database.merge
    locked = []

    def stand_still(database: Any, *args: Any, **kwargs: Any) -> Any:
        if not locked:
            with Other() as other:  # waits until the server has taken the lock from us
                other.execute(LOCK_WAIT[connection.vendor])
                other.execute("UPDATE django_pagestats_backfillrun SET actor = 'theirs'")
                locked.append(the_actor(other))
                other.commit()
        return merge(database, *args, **kwargs)

    monkeypatch.setattr(Database, "merge", stand_still)
    backfill.run_here("default", via="test", chunk_size=20)
    assert locked == ["theirs"]
    assert the_run().status == "succeeded"
    assert_all_counted()


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_the_server_ends_a_claim_that_does_not_move(settings: Any) -> None:
    settings.PAGESTATS_LEASE_SECONDS = 1.0
    make_page_views(20)
    Links().start()
    with pytest.raises(DatabaseError), brief_transaction("default"):
        BackfillRun.objects.update(actor="ours")
        with Other() as other:
            other.execute(LOCK_WAIT[connection.vendor])
            other.execute("UPDATE django_pagestats_backfillrun SET actor = 'theirs'")
            other.commit()
        BackfillRun.objects.update(actor="ours again")
    failing.reconnect("default", seconds=0)
    assert the_run().actor == "theirs"


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_a_worker_whose_copy_does_not_go_on_is_ended_by_whoever_wants_the_run(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time-out of PostgreSQL's ends it: it waits for data. The chunk is that of a worker, frozen in its merge."""
    settings.PAGESTATS_LEASE_SECONDS = 1.0
    monkeypatch.setattr("django_pagestats.backfill.chain.LOCK_SECONDS", 2)
    make_page_views(20)
    links = Links()
    links.start()
    is_frozen, is_ended = threading.Event(), threading.Event()
    pieces = copying._copy_pieces

    def freeze(*args: Any) -> Iterator[bytes]:
        for piece in pieces(*args):
            yield piece
            if not is_ended.is_set():  # within the COPY that the first piece began
                is_frozen.set()
                assert is_ended.wait(60)

    def work(barrier: threading.Barrier) -> None:
        backfill.work(*links.sent[0], enqueue=links.enqueue, seconds=0)

    def pause(barrier: threading.Barrier) -> None:
        assert is_frozen.wait(60)
        try:
            with pytest.raises(RunLockedError, match="had not moved for 1 s held it, and its session was ended"):
                backfill.pause("default", via="test")
        finally:
            is_ended.set()

    monkeypatch.setattr(copying, "_copy_pieces", freeze)
    assert run_at_once(work, pause) == []
    links.drain()
    assert_all_counted()


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("does", ["nothing", "copies"])
def test_a_slow_transaction_of_the_sites_own_is_not_ended(
    does: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the run's row, and has not moved for longer than a lease; and it is no worker of ours."""
    settings.PAGESTATS_LEASE_SECONDS = 1.0
    monkeypatch.setattr("django_pagestats.backfill.chain.LOCK_SECONDS", 2)
    make_page_views(20)
    Links().start()
    with Other() as slow:
        slow.execute("UPDATE django_pagestats_backfillrun SET actor = 'the site'")
        with slow.connection.connection.cursor() as cursor, contextlib.ExitStack() as stack:
            if does == "copies":
                stack.enter_context(cursor.copy("COPY django_pagestats_visitor (session_key) FROM STDIN"))
            with pytest.raises(RunLockedError, match=r"not one of the run's workers.*pg_terminate_backend"):
                backfill.pause("default", via="test")
        slow.commit()
    assert the_run().actor == "the site"


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_a_session_that_moves_is_not_ended(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_pagestats.backfill.chain.LOCK_SECONDS", 1)
    make_page_views(20)
    Links().start()
    with Other() as busy:
        busy.execute("UPDATE django_pagestats_backfillrun SET actor = 'busy'")
        with pytest.raises(RunLockedError, match="pg_terminate_backend"):
            backfill.pause("default", via="test")
        busy.commit()
    assert the_run().actor == "busy"


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_table_without_statistics_is_read_in_the_order_of_its_primary_key() -> None:
    def plan(statement: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement}")
            return "\n".join(row[0] for row in cursor.fetchall())

    rows = make_page_views(20_000)
    read = f"SELECT id, path FROM django_pagestats_pageview WHERE id > {rows[0].id} AND id <= {rows[-1].id} ORDER BY id"
    read += " LIMIT 2500"
    database = database_for("default")
    with CaptureQueriesContext(connection) as queries:
        folding.Folder("default", folding.ensure_active_generation("default")).fold(rows[-1].id)
    texts = [query["sql"] for query in queries]
    first = next(n for n, sql in enumerate(texts) if "viewed_at))::bigint" in sql)
    assert "enable_sort = off" in texts[first - 1]
    with database.reading():
        assert "Index Scan" in plan(read) and "Sort" not in plan(read)


def the_actor(other: Other) -> str:
    actor: str = other.execute("SELECT actor FROM django_pagestats_backfillrun")[0][0]
    return actor


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_a_shorter_time_out_of_the_site_stays(settings: Any) -> None:
    make_page_views(20)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '7s'")
        try:
            with CaptureQueriesContext(connection) as queries:
                backfill.run_here("default", via="test")
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone()[0] == "7s"
        finally:
            cursor.execute("RESET statement_timeout")
    begun = [query["sql"] for query in queries if "SET LOCAL statement_timeout" in query["sql"]]
    assert begun
    assert all("statement_timeout = 7000" in sql for sql in begun)
    assert all("idle_in_transaction_session_timeout = 60000" in sql for sql in begun)


@only_on("mysql")
@pytest.mark.django_db(transaction=True)
def test_the_time_out_of_the_session_is_put_back() -> None:
    make_page_views(20)
    backfill.run_here("default", via="test")
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.idle_transaction_timeout, @@SESSION.innodb_lock_wait_timeout")
        assert cursor.fetchone() == (0, 50)


# -- the log


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_the_log_says_how_far_it_is_at_most_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    make_page_views(120)
    links = Links()
    with caplog.at_level(logging.INFO, logger="django_pagestats"):
        links.start(chunk_size=2)
        links.drain()
    said = [record for record in caplog.records if "page views," in record.getMessage()]
    run = the_run()
    assert run.finished_at is not None and run.started_at is not None
    seconds = (run.finished_at - run.started_at).total_seconds()
    assert 1 <= len(said) <= seconds + 2
    assert (
        said[0].getMessage().startswith(f"run {run.pk}: cursor {run.start_cursor + 2} of {run.target}, 2 page views,")
    )
    assert said[0].getMessage().endswith(" per second")
    clock = [record.args for record in said]
    assert len(clock) == len(set(clock))
