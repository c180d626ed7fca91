"""Without Wagtail among the installed apps there is nothing to test."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings

HAS_WAGTAIL = "wagtail" in settings.INSTALLED_APPS
collect_ignore_glob = [] if HAS_WAGTAIL else ["test_*.py"]


@pytest.fixture
def home(db: None) -> Any:
    """The home page of a new site, as Wagtail's migrations would make it."""
    from wagtail.models import Locale, Page, Site

    Locale.objects.get_or_create(language_code="en")
    root = Page.add_root(instance=Page(title="Root", slug="root"))
    home = root.add_child(instance=Page(title="Home", slug="home"))
    Site.objects.create(hostname="testserver", root_page=home, is_default_site=True)
    return home
