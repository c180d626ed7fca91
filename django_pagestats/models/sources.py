"""Where page views come from: what was imported, and the secret that visitors' keys are made with."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField, ProseCharField, ProseTextField


class ImportSource(models.Model):
    """A log or table that was imported, and how far: moved in the transaction that adds its page views."""

    id = models.BigAutoField(primary_key=True)
    #: "log:" and the SHA-256 of its first line, or "model:" and the model's label, fields and database alias
    key = ExactCharField(_("key"), max_length=255, unique=True)
    name = ProseCharField(_("name"), max_length=255)
    #: uncompressed bytes of a log; of a table, its last primary key as text and how many rows go up to it, as JSON
    position = ProseTextField(_("position"), blank=True, default="")
    #: the SHA-256 of all uncompressed bytes up to the position
    digest = ExactCharField(_("digest"), max_length=64, blank=True, default="")
    rows_imported = models.BigIntegerField(_("page views imported"), default=0)
    updated_at = models.DateTimeField(_("updated at"))

    class Meta:
        verbose_name = _("import source")
        verbose_name_plural = _("import sources")

    def __str__(self) -> str:
        return self.name


class SiteSecret(models.Model):
    """The random key of the site's keyed hashes; it never leaves the database."""

    name = ExactCharField(_("name"), max_length=32, primary_key=True)
    value = models.BinaryField(_("value"))

    class Meta:
        verbose_name = _("site secret")
        verbose_name_plural = _("site secrets")

    def __str__(self) -> str:
        return self.name
