"""One request, one page view or a reason against it: the same way for the middleware, the beacon and the pixel."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timezone
from typing import NamedTuple

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
    Never raises.
    """
    try:
        outcome = _recorded(request, response, path, query, referrer, seen_by)
    except Exception as error:
        outcome = _Outcome(_reason(error))
    return _counted(outcome)


async def arecord_request(
    request: HttpRequest,
    response: HttpResponseBase | None = None,
    *,
    path: str,
    query: str,
    referrer: str | None,
    seen_by: str,
) -> Reason | None:
    """The same from an event loop: by one hop to a thread, or none where a buffer takes it and nobody else is asked."""
    if conf.BUFFER and not _asks_others():
        try:
            return _counted(_recorded(request, response, path, query, referrer, seen_by))
        except SynchronousOnlyOperation:
            pass  # a salt, a session, a policy's row: once in a while; nothing has happened yet
        except Exception as error:
            return _counted(_Outcome(_reason(error)))
    in_thread = sync_to_async(record_request, thread_sensitive=True)
    return await in_thread(request, response, path=path, query=query, referrer=referrer, seen_by=seen_by)


def _asks_others() -> bool:
    """Whether callables of the site are asked, or a cache: they may wait, or ask the database."""
    named = conf.VISITOR_KEY in visitors.NAMED and conf.CONSENT is None and conf.PATH is None
    return not named or conf.CACHE is not None or attributes.ask_the_site() or storing.needs_a_thread()


def _reason(error: Exception) -> Reason:
    """Why an error left a page view out; it is logged, but for a database that is left alone for a while."""
    with suppress(Exception):  # a log handler that raises is not the request's trouble
        if isinstance(error, (DatabaseError, InterfaceError)):
            if not isinstance(error, suspending.SuspendedError):
                logger.error("A page view was not recorded: %s: %s", type(error).__name__, error)
        else:
            logger.error("A page view was not recorded", exc_info=error)
    return Reason.DATABASE if isinstance(error, (DatabaseError, InterfaceError)) else Reason.UNEXPECTED


def _counted(outcome: _Outcome) -> Reason | None:
    if outcome.reason is not None and not outcome.is_counted:
        with suppress(Exception):  # such as a PAGESTATS_TIME_ZONE that is none
            left_out.count(outcome.reason)
    return outcome.reason


def _recorded(
    request: HttpRequest, response: HttpResponseBase | None, path: str, query: str, referrer: str | None, seen_by: str
) -> _Outcome:
    using = router.db_for_write(PageView)
    page = _page_to_record(request, path, query, using)
    if isinstance(page, Reason):
        return _Outcome(page)
    at = datetime.now(timezone.utc)
    address = client_address(request.META)
    visitor = visitors.visitor_of(request, response, address=address, at=at, using=using)
    if visitor is None:
        proxies.watch(request.META, address)  # an address is missing: perhaps a proxy is not named
        return _Outcome(Reason.NO_VISITOR)
    policies.note(conf.VISITOR_KEY, at=at, using=using)
    marked = _marked_by(request, address, visitor, using) if conf.RECORD_WITH == "both" else ""
    # what PAGESTATS_PATH makes one page of are two views all the same
    seen = page if conf.PATH is None else path + intake.query_of_page(query)
    if (reason := _reason_against(visitor.session_key, page, seen, marked, seen_by)) is not None:
        return _Outcome(reason)
    # after the look for duplicates: what is not recorded uses up no new value of the day
    known = attributes.attributes_of(request, response, query=query, referrer=referrer)
    if known.is_spam:
        duplicates.forget(visitor.session_key, seen)
        return _Outcome(Reason.REFERRER_SPAM)
    # checked, each where it was made
    reason = storing.store(intake.Row(page, visitor.session_key, at, intake.attributes_text(known.values)), using=using)
    if reason is not None:
        duplicates.forget(visitor.session_key, seen)
        return _Outcome(reason, is_counted=True)
    if marked and seen_by == MIDDLEWARE:
        duplicates.mark(marked, seen)
    proxies.watch(request.META, address)
    if visitor.new_cookie is not None and response is not None:
        visitors.set_cookie(request, response, visitor.new_cookie)
    return _Outcome(None)


def _page_to_record(request: HttpRequest, path: str, query: str, using: str) -> str | Reason:
    """The page, or why nothing is recorded of who asks for it."""
    if (refusal := refusal_of(request)) is not None:
        return refusal
    page = page_of(request, path, query)
    if isinstance(page, Reason):
        return page
    if is_left_out_staff(request, using):
        return Reason.STAFF
    if conf.CONSENT is not None and import_string(conf.CONSENT)(request) is not True:
        return Reason.NO_CONSENT
    return page


def _marked_by(request: HttpRequest, address: str | None, visitor: visitors.Visitor, using: str) -> str:
    """What a page and its beacon have in common: a session, a cookie or a new day may change the key in between."""
    return visitor.session_key if address is None else visitors.client_of(request, address, using=using)


def _reason_against(session_key: str, page: str, seen: str, marked: str, seen_by: str) -> Reason | None:
    """Whether this is one page view more; if so, the next one of the same is a duplicate."""
    if seen_by != MIDDLEWARE:
        if marked and duplicates.take_mark(marked, seen):
            return Reason.DUPLICATE
        if new_paths.is_one_too_many(page):
            return Reason.UNKNOWN_PATH
    return None if duplicates.is_first(session_key, seen) else Reason.DUPLICATE


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


def is_left_out_staff(request: HttpRequest, using: str) -> bool:
    """Whether signed-in staff is asking, and is left out; sessions are asked for as what is ours is."""
    if not conf.EXCLUDE_STAFF or not visitors.has_session_cookie(request):
        return False
    with suspending.watched(using):
        user = visitors.user_of(request)
        return user is not None and bool(getattr(user, "is_staff", False))
