"""Checks of what only the owner of a server can configure: each on a server of its own, asked by an ordinary user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from django_pagestats import backfill, checks, tasks
from django_pagestats.backfill import failing
from testproject.settings import KIND
from tests.checking import of_database
from tests.factories import make_page_views
from tests.own_servers import OwnMariaDB, OwnPostgreSQL, this_process_on, this_process_on_mariadb

pytestmark = pytest.mark.django_db(transaction=True)


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def on(database: dict[str, Any], **changes: Any) -> Iterator[None]:
    """As another user, or in another database of the server."""
    kept = {name: database[name] for name in changes}
    connection.close()
    database.update(changes)
    yield
    connection.close()
    database.update(kept)


if KIND == "mariadb":

    def test_a_binary_log_of_statements(database: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
        """The check says it before; a start, a link and the tending at once, each in a line: no use in trying again.

        Such a site has another isolation level than Django's default, which can write nothing there.
        """
        options = {**database["OPTIONS"], "isolation_level": "repeatable read"}
        server = OwnMariaDB(log_bin="log", binlog_format="STATEMENT", server_id="1")
        with server, this_process_on_mariadb(server), on(database, OPTIONS=options):
            call_command("migrate", verbosity=0)
            assert of_database() == ["pagestats.E039"]
            make_page_views(20)
            with pytest.raises(CommandError, match=r"1665.* set binlog_format = MIXED or ROW in its configuration"):
                call_command("backfill_aggregates", "--sync")
            with pytest.raises(OperationalError) as caught:
                backfill.run_here("default", via="test")
            assert not failing.may_pass("default", caught.value)
            tasks.tend("default")
            tasks.link("default", 7, 0)
            assert all("set binlog_format = MIXED" in each.getMessage() for each in caplog.records)
            assert all(each.exc_info is None for each in caplog.records)
            assert len(caplog.records) >= 2


if KIND == "postgresql":

    class OwnSubscriber(OwnPostgreSQL):
        OPTIONS = {**OwnPostgreSQL.OPTIONS, "wal_level": "logical"}

    @pytest.fixture
    def server(database: dict[str, Any]) -> Iterator[OwnPostgreSQL]:
        with OwnSubscriber() as server, this_process_on(server):
            yield server

    def test_a_subscription_to_the_page_views(server: OwnPostgreSQL, database: dict[str, Any]) -> None:
        """A real one, of a database beside; the role that asks may do nothing but use its tables."""
        table = "django_pagestats_pageview"
        execute("CREATE ROLE site LOGIN", "CREATE DATABASE publisher", "GRANT ALL ON SCHEMA public TO site")
        with on(database, NAME="publisher"):
            execute(
                f"CREATE TABLE {table} (id bigint PRIMARY KEY, path text, session_key text, viewed_at timestamptz)",
                f"CREATE PUBLICATION views FOR TABLE {table}",
                "SELECT pg_create_logical_replication_slot('views', 'pgoutput')",
            )
        with on(database, USER="site"):
            call_command("migrate", verbosity=0)
            assert of_database() == []
        execute(
            "CREATE SUBSCRIPTION views CONNECTION"
            f" 'host=127.0.0.1 port={server.port} user=postgres dbname=publisher' PUBLICATION views"
            " WITH (create_slot = false, copy_data = false, enabled = false)"
        )
        with on(database, USER="site"):
            (message,) = checks.check_databases(databases=["default"])
            assert (message.id, message.level) == ("pagestats.W040", 30)
            assert "subscription views" in message.msg
