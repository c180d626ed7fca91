"""The SQL that adds to what was left out: one statement, so that whoever adds at the same time adds too."""

from __future__ import annotations

from datetime import date

from django.db import connections

from django_pagestats.merging import database_for
from django_pagestats.models import LeftOut

TABLE = LeftOut._meta.db_table
#: how a row that is there already gets what is added
ADDED = {
    "mysql": "ON DUPLICATE KEY UPDATE {count} = {count} + VALUES({count})",
    "postgresql": "ON CONFLICT (day, reason) DO UPDATE SET {count} = {table}.{count} + excluded.{count}",
    "sqlite": "ON CONFLICT (day, reason) DO UPDATE SET {count} = {table}.{count} + excluded.{count}",
}


def add(using: str, day: date, reason: str, number: int) -> None:
    """So many more were left out on a day for a reason, in a transaction of its own, or in a part of the caller's."""
    connection = connections[using]
    count = connection.ops.quote_name("count")
    added = ADDED[connection.vendor].format(table=TABLE, count=count)
    with database_for(using).transaction(), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (day, reason, {count}) VALUES (%s, %s, %s) {added}",
            [connection.ops.adapt_datefield_value(day), reason, number],
        )
