"""Records the page views of a site; docs/recording.md says what is counted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from django_pagestats.conf import conf
from django_pagestats.headers.navigation import Kind, kind_of
from django_pagestats.models import Reason
from django_pagestats.recording import left_out, switch
from django_pagestats.recording.paths import is_not_counted
from django_pagestats.recording.requests import MIDDLEWARE, arecord_request, record_request

logger = logging.getLogger(__name__)

#: media types of pages
PAGES = ("text/html", "application/xhtml+xml")


class PageViewMiddleware:
    """First in MIDDLEWARE, or right after SecurityMiddleware: then it sees what a cache answers, too.

    It adds no header, makes no session and never raises. Sync and async: without a hop to another thread where the site
    is sync, with one for each page view where it is async, and none there with PAGESTATS_BUFFER.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.__acall__(request)
        response: HttpResponseBase = self.get_response(request)
        if _is_page_view(request, response):
            record_request(request, response, **_asked(request))
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        if _is_page_view(request, response):
            await arecord_request(request, response, **_asked(request))
        return response


def _asked(request: HttpRequest) -> dict[str, Any]:
    return {
        "path": request.path,
        "query": str(request.META.get("QUERY_STRING", "")),
        "referrer": None,  # the headers of the request are the page's own
        "seen_by": MIDDLEWARE,
    }


def _is_page_view(request: HttpRequest, response: HttpResponseBase) -> bool:
    """The same, and False where it cannot be told: a page is never lost to its statistics."""
    try:
        return is_page_view(request, response)
    except Exception:
        with suppress(Exception):  # a log handler or a time zone that is none is not the request's trouble
            logger.exception("Whether a request was a page view could not be told")
            left_out.count(Reason.UNEXPECTED)
        return False


def is_page_view(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether a request was a visit of a page; what was fetched ahead is counted as left out. Asks no database."""
    if conf.RECORD_WITH == "beacon" or request.method != "GET" or not _is_page(request, response):
        return False
    if not switch.is_on():
        return False
    kind = kind_of(request.META)
    if kind is Kind.OTHER:
        return False
    if is_not_counted(request):
        left_out.count(Reason.EXCLUDED_PATH)
        return False
    if kind is Kind.PREFETCH:
        left_out.count(Reason.PREFETCH)
        return False
    return True


def _is_page(request: HttpRequest, response: HttpResponseBase) -> bool:
    """By status and media type; an answer "not modified" has none, there the request says what it wanted."""
    if response.status_code == 304:
        return "text/html" in request.META.get("HTTP_ACCEPT", "")
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return response.status_code == 200 and media_type in PAGES
