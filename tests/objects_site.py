"""A site whose users have a page each, in two sites of an admin: Django's own, and one without the dashboard."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.urls import path

from django_pagestats.admin import PageStatisticsMixin, StatisticsAdmin
from django_pagestats.models import Statistics


class Starred:
    """Another mixin, as there are many."""

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*super().get_list_display(request), "star"]  # type: ignore[misc]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "star")  # type: ignore[misc]

    @admin.display(description="A star", ordering="username")
    def star(self, obj: Any) -> str:
        return "*"


class PeopleAdmin(PageStatisticsMixin, Starred, ModelAdmin):  # type: ignore[type-arg]
    list_display = ("username", "is_staff")
    list_filter = ("is_staff", "groups")
    search_fields = ("username", "groups__name")
    list_editable = ("is_staff",)
    list_per_page = 10
    list_max_show_all = 100
    ordering = ("username",)
    fields = ("username", ("first_name", "last_name"))
    show_facets = admin.ShowFacets.ALWAYS

    class Media:
        js = ("of-the-site.js",)

    def check(self, **kwargs: Any) -> list[Any]:
        return []  # its users have a page only while its tests run, and other tests check all sites


class PlainAdmin(PageStatisticsMixin, ModelAdmin):  # type: ignore[type-arg]
    """Has given both a place."""

    list_display = ("page_statistics", "username")
    fieldsets = (("Who", {"fields": [("username", "page_statistics_box")]}), ("What", {"fields": ["is_active"]}))

    def check(self, **kwargs: Any) -> list[Any]:
        return []


class GroupsAdmin(PageStatisticsMixin, ModelAdmin):  # type: ignore[type-arg]
    """Of objects without get_absolute_url()."""

    def get_statistics_url(self, obj: Any) -> str:
        return f"/groups/{obj.name}/"


site = AdminSite(name="admin")
site.register(User, PeopleAdmin)
site.register(Group, GroupsAdmin)
site.register(Statistics, StatisticsAdmin)

staff = AdminSite(name="staff")
staff.register(User, PlainAdmin)

urlpatterns = [path("admin/", site.urls), path("staff/", staff.urls)]
