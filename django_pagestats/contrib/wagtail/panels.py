"""The panel of numbers beside Wagtail's editor."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from wagtail.admin.ui.side_panels import BaseSidePanel

from django_pagestats.beside.boxes import box_of
from django_pagestats.beside.recent import DAYS
from django_pagestats.contrib.wagtail.pages import may_view, path_of_page, statistics_url


class PageStatisticsSidePanel(BaseSidePanel):
    """Page views, visitors, visits and sources of one page; asked for when the editor is shown."""

    class SidePanelToggle(BaseSidePanel.SidePanelToggle):
        aria_label = _("Toggle page statistics")
        icon_name = "pagestats"
        has_counter = False

    name = "page-statistics"
    title = pgettext_lazy("heading", "Page statistics")
    template_name = "django_pagestats_wagtail/panel.html"
    order = 250

    def __init__(
        self,
        object: Any,  # noqa: A002 - as Wagtail calls it
        request: Any,
        *,
        days: int = DAYS,
        include_subpages: bool = False,
    ) -> None:
        super().__init__(object, request)
        self.days, self.include_subpages = days, include_subpages

    def get_context_data(self, parent_context: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(parent_context)
        path = path_of_page(self.object, self.request)
        return {
            **context,
            "has_page": path is not None,
            "days": self.days,
            "include_subpages": self.include_subpages,
            "box": None if path is None else box_of(path, days=self.days, include_subpages=self.include_subpages),
            "url": "" if path is None else statistics_url(path, self.request),
        }

    class Media:
        css = {"all": ["django_pagestats/wagtail.css"]}


class PageStatisticsPanelMixin:
    """For a view that edits a page, before it among the bases: the panel, for users with `view_statistics`."""

    statistics_days = DAYS
    #: those of the pages below it, too
    include_subpages = False

    def get_side_panels(self) -> Any:
        view: Any = self
        panels = super().get_side_panels()  # type: ignore[misc]
        # what is saved by itself shows no panels
        if may_view(view.request) and not view.expects_json_response:
            page = view.real_page_record
            wanted: dict[str, Any] = {"days": self.statistics_days, "include_subpages": self.include_subpages}
            panels.append(PageStatisticsSidePanel(page, view.request, **wanted))
        return panels
