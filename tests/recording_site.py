"""A site with pages of every kind, as a URLconf, and what its visitors send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_page

from django_pagestats.decorators import not_counted
from django_pagestats.models import PageView

MIDDLEWARE = "django_pagestats.middleware.PageViewMiddleware"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
#: what a browser sends of a click
BROWSER = {
    "HTTP_USER_AGENT": FIREFOX,
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "de-DE,de;q=0.5",
    "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_SITE": "none",
}


def page(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse("<p>a page</p>")


async def async_page(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse("<p>a page</p>")


def of_kind(request: HttpRequest, kind: str) -> HttpResponseBase:
    """What is answered with other than a page, and with a page in other ways."""
    answers: dict[str, Any] = {
        "json": lambda: JsonResponse({}),
        "text": lambda: HttpResponse("", content_type="text/plain"),
        "xhtml": lambda: HttpResponse("", content_type="Application/XHTML+XML; charset=utf-8"),
        "none": lambda: HttpResponse("", content_type=""),
        "created": lambda: HttpResponse("", status=201),
        "partial": lambda: HttpResponse("", status=206),
        "lost": lambda: HttpResponse("", status=404),
        "moved": lambda: HttpResponse("", status=302, headers={"Location": "/"}),
        "same": HttpResponseNotModified,
        "public": lambda: HttpResponse("", headers={"Cache-Control": "public, max-age=60"}),
        "file": lambda: FileResponse(iter([b"x"]), content_type="application/pdf"),
        "stream": lambda: StreamingHttpResponse(unread(), content_type="text/html"),
    }
    response: HttpResponseBase = answers[kind]()
    return response


class ReadError(AssertionError):
    """Somebody has read a stream that is the server's to read."""


def unread() -> Iterator[bytes]:
    raise ReadError
    yield b""


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a fault of the site")


def rolls_back(request: HttpRequest) -> HttpResponse:
    """With ATOMIC_REQUESTS: what the view has written is undone, and the page is shown."""
    transaction.set_rollback(True)
    return HttpResponse("<p>not saved</p>")


def sets_session(request: HttpRequest) -> HttpResponse:
    request.session["a"] = 1
    return HttpResponse("<p>welcome</p>")


@method_decorator(not_counted, name="dispatch")
class NotCounted(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("<p>secret</p>")


@not_counted
async def async_not_counted(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>secret</p>")


urlpatterns = [
    path("", page),
    path("async/", async_page),
    path("kind/<str:kind>/", of_kind),
    path("failing/", failing),
    path("rolled-back/", rolls_back),
    path("session/", sets_session),
    path("not-counted/", not_counted(page)),
    path("not-counted/class/", NotCounted.as_view()),
    path("not-counted/async/", async_not_counted),
    path("cached/", cache_page(60)(page)),
    path("users/<int:number>/", page),
    re_path(r"^tags/(?P<name>[a-z]+)/$", page),
    path("blog/", include(([path("<slug:slug>/", page)], "blog"))),
    path("admin/", admin.site.urls),
    path("ps/", include("django_pagestats.urls")),
    *i18n_patterns(path("about/", page)),
]

# for settings that name a callable


def consents(request: HttpRequest) -> bool:
    return request.COOKIES.get("consent") == "yes"


def by_header(request: HttpRequest) -> str | None:
    return request.META.get("HTTP_X_READER")


def wrong_type(request: HttpRequest) -> Any:
    return 7


def raises(*args: Any) -> Any:
    raise RuntimeError("a fault of the site")


def without_number(request: HttpRequest, path: str) -> str | None:
    return None if path.startswith("/users/0") else path.rstrip("0123456789/") + "/"


def asks_in_a_loop(request: HttpRequest) -> bool:
    async def ask() -> bool:
        return PageView.objects.exists()

    return asyncio.run(ask())
