"""Numbers for the site's own pages: each is asked once in a while, and none of them can break a page.

What was asked is kept for PAGESTATS_TAG_SECONDS, in this process or, where PAGESTATS_CACHE names one, in that cache. An
error of the database gives '' and a line in the log; it leaves the transaction that the page is in as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any, Literal

from django.core.cache import caches
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, InterfaceError, connections, router, transaction

from django_pagestats import stats
from django_pagestats.clock import local_day
from django_pagestats.conf import conf
from django_pagestats.exceptions import PageStatsError
from django_pagestats.expiring import Expiring
from django_pagestats.models import Aggregate
from django_pagestats.objects import path_of
from django_pagestats.schemas import schema_of

logger = logging.getLogger(__name__)

Answer = int | list[stats.PageStats]
#: what a template has in place of an answer that could not be had
Nothing = Literal[""]
Bound = date | datetime | str | None

#: answers that one process keeps
MOST_ANSWERS = 2_000
#: how often the same kind of error is logged
TOLD_SECONDS = 60.0

_kept: Expiring[Answer] = Expiring(MOST_ANSWERS)
_told: Expiring[bool] = Expiring(10)


def page_views(
    path: object = None, days: int | None = None, start: Bound = None, end: Bound = None
) -> Answer | Nothing:
    """The page views of the site, of a URL, or of an object with `get_absolute_url()`."""
    return _of(stats.count_page_views, path, _range(days, start, end))


def unique_visitors(
    path: object = None, days: int | None = None, start: Bound = None, end: Bound = None
) -> Answer | Nothing:
    """The distinct visitors of the same."""
    return _of(stats.count_unique_visitors, path, _range(days, start, end))


def top_pages(limit: int = 10, days: int | None = None, start: Bound = None, end: Bound = None) -> Answer | Nothing:
    """The most viewed pages."""
    return _answer(stats.top_pages, limit=limit, **_range(days, start, end))


def _of(ask: Callable[..., Answer], page: object, span: dict[str, Bound]) -> Answer | Nothing:
    if page is None:
        return _answer(ask, path=None, **span)
    path = path_of(page)
    return 0 if path is None else _answer(ask, path=path, **span)


# -- which days


def _range(days: int | None, start: Bound, end: Bound) -> dict[str, Bound]:
    if days is None:
        return {"start": _bound("start", start), "end": _bound("end", end)}
    if start is not None or end is not None:
        raise ValueError(f"days={days!r} with start or end: either of them would do.")
    if not isinstance(days, int) or isinstance(days, bool) or days < 1:
        raise ValueError(f"days={days!r}: a whole number, 1 or more, would do.")
    today = _today()
    first = max(today.toordinal() - days + 1, date.min.toordinal())
    return {"start": date.fromordinal(first), "end": today + timedelta(days=1)}


def _bound(name: str, bound: Bound) -> Bound:
    """A template has no dates of its own: it may write them as text."""
    if not isinstance(bound, str):
        return bound
    try:
        return date.fromisoformat(bound)
    except ValueError:
        raise ValueError(f"{name}={bound!r}: a date such as 2026-01-31 would do.") from None


def _today() -> date:
    return local_day(datetime.now(timezone.utc))


# -- asked, or remembered


def _answer(ask: Callable[..., Answer], **asked: Any) -> Answer | Nothing:
    try:
        alias = router.db_for_read(Aggregate)
        # a tenant's schema, where the connection has one: another one has other page views
        schema = schema_of(alias)
        key = repr((ask.__name__, sorted(asked.items()), alias, schema, _today()))
        found = _remembered(key)
        if found is None:
            found = _asked(ask, alias, asked)
            _remember(key, found)
        return found
    except (DatabaseError, InterfaceError, PageStatsError, SynchronousOnlyOperation) as error:
        _tell("A number of page statistics is missing on a page", error)
        return ""


def _asked(ask: Callable[..., Answer], alias: str, asked: dict[str, Any]) -> Answer:
    connection = connections[alias]
    is_open = connection.in_atomic_block or not connection.get_autocommit()
    # a savepoint: after an error PostgreSQL would take nothing more of the page's transaction
    with transaction.atomic(using=alias) if is_open else nullcontext():
        return ask(using=alias, **asked)


def _remembered(key: str) -> Answer | None:
    if not conf.TAG_SECONDS:
        return None
    if conf.CACHE is None:
        return _kept.get(key)
    try:
        found: Answer | None = caches[conf.CACHE].get(_cache_key(key))
    except Exception as error:  # each backend has errors of its own
        _tell("The cache of page statistics failed", error)
        return None
    return found


def _remember(key: str, answer: Answer) -> None:
    if not conf.TAG_SECONDS:
        return
    if conf.CACHE is None:
        _kept.put(key, answer, conf.TAG_SECONDS)
        return
    try:
        caches[conf.CACHE].set(_cache_key(key), answer, conf.TAG_SECONDS)
    except Exception as error:
        _tell("The cache of page statistics failed", error)


def _cache_key(key: str) -> str:
    """One that every cache takes, however long the path."""
    return f"pagestats:tag:{sha256(key.encode()).hexdigest()}"


def _tell(what: str, error: Exception) -> None:
    if _told.get(what) is None:
        _told.put(what, True, TOLD_SECONDS)
        logger.error("%s: %s: %s", what, type(error).__name__, str(error)[:200])
