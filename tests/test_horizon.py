"""No row skipped: ids are drawn before commit, and the cursor never passes one that can still appear."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction

from django_pagestats import backfill, folding, horizon
from django_pagestats.clock import database_now
from django_pagestats.merging import RowsLockedError, database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView
from tests.chains import (
    Links,
    Other,
    active_generation,
    assert_all_counted,
    assert_exact,
    expire_lease,
    only_on,
    rows_upto,
    the_run,
)
from tests.factories import START as AT
from tests.factories import insert_page_views, make_page_views
from tests.patching import replace
from tests.servers import in_ci

servers = only_on("postgresql", "mysql")
Database = type(database_for("default"))


def test_a_settling_target_survives_json() -> None:
    settling = horizon.Settling(5, datetime(2025, 1, 1, 12, 30, 0, 17, tzinfo=timezone.utc), ("3/17",))
    assert horizon.Settling.from_json(settling.as_json()) == settling


@pytest.mark.django_db
def test_the_target_is_the_highest_id() -> None:
    assert horizon.highest_id("default") is None
    assert horizon.fix_target("default").target == 0
    rows = make_page_views(3)
    settling = horizon.fix_target("default")
    assert settling.target == rows[-1].id
    assert abs(settling.fixed_at - database_now("default")) < timedelta(seconds=10)


@only_on("sqlite")
@pytest.mark.django_db
def test_with_one_writer_there_is_nothing_to_wait_for() -> None:
    make_page_views(3)
    assert horizon.blockers("default", horizon.fix_target("default")) == []


# -- a late commit


POLL_DEFAULTS = folding.poll.__defaults__


@pytest.fixture(autouse=True)
def some_waits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0.05
    monkeypatch.setattr(folding.poll, "__defaults__", (0.3,))


def late_commit(end: str) -> None:
    """A lower id appears after a higher one was committed, and after a run began."""
    links = Links()
    make_page_views(20)
    with Other() as other:
        if connection.vendor == "postgresql":
            other.execute("SET application_name = 'importer'")
        other.record("/late")
        late_id = rows_upto()[-1].id + 1
        assert insert_page_views([("/on-time", "x", AT)])[0].id > late_id
        links.start(chunk_size=10)
        assert_waits(links, other)
        assert active_generation().cursor < late_id
        reason = the_run().wait_reason
        assert_exact()
        expire_lease()
        assert links.revive() is not None
        assert_waits(links, other)
        assert the_run().wait_reason == reason, "since when it waits does not change"
        assert the_run().revival_count == 0, "it was not lost, it waited"
        getattr(other, end)()
    expire_lease()
    links.revive()
    links.drain(seconds=5)
    assert the_run().status == "succeeded"
    assert (the_run().wait_reason, the_run().wait_until) == ("", None)
    assert_all_counted()


def assert_waits(links: Links, other: Other) -> None:
    """A link comes, gives its worker back soon, and leaves nothing behind but one link for later."""
    links.scheduled.clear()
    began = time.monotonic()
    links.drain(seconds=2)
    assert time.monotonic() - began < 6
    run = the_run()
    assert run.status == "running"
    assert links.scheduled == [(("default", run.pk, run.epoch), run.wait_until)]
    assert run.wait_until is not None and run.lease_until == run.wait_until > database_now("default")
    if connection.vendor == "postgresql":
        ((pid, since),) = other.execute(
            "SELECT pid, to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM pg_stat_activity"
            " WHERE pid = pg_backend_pid()"
        )
        expected = f"waits for a transaction that writes page views of process {pid} (importer) since {since} UTC"
        assert run.wait_reason == expected
    else:
        assert run.wait_reason.startswith("waits for a transaction that inserted or changed page views and has not")
        assert f"{run.created_at:%Y-%m-%d %H:}" in run.wait_reason


@servers
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_late_commit_is_waited_for_and_counted(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if end == "commit":  # a worker is not held longer than two seconds, with the real time of looking too
        monkeypatch.setattr(folding.poll, "__defaults__", POLL_DEFAULTS)
    late_commit(end)
    assert PageView.objects.filter(path="/late").exists() is (end == "commit")


@servers
@pytest.mark.django_db(transaction=True)
def test_control_the_naive_cursor_loses_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, folding up to the highest id at once."""
    take_the_horizon_away(monkeypatch)
    links = Links()
    make_page_views(20)
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)])
        links.start(chunk_size=10)
        links.drain(seconds=5)
        assert the_run().status == "succeeded"
        other.commit()
    with pytest.raises(AssertionError):
        assert_exact()
    assert links.start().outcome == "nothing_new", "and it is never counted"


def take_the_horizon_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon, "blockers", lambda using, settling: [])
    if connection.vendor == "mysql":
        monkeypatch.setattr(
            Database, "_read_settled", lambda self, sql: self._fetch(sql.removesuffix(" LOCK IN SHARE MODE"))
        )


@servers
@pytest.mark.django_db(transaction=True)
def test_control_of_the_test_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the late commit fails on the naive cursor."""
    take_the_horizon_away(monkeypatch)
    with pytest.raises(AssertionError):
        late_commit("commit")


@servers
@pytest.mark.django_db(transaction=True)
def test_here_a_late_commit_is_waited_for_too() -> None:
    make_page_views(20)
    reasons = []
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)])

        def watch(run: BackfillRun) -> bool:
            reasons.append(run.wait_reason)
            if len(reasons) == 1 and run.wait_reason:
                other.commit()
            return False

        backfill.run_here("default", via="test", watch=watch)
    assert "a transaction that" in reasons[0]
    assert_all_counted()


@servers
@pytest.mark.django_db(transaction=True)
def test_here_a_wait_can_be_interrupted() -> None:
    make_page_views(20)
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)])
        started = backfill.run_here("default", via="test", watch=lambda run: True)
        assert started.run is not None and started.run.is_active
        other.commit()
    backfill.run_here("default", via="test")
    assert the_run().pk == started.run.pk
    assert_all_counted()


@servers
@pytest.mark.django_db(transaction=True)
def test_keeping_up_waits_for_a_late_commit() -> None:
    make_page_views(20)
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)])
        for _ in range(2):
            kept_up = folding.keep_up("default", seconds=2)
            assert kept_up.reason.startswith("waits for a transaction that")
            assert_exact()
        other.commit()
    assert folding.keep_up("default", seconds=5).reason == ""
    assert active_generation().settling is None
    assert_all_counted()


@servers
@pytest.mark.django_db(transaction=True)
def test_transactions_that_write_other_tables_or_only_read_do_not_stall_it() -> None:
    make_page_views(20)
    with Other() as writer, Other() as reader:
        writer.execute("INSERT INTO django_pagestats_sitesecret (name, value) VALUES ('idle', '')")
        assert reader.execute(f"SELECT COUNT(*) FROM {PageView._meta.db_table}") == [(20,)]
        links = Links()
        links.start()
        links.drain(seconds=5)
        assert links.scheduled == []
    assert_all_counted()


@servers
@pytest.mark.django_db(transaction=True)
def test_who_begins_later_is_not_waited_for() -> None:
    """Else writers without a pause would hold a run up for ever."""
    make_page_views(20)
    links = Links()
    with Other() as early, Other() as late:
        early.record("/early")
        insert_page_views([("/on-time", "x", AT)])
        links.start()
        insert_page_views([("/later", "x", AT)])  # MariaDB locks the row after the last one it reads
        late.record("/late")
        links.drain(seconds=2)
        assert len(links.scheduled) == 1
        early.commit()
        expire_lease()
        links.revive()
        links.drain(seconds=5)
        assert the_run().status == "succeeded"
        assert_exact()
        late.commit()
    folding.keep_up("default", seconds=5)
    assert_all_counted()


@servers
@pytest.mark.django_db(transaction=True)
def test_recording_is_never_held_up_by_a_fold_that_waits() -> None:
    make_page_views(5)
    with Other() as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)])
        links = Links()
        links.start()
        read = folding.poll

        with pytest.MonkeyPatch.context() as patch:

            def poll_while_others_write(*args: Any) -> Any:
                insert_page_views([("/meanwhile", "x", AT)])
                return read(*args)

            replace(patch.setattr, folding.poll, poll_while_others_write)
            links.drain(seconds=2)
        other.commit()
    assert PageView.objects.filter(path="/meanwhile").exists()


# -- PostgreSQL


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", ["SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_stronger_locks_are_waited_for(mode: str) -> None:
    make_page_views(5)
    with Other() as other:
        other.execute(f"LOCK TABLE {PageView._meta.db_table} IN {mode} MODE")
        settling = horizon.Settling(5, database_now("default"), horizon._writers("default"))
        assert len(settling.writers) == 1
        assert [blocker.kind for blocker in horizon.blockers("default", settling)] == [
            "a transaction that writes page views"
        ]
        other.rollback()
        assert horizon.blockers("default", settling) == []


@pytest.fixture
def partitioned(transactional_db: None) -> Iterator[None]:
    """The table as a site may partition it: partitions of partitions, and one more that is not attached."""
    table = PageView._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {table} RENAME TO plain; CREATE TABLE {table} (LIKE plain) PARTITION BY RANGE (viewed_at);"
            f"ALTER TABLE {table} ALTER id SET DEFAULT nextval('{table}_id_seq');"
            f"CREATE TABLE of_2025 PARTITION OF {table} FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z')"
            " PARTITION BY RANGE (viewed_at);"
            "CREATE TABLE of_march PARTITION OF of_2025 FOR VALUES FROM ('2025-03-01Z') TO ('2025-05-01Z');"
            f"CREATE TABLE of_2026 PARTITION OF {table} FOR VALUES FROM ('2026-01-01Z') TO ('2027-01-01Z');"
            f"CREATE TABLE of_2027 (LIKE {table} INCLUDING DEFAULTS)"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {table}; DROP TABLE IF EXISTS of_2027; ALTER TABLE plain RENAME TO {table}")


@pytest.fixture
def inherited(transactional_db: None) -> Iterator[None]:
    table = PageView._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE child () INHERITS ({table});ALTER TABLE child ALTER id SET DEFAULT nextval('{table}_id_seq')"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE child")


def late_commit_straight_into(other: Other, part: str, year: int, then: str = "") -> None:
    make_page_views(20)
    other.execute(
        f"INSERT INTO {part} (path, session_key, viewed_at) VALUES ('/late', 'other', '{year}-03-05 12:00Z'); {then}"
    )
    insert_page_views([("/on-time", "x", AT)])
    for _ in range(2):
        assert folding.keep_up("default", seconds=2).reason.startswith("waits for a transaction that writes page views")
        assert_exact()
    other.commit()
    assert folding.keep_up("default", seconds=5).reason == ""
    assert PageView.objects.filter(path="/late").exists()
    assert_all_counted()


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.usefixtures("partitioned")
@pytest.mark.parametrize(("part", "year"), [("of_2026", 2026), ("of_march", 2025)])
def test_a_late_commit_straight_into_a_partition_is_waited_for(part: str, year: int) -> None:
    with Other() as other:
        late_commit_straight_into(other, part, year)


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.usefixtures("inherited")
def test_a_late_commit_straight_into_a_table_that_inherits_is_waited_for() -> None:
    with Other() as other:
        late_commit_straight_into(other, "child", 2025)


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.usefixtures("partitioned")
def test_a_partition_that_is_being_attached_is_waited_for() -> None:
    attach = (
        f"ALTER TABLE {PageView._meta.db_table} ATTACH PARTITION of_2027"
        " FOR VALUES FROM ('2027-01-01Z') TO ('2028-01-01Z')"
    )
    with Other() as other:
        late_commit_straight_into(other, "of_2027", 2027, attach)


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.usefixtures("partitioned")
def test_who_writes_a_partition_that_was_made_later_is_not_waited_for() -> None:
    """Its ids are above the target."""
    make_page_views(20)
    settling = horizon.fix_target("default")
    table = PageView._meta.db_table
    with Other() as other:
        other.execute(
            f"CREATE TABLE of_2024 PARTITION OF {table} FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');"
            "INSERT INTO of_2024 (path, session_key, viewed_at) VALUES ('/', 'other', '2024-03-05 12:00Z')"
        )
        assert len(horizon._writers("default")) == 1
        assert horizon.blockers("default", settling) == []


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.usefixtures("partitioned")
def test_a_writer_of_a_partition_is_waited_for_though_it_was_attached_meanwhile() -> None:
    """Attaching it waits for its writers: once it is there, so are their page views."""
    make_page_views(20)
    with Other() as writer, Other() as other:
        writer.execute("INSERT INTO of_2027 (path, session_key, viewed_at) VALUES ('/', 'other', '2027-03-05 12:00Z')")
        insert_page_views([("/on-time", "x", AT)])
        other.execute("SET lock_timeout = '100ms'")
        with pytest.raises(DatabaseError, match="lock timeout"):
            other.execute(
                f"ALTER TABLE {PageView._meta.db_table} ATTACH PARTITION of_2027"
                " FOR VALUES FROM ('2027-01-01Z') TO ('2028-01-01Z')"
            )


class Undone(Exception):  # noqa: N818 - no error
    """Rolls back what was done."""


@only_on("postgresql")
@pytest.mark.django_db
@pytest.mark.parametrize("how", ["INSERT", "a plan that is kept", "WITH", "COPY", "by hand"])
def test_a_writer_has_its_lock_before_it_draws_an_id(how: str) -> None:
    """What the wait for writers rests on; whoever draws an id by hand has none, and is outside."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE drawn (id bigserial, path text);"
            "CREATE FUNCTION draw() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN"
            " IF NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'drawn'::regclass AND mode = 'RowExclusiveLock'"
            " AND pid = pg_backend_pid()) THEN RAISE EXCEPTION 'no lock'; END IF;"
            " RETURN nextval('drawn_id_seq'); END $$"
        )
        cursor.execute("ALTER TABLE drawn ALTER id SET DEFAULT draw()")
        if how == "a plan that is kept":
            with contextlib.suppress(Undone), transaction.atomic():
                cursor.execute("PREPARE writes AS INSERT INTO drawn (path) VALUES ('/')")
                raise Undone  # it stays prepared, without the lock that this took
        if how == "COPY":
            with cursor.copy("COPY drawn (path) FROM STDIN") as copy:
                copy.write(b"/\n")
            return
        statements = {
            "INSERT": "INSERT INTO drawn (path) VALUES ('/')",
            "a plan that is kept": "EXECUTE writes; DEALLOCATE writes",
            "WITH": "WITH w AS (INSERT INTO drawn (path) SELECT '/' RETURNING id) SELECT * FROM w",
            "by hand": "SELECT draw()",
        }
        expected = pytest.raises(DatabaseError, match="no lock") if how == "by hand" else contextlib.nullcontext()
        with expected:
            cursor.execute(statements[how])


@only_on("postgresql")
@pytest.mark.django_db(transaction=True)
def test_ones_own_transaction_is_not_waited_for() -> None:
    with transaction.atomic():
        make_page_views(5)
        assert horizon.blockers("default", horizon.fix_target("default")) == []


INITDB_PLACES = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"]


def postgresql_programs() -> Path | None:
    """Where initdb and postgres are: a server's programs are often not on the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    if config := shutil.which("pg_config"):
        place = Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
        if (place / "initdb").exists():
            return place
    places = [place for pattern in INITDB_PLACES for place in Path("/").glob(pattern.lstrip("/"))]
    return max((place for place in places if (place / "initdb").exists()), default=None)


@pytest.fixture
def own_server() -> Iterator[str]:
    """A database alias of a PostgreSQL server of this test's own, that can prepare transactions."""
    programs = postgresql_programs()
    if programs is None:
        (pytest.fail if in_ci() else pytest.skip)("no initdb of PostgreSQL on this machine")
    with (
        tempfile.TemporaryDirectory(prefix="pagestats-", ignore_cleanup_errors=True) as place,
        postgresql(programs, Path(place)),
    ):
        connections.settings["own"] = {
            **connections["default"].settings_dict,
            "HOST": place,
            "PORT": "5432",
            "USER": "pagestats",
            "PASSWORD": "",
            "NAME": "postgres",
        }
        try:
            connections["own"].connect()  # Django's tests refuse aliases that they were not told of, until connected
            yield "own"
        finally:
            connections["own"].close()
            del connections["own"]
            del connections.settings["own"]


@contextlib.contextmanager
def postgresql(programs: Path, place: Path) -> Iterator[None]:
    as_whom: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_whom = ["runuser", "-u", "postgres", "--"]
        shutil.chown(place, "postgres")
    cluster = place / "cluster"
    made = [*as_whom, str(programs / "initdb"), "-N", "-A", "trust", "-U", "pagestats", "-D", str(cluster)]
    subprocess.run(made, check=True, capture_output=True, cwd=place)
    options = ["-k", str(place), "-h", "", "-p", "5432", "-F", "-c", "max_prepared_transactions=5"]
    control = [*as_whom, str(programs / "pg_ctl"), "-D", str(cluster), "-w"]
    log = ["-l", str(place / "log")]
    quoted = " ".join(f"'{option}'" for option in options)
    subprocess.run([*control, *log, "-o", quoted, "start"], check=True, capture_output=True, cwd=place)
    try:
        yield
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=place)


@only_on("postgresql")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("prepared", ["before", "after"])
def test_a_prepared_transaction_is_waited_for(own_server: str, prepared: str) -> None:
    """Prepared before the target is fixed, or between that and the first look."""
    call_command("migrate", "django_pagestats", database=own_server, verbosity=0)
    links = Links()
    with Other(connections[own_server]) as other:
        other.record("/late")
        insert_page_views([("/on-time", "x", AT)], using=own_server)
        if prepared == "before":
            other.execute("PREPARE TRANSACTION 'importer'")
        backfill.start(own_server, via="test", enqueue=links.enqueue)
        if prepared == "after":
            other.execute("PREPARE TRANSACTION 'importer'")
        other.commit()
    links.drain(seconds=2)
    run = BackfillRun.objects.using(own_server).get()
    assert run.wait_reason.startswith("waits for a prepared transaction that wrote page views since ")
    assert Generation.objects.using(own_server).get().cursor == 0
    with connections[own_server].cursor() as cursor:
        cursor.execute("COMMIT PREPARED 'importer'")
    links.sent.append(links.scheduled[0][0])
    links.drain(seconds=5)
    run.refresh_from_db()
    assert run.status == "succeeded"
    row = Aggregate.objects.using(own_server).get(dimension=1, granularity=3)
    assert (row.page_views, row.visitors) == (2, 2)


# -- MariaDB


@only_on("mysql")
@pytest.mark.django_db(transaction=True)
def test_reading_rows_that_are_not_committed_gives_up_soon_and_puts_the_lock_wait_back() -> None:
    rows = make_page_views(3)
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 37")
    with Other() as other:
        other.record("/late")
        last = insert_page_views([("/on-time", "x", AT)])[0].id
        database = database_for("default")
        began = time.monotonic()
        with pytest.raises(RowsLockedError):
            database.read_page_views(0, last, 100)
        assert 0.5 < time.monotonic() - began < 4
        # the row after the last one is locked too
        assert [row[0] for row in database.read_page_views(0, rows[1].id, 100)] == [row.id for row in rows[:2]]
        assert len(database.read_page_views(0, None, 100)) == 4, "a tail is read without a lock"
        other.commit()
    assert len(database.read_page_views(0, last, 100)) == 5
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.tx_isolation, @@in_transaction")
        assert cursor.fetchone()[::2] == (37, 0)
        cursor.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")


@only_on("mysql")
@pytest.mark.django_db(transaction=True)
def test_the_settle_time_is_waited_for(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 600
    make_page_views(3)
    links = Links()
    links.start()
    links.drain(seconds=2)
    assert the_run().wait_reason.startswith("waits for the settle time (PAGESTATS_SETTLE_SECONDS) since ")
    settings.PAGESTATS_SETTLE_SECONDS = 0
    expire_lease()
    links.revive()
    links.drain(seconds=2)
    assert_all_counted()


@only_on("mysql")
@pytest.mark.django_db(transaction=True)
def test_the_shared_lock_ends_before_the_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who changes page views does not wait for a chunk's merge."""
    rows = make_page_views(3)
    merge = Database.merge
    changed = []

    def change_and_merge(self: Any, *args: Any, **kwargs: Any) -> Any:
        with Other() as other:
            other.execute("SET SESSION innodb_lock_wait_timeout = 1")
            other.execute(f"UPDATE {PageView._meta.db_table} SET path = path WHERE id = {rows[0].id}")
            changed.append(True)
        return merge(self, *args, **kwargs)

    monkeypatch.setattr(Database, "merge", change_and_merge)
    backfill.run_here("default", via="test")
    assert changed == [True]
    assert_all_counted()
