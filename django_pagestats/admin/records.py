"""Import sources: what there is, to look at."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import ReadOnlyAdmin, thousands
from django_pagestats.models import ImportSource


@admin.register(ImportSource)
class ImportSourceAdmin(ReadOnlyAdmin):
    list_display = ("name", "page_views", "position", "updated_at")
    fields = ("name", "key", "page_views", "position", "digest", "updated_at")
    ordering = ("-updated_at", "-id")

    @admin.display(description=_("page views imported"))
    def page_views(self, source: ImportSource) -> str:
        return thousands(source.rows_imported)
