"""What is being counted: the runs, and what happened to them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.models.aggregates import Generation, WorkedBy
from django_pagestats.models.fields import ExactCharField, ProseCharField, ProseTextField


class BackfillRun(models.Model):
    """One attempt to bring a generation to a target, with its progress, error and actor."""

    ACTIVE = "active"

    class Status(models.TextChoices):
        #: no link has begun yet
        QUEUED = "queued", pgettext_lazy("status of a run", "Queued")
        #: a link has begun; it may be waiting: see `wait_reason`
        RUNNING = "running", pgettext_lazy("status of a run", "Running")
        #: stopped by a person until a person resumes it; it stays the one active run
        PAUSED = "paused", pgettext_lazy("status of a run", "Paused")
        #: the target is reached; a rebuild is switched
        SUCCEEDED = "succeeded", pgettext_lazy("status of a run", "Succeeded")
        #: gave up; `error` says why, the cursor is kept
        FAILED = "failed", pgettext_lazy("status of a run", "Failed")
        #: given up by a person; what a backfill has folded stays, a rebuild's rows go
        CANCELLED = "cancelled", pgettext_lazy("status of a run", "Cancelled")

    class Kind(models.TextChoices):
        #: folds into the active generation
        BACKFILL = "backfill", pgettext_lazy("kind of run", "Backfill")
        #: folds into a new generation, verifies and switches
        REBUILD = "rebuild", pgettext_lazy("kind of run", "Rebuild")

    id = models.BigAutoField(primary_key=True)
    kind = ExactCharField(_("kind"), max_length=16, choices=Kind)
    status = ExactCharField(_("status"), max_length=16, choices=Status, default=Status.QUEUED)
    #: ACTIVE while queued, running or paused, else NULL: the database refuses a second active run
    active_key = ExactCharField(_("active key"), max_length=16, null=True, unique=True)  # type: ignore[misc]
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
    #: see `builds`
    is_build = models.BooleanField(_("builds a new generation"), default=False, db_default=False)
    #: of a rebuild: whether the generation that it replaces is kept
    keep_old = models.BooleanField(_("keeps the old generation"), default=False, db_default=False)
    #: failures in a row that no smaller chunk cures; how often it was found without a living worker, and how often in a
    #: row without progress
    failure_count = models.IntegerField(_("failures in a row"), default=0)
    revival_count = models.IntegerField(_("revivals"), default=0)
    stalled_count = models.IntegerField(_("revivals in a row without progress"), default=0, db_default=0)
    error = ProseTextField(_("error"), blank=True, default="")
    #: where the last error was raised, as Python shows it; NULL: no exception
    traceback = ProseTextField(_("traceback"), null=True)
    wait_reason = ProseTextField(_("waits for"), blank=True, default="")
    wait_until = models.DateTimeField(_("waits until"), null=True)
    #: wishes, until the worker obeys at the end of its chunk, and whose they are
    pause_requested_at = models.DateTimeField(_("pause asked for at"), null=True)
    cancel_requested_at = models.DateTimeField(_("cancelling asked for at"), null=True)
    requested_by = ProseCharField(_("asked for by"), max_length=255, blank=True, default="", db_default="")
    requested_via = ExactCharField(_("asked for from"), max_length=32, blank=True, default="", db_default="")
    #: its rate and chunk size over its time: see backfill.history
    history = models.JSONField(_("history"), null=True)
    #: how far the check before a rebuild's switch has come: see backfill.Check
    check_state = models.JSONField(_("check"), null=True)
    #: who started it, and through what; text, since users may live in another database
    actor = ProseCharField(_("started by"), max_length=255, blank=True, default="")
    via = ExactCharField(_("started from"), max_length=32)
    created_at = models.DateTimeField(_("created at"))
    #: since when a link is in the queue that nobody has taken, and when a worker took one last
    enqueued_at = models.DateTimeField(_("in the queue since"), null=True)
    taken_at = models.DateTimeField(_("taken by a worker at"), null=True)
    #: who took it then; empty: nobody yet
    taken_by = ExactCharField(_("taken by"), max_length=16, choices=WorkedBy, blank=True, default="", db_default="")
    started_at = models.DateTimeField(_("started at"), null=True)
    progressed_at = models.DateTimeField(_("last progress at"), null=True)
    #: when it was paused last; and how long it stood still in all before it was resumed
    paused_at = models.DateTimeField(_("paused at"), null=True)
    idle_seconds = models.FloatField(_("seconds it stood still"), default=0.0, db_default=0.0)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    #: of those that build a new generation: see `builds`
    BUILDS = models.Q(is_build=True) | models.Q(kind=Kind.REBUILD)

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
    def builds(self) -> bool:
        """Whether it builds a new generation, which answers at its end, in place of folding into the one that does.

        A rebuild, also one begun by code of before there was `is_build`, and a first backfill by several workers.
        """
        return self.is_build or self.kind == self.Kind.REBUILD

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
        #: a management command
        COMMAND = "command", pgettext_lazy("from where", "command")
        #: a button of the admin
        ADMIN = "admin", pgettext_lazy("from where", "admin")
        #: a button of a dashboard that the site has mounted
        DASHBOARD = "dashboard", pgettext_lazy("from where", "dashboard")
        #: a schedule of the site's
        SCHEDULE = "schedule", pgettext_lazy("from where", "schedule")
        #: whoever found that the lease had run out
        WATCHDOG = "watchdog", pgettext_lazy("from where", "watchdog")
        #: whoever folds
        WORKER = "worker", pgettext_lazy("from where", "worker")

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(BackfillRun, models.CASCADE, verbose_name=_("run"), related_name="events")
    #: empty at the run's start
    from_status = ExactCharField(_("from"), max_length=16, blank=True, choices=BackfillRun.Status)
    to_status = ExactCharField(_("to"), max_length=16, choices=BackfillRun.Status)
    #: text, since users may live in another database; empty: nobody in person
    actor = ProseCharField(_("who"), max_length=255, blank=True, default="")
    via = ExactCharField(_("from where"), max_length=32)
    reason = ProseTextField(_("why"), blank=True, default="")
    #: by the database's clock
    at = models.DateTimeField(_("when"))

    class Meta:
        verbose_name = _("event of a run")
        verbose_name_plural = _("events of runs")

    def __str__(self) -> str:
        return f"{self.from_status or 'new'} -> {self.to_status}"
