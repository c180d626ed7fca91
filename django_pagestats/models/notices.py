"""What the owner of the site should bring in order, as the processes that record have noticed it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField


class NoticeName(models.TextChoices):
    """What a notice is about (docs/recording.md)."""

    #: requests come through a proxy whose headers nobody was told to believe
    FORGOTTEN_PROXY = "forgotten_proxy", _("a proxy that is not trusted")
    #: very many page views in a row came from one address or two
    FEW_ADDRESSES = "few_addresses", _("one address for all")


class Notice(models.Model):
    """One thing noticed: shown by the admin until it is over or dismissed. There is nothing of a visitor in it."""

    id = models.BigAutoField(primary_key=True)
    #: a NoticeName; without choices, so that one more of them is no migration
    name = ExactCharField(_("name"), max_length=32, unique=True)
    since = models.DateTimeField(_("since"))
    #: a digest of the settings that it was noticed under; under others it is over
    settings_digest = ExactCharField(_("digest of the settings"), max_length=32)
    #: somebody said that it is meant so
    dismissed_at = models.DateTimeField(_("dismissed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")

    def __str__(self) -> str:
        return f"{self.name} since {self.since}"
