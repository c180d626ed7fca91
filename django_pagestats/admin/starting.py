"""The button and the action that start a backfill, and the message that says what came of it."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import tasks
from django_pagestats.admin.readonly import ReadOnlyAdmin
from django_pagestats.backfill import Started
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import BackfillRun, RunEvent
from django_pagestats.views.starting import may_backfill, may_view_runs, start_backfill

ACTION = "backfill_aggregates"
LEVELS = {
    "started": messages.SUCCESS,
    "active": messages.WARNING,
    "empty": messages.WARNING,
    "nothing_new": messages.INFO,
}


class StartsBackfill(ReadOnlyAdmin):
    """A list with the button "Backfill aggregates": a POST to a URL of its own, so nothing needs to be selected."""

    def has_backfill_permission(self, request: HttpRequest) -> bool:
        """Whoever may add runs may start one, although nobody may write one by hand; without a queue, change them."""
        return may_backfill(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.backfill_view)
        return [path("backfill/", view, name=self.url_name("backfill")), *super().get_urls()]

    def backfill_view(self, request: HttpRequest) -> HttpResponse:
        """Start a backfill and go back to the list; a GET (after a login, say) only goes to the list."""
        if not (self.has_view_permission(request) and self.has_backfill_permission(request)):
            raise PermissionDenied
        run = self.start_backfill(request) if request.method == "POST" else None
        return HttpResponseRedirect(self._url_after(request, run) or self.page_url("changelist"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {}
        if self.has_backfill_permission(request):
            context["backfill_url"] = self.page_url("backfill")
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def start_backfill(self, request: HttpRequest) -> BackfillRun | None:
        """Start a run, or find the one that is active, and tell the user, with a link to it."""
        try:
            started = start_backfill(request, via=RunEvent.Via.ADMIN)
        except PageStatsError as error:
            self.message_user(request, error.told, messages.ERROR)
            return None
        self.message_user(request, self._with_link(request, started), LEVELS[started.outcome])
        return started.run

    def _with_link(self, request: HttpRequest, started: Started) -> SafeString | str:
        url = self._run_url(request, started.run)
        if started.run is None or not url:
            return str(started.message)
        return format_html('{}. <a href="{}">{}</a>', started.message, url, gettext("Show run %d") % started.run.pk)

    def _run_url(self, request: HttpRequest, run: BackfillRun | None) -> str:
        """The page of a run; empty where there is none for this user."""
        # a site of the project's own may show page views, and no runs
        is_shown = self.admin_site.is_registered(BackfillRun)
        if run is None or not is_shown or not may_view_runs(request):
            return ""
        return reverse("admin:django_pagestats_backfillrun_change", args=[run.pk], current_app=self.admin_site.name)

    def _url_after(self, request: HttpRequest, run: BackfillRun | None) -> str:
        """Where a start leads to if not back: without a queue the run's page does the work."""
        return "" if tasks.queue_is_installed() else self._run_url(request, run)


class OffersBackfillAction(StartsBackfill):
    """The same as an action, which runs whether rows are selected or not: it is about all page views anyway."""

    actions = [ACTION]

    @admin.action(description=_("Backfill aggregates"), permissions=["start"])
    def backfill_aggregates(self, request: HttpRequest, queryset: Any = None) -> HttpResponse | None:
        url = self._url_after(request, self.start_backfill(request))
        return HttpResponseRedirect(url) if url else None

    def has_start_permission(self, request: HttpRequest) -> bool:
        """Whether the action is in the list of actions."""
        return self.has_backfill_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Django answers an action without a selection with "Items must be selected"
        if request.method == "POST" and chosen_action(request) == ACTION:
            if not (self.has_view_permission(request) and self.has_backfill_permission(request)):
                raise PermissionDenied
            return self.backfill_aggregates(request) or HttpResponseRedirect(request.get_full_path())
        return super().changelist_view(request, extra_context)


def chosen_action(request: HttpRequest) -> str | None:
    """The action whose button was pushed: a list may have one above and one below."""
    chosen = request.POST.getlist("action")
    index = request.POST.get("index", "0")
    if not re.fullmatch("[0-9]{1,3}", index):  # one of thousands of digits is no number for Python
        return None
    return next(iter(chosen[int(index) :]), None)
