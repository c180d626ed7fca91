"""What a query asks for and does not get: so that nobody takes other days for those that were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext, ngettext

from django_pagestats.dashboard.filters import MOST_FILTERS, MOST_PUBLIC_FILTERS, asked_filters, filter_of
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

    yield from _refused_filters(query, scope, is_public=is_public)


def _refused_filters(query: Mapping[str, Any], scope: Scope, *, is_public: bool) -> Iterator[str]:
    state, names = scope.state, [kind.name for kind in scope.kinds]
    if query.get("path") and not state.path:
        yield gettext("No page can have the path that was asked for, so this is the whole site.")
    if query.get("goal") and not state.goal:
        yield gettext("No page can have the path of the goal that was asked for: it is left out.")
    found = [filter_of(text, names) for text in asked_filters(query)]
    if None in found:
        yield gettext("A filter that was asked for cannot be had: it is left out.")
    if any(it is not None and it not in state.filters for it in found):
        most = MOST_PUBLIC_FILTERS if is_public else MOST_FILTERS
        told = ngettext(
            "There is %(most)s filter at the most, the page's among them: the others are left out.",
            "There are %(most)s filters at the most, the page's among them: the others are left out.",
            most,
        )
        yield told % {"most": most}


def _which() -> str:
    told = gettext("Days are of %(first)s to %(last)s, the first is not after the last, at most %(years)s years.")
    return told % {"first": FIRST_DAY.year, "last": LAST_DAY.year, "years": MOST_DAYS // 366}
