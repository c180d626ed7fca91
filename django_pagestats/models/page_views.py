"""What is counted: one row for each page view."""

from __future__ import annotations

from datetime import timezone

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.constraints import CountableTime, StorableText
from django_pagestats.models.fields import ExactCharField

PATH_MAX_LENGTH = 2_048
SESSION_KEY_MAX_LENGTH = 255


class PageView(models.Model):
    """One recorded view of one path. Append-only; a raw INSERT of the three columns will do.

    The database refuses what no answer could count, and names the constraint.
    """

    id = models.BigAutoField(primary_key=True)
    path = ExactCharField(_("path"), max_length=PATH_MAX_LENGTH)
    session_key = ExactCharField(_("session key"), max_length=SESSION_KEY_MAX_LENGTH)
    viewed_at = models.DateTimeField(_("viewed at"))
    #: names -> values, both text; null where nothing is known: so no database rewrites a table to add the column
    attributes = models.JSONField(_("attributes"), null=True, blank=True, default=None)

    class Meta:
        verbose_name = _("page view")
        verbose_name_plural = _("page views")
        indexes = [models.Index(fields=["viewed_at"], name="pagestats_viewed_at")]
        constraints = [
            StorableText(field="path", name="pagestats_path_not_empty_no_nul"),
            StorableText(field="session_key", name="pagestats_session_key_not_empty_no_nul"),
            CountableTime(field="viewed_at", name="pagestats_viewed_at_1970_to_2199"),
        ]

    def __str__(self) -> str:
        return f"{self.path} at {self.viewed_at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
