"""Numbers on pages that are none of ours: an error gives something in their place, a line in the log, and breaks none.

The transaction that the page is in stays as it was, so that the rest of the page can go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, InterfaceError, connections, transaction

from django_pagestats.exceptions import PageStatsError
from django_pagestats.expiring import Expiring

logger = logging.getLogger(__name__)

T = TypeVar("T")
D = TypeVar("D")

#: how often the same kind of error is logged
TOLD_SECONDS = 60.0
#: what may become of a question: in each of these the page can do without the answer
FAILURES = (DatabaseError, InterfaceError, PageStatsError, SynchronousOnlyOperation)

_told: Expiring[bool] = Expiring(100)


def harmlessly(ask: Callable[[], T], *, otherwise: D, what: str, using: str) -> T | D:
    """The answer of a question to the database or, where that fails, `otherwise`; the log begins with `what`."""
    try:
        connection = connections[using]
        is_open = connection.in_atomic_block or not connection.get_autocommit()
        # a savepoint: after an error PostgreSQL would take nothing more of the page's transaction
        with transaction.atomic(using=using) if is_open else nullcontext():
            return ask()
    except FAILURES as error:
        tell(what, error)
        return otherwise


def tell(what: str, error: Exception) -> None:
    """Log an error that breaks nothing, once a minute of each kind."""
    if _told.get(what) is None:
        _told.put(what, True, TOLD_SECONDS)
        logger.error("%s: %s: %s", what, type(error).__name__, str(error)[:200])
