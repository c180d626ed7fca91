"""Storing page views: one append to PageView, nothing else; at once, or by way of the buffer."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from datetime import datetime

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connections, router

from django_pagestats import intake
from django_pagestats.conf import conf
from django_pagestats.exceptions import GarbledTextError
from django_pagestats.intake import RefusedError, Row
from django_pagestats.models import PageView, Reason
from django_pagestats.recording import background, buffering, direct, left_out, suspending
from django_pagestats.schemas import schema_of
from django_pagestats.sequences import sequence_behind

logger = logging.getLogger(__name__)


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
    there is one), or, with PAGESTATS_BUFFER, in the buffer. What cannot be stored is logged with the value cut to 200
    characters, counted by reason (`LeftOut`), and gives False; the caller's transaction goes on.
    """
    try:
        row = intake.row(path=path, session_key=session_key, viewed_at=viewed_at, attributes=attributes)
    except Exception as error:
        _refuse(error, path, using)
        return False
    return store(row, using=using) is None


def store(row: Row, *, using: str | None = None) -> Reason | None:
    """Store a page view of checked values, or put it into the buffer: None; else why not, counted and logged already.

    Never raises. With PAGESTATS_BUFFER it asks no database, and may be called in an event loop.
    """
    try:
        alias = using or router.db_for_write(PageView)
        reason = buffering.add(row, alias) if conf.BUFFER else _insert(row, alias)
        background.start()  # of which jobs some are no recording, as keeping the statistics up where no cluster does
    except Exception as error:
        return _refuse(error, row.path, using)
    if reason is not None:
        _count(reason, using)
    return reason


def needs_a_thread() -> bool:
    """Whether `store` is not for an event loop: it asks the database, or only a thread knows whose schema it is.

    Never raises.
    """
    try:
        return not conf.BUFFER or schema_of(router.db_for_write(PageView)) is not None
    except Exception:  # a router's; `store` meets it again, and says so
        return True


def _insert(row: Row, alias: str) -> Reason | None:
    if suspending.is_suspended(alias):
        return Reason.DATABASE
    connection = connections[alias]
    is_of_caller = direct.is_in_transaction(connection)
    began = time.monotonic()
    try:
        direct.insert(row, connection)
    except Exception as error:
        # in a transaction of the caller's it may be that which failed, and the next statement will tell
        if _is_trouble(error) and (not is_of_caller or time.monotonic() - began > conf.SLOW_SECONDS):
            suspending.suspend(alias, _cause(error, alias))
        raise
    took = time.monotonic() - began
    if took > conf.SLOW_SECONDS:
        suspending.suspend(alias, f"one INSERT took {took:.1f} s (PAGESTATS_SLOW_SECONDS)")
    else:
        suspending.lift(alias)
    return None


def _is_trouble(error: Exception) -> bool:
    """Whether it says something of the database, and not of this one page view."""
    return isinstance(error, (DatabaseError, InterfaceError)) and not isinstance(error, (DataError, IntegrityError))


def _refuse(error: Exception, path: object, using: str | None) -> Reason:
    reason = _reason(error)
    _count(reason, using)
    with contextlib.suppress(Exception):  # a log handler or a repr that raises is not the request's trouble
        if isinstance(error, RefusedError):
            logger.warning("A page view was not recorded: %s", error)
        else:
            cause = _cause(error, using or router.db_for_write(PageView)) if _is_of_database(error) else _name(error)
            logger.error("A page view of %s was not recorded: %s: %s", intake.shown(path), reason.value, cause)
    return reason


def _count(reason: Reason, using: str | None) -> None:
    with contextlib.suppress(Exception):  # such as a PAGESTATS_TIME_ZONE that is none
        left_out.count(reason, using=using)


def _cause(error: Exception, alias: str) -> str:
    return sequence_behind(alias, error) or _name(error)


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[: intake.SHOWN_LENGTH]}"


def _reason(error: Exception) -> Reason:
    if isinstance(error, RefusedError):
        return error.reason
    return Reason.DATABASE if _is_of_database(error) else Reason.UNEXPECTED


def _is_of_database(error: Exception) -> bool:
    return isinstance(error, (DatabaseError, InterfaceError, GarbledTextError))
