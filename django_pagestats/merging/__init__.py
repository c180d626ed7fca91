"""The SQL that differs between databases: reading page views, getting ids, merging a tally. One file a database."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_pagestats.merging.base import Database, Highest, Waits
from django_pagestats.merging.mysql import MySQL
from django_pagestats.merging.page_views import PageViewColumns, PageViewRow
from django_pagestats.merging.postgresql import PostgreSQL
from django_pagestats.merging.sqlite import SQLite
from django_pagestats.merging.troubles import BINARY_LOG_TOLD, LASTING, RowsLockedError, Trouble

__all__ = [
    "BINARY_LOG_TOLD",
    "LASTING",
    "Database",
    "Highest",
    "PageViewColumns",
    "PageViewRow",
    "RowsLockedError",
    "Trouble",
    "Waits",
    "database_for",
]

VENDORS: dict[str, type[Database]] = {"mysql": MySQL, "postgresql": PostgreSQL, "sqlite": SQLite}


def database_for(using: str) -> Database:
    """The SQL of the database behind an alias, bound to this thread's connection."""
    connection = connections[using]
    try:
        vendor = VENDORS[connection.vendor]
    except KeyError:
        raise ImproperlyConfigured(
            f"DATABASES[{using!r}] is {connection.vendor}: page statistics need SQLite, PostgreSQL, MariaDB or MySQL."
        ) from None
    return vendor(connection)
