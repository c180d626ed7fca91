"""The list of page views: as fast at a hundred million rows as at a hundred."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.keyset import AllTime, Day, Page, Place, day_of, read_page
from django_pagestats.admin.left_out import left_out_url
from django_pagestats.admin.notices import ShowsNotices
from django_pagestats.admin.starting import OffersBackfillAction
from django_pagestats.buckets import Calendar, day_number
from django_pagestats.conf import conf
from django_pagestats.models import PATH_MAX_LENGTH, PageView

if TYPE_CHECKING:
    PageViews = QuerySet[PageView]

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2199, 12, 31)
YEARS = _("Choose a day from 1970 to 2199.")


class PageViewSearch(forms.Form):
    """A day, and a path or session key, exactly as it is stored: blanks count."""

    day = forms.DateField(
        required=False,
        input_formats=["%Y-%m-%d"],
        validators=[MinValueValidator(FIRST_DAY, YEARS), MaxValueValidator(LAST_DAY, YEARS)],
        error_messages={"invalid": _("This is no day; write it as 2026-01-31.")},
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    q = forms.CharField(
        required=False,
        strip=False,
        max_length=PATH_MAX_LENGTH,
        widget=forms.TextInput(attrs={"type": "search", "aria-describedby": "pagestats-search-help"}),
    )


class PageViewChangeList(ChangeList):
    """Django's list, with another way to find the rows of a page; it never counts."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> PageViews:
        self.filter_specs, self.has_filters, self.has_active_filters = [], False, False
        self.clear_all_filters_qs = "?"
        self.zone = conf.TIME_ZONE
        self.search = PageViewSearch(request.GET)
        self.is_valid = self.search.is_valid()
        self.day: date | None = self.search.cleaned_data.get("day")
        self.query: str = self.search.cleaned_data.get("q") or ""
        #: a search without a day is one of today; the page says so
        self.day_is_assumed = self.is_valid and bool(self.query) and self.day is None
        if self.day_is_assumed:
            self.day = datetime.now(timezone.utc).astimezone(ZoneInfo(self.zone)).date()
        views: PageViews = self.root_queryset
        return views.filter(Q(path=self.query) | Q(session_key=self.query)) if self.query else views

    def get_results(self, request: HttpRequest) -> None:
        self.page = self._read_page(request)
        self.result_list = self.page.views
        self.result_count = len(self.page.views)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all, self.multi_page = True, False
        self.paginator = Paginator(self.page.views, self.list_per_page)

    def _read_page(self, request: HttpRequest) -> Page:
        listing = self._listing()
        if listing is None:
            return Page([], has_newer=False, has_older=False)
        places = {}
        for side in "before", "after":
            if text := request.GET.get(side):
                places[side] = Place.parse(text)
                if places[side] is None:
                    messages.warning(request, gettext("There is no such page; these are the newest page views."))
        return read_page(listing, self.queryset, size=self.list_per_page, **places)

    def _listing(self) -> AllTime | Day | None:
        if not self.is_valid:
            return None
        if self.day is None:
            return AllTime()
        return day_of(Calendar(self.zone), day_number(self.day))

    def day_is_left_out(self) -> bool:
        """Whether the zone left this date out when it changed sides of the date line."""
        return self.is_valid and self._listing() is None

    def newest_url(self) -> str | None:
        return self._page_url() if self.page.has_newer else None

    def newer_url(self) -> str | None:
        return self._page_url(after=self.page.views[0]) if self.page.has_newer and self.page.views else None

    def older_url(self) -> str | None:
        return self._page_url(before=self.page.views[-1]) if self.page.has_older else None

    def _page_url(self, **places: PageView) -> str:
        params = {side: str(Place.of(view)) for side, view in places.items()}
        if self.day is not None:
            params["day"] = self.day.isoformat()  # an assumed day stays the same when midnight passes
        return self.get_query_string(params, remove=[side for side in ("before", "after") if side not in params])

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}


@admin.register(PageView)
class PageViewAdmin(ShowsNotices, OffersBackfillAction):
    list_display = ("id", "time", "short_path", "session_key", "came_from")
    list_per_page = 50
    sortable_by = ()
    show_full_result_count = False
    fields = ("id", "path", "session_key", "time", "known")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PageViewChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"left_out_url": left_out_url(self.admin_site, request)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.display(description=_("viewed at"))
    def time(self, view: PageView) -> str:
        """In the zone of the days, so that a page view shows the date under which it is found."""
        return view.viewed_at.astimezone(ZoneInfo(conf.TIME_ZONE)).strftime("%Y-%m-%d %H:%M:%S")

    @admin.display(description=_("path"))
    def short_path(self, view: PageView) -> str:
        return Truncator(view.path).chars(200)

    @admin.display(description=_("source"), empty_value="")
    def came_from(self, view: PageView) -> str | None:
        """Of an arrival; empty for who came from a page of the site, and for what was recorded without attributes."""
        attributes: Any = view.attributes
        source = attributes.get("source") if isinstance(attributes, dict) else None
        return None if source is None else Truncator(source).chars(60)

    @admin.display(description=_("attributes"))
    def known(self, view: PageView) -> SafeString | None:
        """Each name with its value, a line each."""
        attributes: Any = view.attributes
        if not isinstance(attributes, dict) or not attributes:
            return None
        return format_html_join(mark_safe("<br>"), "{}: {}", sorted(attributes.items()))
