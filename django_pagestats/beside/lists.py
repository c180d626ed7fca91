"""The page views of many objects' pages at once, each with a small line: for a column of a list of them.

However long the list, they are asked for together, when the first of them is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import cast

from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from django_pagestats.beside.recent import DAYS, Recent, alias_beside, recent
from django_pagestats.dashboard.drawing import line_of
from django_pagestats.dashboard.numbers import whole
from django_pagestats.harmless import harmlessly
from django_pagestats.merging.portions import portions
from django_pagestats.stats.listing import page_views_by_day, visitors_by_value
from django_pagestats.stats.questions import SETS_AT_A_TIME
from django_pagestats.stats.topics import PAGES
from django_pagestats.stats.trees import count_page_views_of_trees, page_views_of_trees

#: day -> page views; None: of all days together
OfDays = Mapping[date | None, int]
#: path -> page views, and path -> visitors
Both = tuple[dict[str, int], dict[str, int]]
MISSING = "The page views beside a list are missing"


@dataclass(frozen=True, slots=True)
class Number:
    """The page views of one page."""

    page_views: int
    #: day by day, or of some days each; empty where there is nothing to draw
    line: SafeString
    #: page views that are not folded yet are counted, too
    is_exact: bool
    #: distinct in all of these days; None: they were not asked for
    visitors: int | None = None

    @property
    def text(self) -> str:
        """Its page views; where not all are counted, that they are at least so many."""
        return whole(self.page_views) if self.is_exact else f"≥ {whole(self.page_views)}"

    @property
    def why(self) -> str:
        """Why they may be more; empty where they are not."""
        if self.is_exact:
            return ""
        return gettext("At least: very many page views are not folded yet, and not counted here.")


class Numbers:
    """Of the pages of one list; `None` in place of a number where there is no page, or no answer."""

    def __init__(
        self,
        paths: Collection[str],
        *,
        days: int = DAYS,
        counted: Mapping[str, int] | None = None,
        with_visitors: bool = False,
        include_subpages: bool = False,
    ) -> None:
        """`counted` are page views that the list is in the order of: these are shown, so that it is seen to be so."""
        self._paths = list(dict.fromkeys(paths))
        self._days, self._counted, self._with_visitors = days, counted or {}, with_visitors
        self._include_subpages = include_subpages

    def of(self, path: str | None) -> Number | None:
        return None if path is None else self._numbers.get(path)

    @cached_property
    def _numbers(self) -> dict[str, Number]:
        if not self._paths:
            return {}
        return harmlessly(self._ask, otherwise={}, what=MISSING, using=alias_beside())

    def _ask(self) -> dict[str, Number]:
        with recent(self._days) as now:
            found = days_of(self._paths, now, include_subpages=self._include_subpages)
            visitors = visitors_by_value(now.taken, PAGES.name, found, **now.bounds) if self._with_visitors else {}
            return {path: self._number(path, days, visitors.get(path), now) for path, days in found.items()}

    def _number(self, path: str, of_days: OfDays, visitors: int | None, now: Recent) -> Number:
        page_views = self._counted.get(path, sum(of_days.values()))
        return Number(page_views, line_beside(of_days, now), now.is_exact, visitors)


def days_of(paths: Collection[str], now: Recent, *, include_subpages: bool) -> Mapping[str, OfDays]:
    """path -> its page views day by day or, of very many pages below it, of all days under None."""
    if include_subpages:
        return page_views_of_trees(now.taken, paths, **now.bounds)
    return cast("dict[str, OfDays]", page_views_by_day(now.taken, PAGES.name, paths, **now.bounds))


def column_label(days: int, *, include_subpages: bool) -> str:
    """The head of a column of page views."""
    if include_subpages:
        return ngettext("Page views with subpages, %s day", "Page views with subpages, %s days", days) % days
    return ngettext("Page views, %s day", "Page views, %s days", days) % days


def line_beside(of_days: OfDays, now: Recent, label: str = "") -> SafeString:
    """The small line of a page; none where days are not told apart."""
    days = {day: page_views for day, page_views in of_days.items() if day is not None}
    return line_of(days, now.days, label) if len(days) == len(of_days) else SafeString("")


def page_views_of(paths: Collection[str], days: int = DAYS, *, include_subpages: bool = False) -> dict[str, int] | None:
    """path -> its page views of the last days, of any number of pages; None where they could not be counted."""

    def ask() -> dict[str, int]:
        with recent(days) as now:
            if include_subpages:
                return count_page_views_of_trees(now.taken, paths, **now.bounds)
            return now.taken.count_page_views_of(paths, **now.bounds)

    return harmlessly(ask, otherwise=None, what=MISSING, using=alias_beside())


def page_views_and_visitors_of(paths: Collection[str], days: int = DAYS) -> Both | None:
    """The same without subpages, with the distinct visitors of each, all of one instant."""

    def ask() -> Both:
        with recent(days) as now:
            page_views = now.taken.count_page_views_of(paths, **now.bounds)
            visitors = dict.fromkeys(page_views, 0)
            for portion in portions((path for path, count in page_views.items() if count), SETS_AT_A_TIME):
                visitors.update(visitors_by_value(now.taken, PAGES.name, portion, **now.bounds))
            return page_views, visitors

    return harmlessly(ask, otherwise=None, what=MISSING, using=alias_beside())
