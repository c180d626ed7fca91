"""The cookie by which a browser is taken out, and put back; it says nothing but that."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

COOKIE_NAME = "pagestats_opt_out"
#: as long as browsers keep a cookie
COOKIE_SECONDS = 400 * 86_400
_OUT = "1"


def is_opted_out(request: HttpRequest) -> bool:
    """Whether nothing is to be recorded of this browser."""
    return request.COOKIES.get(COOKIE_NAME) == _OUT


def opt_out(request: HttpRequest, response: HttpResponseBase) -> None:
    """Take the browser out: HttpOnly, since each request of the site brings the cookie and no script needs it."""
    response.set_cookie(
        COOKIE_NAME,
        _OUT,
        max_age=COOKIE_SECONDS,
        path="/",
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def opt_in(response: HttpResponseBase) -> None:
    """Count the browser again."""
    response.delete_cookie(COOKIE_NAME, path="/", samesite="Lax")
