"""Who may read statistics without an account: the tokens of the read API."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField


class Token(models.Model):
    """What a program shows to read statistics; see docs/api.md. The secret itself is nowhere: only its digest is."""

    id = models.BigAutoField(primary_key=True)
    name = ExactCharField(_("name"), max_length=100, unique=True)
    #: SHA-256 of the secret, as hex: of 256 random bits, which nobody can try out, so that nothing slower is needed
    digest = ExactCharField(_("digest"), max_length=64, unique=True)
    #: what it may be asked about; both empty: everything
    paths = models.JSONField(_("paths"), default=list, blank=True)
    sections = models.JSONField(_("sections"), default=list, blank=True)
    created_at = models.DateTimeField(_("created at"))
    #: null: never
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    #: a day of PAGESTATS_TIME_ZONE: an instant would be one more statement for each answer
    last_used_on = models.DateField(_("last used on"), null=True, blank=True)

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        default_permissions = ("view", "delete")
        permissions = [("revoke_token", "Can revoke token")]

    def __str__(self) -> str:
        return self.name
