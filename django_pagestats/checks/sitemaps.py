"""What can be wrong with the names of the site's sitemaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage

from django_pagestats.checks.messages import Apps, error
from django_pagestats.conf import Conf
from django_pagestats.dashboard.sitemaps import names, sections_of


def check_sitemaps(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return [] if Conf.SITEMAPS.complaint() else list(_unknown())


def _unknown() -> Iterator[CheckMessage]:
    for name in names():
        try:
            sections_of(name)
        except Exception as raised:  # whatever the module does when it is imported
            yield sitemap_unknown(name, f"{type(raised).__name__}: {raised}")


def sitemap_unknown(name: str, reason: str) -> CheckMessage:
    return error(
        115,
        f"PAGESTATS_SITEMAPS names {name!r}, which is no sitemap and no model with pages ({reason}).",
        "Correct it; docs/settings.md says what may be named.",
    )
