"""The list and the page of generations: how large each is, which one answers, and which could again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import router
from django.db.models import Exists, OuterRef, Prefetch, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill
from django_pagestats.admin.controls import HasControls
from django_pagestats.admin.readonly import thousands
from django_pagestats.admin.wording import NOTHING
from django_pagestats.dimensions import of_generation
from django_pagestats.models import Aggregate, BackfillRun, Dimension, Generation, Granularity

#: rows that the list counts of a generation, and the page of one
LIST_ROWS = 100_000
PAGE_ROWS = 1_000_000
LABELS: dict[str, Promise] = {"activate": _("Activate"), "discard": _("Delete aggregates")}


class ChangesGenerations(HasControls):
    """A page with buttons that make a kept generation answer again, or give it up; each asks first."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.control_view)
        urls = [path(f"<int:pk>/{verb}/", view, {"verb": verb}, name=self.url_name(verb)) for verb in LABELS]
        return [*urls, *super().get_urls()]

    def control_view(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Ask, and at a POST do what the button says and go back to the page of the generation."""
        self.check_control(request)
        generation: Generation = self.found(request, pk)
        if request.method == "POST":
            self._obey(request, generation, verb)
        elif generation.kept_at is not None:
            return self._ask(request, generation, verb)
        return HttpResponseRedirect(self.page_url("change", pk))

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        if row.kept_at is None or not self.has_control_permission(request):
            return {}
        return {"controls": [(label, self.page_url(verb, row.pk)) for verb, label in LABELS.items()]}

    def _obey(self, request: HttpRequest, generation: Generation, verb: str) -> None:
        which = router.db_for_write(Generation), generation.pk
        if verb == "activate":
            answer = self.answer(request, backfill.activate, *which, keep_old="keep_old" in request.POST)
        else:
            answer = self.answer(request, backfill.discard, *which)
        if answer is not None and answer.outcome == "done":
            self.log_change(request, generation, backfill.english(answer.message))

    def _ask(self, request: HttpRequest, generation: Generation, verb: str) -> HttpResponse:
        title = {
            "activate": gettext("Answer from generation %d again?"),
            "discard": gettext("Delete the aggregates of generation %d?"),
        }[verb]
        active = self.get_queryset(request).filter(is_active=True).first()
        return self.ask(request, generation.pk, verb, title=title % generation.pk, active=active)


@admin.register(Generation)
class GenerationAdmin(ChangesGenerations):
    list_display = ("id", "state", "page_views", "rows", "cursor_text", "time_zone", "built_by", "kept_at")
    ordering = ("-id",)
    sortable_by = ()
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("state", "page_views", "rows_of_one", "cursor_text", "revision")}),
        (_("Days"), {"fields": ("time_zone", "pruned_before")}),
        (_("Named dimensions"), {"fields": ("dimensions_text",)}),
        (_("When"), {"fields": ("built_by", "created_at", "kept_at", "doomed_at", "swept_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        """From the database that is written to, as runs are; with what the columns need."""
        using = router.db_for_write(Generation)
        runs = BackfillRun.objects.using(using)
        days_of_site = Aggregate.objects.using(using).filter(
            generation=OuterRef("pk"), dimension=Dimension.SITE, granularity=Granularity.DAY, subject=0
        )
        generations: QuerySet[Generation] = super().get_queryset(request)
        rebuilds = runs.filter(BackfillRun.BUILDS).order_by("pk")
        return (
            generations.using(using)
            .annotate(
                counted=Subquery(days_of_site.values("generation").annotate(n=Sum("page_views")).values("n")),
                has_active_run=Exists(runs.filter(generation=OuterRef("pk"), active_key=BackfillRun.ACTIVE)),
            )
            .prefetch_related(Prefetch("runs", rebuilds, to_attr="rebuilds"))
        )

    @admin.display(description=_("state"))
    def state(self, generation: Any) -> str:
        return str(_state(generation).label)

    @admin.display(description=_("page views counted"))
    def page_views(self, generation: Any) -> str:
        is_whole = generation.counted is not None and generation.doomed_at is None
        return thousands(generation.counted) if is_whole else NOTHING

    @admin.display(description=_("aggregate rows"))
    def rows(self, generation: Any) -> str:
        return _rows(generation, LIST_ROWS)

    @admin.display(description=_("aggregate rows"))
    def rows_of_one(self, generation: Any) -> str:
        return _rows(generation, PAGE_ROWS)

    @admin.display(description=_("cursor"))
    def cursor_text(self, generation: Generation) -> str:
        return thousands(generation.cursor)

    @admin.display(description=_("named dimensions"))
    def dimensions_text(self, generation: Generation) -> str:
        """Each with where its values come from, unless that is an attribute of its own name."""
        if generation.dimensions is None:
            return gettext("none: it is of before there were any")
        found = [
            it.name if it.name == it.source else f"{it.name} ({it.source})"
            for it in of_generation(generation.dimensions)
        ]
        return ", ".join(found) or NOTHING

    @admin.display(description=_("built by"))
    def built_by(self, generation: Any) -> str:
        return str(generation.rebuilds[0]) if generation.rebuilds else NOTHING


def _state(generation: Any) -> backfill.State:
    return backfill.state_of(generation, generation.rebuilds[0] if generation.rebuilds else None)


def _rows(generation: Any, most: int) -> str:
    """Its size; none while rows come or go.

    Until a run has ended, and had the planner's statistics renewed, PostgreSQL may sort them all to count a few; and
    where a sweep is at work it passes all those that are deleted already.
    """
    if generation.has_active_run or generation.doomed_at is not None:
        return NOTHING
    found = backfill.count_rows(generation._state.db, generation.pk, most)
    return gettext("more than %s") % thousands(most) if found > most else thousands(found)
