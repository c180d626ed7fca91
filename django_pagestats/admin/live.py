"""The page of a run: complete when it is loaded, and kept up to date by a script that asks for its progress."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import router
from django.forms import Script
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, path
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, tasks
from django_pagestats.admin.chart import HEIGHT, WIDTH, chart
from django_pagestats.admin.segments import SEGMENT_HEADS, segment_texts
from django_pagestats.admin.wishes import ObeysWishes
from django_pagestats.admin.wording import FIGURES, PARTS, Wording, event_texts
from django_pagestats.clock import database_now
from django_pagestats.exceptions import QueueUnreachableError, RunLockedError
from django_pagestats.models import BackfillRun

#: of a run, the latest
EVENTS = 100
#: how often the page asks: of a run that stands still until a person comes, less often
SECONDS, PAUSED_SECONDS = 1, 5
EVENT_HEADS = (_("When"), _("What"), _("Who"), _("Why"))
CHART_HEADS = (_("Time"), _("Page views a second"), _("Page views a chunk"))


class ShowsLive(ObeysWishes):
    """A run's page, and what its script asks for again and again while the run is active."""

    class Media:
        js = [Script("django_pagestats/run.js", defer=True)]

    change_form_template = "admin/django_pagestats/backfillrun/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.progress_view)
        return [
            path("<int:run_id>/progress/", view, name=self.url_name("progress")),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """What may have changed on the page of a run, with the events after the one that `after` names.

        Never stored by caches: the admin's views say so of themselves. A GET, although it may revive the run: it
        changes nothing that the schedule's next tick would not change as well, whoever asks and however often.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        run: BackfillRun = self.found(request, run_id)
        now = database_now(database_of(run))
        queue_problem = look_after(run, now)
        after = request.GET.get("after", "")
        is_id = re.fullmatch("[0-9]{1,18}", after) is not None
        progress = self._progress(request, run, now, after=int(after) if is_id else 0)
        return JsonResponse({**progress, "chart": progress["chart"].as_json(), "queue_problem": queue_problem})

    def _progress(self, request: HttpRequest, run: BackfillRun, now: datetime, *, after: int = 0) -> dict[str, Any]:
        wording = Wording(run, now)
        problems = [text for text in [backfill.missing_cluster(run, now)] if text]
        events = list(run.events.using(database_of(run)).filter(pk__gt=after).order_by("-pk")[:EVENTS])
        return {
            "run_id": run.pk,
            "status": run.status,
            "percent": wording.percent,
            "texts": wording.texts(),
            "announcement": announcement(wording, problems),
            "problems": problems,
            "error": run.error,
            "traceback": run.traceback or "",
            "chart": chart(run.history),
            "segments": segment_texts(run, now),
            "events": [event_texts(event) for event in reversed(events)],
            "newest_event": events[0].pk if events else after,
            "verbs": self.possible_verbs(request, run),
            "seconds": next_seconds(run),
        }

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        shown = self._progress(request, row, database_now(database_of(row)))
        texts = shown["texts"]
        return {
            **super().page_context(request, row),
            **shown,
            "events": shown["events"][::-1],  # the newest on top
            "chart_width": WIDTH,
            "chart_height": HEIGHT,
            "figures": _labelled(FIGURES, texts),
            "parts": [(title, _labelled(labels, texts)) for title, labels in PARTS],
            "event_heads": EVENT_HEADS,
            "chart_heads": CHART_HEADS,
            "segment_heads": SEGMENT_HEADS,
            "progress_url": self.page_url("progress", row.pk),
            "time_zone": get_current_timezone_name(),
        }


def database_of(run: BackfillRun) -> str:
    return run._state.db or router.db_for_write(BackfillRun)


def look_after(run: BackfillRun, now: datetime) -> str:
    """Revive a run whose lease has run out, sooner than the schedule would; in words if the queue takes no task.

    Whether it has run out costs no statement here; `revive` asks again, so that one of many open pages does it.
    """
    if not run.is_going or run.lease_until > now or not tasks.queue_is_installed():
        return ""
    using = database_of(run)
    try:
        tasks.revive(using)
    except (QueueUnreachableError, RunLockedError) as error:
        return str(error)
    finally:
        run.refresh_from_db(using=using, from_queryset=BackfillRun.objects.select_related("generation"))
    return ""


def announcement(wording: Wording, problems: list[str]) -> str:
    """What is read aloud when it changes: never a figure."""
    told = gettext("Run %(id)d: %(state)s") % {"id": wording.run.pk, "state": wording.state}
    return f"{told}. {gettext('It needs attention.')}" if problems else told


def next_seconds(run: BackfillRun) -> int | None:
    """In how many seconds the page asks again; None: the run has ended."""
    if not run.is_active:
        return None
    return SECONDS if run.is_going else PAUSED_SECONDS


def _labelled(labels: dict[str, Any], texts: dict[str, str]) -> list[tuple[str, Any, str]]:
    return [(name, label, texts[name]) for name, label in labels.items()]
