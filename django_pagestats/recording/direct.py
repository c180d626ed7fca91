"""One page view, by one INSERT of our own on the caller's connection."""

from __future__ import annotations

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_pagestats.intake import RefusedError, Row
from django_pagestats.merging import database_for
from django_pagestats.models import PageView, Reason

_FIELDS = {field.name: field for field in PageView._meta.concrete_fields}
_COLUMNS = ", ".join(str(_FIELDS[name].column) for name in Row._fields)
#: made once; `save()` would send signals, which nothing here needs, and take four times as long
STATEMENT = f"INSERT INTO {PageView._meta.db_table} ({_COLUMNS}) VALUES (%s, %s, %s, %s)"


def insert(row: Row, alias: str) -> None:
    """Store it: at once, or with the caller's transaction, which an error leaves as it was. Raises."""
    connection = connections[alias]
    if not _is_ascii(row):  # ASCII, which nearly all page views are, is the same in every connection's character set
        database_for(alias).refuse_garbling()
    if connection.in_atomic_block:
        if connection.needs_rollback:
            raise RefusedError(Reason.DATABASE, "the transaction is broken: it can only be rolled back")
        with transaction.atomic(using=alias):
            _execute(connection, row)
    elif connection.get_autocommit():
        _execute(connection, row)
    else:
        _insert_in_manual_transaction(connection, row)


def is_in_transaction(alias: str) -> bool:
    """Whether the caller has a transaction there, by `atomic()` or by hand."""
    connection = connections[alias]
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


def _is_ascii(row: Row) -> bool:
    return row.path.isascii() and row.session_key.isascii() and (row.attributes is None or row.attributes.isascii())


def _execute(connection: BaseDatabaseWrapper, row: Row) -> None:
    at = connection.ops.adapt_datetimefield_value(row.viewed_at)
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, (row.path, row.session_key, at, row.attributes))


def _insert_in_manual_transaction(connection: BaseDatabaseWrapper, row: Row) -> None:
    # not atomic(): if its SAVEPOINT fails with autocommit off, Django takes the connection to be in a block for ever
    savepoint = str(connection.savepoint())
    try:
        _execute(connection, row)
    except BaseException:
        connection.savepoint_rollback(savepoint)
        raise
    connection.savepoint_commit(savepoint)
