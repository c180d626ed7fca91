"""What was verified last, and what was found: by verify_aggregates, or for somebody who looked at a range of days."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField, ProseCharField, ProseTextField


class Check(models.Model):
    """One verification, of everything or of a range of days; that of a range is done piece by piece by tasks."""

    id = models.BigAutoField(primary_key=True)
    #: local dates of the generation's zone, [start, end); None: without bound
    start = models.DateField(_("first day"), null=True)
    end = models.DateField(_("day after the last"), null=True)
    #: "command" or "dashboard"; without choices, so that one more of them is no migration
    via = ExactCharField(_("asked for by"), max_length=16)
    actor = ProseCharField(_("who"), max_length=255, blank=True, default="")
    asked_at = models.DateTimeField(_("asked at"))
    #: each task uses one up, so that one of an older number does nothing
    epoch = models.IntegerField(_("epoch"), default=0)
    #: until when it is taken that a task is there, or on its way
    lease_until = models.DateTimeField(_("lease until"), null=True)
    #: the days before this one are done
    upto = models.DateField(_("done before"), null=True)
    ended_at = models.DateTimeField(_("ended at"), null=True)
    page_views = models.BigIntegerField(_("page views"), default=0)
    aggregates = models.BigIntegerField(_("aggregates"), default=0)
    difference_count = models.BigIntegerField(_("differences"), default=0)
    #: the first of them, a line for each
    differences = models.JSONField(_("first differences"), default=list)
    #: why it came to nothing
    error = ProseTextField(_("error"), blank=True, default="")

    objects: ClassVar[models.Manager[Check]] = models.Manager()  # which the types would not know else

    class Meta:
        verbose_name = _("check")
        verbose_name_plural = _("checks")

    def __str__(self) -> str:
        return f"check {self.pk}"
