"""Which databases hold our tables, by the settings alone."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections, router

from django_pagestats.models import PageView


def possible() -> Iterator[str]:
    """The databases that may hold our tables."""
    for alias in connections:
        if connections[alias].vendor != "unknown" and router.allow_migrate_model(alias, PageView):
            yield alias


def sure() -> list[str]:
    """Those that hold our tables by the settings alone: without a router any database may, and the default one does."""
    used = router.db_for_write(PageView)
    return [alias for alias in possible() if router.routers or alias == used]
