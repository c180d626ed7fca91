"""As the user that a site has, which is that of all tests (tests/accounts.py), and one who may do less."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_pagestats import backfill, horizon, tasks, throttles
from django_pagestats.exceptions import RunLockedError
from django_pagestats.merging import database_for, postgresql
from tests.accounts import administrator
from tests.chains import Links, Other, assert_all_counted, expire_lease, only_on, the_run
from tests.factories import make_page_views
from tests.test_admin import RUNS
from tests.test_admin import root as root
from tests.test_sessions import VERBS, Site, lost, started
from tests.test_sessions import site as site

pytestmark = [
    pytest.mark.usefixtures("short_waits"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.once,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="has no users"),
]

#: how the administrator makes and removes a user who may read, and nothing else
MAKE = {
    "postgresql": ["CREATE ROLE {user} LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"],
    "mysql": ["CREATE USER {user}@'%'", "GRANT SELECT ON `{database}`.* TO {user}@'%'"],
}
REMOVE = {"postgresql": ["DROP OWNED BY {user}", "DROP ROLE {user}"], "mysql": ["DROP USER {user}@'%'"]}


@pytest.fixture
def reader(database: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Lets this process's connection be that of a user who may only read, when it is called."""
    name = str(database["NAME"])
    user = f"reader_of_{name}".replace("-", "_")

    def execute(statements: list[str]) -> None:
        with contextlib.closing(administrator()) as connected, connected.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(user=user, database=name))

    def become() -> None:
        connection.close()
        database.update(USER=user, PASSWORD="")

    execute(MAKE[connection.vendor])
    yield become
    connection.close()
    execute(REMOVE[connection.vendor])


@pytest.fixture
def held(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a run that is held."""
    monkeypatch.setattr("django_pagestats.backfill.chain.LOCK_SECONDS", 1)


def hold(other: Other) -> None:
    other.execute("UPDATE django_pagestats_backfillrun SET actor = 'held'")


#: what is said of who holds a lock, where it is another session of the same user
HOLDER = {
    "mysql": "tells to users with the PROCESS privilege only",
    "postgresql": r"holds it \(idle in transaction; not one of the run's workers\); SELECT pg_terminate_backend",
}.get(connection.vendor, "")


@pytest.mark.parametrize("verb", VERBS)
def test_an_ordinary_user_may_do_all_of_it(verb: str, site: Site) -> None:
    before, do = VERBS[verb]
    before(site)
    do(site)


def test_a_backfill_and_a_rebuild_to_their_ends() -> None:
    make_page_views(30)
    for kind in "backfill", "rebuild":
        backfill.run_here("default", kind=kind, via="test")
        assert the_run().status == "succeeded"
    tasks.tend("default")
    call_command("backfill_aggregates", "--status", verbosity=0)
    call_command("check", databases=["default"])
    assert_all_counted()


@pytest.mark.usefixtures("held")
def test_a_run_that_is_held_is_told_without_what_may_not_be_asked(site: Site) -> None:
    started(site)
    link = site.links.sent[0]
    with Other() as other:
        hold(other)
        with pytest.raises(RunLockedError, match=HOLDER):
            backfill.pause("default", via="test")
        with pytest.raises(RunLockedError, match=HOLDER):
            site.links.deliver(link)
        with pytest.raises(CommandError, match=HOLDER) as told:
            call_command("backfill_aggregates", "--pause")
        assert "migrations" not in str(told.value)
        tasks.link(*link)  # comes and goes
        other.rollback()
        expire_lease()
        hold(other)
        response = site.client.get(f"{RUNS}{the_run().pk}/progress/")
        assert "for longer than a chunk should last" in json.loads(response.content)["queue_problem"]
        assert site.client.post(f"{RUNS}{the_run().pk}/pause/").status_code == 302


@only_on("postgresql")
@pytest.mark.usefixtures("held")
def test_a_session_of_another_role_is_named_and_never_ended(settings: Any) -> None:
    """Though it were a worker of a run, that has not moved for longer than a lease."""
    settings.PAGESTATS_LEASE_SECONDS = 0.0
    make_page_views(10)
    with Other(administrator()) as other:
        Links().start()
        other.execute(postgresql.TAKE_MARK)
        hold(other)
        with pytest.raises(RunLockedError, match=r"of the role \w+, holds it \(a worker of the run\); as that role"):
            backfill.pause("default", via="test")
        assert not database_for("default").end_idle("django_pagestats_backfillrun", 0)
        other.commit()


@only_on("postgresql")
def test_a_writer_of_another_role_is_waited_for() -> None:
    """Since when it writes is shown to its own role only."""
    make_page_views(10)
    with Other(administrator()) as other:
        other.record("/late")
        settling = horizon.fix_target("default")
        (blocker,) = horizon.blockers("default", settling)
        assert str(blocker).startswith("a transaction that writes page views of process ")
        assert blocker.since is None
        other.commit()
    assert horizon.blockers("default", settling) == []


def test_the_throttles() -> None:
    assert throttles.active_connections("default") is throttles.replica_lag("default") is None


@pytest.mark.parametrize("words", [["--pause"], ["--sync"]], ids=" ".join)
def test_a_lack_of_privileges_is_told_as_such(words: list[str], reader: Callable[[], None]) -> None:
    make_page_views(10)
    links = Links()
    links.start()
    reader()
    with pytest.raises(CommandError, match="The database's user may not do this") as told:
        call_command("backfill_aggregates", *words, verbosity=0)
    assert "migrations" not in str(told.value)


def test_the_progress_page_of_a_lost_run(site: Site) -> None:
    lost(site)
    assert site.client.get(f"{RUNS}{the_run().pk}/progress/").status_code == 200
    assert the_run().revival_count == 1
