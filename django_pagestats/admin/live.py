"""The page of a run: complete when it is loaded, and kept up to date by a script that asks for its progress."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, router
from django.forms import Script
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, path
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, tasks
from django_pagestats.admin.chart import chart
from django_pagestats.admin.segments import SEGMENT_HEADS, segment_texts
from django_pagestats.admin.wishes import ObeysWishes
from django_pagestats.admin.wording import FIGURES, PARTS, Wording, event_texts
from django_pagestats.charts.steps import HEIGHT, WIDTH
from django_pagestats.clock import database_now
from django_pagestats.exceptions import PageStatsError, QueueUnreachableError, RunLockedError
from django_pagestats.models import BackfillRun, RunEvent, WorkedBy

logger = logging.getLogger(__name__)

#: of a run, the latest
EVENTS = 100
#: how often the page asks: of a run that stands still until a person comes, less often
SECONDS, PAUSED_SECONDS = 1, 5
#: between two requests that do the run's work: some of the site's others get their turn
WORK_SECONDS = 0.1
EVENT_HEADS = (_("When"), _("What"), _("Who"), _("Why"))
CHART_HEADS = (_("Time"), _("Page views a second"), _("Page views a chunk"))


class ShowsLive(ObeysWishes):
    """A run's page, and what its script asks for again and again while the run is active."""

    class Media:
        js = [Script("django_pagestats/run.js", defer=True)]

    change_form_template = "admin/django_pagestats/backfillrun/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        progress = self.admin_site.admin_view(self.progress_view)
        fold = self.admin_site.admin_view(self.fold_view)
        return [
            path("<int:run_id>/progress/", progress, name=self.url_name("progress")),
            path("<int:run_id>/fold/", fold, name=self.url_name("fold")),
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
        return self._answer_script(request, run, now, problem=look_after(run, now))

    def fold_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Work on the run for a moment, if that is left to its page; the answer is that of `progress_view`."""
        self.check_control(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        run: BackfillRun = self.found(request, run_id)
        problem = work_on(run, database_now(database_of(run)))
        return self._answer_script(request, run, database_now(database_of(run)), problem=problem)

    def _answer_script(self, request: HttpRequest, run: BackfillRun, now: datetime, *, problem: str) -> HttpResponse:
        after = request.GET.get("after", "")
        is_id = re.fullmatch("[0-9]{1,18}", after) is not None
        progress = self._progress(request, run, now, after=int(after) if is_id else 0)
        return JsonResponse({**progress, "chart": progress["chart"].as_json(), "queue_problem": problem})

    def _progress(self, request: HttpRequest, run: BackfillRun, now: datetime, *, after: int = 0) -> dict[str, Any]:
        wording = Wording(run, now)
        may_work = self.has_control_permission(request)
        works = may_work and is_left_to_page(run, now)
        who_works = page_notice(run, now, may_work=may_work)
        problems = [str(text) for text in (backfill.missing_cluster(run, now, RunEvent.Via.ADMIN), who_works) if text]
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
            "works": works,
            "seconds": WORK_SECONDS if works else next_seconds(run),
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
            "fold_url": self.page_url("fold", row.pk) if self.has_control_permission(request) else "",
            "time_zone": get_current_timezone_name(),
        }


def database_of(run: BackfillRun) -> str:
    return run._state.db or router.db_for_write(BackfillRun)


def look_after(run: BackfillRun, now: datetime) -> str:
    """Revive a run whose lease has run out, sooner than the schedule would; in words if the queue takes no task.

    Whether it has run out costs no statement here; `revive` asks again, so that one of many open pages does it. One
    that is left to its page is gone on with there.
    """
    if not run.is_going or run.lease_until > now or not tasks.queue_is_installed() or is_left_to_page(run, now):
        return ""
    using = database_of(run)
    try:
        tasks.revive(using)
    except (QueueUnreachableError, RunLockedError) as error:
        return error.told
    finally:
        see_again(run)
    return ""


def see_again(run: BackfillRun) -> None:
    """With its generation."""
    run.refresh_from_db(using=database_of(run), from_queryset=BackfillRun.objects.select_related("generation"))


def is_left_to_page(run: BackfillRun, now: datetime) -> bool:
    """Whether this page may do the work: there is no cluster that would."""
    return backfill.is_left_to_page(run, now, has_queue=tasks.queue_is_installed())


def work_on(run: BackfillRun, now: datetime) -> str:
    """A request's work on a run, if there is some for it; in words if it cannot be got at just now."""
    try:
        backfill.work_for_page(database_of(run), run, now, has_queue=tasks.queue_is_installed())
    except (PageStatsError, DatabaseError) as error:
        logger.warning("run %s: its page could not work on it: %s", run.pk, error)
        return error.told if isinstance(error, PageStatsError) else str(error)
    finally:
        see_again(run)
    return ""


def page_notice(run: BackfillRun, now: datetime, *, may_work: bool) -> str:
    """That the page does the work; empty where a worker does, or nobody. Of two that are open each does some of it."""
    is_of_page = run.is_going and run.taken_by == WorkedBy.PAGE and run.enqueued_at is None and run.lease_until > now
    if may_work and (is_of_page or is_left_to_page(run, now)):
        return gettext("This page is doing the work: keep it open, or start a cluster (manage.py qcluster).")
    return gettext("The page that somebody else has open is doing the work.") if is_of_page else ""


def announcement(wording: Wording, problems: list[str]) -> str:
    """What is read aloud when it changes: never a figure."""
    told = gettext("Run %(id)d: %(state)s") % {"id": wording.run.pk, "state": wording.state}
    return told + ". " + gettext("It needs attention.") if problems else told


def next_seconds(run: BackfillRun) -> int | None:
    """In how many seconds the page asks again; None: the run has ended."""
    if not run.is_active:
        return None
    return SECONDS if run.is_going else PAUSED_SECONDS


def _labelled(labels: dict[str, Any], texts: dict[str, str]) -> list[tuple[str, Any, str]]:
    return [(name, label, texts[name]) for name, label in labels.items()]
