"""What was counted: generations of aggregates, and the small ids of the visitors and paths in them."""

from __future__ import annotations

from secrets import randbelow

from django.db import models
from django.db.models.expressions import CombinedExpression
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.buckets import Dimension, Granularity
from django_pagestats.models.fields import ExactCharField
from django_pagestats.models.indexes import WherePossibleIndex
from django_pagestats.models.page_views import PATH_MAX_LENGTH, SESSION_KEY_MAX_LENGTH

#: a revision is raised by this much and a drawn part of it once more: room for 1,400,000,000 changes
REVISION_STEP = 2**32


def raised_revision() -> CombinedExpression:
    """The revision of changed aggregates, for an UPDATE of their generation: one that no others ever had.

    It is drawn, since a rolled back transaction, a server that lost its last commits, or a dump that is read in again
    would bring the next number once more, for other aggregates; by the system, since forked processes draw alike.
    """
    return models.F("revision") + (REVISION_STEP + randbelow(REVISION_STEP))


class Visitor(models.Model):
    """One distinct session key. Its id, below 2**32, stands for it in every visitor set."""

    id = models.BigAutoField(primary_key=True)
    session_key = ExactCharField(_("session key"), max_length=SESSION_KEY_MAX_LENGTH)

    class Meta:
        verbose_name = _("visitor")
        verbose_name_plural = _("visitors")
        constraints = [models.UniqueConstraint(fields=["session_key"], name="pagestats_visitor_key")]

    def __str__(self) -> str:
        return self.session_key


class Subject(models.Model):
    """One thing that is counted: a path, or a value of a named dimension (the whole site, subject 0, has no row)."""

    id = models.AutoField(primary_key=True)
    dimension = models.SmallIntegerField(_("dimension"))
    value = ExactCharField(_("value"), max_length=PATH_MAX_LENGTH)
    #: SHA-256 of the value in UTF-8, as hex: long values are unique by it
    digest = ExactCharField(_("digest"), max_length=64)

    class Meta:
        verbose_name = _("subject")
        verbose_name_plural = _("subjects")
        constraints = [models.UniqueConstraint(fields=["dimension", "digest"], name="pagestats_subject_digest")]

    def __str__(self) -> str:
        return self.value


class WorkedBy(models.TextChoices):
    """Who keeps a generation up, or works on a run; empty where nobody has yet."""

    #: a worker of a django-q2 cluster
    CLUSTER = "cluster", pgettext_lazy("who works", "Cluster")
    #: a management command, in its own process
    COMMAND = "command", pgettext_lazy("who works", "Command")
    #: a process of the site that records page views
    SITE = "site", pgettext_lazy("who works", "Site")
    #: the requests of the run's page in the admin
    PAGE = "page", pgettext_lazy("who works", "Page")


class Generation(models.Model):
    """One complete set of aggregates: HOUR and DAY rows exact up to `cursor`, ALL rows up to `all_cursor`."""

    id = models.AutoField(primary_key=True)
    cursor = models.BigIntegerField(_("cursor"), default=0)
    #: rows of all time: exact up to this primary key, which is at most the cursor; the bucket number, 0 or 1, under
    #: which they are stored; when they were brought there last. NULL: there are none yet, and the first will be under 0
    all_cursor = models.BigIntegerField(_("cursor of all time"), default=0)
    all_bucket = models.SmallIntegerField(_("bucket of all time"), default=1)
    all_moved_at = models.DateTimeField(_("rows of all time are of"), null=True)
    #: a pass that makes them anew under the other number, see folding.all_time: exact up to which primary key they will
    #: be, and up to which subject they are made; NULL: none is under way
    pass_cursor = models.BigIntegerField(_("cursor of the pass"), null=True)
    pass_subject = models.IntegerField(_("last subject of the pass"), null=True)
    revision = models.BigIntegerField(_("revision"), default=0)
    time_zone = ExactCharField(_("time zone"), max_length=64)
    #: by which rules of the zone it is cut, see folding.zones; null: nobody knows
    zone_rules = models.JSONField(_("rules of the time zone"), null=True)
    #: the named dimensions that it was built with, see dimensions.named; null: it is of before there were any, and has
    #: no repeat sets either
    dimensions = models.JSONField(_("dimensions"), null=True, blank=True, default=None)
    #: true or NULL: the database then refuses a second active one
    is_active = models.BooleanField(_("is active"), null=True, unique=True)
    #: local days before this one are frozen: their page views were pruned
    pruned_before = models.DateField(_("pruned before"), null=True)
    #: id and whole seconds since the epoch of the last page view that it counts: another one there was put in its place
    last_page_view = models.JSONField(_("last page view"), null=True)
    #: keeping up: a target whose horizon is waited for, see horizon.Settling
    settling = models.JSONField(_("settling"), null=True)
    #: when keeping up last looked at it, by the database's clock: so that one process a minute does
    tended_at = models.DateTimeField(_("tended at"), null=True, blank=True, default=None)
    tended_by = ExactCharField(_("tended by"), max_length=16, choices=WorkedBy, blank=True, default="", db_default="")
    created_at = models.DateTimeField(_("created at"))
    #: since when it is kept, though another one took its place: --activate makes it answer again
    kept_at = models.DateTimeField(_("kept since"), null=True)
    #: since when nobody needs its aggregates any more, and when the last of them was deleted
    doomed_at = models.DateTimeField(_("doomed at"), null=True)
    swept_at = models.DateTimeField(_("swept at"), null=True)

    class Meta:
        verbose_name = _("generation")
        verbose_name_plural = _("generations")

    def __str__(self) -> str:
        return f"generation {self.pk}"


class Aggregate(models.Model):
    """One stored row: the page views and the visitors of one subject in one bucket.

    Plain integers, no foreign keys: a generation is deleted in chunks long after another one took its place.
    """

    pk = models.CompositePrimaryKey("generation", "dimension", "granularity", "bucket", "subject")
    generation = models.IntegerField(_("generation"))
    dimension = models.SmallIntegerField(_("dimension"))
    granularity = models.SmallIntegerField(_("granularity"))
    bucket = models.IntegerField(_("bucket"))
    subject = models.IntegerField(_("subject"))
    page_views = models.BigIntegerField(_("page views"))
    visitors = models.BigIntegerField(_("visitors"))
    #: the ids of the visitors, a 32-bit Roaring bitmap in its portable format
    visitor_set = models.BinaryField(_("visitor set"))
    #: of the site: the ids of the visitors with at least two page views in the bucket. NULL where all have one; and
    #: where some have more nobody knows which, in a generation of before
    repeat_set = models.BinaryField(_("repeat set"), null=True, default=None)

    class Meta:
        verbose_name = _("aggregate")
        verbose_name_plural = _("aggregates")
        indexes = [
            # must not begin with (generation, dimension, ...): the look-ups of the merge would take it
            WherePossibleIndex(
                fields=["-page_views", "subject"],
                name="pagestats_top_pages",
                where=models.Q(dimension=Dimension.PAGE.value, granularity=Granularity.ALL.value),
            )
        ]

    def __str__(self) -> str:
        return f"{self.page_views} page views of subject {self.subject} in bucket {self.bucket}"
