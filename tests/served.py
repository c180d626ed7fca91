"""A site as servers serve it: `gunicorn tests.served:application`, `uvicorn tests.served:asgi_application`.

Each page says which process has made it, so that a test knows who took part.
"""

from __future__ import annotations

import os
from typing import Any

# as in the asgi.py of a site: before Django is set up
from django_pagestats.asgi import flush_on_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.served_settings")

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

application = get_wsgi_application()
asgi_application = flush_on_shutdown(get_asgi_application())

from django_pagestats.decorators import not_counted  # noqa: E402 - they need Django's apps
from django_pagestats.recording import record_page_view  # noqa: E402


def answer() -> HttpResponse:
    return HttpResponse(f"<!doctype html><title>a page</title>{os.getpid()}")


def page(request: HttpRequest, name: str) -> HttpResponse:
    return answer()


async def async_page(request: HttpRequest, name: str) -> HttpResponse:
    return answer()


@not_counted
def by_hand(request: HttpRequest, name: str) -> HttpResponse:
    """Recorded by a call of the site's own, and not by the middleware."""
    record_page_view(path=request.path, session_key="a visitor")
    return answer()


urlpatterns: list[Any] = [
    path("page/<name>/", page),
    path("async/<name>/", async_page),
    path("hand/<name>/", by_hand),
    path("numbers/", include("django_pagestats.api.urls")),
]
