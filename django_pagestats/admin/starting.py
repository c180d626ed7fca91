"""The button and the action that start a backfill, and the message that says what came of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import router
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
from django_pagestats.models import BackfillRun

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
        """Whoever may add runs may start one, although nobody may write one by hand."""
        return request.user.has_perm("django_pagestats.add_backfillrun")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.backfill_view)
        return [path("backfill/", view, name=self.url_name("backfill")), *super().get_urls()]

    def backfill_view(self, request: HttpRequest) -> HttpResponse:
        """Start a backfill and go back to the list; a GET (after a login, say) only goes to the list."""
        if not (self.has_view_permission(request) and self.has_backfill_permission(request)):
            raise PermissionDenied
        if request.method == "POST":
            self.start_backfill(request)
        return HttpResponseRedirect(self.page_url("changelist"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {}
        if self.has_backfill_permission(request):
            context |= {"backfill_url": self.page_url("backfill")} if can_start() else {"no_queue": no_queue()}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def start_backfill(self, request: HttpRequest) -> None:
        """Start a run, or find the one that is active, and tell the user, with a link to it."""
        if not can_start():
            self.message_user(request, no_queue(), messages.ERROR)
            return
        try:
            started = tasks.start_backfill(
                router.db_for_write(BackfillRun),
                kind=BackfillRun.Kind.BACKFILL,
                actor=request.user.get_username(),
                via="admin",
            )
        except PageStatsError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        self.message_user(request, self._with_link(request, started), LEVELS[started.outcome])

    def _with_link(self, request: HttpRequest, started: Started) -> SafeString | str:
        run = started.run
        # a site of the project's own may show page views, and no runs
        is_shown = self.admin_site.is_registered(BackfillRun)
        if run is None or not is_shown or not request.user.has_perm("django_pagestats.view_backfillrun"):
            return started.message
        url = reverse("admin:django_pagestats_backfillrun_change", args=[run.pk], current_app=self.admin_site.name)
        return format_html('{}. <a href="{}">{}</a>', started.message, url, gettext("Show run %d") % run.pk)


class OffersBackfillAction(StartsBackfill):
    """The same as an action, which runs whether rows are selected or not: it is about all page views anyway."""

    actions = [ACTION]

    @admin.action(description=_("Backfill aggregates"), permissions=["start"])
    def backfill_aggregates(self, request: HttpRequest, queryset: Any = None) -> None:
        self.start_backfill(request)

    def has_start_permission(self, request: HttpRequest) -> bool:
        """Whether the action is in the list of actions."""
        return self.has_backfill_permission(request) and can_start()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Django answers an action without a selection with "Items must be selected"
        if request.method == "POST" and chosen_action(request) == ACTION:
            if not (self.has_view_permission(request) and self.has_backfill_permission(request)):
                raise PermissionDenied
            self.backfill_aggregates(request)
            return HttpResponseRedirect(request.get_full_path())
        return super().changelist_view(request, extra_context)


def can_start() -> bool:
    """Whether there is a queue for the button to start in."""
    return tasks.queue_is_installed()


def no_queue() -> str:
    """What to do where there is no button."""
    return gettext(
        "There is no queue to start a backfill in, since django_q is not in INSTALLED_APPS. "
        "Run “manage.py backfill_aggregates --sync” instead."
    )


def chosen_action(request: HttpRequest) -> str | None:
    """The action whose button was pushed: a list may have one above and one below."""
    chosen = request.POST.getlist("action")
    index = request.POST.get("index", "0")
    if index.isdecimal() and int(index) < len(chosen):
        return chosen[int(index)]
    return None
