"""The list and the page of generations: how large each is, which one answers, and which could again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connections, router, transaction
from django.db.models import Exists, OuterRef, Prefetch, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill
from django_pagestats.admin.readonly import ReadOnlyAdmin, thousands
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import Aggregate, BackfillRun, Dimension, Generation, Granularity, RunEvent

NOTHING = "-"
#: rows that the list counts of a generation, and the page of one
LIST_ROWS = 100_000
PAGE_ROWS = 1_000_000
LABELS: dict[str, Promise] = {"activate": _("Activate"), "discard": _("Delete aggregates")}
LEVELS = {"done": messages.SUCCESS, "already": messages.INFO, "refused": messages.WARNING}


class ChangesGenerations(ReadOnlyAdmin):
    """A page with buttons that make a kept generation answer again, or give it up; each asks first."""

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Whoever may change generations may do this, although nobody may write one by hand."""
        return request.user.has_perm("django_pagestats.change_generation")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.control_view)
        for alias in connections:  # another generation comes to answer in a transaction of its own
            view = transaction.non_atomic_requests(using=alias)(view)
        name = "django_pagestats_generation"
        urls = [path(f"<int:pk>/{verb}/", view, {"verb": verb}, name=f"{name}_{verb}") for verb in LABELS]
        return [*urls, *super().get_urls()]

    def control_view(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Ask, and at a POST do what the button says and go back to the page of the generation."""
        if not (self.has_view_permission(request) and self.has_control_permission(request)):
            raise PermissionDenied
        generation = self.get_object(request, str(pk))
        if generation is None:
            raise Http404
        if request.method == "POST":
            self._obey(request, generation, verb)
        elif generation.kept_at is not None:
            return self._ask(request, generation, verb)
        return HttpResponseRedirect(self._page_url("change", pk))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "controls": self._buttons(request, object_id)}
        return super().change_view(request, object_id, form_url, context)

    def _buttons(self, request: HttpRequest, object_id: str) -> list[tuple[Promise, str]]:
        generation = self.get_object(request, object_id) if self.has_control_permission(request) else None
        if generation is None or generation.kept_at is None:
            return []
        return [(label, self._page_url(verb, generation.pk)) for verb, label in LABELS.items()]

    def _obey(self, request: HttpRequest, generation: Generation, verb: str) -> None:
        who = {"actor": request.user.get_username(), "via": RunEvent.Via.ADMIN}
        using = router.db_for_write(Generation)
        try:
            if verb == "activate":
                keep_old = "keep_old" in request.POST
                answer = backfill.activate(using, generation.pk, keep_old=keep_old, **who)
            else:
                answer = backfill.discard(using, generation.pk, **who)
        except PageStatsError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        if answer.outcome == "done":
            self.log_change(request, generation, answer.message)
        self.message_user(request, f"{answer.message}.", LEVELS[answer.outcome])

    def _ask(self, request: HttpRequest, generation: Generation, verb: str) -> HttpResponse:
        title = {
            "activate": gettext("Answer from generation %d again?"),
            "discard": gettext("Delete the aggregates of generation %d?"),
        }[verb]
        context = {
            **self.admin_site.each_context(request),
            "title": title % generation.pk,
            "active": self.get_queryset(request).filter(is_active=True).first(),
            "page_url": self._page_url("change", generation.pk),
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/django_pagestats/generation/{verb}.html", context)

    def _page_url(self, view: str, pk: int) -> str:
        name = f"admin:django_pagestats_generation_{view}"
        return reverse(name, args=[pk], current_app=self.admin_site.name)


@admin.register(Generation)
class GenerationAdmin(ChangesGenerations):
    list_display = ("id", "state", "page_views", "rows", "cursor_text", "time_zone", "built_by", "kept_at")
    ordering = ("-id",)
    sortable_by = ()
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("state", "page_views", "rows_of_one", "cursor_text", "revision")}),
        (_("Days"), {"fields": ("time_zone", "pruned_before")}),
        (_("When"), {"fields": ("built_by", "created_at", "kept_at", "doomed_at", "swept_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        """From the database that is written to, as runs are; with what the columns need."""
        using = router.db_for_write(Generation)
        runs = BackfillRun.objects.using(using)
        all_of_site = Aggregate.objects.using(using).filter(
            generation=OuterRef("pk"), dimension=Dimension.SITE, granularity=Granularity.ALL, bucket=0, subject=0
        )
        generations: QuerySet[Generation] = super().get_queryset(request)
        rebuilds = runs.filter(kind=BackfillRun.Kind.REBUILD).order_by("pk")
        return (
            generations.using(using)
            .annotate(
                counted=Subquery(all_of_site.values("page_views")),
                has_active_run=Exists(runs.filter(generation=OuterRef("pk"), active_key=BackfillRun.ACTIVE)),
            )
            .prefetch_related(Prefetch("runs", rebuilds, to_attr="rebuilds"))
        )

    @admin.display(description=_("state"))
    def state(self, generation: Any) -> str:
        return str(_state(generation).label)

    @admin.display(description=_("page views counted"))
    def page_views(self, generation: Any) -> str:
        return NOTHING if generation.counted is None else thousands(generation.counted)

    @admin.display(description=_("aggregate rows"))
    def rows(self, generation: Any) -> str:
        return _rows(generation, LIST_ROWS)

    @admin.display(description=_("aggregate rows"))
    def rows_of_one(self, generation: Any) -> str:
        return _rows(generation, PAGE_ROWS)

    @admin.display(description=_("cursor"))
    def cursor_text(self, generation: Generation) -> str:
        return thousands(generation.cursor)

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
