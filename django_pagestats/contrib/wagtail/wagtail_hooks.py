"""Where Wagtail asks what an app has to add to its admin."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path, reverse
from django.utils.translation import pgettext
from wagtail import hooks
from wagtail.admin.menu import MenuItem

from django_pagestats.contrib.wagtail.pages import may_view
from django_pagestats.contrib.wagtail.reports import PageStatisticsReportView
from django_pagestats.contrib.wagtail.viewsets import PageStatisticsViewSet

#: after Wagtail's own (-1), and before a site's (0): the last one that is registered for a page type counts
BEFORE_THE_SITES_OWN = -0.5


@hooks.register("register_admin_viewset", order=BEFORE_THE_SITES_OWN)
def register_viewset() -> PageStatisticsViewSet:
    return PageStatisticsViewSet()


@hooks.register("register_admin_urls")
def register_urls() -> list[URLPattern]:
    view = PageStatisticsReportView
    return [
        path("reports/page-statistics/", view.as_view(), name=view.index_url_name),
        path("reports/page-statistics/results/", view.as_view(results_only=True), name=view.index_results_url_name),
    ]


class ReportMenuItem(MenuItem):
    """For those who may see the report."""

    def is_shown(self, request: HttpRequest) -> bool:
        return may_view(request)


@hooks.register("register_reports_menu_item")
def register_report() -> ReportMenuItem:
    url = reverse(PageStatisticsReportView.index_url_name)
    title = pgettext("heading", "Page statistics")
    return ReportMenuItem(title, url, name="page-statistics", icon_name="pagestats", order=650)


@hooks.register("register_permissions")
def register_permission() -> QuerySet[Permission]:
    """So that it can be given in Wagtail's own form of a group."""
    return Permission.objects.filter(content_type__app_label="django_pagestats", codename="view_statistics")


@hooks.register("register_icons")
def register_icon(icons: list[str]) -> list[str]:
    return [*icons, "django_pagestats_wagtail/icons/pagestats.svg"]
