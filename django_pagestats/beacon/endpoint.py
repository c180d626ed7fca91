"""What becomes of a request to the endpoint: who may tell of a page view, of which page, and how that is answered."""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest, UnreadablePostError

from django_pagestats import intake
from django_pagestats.beacon import limits, messages, origins, pages
from django_pagestats.beacon.messages import MalformedError, Message
from django_pagestats.conf import conf
from django_pagestats.headers.navigation import Kind, kind_of
from django_pagestats.models import Reason
from django_pagestats.recording import left_out, switch
from django_pagestats.recording.paths import is_not_counted_view
from django_pagestats.recording.requests import BEACON, PIXEL, record_request

#: what the pixel's address says of the page: its path, decoded, and of its query what makes a page of its own
PATH, QUERY = "p", "q"


class Answer(NamedTuple):
    """A status, and for whoever looks at it a line of text."""

    status: int
    text: str = ""


#: whether it was counted or not: nobody learns that from outside
TAKEN = Answer(204)


def take_post(request: HttpRequest) -> Answer:
    """The script tells of a page view."""
    if (refusal := _refusal(request)) is not None:
        return refusal
    try:
        body = request.read(messages.MAX_BYTES + 1)
    except UnreadablePostError:
        return Answer(400, "the body has no end")
    if len(body) > messages.MAX_BYTES:
        return Answer(413, f"a body has at most {messages.MAX_BYTES} bytes")
    try:
        message = messages.parse(body)
    except MalformedError as error:
        return Answer(400, str(error))
    if _is_on():
        _tell(request, message)
    return TAKEN


def take_pixel(request: HttpRequest) -> Answer:
    """A browser without scripts has loaded the image of a page."""
    if (refusal := _refusal(request)) is not None:
        return refusal
    path = request.GET.get(PATH, "")
    if not path.startswith("/"):
        return Answer(400, f"the parameter {PATH!r} is no path")
    if _is_on():
        _record(request, path, query=request.GET.get(QUERY, ""), referrer=None, seen_by=PIXEL)
    return TAKEN


def _refusal(request: HttpRequest) -> Answer | None:
    if not origins.is_welcome(request):
        left_out.count(Reason.CROSS_SITE)
        return Answer(403, "pages of other sites are not counted here (PAGESTATS_BEACON_ORIGINS)")
    if limits.is_too_many(request):
        left_out.count(Reason.RATE_LIMIT)
        return Answer(429, f"at most {conf.RATE_LIMIT} (PAGESTATS_RATE_LIMIT)")
    return None


def _is_on() -> bool:
    """Also a page that brings the script by a tag of its own is not counted twice where the middleware counts it."""
    return conf.RECORD_WITH != "middleware" and switch.is_on()


def _tell(request: HttpRequest, message: Message) -> None:
    try:
        path = intake.normalise_path(message.path)
    except intake.RefusedError as error:
        left_out.count(error.reason)
        return
    _record(request, path, query=message.query, referrer=message.referrer, seen_by=BEACON)


def _record(request: HttpRequest, path: str, *, query: str, referrer: str | None, seen_by: str) -> None:
    if (reason := _reason_against(request, path)) is not None:
        left_out.count(reason)
        return
    record_request(request, None, path=path, query=query, referrer=referrer, seen_by=seen_by)


def _reason_against(request: HttpRequest, path: str) -> Reason | None:
    """Why the page that is told of is none, or is left out; the rest is what holds for each request."""
    if kind_of(request.META) is Kind.PREFETCH:
        return Reason.PREFETCH
    if origins.is_listed(request):  # its pages are of another URLconf, or of no Django
        return None
    match = pages.match_of(request, path)
    if match is None:
        return Reason.UNKNOWN_PATH
    return Reason.EXCLUDED_PATH if is_not_counted_view(match) else None
