"""The accounts of a database server that the tests use: an ordinary user's, and the administrator's.

The tests work as a site does: as a user who has all rights on the databases of the tests, and no other right. The
administrator (PAGESTATS_PG_USER, PAGESTATS_MARIADB_USER) makes that user and a database for each worker, and drops
that in the end; a test that needs more than a site may do says `administrator`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from testproject import settings

SITE_USER = "pagestats_site"
#: taken while users and rights are made: PostgreSQL refuses two changes of one role at once
LOCK = 4_712


def settle() -> None:
    """Make the site's user, once for all workers; who has named one that there is (PAGESTATS_DB_USER) keeps it."""
    make = MAKE_USER.get(settings.KIND)
    if make is None or os.environ.get("PAGESTATS_DB_USER"):
        return
    # guessed by nobody who does not know the administrator's; the same for runs beside this one
    password = hashlib.sha256(f"{SITE_USER} {settings.ADMINISTRATOR['PASSWORD']}".encode()).hexdigest()
    with _asking() as ask:
        make(ask, password)
        if settings.KIND == "mariadb" and ask("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"):
            os.environ.setdefault("PAGESTATS_SNAPSHOT_ISOLATION", "1")
    os.environ.update(PAGESTATS_DB_USER=SITE_USER, PAGESTATS_DB_PASSWORD=password)


@contextlib.contextmanager
def own_database(name: str) -> Iterator[None]:
    """An empty database of the site's user, for the length of a block."""
    user = settings.DATABASE["USER"]
    with _asking() as ask:
        DROP[settings.KIND](ask, name)
        if settings.KIND == "postgresql":
            ask(f'CREATE DATABASE "{name}" OWNER "{user}"')
        else:
            ask(f"CREATE DATABASE `{name}` CHARACTER SET {settings.DATABASE['TEST']['CHARSET']}")
    yield
    with _asking() as ask:
        DROP[settings.KIND](ask, name)


def administrator() -> Any:
    """A connection of Django's to the test's database, not yet made, of somebody who may do everything there."""
    from django.db import connection

    found = connection.copy()
    found.settings_dict = {**found.settings_dict, **settings.ADMINISTRATOR}
    return found


def ask_administrator(sql: str, *params: Any) -> list[Any]:
    """What an ordinary user may not see, such as the transactions of MariaDB."""
    with contextlib.closing(administrator()) as connected, connected.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


Ask = Callable[[str], list[Any]]


@contextlib.contextmanager
def _asking() -> Iterator[Ask]:
    """As the administrator, in no database of the tests."""
    with contextlib.closing(connect(settings.KIND)) as connected:
        cursor = connected.cursor()

        def ask(sql: str) -> list[Any]:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

        yield ask


def connect(kind: str, *, seconds: int = 5) -> Any:
    """A connection of the driver's, as the administrator."""
    server = settings.DATABASE
    if kind == "postgresql":
        import psycopg

        return psycopg.connect(
            host=server["HOST"],
            port=server["PORT"],
            user=settings.ADMINISTRATOR["USER"],
            password=settings.ADMINISTRATOR["PASSWORD"],
            dbname="postgres",
            connect_timeout=seconds,
            autocommit=True,
        )
    import MySQLdb

    return MySQLdb.connect(
        host=server["HOST"],
        port=int(server["PORT"]),
        user=settings.ADMINISTRATOR["USER"],
        password=settings.ADMINISTRATOR["PASSWORD"],
        connect_timeout=seconds,
    )


def _make_postgresql_user(ask: Ask, password: str) -> None:
    ask("BEGIN")
    ask(f"SELECT pg_advisory_xact_lock({LOCK})")
    if not ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{SITE_USER}'"):
        ask(f"CREATE ROLE {SITE_USER}")
    ask(
        f"ALTER ROLE {SITE_USER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        f" PASSWORD '{password}'"
    )
    ask("COMMIT")


def _make_mariadb_user(ask: Ask, password: str) -> None:
    for host in "%", "localhost":  # here somebody without a name would come before '%'
        user = f"'{SITE_USER}'@'{host}'"
        ask(f"CREATE USER IF NOT EXISTS {user}")
        ask(f"ALTER USER {user} IDENTIFIED BY '{password}'")
        ask(f"GRANT ALL ON `test\\_pagestats%`.* TO {user}")


MAKE_USER = {"postgresql": _make_postgresql_user, "mariadb": _make_mariadb_user}
DROP: dict[str, Callable[[Ask, str], object]] = {
    "postgresql": lambda ask, name: ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'),
    "mariadb": lambda ask, name: ask(f"DROP DATABASE IF EXISTS `{name}`"),
}
