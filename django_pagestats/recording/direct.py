"""One page view, by one INSERT of our own on the caller's connection."""

from __future__ import annotations

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_pagestats.intake import RefusedError, Row
from django_pagestats.merging import database_for
from django_pagestats.models import PageView, Reason

_COLUMNS = {field.name: str(field.column) for field in PageView._meta.concrete_fields}


def statement(*fields: str) -> str:
    """An INSERT of so many fields of the model; `save()` would send signals, and take three times as long."""
    columns = ", ".join(_COLUMNS[field] for field in fields)
    return f"INSERT INTO {PageView._meta.db_table} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"


#: made once; the shorter one is also for a table to which the column is being added
SHORT = statement(*Row._fields[:3])
WHOLE = statement(*Row._fields)


def insert(row: Row, connection: BaseDatabaseWrapper) -> None:
    """Store it: at once, or with the caller's transaction, which an error leaves as it was. Raises."""
    if not _is_ascii(row):  # ASCII, which nearly all page views are, is the same in every connection's character set
        database_for(connection.alias).refuse_garbling()
    if connection.connection is None:
        connection.ensure_connection()
    if connection.in_atomic_block:
        if connection.needs_rollback:
            raise RefusedError(Reason.DATABASE, "the transaction is broken: it can only be rolled back")
        with transaction.atomic(using=connection.alias):
            _execute(connection, row)
    elif connection.autocommit:
        _execute(connection, row)
    else:
        _insert_in_manual_transaction(connection, row)


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller has a transaction there, by `atomic()` or by hand."""
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


def _is_ascii(row: Row) -> bool:
    return row.path.isascii() and row.session_key.isascii() and (row.attributes is None or row.attributes.isascii())


def _execute(connection: BaseDatabaseWrapper, row: Row) -> None:
    at = connection.ops.adapt_datetimefield_value(row.viewed_at)
    with connection.cursor() as cursor:
        if row.attributes is None:
            cursor.execute(SHORT, (row.path, row.session_key, at))
        else:
            cursor.execute(WHOLE, (row.path, row.session_key, at, row.attributes))


def _insert_in_manual_transaction(connection: BaseDatabaseWrapper, row: Row) -> None:
    # not atomic(): if its SAVEPOINT fails with autocommit off, Django takes the connection to be in a block for ever
    savepoint = str(connection.savepoint())
    try:
        _execute(connection, row)
    except BaseException:
        connection.savepoint_rollback(savepoint)
        raise
    connection.savepoint_commit(savepoint)
