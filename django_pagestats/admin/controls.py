"""What pages with buttons have in common: who may push them, being asked first, and hearing what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from django_pagestats import backfill
from django_pagestats.admin.readonly import ReadOnlyAdmin
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import RunEvent

LEVELS = {
    "done": messages.SUCCESS,
    "asked": messages.SUCCESS,
    "already": messages.INFO,
    "refused": messages.WARNING,
}


class HasControls(ReadOnlyAdmin):
    """Rows that nobody writes by hand, of which some things can be asked on their pages."""

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Whoever may change such rows may do this, although nobody may write one by hand."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def check_control(self, request: HttpRequest) -> None:
        """Raise PermissionDenied for whoever may not push the buttons, or not see the page they are on."""
        if not (self.has_view_permission(request) and self.has_control_permission(request)):
            raise PermissionDenied

    def found(self, request: HttpRequest, pk: int) -> Any:
        """The row of a page; raises Http404 if there is none."""
        row = self.get_object(request, str(pk))
        if row is None:
            raise Http404
        return row

    def ask(self, request: HttpRequest, pk: int, verb: str, **context: Any) -> HttpResponse:
        """The page that asks before something is destroyed."""
        request.current_app = self.admin_site.name
        page = {"back_url": self.page_url("change", pk), "media": self.media}
        template = f"admin/{self.opts.app_label}/{self.opts.model_name}/{verb}.html"
        return TemplateResponse(request, template, {**self.admin_site.each_context(request), **page, **context})

    def answer(
        self, request: HttpRequest, verb: Callable[..., backfill.Answer], *which: Any, **wanted: Any
    ) -> backfill.Answer | None:
        """Call a verb in the name of the user, and tell what came of it; None if that is an error."""
        try:
            answer = verb(*which, actor=request.user.get_username(), via=RunEvent.Via.ADMIN, **wanted)
        except PageStatsError as error:
            self.message_user(request, error.told, messages.ERROR)
            return None
        self.message_user(request, f"{answer.message}.", LEVELS[answer.outcome])
        return answer

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the template of a row's page needs beside Django's own."""
        return {}

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        context |= self.page_context(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)
