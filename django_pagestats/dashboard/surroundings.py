"""What each page beside the first one has around its panels: the ranges, what the numbers are worth, what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from django_pagestats.dashboard.figures import Totals
from django_pagestats.dashboard.menus import compare_query, menus_of
from django_pagestats.dashboard.page import Empty
from django_pagestats.dashboard.refused import refused_of_everybody
from django_pagestats.dashboard.scope import Scope, scope_of
from django_pagestats.dashboard.state import State
from django_pagestats.dashboard.trust import Trust, trust_of
from django_pagestats.stats.together import pending_of


@contextmanager
def scope_of_everybody(
    query: Mapping[str, Any], *, using: str, now: datetime, tables: Mapping[str, tuple[str, ...]] | None = None
) -> Iterator[Scope]:
    """What a query asks for, without a page, filters and a goal, which these pages do not know; not for the public.

    `tables` are those of the page in place of the dashboard's: name -> the columns that it sorts by.
    """
    with scope_of(query, using=using, now=now, is_public=False) as scope:
        rows = State.parse(query, tables=tables or {}).tables
        yield replace(scope, state=replace(scope.state.of_everybody(), tables=rows))


def surroundings(
    scope: Scope, query: Mapping[str, Any], *, tables: Collection[str] = (), hides_comparison: bool = False
) -> dict[str, Any]:
    """For the templates of a page that is not for the public; `tables` are its own lists."""
    return {
        "menus": menus_of(scope, has_panels=False, has_comparison=not hides_comparison),
        "hides_comparison": hides_comparison,
        "refused": refused_of_everybody(query, scope, tables=tables),
        "compare_query": compare_query(scope),
        "trust": trust_of_everybody(scope),
        "empty": Empty(is_new=True) if scope.since is None else None,
        "state": scope.state,
        "days": scope.days,
        "is_left_out": scope.is_left_out,
        "is_public": False,
    }


def trust_of_everybody(scope: Scope) -> Trust:
    """What the numbers are worth; nothing is counted for it but the page views that are not folded."""
    return trust_of(scope, Totals([], 0, 0, None, 0, *pending_of(scope.taken)))
