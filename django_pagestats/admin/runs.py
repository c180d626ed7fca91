"""The list of runs and the page of one run: how far it is, how fast, since when, and who started it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, folding
from django_pagestats.admin.readonly import thousands
from django_pagestats.admin.starting import StartsBackfill
from django_pagestats.admin.wishes import ObeysWishes
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import BackfillRun, RunEvent

NOTHING = "-"
#: of a run, the latest
EVENTS = 100


@admin.register(BackfillRun)
class BackfillRunAdmin(ObeysWishes, StartsBackfill):
    list_display = ("id", "status", "progress", "page_views", "rate", "time_left", "kind", "started_by", "created_at")
    list_select_related = ("generation",)
    ordering = ("-id",)
    sortable_by = ()
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("status", "kind", "progress", "page_views", "rate", "time_left", "error_text")}),
        (_("Where it is"), {"fields": ("generation", "cursor", "began_at", "ends_at", "chunk_size_text")}),
        (
            _("What holds it up"),
            {"fields": ("wait_reason", "wait_until", "wish", "taken_at", "failure_count", "revival_count")},
        ),
        (_("Who and when"), {"fields": ("actor", "via", "created_at", "started_at", "progressed_at", "finished_at")}),
        (_("What happened"), {"fields": ("events",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[BackfillRun]:
        """From the database that is written to: a replica may not know yet the run that was started just now."""
        runs: QuerySet[BackfillRun] = super().get_queryset(request)
        return runs.using(router.db_for_write(BackfillRun)).select_related("generation")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {}
        if request.method == "GET" and self.has_view_permission(request):
            context["attention"] = attention(router.db_for_write(BackfillRun))
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.display(description=_("progress"))
    def progress(self, run: BackfillRun) -> SafeString:
        percent = f"{backfill.progress(run).percent:.1f}"
        return format_html(
            '<span class="pagestats-progress"><progress max="100" value="{}" aria-label="{}"></progress> {} %</span>',
            percent,
            gettext("Progress of run %d") % run.pk,
            percent,
        )

    @admin.display(description=_("page views folded"))
    def page_views(self, run: BackfillRun) -> str:
        return thousands(run.rows_folded)

    @admin.display(description=_("rate"))
    def rate(self, run: BackfillRun) -> str:
        rate = backfill.progress(run).rows_per_second
        return NOTHING if rate is None else f"{thousands(round(rate))}/s"

    @admin.display(description=_("time left"))
    def time_left(self, run: BackfillRun) -> str:
        seconds = backfill.progress(run).eta_seconds
        return NOTHING if seconds is None else duration(seconds)

    @admin.display(description=_("started by"))
    def started_by(self, run: BackfillRun) -> str:
        return _who(run)

    @admin.display(description=_("error"))
    def error_text(self, run: BackfillRun) -> SafeString | str:
        return format_html('<pre class="pagestats-error">{}</pre>', run.error) if run.error else NOTHING

    @admin.display(description=_("to be"))
    def wish(self, run: BackfillRun) -> str:
        what = gettext("cancelled") if run.cancel_requested_at else gettext("paused") if run.pause_requested_at else ""
        if not what:
            return NOTHING
        return (
            f"{what} ({run.requested_by}, {run.requested_via})" if run.requested_by else f"{what} ({run.requested_via})"
        )

    @admin.display(description=_("events"))
    def events(self, run: BackfillRun) -> SafeString:
        heads = gettext("when"), gettext("what"), gettext("who"), gettext("why")
        rows = [
            (localize(localtime(it.at)), _change(it), _who(it), it.reason)
            for it in run.events.using(run._state.db).order_by("-pk")[:EVENTS]
        ]
        return format_html(
            '<table class="pagestats-events"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>',
            format_html_join("", '<th scope="col">{}</th>', ((head,) for head in heads)),
            format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows),
        )

    @admin.display(description=_("cursor of the generation"))
    def cursor(self, run: BackfillRun) -> str:
        return thousands(run.generation.cursor)

    @admin.display(description=_("cursor at the start"))
    def began_at(self, run: BackfillRun) -> str:
        return thousands(run.start_cursor)

    @admin.display(description=_("target"))
    def ends_at(self, run: BackfillRun) -> str:
        return thousands(run.target)

    @admin.display(description=_("chunk size"))
    def chunk_size_text(self, run: BackfillRun) -> str:
        text = gettext("%s (adapts)") if run.fixed_chunk_size is None else gettext("%s (fixed)")
        return text % thousands(run.chunk_size)


def _who(one: BackfillRun | RunEvent) -> str:
    return f"{one.actor} ({one.via})" if one.actor else one.via


def _change(event: RunEvent) -> str:
    after = event.get_to_status_display()
    if event.from_status in ("", event.to_status):
        return after
    return f"{event.get_from_status_display()} → {after}"


def attention(using: str) -> str:
    """What only a person can bring in order, or nothing."""
    if problem := backfill.problem(using):
        return problem
    run = backfill.active_run(using)
    if run is not None and (missing := backfill.missing_cluster(run, database_now(using))):
        return missing
    try:
        return folding.attention(using, folding.tail_length(using, conf.TAIL_LIMIT))
    except TableWentBackError as error:  # in between
        return str(error)


def duration(seconds: float) -> str:
    """Two units at most, since it is an estimate: "2 h 5 min", "40 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return gettext("%d s") % rest
    hours, minutes_left = divmod(minutes, 60)
    if not hours:
        return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}
    return gettext("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes_left}
