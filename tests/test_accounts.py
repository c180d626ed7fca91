"""The tests themselves work with no more than a site has: an ordinary user, on the database that was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.utils import DatabaseError

from testproject import settings
from tests.accounts import ask_administrator
from tests.chains import only_on

pytestmark = pytest.mark.django_db


def ask(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@only_on("postgresql")
def test_on_postgresql_the_user_owns_the_database_and_nothing_else() -> None:
    asked = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert ask(f"SELECT {asked} FROM pg_roles WHERE rolname = current_user") == [(False,) * 5]
    assert ask("SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole") == [(0,)]
    owner = "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()"
    assert ask(owner) == [(True,)]


@only_on("mysql")
def test_on_mariadb_the_user_has_rights_on_databases_of_tests_only() -> None:
    granted = [grant for (grant,) in ask("SHOW GRANTS")]
    assert len(granted) == 2, granted
    assert granted[0].startswith("GRANT USAGE ON *.* ")
    assert granted[1].startswith("GRANT ALL PRIVILEGES ON `test\\_pagestats%`.* ")
    with pytest.raises(DatabaseError, match="PROCESS"):
        ask("SELECT trx_id FROM information_schema.INNODB_TRX")


@only_on("postgresql", "mysql")
def test_the_administrator_is_somebody_else() -> None:
    whoever = "SELECT current_user"
    database = "SELECT current_database()" if connection.vendor == "postgresql" else "SELECT database()"
    assert ask_administrator(whoever) != ask(whoever)
    assert ask_administrator(database) == ask(database)


@only_on("postgresql", "mysql")
def test_the_isolation_level_is_what_was_asked_for() -> None:
    if connection.vendor == "postgresql":
        ((level,),) = ask("SHOW default_transaction_isolation")
    else:
        ((level,),) = ask("SELECT @@SESSION.tx_isolation")
    assert level.lower().replace("-", " ") == (settings.ISOLATION or "read committed")


@only_on("mysql")
def test_the_character_set_is_what_was_asked_for() -> None:
    assert ask("SELECT @@character_set_database") == [(settings.DATABASE["TEST"]["CHARSET"],)]
    assert ask("SELECT @@character_set_client") == [("utf8mb4",)]
