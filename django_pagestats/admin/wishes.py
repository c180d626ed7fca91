"""The buttons on the page of a run: pause, resume, cancel."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, tasks
from django_pagestats.admin.readonly import ReadOnlyAdmin
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import BackfillRun, RunEvent

VERBS = {"pause": backfill.pause, "resume": tasks.resume_backfill, "cancel": backfill.cancel}
LABELS: dict[str, Promise] = {"pause": _("Pause"), "resume": _("Resume"), "cancel": _("Cancel run")}
LEVELS = {
    "done": messages.SUCCESS,
    "asked": messages.SUCCESS,
    "already": messages.INFO,
    "refused": messages.WARNING,
}


class ObeysWishes(ReadOnlyAdmin):
    """A page with a button for each wish that would do something; each is a POST, and giving up asks first."""

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Whoever may change runs may stop and resume them, although nobody may write one by hand."""
        return request.user.has_perm("django_pagestats.change_backfillrun")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.wish_view)
        name = "django_pagestats_backfillrun"
        urls = [path(f"<int:run_id>/{verb}/", view, {"verb": verb}, name=f"{name}_{verb}") for verb in VERBS]
        return [*urls, *super().get_urls()]

    def wish_view(self, request: HttpRequest, run_id: int, verb: str) -> HttpResponse:
        """Do what the button says and go back to the run; a GET asks before giving up, and else does nothing."""
        if not (self.has_view_permission(request) and self.has_control_permission(request)):
            raise PermissionDenied
        if request.method == "POST":
            self._obey(request, run_id, verb)
        elif verb == "cancel":
            return self._ask(request, run_id)
        return HttpResponseRedirect(self._run_url("change", run_id))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "wishes": self._buttons(request, object_id)}
        return super().change_view(request, object_id, form_url, context)

    def _buttons(self, request: HttpRequest, object_id: str) -> list[tuple[Promise, str, bool]]:
        if not self.has_control_permission(request) or (run := self.get_object(request, object_id)) is None:
            return []
        verbs = backfill.possible(router.db_for_write(BackfillRun), run)
        return [(LABELS[verb], self._run_url(verb, run.pk), verb == "cancel") for verb in verbs]

    def _obey(self, request: HttpRequest, run_id: int, verb: str) -> None:
        if verb == "resume" and not tasks.queue_is_installed():
            text = gettext(
                "django_q is not in INSTALLED_APPS. Run “manage.py backfill_aggregates --resume --sync” instead."
            )
            self.message_user(request, text, messages.ERROR)
            return
        using = router.db_for_write(BackfillRun)
        try:
            answer = VERBS[verb](using, run_id=run_id, actor=request.user.get_username(), via=RunEvent.Via.ADMIN)
        except PageStatsError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        self.message_user(request, f"{answer.message}.", LEVELS[answer.outcome])

    def _ask(self, request: HttpRequest, run_id: int) -> HttpResponse:
        run = self.get_object(request, str(run_id))
        if run is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Cancel run %d?") % run_id,
            "is_rebuild": run.kind == BackfillRun.Kind.REBUILD,
            "run_url": self._run_url("change", run_id),
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_pagestats/backfillrun/cancel.html", context)

    def _run_url(self, view: str, run_id: int) -> str:
        name = f"admin:django_pagestats_backfillrun_{view}"
        return reverse(name, args=[run_id], current_app=self.admin_site.name)
