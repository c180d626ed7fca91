"""The pages beside the dashboard, which cost more: loyalty and the content audit; docs/dashboard.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.sites.shortcuts import get_current_site
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path

from django_pagestats.dashboard.audit import audit_page_of
from django_pagestats.dashboard.audit_csv import audit_csv
from django_pagestats.dashboard.audit_tables import TABLES, UNSEEN
from django_pagestats.dashboard.loyalty import loyalty_page_of
from django_pagestats.dashboard.sitemaps import Site
from django_pagestats.dashboard.unseen import unseen_csv
from django_pagestats.views.dashboard import SECTIONS_APP, DashboardView, csv_response


class _PrivateView(DashboardView):
    """Not for the public: in what it tells, single visitors could be made out."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponse]:
        if initkwargs.get("public", cls.public):
            raise TypeError(f"{cls.__name__} is not for the public: what it tells may be of single visitors.")
        return super().as_view(**initkwargs)


class LoyaltyView(_PrivateView):
    """Who came again, for whoever may view statistics."""

    template_name = "django_pagestats/loyalty.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        return self.render_to_response(self.get_context_data(**kwargs))

    def page(self) -> dict[str, Any]:
        return loyalty_page_of(self.request.GET, **self.asked())


class AuditView(_PrivateView):
    """Which pages gained, lost, are new, or were seen by nobody, for whoever may view statistics."""

    template_name = "django_pagestats/audit.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        table = request.GET.get("csv")
        if table == UNSEEN.name:
            return csv_response(*unseen_csv(request.GET, **self.asked(), site=self.site()))
        if table in TABLES:
            return csv_response(*audit_csv(request.GET, table, **self.asked()))
        return self.render_to_response(self.get_context_data(**kwargs))

    def page(self) -> dict[str, Any]:
        return audit_page_of(self.request.GET, **self.asked(), site=self.site())

    def site(self) -> Site:
        """The hosts that are this site: that of the request, those that it answers to, and PAGESTATS_OWN_HOSTS."""
        answered = [host for host in settings.ALLOWED_HOSTS if host != "*"]
        return Site(lambda: get_current_site(self.request), [self.request.get_host(), *answered])


def dashboard_urls(view: type[DashboardView] = DashboardView, **initkwargs: Any) -> tuple[list[URLPattern], str]:
    """For `include()`: the dashboard, and beside it the pages that cost more; it is linked with them.

    `initkwargs` are those of the dashboard's `as_view()`.
    """
    pages = (("", view.as_view(**initkwargs), "dashboard"), ("loyalty/", LoyaltyView.as_view(), "loyalty"))
    return [path(*page[:2], name=page[2]) for page in (*pages, ("audit/", AuditView.as_view(), "audit"))], SECTIONS_APP
