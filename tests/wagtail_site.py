"""Visits a Wagtail site, and prints as JSON what was counted: run with tests.wagtail_settings."""

from __future__ import annotations

import json
import sys

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from wagtail.models import Page  # noqa: E402

from django_pagestats import recording, stats  # noqa: E402
from django_pagestats.models import LeftOut  # noqa: E402
from tests.recording_site import BROWSER  # noqa: E402

call_command("migrate", verbosity=0)
home = Page.objects.get(slug="home")
for slug in ("news", "about"):
    home.add_child(instance=Page(title=slug, slug=slug))
draft = home.add_child(instance=Page(title="draft", slug="draft", live=False))
reader = Client(**BROWSER)
editor = Client(**BROWSER, REMOTE_ADDR="192.0.2.7")
editor.force_login(get_user_model().objects.create_superuser("editor", password="x"))
statuses = [
    reader.get(path).status_code for path in ("/", "/news/", "/about/", "/draft/", "/news", "/nowhere/", "/cms/")
]
statuses += [editor.get(path).status_code for path in ("/news/", "/cms/", f"/cms/pages/{draft.pk}/edit/")]
recording.flush()
sys.stdout.write(
    json.dumps(
        {
            "statuses": statuses,
            "pages": sorted((page.path, page.page_views, page.visitors) for page in stats.top_pages()),
            "left_out": dict(LeftOut.objects.values_list("reason", "count")),
        }
    )
)
