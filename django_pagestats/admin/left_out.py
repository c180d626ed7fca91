"""What was left out: the list by day and reason, with the sum of each reason above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import ReadOnlyAdmin, thousands
from django_pagestats.models import LeftOut, Reason
from django_pagestats.models.left_out import OF_ATTRIBUTES

if TYPE_CHECKING:
    Rows = QuerySet[LeftOut]

LABELS: dict[str, str | Promise] = dict(Reason.choices)


class ByReason(admin.SimpleListFilter):
    """One reason only."""

    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        return Reason.choices

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(LeftOut)
class LeftOutAdmin(ReadOnlyAdmin):
    list_display = ("day", "reason_text", "count_text")
    list_display_links = None
    list_filter = (ByReason,)
    list_per_page = 100
    sortable_by = ()
    date_hierarchy = "day"
    ordering = ("-day", "-count", "reason")
    fields = ("day", "reason_text", "count_text")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context |= totals(context["cl"].queryset)
        return response

    @admin.display(description=_("reason"))
    def reason_text(self, row: LeftOut) -> str:
        return label(row.reason)

    @admin.display(description=_("count"))
    def count_text(self, row: LeftOut) -> str:
        return thousands(row.count)


def label(reason: str) -> str:
    """In the language of the reader; what an older or newer release wrote as it is."""
    return str(LABELS.get(reason, reason))


def totals(rows: Rows) -> dict[str, Any]:
    """The sum of each reason of the rows that are listed, on whatever page, and of the page views among them."""
    sums = dict(rows.order_by().values_list("reason").annotate(total=Sum("count")).order_by("-total", "reason"))
    return {
        "totals": [(label(reason), thousands(total)) for reason, total in sums.items()],
        "page_views": thousands(sum(total for reason, total in sums.items() if reason not in OF_ATTRIBUTES)),
    }


def left_out_url(site: AdminSite, request: HttpRequest) -> str | None:
    """Where the list is, for those who may see it; a site of the project's own may have none."""
    if not site.is_registered(LeftOut) or not site.get_model_admin(LeftOut).has_view_permission(request):
        return None
    return reverse("admin:django_pagestats_leftout_changelist", current_app=site.name)
