"""The column of page views in Wagtail's listings of pages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import lazy
from wagtail.admin.ui.tables import BaseColumn
from wagtail.admin.ui.tables.pages import NavigateToChildrenColumn

from django_pagestats.beside.lists import Number, Numbers, column_label
from django_pagestats.beside.recent import DAYS
from django_pagestats.contrib.wagtail.pages import may_view, path_of_page, statistics_url

#: where a table keeps the numbers of its rows
NUMBERS = "_pagestats_numbers"


class PageStatisticsColumn(BaseColumn):
    """Page views of the last days, with a small line; those of all rows are asked for together."""

    cell_template_name = "django_pagestats_wagtail/cell.html"

    def __init__(
        self, name: str = "page_statistics", *, days: int = DAYS, include_subpages: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(name, **{"label": _Label(days, include_subpages=include_subpages), "width": "14%", **kwargs})
        self.days, self.include_subpages = days, include_subpages

    def get_cell_context_data(self, instance: Any, parent_context: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_cell_context_data(instance, parent_context)
        request: HttpRequest = context["request"]
        path, number = number_of(instance, context["table"], request, self)
        return {**context, "number": number, "url": "" if path is None else statistics_url(path, request)}

    class Media:
        css = {"all": ["django_pagestats/wagtail.css"]}


def number_of(
    page: Any, table: Any, request: HttpRequest, column: PageStatisticsColumn
) -> tuple[str | None, Number | None]:
    """The path of one row of a table, and its number."""
    if not hasattr(table, NUMBERS):
        paths = {row.pk: path_of_page(row, request) for row in table.data}
        numbers = Numbers(
            [path for path in paths.values() if path is not None],
            days=column.days,
            with_visitors=getattr(table, "has_visitors", False),
            include_subpages=column.include_subpages,
        )
        setattr(table, NUMBERS, (paths, numbers))
    paths, numbers = getattr(table, NUMBERS)
    path = paths.get(page.pk)
    return path, numbers.of(path)


class PageStatisticsListingMixin:
    """For a view that lists pages, before it among the bases: the column, for users with `view_statistics`."""

    statistics_days = DAYS
    #: page views of the pages below each, too
    include_subpages = False

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)  # type: ignore[misc]
        if may_view(request):
            view: Any = self
            column = PageStatisticsColumn(days=self.statistics_days, include_subpages=self.include_subpages)
            view.columns = with_column(view.columns, column)


#: in the language of the reader: a report's columns are made once
_Label = lazy(column_label, str)


def with_column(columns: list[Any], column: BaseColumn) -> list[Any]:
    """The last of those with something to read."""
    last = isinstance(columns[-1], NavigateToChildrenColumn) if columns else False
    return [*columns[:-1], column, columns[-1]] if last else [*columns, column]
