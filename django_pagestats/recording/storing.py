"""Storing page views: one append to PageView, nothing else."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter

from django.db import DatabaseError, InterfaceError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_pagestats import intake
from django_pagestats.exceptions import GarbledTextError
from django_pagestats.intake import RefusedError
from django_pagestats.merging import database_for
from django_pagestats.models import PageView, Reason
from django_pagestats.recording import left_out
from django_pagestats.sequences import sequence_behind, sequence_told

logger = logging.getLogger(__name__)

#: What `record_page_views` takes: the keyword arguments of `record_page_view`, or the same in order, or a model object.
Item = Mapping[str, object] | tuple[object, ...] | list[object] | PageView

_VALUES = ("path", "session_key", "viewed_at", "attributes")


def record_page_view(
    *,
    path: str,
    session_key: str,
    viewed_at: datetime | None = None,
    attributes: Mapping[str, str] | None = None,
    using: str | None = None,
) -> bool:
    """Store one page view; `viewed_at` is an aware datetime, None is now. Never raises.

    `attributes`: names of 1 to 32 of a-z0-9_ -> text of 1 to 255 characters, at most 4,096 bytes in all as JSON.
    One INSERT, and a savepoint around it inside a transaction. True if it is stored (with the caller's transaction, if
    there is one). What cannot be stored is logged with the value cut to 200 characters, counted by reason (`LeftOut`),
    and gives False; the caller's transaction goes on.
    """
    try:
        given = intake.page_view(path=path, session_key=session_key, viewed_at=viewed_at, attributes=attributes)
        _insert(given, using)
    except Exception as error:
        with contextlib.suppress(Exception):  # a log handler or a repr that raises is not the request's trouble
            _refuse(error, path, using)
        return False
    return True


def record_page_views(items: Iterable[Item], *, using: str | None = None) -> int:
    """Store many page views, all or none, in one transaction; gives their number.

    Each item is a mapping with the keys of `record_page_view`, a tuple or list (path, session_key[, viewed_at[,
    attributes]]) or an unsaved PageView (which is copied, not changed). Memory is bounded: items are taken as they come
    and written in batches, with the transaction open. Raises ValueError for a bad item, naming its position, the value
    and the fix, SequenceBehindError, and the database's errors.
    """
    alias = using or router.db_for_write(PageView)
    written = 0
    with transaction.atomic(using=alias):
        for batch in intake.batches(_page_views(items), attrgetter("path")):
            for page_view in batch:
                _refuse_garbling(page_view, alias)
            with sequence_told(alias):
                PageView.objects.using(alias).bulk_create(batch)
            written += len(batch)
    return written


def _insert(page_view: PageView, using: str | None) -> None:
    alias = using or router.db_for_write(PageView)
    connection = connections[alias]
    _refuse_garbling(page_view, alias)
    if not connection.in_atomic_block:
        if connection.get_autocommit():
            page_view.save(force_insert=True, using=alias)
        else:
            _insert_in_manual_transaction(page_view, connection)
        return
    if connection.needs_rollback:
        raise RefusedError(Reason.DATABASE, "the transaction is broken: it can only be rolled back")
    with transaction.atomic(using=alias):
        page_view.save(force_insert=True, using=alias)


def _refuse_garbling(page_view: PageView, alias: str) -> None:
    """ASCII, which nearly all page views are, is the same in every character set of a connection."""
    if not (page_view.path.isascii() and page_view.session_key.isascii()):
        database_for(alias).refuse_garbling()


def _insert_in_manual_transaction(page_view: PageView, connection: BaseDatabaseWrapper) -> None:
    # not atomic(): if its SAVEPOINT fails with autocommit off, Django takes the connection to be in a block for ever
    savepoint = str(connection.savepoint())
    try:
        page_view.save(force_insert=True, using=connection.alias)
    except BaseException:
        connection.savepoint_rollback(savepoint)
        raise
    connection.savepoint_commit(savepoint)


def _refuse(error: Exception, path: object, using: str | None) -> None:
    reason = _reason(error)
    left_out.count(reason, using=using)
    if isinstance(error, RefusedError):
        logger.warning("A page view was not recorded: %s", error)
    else:
        known = sequence_behind(using or router.db_for_write(PageView), error) if _is_of_database(error) else ""
        cause = known or f"{type(error).__name__}: {str(error)[: intake.SHOWN_LENGTH]}"
        logger.error("A page view of %s was not recorded: %s: %s", intake.shown(path), reason.value, cause)


def _reason(error: Exception) -> Reason:
    if isinstance(error, RefusedError):
        return error.reason
    return Reason.DATABASE if _is_of_database(error) else Reason.UNEXPECTED


def _is_of_database(error: Exception) -> bool:
    return isinstance(error, (DatabaseError, InterfaceError, GarbledTextError))


def _page_views(items: Iterable[Item]) -> Iterator[PageView]:
    for number, item in enumerate(items):
        try:
            yield _page_view(item)
        except ValueError as error:
            raise ValueError(f"Item {number}: {error}") from error


def _page_view(item: Item) -> PageView:
    if isinstance(item, PageView):
        return _copy(item)
    if isinstance(item, Mapping):
        values = dict(item)
    elif isinstance(item, (tuple, list)) and 2 <= len(item) <= len(_VALUES):
        values = dict(zip(_VALUES, item, strict=False))
    else:
        raise ValueError(
            f"{intake.shown(item)} is no page view: give a mapping or a PageView, or (path, session_key, viewed_at,"
            " attributes)"
        )
    if unknown := values.keys() - set(_VALUES):
        raise ValueError(f"a page view has no {intake.shown(str(min(unknown, key=str)))}: give {', '.join(_VALUES)}")
    return intake.page_view(
        path=values.get("path"),
        session_key=values.get("session_key"),
        viewed_at=values.get("viewed_at"),
        attributes=values.get("attributes"),
    )


def _copy(given: PageView) -> PageView:
    key: object = given.pk
    if key is not None:
        raise ValueError(f"the page view {key} has a primary key already: give it without one")
    checked = intake.page_view(
        path=given.path, session_key=given.session_key, viewed_at=given.viewed_at, attributes=given.attributes
    )
    copied = copy.copy(given)  # with whatever other columns it has
    copied.path, copied.session_key, copied.viewed_at = checked.path, checked.session_key, checked.viewed_at
    copied.attributes = checked.attributes
    return copied
