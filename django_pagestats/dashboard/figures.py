"""The totals of a range, each with its change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from django.utils.formats import time_format
from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_pagestats import stats
from django_pagestats.dashboard.comparing import Comparison, Period
from django_pagestats.dashboard.numbers import (
    FEW,
    NOTHING,
    Change,
    change,
    few,
    is_few,
    is_hidden,
    ratio,
    ratio_change,
    whole,
)
from django_pagestats.dashboard.scope import Scope, bounds
from django_pagestats.dashboard.series import Count
from django_pagestats.exceptions import PageStatsError, UnknownDimensionError
from django_pagestats.stats.together import pending_of

#: how long somebody is "active now", here and wherever that is said
ACTIVE_MINUTES = 5
LABELS: dict[str, Promise] = {
    "page_views": pgettext_lazy("figure", "Page views"),
    "visitors": pgettext_lazy("figure", "Visitors"),
    "visits": pgettext_lazy("figure", "Visits"),
    "views_per_visit": _("Views per visit"),
    "single_page_visitors": _("Visitors who saw one page only"),
    "pages": pgettext_lazy("figure", "Pages seen"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number."""

    name: str
    text: str = NOTHING
    change: Change | None = None
    #: why there is no number
    why: str = ""
    #: the number itself, where others need it
    number: int | None = None

    @property
    def label(self) -> Promise:
        return LABELS[self.name]


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures, and the numbers that other panels need."""

    figures: list[Figure]
    page_views: int
    visitors: int
    #: None: they are not counted, or the reader is not told
    visits: int | None
    pages: int
    #: page views that no aggregate counts yet
    pending: int
    pending_is_exact: bool


def totals_of(scope: Scope) -> Totals:
    """All of one snapshot; for the public without the number of pages, by which one could tell that a few saw one more.

    Page views and visitors are compared up to the same hour; of the others days are kept, and a day that has begun only
    is not compared with a whole one.
    """
    pending = pending_of(scope.taken)
    page_views = scope.taken.count_page_views(**scope.bounds)
    if scope.is_left_out and not page_views:
        return Totals([Figure(name) for name in _names(scope)], 0, 0, None, 0, *pending)
    seen = Count(page_views, scope.taken.count_unique_visitors(**scope.bounds))
    pages = scope.taken.count_paths(**scope.bounds)
    figures = [*_of_hours(scope, seen), *_of_visits(scope, seen), _single(scope, seen), _pages(scope, pages)]
    order = _names(scope)
    return Totals(
        sorted((it for it in figures if it.name in order), key=lambda figure: order.index(figure.name)),
        *seen,
        next((figure.number for figure in figures if figure.name == "visits"), None),
        pages,
        *pending,
    )


def _names(scope: Scope) -> list[str]:
    return [name for name in LABELS if name != "pages" or not scope.is_public]


def ranges_of(scope: Scope) -> list[tuple[date | None, date | datetime | None]]:
    """The ranges of the site that `totals_of()` asks for."""
    ranges = ranges_of_visits(scope)
    return ranges if scope.compared is None else [*ranges, scope.compared.counted, scope.compared.before]


def ranges_of_visits(scope: Scope) -> list[tuple[date | None, date | datetime | None]]:
    """Those of them whose visits it asks for."""
    ranges: list[tuple[date | None, date | datetime | None]] = [(scope.bounds.get("start"), scope.bounds.get("end"))]
    if (comparison := compared_days(scope)) is not None:
        ranges.append((comparison.days_before.start, comparison.days_before.end))
    return ranges


def active_now(scope: Scope, beside: Iterable[int]) -> str:
    """The visitors of the last minutes, of now; `beside`: what else is told of visitors who may have all of them."""
    active = stats.active_visitors(ACTIVE_MINUTES, using=scope.using)
    if is_hidden(active, is_public=scope.is_public):
        return few()
    return NOTHING if scope.is_public and any(is_few(it - active) for it in beside) else whole(active)


def _seen(scope: Scope, period: Period) -> Count:
    start, end = period
    if start == end:
        return Count(0, 0)
    page_views = scope.taken.count_page_views(start=start, end=end)
    return Count(page_views, scope.taken.count_unique_visitors(start=start, end=end))


def _of_hours(scope: Scope, seen: Count) -> list[Figure]:
    changes: tuple[Change | None, Change | None] = (None, None)
    comparison = scope.compared
    if comparison is not None:
        is_whole = comparison.counted == Period(scope.days.start, scope.days.end)
        counted = seen if is_whole else _seen(scope, comparison.counted)
        before = _seen(scope, comparison.before)
        changes = (
            _change_of(counted.page_views, before.page_views, seen.page_views, scope),
            _change_of(counted.visitors, before.visitors, seen.visitors, scope),
        )
    if is_hidden(seen.visitors, is_public=scope.is_public):
        return [Figure("page_views"), Figure("visitors", few())]
    return [
        Figure("page_views", whole(seen.page_views), changes[0]),
        Figure("visitors", whole(seen.visitors), changes[1]),
    ]


def _change_of(counted: int, before: int, shown: int, scope: Scope) -> Change:
    """With the number that is compared, where that is not the shown one."""
    changed = change(counted, before)
    if counted == shown or scope.comparison is None or scope.comparison.until is None:
        return changed
    until = time_format(scope.comparison.until.astimezone(scope.calendar.zone).time(), "TIME_FORMAT")
    return replace(changed, counted=whole(counted), until=until)


def compared_days(scope: Scope) -> Comparison | None:
    """What whole days are compared with; None where the range is a day that is not over, or not folded as a whole."""
    comparison = scope.compared
    if comparison is None or scope.is_left_out:
        return None
    if comparison.counted_days.count == 1 and scope.today in comparison.counted_days:
        return None
    return comparison if comparison.days_before.count > 0 else None


def _of_visits(scope: Scope, seen: Count) -> list[Figure]:
    def count() -> list[Figure]:
        if is_hidden(seen.visitors, is_public=scope.is_public):
            return [Figure("visits"), Figure("views_per_visit")]
        visits = scope.taken.count_visits(**scope.bounds)
        if scope.is_public and (visits < FEW or is_few(seen.page_views - visits)):
            return [Figure("visits"), Figure("views_per_visit")]
        changes: tuple[Change | None, Change | None] = (None, None)
        of_visit, of_visit_before = seen.page_views / visits if visits else 0.0, None
        if (comparison := compared_days(scope)) is not None:
            then = bounds(comparison.days_before)
            before, views = scope.taken.count_visits(**then), scope.taken.count_page_views(**then)
            of_visit_before = views / before if before else None
            of_ratio = ratio_change(of_visit, of_visit_before, base=before) if of_visit_before is not None else None
            changes = change(visits, before), of_ratio
        return [
            Figure("visits", whole(visits), changes[0], number=visits),
            Figure("views_per_visit", ratio(of_visit, beside=of_visit_before) if visits else NOTHING, changes[1]),
        ]

    return _or_why(scope, ("visits", "views_per_visit"), count)


def _single(scope: Scope, seen: Count) -> Figure:
    def count() -> list[Figure]:
        visitors = scope.taken.count_single_page_visitors(**scope.bounds)
        if scope.is_public and (visitors < FEW or is_few(seen.visitors - visitors)):
            return [Figure("single_page_visitors")]
        changed = None
        if (comparison := compared_days(scope)) is not None:
            before = scope.taken.count_single_page_visitors(**bounds(comparison.days_before))
            changed = change(visitors, before)
        return [Figure("single_page_visitors", whole(visitors), changed)]

    return _or_why(scope, ("single_page_visitors",), count)[0]


def _pages(scope: Scope, pages: int) -> Figure:
    comparison = compared_days(scope)
    before = None if comparison is None else scope.taken.count_paths(**bounds(comparison.days_before))
    return Figure("pages", whole(pages), None if before is None else change(pages, before))


def _or_why(scope: Scope, names: tuple[str, ...], count: Callable[[], list[Figure]]) -> list[Figure]:
    """The figures or, where the generation does not have what they need, why there are none."""
    try:
        return count()
    except PageStatsError as error:
        why = why_not_counted(scope, error)
    return [Figure(name, why=why if name == names[0] else "") for name in names]


def why_not_counted(scope: Scope, error: PageStatsError) -> str:
    """What is said in place of a figure; the public is not told how to run the site."""
    if scope.is_public:
        return gettext("Not counted in these days.")
    if isinstance(error, UnknownDimensionError):
        return gettext(
            "These aggregates are of before it was counted: manage.py backfill_aggregates --rebuild counts it."
        )
    return str(error)
