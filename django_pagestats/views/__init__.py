"""What a site mounts: what the beacon asks for (docs/beacon.md), and the dashboard (docs/dashboard.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_pagestats.views.beacon import collect, opt_out, pixel, script

if TYPE_CHECKING:
    from django_pagestats.views.dashboard import DashboardView

__all__ = ["DashboardView", "collect", "opt_out", "pixel", "script"]


def __getattr__(name: str) -> Any:
    # the dashboard needs django.contrib.auth; who mounts the beacon only may not have it
    if name == "DashboardView":
        from django_pagestats.views.dashboard import DashboardView

        return DashboardView
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
