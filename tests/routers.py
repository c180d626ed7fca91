"""Routers that keep the app in one database."""

from __future__ import annotations

from typing import Any


class StatsRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "stats" if model._meta.app_label == "django_pagestats" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if app_label == "django_pagestats":
            return db == "stats"
        return False if db == "stats" else None


class DefaultRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "default" if app_label == "django_pagestats" else None


class ObjectsRouter:
    """The site's groups are in one database, and all else, the statistics too, in another."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "objects" if model._meta.label == "auth.Group" else None

    db_for_write = db_for_read
