"""A site with a beacon, as a URLconf: pages for the endpoint's tests, and for a browser."""

from __future__ import annotations

from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path, re_path

from django_pagestats.decorators import not_counted

#: what a browser sends with a post of the script, over HTTPS
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "*/*",
    "accept-language": "de-DE,de;q=0.5",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "no-cors",
    "sec-fetch-site": "same-origin",
    "origin": "http://testserver",
}


def page(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse("<p>a page</p>")


def rendered(source: str, request: HttpRequest | None, context: dict[str, Any] | None = None) -> str:
    """A template with the tags, as a view's `render()` does it."""
    return str(engines["django"].from_string("{% load django_pagestats %}" + source).render(context, request))


urlpatterns = [
    path("", page),
    path("a/", page),
    path("café/", page),
    path("app/", page),
    path("users/<int:number>/", page),
    path("wiki/<path:name>", page),
    re_path(r"^tags/(?P<name>[a-z]+)/$", page),
    path("secret/", not_counted(page)),
    path("admin/", admin.site.urls),
    path("ps/", include("django_pagestats.urls")),
    *i18n_patterns(path("about/", page)),
]


class FailingCache(BaseCache):
    """One whose server is gone."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("refused")
