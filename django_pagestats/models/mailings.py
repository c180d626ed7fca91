"""Which mails of the statistics were sent: so that each is sent once, however often a task comes."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField


class Mailing(models.Model):
    """The mail of one week or month. It is claimed before it is sent; nothing in it tells to whom.

    Claimed and not sent: it is being sent, or whoever sent it was killed meanwhile. Only a failure that was told frees
    it.
    """

    id = models.BigAutoField(primary_key=True)
    #: "week" or "month"; without choices, so that one more of them is no migration
    every = ExactCharField(_("every"), max_length=16)
    #: its first day, a local date of the zone of the statistics
    start = models.DateField(_("first day"))
    #: None: it failed, and may be tried again
    claimed_at = models.DateTimeField(_("claimed at"), null=True)
    sent_at = models.DateTimeField(_("sent at"), null=True)
    failures = models.PositiveIntegerField(_("failures"), default=0)

    class Meta:
        verbose_name = _("mailing")
        verbose_name_plural = _("mailings")
        constraints = [models.UniqueConstraint(fields=["every", "start"], name="pagestats_mailing_once")]

    def __str__(self) -> str:
        return f"{self.every} from {self.start}"
