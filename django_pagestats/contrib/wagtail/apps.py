"""The app to add to INSTALLED_APPS, after `django_pagestats`."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PageStatisticsForWagtailConfig(AppConfig):
    """Has no tables, and so no migrations."""

    name = "django_pagestats.contrib.wagtail"
    label = "django_pagestats_wagtail"
    verbose_name = _("Page statistics in Wagtail")
