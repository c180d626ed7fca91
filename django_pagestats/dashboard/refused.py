"""What a query asks for and does not get: so that nobody takes other days for those that were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext

from django_pagestats.dashboard.public import LEAST_DAYS
from django_pagestats.dashboard.ranges import FIRST_DAY, FREE, LAST_DAY, MOST_DAYS
from django_pagestats.dashboard.scope import Scope


def refused(query: Mapping[str, Any], scope: Scope) -> list[str]:
    """A sentence for each choice of days or of rows in a query that its state does not have."""
    return list(_refused(query, scope, is_public=scope.is_public))


def _refused(query: Mapping[str, Any], scope: Scope, *, is_public: bool) -> Iterator[str]:
    state = scope.state
    if query.get("range") == FREE and state.range.free is None:
        yield gettext("The days that were chosen cannot be shown, so these are others.")
        yield _which()
        if is_public:
            yield gettext("They are %s days at least.") % LEAST_DAYS
    if query.get("compare") == FREE and state.against.free is None:
        yield gettext("The days to compare with that were chosen cannot be had, so they are others.")
        if not is_public:
            yield _which()
    # the public has no search of values
    kinds = [it for it in scope.kinds if it.are_pages or not is_public]
    left_out = [it for it in kinds if query.get(f"{it.name}_q") and not state.table(it.name).search]
    if any(kind.are_pages for kind in left_out):
        yield gettext("No path can begin with what was searched for: it is left out.")
    elif left_out:
        yield gettext("Nothing can begin with what was searched for: it is left out.")


def _which() -> str:
    told = gettext("Days are of %(first)s to %(last)s, the first is not after the last, at most %(years)s years.")
    return told % {"first": FIRST_DAY.year, "last": LAST_DAY.year, "years": MOST_DAYS // 366}
