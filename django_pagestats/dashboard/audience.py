"""Whom a page of the dashboard is about, as sets: visitors whom all of its filters have, and who of them saw a goal.

Page views of a combination are in no aggregate; of visitors there are the sets, which are crossed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from django_pagestats.dashboard.filters import Filter
from django_pagestats.dashboard.kinds import Kind
from django_pagestats.dashboard.scope import Bounds, Scope
from django_pagestats.headers.channels import channel_of
from django_pagestats.stats import VisitorSet
from django_pagestats.stats.conditions import Condition, InGroup
from django_pagestats.stats.goals import reached_by_day


@dataclass(frozen=True)
class Goal:
    """A path, and who of the audience came to it."""

    path: str
    #: everybody who saw it
    visitors: VisitorSet
    #: those of the audience
    reached: VisitorSet
    #: day -> those of the audience whom all of the filters had had by then
    by_day: Mapping[date, VisitorSet]

    @property
    def later(self) -> VisitorSet:
        """Who came to it on the day on which the last of the filters had them, or later."""
        found = self.reached - self.reached
        for came in self.by_day.values():
            found |= came
        return found


@dataclass(frozen=True)
class Audience:
    """Some of the visitors."""

    filters: Sequence[Filter]
    visitors: VisitorSet
    goal: Goal | None

    @property
    def is_of_one(self) -> bool:
        """Whether it is of one path, or of one value: of that there are page views, too."""
        return len(self.filters) == 1


def audience_of(scope: Scope) -> Audience | None:
    """None: it is about everybody, and there is no goal. Raises DimensionError where a value cannot be had."""
    filters, goal = scope.state.conditions, scope.state.goal
    if not filters and not goal:
        return None
    if filters:
        found = intersection(visitors_of(scope, it, scope.bounds) for it in filters)
    else:
        found = scope.taken.visitors(**scope.bounds)
    return Audience(filters, found, _goal(scope, goal, found) if goal else None)


def visitors_of(scope: Scope, of: Filter, bounds: Bounds) -> VisitorSet:
    """Those whom a filter has, in some days."""
    path, where = condition(scope, of)
    return scope.taken.visitors(path, where=where, **bounds)


def condition(scope: Scope, of: Filter) -> tuple[str | None, Condition | None]:
    """As `stats` takes it: a path, a dimension and a value, or the sources of a channel."""
    if of.is_of_page:
        return of.value, None
    kind = kind_of(scope, of)
    return None, InGroup(kind.dimension, channel_of, of.value) if kind.are_channels else {kind.dimension: of.value}


def kind_of(scope: Scope, of: Filter) -> Kind:
    return next(kind for kind in scope.kinds if kind.name == of.kind)


def intersection(sets: Iterable[VisitorSet]) -> VisitorSet:
    first, *others = sets
    for other in others:
        first &= other
    return first


def _goal(scope: Scope, path: str, audience: VisitorSet) -> Goal:
    visitors = scope.taken.visitors(path, **scope.bounds)
    of = [condition(scope, it) for it in scope.state.conditions]
    start, end = scope.bounds.get("start"), scope.bounds.get("end")
    by_day = reached_by_day(scope.taken, of, path, start=start, end=end)
    return Goal(path, visitors, visitors & audience, by_day)
