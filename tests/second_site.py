"""Two sites of an admin beside Django's own, as URLconfs: `alone` has no other beside it, `beside` has an empty one."""

from __future__ import annotations

from types import ModuleType

from django.contrib.admin import AdminSite
from django.urls import path

from django_pagestats import admin as ours
from django_pagestats.models import BackfillRun, Generation, ImportSource, LeftOut, PageView, Statistics

staff = AdminSite(name="staff")
staff.register(PageView, ours.PageViewAdmin)
staff.register(BackfillRun, ours.BackfillRunAdmin)
staff.register(Generation, ours.GenerationAdmin)
staff.register(ImportSource, ours.ImportSourceAdmin)
staff.register(LeftOut, ours.LeftOutAdmin)
staff.register(Statistics, ours.StatisticsAdmin)

#: shows page views, and no runs
few = AdminSite(name="few")
few.register(PageView, ours.PageViewAdmin)

default = AdminSite(name="admin")


def _urlconf(name: str, **sites: AdminSite) -> ModuleType:
    module = ModuleType(name)
    module.urlpatterns = [path(f"{where}/", site.urls) for where, site in sites.items()]  # type: ignore[attr-defined]
    return module


alone = _urlconf("alone", staff=staff, few=few)
beside = _urlconf("beside", admin=default, staff=staff, few=few)
