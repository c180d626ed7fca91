"""Where a row of a table leads: to the dashboard of its page, or to the same one of its visitors only."""

from __future__ import annotations

from django_pagestats.dashboard.filters import MOST_FILTERS, Filter, may_be_value
from django_pagestats.dashboard.scope import Scope

#: a longer URL is refused by many a server
MOST_QUERY_CHARACTERS = 3_500


def filter_query(scope: Scope, by: Filter) -> str:
    """What filters by a row; empty where there are enough filters, or no URL could say it."""
    state = scope.state
    if not may_be_value(by.value) or by in state.conditions:
        return ""
    if by.is_of_page and not state.conditions:
        query = f"{scope.places.page}{state.of_page(by.value).query()}"
    else:
        query = state.filtered(by).query() if len(state.conditions) < MOST_FILTERS else ""
    return query if len(query) <= MOST_QUERY_CHARACTERS else ""


def without_filter_query(scope: Scope, of: Filter) -> str:
    """The same without one of its filters; without the page it is the dashboard of the site."""
    without = scope.state.unfiltered(of)
    is_elsewhere = bool(scope.state.path) and not without.path
    return f"{scope.places.site if is_elsewhere else ''}{without.query()}"


def site_query(scope: Scope) -> str:
    """The whole site, in the same days."""
    return f"{scope.places.site}{scope.state.of_page('').query()}"
