"""What several workers of one build share: the parts of it that others than the run's own worker do, and its days."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField, ProseTextField
from django_pagestats.models.runs import BackfillRun


class BuildSegment(models.Model):
    """A part of a build that another worker does: what comes after `after`, up to `upto`.

    Of the folding, page views by their primary keys; of the pass for rows of all time, subjects by their ids. Which
    parts there are is the run's own worker's to change, who holds the run's epoch; how far one is, the worker's who
    holds the segment's.
    """

    class Kind(models.TextChoices):
        FOLD = "fold"  #: page views
        ALL_TIME = "all_time"  #: subjects, of which rows of all time are made

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(BackfillRun, models.CASCADE, verbose_name=_("run"), related_name="segments")
    kind = ExactCharField(_("kind"), max_length=16, choices=Kind)
    after = models.BigIntegerField(_("after"))
    upto = models.BigIntegerField(_("up to"))
    #: up to where it is done
    cursor = models.BigIntegerField(_("cursor"))
    #: fences its worker, as that of the run fences the run's; 0: nobody has taken it yet
    epoch = models.BigIntegerField(_("epoch"), default=0)
    #: by the database's clock
    lease_until = models.DateTimeField(_("lease until"))
    rows_folded = models.BigIntegerField(_("page views folded"), default=0)
    chunk_size = models.IntegerField(_("chunk size"))
    #: what its generation is to keep of it: see there
    last_page_view = models.JSONField(_("last page view"), null=True)
    zone_rules = models.JSONField(_("rules of the time zone"), null=True)
    wait_reason = ProseTextField(_("waits for"), blank=True, default="")
    #: why it was given up; the run's own worker does what is left of it when it comes there
    error = ProseTextField(_("error"), blank=True, default="")

    class Meta:
        verbose_name = _("segment of a build")
        verbose_name_plural = _("segments of a build")

    def __str__(self) -> str:
        return f"segment {self.pk}"

    @property
    def is_done(self) -> bool:
        return self.cursor >= self.upto

    @property
    def is_open(self) -> bool:
        """Whether a worker has it, or may take it."""
        return not (self.is_done or self.error)


class SharedDay(models.Model):
    """A day that two workers of one build may fold at the same time: whoever holds its row does, until he commits."""

    #: days since the epoch
    id = models.IntegerField(primary_key=True)

    class Meta:
        verbose_name = _("shared day")
        verbose_name_plural = _("shared days")

    def __str__(self) -> str:
        return f"day {self.pk}"
