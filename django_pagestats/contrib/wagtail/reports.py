"""The report: all pages in the order of their page views, with their visitors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from wagtail.admin.filters import ContentTypeFilter, WagtailFilterSet
from wagtail.admin.ui.tables import Column
from wagtail.admin.ui.tables.pages import PageTable, PageTitleColumn
from wagtail.admin.views.reports import PageReportView
from wagtail.admin.viewsets.pages import PageViewSet
from wagtail.models import get_page_content_types

from django_pagestats.beside import ordering
from django_pagestats.beside.lists import page_views_and_visitors_of, page_views_of
from django_pagestats.contrib.wagtail.listings import PageStatisticsColumn, number_of
from django_pagestats.contrib.wagtail.pages import may_view, path_of_page
from django_pagestats.dashboard.numbers import NOTHING, whole

Page = PageViewSet.model
ASCENDING, DESCENDING = "page_views", "-page_views"
COLUMN = PageStatisticsColumn(sort_key=ASCENDING)


class PageStatisticsFilterSet(WagtailFilterSet):
    """Which pages the report has."""

    content_type = ContentTypeFilter(
        label=_("Page type"), queryset=lambda request: get_page_content_types(include_base_page_type=False)
    )

    class Meta:
        model = Page
        fields = ["content_type", "live"]


class VisitorsColumn(Column):
    """Distinct visitors of the same days."""

    def get_cell_context_data(self, instance: Any, parent_context: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_cell_context_data(instance, parent_context)
        _, number = number_of(instance, context["table"], context["request"], COLUMN)
        visitors = None if number is None else number.visitors
        return {**context, "value": NOTHING if visitors is None else whole(visitors)}


class PageStatisticsTable(PageTable):
    """Asks for the visitors of its rows, too."""

    has_visitors = True


class PageStatisticsReportView(PageReportView):
    """For users with `view_statistics`: the pages that they may see in Wagtail's admin."""

    page_title = pgettext_lazy("heading", "Page statistics")
    verbose_name, verbose_name_plural = Page._meta.verbose_name, Page._meta.verbose_name_plural
    header_icon = "pagestats"
    index_url_name = "django_pagestats_wagtail_report"
    index_results_url_name = "django_pagestats_wagtail_report_results"
    results_template_name = "django_pagestats_wagtail/report_results.html"
    filterset_class = PageStatisticsFilterSet
    table_class = PageStatisticsTable
    table_classname = "listing"
    default_ordering = DESCENDING
    columns = [
        PageTitleColumn("title", label=_("Title"), classname="title"),
        Column("type", label=_("Type"), accessor="page_type_display_name", width="14%"),
        COLUMN,
        VisitorsColumn("visitors", label=pgettext_lazy("figure", "Visitors"), width="12%"),
    ]
    counted: ordering.Counted | None = None
    #: path -> visitors, of all pages of a download; on a screen each row's are asked for with the row
    visitors: Mapping[str, int] = {}
    #: pages that are put in order, at the most
    sorted_up_to = ordering.MOST_OBJECTS
    list_export = ["title", "statistics_path", "statistics_page_views", "statistics_visitors"]
    export_headings = {
        "statistics_path": _("Path"),
        "statistics_page_views": pgettext_lazy("figure", "Page views"),
        "statistics_visitors": pgettext_lazy("figure", "Visitors"),
    }
    export_filename = "page-statistics"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not may_view(request):
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    def get_valid_orderings(self) -> list[str]:
        return [ASCENDING, DESCENDING]

    def get_queryset(self) -> Any:
        pages = self.permission_policy.explorable_instances(self.request.user).filter(depth__gt=1)
        # each of its own class, which may have a URL of its own making
        return pages.specific(defer=True).annotate_site_root_state().prefetch_related("content_type")

    def get_filtered_queryset(self) -> Any:
        by = ordering.ByPageViews()
        wanted = by.asc() if self.ordering == ASCENDING else by.desc()
        pages = super().get_filtered_queryset().order_by(wanted)
        return ordering.ordered(pages, self._counted(pages))

    def _counted(self, pages: Any) -> ordering.Counted | None:
        try:
            found = ordering.counted(
                pages, lambda page: path_of_page(page, self.request), most=self.sorted_up_to, count=self._count
            )
        except ordering.TooManyError:
            told = gettext("These are more than %s pages, too many to sort them by page views: choose a type first.")
            messages.warning(self.request, told % whole(self.sorted_up_to), fail_silently=True)
            return None
        if found is None:
            told = gettext("They are not sorted by page views, which could not be counted.")
            messages.warning(self.request, told, fail_silently=True)
        self.counted = found
        return found

    def _count(self, paths: list[str]) -> Mapping[str, int] | None:
        if not self.is_export:
            return page_views_of(paths)
        found = page_views_and_visitors_of(paths)
        if found is None:
            return None
        page_views, self.visitors = found
        return page_views

    def to_row_dict(self, item: Any) -> Any:
        path = path_of_page(item, self.request) or ""
        counted = {} if self.counted is None else self.counted.page_views_by_path
        item.statistics_path, item.statistics_page_views = path or NOTHING, counted.get(path, NOTHING)
        item.statistics_visitors = self.visitors.get(path, NOTHING)
        return super().to_row_dict(item)
