"""The numbers of one object's page, for a box beside the form by which that object is changed."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_pagestats.beside.lists import days_of, line_beside
from django_pagestats.beside.recent import DAYS, Recent, alias_beside, recent
from django_pagestats.dashboard.drawing import days_name
from django_pagestats.dashboard.numbers import NOTHING, whole
from django_pagestats.exceptions import UnknownDimensionError
from django_pagestats.harmless import harmlessly
from django_pagestats.stats.crossing import count_shared_visitors
from django_pagestats.stats.trees import count_visits_of_tree, visitors_of_tree
from django_pagestats.stats.visitor_sets import VisitorSet

#: sources that are shown, and those of the whole site among which they are looked for, by page views
SOURCES, CANDIDATES = 5, 100
MISSING = "The statistics beside an object are missing"


@dataclass(frozen=True, slots=True)
class Source:
    """Where some of a page's visitors came from, in these days."""

    name: str
    visitors: str


@dataclass(frozen=True, slots=True)
class Box:
    """The texts of a box."""

    path: str
    page_views: str
    visitors: str
    #: those that began on the page or, with subpages, on any of them
    visits: str
    line: SafeString
    sources: list[Source]
    #: the days, and what the numbers are worth
    days: str
    note: str


def box_of(path: str, *, days: int = DAYS, include_subpages: bool = False) -> Box | None:
    """All of one instant; None: they could not be had, which is logged."""

    def ask() -> Box:
        with recent(days) as now:
            return _box(path, now, include_subpages=include_subpages)

    return harmlessly(ask, otherwise=None, what=MISSING, using=alias_beside())


def _box(path: str, now: Recent, *, include_subpages: bool) -> Box:
    of_days = days_of([path], now, include_subpages=include_subpages)[path]
    page_views = sum(of_days.values())
    if include_subpages:
        visitors = visitors_of_tree(now.taken, path, **now.bounds)
    else:
        visitors = now.taken.visitors(path, **now.bounds)
    label = gettext("Page views day by day, at most %s") % whole(max(of_days.values(), default=0))
    return Box(
        path,
        whole(page_views),
        whole(len(visitors)),
        _visits(path, now, include_subpages=include_subpages),
        line_beside(of_days, now, label),
        _sources(visitors, now) if visitors else [],
        days_name(now.days),
        "" if now.is_exact else gettext("Very many page views are not folded yet: they are not counted here."),
    )


def _visits(path: str, now: Recent, *, include_subpages: bool) -> str:
    try:
        if include_subpages:
            return whole(count_visits_of_tree(now.taken, path, **now.bounds))
        return whole(now.taken.count_visits(path, **now.bounds))
    except UnknownDimensionError:  # the site does not count by entry page, or its aggregates are of before that
        return NOTHING


def _sources(visitors: VisitorSet, now: Recent) -> list[Source]:
    """Where most of its visitors came from; none where the site does not count by source."""
    name = next((it.name for it in now.taken.dimensions() if it.source == "source"), None)
    if name is None:
        return []
    candidates = [it.value for it in now.taken.top(name, CANDIDATES, **now.bounds)]
    found = count_shared_visitors(now.taken, visitors, name, candidates, **now.bounds)
    # stable: of equal ones that of more page views of the site
    most = sorted(((count, value) for value, count in found.items() if count), key=lambda pair: -pair[0])
    return [Source(value, whole(count)) for count, value in most[:SOURCES]]
