from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PageStatsConfig(AppConfig):
    name = "django_pagestats"
    label = "django_pagestats"
    verbose_name = _("Page statistics")
    default_auto_field = "django.db.models.BigAutoField"
