from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.migrations import Migration


class PageStatsConfig(AppConfig):
    name = "django_pagestats"
    label = "django_pagestats"
    verbose_name = _("Page statistics")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_pagestats import tending
        from django_pagestats.checks import register_checks
        from django_pagestats.dumps import watch_loads

        register_checks()
        watch_loads()
        tending.register()
        post_migrate.connect(schedule_tending, sender=self)


def schedule_tending(sender: AppConfig, using: str, plan: Sequence[tuple[Migration, bool]] = (), **kwargs: Any) -> None:
    """After `migrate`: a database that holds our tables gets the schedule that keeps it up, no other has one.

    When our first migration was unapplied, nothing of ours is left in the queue.
    """
    from django_pagestats import aliases, tasks

    tasks.remove_strays()
    tasks.ensure_schedule(using)
    is_undone = any(backwards and migration.app_label == sender.label for migration, backwards in plan)
    if is_undone and not aliases.has_tables(using):
        tasks.forget(using)
