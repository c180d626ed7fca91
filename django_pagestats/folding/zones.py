"""By which rules of its time zone is a generation cut, and are they still those that this machine has?

Rules come with the time zone database (tzdata), which changes a few times a year. What a generation keeps of them is a
digest of the zone's offsets from its first page view to its last: a change announced for next year is none of the past,
and a correction of the years before the first page view moves none.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any

from django_pagestats.buckets import HOUR_SECONDS, Calendar
from django_pagestats.models import Generation
from django_pagestats.tally import Tally

#: first and last HOUR bucket of the page views, and the digest of the offsets from the one to the other; empty until
#: there are any, and None where nobody knows
Rules = list[Any] | None
NONE_YET: list[Any] = []
#: in place of a digest: page views were cut by different rules, so that no machine has those of all
MIXED = "mixed"


def rules_with(kept: Rules, tally: Tally, calendar: Calendar) -> Rules:
    """What a generation is to keep once it counts these page views too, as this calendar cut them."""
    if kept is None or not tally.site_hours:
        return kept
    hours = [hour for _, hour in tally.site_hours]
    first, last = min(hours), max(hours)
    if not kept:
        return [first, last, _digest(calendar, first, last)]
    first, last = min(first, kept[0]), max(last, kept[1])
    return [first, last, MIXED if _are_other(kept, calendar) else _digest(calendar, first, last)]


def rules_of_both(kept: Rules, other: Rules, calendar: Calendar) -> Rules:
    """What a generation is to keep that counts the page views of both."""
    if kept == NONE_YET or other == NONE_YET:
        return other if kept == NONE_YET else kept
    if kept is None or other is None:
        return None
    first, last = min(kept[0], other[0]), max(kept[1], other[1])
    is_mixed = _are_other(kept, calendar) or _are_other(other, calendar)
    return [first, last, MIXED if is_mixed else _digest(calendar, first, last)]


def has_other_rules(generation: Generation) -> bool:
    """Whether page views of a generation were cut by other rules than this machine has for its zone."""
    kept: Rules = generation.zone_rules
    return _are_other(kept, _calendar(generation.time_zone)) if kept else False


@lru_cache(maxsize=8)
def _calendar(zone: str) -> Calendar:
    return Calendar(zone)


def _are_other(kept: list[Any], calendar: Calendar) -> bool:
    first, last, digest = kept
    return bool(digest != _digest(calendar, first, last))


def _digest(calendar: Calendar, first: int, last: int) -> str:
    """Of the offsets all through these HOUR buckets; a bucket begins within an hour before its number of hours."""
    offsets = calendar.offsets((first - 1) * HOUR_SECONDS, (last + 1) * HOUR_SECONDS)
    return sha256(repr((offsets[0][1], offsets[1:])).encode()).hexdigest()[:16]
