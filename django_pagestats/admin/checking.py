"""The button "Check this range" of the dashboard: a recount in tasks of the cluster."""

from __future__ import annotations

from datetime import datetime, timezone

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, router
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.translation import gettext

from django_pagestats import aliases, tasks
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import Aggregate, Statistics


def may_check(request: HttpRequest) -> bool:
    """Whoever may start a backfill: a recount costs as much."""
    return request.user.has_perm(f"{Statistics._meta.app_label}.add_backfillrun")


def check_days(request: HttpRequest, url: str) -> HttpResponseBase:
    """Let the days of the query be recounted, and go back to the page at `url`, which tells of it."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not may_check(request) or not tasks.queue_is_installed():
        raise PermissionDenied
    now = datetime.now(timezone.utc)
    with scope_of(request.GET, using=router.db_for_read(Aggregate), now=now, is_public=False) as scope:
        days, query = scope.days, scope.state.query()
    try:
        tasks.start_check(aliases.home(), start=days.start, end=days.end, actor=request.user.get_username())
    except (PageStatsError, DatabaseError) as error:
        messages.error(request, gettext("The recount could not be started: %s") % error)
    return HttpResponseRedirect(url + query)
