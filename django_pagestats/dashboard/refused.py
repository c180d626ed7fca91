"""What a query asks for and does not get: so that nobody takes other days or rows for those that were chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext, ngettext

from django_pagestats.dashboard.filters import MOST_FILTERS, asked_filters, filter_of
from django_pagestats.dashboard.public import is_asked_in_vain
from django_pagestats.dashboard.ranges import FIRST_DAY, FREE, LAST_DAY, MOST_DAYS
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.state import list_page

#: what a query may say of a table
OF_TABLES = ("q", "sort", "p")


def refused(query: Mapping[str, Any], scope: Scope) -> list[str]:
    """A sentence for each choice of days, rows or visitors in a query that its state does not have.

    Whatever it has as `csv` is one: what can be had as CSV is no page.
    """
    return [*refused_choices(query, scope), *_refused_csv(query)]


def refused_choices(query: Mapping[str, Any], scope: Scope) -> list[str]:
    """The same without the CSV: for its head."""
    if scope.is_public:
        return list(_refused_of_public(query, scope))
    return [*_refused_days(query, scope), *_refused_rows(query, scope), *_refused_filters(query, scope)]


def refused_of_everybody(query: Mapping[str, Any], scope: Scope, *, tables: Collection[str] = ()) -> list[str]:
    """The same for a page of the whole site, which knows no filters and goals, and not the dashboard's tables.

    `tables` are the names of its own, whose rows are pages.
    """
    return [*refused_choices_of_everybody(query, scope, tables=tables), *_refused_csv(query)]


def refused_choices_of_everybody(query: Mapping[str, Any], scope: Scope, *, tables: Collection[str] = ()) -> list[str]:
    """The same without the CSV: for its head."""
    told = list(_refused_days(query, scope))
    of_tables = [f"{kind.name}_{name}" for kind in scope.kinds if kind.name not in tables for name in OF_TABLES]
    if asked_filters(query) or any(query.get(name) for name in ("path", "goal", *of_tables)):
        told.append(gettext("This page is of the whole site: a page, filters, a goal and tables' rows are left out."))
    if any(query.get(f"{name}_q") and not scope.state.table(name).search for name in tables):
        told.append(gettext("No path can begin with what was searched for: it is left out."))
    return [*told, *_refused_order(query, scope, tables)]


def _refused_days(query: Mapping[str, Any], scope: Scope) -> Iterator[str]:
    state = scope.state
    wanted, compared = query.get("range"), query.get("compare")
    if wanted == FREE and state.range.free is None:
        yield gettext("The days that were chosen cannot be shown, so these are others.")
        yield _which()
    elif wanted and wanted != state.range.name:
        yield _no_range()
    if compared == FREE and state.against.free is None:
        yield gettext("The days to compare with that were chosen cannot be had, so they are others.")
        yield _which()
    elif compared and compared != state.against.name:
        yield gettext("There is no such comparison as was asked for, so it is the usual one.")
    yield from _refused_interval(query, scope)


def _refused_of_public(query: Mapping[str, Any], scope: Scope) -> Iterator[str]:
    state, wanted = scope.state, query.get("range")
    if wanted == FREE and state.range.free is None:
        yield gettext("The days that were chosen cannot be shown, so these are others.")
        yield gettext("Days that are chosen are a calendar month here.")
    elif wanted and wanted != state.range.name:
        yield _no_range()
    yield from _refused_interval(query, scope)
    yield from _refused_order(query, scope, [kind.name for kind in scope.kinds])
    if is_asked_in_vain(query, [kind.name for kind in scope.kinds]):
        yield gettext(
            "This is the whole site: for everybody there is no page alone, no filter, no goal and no search, and"
            " nothing is compared."
        )


def _refused_interval(query: Mapping[str, Any], scope: Scope) -> Iterator[str]:
    interval = query.get("interval")
    if interval and interval != scope.state.interval:
        yield gettext("There is no such interval of the chart as was asked for, so it is the usual one.")


def _no_range() -> str:
    return gettext("There is no such range as was asked for, so these are the usual days.")


def _refused_rows(query: Mapping[str, Any], scope: Scope) -> Iterator[str]:
    state = scope.state
    left_out = [it for it in scope.kinds if query.get(f"{it.name}_q") and not state.table(it.name).search]
    if any(kind.are_pages for kind in left_out):
        yield gettext("No path can begin with what was searched for: it is left out.")
    elif left_out:
        yield gettext("Nothing can begin with what was searched for: it is left out.")
    yield from _refused_order(query, scope, [it.name for it in scope.kinds])


def _refused_order(query: Mapping[str, Any], scope: Scope, names: Collection[str]) -> Iterator[str]:
    """Of the tables of these names, an order and a page that one does not have."""
    sorts = ((query.get(f"{name}_sort"), scope.state.table(name).sort) for name in names)
    if any(asked and asked != sort for asked, sort in sorts):
        yield gettext("A table cannot be in the order that was asked for, so it is in its usual one.")
    pages = (query.get(f"{name}_p") for name in names)
    if any(asked and list_page(asked) is None for asked in pages):
        yield gettext("There is no such page of a list as was asked for, so it is the first one.")


def _refused_filters(query: Mapping[str, Any], scope: Scope) -> Iterator[str]:
    state, names = scope.state, [kind.name for kind in scope.kinds]
    if query.get("path") and not state.path:
        yield gettext("No page can have the path that was asked for, so this is the whole site.")
    if query.get("goal") and not state.goal:
        yield gettext("No page can have the path of the goal that was asked for: it is left out.")
    found = [filter_of(text, names) for text in asked_filters(query)]
    if None in found:
        yield gettext("A filter that was asked for cannot be had: it is left out.")
    if any(it is not None and it not in state.filters for it in found):
        told = ngettext(
            "There is %(most)s filter at the most, the page's among them: the others are left out.",
            "There are %(most)s filters at the most, the page's among them: the others are left out.",
            MOST_FILTERS,
        )
        yield told % {"most": MOST_FILTERS}


def _refused_csv(query: Mapping[str, Any]) -> Iterator[str]:
    if query.get("csv"):
        yield gettext("There is no such CSV as was asked for, so this is the page.")


def _which() -> str:
    told = gettext("Days are of %(first)s to %(last)s, the first is not after the last, at most %(years)s years.")
    return told % {"first": FIRST_DAY.year, "last": LAST_DAY.year, "years": MOST_DAYS // 366}
