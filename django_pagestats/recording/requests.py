"""One request, one page view or a reason against it: the same way for the middleware, the beacon and the pixel."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, InterfaceError, router
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

from django_pagestats import intake
from django_pagestats.conf import conf
from django_pagestats.headers.addresses import client_address
from django_pagestats.headers.robots import is_robot_request
from django_pagestats.models import PageView, Reason
from django_pagestats.recording import (
    attributes,
    duplicates,
    left_out,
    new_paths,
    policies,
    proxies,
    storing,
    suspending,
    visitors,
)
from django_pagestats.recording.opting_out import is_opted_out
from django_pagestats.recording.paths import page_of

logger = logging.getLogger(__name__)

MIDDLEWARE, BEACON, PIXEL = "middleware", "beacon", "pixel"


class _Outcome(NamedTuple):
    """What became of a request: no reason, it is recorded."""

    reason: Reason | None
    #: whoever gave the reason has counted it
    is_counted: bool = False


def record_request(
    request: HttpRequest,
    response: HttpResponseBase | None = None,
    *,
    path: str,
    query: str,
    referrer: str | None,
    seen_by: str,
) -> Reason | None:
    """Record the page view of a request, or count why it is left out; gives the reason, None if it is recorded.

    `path` is decoded, as `request.path` is; `query` is what followed it, of which nothing is stored but what
    PAGESTATS_QUERY and the names of campaigns allow; `referrer` is what a script on the page says of it, None: the
    request is the page's own, and its headers are believed; `response` may get a cookie where the policy says so.
    Never raises, but for SynchronousOnlyOperation where a running event loop keeps it from the database: nothing has
    happened then.
    """
    try:
        outcome = _recorded(request, response, path, query, referrer, seen_by)
    except SynchronousOnlyOperation:
        raise
    except (DatabaseError, InterfaceError) as error:
        logger.error("A page view was not recorded: %s: %s", type(error).__name__, error)
        outcome = _Outcome(Reason.DATABASE)
    except Exception:
        logger.exception("A page view was not recorded")
        outcome = _Outcome(Reason.UNEXPECTED)
    if outcome.reason is not None and not outcome.is_counted:
        left_out.count(outcome.reason)
    return outcome.reason


async def arecord_request(
    request: HttpRequest, response: HttpResponseBase | None = None, **kwargs: Any
) -> Reason | None:
    """The same from an event loop: by one hop to a thread, or none where a buffer takes it and no database is asked."""
    if conf.BUFFER and not _asks_the_site() and not storing.needs_a_thread():
        try:
            return record_request(request, response, **kwargs)
        except SynchronousOnlyOperation:
            pass  # a salt, a session, a policy's row: once in a while
    return await sync_to_async(record_request, thread_sensitive=True)(request, response, **kwargs)


def _asks_the_site() -> bool:
    """Whether callables of the site are asked, which may ask the database."""
    named = conf.VISITOR_KEY in visitors.NAMED and conf.CONSENT is None and conf.PATH is None
    return not named or attributes.ask_the_site()


def _recorded(
    request: HttpRequest, response: HttpResponseBase | None, path: str, query: str, referrer: str | None, seen_by: str
) -> _Outcome:
    page = _page_to_record(request, path, query)
    if isinstance(page, Reason):
        return _Outcome(page)
    using = router.db_for_write(PageView)
    if suspending.is_resting(using):
        return _Outcome(Reason.DATABASE)
    at = datetime.now(timezone.utc)
    address = client_address(request.META)
    visitor = visitors.visitor_of(request, response, address=address, at=at, using=using)
    if visitor is None:
        return _Outcome(Reason.NO_VISITOR)
    known = attributes.attributes_of(request, response, query=query, referrer=referrer)
    if known.is_spam:
        return _Outcome(Reason.REFERRER_SPAM)
    policies.note(conf.VISITOR_KEY, at=at, using=using)
    # checked, each where it was made
    row = intake.Row(page, visitor.session_key, at, intake.attributes_text(known.values))
    outcome = _stored(row, using, seen_by)
    if outcome.reason is None:
        proxies.watch(request.META, address)
    if outcome.reason is None and visitor.new_cookie is not None and response is not None:
        visitors.set_cookie(request, response, visitor.new_cookie)
    return outcome


def _page_to_record(request: HttpRequest, path: str, query: str) -> str | Reason:
    """The page, or why nothing is recorded of who asks for it."""
    if (refusal := refusal_of(request)) is not None:
        return refusal
    page = page_of(request, path, query)
    if isinstance(page, Reason):
        return page
    if is_left_out_staff(request):
        return Reason.STAFF
    if conf.CONSENT is not None and import_string(conf.CONSENT)(request) is not True:
        return Reason.NO_CONSENT
    return page


def _stored(row: intake.Row, using: str, seen_by: str) -> _Outcome:
    is_both = conf.RECORD_WITH == "both"
    if is_both and seen_by != MIDDLEWARE and duplicates.take_mark(row.session_key, row.path):
        return _Outcome(Reason.DUPLICATE)
    if seen_by != MIDDLEWARE and new_paths.is_one_too_many(row.path):
        return _Outcome(Reason.UNKNOWN_PATH)
    if not duplicates.is_first(row.session_key, row.path):
        return _Outcome(Reason.DUPLICATE)
    reason = storing.store(row, using=using)
    if reason is not None:
        duplicates.forget(row.session_key, row.path)
    elif is_both and seen_by == MIDDLEWARE:
        duplicates.mark(row.session_key, row.path)
    return _Outcome(reason, is_counted=True)


def refusal_of(request: HttpRequest) -> Reason | None:
    """Why nothing is recorded of who asks, by the headers and cookies of the request alone."""
    meta = request.META
    if is_robot_request(meta):
        return Reason.ROBOT
    if is_opted_out(request):
        return Reason.OPTED_OUT
    if conf.HONOUR_GPC and meta.get("HTTP_SEC_GPC") == "1":
        return Reason.GPC
    if conf.HONOUR_DNT and meta.get("HTTP_DNT") == "1":
        return Reason.DNT
    return None


def is_left_out_staff(request: HttpRequest) -> bool:
    """Whether signed-in staff is asking, and is left out."""
    if not conf.EXCLUDE_STAFF:
        return False
    user = visitors.user_of(request)
    return user is not None and bool(getattr(user, "is_staff", False))
