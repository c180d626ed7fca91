"""The tables. What a machine writes is moved by conditional UPDATEs and raw SQL, never by `save()`."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils.translation import gettext_lazy as _

from django_pagestats.buckets import Dimension, Granularity

__all__ = [
    "Aggregate",
    "BackfillRun",
    "Dimension",
    "Generation",
    "Granularity",
    "ImportSource",
    "PageView",
    "SiteSecret",
    "Subject",
    "Visitor",
]

PATH_MAX_LENGTH = 2_048
SESSION_KEY_MAX_LENGTH = 255


if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class ExactCharField(_CharField):
    """Text compared byte by byte on every database: "/A" is not "/a", and "/x " is not "/x"."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": self._exact_collation(connection)}

    @staticmethod
    def _exact_collation(connection: Any) -> str | None:
        if connection.vendor == "postgresql":
            return "C"
        if connection.vendor == "mysql":
            # *_bin pads: it takes '/x ' for '/x'
            return "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        return None  # SQLite compares bytes


class WherePossibleIndex(models.Index):
    """An index with a condition where the database has partial indexes, and over all rows where it has none."""

    def __init__(self, *expressions: Any, where: models.Q, **kwargs: Any) -> None:
        super().__init__(*expressions, **kwargs)
        self.where = where

    def _get_condition_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str | None:
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        partial = models.Index(fields=["pk"], name=self.name, condition=self.where)
        condition: str | None = partial._get_condition_sql(model, schema_editor)  # type: ignore[attr-defined]
        return condition

    def deconstruct(self) -> Any:
        path, expressions, kwargs = super().deconstruct()
        return path, expressions, {**kwargs, "where": self.where}


class PageView(models.Model):
    """One recorded view of one path. Append-only; a raw INSERT of the three columns will do."""

    id = models.BigAutoField(primary_key=True)
    path = ExactCharField(_("path"), max_length=PATH_MAX_LENGTH)
    session_key = ExactCharField(_("session key"), max_length=SESSION_KEY_MAX_LENGTH)
    viewed_at = models.DateTimeField(_("viewed at"))

    class Meta:
        verbose_name = _("page view")
        verbose_name_plural = _("page views")
        indexes = [models.Index(fields=["viewed_at"], name="pagestats_viewed_at")]

    def __str__(self) -> str:
        return f"{self.path} at {self.viewed_at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


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
    """One thing that is counted: a path (the whole site, subject 0, has no row)."""

    id = models.AutoField(primary_key=True)
    dimension = models.SmallIntegerField(_("dimension"))
    value = ExactCharField(_("value"), max_length=PATH_MAX_LENGTH)
    #: SHA-256 of the value in UTF-8, as hex: long values are unique by it
    digest = models.CharField(_("digest"), max_length=64)

    class Meta:
        verbose_name = _("subject")
        verbose_name_plural = _("subjects")
        constraints = [models.UniqueConstraint(fields=["dimension", "digest"], name="pagestats_subject_digest")]

    def __str__(self) -> str:
        return self.value


class Generation(models.Model):
    """One complete set of aggregates, exact for the page views up to its cursor."""

    id = models.AutoField(primary_key=True)
    cursor = models.BigIntegerField(_("cursor"), default=0)
    revision = models.BigIntegerField(_("revision"), default=0)
    time_zone = models.CharField(_("time zone"), max_length=64)
    #: true or NULL: the database then refuses a second active one
    is_active = models.BooleanField(_("is active"), null=True, unique=True)
    #: local days before this one are frozen: their page views were pruned
    pruned_before = models.DateField(_("pruned before"), null=True)
    #: id and whole seconds since the epoch of the last page view that it counts: another one there was put in its place
    last_page_view = models.JSONField(_("last page view"), null=True)
    #: keeping up: a target whose horizon is waited for, see horizon.Settling
    settling = models.JSONField(_("settling"), null=True)
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


class BackfillRun(models.Model):
    """One attempt to bring a generation to a target, with its progress, error and actor."""

    ACTIVE = "active"

    class Status(models.TextChoices):
        QUEUED = "queued"  #: no link has begun yet
        RUNNING = "running"  #: a link has begun; it may be waiting: see `wait_reason`
        PAUSED = "paused"  #: stopped by a person until a person resumes it; it stays the one active run
        SUCCEEDED = "succeeded"  #: the target is reached; a rebuild is switched
        FAILED = "failed"  #: gave up; `error` says why, the cursor is kept
        CANCELLED = "cancelled"  #: given up by a person; what a backfill has folded stays, a rebuild's rows go

    class Kind(models.TextChoices):
        BACKFILL = "backfill"  #: folds into the active generation
        REBUILD = "rebuild"  #: folds into a new generation, verifies and switches

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.QUEUED)
    #: ACTIVE while queued, running or paused, else NULL: the database refuses a second active run
    active_key = models.CharField(_("active key"), max_length=16, null=True, unique=True)  # noqa: DJ001
    generation = models.ForeignKey(Generation, models.PROTECT, verbose_name=_("generation"), related_name="runs")
    epoch = models.BigIntegerField(_("epoch"), default=0)
    #: the target's horizon while it is waited for: see horizon.Settling; NULL: all up to the target is visible
    settling = models.JSONField(_("settling"), null=True)
    #: by the database's clock
    lease_until = models.DateTimeField(_("lease until"))
    #: the cursor at the start, and where the run ends
    start_cursor = models.BigIntegerField(_("start cursor"))
    target = models.BigIntegerField(_("target"))
    #: where it was when it failed or was cancelled: later folds move the generation's cursor on
    end_cursor = models.BigIntegerField(_("end cursor"), null=True)
    rows_folded = models.BigIntegerField(_("page views folded"), default=0)
    #: as asked for; NULL: it adapts
    fixed_chunk_size = models.IntegerField(_("fixed chunk size"), null=True)
    chunk_size = models.IntegerField(_("chunk size"))
    #: a rest of so many times as long as a chunk took; NULL: as PAGESTATS_NICE says
    nice = models.FloatField(_("rest after a chunk"), null=True)
    #: of a rebuild: whether the generation that it replaces is kept
    keep_old = models.BooleanField(_("keeps the old generation"), default=False, db_default=False)
    #: failures in a row that no smaller chunk cures; how often it was found without a living worker, and how often in a
    #: row without progress
    failure_count = models.IntegerField(_("failures in a row"), default=0)
    revival_count = models.IntegerField(_("revivals"), default=0)
    stalled_count = models.IntegerField(_("revivals in a row without progress"), default=0, db_default=0)
    error = models.TextField(_("error"), blank=True, default="")
    #: where the last error was raised, as Python shows it; NULL: no exception
    traceback = models.TextField(_("traceback"), null=True)  # noqa: DJ001
    wait_reason = models.TextField(_("waits for"), blank=True, default="")
    wait_until = models.DateTimeField(_("waits until"), null=True)
    #: wishes, until the worker obeys at the end of its chunk, and whose they are
    pause_requested_at = models.DateTimeField(_("pause asked for at"), null=True)
    cancel_requested_at = models.DateTimeField(_("cancelling asked for at"), null=True)
    requested_by = models.CharField(_("asked for by"), max_length=255, blank=True, default="", db_default="")
    requested_via = models.CharField(_("asked for from"), max_length=32, blank=True, default="", db_default="")
    #: its rate and chunk size over its time: see backfill.history
    history = models.JSONField(_("history"), null=True)
    #: how far the check before a rebuild's switch has come: see backfill.Check
    check_state = models.JSONField(_("check"), null=True)
    #: who started it, and through what; text, since users may live in another database
    actor = models.CharField(_("started by"), max_length=255, blank=True, default="")
    via = models.CharField(_("started from"), max_length=32)
    created_at = models.DateTimeField(_("created at"))
    #: since when a link is in the queue that nobody has taken, and when a worker took one last
    enqueued_at = models.DateTimeField(_("in the queue since"), null=True)
    taken_at = models.DateTimeField(_("taken by a worker at"), null=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    progressed_at = models.DateTimeField(_("last progress at"), null=True)
    #: when it was paused last; and how long it stood still in all before it was resumed
    paused_at = models.DateTimeField(_("paused at"), null=True)
    idle_seconds = models.FloatField(_("seconds it stood still"), default=0.0, db_default=0.0)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    class Meta:
        verbose_name = _("backfill run")
        verbose_name_plural = _("backfill runs")

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def is_active(self) -> bool:
        """Queued, running or paused: no other run can start."""
        return self.active_key is not None

    @property
    def is_going(self) -> bool:
        """Queued or running: it goes on without anybody's doing."""
        return self.status in (self.Status.QUEUED, self.Status.RUNNING)

    @property
    def cursor(self) -> int:
        """Where it is, or was when it ended; at most its target, since keeping up and later runs go on beyond."""
        return min(self.generation.cursor if self.end_cursor is None else self.end_cursor, self.target)

    @property
    def command(self) -> str:
        """The command that is about runs of its kind, without what it is to do."""
        return f"backfill_aggregates{' --rebuild' if self.kind == self.Kind.REBUILD else ''}"

    @property
    def state(self) -> str:
        """Its status as the end of a sentence: "is running", "has succeeded"."""
        if self.status == self.Status.CANCELLED:
            return "was cancelled"
        return f"{'is' if self.is_active else 'has'} {self.status}"


class RunEvent(models.Model):
    """One change of a run's status, or a revival: who made it, through what, and why."""

    class Via(models.TextChoices):
        COMMAND = "command"  #: a management command
        ADMIN = "admin"  #: a button of the admin
        SCHEDULE = "schedule"  #: a schedule of the site's
        WATCHDOG = "watchdog"  #: whoever found that the lease had run out
        WORKER = "worker"  #: whoever folds

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(BackfillRun, models.CASCADE, verbose_name=_("run"), related_name="events")
    #: empty at the run's start
    from_status = models.CharField(_("from"), max_length=16, blank=True, choices=BackfillRun.Status)
    to_status = models.CharField(_("to"), max_length=16, choices=BackfillRun.Status)
    #: text, since users may live in another database; empty: nobody in person
    actor = models.CharField(_("who"), max_length=255, blank=True, default="")
    via = models.CharField(_("from where"), max_length=32)
    reason = models.TextField(_("why"), blank=True, default="")
    #: by the database's clock
    at = models.DateTimeField(_("when"))

    class Meta:
        verbose_name = _("event of a run")
        verbose_name_plural = _("events of runs")

    def __str__(self) -> str:
        return f"{self.from_status or 'new'} -> {self.to_status}"


class ImportSource(models.Model):
    """A log or table that was imported, and how far: moved in the transaction that adds its page views."""

    id = models.BigAutoField(primary_key=True)
    #: "log:" and the SHA-256 of its first line, or "model:" and the model's label, fields and database alias
    key = models.CharField(_("key"), max_length=255, unique=True)
    name = models.CharField(_("name"), max_length=255)
    #: uncompressed bytes of a log; of a table, its last primary key as text and how many rows go up to it, as JSON
    position = models.TextField(_("position"), blank=True, default="")
    #: the SHA-256 of all uncompressed bytes up to the position
    digest = models.CharField(_("digest"), max_length=64, blank=True, default="")
    rows_imported = models.BigIntegerField(_("page views imported"), default=0)
    updated_at = models.DateTimeField(_("updated at"))

    class Meta:
        verbose_name = _("import source")
        verbose_name_plural = _("import sources")

    def __str__(self) -> str:
        return self.name


class SiteSecret(models.Model):
    """The random key of the site's keyed hashes; it never leaves the database."""

    name = models.CharField(_("name"), max_length=32, primary_key=True)
    value = models.BinaryField(_("value"))

    class Meta:
        verbose_name = _("site secret")
        verbose_name_plural = _("site secrets")

    def __str__(self) -> str:
        return self.name
