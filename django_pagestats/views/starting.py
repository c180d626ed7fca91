"""What the buttons of a dashboard start, in the admin and where a site has mounted it, and who may push them."""

from __future__ import annotations

from datetime import datetime, timezone

from django.db import router
from django.http import HttpRequest

from django_pagestats import aliases, tasks
from django_pagestats.backfill import Started
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.models import Aggregate, BackfillRun, Statistics

APP = Statistics._meta.app_label


def may_start(request: HttpRequest) -> bool:
    """Whoever may add runs may start one, although nobody may write one by hand; and a recount, which costs as much."""
    return _has_permission(request, "add_backfillrun")


def may_backfill(request: HttpRequest) -> bool:
    """Whoever may start a run that is worked on: without a queue its open page does, for those who may change it."""
    return may_start(request) and (tasks.queue_is_installed() or _has_permission(request, "change_backfillrun"))


def may_view_runs(request: HttpRequest) -> bool:
    """Whoever may change them may look at them, too: that is Django's rule."""
    return any(_has_permission(request, f"{may}_backfillrun") for may in ("view", "change"))


def _has_permission(request: HttpRequest, name: str) -> bool:
    user = getattr(request, "user", None)
    return user is not None and user.has_perm(f"{APP}.{name}")


def start_backfill(request: HttpRequest, *, via: str) -> Started:
    """Start a run, or find the one that is active. Raises PageStatsError."""
    return tasks.start_backfill(
        router.db_for_write(BackfillRun),
        kind=BackfillRun.Kind.BACKFILL,
        actor=request.user.get_username(),
        via=via,
    )


def start_check(request: HttpRequest) -> None:
    """Let tasks of the cluster recount the days that are shown. Raises PageStatsError and DatabaseError."""
    now = datetime.now(timezone.utc)
    with scope_of(request.GET, using=router.db_for_read(Aggregate), now=now, is_public=False) as scope:
        days = scope.days
    tasks.start_check(aliases.home(), start=days.start, end=days.end, actor=request.user.get_username())
