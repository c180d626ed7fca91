"""What is answered in place of an answer: problem details (RFC 9457), with the value and the fix."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from django_pagestats.api.rendering import dumped

CONTENT_TYPE = "application/problem+json"
#: seconds after which it may be tried again
RETRY_SECONDS = 5


class ProblemError(Exception):
    """Ends a request with a status and a sentence that names the value and the fix."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str, parameter: str | None = None, value: str | None = None) -> None:
        super().__init__(detail)
        self.detail, self.parameter, self.value = detail, parameter, value

    def headers(self) -> dict[str, str]:
        return {}


class BadRequestError(ProblemError):
    """A parameter is missing, unknown, or no question."""


class UnauthorizedError(ProblemError):
    """Nobody is signed in, and no token in force is shown."""

    status = 401
    title = "Unauthorized"

    def __init__(self, detail: str, *, is_token_wrong: bool = False) -> None:
        super().__init__(detail)
        self.is_token_wrong = is_token_wrong

    def headers(self) -> dict[str, str]:
        challenge = 'Bearer realm="statistics"'
        return {"WWW-Authenticate": f'{challenge}, error="invalid_token"' if self.is_token_wrong else challenge}


class ForbiddenError(ProblemError):
    """Who asks may not ask this."""

    status = 403
    title = "Forbidden"


class MethodNotAllowedError(ProblemError):
    """It only reads."""

    status = 405
    title = "Method not allowed"

    def headers(self) -> dict[str, str]:
        return {"Allow": "GET, HEAD"}


class ListMovedError(ProblemError):
    """The numbers that a list is ordered by moved between two answers."""

    status = 409
    title = "Conflict"


class UnavailableError(ProblemError):
    """It cannot be answered now, or until somebody does what the sentence says."""

    status = 503
    title = "Service unavailable"

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(RETRY_SECONDS)}


def problem_response(problem: ProblemError) -> HttpResponse:
    body: dict[str, Any] = {"title": problem.title, "status": problem.status, "detail": problem.detail}
    if problem.parameter is not None:
        body |= {"parameter": problem.parameter, "value": problem.value}
    response = HttpResponse(dumped(body), status=problem.status, content_type=CONTENT_TYPE)
    for name, value in problem.headers().items():
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    return response
