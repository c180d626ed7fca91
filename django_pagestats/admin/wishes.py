"""What can be asked of a run on its page: the buttons pause, resume and cancel, and how long it rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
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


class NiceForm(forms.Form):
    """How long a run rests after each chunk; empty: as the setting says."""

    nice = forms.FloatField(
        required=False,
        min_value=0,
        max_value=100,
        label=_("Rest after each chunk"),
        widget=forms.NumberInput(attrs={"step": "any", "aria-describedby": "pagestats-nice-help"}),
    )


class ObeysWishes(ReadOnlyAdmin):
    """A page with a button for each wish that would do something; each is a POST, and giving up asks first."""

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Whoever may change runs may stop and resume them, although nobody may write one by hand."""
        return request.user.has_perm("django_pagestats.change_backfillrun")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.wish_view)
        name = "django_pagestats_backfillrun"
        urls = [path(f"<int:run_id>/{verb}/", view, {"verb": verb}, name=f"{name}_{verb}") for verb in VERBS]
        nice = path("<int:run_id>/nice/", self.admin_site.admin_view(self.nice_view), name=f"{name}_nice")
        return [*urls, nice, *super().get_urls()]

    def wish_view(self, request: HttpRequest, run_id: int, verb: str) -> HttpResponse:
        """Do what the button says and go back to the run; a GET asks before giving up, and else does nothing."""
        self._check_control(request)
        if request.method == "POST":
            self._obey(request, run_id, verb)
        elif verb == "cancel":
            return self._ask(request, run_id)
        return HttpResponseRedirect(self.run_url("change", run_id))

    def nice_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Let the run rest as long as the form says and go back to it; a GET does nothing."""
        self._check_control(request)
        if request.method == "POST":
            form = NiceForm(request.POST)
            if "nice" not in request.POST:  # an empty field means the setting, and none means nothing
                return HttpResponseBadRequest()
            if form.is_valid():
                self._answer(request, backfill.change_nice, run_id, nice=form.cleaned_data["nice"])
            else:
                self.message_user(request, " ".join(map(str, form.errors["nice"])), messages.ERROR)
        return HttpResponseRedirect(self.run_url("change", run_id))

    def _check_control(self, request: HttpRequest) -> None:
        if not (self.has_view_permission(request) and self.has_control_permission(request)):
            raise PermissionDenied

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if self.has_control_permission(request):
            possible = self.possible_verbs(request, obj)
            # those of no use now are hidden: the page's script shows them when they come to be of use
            context["buttons"] = [
                (verb, label, self.run_url(verb, obj.pk), verb == "cancel", verb in possible)
                for verb, label in LABELS.items()
            ]
            context["nice_url"] = self.run_url("nice", obj.pk)
            context["nice_form"] = NiceForm({"nice": obj.nice})
        return super().render_change_form(request, context, add, change, form_url, obj)

    def possible_verbs(self, request: HttpRequest, run: BackfillRun) -> list[str]:
        """Which buttons would do something, of those that this user may push."""
        if not self.has_control_permission(request):
            return []
        return backfill.possible(run._state.db or router.db_for_write(BackfillRun), run)

    def _obey(self, request: HttpRequest, run_id: int, verb: str) -> None:
        if verb == "resume" and not tasks.queue_is_installed():
            text = gettext(
                "django_q is not in INSTALLED_APPS. Run “manage.py backfill_aggregates --resume --sync” instead."
            )
            self.message_user(request, text, messages.ERROR)
            return
        self._answer(request, VERBS[verb], run_id)

    def _answer(self, request: HttpRequest, verb: Callable[..., backfill.Answer], run_id: int, **wanted: Any) -> None:
        who = {"actor": request.user.get_username(), "via": RunEvent.Via.ADMIN}
        try:
            answer = verb(router.db_for_write(BackfillRun), run_id=run_id, **who, **wanted)
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
            "run_url": self.run_url("change", run_id),
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_pagestats/backfillrun/cancel.html", context)

    def run_url(self, view: str, run_id: int) -> str:
        name = f"admin:django_pagestats_backfillrun_{view}"
        return reverse(name, args=[run_id], current_app=self.admin_site.name)
