"""How visitors are told apart: the salts of their keyed hashes, and since when under which policy."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField


class Salt(models.Model):
    """The random key that the session keys of one period are made with; it never leaves the database.

    Made by whoever asks first, and deleted some time after its period: then nobody can try out an address again.
    """

    id = models.BigAutoField(primary_key=True)
    #: a local date ("2026-11-29"), a month ("2026-11"), or "permanent"
    period = ExactCharField(_("period"), max_length=16, unique=True)
    value = models.BinaryField(_("value"))

    class Meta:
        verbose_name = _("salt")
        verbose_name_plural = _("salts")

    def __str__(self) -> str:
        return self.period


class VisitorPolicy(models.Model):
    """Under which policy visitors were told apart from an instant on: by recording, or by imports of a range."""

    class Origin(models.TextChoices):
        """What the page views came from."""

        #: recorded as they happened
        RECORDED = "recorded", _("recorded")
        #: imported, of the instants from `since` to `until`
        IMPORTED = "imported", _("imported")

    id = models.BigAutoField(primary_key=True)
    #: a name of PAGESTATS_VISITOR_KEY, or the dotted path of the site's own
    policy = ExactCharField(_("policy"), max_length=255)
    origin = ExactCharField(_("origin"), max_length=16, choices=Origin.choices, default=Origin.RECORDED)
    since = models.DateTimeField(_("since"))
    #: of an import: the instant of its last page view; of recording: null, until the next one's `since`
    until = models.DateTimeField(_("until"), null=True, blank=True)

    class Meta:
        verbose_name = _("visitor policy")
        verbose_name_plural = _("visitor policies")
        indexes = [models.Index(fields=["since"], name="pagestats_policy_since")]

    def __str__(self) -> str:
        return f"{self.policy} since {self.since}"
