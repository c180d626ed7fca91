"""Notices above a list: what recording has noticed, what to write in the settings, and a button "It is meant so"."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import ReadOnlyAdmin
from django_pagestats.admin.wording import time
from django_pagestats.models import Notice, NoticeName
from django_pagestats.recording import dismiss_notice, proxy_notices

TEXTS: dict[str, Promise] = {
    NoticeName.FORGOTTEN_PROXY: _(
        "Requests come through a proxy that is not trusted, so all visitors have its address, and those with the same "
        "browser count as one. Write the address or network of the proxy in the settings, such as "
        'PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1"], ["10.0.0.0/8"], or ["unix"] behind a Unix socket.'
    ),
    NoticeName.FEW_ADDRESSES: _(
        "A hundred page views in a row came from one address or two, so visitors with the same browser count as one. "
        "If there is a proxy, write its address or network in PAGESTATS_TRUSTED_PROXIES, and have it send "
        "X-Forwarded-For, or name its header in PAGESTATS_ADDRESS_HEADER."
    ),
}


class ShowsNotices(ReadOnlyAdmin):
    """A list that shows, above its rows, what its owner should bring in order."""

    def has_dismiss_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_pagestats.change_notice")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dismiss_view)
        return [path("notices/<slug:name>/dismiss/", view, name=self.url_name("dismiss")), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {}
        if request.method == "GET" and self.has_view_permission(request):
            context["notices"] = [self._shown(request, notice) for notice in proxy_notices(router.db_for_write(Notice))]
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def dismiss_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """At a POST do not show it again, and go back to the list; a GET only goes back."""
        if not (self.has_view_permission(request) and self.has_dismiss_permission(request)):
            raise PermissionDenied
        if request.method == "POST" and dismiss_notice(router.db_for_write(Notice), name):
            text = gettext("It is not shown again, unless it is noticed under other settings.")
            self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self.page_url("changelist"))

    def _shown(self, request: HttpRequest, notice: Notice) -> dict[str, object]:
        return {
            "text": TEXTS.get(notice.name, notice.name),
            "since": time(notice.since),
            "dismiss_url": self.page_url("dismiss", notice.name) if self.has_dismiss_permission(request) else None,
        }
