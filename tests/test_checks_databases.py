"""Each check that asks the database, by what brings it about."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.management import call_command
from django.db import connection

from django_pagestats import aliases, checks, folding
from django_pagestats.checks import databases, servers
from django_pagestats.models import Generation, PageView
from django_pagestats.models.constraints import StorableText
from tests.checking import ids, of_database, of_settings, only, running
from tests.factories import make_page_views


@pytest.mark.django_db
@pytest.mark.parametrize("name", list(databases.MINIMUM_VERSIONS))
def test_an_old_server(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The oldest version that does, and the one before it."""
    mine = databases.server_version(connection)[0]
    assert databases.server_version(connection)[1] >= databases.MINIMUM_VERSIONS[mine]
    wanted = databases.MINIMUM_VERSIONS[name]
    monkeypatch.setattr(databases, "server_version", lambda connection: (name, wanted))
    assert of_database() == []
    monkeypatch.setattr(databases, "server_version", lambda connection: (name, (*wanted[:-1], wanted[-1] - 1, 99)))
    assert of_database() == ["pagestats.E030"]


@only("sqlite")
@pytest.mark.django_db(transaction=True)
def test_a_journal_that_is_no_wal() -> None:
    execute("PRAGMA journal_mode=DELETE")
    assert of_database() == ["pagestats.W031"]
    execute("PRAGMA journal_mode=WAL")
    assert of_database() == []


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@only("postgresql")
@pytest.mark.django_db
def test_a_sequence_that_caches() -> None:
    (message,) = caching("ALTER SEQUENCE django_pagestats_pageview_id_seq CACHE 20")
    assert message.id == "pagestats.W032"
    fix = re.search(r"ALTER SEQUENCE \S+ CACHE 1;", str(message.hint))
    assert fix
    assert caching(fix[0]) == []


def caching(statement: str) -> list[django_checks.CheckMessage]:
    execute(statement)
    return checks.check_databases(databases=["default"])


@only("mysql")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "undo", "wanted"),
    [
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "READ COMMITTED", "pagestats.E025"),
        ("SET SESSION auto_increment_increment = 2", "1", "pagestats.W033"),
        ("SET SESSION character_set_results = latin1", "utf8mb4", "pagestats.E037"),
        ("SET SESSION character_set_client = utf8mb3", "utf8mb4", "pagestats.E037"),
        ("SET SESSION sql_mode = ''", "STRICT_TRANS_TABLES", "pagestats.E038"),
        ("SET SESSION sql_mode = 'ANSI,TRADITIONAL'", "STRICT_TRANS_TABLES", None),
    ],
)
def test_the_servers_variables(change: str, undo: str, wanted: str | None) -> None:
    assert of_database() == []
    execute(change)
    try:
        assert of_database() == ([wanted] if wanted else [])
    finally:
        execute(f"{change.rpartition(' READ UN')[0] or change.rpartition('= ')[0] + '='} {undo}")
    assert of_database() == []


@only("mysql")
@pytest.mark.django_db
def test_a_galera_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node at hand: the answer of one."""
    fetch: Callable[..., list[tuple[Any, ...]]] = servers.fetch

    def as_a_node(connection: Any, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        return [*fetch(connection, statement, parameters), *([("wsrep_on", "ON")] if "wsrep_on" in statement else [])]

    monkeypatch.setattr(servers, "fetch", as_a_node)
    assert of_database() == ["pagestats.W033"]


@only("mysql")
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("log", "form", "wanted"),
    [("ON", "STATEMENT", ["pagestats.E039"]), ("ON", "MIXED", []), ("OFF", "STATEMENT", [])],
)
def test_a_binary_log_of_statements(monkeypatch: pytest.MonkeyPatch, log: str, form: str, wanted: list[str]) -> None:
    """The answers of such a server; tests/test_checks_servers.py has one."""
    fetch: Callable[..., list[tuple[Any, ...]]] = servers.fetch

    def as_such(connection: Any, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        found = fetch(connection, statement, parameters)
        return [*found, ("log_bin", log), ("binlog_format", form)] if "binlog_format" in statement else found

    monkeypatch.setattr(servers, "fetch", as_such)
    assert of_database() == wanted


@only("mysql")
@pytest.mark.django_db
def test_a_missing_collation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "exact_collation", lambda connection: "utf8mb4_no_such")
    assert of_database() == ["pagestats.E034"]


@pytest.mark.django_db
def test_another_zone_than_the_aggregates(settings: Any) -> None:
    folding.ensure_active_generation("default")
    assert of_database() == []
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    (message,) = checks.check_databases(databases=["default"])
    assert message.id == "pagestats.W035"
    assert "--rebuild" in str(message.hint)
    Generation.objects.update(time_zone="Asia/Kathmandu")
    assert of_database() == []


@pytest.mark.django_db
def test_before_the_first_migrate_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    folding.ensure_active_generation("default")
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda *args, **kwargs: [])
    assert of_database() == ["pagestats.W036"]
    assert of_database("migrate") == [], "it is about to make them"


@pytest.mark.django_db
def test_tables_that_no_router_sent_there_are_found(monkeypatch: pytest.MonkeyPatch, database: dict[str, Any]) -> None:
    """Without a router, `migrate --database X` makes our tables in X: then X's settings are checked too."""
    database["TIME_ZONE"] = "Europe/Berlin"
    monkeypatch.setattr(aliases, "sure", list)
    assert ids(checks.check_database_settings()) == []
    assert of_database() == ([] if connection.vendor == "postgresql" else ["pagestats.E023"])


@pytest.mark.django_db
def test_a_constraint_of_the_page_views_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    another = StorableText(field="path", name="pagestats_dropped_by_hand")
    monkeypatch.setattr(PageView._meta, "constraints", [*PageView._meta.constraints, another])
    assert of_database() == ["pagestats.W043"]


@pytest.mark.django_db
def test_a_site_without_a_cluster_that_has_outgrown_keeping_up(settings: Any) -> None:
    """The settings that the hint has to paste are such that nothing is complained of."""
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    settings.PAGESTATS_TAIL_LIMIT = 10
    make_page_views(10)
    assert of_database() == []
    make_page_views(1, seed=1)
    assert of_database() == ["pagestats.W010"]
    assert of_database("shell") == []
    with running("migrate"):
        (message,) = checks.check_databases(databases=["default"])
    pasted = re.search(r"Q_CLUSTER = (\{.*?\})", str(message.hint))
    assert pasted
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_q"]
    settings.Q_CLUSTER = ast.literal_eval(pasted[1])
    assert of_database() == []
    assert of_settings() == []


@pytest.mark.django_db(transaction=True)
def test_before_a_new_release_is_migrated_the_tables_of_the_old_one_are_no_error(settings: Any) -> None:
    """`migrate` runs the checks first: one that asked for a column to come would end it."""
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    try:
        call_command("migrate", "django_pagestats", "0004", verbosity=0)
        assert "tended_at" not in [column.name for column in described(Generation._meta.db_table)]
        with running("migrate"):
            checks.check_databases(databases=["default"])
    finally:
        call_command("migrate", "django_pagestats", verbosity=0)
    assert of_database() == []


def described(table: str) -> list[Any]:
    with connection.cursor() as cursor:
        return connection.introspection.get_table_description(cursor, table)
