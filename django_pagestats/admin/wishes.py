"""What can be asked of a run on its page: the buttons pause, resume and cancel, and how long it rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, tasks
from django_pagestats.admin.controls import HasControls
from django_pagestats.models import BackfillRun

VERBS = {"pause": backfill.pause, "resume": tasks.resume_backfill, "cancel": backfill.cancel}
LABELS: dict[str, Promise] = {"pause": _("Pause"), "resume": _("Resume"), "cancel": _("Cancel run")}


class NiceForm(forms.Form):
    """How long a run rests after each chunk; empty: as the setting says."""

    nice = forms.FloatField(
        required=False,
        min_value=0,
        max_value=100,
        label=_("Rest after each chunk"),
        widget=forms.NumberInput(attrs={"step": "any", "aria-describedby": "pagestats-nice-help"}),
    )


class ObeysWishes(HasControls):
    """A page with a button for each wish that would do something; each is a POST, and giving up asks first."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.wish_view)
        urls = [path(f"<int:run_id>/{verb}/", view, {"verb": verb}, name=self.url_name(verb)) for verb in VERBS]
        nice = path("<int:run_id>/nice/", self.admin_site.admin_view(self.nice_view), name=self.url_name("nice"))
        return [*urls, nice, *super().get_urls()]

    def wish_view(self, request: HttpRequest, run_id: int, verb: str) -> HttpResponse:
        """Do what the button says and go back to the run; a GET asks before giving up, and else does nothing."""
        self.check_control(request)
        run = self.found(request, run_id)
        if request.method == "POST":
            self._obey(request, run_id, verb)
        elif verb == "cancel":
            title = gettext("Cancel run %d?") % run_id
            return self.ask(request, run_id, verb, title=title, is_build=run.builds)
        return HttpResponseRedirect(self.page_url("change", run_id))

    def nice_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Let the run rest as long as the form says and go back to it; a GET does nothing."""
        self.check_control(request)
        self.found(request, run_id)
        if request.method == "POST":
            form = NiceForm(request.POST)
            if "nice" not in request.POST:  # an empty field means the setting, and none means nothing
                return HttpResponseBadRequest()
            if form.is_valid():
                self._answer(request, backfill.change_nice, run_id, nice=form.cleaned_data["nice"])
            else:
                self.message_user(request, " ".join(map(str, form.errors["nice"])), messages.ERROR)
        return HttpResponseRedirect(self.page_url("change", run_id))

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        if not self.has_control_permission(request):
            return {}
        possible = self.possible_verbs(request, row)
        return {
            # those of no use now are hidden: the page's script shows them when they come to be of use
            "buttons": [
                (verb, label, self.page_url(verb, row.pk), verb == "cancel", verb in possible)
                for verb, label in LABELS.items()
            ],
            "nice_url": self.page_url("nice", row.pk),
            "nice_form": NiceForm({"nice": row.nice}),
        }

    def possible_verbs(self, request: HttpRequest, run: BackfillRun) -> list[str]:
        """Which buttons would do something, of those that this user may push."""
        if not self.has_control_permission(request):
            return []
        return backfill.possible(run._state.db or router.db_for_write(BackfillRun), run)

    def _obey(self, request: HttpRequest, run_id: int, verb: str) -> None:
        self._answer(request, VERBS[verb], run_id)

    def _answer(self, request: HttpRequest, verb: Callable[..., backfill.Answer], run_id: int, **wanted: Any) -> None:
        self.answer(request, verb, router.db_for_write(BackfillRun), run_id=run_id, **wanted)
