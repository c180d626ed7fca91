"""The panel of what was left out in the range, and why: reasons in words."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats.dashboard.figures import Totals
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.scope import Scope
from django_pagestats.models import LeftOut, Reason
from django_pagestats.models.left_out import OF_ATTRIBUTES

WORDS: dict[str, Promise] = {
    Reason.ROBOT: _("Robots, which say so or ask as only robots do"),
    Reason.PREFETCH: _("Fetched ahead of a click that may never come"),
    Reason.GPC: _("The browser asks not to be tracked (Global Privacy Control)"),
    Reason.DNT: _("The browser asks not to be tracked (Do Not Track)"),
    Reason.OPTED_OUT: _("The visitor has taken this browser out"),
    Reason.NO_CONSENT: _("The visitor has not consented"),
    Reason.EXCLUDED_PATH: _("Pages that are not to be counted, such as the admin"),
    Reason.STAFF: _("Staff that is signed in"),
    Reason.DUPLICATE: _("The same visitor was on the same page just before"),
    Reason.RATE_LIMIT: _("Too many requests of one address"),
    Reason.NO_VISITOR: _("Nothing tells the visitor from others"),
    Reason.INVALID_PATH: _("Paths that cannot be stored"),
    Reason.UNKNOWN_PATH: _("Paths that are no page of the site, or too many new ones"),
    Reason.CROSS_SITE: _("Requests to the beacon from other sites"),
    Reason.REFERRER_SPAM: _("Links of sites that only advertise themselves"),
    Reason.NEW_VALUE: _("Values that were one too many that day"),
    Reason.ATTRIBUTE: _("Attributes of the site's own that could not be had"),
    Reason.DATABASE: _("The database failed, or was slow"),
    Reason.BUFFER_FULL: _("More page views waited than the buffer holds"),
    Reason.INVALID_SESSION_KEY: _("Session keys that cannot be stored"),
    Reason.INVALID_TIME: _("Times that cannot be stored"),
    Reason.INVALID_ATTRIBUTE: _("Attributes that cannot be stored"),
    Reason.UNEXPECTED: _("Errors that are in the log"),
}


@dataclass(frozen=True, slots=True)
class LeftOutPanel:
    """(reason in words, count), the most frequent first."""

    page_views: list[tuple[str, str]]
    #: what cost a page view that was counted one of its attributes
    attributes: list[tuple[str, str]]
    #: both numbers of page views: those left out, and those counted
    sum: str


def left_out_of(scope: Scope, totals: Totals) -> LeftOutPanel | None:
    """None: nothing was left out.

    Its days are those of `PAGESTATS_TIME_ZONE`. Each process writes what it has left out once a minute, so the last
    minute may be missing; it is of no snapshot, as it is in no aggregate.
    """
    rows = LeftOut.objects.using(scope.using)
    if not scope.state.range.is_all_time:
        rows = rows.filter(day__gte=scope.days.start, day__lt=scope.days.end)
    counts = rows.order_by().values_list("reason").annotate(total=Sum("count")).order_by("-total", "reason")
    found = [(reason, total) for reason, total in counts if total]
    if not found:
        return None
    left_out = sum(total for reason, total in found if reason not in OF_ATTRIBUTES)
    return LeftOutPanel(
        [_row(reason, total) for reason, total in found if reason not in OF_ATTRIBUTES],
        [_row(reason, total) for reason, total in found if reason in OF_ATTRIBUTES],
        gettext("Page views left out: %(left_out)s. Page views counted: %(counted)s.")
        % {"left_out": whole(left_out), "counted": whole(totals.page_views)},
    )


def _row(reason: str, total: int) -> tuple[str, str]:
    # what an older or newer release wrote has no words here
    return str(WORDS.get(reason, reason)), whole(total)
