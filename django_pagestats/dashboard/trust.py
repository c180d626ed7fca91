"""What the numbers of a page are worth: of which instant, in which zone, and what a visitor is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill, folding, stats
from django_pagestats.conf import conf
from django_pagestats.dashboard.extent import ahead_text
from django_pagestats.dashboard.figures import Totals
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.ranges import today_of
from django_pagestats.dashboard.scope import Scope
from django_pagestats.stats.answers import Policy

#: what a visitor is, by policy: of one day, and of several
POLICIES: dict[str, Promise] = {
    "daily": _("daily visitors, added up: who came on two days counts twice"),
    "monthly": _("exact within a calendar month: who came in two months counts twice"),
    "session": _("one for each session of the site; without a session, daily visitors, added up"),
    "user": _("one for each user who is signed in; others are daily visitors, added up"),
    "cookie": _("one for each browser that keeps a cookie, for a year"),
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Sentences; `run_id` and `percent` are those of a run that works on what is missing."""

    is_exact: bool
    instant: str
    zone: str
    visitors: str
    #: what is to be done, by whoever may
    attention: str = ""
    #: that is a backfill, which nobody has started
    is_to_start: bool = False
    run_id: int | None = None
    percent: float | None = None


def trust_of(scope: Scope, totals: Totals) -> Trust:
    zone = gettext("Days and hours are those of %s.") % scope.zone
    visitors = _visitors(scope)
    if scope.is_public:
        return Trust(scope.is_exact, _for_everybody(scope), zone, visitors)
    if scope.is_exact:
        return Trust(True, _exact(scope, totals), zone, visitors, _attention(scope, 0))
    run, attention = backfill.active_run(scope.using), _attention(scope, conf.TAIL_LIMIT + 1)
    return Trust(
        False,
        _folded(scope, totals),
        zone,
        visitors,
        attention,
        run is None and not backfill.problem(scope.using),
        None if run is None else run.pk,
        None if run is None else round(backfill.progress(run, scope.now).percent, 1),
    )


def ahead_of(scope: Scope) -> str:
    """What is to be said of page views that are dated later than now."""
    return ahead_text(scope.taken, scope.last_day, using=scope.using, now=scope.now, calendar=scope.calendar)


def time_text(at: datetime, scope: Scope) -> str:
    """A day and a time, in the zone of the statistics."""
    return date_format(at.astimezone(scope.calendar.zone), "DATETIME_FORMAT")


def _for_everybody(scope: Scope) -> str:
    """Without a word about what is folded, which is the owner's business."""
    if scope.is_exact:
        return gettext("Exact as of %s; nothing is left out.") % time_text(scope.now, scope)
    return gettext("The last page views are not counted yet.")


def _exact(scope: Scope, totals: Totals) -> str:
    now = time_text(scope.now, scope)
    if scope.first_viewed_at is None and scope.since is not None:
        return gettext("As of %s. The page views themselves are gone: the numbers are those of the aggregates.") % now
    if not totals.pending:
        return gettext("Exact as of %s; every page view is folded.") % now
    told = ngettext(
        "Exact as of %(now)s, %(count)s page view not folded yet: it is counted, too.",
        "Exact as of %(now)s, %(count)s page views not folded yet: they are counted, too.",
        totals.pending,
    )
    return told % {"now": now, "count": whole(totals.pending)}


def _folded(scope: Scope, totals: Totals) -> str:
    first, until = scope.first_viewed_at, scope.folded_until
    upto = gettext("nothing yet") if until is None or until == first else time_text(until, scope)
    count = whole(totals.pending)
    return gettext("Folded up to %(upto)s, %(count)s to go. These are not counted here.") % {
        "upto": upto,
        "count": count if totals.pending_is_exact else gettext("about %s") % count,
    }


def _attention(scope: Scope, tail: int) -> str:
    """What only a person can bring in order, such as a table that lost page views, or a changed zone.

    Not that a backfill is to be started: that says the button, to whoever has it.
    """
    told = backfill.problem(scope.using) or folding.attention(scope.using, tail, are_counted=False, may_start=False)
    return str(told)


def _visitors(scope: Scope) -> str:
    """What a visitor is, under the policies of the range; and of which part of it nobody knows."""
    found = stats.visitor_policy(**scope.bounds, using=scope.using)
    told = _of_policies(found, scope)
    if not found or scope.since is None:
        return told
    first = today_of(found[0].since, scope.calendar)
    if first <= max(scope.days.start, scope.since):
        return told
    before = gettext("Before %s it is not known how they were told apart.") % date_format(first, "DATE_FORMAT")
    return f"{told} {before}"


def _of_policies(found: Sequence[Policy], scope: Scope) -> str:
    names = list(dict.fromkeys(policy.policy for policy in found))
    if not names:
        return gettext("Visitors are distinct session keys, of the whole range.")
    if len(names) > 1:
        told = "; ".join(f"{name} ({_told(name)})" for name in names)
        return gettext("Visitors were told apart by several policies in this range: %s.") % told
    if names == ["daily"] and scope.days.count == 1:
        return gettext("Visitors are those of the day.")
    return gettext("Visitors are %s.") % _told(names[0])


def _told(policy: str) -> str:
    return str(POLICIES.get(policy, _("told apart by the site's own policy")))
