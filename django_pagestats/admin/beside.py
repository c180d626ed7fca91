"""The statistics of their pages beside the site's own objects, in its own lists and forms of the admin."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext_lazy

from django_pagestats.beside import ordering
from django_pagestats.beside.addresses import page_beside
from django_pagestats.beside.boxes import box_of
from django_pagestats.beside.lists import Number, Numbers, column_label, page_views_of
from django_pagestats.beside.recent import DAYS
from django_pagestats.checks.messages import warning
from django_pagestats.dashboard.numbers import whole
from django_pagestats.models import Statistics

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

#: by which a site can give them another place, in `list_display` and in `fieldsets`
COLUMN, BOX = "page_statistics", "page_statistics_box"
#: where a list's numbers wait on its objects
NUMBERS = "_pagestats_numbers"
CSS = ("django_pagestats/chart.css", "django_pagestats/beside.css")
PERMISSION = "django_pagestats.view_statistics"


class PageStatisticsMixin(ModelAdmin):
    """For a ModelAdmin of objects that have a page, before `ModelAdmin` among its bases; docs/beside.md.

    Its lists get a column of page views, by which they can be sorted, and its forms a box, both for users with
    `django_pagestats.view_statistics` only.
    """

    #: page views and visitors are those of the pages below an object's page, too
    include_subpages = False
    #: the last so many days, today included
    statistics_days = DAYS
    #: objects of a filtered list that are put in order, at the most
    statistics_sorted_up_to = ordering.MOST_OBJECTS

    def get_statistics_url(self, obj: Any) -> object:
        """The URL of an object's page, on this site; None: it has none."""
        return obj.get_absolute_url()

    def has_statistics_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)

    def statistics_path(self, obj: Any) -> str | None:
        """The path under which page views of an object's page are recorded; never raises."""
        return page_beside(obj, self.get_statistics_url)

    # -- the list

    @cached_property
    def page_statistics(self) -> Column:
        return Column(self)

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = list(super().get_list_display(request))
        if not self.has_statistics_permission(request):
            return [column for column in columns if column != COLUMN]
        return columns if COLUMN in columns else [*columns, COLUMN]

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        links = super().get_list_display_links(request, list_display)
        # it is a link of its own, to the statistics
        return links and [column for column in links if column != COLUMN]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return sorted_by_page_views(super().get_changelist(request, **kwargs))  # type: ignore[arg-type]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        if COLUMN in changelist.list_display:
            paths = {item: self.statistics_path(item) for item in changelist.result_list}
            by = getattr(changelist, "counted", None)
            numbers = Numbers(
                [path for path in paths.values() if path is not None],
                days=self.statistics_days,
                counted=None if by is None else by.page_views_by_path,
                include_subpages=self.include_subpages,
            )
            for item, path in paths.items():
                setattr(item, NUMBERS, (path, numbers))
        return changelist

    def count_in_order(self, request: HttpRequest, queryset: QuerySet[Any]) -> ordering.Counted | None:
        """The page views of all objects of a filtered list; None: it is not put in their order, which is said why."""
        most = self.statistics_sorted_up_to
        count = partial(page_views_of, days=self.statistics_days, include_subpages=self.include_subpages)
        try:
            found = ordering.counted(queryset, self.statistics_path, most=most, count=count)
        except ordering.TooManyError:
            told = gettext("The list is not sorted by page views: it has more than %s objects. Filter or search first.")
            messages.warning(request, told % whole(most), fail_silently=True)
            return None
        if found is None:
            told = gettext("The list is not sorted by page views: they could not be counted.")
            messages.warning(request, told, fail_silently=True)
        return found

    # -- the form

    @cached_property
    def page_statistics_box(self) -> BoxField:
        return BoxField(self)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = [field for field in super().get_readonly_fields(request, obj) if field != BOX]
        return [*fields, BOX] if self._has_box(request, obj) else fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if not self._has_box(request, obj):
            return without_box(fieldsets)
        if BOX in (flatten_fieldsets(self.fieldsets) if self.fieldsets else self.fields or ()):
            return fieldsets
        title = pgettext_lazy("heading", "Page statistics")
        return [*without_box(fieldsets), (title, {"fields": [BOX], "classes": ["pagestats-beside"]})]

    def _has_box(self, request: HttpRequest, obj: Any) -> bool:
        """A new object has no page yet."""
        return obj is not None and self.has_statistics_permission(request)

    def statistics_page_url(self, path: str) -> str:
        """The dashboard of one page, on the same site of the admin; empty where that has none."""
        if not self.admin_site.is_registered(Statistics):
            return ""
        try:
            url = reverse("admin:django_pagestats_page", current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""
        return f"{url}?{urlencode({'path': path})}"

    @property
    def media(self) -> forms.Media:
        return super().media + forms.Media(css={"all": CSS})

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        found = list(super().check(**kwargs))
        is_own = type(self).get_statistics_url is not PageStatisticsMixin.get_statistics_url
        if not is_own and not hasattr(self.model, "get_absolute_url"):
            found.append(no_page(type(self).__name__, self.model._meta.label))
        return found


class Column:
    """The column of a list: what Django asks of one that is sorted by."""

    admin_order_field = ordering.ByPageViews()

    def __init__(self, model_admin: PageStatisticsMixin) -> None:
        self._admin = model_admin

    @property
    def short_description(self) -> str:
        return column_label(self._admin.statistics_days, include_subpages=self._admin.include_subpages)

    def __call__(self, obj: Any) -> str | None:
        path, numbers = getattr(obj, NUMBERS, (None, None))
        number = None if numbers is None else numbers.of(path)
        if path is None or number is None:
            return None  # shown as the site shows what is empty
        return cell(number, self._admin.statistics_page_url(path))


def cell(number: Number, url: str) -> SafeString:
    """A number, with its small line; a link where there is something to lead to."""
    text = number.text if number.is_exact else format_html('<span title="{}">{}</span>', number.why, number.text)
    if url:
        text = format_html('<a href="{}">{}</a>', url, text)
    return format_html(
        '<span class="pagestats-cell"><span class="pagestats-count">{}</span>{}</span>', text, number.line
    )


class BoxField:
    """The box, as a field of the form that is only read."""

    def __init__(self, model_admin: PageStatisticsMixin) -> None:
        self._admin = model_admin

    @property
    def short_description(self) -> str:
        days = self._admin.statistics_days
        if self._admin.include_subpages:
            return ngettext("With subpages, last %s day", "With subpages, last %s days", days) % days
        return ngettext("Last %s day", "Last %s days", days) % days

    def __call__(self, obj: Any) -> str:
        path = self._admin.statistics_path(obj)
        if path is None:
            return gettext("This has no page on the site.")
        box = box_of(path, days=self._admin.statistics_days, include_subpages=self._admin.include_subpages)
        page = {"box": box, "url": self._admin.statistics_page_url(path)}
        return render_to_string("admin/django_pagestats/beside.html", page)


class _SortedByPageViews(ChangeList):
    """Puts its objects in the order of page views, where that is asked for."""

    #: what they are in the order of
    counted: ordering.Counted | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if not ordering.is_wanted(queryset):
            return queryset
        if exclude_parameters is not None:  # to be counted only, for the facets of a filter
            return ordering.ordered(queryset, None)
        if self.counted is None:
            page_admin: Any = self.model_admin
            self.counted = page_admin.count_in_order(request, queryset)
        if self.counted is None:
            usual: Any = self._get_default_ordering()  # type: ignore[attr-defined]
            return queryset.order_by(*usual, "-pk")
        return ordering.ordered(queryset, self.counted)


@lru_cache(maxsize=64)
def sorted_by_page_views(changelist: type[ChangeList]) -> type[ChangeList]:
    """A site's own kind of list that can be sorted by page views, too."""
    return type(changelist.__name__, (_SortedByPageViews, changelist), {"__module__": changelist.__module__})


def without_box(fieldsets: Any) -> list[Any]:
    """The same without the field of the box; a fieldset or a line that had nothing else is gone."""
    found = []
    for name, options in fieldsets:
        lines = [
            line if isinstance(line, str) else [field for field in line if field != BOX] for line in options["fields"]
        ]
        fields = [line for line in lines if line and line != BOX]
        if fields or BOX not in flatten_fieldsets([(name, options)]):
            found.append((name, {**options, "fields": fields}))
    return found


def no_page(name: str, label: str) -> CheckMessage:
    return warning(
        116,
        f"{name} has PageStatisticsMixin, and {label} has no get_absolute_url(): its objects have no page, so that"
        " there are no page views to show.",
        "Give the model that method, or the ModelAdmin a get_statistics_url(obj).",
    )
