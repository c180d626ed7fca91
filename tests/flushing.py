"""What a test with real commits has left is taken away: what Django does after each, in a third of the time.

Django empties every table, makes the content types and permissions anew, and on PostgreSQL writes each table and index
to a new file, though most were not touched. Here those two tables stay as they are, and on PostgreSQL those that hold
nothing.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections
from django.test import TransactionTestCase

from django_pagestats.apps import schedule_tending

#: nobody changes their rows, nor those that refer to them only
KEPT = {"django_content_type", "auth_permission"}

#: a table that has not one page has no row either, not even a dead one; of those with partitions only the parts have
#: pages; and PostgreSQL empties no table alone that another one refers to
USED = """
WITH RECURSIVE used AS (
    SELECT oid FROM pg_class
    WHERE relname = ANY(%s) AND pg_table_is_visible(oid) AND (relhassubclass OR pg_relation_size(oid) > 0)
    UNION
    SELECT conrelid FROM pg_constraint JOIN used ON confrelid = used.oid WHERE contype = 'f'
)
SELECT relname FROM pg_class JOIN used ON used.oid = pg_class.oid ORDER BY relname
"""


def flush(using: str) -> None:
    connection = connections[using]
    tables = sorted({*connection.introspection.django_table_names(only_existing=True, include_views=False)} - KEPT)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(USED, [tables])
            tables = [table for (table,) in cursor.fetchall()]
    if statements := connection.ops.sql_flush(no_style(), tables):
        connection.ops.execute_sql_flush(statements)
    # the only receiver of post_migrate besides those of what stays
    schedule_tending(apps.get_app_config("django_pagestats"), using)


def after_each_test() -> None:
    """From now on, in the place of Django's `flush`."""

    def tear_down(self: Any) -> None:
        for using in self._databases_names(include_mirrors=False):
            flush(using)

    TransactionTestCase._fixture_teardown = tear_down  # type: ignore[method-assign]
