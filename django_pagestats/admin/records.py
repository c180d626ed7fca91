"""Generations and import sources: what there is, to look at."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import ReadOnlyAdmin
from django_pagestats.models import Generation, ImportSource


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    list_display = ("id", "answers", "cursor", "time_zone", "created_at", "swept_at")
    fields = ("id", "answers", "cursor", "revision", "time_zone", "pruned_before", "created_at", "swept_at")
    ordering = ("-id",)

    @admin.display(description=_("is active"), boolean=True)
    def answers(self, generation: Generation) -> bool:
        return bool(generation.is_active)  # NULL is no, not unknown


@admin.register(ImportSource)
class ImportSourceAdmin(ReadOnlyAdmin):
    list_display = ("name", "rows_imported", "position", "updated_at")
    fields = ("name", "key", "rows_imported", "position", "digest", "updated_at")
    ordering = ("-updated_at", "-id")
