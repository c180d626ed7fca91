"""What a session, and the process, was set to is so again after each verb, on every way out of it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, connection, connections, transaction
from django.test import Client

from django_pagestats import backfill, folding, stats
from django_pagestats.backfill import starting
from django_pagestats.exceptions import PageStatsError
from django_pagestats.folding.reading import Reader
from django_pagestats.merging import postgresql
from django_pagestats.models import Aggregate, BackfillRun, Generation, ImportSource, RunEvent
from django_pagestats.recording import record_page_view
from tests import torture
from tests.chains import Links, Other, expire_lease, only_on, the_run
from tests.factories import START, make_page_views
from tests.test_admin import RUNS
from tests.test_admin import root as root

pytestmark = [pytest.mark.usefixtures("short_waits"), pytest.mark.django_db(transaction=True), pytest.mark.once]

#: of MariaDB's variables those that tell what was done, and not what is to be
TOLD = {"timestamp", "last_insert_id", "identity", "insert_id", "rand_seed1", "rand_seed2", "pseudo_thread_id"}
TOLD |= {"error_count", "warning_count", "in_transaction", "last_gtid", "autocommit"}
PRAGMAS = """
    busy_timeout cache_size cache_spill defer_foreign_keys foreign_keys ignore_check_constraints journal_mode
    journal_size_limit locking_mode mmap_size query_only read_uncommitted recursive_triggers reverse_unordered_selects
    secure_delete synchronous temp_store threads wal_autocheckpoint writable_schema
"""


# -- what is compared


def settings_now() -> dict[str, Any]:
    """All that is set in this session, as the driver tells it, and in this process."""
    connection.ensure_connection()
    with contextlib.closing(connection.connection.cursor()) as cursor:
        found = SETTINGS[connection.vendor](cursor)
    found["gc"] = gc.isenabled(), gc.get_threshold()
    found["transaction_mode"] = getattr(connection, "transaction_mode", None)
    found["beginning"] = postgresql.BEGINNINGS.get(connections["default"])
    found["wrappers"] = list(connection.execute_wrappers)
    return found


def of_mariadb(cursor: Any) -> dict[str, Any]:
    cursor.execute("SHOW SESSION VARIABLES")
    return {name: value for name, value in cursor.fetchall() if name not in TOLD}


def of_postgresql(cursor: Any) -> dict[str, Any]:
    cursor.execute("SELECT name, setting FROM pg_settings")
    return dict(cursor.fetchall())


def of_sqlite(cursor: Any) -> dict[str, Any]:
    return {name: cursor.execute(f"PRAGMA {name}").fetchall() for name in PRAGMAS.split()}


SETTINGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "mysql": of_mariadb,
    "postgresql": of_postgresql,
    "sqlite": of_sqlite,
}


def sees_one_instant() -> bool:
    """Whether the next transaction is REPEATABLE READ, as the session is, and not what was meant for one of ours."""
    read = "SELECT revision FROM django_pagestats_generation ORDER BY id LIMIT 1"
    with Other() as other, contextlib.closing(connection.connection.cursor()) as cursor:
        cursor.execute("BEGIN")
        cursor.execute(read)
        before = cursor.fetchall()
        other.execute("UPDATE django_pagestats_generation SET revision = revision + 1")
        other.commit()
        cursor.execute(read)
        after = cursor.fetchall()
        cursor.execute("ROLLBACK")
    return bool(before == after)


# -- what goes wrong, at the statement of a number


class Fault:
    """Lets the statement of this number fail in the database; a later one says that there was none."""

    #: with what a database answers: something that nobody foresees, or that somebody holds a lock for too long
    STATEMENTS = {
        ("error", "mysql"): "SELECT no_such_column",
        ("error", "postgresql"): "SELECT no_such_column",
        ("error", "sqlite"): "SELECT no_such_column",
        ("locked", "mysql"): "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1205, MESSAGE_TEXT = 'made to wait'",
        ("locked", "postgresql"): "DO $$ BEGIN RAISE 'made to wait' USING ERRCODE = '55P03'; END $$",
    }
    KILL = {"mysql": "KILL {}", "postgresql": "SELECT pg_terminate_backend({})"}
    SELF = {"mysql": "SELECT CONNECTION_ID()", "postgresql": "SELECT pg_backend_pid()"}

    def __init__(self, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self.count = 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        if self.count != self.number:
            return execute(sql, params, many, context)
        if self.kind == "lost":
            self.lose_session()
            return execute(sql, params, many, context)
        return context["cursor"].execute(self.STATEMENTS[self.kind, connection.vendor])

    def lose_session(self) -> None:
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(self.SELF[connection.vendor])
            (session,) = cursor.fetchone()
        with Other() as other:
            other.execute(self.KILL[connection.vendor].format(session))


#: Django lets an error of the driver's out of a cursor's end
EXPECTED = (CommandError, DatabaseError, InterfaceError, PageStatsError, RuntimeError, connection.Database.Error)
KINDS = ["error"] if connection.vendor == "sqlite" else ["error", "locked"]


# -- the verbs


class Site(NamedTuple):
    """What a verb finds."""

    links: Links
    client: Client
    log: Path


def fresh(site: Site) -> None:
    """Page views, and nothing folded."""
    with connection.cursor() as cursor:
        for model in RunEvent, BackfillRun, Generation, Aggregate, ImportSource:
            cursor.execute(f"DELETE FROM {model._meta.db_table}")
    site.links.sent.clear()


def started(site: Site) -> None:
    fresh(site)
    site.links.start(chunk_size=10)


def running(site: Site) -> None:
    started(site)
    site.links.deliver_next()


def lost(site: Site) -> None:
    running(site)
    expire_lease()


def is_paused(site: Site) -> None:
    started(site)
    backfill.pause("default", via="test")


def folded(site: Site) -> None:
    fresh(site)
    backfill.run_here("default", via="test")


def with_an_old_one(site: Site) -> None:
    fresh(site)
    Generation.objects.create(time_zone="UTC", created_at=START, kept_at=START)
    Generation.objects.create(time_zone="UTC", created_at=START, is_active=True)


def an_old_one() -> int:
    return Generation.objects.order_by("pk").values_list("pk", flat=True)[0]


def ask_all() -> None:
    stats.top_pages()
    with stats.snapshot():
        stats.count_unique_visitors()


#: what there is before, and what is done
VERBS: dict[str, tuple[Callable[[Site], None], Callable[[Site], object]]] = {
    "start": (fresh, lambda site: site.links.start(chunk_size=10)),
    "start again": (lost, lambda site: site.links.start()),
    "rebuild": (folded, lambda site: site.links.start("rebuild")),
    "pause": (started, lambda site: backfill.pause("default", via="test")),
    "ask for a pause": (running, lambda site: backfill.pause("default", via="test")),
    "cancel": (started, lambda site: backfill.cancel("default", via="test")),
    "resume": (is_paused, lambda site: backfill.resume("default", via="test", enqueue=site.links.enqueue)),
    "change_nice": (started, lambda site: backfill.change_nice("default", 2.0, via="test")),
    "progress page": (lost, lambda site: site.client.get(f"{RUNS}{the_run().pk}/progress/")),
    "link": (running, lambda site: site.links.deliver(site.links.sent[0])),
    "keep_up": (folded, lambda site: (make_page_views(5), folding.keep_up("default", seconds=5))),
    "activate": (with_an_old_one, lambda site: backfill.activate("default", an_old_one(), via="test")),
    "discard": (with_an_old_one, lambda site: backfill.discard("default", an_old_one(), via="test")),
    "sweep": (folded, lambda site: folding.sweep("default")),
    "verify": (folded, lambda site: call_command("verify_aggregates", stdout=StringIO())),
    "answers": (running, lambda site: ask_all()),
    "import": (fresh, lambda site: call_command("import_pageviews", str(site.log), verbosity=0)),
    "record": (fresh, lambda site: record_page_view(path="/", session_key="a")),
}

#: statements of which each fails, and of those after them one of three, in the bounded form
ALL_UPTO = 30

#: on SQLite nothing is set but around a fold and for a snapshot
OUTSIDE = ["link", "keep_up", "answers"] if connection.vendor == "sqlite" else list(VERBS)
#: those that a site's own code may call within a transaction
INSIDE = ["start", "start again", "ask for a pause", "cancel", "resume", "change_nice", "discard", "answers", "record"]
INSIDE = ["answers"] if connection.vendor == "sqlite" else INSIDE


@pytest.fixture
def site(root: Client, tmp_path: Path) -> Site:
    log = tmp_path / "access.log"
    log.write_text('192.0.2.1 - - [01/Mar/2025:12:00:00 +0000] "GET /log HTTP/1.1" 200 1 "-" "Mozilla/5.0 (X11; U)"\n')
    make_page_views(30)
    return Site(Links(), root, log)


@pytest.fixture
def other() -> Iterator[Other]:
    with Other() as other:
        yield other


@pytest.fixture(autouse=True)
def repeatable_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The site's sessions differ from what we ask for."""
    if connection.vendor == "mysql":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", "repeatable read")
        connection.close()
    yield
    connection.close()


@pytest.mark.parametrize("verb", OUTSIDE)
def test_a_session_is_as_it_was(verb: str, site: Site, settings: Any) -> None:
    """After success, and after an error at each statement; of verbs with many in the bounded form at some."""
    settings.PAGESTATS_TAIL_LIMIT = 10
    fail_everywhere(verb, KINDS[0], site, is_inside=False)


@pytest.mark.parametrize("verb", INSIDE)
def test_a_session_is_as_it_was_inside_a_transaction(verb: str, site: Site, settings: Any) -> None:
    """The caller's, which goes on after the error where the database lets it."""
    settings.PAGESTATS_TAIL_LIMIT = 10
    fail_everywhere(verb, KINDS[-1], site, is_inside=True)


@only_on("postgresql", "mysql")
@pytest.mark.parametrize("verb", ["pause", "link"])
def test_the_session_after_one_that_was_lost_is_as_the_site_has_it(verb: str, site: Site) -> None:
    """Nothing of the old session is put back into it."""
    fail_everywhere(verb, "lost", site, is_inside=False)


def fail_everywhere(verb: str, kind: str, site: Site, *, is_inside: bool) -> None:
    before, do = VERBS[verb]
    number = 0
    while True:
        number += 1 if torture.IS_LONG or number < ALL_UPTO else 3
        before(site)
        was = settings_now()
        fault = Fault(kind, number)
        with contextlib.suppress(*EXPECTED), transaction.atomic() if is_inside else contextlib.nullcontext():
            try:
                with connection.execute_wrapper(fault):
                    do(site)
            finally:
                if is_usable():
                    assert changed(was) == {}, f"inside, after a fault at statement {number}"
        connection.close_if_unusable_or_obsolete()
        assert changed(was) == {}, f"after a fault at statement {number}"
        if connection.vendor == "mysql" and not is_inside:
            assert sees_one_instant(), f"after a fault at statement {number}"
        if fault.count < number:
            return
        assert number < 500


def test_a_fold_that_cannot_end_its_reader_puts_all_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(site)
    was = settings_now()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(Reader, "close", fail)
    folder = folding.Folder("default", folding.ensure_active_generation("default"))
    with pytest.raises(RuntimeError), folder:
        assert not gc.isenabled()
    assert changed(was) == {}


@only_on("mysql")
def test_one_look_at_a_run_whose_row_is_held_leaves_the_lock_wait_as_it_was(site: Site, other: Other) -> None:
    """A persistent connection of a web worker: the site's own UPDATE would fail after a second from then on."""
    lost(site)
    was = settings_now()
    other.execute("UPDATE django_pagestats_backfillrun SET actor = 'held'")
    response = site.client.get(f"{RUNS}{the_run().pk}/progress/")
    assert "for longer than a chunk should last" in response.json()["queue_problem"]
    assert changed(was) == {}


@only_on("mysql")
def test_of_two_starts_at_once_both_leave_the_lock_wait_as_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that no run is active; the second one's row is refused, within its transaction."""
    started(site)
    found = starting.active_run
    answers = [lambda using: None, found]
    monkeypatch.setattr(starting, "active_run", lambda using: answers.pop(0)(using) if answers else found(using))
    was = settings_now()
    assert site.links.start().outcome == "active"
    assert changed(was) == {}


def changed(was: dict[str, Any]) -> dict[str, Any]:
    now = settings_now()  # with what an extension brings when it is used for the first time
    return {name: (value, now[name]) for name, value in was.items() if now[name] != value}


def is_usable() -> bool:
    """Whether the database still answers, within a transaction that an error may have broken."""
    if connection.connection is None or (connection.needs_rollback and connection.vendor == "postgresql"):
        return False
    try:
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()
    except connection.Database.Error:
        return False
    return True
