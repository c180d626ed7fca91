"""As the user that a site has: it may do all in its own database, and nothing else on the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_pagestats import backfill, horizon, tasks, throttles
from django_pagestats.exceptions import RunLockedError
from django_pagestats.merging import database_for, postgresql
from tests.chains import Links, Other, assert_all_counted, expire_lease, only_on, the_run
from tests.factories import make_page_views
from tests.test_admin import RUNS
from tests.test_admin import root as root
from tests.test_sessions import VERBS, Site, lost, started
from tests.test_sessions import site as site

pytestmark = [
    pytest.mark.usefixtures("short_waits"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="has no users"),
]

#: as the user with all rights makes and removes another one; "read" is all that it may do
MAKE = {
    ("postgresql", "all"): [
        "CREATE ROLE {user} LOGIN",
        "ALTER DATABASE {database} OWNER TO {user}",
        "GRANT ALL ON SCHEMA public TO {user}",
    ],
    ("postgresql", "read"): ["CREATE ROLE {user} LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"],
    ("mysql", "all"): ["CREATE USER {user}@'%'", "GRANT ALL ON {database}.* TO {user}@'%'"],
    ("mysql", "read"): ["CREATE USER {user}@'%'", "GRANT SELECT ON {database}.* TO {user}@'%'"],
}
REMOVE = {
    "postgresql": [
        "ALTER DATABASE {database} OWNER TO CURRENT_USER",
        "REASSIGN OWNED BY {user} TO CURRENT_USER",
        "DROP OWNED BY {user}",
        "DROP ROLE {user}",
    ],
    "mysql": ["DROP USER {user}@'%'"],
}


class Users:
    """Makes users of the server, and lets this process's connection be one of theirs."""

    def __init__(self) -> None:
        self.before = dict(connection.settings_dict)
        self.made: list[str] = []

    def become(self, rights: str) -> None:
        user = f"{rights}_of_{self.before['NAME']}"
        self._execute(MAKE[connection.vendor, rights], user)
        self.made.append(user)
        if (connection.vendor, rights) == ("postgresql", "all"):
            tables = connection.introspection.table_names()
            self._execute([f"ALTER TABLE {table} OWNER TO {{user}}" for table in tables], user)
        self._connect_as({"USER": user, "PASSWORD": ""})

    def leave(self) -> None:
        self._connect_as(self.before)
        for user in self.made:
            self._execute(REMOVE[connection.vendor], user)

    def _execute(self, statements: list[str], user: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(user=user, database=self.before["NAME"]))

    def _connect_as(self, settings: dict[str, Any]) -> None:
        connection.close()
        connection.settings_dict.update(settings)


@pytest.fixture
def users() -> Iterator[Users]:
    users = Users()
    yield users
    users.leave()


@pytest.fixture
def ordinary(users: Users) -> None:
    users.become("all")


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


@pytest.mark.usefixtures("ordinary")
@pytest.mark.parametrize("verb", VERBS)
def test_an_ordinary_user_may_do_all_of_it(verb: str, site: Site) -> None:
    before, do = VERBS[verb]
    before(site)
    do(site)


@pytest.mark.usefixtures("ordinary")
def test_a_backfill_and_a_rebuild_to_their_ends() -> None:
    make_page_views(30)
    for kind in "backfill", "rebuild":
        backfill.run_here("default", kind=kind, via="test")
        assert the_run().status == "succeeded"
    tasks.tend("default")
    call_command("backfill_aggregates", "--status", verbosity=0)
    call_command("check", databases=["default"])
    assert_all_counted()


@pytest.mark.usefixtures("ordinary", "held")
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
def test_a_session_of_another_role_is_named_and_never_ended(users: Users, settings: Any) -> None:
    """Though it were a worker of a run, that has not moved for longer than a lease."""
    settings.PAGESTATS_LEASE_SECONDS = 0.0
    make_page_views(10)
    with Other() as other:
        users.become("all")
        Links().start()
        other.execute(postgresql.TAKE_MARK)
        hold(other)
        with pytest.raises(RunLockedError, match=r"of the role \w+, holds it \(a worker of the run\); as that role"):
            backfill.pause("default", via="test")
        assert not database_for("default").end_idle("django_pagestats_backfillrun", 0)
        other.commit()


@only_on("postgresql")
def test_a_writer_of_another_role_is_waited_for(users: Users) -> None:
    """Since when it writes is shown to its own role only."""
    make_page_views(10)
    with Other() as other:
        users.become("all")
        other.record("/late")
        settling = horizon.fix_target("default")
        (blocker,) = horizon.blockers("default", settling)
        assert str(blocker).startswith("a transaction that writes page views of process ")
        assert blocker.since is None
        other.commit()
    assert horizon.blockers("default", settling) == []


@pytest.mark.usefixtures("ordinary")
def test_the_throttles() -> None:
    assert throttles.active_connections("default") is throttles.replica_lag("default") is None


@pytest.mark.parametrize("words", [["--pause"], ["--sync"]], ids=" ".join)
def test_a_lack_of_privileges_is_told_as_such(words: list[str], users: Users) -> None:
    make_page_views(10)
    links = Links()
    links.start()
    users.become("read")
    with pytest.raises(CommandError, match="The database's user may not do this") as told:
        call_command("backfill_aggregates", *words, verbosity=0)
    assert "migrations" not in str(told.value)


@pytest.mark.usefixtures("ordinary")
def test_the_progress_page_of_a_lost_run(site: Site) -> None:
    lost(site)
    assert site.client.get(f"{RUNS}{the_run().pk}/progress/").status_code == 200
    assert the_run().revival_count == 1
