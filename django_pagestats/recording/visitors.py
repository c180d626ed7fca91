"""Who a visitor is: the session key of a request, by the policy of PAGESTATS_VISITOR_KEY; docs/privacy.md."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import router
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string

from django_pagestats import salts
from django_pagestats.conf import conf
from django_pagestats.models import Salt
from django_pagestats.recording import suspending

#: the policies that have names; any other is the dotted path of the site's own
DAILY, MONTHLY, SESSION, USER, COOKIE = "daily", "monthly", "session", "user", "cookie"
NAMED = (DAILY, MONTHLY, SESSION, USER, COOKIE)

COOKIE_NAME = "pagestats_visitor"
COOKIE_SECONDS = 365 * 86_400
_COOKIE_VALUE = re.compile("[A-Za-z0-9_-]{22}")


class Visitor(NamedTuple):
    """The session key of a page view, and the value of a cookie that the response is to set."""

    session_key: str
    new_cookie: str | None = None


def visitor_of(
    request: HttpRequest,
    response: HttpResponseBase | None,
    *,
    address: str | None,
    at: datetime,
    using: str | None = None,
) -> Visitor | None:
    """Who is asking, as the policy tells visitors apart; None if nothing tells her from others.

    `address` is the client's, of IPv6 its /64. Raises the database's errors, and those of the site's own callable.
    """
    policy = conf.VISITOR_KEY
    if policy not in NAMED:
        return _of_the_site(policy, request, using)
    if policy == COOKIE and (visitor := _of_cookie(request, response, using)) is not None:
        return visitor
    if policy == SESSION and (session := session_of(request)) is not None:
        return Visitor(hashed(salts.PERMANENT, using, SESSION, session))
    if policy == USER and (user := user_of(request)) is not None:
        return Visitor(hashed(salts.PERMANENT, using, USER, str(user.pk)))
    if address is None:
        return None
    period = salts.month_of(at) if policy == MONTHLY else salts.day_of(at)
    agent = str(request.META.get("HTTP_USER_AGENT", ""))
    return Visitor(hashed(period, using, address, agent))


def client_of(request: HttpRequest, address: str, *, using: str | None = None) -> str:
    """Who asks, by address and user agent alone: the same for a page and its beacon, whatever the policy, for ever.

    For the memory of a minute; it is stored nowhere.
    """
    return hashed(salts.PERMANENT, using, "client", address, str(request.META.get("HTTP_USER_AGENT", "")))


def _of_the_site(policy: str, request: HttpRequest, using: str | None) -> Visitor | None:
    own: object = import_string(policy)(request)
    if own is None:
        return None
    if not isinstance(own, str):
        raise TypeError(f"{policy} gave a value of type {type(own).__name__}: it must give text, or None")
    return Visitor(hashed(salts.PERMANENT, using, "own", own))


def _of_cookie(request: HttpRequest, response: HttpResponseBase | None, using: str | None) -> Visitor | None:
    value = request.COOKIES.get(COOKIE_NAME, "")
    if _COOKIE_VALUE.fullmatch(value):
        return Visitor(hashed(salts.PERMANENT, using, COOKIE, value))
    if response is None or "public" in response.get("Cache-Control", "").lower():
        return None
    value = secrets.token_urlsafe(16)
    return Visitor(hashed(salts.PERMANENT, using, COOKIE, value), value)


def set_cookie(request: HttpRequest, response: HttpResponseBase, value: str) -> None:
    """Give the visitor a cookie of her own, with `Vary: Cookie`, so that no cache hands it to the next one."""
    response.set_cookie(
        COOKIE_NAME,
        value,
        max_age=COOKIE_SECONDS,
        path=settings.SESSION_COOKIE_PATH,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )
    patch_vary_headers(response, ["Cookie"])


def hashed(period: str, using: str | None, *parts: str) -> str:
    """A keyed hash by the salt of a period, which the database is asked for once.

    The permanent salt is a random key too, and not SECRET_KEY, which gets rotated.
    """
    alias = using or router.db_for_write(Salt)
    salt = salts.remembered(period, using=alias)
    if salt is None:
        with suspending.watched(alias):
            salt = salts.salt(period, using=alias)
    return salts.keyed_hash(salt, *parts)


def session_of(request: HttpRequest) -> str | None:
    """The key of the session that the visitor has already; none is made, and none is taken on trust from a cookie."""
    session: Any = getattr(request, "session", None)
    if session is None or not has_session_cookie(request):
        return None
    session.keys()  # reads it: the key of one that does not exist is forgotten
    key: str | None = session.session_key
    return key


def has_session_cookie(request: HttpRequest) -> bool:
    """Whether there may be a session; it is read only then."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES


def user_of(request: HttpRequest) -> Any:
    """The user who is signed in, or None."""
    if not has_session_cookie(request):
        return None
    user: Any = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None
