"""What each page beside the first one has around its panels: the ranges, what the numbers are worth, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from django_pagestats.dashboard.figures import Totals
from django_pagestats.dashboard.menus import compare_query, menus_of
from django_pagestats.dashboard.page import Empty
from django_pagestats.dashboard.refused import refused_of_everybody
from django_pagestats.dashboard.scope import Scope, scope_of
from django_pagestats.dashboard.trust import trust_of
from django_pagestats.stats.together import pending_of


@contextmanager
def scope_of_everybody(query: Mapping[str, Any], *, using: str, now: datetime) -> Iterator[Scope]:
    """What a query asks for, without a page, filters and a goal, which these pages do not know; not for the public."""
    with scope_of(query, using=using, now=now, is_public=False) as scope:
        yield replace(scope, state=scope.state.of_everybody())


def surroundings(scope: Scope, query: Mapping[str, Any], *, page: str = "") -> dict[str, Any]:
    """For the templates of a page that is not for the public; `page` is the parameter that turns its list."""
    return {
        "menus": menus_of(scope),
        "refused": refused_of_everybody(query, scope, page=page),
        "compare_query": compare_query(scope),
        "trust": trust_of(scope, _pending(scope)),
        "empty": Empty(is_new=True) if scope.since is None else None,
        "state": scope.state,
        "days": scope.days,
        "is_left_out": scope.is_left_out,
        "is_public": False,
    }


def _pending(scope: Scope) -> Totals:
    """No figures: nothing is counted but the page views that are not folded."""
    return Totals([], 0, 0, None, 0, *pending_of(scope.taken))
