from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import router
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class PageStatsConfig(AppConfig):
    name = "django_pagestats"
    label = "django_pagestats"
    verbose_name = _("Page statistics")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_pagestats.checks import register_checks

        register_checks()
        post_migrate.connect(schedule_tending, sender=self)


def schedule_tending(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """After `migrate`: the alias that holds our tables gets the schedule that keeps it up."""
    from django_pagestats.models import PageView
    from django_pagestats.tasks import ensure_schedule

    if router.allow_migrate_model(using, PageView):
        ensure_schedule(using)
