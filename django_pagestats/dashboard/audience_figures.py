"""The figures of one page, or of the visitors of some filters, each with its change; all by whole days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.dashboard.audience import Audience, condition, intersection, visitors_of
from django_pagestats.dashboard.figures import Figure, Totals, compared_days, why_not_counted
from django_pagestats.dashboard.numbers import Change, change, ratio, ratio_change, whole
from django_pagestats.dashboard.scope import Bounds, Scope, bounds
from django_pagestats.exceptions import PageStatsError
from django_pagestats.stats.together import pending_of

LABELS: dict[str, Promise] = {
    "page_views": pgettext_lazy("figure", "Page views"),
    "visitors": pgettext_lazy("figure", "Visitors"),
    "landings": _("Visits that began here"),
    "views_per_visitor": _("Views per visitor"),
}


@dataclass(frozen=True, slots=True)
class AudienceFigure(Figure):
    """One number, with a label of its own."""

    @property
    def label(self) -> Promise:
        return LABELS[self.name]


@dataclass(frozen=True, slots=True)
class _Counts:
    """What is told of some days; None: there is no such number."""

    visitors: int
    page_views: int | None = None
    landings: int | None = None


def audience_totals(scope: Scope, audience: Audience) -> Totals:
    """Of a single path or value page views, too; of several filters visitors, and no more."""
    figures = list(_figures(scope, audience))
    page_views = next((it.number for it in figures if it.name == "page_views" and it.number is not None), 0)
    return Totals(figures, page_views, len(audience.visitors), None, 0, *pending_of(scope.taken))


def _figures(scope: Scope, audience: Audience) -> Iterator[Figure]:
    is_page = _is_page(audience)
    names = ["page_views", "visitors", *(["landings"] if is_page else []), "views_per_visitor"]
    if not audience.is_of_one:
        names = ["visitors"]
    visitors = len(audience.visitors)
    if scope.is_left_out and not visitors:
        yield from map(AudienceFigure, names)
        return
    seen = _counts(scope, audience, scope.bounds, visitors)
    before = _before(scope, audience)
    if audience.is_of_one:
        yield _whole("page_views", seen.page_views, None if before is None else before.page_views)
    yield _whole("visitors", visitors, None if before is None else before.visitors)
    if is_page:
        yield _landings(scope, audience, before)
    if audience.is_of_one:
        yield _ratio(seen, before)


def _is_page(audience: Audience) -> bool:
    return audience.is_of_one and audience.filters[0].is_of_page


def _counts(scope: Scope, audience: Audience, days: Bounds, visitors: int) -> _Counts:
    if not audience.is_of_one:
        return _Counts(visitors)
    path, where = condition(scope, audience.filters[0])
    return _Counts(visitors, scope.taken.count_page_views(path, where=where, **days))


def _before(scope: Scope, audience: Audience) -> _Counts | None:
    """Those of the days before; None: nothing is compared."""
    comparison = compared_days(scope)
    if comparison is None or not audience.filters:
        return None
    then = bounds(comparison.days_before)
    found = intersection(visitors_of(scope, it, then) for it in audience.filters)
    return _counts(scope, audience, then, len(found))


def _whole(name: str, number: int | None, before: int | None) -> Figure:
    if number is None:
        return AudienceFigure(name)
    return AudienceFigure(name, whole(number), None if before is None else change(number, before), number=number)


def _landings(scope: Scope, audience: Audience, before: _Counts | None) -> Figure:
    """Visits that began with the page: page views of it that came from nowhere on the site."""
    path = audience.filters[0].value
    comparison = compared_days(scope)

    def count() -> Figure:
        landings = scope.taken.count_visits(path, **scope.bounds)
        changed: Change | None = None
        if comparison is not None and before is not None:
            then = scope.taken.count_visits(path, **bounds(comparison.days_before))
            changed = change(landings, then)
        return AudienceFigure("landings", whole(landings), changed, number=landings)

    try:
        return count()
    except PageStatsError as error:
        return AudienceFigure("landings", why=why_not_counted(scope, error))


def _ratio(seen: _Counts, before: _Counts | None) -> Figure:
    if not seen.visitors or seen.page_views is None:
        return AudienceFigure("views_per_visitor")
    views, then, changed = seen.page_views / seen.visitors, None, None
    if before is not None and before.visitors and before.page_views is not None:
        then = before.page_views / before.visitors
        changed = ratio_change(views, then, base=before.visitors)
    return AudienceFigure("views_per_visitor", ratio(views, beside=then), changed)
