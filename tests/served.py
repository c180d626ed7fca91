"""A site as servers serve it: `gunicorn tests.served:application`, `uvicorn tests.served:asgi_application`.

Each page answers with the process that made it, so that a test knows which of them took part.
"""

from __future__ import annotations

import os
from typing import Any

from django_pagestats.asgi import flush_on_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.served_settings")

import django
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

django.setup()

from django_pagestats.recording import record_page_view  # noqa: E402 - which needs Django's apps


def answer() -> HttpResponse:
    return HttpResponse(f"<!doctype html><title>a page</title>{os.getpid()}")


def page(request: HttpRequest, name: str) -> HttpResponse:
    """Counted by hand."""
    record_page_view(path=request.path, session_key="a visitor")
    return answer()


async def quick_page(request: HttpRequest, name: str) -> HttpResponse:
    """Counted by hand in the event loop, which only the buffer can."""
    record_page_view(path=request.path, session_key="a visitor")
    return answer()


async def empty_page(request: HttpRequest, name: str) -> HttpResponse:
    """Not counted."""
    return answer()


urlpatterns: list[Any] = [
    path("page/<name>/", page),
    path("quick/<name>/", quick_page),
    path("empty/<name>/", empty_page),
]
application = get_wsgi_application()
asgi_application = flush_on_shutdown(get_asgi_application())
