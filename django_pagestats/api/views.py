"""One view for each question: who asks, what, has it changed, the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required  # which needs no such app
from django.db import connections, router, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from django_pagestats.api import etags
from django_pagestats.api.access import access_of
from django_pagestats.api.answering import Answer, Asked, Question, check_access
from django_pagestats.api.openapi import document
from django_pagestats.api.operations import Operation, checked_rows
from django_pagestats.api.parameters import MOST_SHOWN, listed, parsed
from django_pagestats.api.problems import (
    BadRequestError,
    MethodNotAllowedError,
    ProblemError,
    UnavailableError,
    problem_response,
)
from django_pagestats.api.rendering import csv_text, dumped
from django_pagestats.decorators import not_counted
from django_pagestats.exceptions import (
    AnswerUnsettledError,
    ArgumentError,
    PageStatsError,
    TailTooLongError,
    UnknownDimensionError,
)
from django_pagestats.models import Aggregate

logger = logging.getLogger(__name__)

#: whoever asks keeps it, and asks whether it still holds; nobody between keeps it for others
KEPT_BY_ONE = "private, no-cache"

View = Callable[[HttpRequest], HttpResponse]


def view_of(operation: Operation) -> View:
    return _view(partial(_answered, operation))


def openapi() -> View:
    return _view(_described)


def _view(answered: Callable[[HttpRequest], HttpResponse]) -> View:
    """What all of them have in common; each decides by itself who may ask, and answers in JSON who may not."""

    @login_not_required
    @csrf_exempt  # nothing but GET is answered, and a refusal is JSON here, not a page
    @not_counted
    def view(request: HttpRequest) -> HttpResponse:
        try:
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowedError(f"{request.method}: GET would do; nothing can be changed here.")
            response = answered(request)
        except ProblemError as problem:
            response = problem_response(problem)
        patch_vary_headers(response, ("Authorization", "Cookie"))
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    # a transaction of the request's that shows what others commit could keep an answer from settling
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
    return view


def _described(request: HttpRequest) -> HttpResponse:
    access_of(request, datetime.now(timezone.utc))
    for name, value in request.GET.items():
        raise BadRequestError("The document has no parameters.", name[:MOST_SHOWN], str(value)[:MOST_SHOWN])
    text = dumped(document(request.path.rpartition("/")[0] or "/"))
    response = HttpResponse(text, content_type="application/json")
    response.headers["Cache-Control"] = KEPT_BY_ONE
    return response


def _answered(operation: Operation, request: HttpRequest) -> HttpResponse:
    access = access_of(request, datetime.now(timezone.utc))
    parameters = parsed(operation.all_parameters, request.GET)
    paths, wheres = (listed(operation.parameters, parameters, name) for name in ("path", "where"))
    question = Question(operation.name, parameters, paths, wheres)
    asked = Asked(question, access, router.db_for_read(Aggregate))
    try:
        check_access(asked)
        return _conditionally(operation, request, asked)
    except PageStatsError as error:
        raise _problem_of(error, asked) from error
    except ArgumentError as error:  # it names the value and the fix
        raise BadRequestError(str(error), error.name, request.GET.get(error.name, "")[:MOST_SHOWN]) from error


def _conditionally(operation: Operation, request: HttpRequest, asked: Asked) -> HttpResponse:
    """The answer or, where it is the one that who asks has already, 304."""

    def unchanged(etag: str | None) -> HttpResponse | None:
        found = None if etag is None else get_conditional_response(request, etag=etag)
        return None if found is None else _kept(found, etag)

    etag, is_everything = None, asked.access.is_everything
    if operation.is_of_page_views and is_everything:
        etag = etags.etag_of(asked.question, asked.using)
        if (found := unchanged(etag)) is not None:
            return found
    response = _rendered(operation, request, asked["format"], operation.answer(asked))
    if not is_everything:
        etag = etags.etag_of_answer(response)
        if (found := unchanged(etag)) is not None:
            return found
    return _kept(response, etag)


def _kept(response: HttpResponse, etag: str | None) -> HttpResponse:
    if etag is not None:
        response.headers["ETag"] = etag
    response.headers["Cache-Control"] = KEPT_BY_ONE
    return response


def _rendered(operation: Operation, request: HttpRequest, format_: str, answer: Answer) -> HttpResponse:
    if format_ == "csv":
        names = [column.name for column in operation.columns]
        text = csv_text(names, (list(row.values()) for row in checked_rows(operation, answer.rows)))
        response = HttpResponse(text, content_type="text/csv; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="{operation.name}.csv"'
    else:
        response = HttpResponse(dumped(_body(operation, answer)), content_type="application/json")
    if answer.cursor is not None:
        query = request.GET.copy()
        query["cursor"] = answer.cursor
        url = request.build_absolute_uri(f"{request.path}?{urlencode(query, doseq=True)}")
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def _body(operation: Operation, answer: Answer) -> dict[str, Any]:
    fields = {it.name: answer.fields[it.name] for it in operation.fields}
    rows = list(checked_rows(operation, answer.rows))
    return {**fields, "rows": rows} if operation.is_list else {**fields, **rows[0]}


def _problem_of(error: PageStatsError, asked: Asked) -> ProblemError:
    if not asked.access.is_everything:
        # how much is not folded, or what is wrong with which page view, is about the whole site
        logger.error("An answer of the API failed.", exc_info=error)
        return UnavailableError("It cannot be answered now: the site's log says why.")
    if isinstance(error, UnknownDimensionError):
        wheres = [f"{name}:{value}" for name, value in asked.question.wheres if name == error.name]
        return BadRequestError(str(error), "where" if wheres else "dimension", wheres[0] if wheres else error.name)
    if isinstance(error, (AnswerUnsettledError, TailTooLongError)):
        return UnavailableError(str(error))
    # it may name a page view, which who asks need not be allowed to see
    logger.error("An answer of the API failed.", exc_info=error)
    return UnavailableError(
        f"The page views cannot be counted ({type(error).__name__}): the site's log says why, and manage.py"
        " verify_aggregates finds them."
    )
