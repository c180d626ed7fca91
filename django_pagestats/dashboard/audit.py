"""The page of the content audit: which pages gained and lost, which are new, and which the site has and nobody saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from django_pagestats.dashboard.drawing import days_name
from django_pagestats.dashboard.naming import href_of, visible
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.page import compared_text
from django_pagestats.dashboard.ranges import DAY, Days
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.sitemaps import Site, Stretch, names, stretches
from django_pagestats.dashboard.surroundings import scope_of_everybody, surroundings
from django_pagestats.dashboard.unseen import PAGE, page_number, unseen_of
from django_pagestats.exceptions import PageStatsError
from django_pagestats.stats.changes import Moved, most_changed, new_pages

T = TypeVar("T")

#: rows of each table, and of a page of those that nobody saw
ROWS = 10
UNSEEN_ROWS = 25
#: addresses of the site that the page looks at, and for how long it reads them
MOST_ADDRESSES = 50_000
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """A page as it is shown."""

    path: str
    text: str
    href: str
    page_views: str = ""
    #: of a page that gained or lost: those of before, and by how much it did, with its sign
    before: str = ""
    difference: str = ""
    first_seen_on: str = ""
    section: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """Who gained and who lost, or why nobody knows."""

    gainers: list[Row]
    losers: list[Row]
    #: of which days both numbers are; or why there are none
    told: str
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Pages that were first seen in the range, or why nobody knows."""

    rows: list[Row]
    told: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """Some of the pages that nobody saw."""

    rows: list[Row]
    told: list[str]
    #: a sentence for each sitemap that failed
    problems: list[str]
    has_sections: bool = False
    newer: str = ""
    older: str = ""
    csv: str = ""


def audit_page_of(query: Mapping[str, Any], *, using: str, now: datetime, site: Site) -> dict[str, Any]:
    """What the template needs; of any query, however hostile."""
    # before the snapshot: it is the site's code
    stretch = next(stretches(site, size=MOST_ADDRESSES, seconds=SECONDS)) if names() or site.objects else None
    with scope_of_everybody(query, using=using, now=now) as scope:
        return {
            **surroundings(scope, query, page=PAGE),
            "title": gettext("Content audit"),
            "changes": _or_why(lambda: _changes(scope), lambda why: Changes([], [], why, is_known=False)),
            "new": _or_why(lambda: _new(scope), lambda why: Newcomers([], why)),
            "unseen": None if stretch is None else _unseen(scope, stretch, query),
        }


def _or_why(panel: Callable[[], T], without: Callable[[str], T]) -> T:
    try:
        return panel()
    except PageStatsError as error:
        return without(str(error))


# -- gained and lost


def _changes(scope: Scope) -> Changes:
    sides = _sides(scope)
    if sides is None:
        return Changes([], [], _why_not_compared(scope), is_known=False)
    days, before = sides
    gainers, losers = most_changed(scope.taken, (days.start, days.end), (before.start, before.end), limit=ROWS)
    told = gettext("Page views of %(days)s, compared with %(before)s.") % {
        "days": days_name(days),
        "before": days_name(before),
    }
    if scope.has_today and scope.today not in days:
        told = f"{told} {gettext('Today is not over, so it is left out.')}"
    return Changes([_moved(page) for page in gainers], [_moved(page) for page in losers], told)


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


def _moved(page: Moved) -> Row:
    sign = "+" if page.difference > 0 else "\N{MINUS SIGN}"
    return Row(
        page.path,
        visible(page.path),
        href_of(page.path),
        page_views=whole(page.page_views),
        difference=f"{sign}{whole(abs(page.difference))}",
        before=whole(page.page_views_before),
    )


# -- new


def _new(scope: Scope) -> Newcomers:
    days = _counted(scope)
    if days is None:
        return Newcomers([], gettext("No page was seen in these days."))
    if scope.since is not None and days.start <= scope.since:
        return Newcomers([], gettext("These days begin with the first page view, so every page that was seen is new."))
    found, count = new_pages(scope.taken, (days.start, days.end), limit=ROWS)
    rows = [
        Row(
            page.path,
            visible(page.path),
            href_of(page.path),
            page_views=whole(page.page_views),
            first_seen_on=date_format(page.first_seen_on, "DATE_FORMAT"),
        )
        for page in found
    ]
    return Newcomers(rows, _told_of_new(len(rows), count, scope))


def _counted(scope: Scope) -> Days | None:
    """The days of the range up to today, if there can be page views in them."""
    days = scope.days.until(scope.today + timedelta(days=1))
    return None if scope.since is None or days.end <= scope.since or not days.count else days


def _told_of_new(shown: int, count: int, scope: Scope) -> str:
    if not count:
        return gettext("No page was seen in these days for the first time.")
    told = ngettext(
        "%(count)s page was first seen in these days.",
        "%(count)s pages were first seen in these days.",
        count,
    ) % {"count": whole(count)}
    if shown < count:
        most = gettext("Those with the most page views are shown.")
        told = f"{told} {most}"
    return told


# -- seen by nobody


def _unseen(scope: Scope, stretch: Stretch, query: Mapping[str, Any]) -> Unseen:
    problems = [
        gettext("The sitemap “%(name)s” failed, so its pages, or some, are missing here: %(error)s")
        % {"name": visible(section), "error": visible(error)}
        for section, error in stretch.problems
    ]
    if scope.is_left_out:
        return Unseen([], [gettext("The page views of these days are not counted yet.")], problems)
    found = unseen_of(scope, stretch.addresses)
    pages = max(1, -(-len(found.addresses) // UNSEEN_ROWS))
    page = min(page_number(query), pages)
    shown = found.addresses[UNSEEN_ROWS * (page - 1) : UNSEEN_ROWS * page]
    state = scope.state.query()

    def turned(to: int) -> str:
        return f"{state}&{PAGE}={to}" if 1 <= to <= pages else ""

    return Unseen(
        [Row(it.path, visible(it.path), href_of(it.path), section=visible(it.section)) for it in shown],
        [*_told_of(stretch, len(found.addresses), found.not_counted), *_shown_of(page, pages, len(shown))],
        problems,
        has_sections=len({it.section for it in stretch.addresses}) > 1,
        newer=turned(page - 1),
        older=turned(page + 1),
        csv=f"{state}&csv=unseen",
    )


def _shown_of(page: int, pages: int, shown: int) -> list[str]:
    if pages == 1:
        return []
    first = UNSEEN_ROWS * (page - 1) + 1
    rows = {"first": whole(first), "last": whole(first + shown - 1)}
    return [gettext("%(first)s to %(last)s of these are shown.") % rows]


def _told_of(stretch: Stretch, unseen: int, not_counted: int) -> list[str]:
    """How many there are of how many, and of what nothing is said."""
    count = len(stretch.addresses) - not_counted
    told = [
        ngettext(
            "Of %(all)s page that the site has, nobody saw %(count)s in these days.",
            "Of %(all)s pages that the site has, nobody saw %(count)s in these days.",
            count,
        )
        % {"all": whole(count), "count": whole(unseen)}
    ]
    left_out: Sequence[tuple[int, str, str]] = (
        (
            stretch.elsewhere,
            "%s address is of another host, and left out.",
            "%s addresses are of other hosts, and left out.",
        ),
        (
            stretch.not_recorded + not_counted,
            "%s address is of a page that is not recorded, and left out.",
            "%s addresses are of pages that are not recorded, and left out.",
        ),
    )
    told += [ngettext(one, many, count) % whole(count) for count, one, many in left_out if count]
    if stretch.is_cut:
        text = gettext("Only the first %s were looked at: the CSV has all.")
        told.append(text % whole(len(stretch.addresses)))
    return told
