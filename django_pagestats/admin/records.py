"""Generations and import sources: what there is, to look at."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import ReadOnlyAdmin, thousands
from django_pagestats.models import Generation, ImportSource


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    list_display = ("id", "answers", "cursor_text", "time_zone", "created_at", "swept_at")
    fields = ("id", "answers", "cursor_text", "revision", "time_zone", "pruned_before", "created_at", "swept_at")
    ordering = ("-id",)

    @admin.display(description=_("is active"), boolean=True)
    def answers(self, generation: Generation) -> bool:
        return bool(generation.is_active)  # NULL is no, not unknown

    @admin.display(description=_("cursor"))
    def cursor_text(self, generation: Generation) -> str:
        return thousands(generation.cursor)


@admin.register(ImportSource)
class ImportSourceAdmin(ReadOnlyAdmin):
    list_display = ("name", "page_views", "position", "updated_at")
    fields = ("name", "key", "page_views", "position", "digest", "updated_at")
    ordering = ("-updated_at", "-id")

    @admin.display(description=_("page views imported"))
    def page_views(self, source: ImportSource) -> str:
        return thousands(source.rows_imported)
