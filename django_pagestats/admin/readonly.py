"""Rows that machines write: the admin shows them and changes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.formats import number_format
from django.utils.text import capfirst

from django_pagestats.models import Statistics

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """May be viewed by whoever has the view permission; never added to, changed or deleted from."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))  # Django's own would be "Select page view to view"
        context = {"title": title, "dashboard_url": dashboard_url(self.admin_site, request)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @property
    def urls(self) -> list[URLPattern]:
        """Its pages, none of which is one transaction with ATOMIC_REQUESTS: what they change, they change in their own.

        At a stricter isolation level one that lasts as long as the request would fail where a fold is faster, and on
        MariaDB be undone as a whole, with whatever the page was to say of it.
        """
        return outside_transactions(self.get_urls())

    def url_name(self, view: str) -> str:
        """The name of one of its URLs, without that of the admin's."""
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"

    def page_url(self, view: str, *args: Any) -> str:
        return reverse(f"admin:{self.url_name(view)}", args=args, current_app=self.admin_site.name)

    class Media:
        css = {"all": ["django_pagestats/admin.css"]}


def outside_transactions(patterns: list[URLPattern]) -> list[URLPattern]:
    """The same, none of them one transaction with ATOMIC_REQUESTS."""
    for pattern in patterns:
        for alias in connections:
            transaction.non_atomic_requests(using=alias)(pattern.callback)
    return patterns


def dashboard_url(site: admin.AdminSite, request: HttpRequest) -> str | None:
    """Where the dashboard is, for those who may see it; a site of the project's own may have none."""
    if not site.is_registered(Statistics) or not site.get_model_admin(Statistics).has_view_permission(request):
        return None
    return reverse("admin:django_pagestats_dashboard", current_app=site.name)


def thousands(number: int) -> str:
    """With the separators of the language."""
    return number_format(number, force_grouping=True)
