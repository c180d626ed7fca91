"""What can be wrong with our own tables: constraints that somebody dropped, columns that lack characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage

from django_pagestats.checks.messages import error, warning
from django_pagestats.models import PageView

NARROW_COLUMNS = (
    "SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = DATABASE()"
    " AND table_name LIKE 'django\\_pagestats\\_%' AND character_set_name <> 'utf8mb4' ORDER BY 1"
)


def check_tables(alias: str, connection: Any) -> Iterator[CheckMessage]:
    """The tables are there; the connection is open."""
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, PageView._meta.db_table)
        if missing := [constraint.name for constraint in PageView._meta.constraints if constraint.name not in there]:
            yield constraints_missing(alias, missing)
        if connection.vendor == "mysql":
            cursor.execute(NARROW_COLUMNS)
            if columns := [column for (column,) in cursor.fetchall()]:
                yield columns_narrow(alias, columns)


def constraints_missing(alias: str, missing: Sequence[str]) -> CheckMessage:
    return warning(
        43,
        f"DATABASES[{alias!r}]: the table of page views lacks {', '.join(missing)}: one row that nobody can count ends"
        " all answers and folding.",
        "Correct or delete the page views that verify_aggregates names, and put the constraints back as manage.py"
        " sqlmigrate django_pagestats 0001 shows them.",
    )


def columns_narrow(alias: str, columns: Sequence[str]) -> CheckMessage:
    return error(
        44,
        f"DATABASES[{alias!r}]: {', '.join(columns)} cannot hold every character, for the character set is not"
        " utf8mb4: statements fail that compare them with others of ours (error 1267).",
        "ALTER TABLE ... MODIFY them as manage.py sqlmigrate django_pagestats 0001 shows them.",
    )
