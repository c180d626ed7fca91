"""The page of the content audit: which pages gained and lost, which are new, and which the site has and nobody saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from django_pagestats.dashboard.audit_tables import (
    GAINERS,
    LOSERS,
    NEW,
    TABLES,
    UNSEEN,
    AuditKind,
    AuditTable,
    Row,
    in_wanted_order,
    table_of,
)
from django_pagestats.dashboard.audited import are_all_new, changes_of, newcomers_of
from django_pagestats.dashboard.drawing import days_name
from django_pagestats.dashboard.naming import href_of, visible
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.sitemaps import Site, Stretch, names, stretches
from django_pagestats.dashboard.surroundings import scope_of_everybody, surroundings
from django_pagestats.dashboard.unseen import unseen_of, wanted_of
from django_pagestats.exceptions import PageStatsError
from django_pagestats.stats.changes import Moved, NewPage, Pages

T = TypeVar("T")

#: addresses of the site that the page looks at, and for how long it reads them
MOST_ADDRESSES = 50_000
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Changes:
    """Who gained and who lost, or why nobody knows."""

    #: of which days both numbers are; or why there are none
    told: str
    #: gainers and losers
    tables: Sequence[AuditTable] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """Some of the pages that nobody saw."""

    table: AuditTable
    #: a sentence for each sitemap that failed
    problems: list[str]


def audit_page_of(query: Mapping[str, Any], *, using: str, now: datetime, site: Site) -> dict[str, Any]:
    """What the template needs; of any query, however hostile."""
    # before the snapshot: it is the site's code
    stretch = next(stretches(site, size=MOST_ADDRESSES, seconds=SECONDS)) if names() or site.objects else None
    with scope_of_everybody(query, using=using, now=now, tables=TABLES) as scope:
        return {
            **surroundings(scope, query, tables=TABLES),
            "title": gettext("Content audit"),
            "changes": _or_why(lambda: _changes(scope), Changes),
            "new": _or_why(lambda: _new(scope), lambda why: AuditTable(NEW, [why])),
            "unseen": None if stretch is None else _unseen(scope, stretch),
        }


def _or_why(panel: Callable[[], T], without: Callable[[str], T]) -> T:
    try:
        return panel()
    except PageStatsError as error:
        return without(str(error))


# -- gained and lost


def _changes(scope: Scope) -> Changes:
    found = changes_of(scope)
    told = gettext("Page views of %(days)s, compared with %(before)s.") % {
        "days": days_name(found.days),
        "before": days_name(found.before),
    }
    if scope.has_today and scope.today not in found.days:
        told += " " + gettext("Today is not over, so it is left out.")
    gained, lost = len(found.gainers), len(found.losers)
    of_gainers = ngettext("%(count)s page gained some.", "%(count)s pages gained some.", gained)
    of_losers = ngettext("%(count)s page lost some.", "%(count)s pages lost some.", lost)
    return Changes(
        told,
        [
            _moved(scope, GAINERS, found.gainers, of_gainers if gained else gettext("No page gained any.")),
            _moved(scope, LOSERS, found.losers, of_losers if lost else gettext("No page lost any.")),
        ],
    )


def _moved(scope: Scope, kind: AuditKind, every: Pages[Moved], told: str) -> AuditTable:
    """`told` may have the number of `every` in it."""
    pages = in_wanted_order(scope, kind, every)

    def rows_from(offset: int) -> list[Row]:
        return [_moved_row(page) for page in pages.rows(kind.size, offset=offset)]

    return table_of(scope, kind, rows_from, count=len(pages), told=[told % {"count": whole(len(every))}])


def _moved_row(page: Moved) -> Row:
    sign = "+" if page.difference > 0 else "\N{MINUS SIGN}"
    return Row(
        page.path,
        visible(page.path),
        href_of(page.path),
        difference=f"{sign}{whole(abs(page.difference))}",
        page_views=whole(page.page_views),
        before=whole(page.page_views_before),
    )


# -- new


def _new(scope: Scope) -> AuditTable:
    every = newcomers_of(scope)
    if not every:
        return AuditTable(NEW, [gettext("No page was seen in these days for the first time.")])
    pages = in_wanted_order(scope, NEW, every)
    told = ngettext(
        "%(count)s page was first seen in these days.",
        "%(count)s pages were first seen in these days.",
        len(every),
    ) % {"count": whole(len(every))}
    all_new = [gettext("These days begin with the first page view, so every page that was seen is new.")]

    def rows_from(offset: int) -> list[Row]:
        return [_new_row(page) for page in pages.rows(NEW.size, offset=offset)]

    return table_of(scope, NEW, rows_from, count=len(pages), told=[told, *(all_new if are_all_new(scope) else ())])


def _new_row(page: NewPage) -> Row:
    return Row(
        page.path,
        visible(page.path),
        href_of(page.path),
        page_views=whole(page.page_views),
        first_seen_on=date_format(page.first_seen_on, "DATE_FORMAT"),
    )


# -- seen by nobody


def _unseen(scope: Scope, stretch: Stretch) -> Unseen:
    problems = [
        gettext("The sitemap “%(name)s” failed, so its pages, or some, are missing here: %(error)s")
        % {"name": visible(section), "error": visible(error)}
        for section, error in stretch.problems
    ]
    if scope.is_left_out:
        return Unseen(AuditTable(UNSEEN, [gettext("The page views of these days are not counted yet.")]), problems)
    found = unseen_of(scope, stretch.addresses)
    wanted = wanted_of(found.addresses, scope.state.table(UNSEEN.name))
    has_sections = len({it.section for it in stretch.addresses}) > 1

    def rows_from(offset: int) -> list[Row]:
        return [
            Row(it.path, visible(it.path), href_of(it.path), section=visible(it.section) if has_sections else "")
            for it in wanted[offset : offset + UNSEEN.size]
        ]

    told = _told_of(stretch, len(found.addresses), found.not_counted)
    columns = None if has_sections else [UNSEEN.column]
    return Unseen(table_of(scope, UNSEEN, rows_from, count=len(wanted), told=told, columns=columns), problems)


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
    if elsewhere := stretch.elsewhere:
        text = ngettext(
            "%s address is of another host, and left out.", "%s addresses are of other hosts, and left out.", elsewhere
        )
        told.append(text % whole(elsewhere))
    if not_recorded := stretch.not_recorded + not_counted:
        text = ngettext(
            "%s address is of a page that is not recorded, and left out.",
            "%s addresses are of pages that are not recorded, and left out.",
            not_recorded,
        )
        told.append(text % whole(not_recorded))
    if stretch.is_cut:
        text = gettext("Only the first %s were looked at: the CSV has all.")
        told.append(text % whole(len(stretch.addresses)))
    return told
