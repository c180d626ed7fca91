"""Numbers for the site's own pages: each is asked once in a while, and none of them can break a page.

What was asked is kept for PAGESTATS_TAG_SECONDS, in this process or, where PAGESTATS_CACHE names one, in that cache. An
error of the database gives '' and a line in the log; it leaves the transaction that the page is in as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any, Final, Literal

from django.core.cache import caches
from django.db import router

from django_pagestats import stats
from django_pagestats.clock import local_day
from django_pagestats.conf import conf
from django_pagestats.dashboard.scope import local_today
from django_pagestats.expiring import Expiring
from django_pagestats.harmless import harmlessly, tell
from django_pagestats.models import Aggregate
from django_pagestats.objects import path_of
from django_pagestats.schemas import schema_of

#: of a chart: the day, its page views and visitors, None where there is nothing to say, and whether it is not over
ChartDay = tuple[date, int | None, int | None, bool]
Answer = int | list[stats.PageStats] | list[ChartDay]
#: the page of a tag that names none; one that names what is empty has no page
WHOLE_SITE: Final = object()
#: what a template has in place of an answer that could not be had
Nothing = Literal[""]
Bound = date | datetime | str | None

#: answers that one process keeps
MOST_ANSWERS = 2_000
#: among what is asked: so many days up to today
LAST_DAYS = "last_days"
MISSING = "A number of page statistics is missing on a page"

_kept: Expiring[Answer] = Expiring(MOST_ANSWERS)


def page_views(
    path: object = WHOLE_SITE, days: int | None = None, start: Bound = None, end: Bound = None
) -> Answer | Nothing:
    """The page views of the site, of a URL, or of an object that has one; 0 for None, as of what has no page."""
    return _of(stats.count_page_views, path, _range(days, start, end))


def unique_visitors(
    path: object = WHOLE_SITE, days: int | None = None, start: Bound = None, end: Bound = None
) -> Answer | Nothing:
    """The distinct visitors of the same."""
    return _of(stats.count_unique_visitors, path, _range(days, start, end))


def top_pages(limit: int = 10, days: int | None = None, start: Bound = None, end: Bound = None) -> Answer | Nothing:
    """The most viewed pages."""
    return answered(stats.top_pages, limit=limit, **_range(days, start, end))


def _of(ask: Callable[..., Answer], page: object, span: dict[str, Any]) -> Answer | Nothing:
    if page is WHOLE_SITE:
        return answered(ask, path=None, **span)
    path = path_of(page)
    return 0 if path is None else answered(ask, path=path, **span)


# -- which days


def _range(days: int | None, start: Bound, end: Bound) -> dict[str, Any]:
    """The bounds, or the number of days that end with today."""
    if days is None:
        return {"start": _bound("start", start), "end": _bound("end", end)}
    if start is not None or end is not None:
        raise ValueError(f"days={days!r} with start or end: either of them would do.")
    if not isinstance(days, int) or isinstance(days, bool) or days < 1:
        raise ValueError(f"days={days!r}: a whole number, 1 or more, would do.")
    return {LAST_DAYS: days}


def _last(days: int, using: str) -> dict[str, Bound]:
    """The days up to today, by the zone that the aggregates are in: a changed setting waits for a rebuild."""
    today = local_today(datetime.now(timezone.utc), using)
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


def answered(ask: Callable[..., Answer], **asked: Any) -> Answer | Nothing:
    """What `ask(using=..., **asked)` gives, or gave a while ago; '': it could not be had, which is logged."""
    alias = router.db_for_read(Aggregate)
    # a tenant's schema, where the connection has one: another one has other page views
    key = repr((ask.__name__, sorted(asked.items()), alias, schema_of(alias), _today()))
    found = _remembered(key)
    if found is not None:
        return found
    answer = harmlessly(lambda: _asked(ask, alias, asked), otherwise=None, what=MISSING, using=alias)
    if answer is None:
        return ""
    _remember(key, answer)
    return answer


def _asked(ask: Callable[..., Answer], alias: str, asked: dict[str, Any]) -> Answer:
    asked = dict(asked)
    if (days := asked.pop(LAST_DAYS, None)) is not None:
        asked |= _last(days, alias)
    return ask(using=alias, **asked)


def _remembered(key: str) -> Answer | None:
    if not conf.TAG_SECONDS:
        return None
    if conf.CACHE is None:
        return _kept.get(key)
    try:
        found: Answer | None = caches[conf.CACHE].get(_cache_key(key))
    except Exception as error:  # each backend has errors of its own
        tell("The cache of page statistics failed", error)
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
        tell("The cache of page statistics failed", error)


def _cache_key(key: str) -> str:
    """One that every cache takes, however long the path."""
    return f"pagestats:tag:{sha256(key.encode()).hexdigest()}"
