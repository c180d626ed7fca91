"""What a site mounts: what the beacon asks for (docs/beacon.md), and the dashboard (docs/dashboard.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_pagestats.views.beacon import collect, opt_out, pixel, script

if TYPE_CHECKING:
    from django_pagestats.views.dashboard import DashboardView
    from django_pagestats.views.sections import AuditView, LoyaltyView, dashboard_urls

__all__ = [
    "AuditView",
    "DashboardView",
    "LoyaltyView",
    "collect",
    "dashboard_urls",
    "opt_out",
    "pixel",
    "script",
]


def __getattr__(name: str) -> Any:
    # the dashboard needs django.contrib.auth; who mounts the beacon only may not have it
    if name == "DashboardView":
        from django_pagestats.views.dashboard import DashboardView

        return DashboardView
    if name in ("AuditView", "LoyaltyView", "dashboard_urls"):
        from django_pagestats.views import sections

        return getattr(sections, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
