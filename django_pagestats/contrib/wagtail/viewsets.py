"""Wagtail's own views of pages with numbers beside them: for all page types that have no viewset of their own."""

from __future__ import annotations

from wagtail.admin.viewsets.pages import PageViewSet

from django_pagestats.contrib.wagtail.listings import PageStatisticsListingMixin
from django_pagestats.contrib.wagtail.panels import PageStatisticsPanelMixin


class IndexView(PageStatisticsListingMixin, PageViewSet.index_view_class):
    """The pages below one."""


class SearchView(PageStatisticsListingMixin, PageViewSet.search_view_class):
    """The pages that were found."""


class ContentTypeUseView(PageStatisticsListingMixin, PageViewSet.content_type_use_view_class):
    """The pages of one type."""


class EditView(PageStatisticsPanelMixin, PageViewSet.edit_view_class):
    """The editor."""


class PageStatisticsViewSet(PageViewSet):
    """In place of Wagtail's own; a site's own viewset may be a subclass of it, too."""

    index_view_class = IndexView
    search_view_class = SearchView
    content_type_use_view_class = ContentTypeUseView
    edit_view_class = EditView
