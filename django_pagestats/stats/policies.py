"""By which policies the visitors of a range were told apart: a number of visitors means what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from django_pagestats.buckets import instant
from django_pagestats.models import VisitorPolicy
from django_pagestats.stats.answers import Policy
from django_pagestats.stats.folded import Folded
from django_pagestats.stats.ranges import Bound, calendar_of, intervals, site_span

Origin = VisitorPolicy.Origin


def in_force(using: str, start: Bound, end: Bound) -> list[Policy]:
    """The policies of any part of a range, the earliest first."""
    calendar = calendar_of(Folded(using).state.time_zone)
    span = site_span(start, end, lambda: calendar)
    if span.is_empty:
        return []
    parts = intervals(span, calendar)
    if not parts:  # a date that the zone left out
        return []
    first, last = parts[0][0], parts[-1][1]
    rows = VisitorPolicy.objects.using(using).order_by("since", "pk")
    found = [policy for policy in _policies(rows) if _is_within(policy, _instant(first), _instant(last))]
    return sorted(found, key=lambda policy: policy.since)


def _policies(rows: Iterable[VisitorPolicy]) -> Iterator[Policy]:
    """Of recorded ones each ends where the next one begins; two processes may have told of the same one."""
    begun: VisitorPolicy | None = None
    for row in rows:
        if row.origin == Origin.IMPORTED:
            yield Policy(row.policy, row.since, row.until, row.origin)
        elif begun is None or row.policy != begun.policy:
            if begun is not None:
                yield Policy(begun.policy, begun.since, row.since, begun.origin)
            begun = row
    if begun is not None:
        yield Policy(begun.policy, begun.since, None, begun.origin)


def _is_within(policy: Policy, start: datetime | None, end: datetime | None) -> bool:
    if end is not None and policy.since >= end:
        return False
    if policy.until is None or start is None:
        return True
    # an import's last page view is of that very instant
    return policy.until > start or (policy.origin == Origin.IMPORTED and policy.until == start)


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else instant(seconds)
