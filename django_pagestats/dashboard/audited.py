"""What became of the pages in a range: which gained and lost page views, and which are new, for a page and a CSV."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext

from django_pagestats.dashboard.page import compared_text
from django_pagestats.dashboard.ranges import DAY, Days
from django_pagestats.dashboard.scope import Scope
from django_pagestats.exceptions import PageStatsError
from django_pagestats.stats.changes import Moved, NewPage, Pages, changed_pages, new_pages


class NotToldError(PageStatsError):
    """There is nothing to tell; the text says why."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The pages that gained and lost page views, and of which days both numbers are."""

    gainers: Pages[Moved]
    losers: Pages[Moved]
    days: Days
    before: Days


def changes_of(scope: Scope) -> Changes:
    """Raises NotToldError, and what `stats` does."""
    sides = _sides(scope)
    if sides is None:
        raise NotToldError(_why_not_compared(scope))
    days, before = sides
    found = changed_pages(scope.taken, (days.start, days.end), (before.start, before.end))
    return Changes(*found, days, before)


def newcomers_of(scope: Scope) -> Pages[NewPage]:
    """The pages that were first seen in the range; raises NotToldError, and what `stats` does."""
    if scope.is_left_out:
        raise NotToldError(gettext("The page views of these days are not counted yet."))
    days = scope.days.until(scope.today + timedelta(days=1))
    if scope.since is None or days.end <= scope.since or not days.count:
        raise NotToldError(gettext("No page was seen in these days."))
    return new_pages(scope.taken, (days.start, days.end))


def are_all_new(scope: Scope) -> bool:
    """Whether the range has the first page view in it: then there is no page that was seen before."""
    return scope.since is not None and scope.days.start <= scope.since


def _sides(scope: Scope) -> tuple[Days, Days] | None:
    """The days of the range that are over, and as many of those that it is compared with; None: nothing is compared.

    Without today: by hours there are no numbers of pages, and a day that has begun would make all pages lose.
    """
    comparison = scope.compared
    if comparison is None or scope.is_left_out:
        return None
    days = scope.days.until(scope.today)
    before = comparison.part(days, DAY) if days.count else None
    return None if before is None else (days, before)


def _why_not_compared(scope: Scope) -> str:
    if scope.is_left_out:
        return gettext("The page views of these days are not counted yet.")
    if scope.comparison is None:
        return gettext("These days are compared with nothing.")
    if scope.obstacle is not None:
        return compared_text(scope)
    return gettext("Hours are kept of the whole site only, so pages of a day that is not over are not compared.")
