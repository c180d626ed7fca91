"""Within which days of a range a visitor who comes again is known: a policy's keys say nothing beyond it.

Where the policy changes everybody gets another key, and on the day of the change many have two. So the days of a range
fall into stretches, each of one policy, by the month a month each; on days of "daily" nobody is known again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby, pairwise

from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_pagestats.buckets import Calendar
from django_pagestats.dashboard.drawing import days_name
from django_pagestats.dashboard.ranges import Days, month_start, today_of
from django_pagestats.stats.answers import Policy

DAILY, MONTHLY = "daily", "monthly"
#: what of the visitors is not known again, by policy
UNKNOWN: dict[str, Promise] = {
    "session": _("Who has no session has another key each day, and is new each day; a login begins another session."),
    "user": _("Who is not signed in has another key each day, and is new each day."),
    "cookie": _("A browser is known for a year; one that refuses cookies is new with each page view."),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days of one policy, of which a visitor is known again from the first to the last."""

    days: Days
    #: a name of PAGESTATS_VISITOR_KEY, or the site's own; empty: it is not known how they were told apart
    policy: str


def stretches(days: Days, policies: Sequence[Policy], calendar: Calendar) -> list[Stretch]:
    """Those of a range, in order; empty where nobody is known again on another day."""
    of_policies = [(policy.policy, _days_of(policy, days.end, calendar)) for policy in policies]
    edges = {days.start, days.end, *(edge for _, its in of_policies for edge in (its.start, its.end))}
    if any(name == MONTHLY for name, _ in of_policies):
        edges.update(_months(days))
    parts = (
        Days(start, end) for start, end in pairwise(sorted(edge for edge in edges if days.start <= edge <= days.end))
    )
    named = [(part, frozenset(name for name, its in of_policies if part.start in its)) for part in parts]
    return list(_joined(named))


def _joined(parts: Sequence[tuple[Days, frozenset[str]]]) -> Iterator[Stretch]:
    """Neighbours of one and the same policy as one; of several policies, or by the day, nobody is known again."""

    def kind(part: tuple[Days, frozenset[str]]) -> tuple[frozenset[str], date | None]:
        days, names = part
        return names, month_start(days.start) if names == {MONTHLY} else None

    for (names, _month), them in groupby(parts, kind):
        its = [days for days, _ in them]
        if len(names) <= 1 and DAILY not in names:
            yield Stretch(Days(its[0].start, its[-1].end), next(iter(names), ""))


def _days_of(policy: Policy, end: date, calendar: Calendar) -> Days:
    """All days in any part of which it was in force."""
    first = today_of(policy.since, calendar)
    if policy.until is None:
        return Days(first, max(first, end))
    # of an import the last page view is of that very instant
    last = policy.until if policy.origin == "imported" else policy.until - timedelta(microseconds=1)
    return Days(first, max(first, today_of(last, calendar)) + timedelta(days=1))


def _months(days: Days) -> Iterator[date]:
    month = month_start(days.start)
    while month < days.end:
        yield month
        month = month_start(month, 1)


def longest(found: Sequence[Stretch]) -> Stretch | None:
    """The one of the most days, of equal ones the last."""
    return max(found, key=lambda stretch: (stretch.days.count, stretch.days.start), default=None)


def why_nobody(policies: Sequence[Policy]) -> str:
    """Why there is no stretch."""
    if {policy.policy for policy in policies} == {DAILY}:
        return gettext(
            "In these days visitors were told apart by the day (“daily”): a key says nothing on the next day, so nobody"
            " knows who came again. That is what keeps a visitor from being recognised; another PAGESTATS_VISITOR_KEY"
            " recognises her from its first whole day on."
        )
    return gettext(
        "On each of these days several policies told visitors apart, or one that does so by the day (“daily”), so"
        " nobody knows who came again."
    )


def said_of(stretch: Stretch, whole: Days) -> str:
    """Of which days of a range the numbers are, and who in them is not known again; empty: there is nothing to say."""
    told = []
    if stretch.days != whole:
        days = days_name(stretch.days)
        told.append(_of_part(stretch.policy) % {"days": days, "policy": stretch.policy})
    if stretch.policy in UNKNOWN:
        told.append(str(UNKNOWN[stretch.policy]))
    return " ".join(told)


def _of_part(policy: str) -> str:
    if policy == MONTHLY:
        return gettext("Visitors are known within a calendar month (“monthly”), so these numbers are of %(days)s.")
    if not policy:
        return pgettext("days", "These numbers are of %(days)s, of before the first policy that is known.")
    return gettext(
        "Visitors are known again while one policy lasts, so these numbers are of %(days)s, whose policy was"
        " “%(policy)s”."
    )
