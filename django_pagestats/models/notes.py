"""What somebody wrote about a day, to be seen on the charts of its page views."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField, ProseCharField
from django_pagestats.models.page_views import PATH_MAX_LENGTH

NOTE_MAX_LENGTH = 500


class Note(models.Model):
    """One note, such as "deploy 4.2": people and scripts write it, so it may be changed and deleted by hand."""

    id = models.BigAutoField(primary_key=True)
    #: a local date, of the zone of the statistics
    day = models.DateField(_("day"))
    #: of one page, as it is recorded; empty: of the whole site
    path = ExactCharField(
        _("path"),
        max_length=PATH_MAX_LENGTH,
        blank=True,
        default="",
        help_text=_("Of one page, such as /pricing/; empty: of the whole site."),
    )
    text = ProseCharField(_("text"), max_length=NOTE_MAX_LENGTH)
    is_public = models.BooleanField(
        _("public"), default=False, help_text=_("Shown on a dashboard that is open to everybody, too.")
    )

    objects: ClassVar[models.Manager[Note]] = models.Manager()  # which the types would not know else

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        ordering = ["-day", "-id"]
        indexes = [models.Index(fields=["day"], name="pagestats_note_day")]
        constraints = [models.CheckConstraint(condition=~models.Q(text=""), name="pagestats_note_text_not_empty")]

    def __str__(self) -> str:
        return f"{self.day}: {self.text}"
