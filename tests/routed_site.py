"""Visits a site whose statistics are in a database of their own; prints as JSON what was counted there."""

from __future__ import annotations

import json
import sys

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

from django_pagestats import recording, stats  # noqa: E402
from django_pagestats.models import LeftOut, Salt  # noqa: E402
from tests.recording_site import BROWSER, MIDDLEWARE  # noqa: E402

settings.ROOT_URLCONF = "tests.recording_site"
settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
settings.PAGESTATS_ENABLED = True
for alias in ("default", "stats"):
    call_command("migrate", database=alias, verbosity=0)
for path, headers in (
    ("/", {}),
    ("/", {}),
    ("/", {"REMOTE_ADDR": "192.0.2.2"}),
    ("/users/7/", {}),
    ("/", {"HTTP_USER_AGENT": "curl/8.0"}),
):
    assert Client(**{**BROWSER, **headers}).get(path).status_code == 200
recording.flush()
sys.stdout.write(
    json.dumps(
        {
            "pages": [(page.path, page.page_views, page.visitors) for page in stats.top_pages()],
            "left_out": dict(LeftOut.objects.using("stats").values_list("reason", "count")),
            "salts": Salt.objects.using("stats").count(),
        }
    )
)
