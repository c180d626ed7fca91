"""A site with a beacon, as a URLconf: pages for the endpoint's tests, and for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
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


class ForgetfulCache(FailingCache):
    """One that is full: what it has at one moment is gone at the next."""

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return False

    def incr(self, *args: Any, **kwargs: Any) -> int:
        raise ValueError("there is no such key")


# -- what a browser looks at: /<kind>/<name>/, where the kind says what the page has in it

KINDS: dict[str, str] = {
    "plain": "{% pagestats_beacon %}",
    "csp": "{% pagestats_beacon %}",
    "nonce": "{% pagestats_beacon %}",
    "cached": "{% pagestats_beacon %}",
    "later": "{% pagestats_beacon auto=False %}",
    "consent": "{% pagestats_beacon consent=True %}",
    "hash": "{% pagestats_beacon hash=True %}",
    "exclude": '{% pagestats_beacon exclude="/b/$" %}',
    "elsewhere": "{% pagestats_beacon endpoint=other %}",
    "pixel": "{% pagestats_pixel %}",
    "frame": "{% pagestats_beacon %}",
    "button": "{% pagestats_opt_out %}",
    "htmx2": '<script src="/library/htmx2.js"></script>{% pagestats_beacon %}',
    "htmx4": '<script src="/library/htmx4.js"></script>{% pagestats_beacon %}',
    "turbo": '<script src="/library/turbo.js"></script>{% pagestats_beacon %}',
    # as a template that has it at the end of its body, which Turbo replaces with each page
    "turbo-body": '<script src="/library/turbo.js"></script>',
    "prerender": """{% pagestats_beacon %}<script type="speculationrules">
        {"prerender": [{"urls": ["../b/"], "eagerness": "immediate"}]}</script>""",
}
BODY = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{{ name }}</title>
<link rel="icon" href="data:,">HEAD</head>
<body><h1>{{ name }}</h1><p>{% for other in others %}<a hx-boost="true" id="{{ other }}" href="../{{ other }}/">
{{ other }}</a> {% endfor %}</p>{% if kind == "frame" and name == "a" %}<iframe src="../b/"></iframe>{% endif %}
{% if kind == "turbo-body" %}{% pagestats_beacon %}{% endif %}</body></html>"""
NONCE = "c2VzYW1l"
POLICIES = {
    "csp": "default-src 'none'; img-src data:; script-src 'self'; connect-src 'self'",
    "nonce": f"default-src 'none'; img-src data:; script-src 'nonce-{NONCE}'; connect-src 'self'",
}


class Site:
    """What the pages of a test are made with, and what the site was asked for."""

    def __init__(self) -> None:
        #: where the libraries are
        self.libraries = Path()
        #: the endpoint of another origin
        self.other = ""
        #: paths of pages that were asked for, and whether ahead of a click
        self.asked: list[tuple[str, bool]] = []


site = Site()


def shown(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    site.asked.append((request.path, "HTTP_SEC_PURPOSE" in request.META))
    if kind == "nonce":
        request.csp_nonce = NONCE  # type: ignore[attr-defined]
    context = {"kind": kind, "name": name, "others": "abc", "other": site.other}
    response = HttpResponse(rendered(BODY.replace("HEAD", KINDS[kind]), request, context))
    if kind == "cached":
        response["Cache-Control"] = "max-age=600"
    if kind in POLICIES:
        response["Content-Security-Policy"] = POLICIES[kind]
    return response


def library(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse((site.libraries / name).read_bytes(), content_type="text/javascript")


def moved(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(request.GET["to"])


urlpatterns += [
    path("library/<str:name>", library),
    path("moved/", moved),
    *(path(f"{kind}/<slug:name>/", shown, {"kind": kind}) for kind in KINDS),
]
