"""Each check of the databases' settings, by what brings it about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_pagestats import checks
from tests.checking import of_database, of_settings, only


class Nowhere:
    """A router that keeps our tables out of the default database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_pagestats" else None


def test_a_database_without_our_tables_is_left_alone(settings: Any, database: dict[str, Any]) -> None:
    database["TIME_ZONE"] = "Asia/Tokyo"
    database["OPTIONS"] = {"pool": True, "isolation_level": "read uncommitted"}
    assert of_settings() != []
    settings.DATABASE_ROUTERS = ["tests.test_checks_database_settings.Nowhere"]
    assert of_settings() == []
    assert of_database() == []


class Oracle(BaseDatabaseWrapper):
    vendor = "oracle"
    display_name = "Oracle"


@pytest.fixture
def legacy(settings: Any) -> Iterator[str]:
    """A second database, of a kind that is not supported, such as many sites have beside theirs."""
    connections.settings["legacy"] = {**connection.settings_dict, "ENGINE": "oracle"}
    connections["legacy"] = object.__new__(Oracle)
    connections["legacy"].settings_dict = connections.settings["legacy"]
    yield "legacy"
    del connections["legacy"]
    del connections.settings["legacy"]


class Everywhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return True


def test_an_unsupported_database(settings: Any, legacy: str) -> None:
    assert of_settings() == [], "without a router our tables are in the default database"
    settings.DATABASE_ROUTERS = ["tests.test_checks_database_settings.Everywhere"]
    (message,) = checks.check_database_settings()
    assert message.id == "pagestats.E020"
    assert "Oracle" in message.msg
    assert checks.check_databases(databases=[legacy]) == []


@only("postgresql")
def test_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.backends.postgresql.psycopg_any.is_psycopg3", False)
    assert of_settings() == ["pagestats.E021"]


@only("postgresql")
def test_a_pool_in_a_cluster(settings: Any, database: dict[str, Any]) -> None:
    database["OPTIONS"] = {"pool": True}
    assert of_settings() == ["pagestats.W022"]
    assert of_settings("qcluster") == ["pagestats.W022"]
    assert of_settings("collectstatic") == []
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    assert of_settings() == []


def test_a_database_not_in_utc(database: dict[str, Any]) -> None:
    database["TIME_ZONE"] = "Europe/Berlin"
    assert of_settings() == ([] if connection.vendor == "postgresql" else ["pagestats.E023"])
    database["TIME_ZONE"] = "UTC"
    assert of_settings() == []


@only("sqlite")
@pytest.mark.parametrize("options", [{}, {"transaction_mode": "DEFERRED"}, {"transaction_mode": None}])
def test_deferred_transactions(database: dict[str, Any], options: dict[str, Any]) -> None:
    database["OPTIONS"] = options
    assert of_settings() == ["pagestats.W024"]


@only("sqlite")
def test_a_database_in_memory_is_for_tests(database: dict[str, Any]) -> None:
    database["OPTIONS"] = {}
    database["NAME"] = ":memory:"
    assert of_settings() == []


def test_autocommit_off(database: dict[str, Any]) -> None:
    database["AUTOCOMMIT"] = False
    assert of_settings() == ["pagestats.E026"]


@only("mysql")
def test_another_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.Database, "__name__", "pymysql")
    assert of_settings() == ["pagestats.W027"]
    assert of_settings("collectstatic") == []


@only("mysql")
def test_a_character_set_that_lacks_characters(database: dict[str, Any]) -> None:
    for charset, wanted in [("utf8", ["pagestats.E037"]), ("latin1", ["pagestats.E037"]), ("utf8mb4", [])]:
        database["OPTIONS"] = {"charset": charset}
        assert of_settings("shell") == wanted
    database["OPTIONS"] = {}
    assert of_settings() == []


@only("mysql")
@pytest.mark.parametrize("level", ["read uncommitted", "READ-UNCOMMITTED"])
def test_read_uncommitted_in_the_settings(database: dict[str, Any], level: str) -> None:
    database["OPTIONS"] = {"isolation_level": level}
    assert of_settings() == ["pagestats.E025"]
