"""The button "Check this range" of the admin's dashboard: a recount in tasks of the cluster."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.translation import gettext

from django_pagestats import tasks
from django_pagestats.exceptions import PageStatsError
from django_pagestats.views.starting import may_start, start_check


def check_days(request: HttpRequest, url: str) -> HttpResponseBase:
    """Let the days of the query be recounted, and go back to the page at `url`, which tells of it."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not may_start(request) or not tasks.queue_is_installed():
        raise PermissionDenied
    try:
        start_check(request)
    except (PageStatsError, DatabaseError) as error:
        messages.error(request, gettext("The recount could not be started: %s") % error)
    query = request.GET.urlencode()
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
