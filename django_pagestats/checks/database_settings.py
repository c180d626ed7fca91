"""What can be wrong with the settings of the databases that hold our tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage
from django.db import connections

from django_pagestats import aliases
from django_pagestats.checks.messages import Apps, choice, error, told, warning
from django_pagestats.merging.charsets import CHARSET

VENDORS = ("mysql", "postgresql", "sqlite")
UTC_NAMES = (None, "UTC", "Etc/UTC")


def check_database_settings(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return told(message for alias in aliases.sure() for message in check_one(alias))


def check_one(alias: str) -> Iterator[CheckMessage]:
    connection: Any = connections[alias]
    options = connection.settings_dict.get("OPTIONS") or {}
    if connection.vendor not in VENDORS:
        yield unsupported_vendor(alias, connection.display_name)
        return
    if not connection.settings_dict.get("AUTOCOMMIT", True):
        yield autocommit_off(alias)
    if connection.vendor != "postgresql" and connection.settings_dict.get("TIME_ZONE") not in UTC_NAMES:
        yield database_not_in_utc(alias, connection.settings_dict["TIME_ZONE"])
    if connection.vendor == "postgresql":
        if not _is_psycopg_3():
            yield old_psycopg(alias)
        if options.get("pool") and apps.is_installed("django_q"):
            yield connection_pool(alias)
    elif connection.vendor == "sqlite":
        # without a cluster nobody folds chunk after chunk: a site as Django makes it has nothing to be told of
        is_deferred = str(options.get("transaction_mode")).upper() != "IMMEDIATE" and not connection.is_in_memory_db()
        if is_deferred and apps.is_installed("django_q"):
            yield transactions_deferred(alias)
    else:
        yield from _check_mysql_settings(alias, connection, options)


def _check_mysql_settings(alias: str, connection: Any, options: dict[str, Any]) -> Iterator[CheckMessage]:
    if connection.Database.__name__ != "MySQLdb":
        yield other_driver(alias, connection.Database.__name__)
    if is_read_uncommitted(options.get("isolation_level")):
        yield read_uncommitted(alias, 'OPTIONS["isolation_level"]')
    charset = options.get("charset", CHARSET)
    if str(charset).lower() != CHARSET:
        yield text_garbled(alias, f'OPTIONS["charset"] is {charset!r}')


def _is_psycopg_3() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


def is_read_uncommitted(level: object) -> bool:
    return str(level).replace("-", " ").strip().lower() == "read uncommitted"


def unsupported_vendor(alias: str, name: str) -> CheckMessage:
    return error(
        20,
        f"DATABASES[{alias!r}] is {name}: page statistics need SQLite, PostgreSQL, MariaDB or MySQL.",
        "Give the app django_pagestats a database of its own by a database router, see docs/settings.md#databases.",
    )


def old_psycopg(alias: str) -> CheckMessage:
    return error(
        21,
        f"DATABASES[{alias!r}] is used through psycopg2: the aggregates are written by COPY as psycopg 3 has it.",
        'Run pip install "psycopg[binary]>=3.1.18"; Django then takes it by itself.',
    )


def connection_pool(alias: str) -> CheckMessage:
    return choice(
        22,
        f'DATABASES[{alias!r}]["OPTIONS"]["pool"] is on: the processes of a qcluster are forked, and would share the'
        " connections of the pool.",
        'Leave "pool" out where manage.py qcluster runs, and write "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True'
        " there.",
    )


def database_not_in_utc(alias: str, zone: str) -> CheckMessage:
    return error(
        23,
        f'DATABASES[{alias!r}]["TIME_ZONE"] is {zone!r}: page views would be counted in the wrong hours, since the'
        " database takes its times for UTC.",
        f'Remove "TIME_ZONE" from DATABASES[{alias!r}], after converting the times that are stored.',
    )


def transactions_deferred(alias: str) -> CheckMessage:
    return warning(
        24,
        f"DATABASES[{alias!r}] (SQLite) begins transactions as readers: beside a backfill, more than half of those that"
        ' go on to write fail with "database is locked".',
        f'Write DATABASES[{alias!r}]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command":'
        ' "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.',
    )


def read_uncommitted(alias: str, where: str) -> CheckMessage:
    return error(
        25,
        f"DATABASES[{alias!r}] reads what is not committed, by {where}: answers would show half-merged aggregates.",
        f'Write DATABASES[{alias!r}]["OPTIONS"]["isolation_level"] = "read committed".',
    )


def text_garbled(alias: str, why: str) -> CheckMessage:
    return error(
        37,
        f"DATABASES[{alias!r}] does not carry every character ({why}): an emoji in a path becomes '?' on the way, and"
        " pages are taken for one.",
        f'Write DATABASES[{alias!r}]["OPTIONS"]["charset"] = "{CHARSET}", and no other SET NAMES in an init_command.',
    )


def autocommit_off(alias: str) -> CheckMessage:
    return error(
        26,
        f"DATABASES[{alias!r}] has AUTOCOMMIT off: what a backfill writes outside its transactions would be undone.",
        f'Remove "AUTOCOMMIT" from DATABASES[{alias!r}], or give the app django_pagestats a database of its own.',
    )


def other_driver(alias: str, name: str) -> CheckMessage:
    return choice(
        27,
        f"DATABASES[{alias!r}] is used through {name}: page statistics are tested with mysqlclient only.",
        'Run pip install "mysqlclient>=2.2.1" and remove what puts the other driver in its place.',
    )
