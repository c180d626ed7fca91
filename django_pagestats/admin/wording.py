"""What the admin says of a run: the same words in the list, on the run's page, and in what its script asks for."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, folding
from django_pagestats.admin.readonly import thousands
from django_pagestats.models import BackfillRun, RunEvent

NOTHING = "-"
#: what the page of a run shows: titles of its parts, and labels of texts by the name under which `Wording` has them
FIGURES: dict[str, Promise] = {
    "state": _("State"),
    "step": _("Step"),
    "page_views": _("Page views folded"),
    "rate": _("Rate"),
    "time_left": _("Time left"),
    "chunk_size": _("Chunk size"),
}
PARTS: list[tuple[Promise, dict[str, Promise]]] = [
    (
        _("What holds it up"),
        {
            "waits_for": _("Waits for"),
            "waits_until": _("Waits until"),
            "wish": _("Asked for"),
            "taken_at": _("A worker last took a task of it"),
            "nice": _("Rest after each chunk"),
            "failures": _("Failures in a row"),
            "revivals": _("Revivals"),
        },
    ),
    (
        _("Where it is"),
        {
            "kind": _("Kind"),
            "generation": _("Generation"),
            "began_at": _("Cursor at the start"),
            "cursor": _("Cursor"),
            "ends_at": _("Target"),
        },
    ),
    (
        _("Who and when"),
        {
            "started_by": _("Started by"),
            "created_at": _("Created at"),
            "started_at": _("Started at"),
            "progressed_at": _("Last progress at"),
            "finished_at": _("Finished at"),
        },
    ),
]


class Wording:
    """A run in words, at one instant by the database's clock."""

    def __init__(self, run: BackfillRun, now: datetime) -> None:
        self.run = run
        self.now = now
        self.so_far = backfill.progress(run, now)

    def texts(self) -> dict[str, str]:
        names = [*FIGURES, *(name for _, labels in PARTS for name in labels)]
        return {name: getattr(self, name) for name in names}

    @property
    def percent(self) -> float:
        """With the one digit that is shown."""
        return round(self.so_far.percent, 1)

    @cached_property
    def state(self) -> str:
        """Its status, and what is about to change it; nothing that changes by the second."""
        status = self.run.get_status_display()
        if self.run.cancel_requested_at:
            return gettext("%s, to be cancelled") % status
        if self.run.pause_requested_at:
            return gettext("%s, to be paused") % status
        # a rest after each chunk comes and goes too often for a change of state
        waits = self.run.is_going and self.run.wait_reason and not self.run.wait_reason.startswith(backfill.RESTS)
        return gettext("%s, waits") % status if waits else status

    @property
    def step(self) -> str:
        step = backfill.step(self.run)
        if step is None:
            return NOTHING
        return f"{step.label} ({number_format(backfill.step_percent(self.run) or 0.0, 0)} %)"

    @property
    def page_views(self) -> str:
        return thousands(self.so_far.page_views)

    @property
    def rate(self) -> str:
        rate = self.so_far.rows_per_second
        return NOTHING if rate is None else f"{thousands(round(rate))}/s"

    @property
    def time_left(self) -> str:
        seconds = self.so_far.eta_seconds
        return NOTHING if seconds is None else duration(seconds)

    @property
    def chunk_size(self) -> str:
        text = gettext("%s (adapts)") if self.run.fixed_chunk_size is None else gettext("%s (fixed)")
        return text % thousands(self.run.chunk_size)

    @property
    def waits_for(self) -> str:
        return self.run.wait_reason.removeprefix("waits for ") or NOTHING

    @property
    def waits_until(self) -> str:
        # a time that has passed is over: the run waits for a worker now; without a reason only for its page
        until = self.run.wait_until
        is_over = until is None or until <= self.now or not self.run.wait_reason
        return NOTHING if is_over or not self.run.is_going else time(until)

    @property
    def wish(self) -> str:
        run = self.run
        asked_at = run.cancel_requested_at or run.pause_requested_at
        if asked_at is None:
            return NOTHING
        what = gettext("cancelling") if run.cancel_requested_at else gettext("a pause")
        return gettext("%(what)s, by %(who)s at %(when)s") % {
            "what": what,
            "who": who(run.requested_by, run.requested_via),
            "when": time(asked_at),
        }

    @property
    def taken_at(self) -> str:
        at = time(self.run.taken_at)
        return f"{at} ({self.run.get_taken_by_display()})" if self.run.taken_by else at

    @property
    def nice(self) -> str:
        if self.run.nice is not None:
            return gettext("%s x what the chunk took") % f"{self.run.nice:g}"
        usual = folding.niceness(self.run._state.db or "default", is_cluster=True)
        return gettext("%s x what the chunk took (PAGESTATS_NICE)") % f"{usual:g}"

    @property
    def failures(self) -> str:
        return thousands(self.run.failure_count)

    @property
    def revivals(self) -> str:
        return thousands(self.run.revival_count)

    @property
    def kind(self) -> str:
        return self.run.get_kind_display()

    @property
    def generation(self) -> str:
        return str(self.run.generation_id)

    @property
    def began_at(self) -> str:
        return thousands(self.run.start_cursor)

    @property
    def cursor(self) -> str:
        return thousands(self.run.cursor)

    @property
    def ends_at(self) -> str:
        return thousands(self.run.target)

    @property
    def started_by(self) -> str:
        return who(self.run.actor, self.run.via)

    @property
    def created_at(self) -> str:
        return time(self.run.created_at)

    @property
    def started_at(self) -> str:
        return time(self.run.started_at)

    @property
    def progressed_at(self) -> str:
        return time(self.run.progressed_at)

    @property
    def finished_at(self) -> str:
        return time(self.run.finished_at)


def event_texts(event: RunEvent) -> tuple[str, str, str, str]:
    """When, what, who and why."""
    after = event.get_to_status_display()
    if event.from_status not in ("", event.to_status):
        after = f"{event.get_from_status_display()} → {after}"
    return time(event.at), after, who(event.actor, event.via), event.reason


def who(actor: str, via: str) -> str:
    """A person's name, and from where; what is no `Via` is shown as it is stored."""
    where = str(RunEvent.Via(via).label) if via in RunEvent.Via.values else via
    return f"{actor} ({where})" if actor else where


def time(at: datetime | None) -> str:
    """In the time zone of the site's users, to the second."""
    return NOTHING if at is None else localtime(at).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Two units at most, since it is an estimate: "2 h 5 min", "40 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return gettext("%d s") % rest
    hours, minutes_left = divmod(minutes, 60)
    if not hours:
        return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}
    return gettext("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes_left}
