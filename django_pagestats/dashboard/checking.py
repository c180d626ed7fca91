"""What was verified last and what was found, and whether the days that are shown can be recounted, or are being so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from django_pagestats import aliases
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.trust import time_text
from django_pagestats.models import Check
from django_pagestats.verify import remembering


@dataclass(frozen=True, slots=True)
class Told:
    """One verification in words."""

    sentence: str
    #: the first differences, and how many more there are
    differences: Sequence[str] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Checks:
    """Of everything, and of the last range of days that was asked for."""

    whole: Told
    of_range: Told | None
    #: how far the check of a range is that goes on, in percent; None: none does
    percent: int | None
    #: what does the same on the command line for the days that are shown
    command: str


def checks_of(scope: Scope) -> Checks:
    using = aliases.home()
    everything, of_range = remembering.last_checks(using)
    is_active = of_range is not None and _is_active(of_range, scope)
    return Checks(
        Told(gettext("The statistics were never compared with all page views (manage.py verify_aggregates)."))
        if everything is None
        else _told(everything, scope),
        None if of_range is None else _told(of_range, scope),
        _percent(of_range) if is_active and of_range is not None else None,
        f"manage.py verify_aggregates --start {scope.days.start} --end {scope.days.end}",
    )


def _is_active(check: Check, scope: Scope) -> bool:
    return check.ended_at is None and check.lease_until is not None and check.lease_until > scope.now


def _percent(check: Check) -> int:
    if check.start is None or check.end is None or check.upto is None:
        return 0
    return 100 * (check.upto - check.start).days // max(1, (check.end - check.start).days)


def _told(check: Check, scope: Scope) -> Told:
    which = _which(check)
    if check.ended_at is None:
        if _is_active(check, scope):
            return Told(gettext("%s: being recounted.") % which)
        since = time_text(check.lease_until or check.asked_at, scope)
        return Told(
            gettext("%(days)s: the recount has not moved since %(time)s. Is a cluster running (manage.py qcluster)?")
            % {"days": which, "time": since}
        )
    words = {"days": which, "time": time_text(check.ended_at, scope)}
    if check.error:
        return Told(gettext("%(days)s: the recount of %(time)s failed.") % words, [check.error])
    count = check.difference_count
    sentence = ngettext(
        "%(days)s: recounted on %(time)s, %(count)s difference.",
        "%(days)s: recounted on %(time)s, %(count)s differences.",
        count,
    ) % {**words, "count": whole(count)}
    return Told(sentence, check.differences, count - len(check.differences))


def _which(check: Check) -> str:
    first = None if check.start is None else _day(check.start)
    last = None if check.end is None else _day(check.end - timedelta(days=1))
    if first is None and last is None:
        return gettext("All page views")
    if last is None:
        return gettext("From %s on") % first
    if first is None:
        return gettext("Up to %s") % last
    return first if first == last else gettext("%(first)s to %(last)s") % {"first": first, "last": last}


def _day(day: date) -> str:
    return date_format(day, "DATE_FORMAT")
