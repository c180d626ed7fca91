"""The list of runs and the page of one run: how far it is, how fast, since when, and who started it."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, folding, tasks
from django_pagestats.admin.live import ShowsLive, is_left_to_page
from django_pagestats.admin.notices import ShowsNotices
from django_pagestats.admin.readonly import thousands
from django_pagestats.admin.starting import StartsBackfill
from django_pagestats.admin.wording import Wording, time
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import BackfillRun, RunEvent
from django_pagestats.silence import last_viewed_at, silence


@admin.register(BackfillRun)
class BackfillRunAdmin(ShowsNotices, ShowsLive, StartsBackfill):
    list_select_related = ("generation",)
    ordering = ("-id",)
    sortable_by = ()
    show_full_result_count = False
    fields = ("id",)  # the page of a run has a template of its own

    def get_queryset(self, request: HttpRequest) -> QuerySet[BackfillRun]:
        """From the database that is written to: a replica may not know yet the run that was started just now."""
        runs: QuerySet[BackfillRun] = super().get_queryset(request)
        return runs.using(router.db_for_write(BackfillRun)).select_related("generation")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {}
        if request.method == "GET" and self.has_view_permission(request):
            using = router.db_for_write(BackfillRun)
            now = database_now(using)
            context |= {
                "attention": attention(using, now, may_start=self.has_backfill_permission(request)),
                **last_page_view(using, now),
            }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = Columns(router.db_for_write(BackfillRun))
        return [
            "id",
            columns.state,
            columns.progress,
            columns.page_views,
            columns.rate,
            columns.time_left,
            columns.chunk_size,
            columns.started_by,
            "kind",
            columns.created_at,
        ]


def _nobody_works(run: BackfillRun, now: datetime) -> str:
    """Where that is so; and that its page would."""
    missing = str(backfill.missing_cluster(run, now, RunEvent.Via.ADMIN))
    if missing and is_left_to_page(run, now):
        return missing + " " + gettext("Its page does the work, too, while it is open.")
    return missing


class Columns:
    """The columns of one listing; they ask once, together, what the database's time is, however many runs there are."""

    def __init__(self, using: str) -> None:
        self.using = using

    @cached_property
    def now(self) -> datetime:
        return database_now(self.using)

    @admin.display(description=_("state"))
    def state(self, run: BackfillRun) -> str:
        return Wording(run, self.now).state

    @admin.display(description=_("progress"))
    def progress(self, run: BackfillRun) -> SafeString:
        return format_html(
            '<span class="pagestats-progress"><progress max="100" value="{0}" aria-label="{1}"></progress>{0} %</span>',
            f"{Wording(run, self.now).percent:.1f}",
            gettext("Progress of run %d") % run.pk,
        )

    @admin.display(description=_("page views"))
    def page_views(self, run: BackfillRun) -> str:
        return Wording(run, self.now).page_views

    @admin.display(description=_("rate"))
    def rate(self, run: BackfillRun) -> str:
        return Wording(run, self.now).rate

    @admin.display(description=_("time left"))
    def time_left(self, run: BackfillRun) -> str:
        return Wording(run, self.now).time_left

    @admin.display(description=_("chunk size"))
    def chunk_size(self, run: BackfillRun) -> str:
        return thousands(run.chunk_size)

    @admin.display(description=_("started by"))
    def started_by(self, run: BackfillRun) -> str:
        return Wording(run, self.now).started_by

    @admin.display(description=_("created at"))
    def created_at(self, run: BackfillRun) -> str:
        return Wording(run, self.now).created_at


def last_page_view(using: str, now: datetime) -> dict[str, str]:
    """When the last page view was, in words, and what there is to say if that is long ago."""
    last = last_viewed_at(using, now)
    return {"last_viewed_at": time(last), "silence": silence(last, now)}


def attention(using: str, now: datetime, *, may_start: bool) -> str:
    """What only a person can bring in order, or nothing; `may_start`: whoever reads it may start a run."""
    if problem := backfill.problem(using):
        return problem
    run = backfill.active_run(using)
    if run is not None and (missing := _nobody_works(run, now)):
        return missing
    try:
        tail = folding.tail_length(using, conf.TAIL_LIMIT)
        told = str(folding.attention(using, tail, may_start=may_start))
    except TableWentBackError as error:  # in between
        return str(error)
    if tail > conf.TAIL_LIMIT and not tasks.queue_is_installed():
        wanted = gettext("If that comes again, let a cluster keep up: %s") % tasks.HOW_TO_HAVE_A_CLUSTER
        return f"{told} {wanted}"
    return told
