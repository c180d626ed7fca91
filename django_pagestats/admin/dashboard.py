"""The dashboard in the admin: a page of its own beside the lists, and the first one of the app."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, include, path, reverse
from django.utils.translation import gettext

from django_pagestats import tasks
from django_pagestats.admin.beside import PageStatisticsMixin
from django_pagestats.admin.checking import check_days
from django_pagestats.admin.left_out import left_out_url
from django_pagestats.admin.notes import note_links
from django_pagestats.admin.readonly import ReadOnlyAdmin, outside_transactions
from django_pagestats.dashboard.scope import Places
from django_pagestats.dashboard.sections import Section, sections_of
from django_pagestats.dashboard.sitemaps import CHUNK, Site
from django_pagestats.models import BackfillRun, Statistics
from django_pagestats.views.dashboard import DashboardView
from django_pagestats.views.sections import AuditView, LoyaltyView
from django_pagestats.views.starting import may_backfill

APP = Statistics._meta.app_label


class AdminDashboardView(DashboardView):
    """The dashboard with the head and the menu of an admin's site, which has asked for a login already."""

    template_name = "admin/django_pagestats/dashboard.html"
    http_method_names = ["get", "head", "options"]  # its buttons have URLs of their own
    section = "dashboard"
    model_admin: StatisticsAdmin | None = None

    def has_permission(self) -> bool:
        return self.model_admin is not None and self.model_admin.has_view_permission(self.request)

    def handle_no_permission(self) -> Any:
        raise PermissionDenied

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        assert self.model_admin is not None  # noqa: S101 - nobody has the permission without it
        site = self.model_admin.admin_site
        self.request.current_app = site.name  # as each view of the admin does
        page = super().get_context_data(**kwargs)
        links = {"run_url": self.run_url(page), "left_out_url": left_out_url(site, self.request)}
        if "note_day" in page:  # it has a chart
            links |= note_links(site, self.request, page["note_day"], page["state"].query(), page["state"].path)
        return {**site.each_context(self.request), "title": gettext("Statistics"), **page, **links}

    def places(self) -> Places:
        return Places(site=self.url("dashboard"), page=self.url("page"))

    def sections(self, query: str) -> Sequence[Section]:
        return sections_of(self.url, self.section, query)

    def run_url(self, page: dict[str, Any]) -> str:
        """The page of the run that works on what is missing; empty where there is none for this user."""
        run_id = page["trust"].run_id
        return "" if run_id is None or not self.may_view(BackfillRun) else self.url("backfillrun_change", run_id)

    def backfill_url(self, query: str) -> str:
        """The list of runs has the button, too, and a start leads there."""
        may_push = may_backfill(self.request) and self.may_view(BackfillRun)
        return self.url("backfillrun_backfill") if may_push else ""

    def check_url(self, query: str) -> str:
        return self.url("check") + query if self.may_start() and tasks.queue_is_installed() else ""

    def may_view(self, model: type[Model]) -> bool:
        """Whether this site has its pages, and shows them to this user."""
        assert self.model_admin is not None  # noqa: S101
        site = self.model_admin.admin_site
        return site.is_registered(model) and site.get_model_admin(model).has_view_permission(self.request)

    def url(self, name: str, *args: Any) -> str:
        assert self.model_admin is not None  # noqa: S101
        return reverse(f"admin:{APP}_{name}", args=args, current_app=self.model_admin.admin_site.name)


class AdminLoyaltyView(AdminDashboardView, LoyaltyView):
    """The page of loyalty beside it."""

    template_name = "admin/django_pagestats/loyalty.html"
    section = "loyalty"


class AdminAuditView(AdminDashboardView, AuditView):
    """The content audit beside it."""

    template_name = "admin/django_pagestats/audit.html"
    section = "audit"

    def site(self) -> Site:
        """With the objects whose lists have a column of page views, for whoever may see these lists."""
        assert self.model_admin is not None  # noqa: S101
        admins = self.model_admin.admin_site._registry.values()
        ours = [it for it in admins if isinstance(it, PageStatisticsMixin) and it.has_view_permission(self.request)]
        return replace(super().site(), objects={it.opts.label: partial(_urls_of, it, self.request) for it in ours})


def _urls_of(model_admin: PageStatisticsMixin, request: HttpRequest) -> Iterator[object]:
    for item in model_admin.get_queryset(request).order_by("pk").iterator(chunk_size=CHUNK):
        if (url := model_admin.get_statistics_url(item)) is not None:
            yield url


def show_dashboard(site: AdminSite) -> None:
    """Let a site have the dashboard at `django_pagestats/dashboard/`, and first among our models.

    A site gives models places below their names only, in the order of their names, and knows no hook for either; so its
    two methods that do are wrapped, whatever a subclass has made of them. Once it is unregistered they do as before.
    """
    get_urls, get_app_list = site.get_urls, site.get_app_list
    if hasattr(get_urls, "has_dashboard"):
        return

    def with_dashboard() -> list[Any]:
        if not site.is_registered(Statistics):
            return get_urls()
        ours: Any = site.get_model_admin(Statistics)
        # before the others: the last of these may take any URL
        return [path(f"{APP}/dashboard/", include(ours.dashboard_urls)), *get_urls()]

    def dashboard_first(request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = get_app_list(request, app_label)
        for app in apps:
            if app["app_label"] == APP:
                app["models"].sort(key=lambda model: model["object_name"] != Statistics._meta.object_name)
        return apps

    with_dashboard.has_dashboard = True  # type: ignore[attr-defined]
    site.get_urls = with_dashboard  # type: ignore[method-assign]
    site.get_app_list = dashboard_first  # type: ignore[method-assign]


@admin.register(Statistics)
class StatisticsAdmin(ReadOnlyAdmin):
    """Has no list: its pages are the dashboards of the site and of one page."""

    def __init__(self, model: type[Statistics], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        show_dashboard(admin_site)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(AdminDashboardView.as_view(model_admin=self))
        # the second name is the one that the admin's lists of models ask for
        first = [path("", view, name=f"{APP}_{name}") for name in ("dashboard", "statistics_changelist")]
        of_page = path("page/", view, name=f"{APP}_page")
        check = path("check/", self.admin_site.admin_view(self.check_view), name=f"{APP}_check")
        return [*first, of_page, check, *(self._beside(view) for view in (AdminLoyaltyView, AdminAuditView))]

    def check_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return check_days(request, reverse(f"admin:{APP}_dashboard", current_app=self.admin_site.name))

    def _beside(self, view: type[AdminDashboardView]) -> URLPattern:
        name = view.section
        return path(f"{name}/", self.admin_site.admin_view(view.as_view(model_admin=self)), name=f"{APP}_{name}")

    @property
    def urls(self) -> list[URLPattern]:
        """None below the model's name: see `show_dashboard`."""
        return []

    @property
    def dashboard_urls(self) -> list[URLPattern]:
        return outside_transactions(self.get_urls())
