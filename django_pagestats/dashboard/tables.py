"""The table of pages: some rows of the list, with what is to be said of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import cast
from urllib.parse import quote

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext_lazy

from django_pagestats.charts import small_line
from django_pagestats.dashboard.figures import compared_days
from django_pagestats.dashboard.numbers import FEW, Change, change, is_hidden, share, whole
from django_pagestats.dashboard.ranges import Days, today_of
from django_pagestats.dashboard.scope import Scope, bounds
from django_pagestats.dashboard.state import Table
from django_pagestats.stats.answers import PageStats
from django_pagestats.stats.listing import Listed, Order, list_pages, page_views_by_day, visitors_by_page

ROWS = 10
#: points of a small line, at the most
MOST_LINE_POINTS = 90
#: control characters, line and paragraph separators, and what turns the direction of a text
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
HEADS: dict[str, Promise] = {
    "path": pgettext_lazy("heading", "Page"),
    "page_views": pgettext_lazy("figure", "Page views"),
    "visitors": pgettext_lazy("figure", "Visitors"),
}
ORDERS: dict[str, Order] = {"path": "value", "page_views": "page_views", "visitors": "visitors"}


@dataclass(frozen=True, slots=True)
class Head:
    """A column's title, as a link that sorts by it."""

    name: str
    label: Promise
    query: str
    #: "ascending", "descending" or empty: the list is in another order
    sorted: str


@dataclass(frozen=True, slots=True)
class Row:
    """A page as it is shown."""

    path: str
    #: the path as it is shown
    text: str
    #: where it is on the site; empty for what is no path of a URL
    href: str
    page_views: str
    visitors: str
    share: str
    change: Change | None
    line: SafeString


@dataclass(frozen=True, slots=True)
class PageTable:
    """Some rows of the list, and the ways to the others."""

    heads: list[Head]
    rows: list[Row]
    search: str
    count: str
    #: that the visitors of the rows are fewer people; for the public, which rows there are
    people: str
    #: by which days rows are compared, where hours would be wanted
    compared: str
    has_changes: bool
    has_lines: bool
    page: int
    pages: int
    newer: str
    older: str


def page_table(scope: Scope, page_views: int) -> PageTable:
    """The rows that the URL asks for; `page_views` are those of the site, of which a row has its share."""
    table = scope.state.table("pages")
    order, is_reversed = order_of(table.sort)

    def listed(page: int) -> Listed:
        return list_pages(
            scope.taken,
            prefix=table.search,
            order=order,
            is_reversed=is_reversed,
            limit=ROWS,
            offset=ROWS * (page - 1),
            **scope.bounds,
        )

    if scope.is_public:
        found, page, pages = _for_everybody(scope, table)
    else:
        found, page = listed(table.page), table.page
        pages = max(1, -(-found.count // ROWS))
        if page > pages:
            found, page = listed(pages), pages

    def turned(to: int) -> str:
        return scope.state.with_table("pages", page=to).query() if 1 <= to <= pages else ""

    return PageTable(
        heads=[_head(scope, name) for name in HEADS],
        rows=_rows(scope, found.rows, page_views),
        search=table.search,
        count=_count(found, page),
        people=_of_many() if scope.is_public else _people(found),
        compared=_compared(scope),
        has_changes=compared_days(scope) is not None,
        has_lines=scope.days.count > 1 and not scope.is_public,
        page=page,
        pages=pages,
        newer=turned(page - 1),
        older=turned(page + 1),
    )


def _for_everybody(scope: Scope, table: Table) -> tuple[Listed, int, int]:
    """Rows, their page, and the last page that is known: only those of many visitors, and not how many others are."""
    for page in dict.fromkeys((table.page, 1)):
        found = list_pages(
            scope.taken,
            prefix=table.search,
            order="visitors",
            least_visitors=FEW,
            limit=ROWS + 1,
            offset=ROWS * (page - 1),
            **scope.bounds,
        )
        if found.rows:
            break
    return replace(found, rows=found.rows[:ROWS], count=0), page, page + (len(found.rows) > ROWS)


def order_of(sort: str) -> tuple[Order, bool]:
    """The order that a column's name asks for, "-" before it for the greatest first.

    The fewest visitors first are not to be had: one would have to read the visitors of all pages.
    """
    order = ORDERS.get(sort.removeprefix("-"), "page_views")
    is_descending = sort.startswith("-") or not sort or order == "visitors"
    return order, is_descending if order == "value" else not is_descending


def _head(scope: Scope, name: str) -> Head:
    order, is_reversed = order_of(scope.state.table("pages").sort)
    if scope.is_public:
        return Head(name, HEADS[name], "", "descending" if name == "visitors" else "")
    is_descending = is_reversed == (order == "value")
    is_current = ORDERS[name] == order
    # the second push turns the order
    first = name if name == "path" else f"-{name}"
    other = name if first.startswith("-") else f"-{name}"
    is_at_first = is_current and is_descending == first.startswith("-")
    return Head(
        name,
        HEADS[name],
        scope.state.with_table("pages", sort=other if is_at_first and name != "visitors" else first).query(),
        ("descending" if is_descending else "ascending") if is_current else "",
    )


def _rows(scope: Scope, found: list[PageStats], page_views: int) -> list[Row]:
    paths = [row.path for row in found]
    comparison = compared_days(scope)
    before = {} if comparison is None else scope.taken.count_page_views_of(paths, **bounds(comparison.days_before))
    few_before: set[str] = set()
    if comparison is not None and scope.is_public:
        visitors = visitors_by_page(scope.taken, paths, **bounds(comparison.days_before))
        few_before = {path for path in paths if is_hidden(visitors[path], is_public=True)}
    # a line's points are exact: the public would see the days of one visitor
    lines = dict.fromkeys(paths, SafeString("")) if scope.is_public else _lines(scope, paths)
    return [
        Row(
            row.path,
            visible(row.path),
            href_of(row.path),
            whole(row.page_views),
            whole(row.visitors),
            share(row.page_views, page_views),
            change(row.page_views, before[row.path]) if row.path in before and row.path not in few_before else None,
            lines[row.path],
        )
        for row in found
    ]


def href_of(path: str) -> str:
    """A link to a page of this site; empty for what is none, such as "//elsewhere" or "javascript:"."""
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        return ""
    # a stored path is decoded: a per cent sign in it is one of its own
    return quote(path, safe="/?=&;:@+$,!*'()~")


def visible(path: str) -> str:
    """A path as it may be read: what is not seen, and would make it look like another one, is named."""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", path)


def _lines(scope: Scope, paths: list[str]) -> dict[str, SafeString]:
    """Page views day by day, or of some days each in a long range."""
    days = scope.days.until(today_of(scope.counted_until, scope.calendar) + timedelta(days=1))
    if days.count < 2:
        return dict.fromkeys(paths, SafeString(""))
    found = page_views_by_day(scope.taken, paths, start=days.start, end=days.end)
    step = -(-days.count // MOST_LINE_POINTS)
    return {path: small_line(_points(found[path].items(), days, step)) for path in paths}


def _points(of_days: Iterable[tuple[date, int]], days: Days, step: int) -> list[int | None]:
    values = [0] * -(-days.count // step)
    for day, page_views in of_days:
        values[(day - days.start).days // step] += page_views
    return cast("list[int | None]", values)


def _count(found: Listed, page: int) -> str:
    if not found.count:
        return ""
    first = ROWS * (page - 1) + 1
    return ngettext(
        "%(first)s to %(last)s of %(count)s page", "%(first)s to %(last)s of %(count)s pages", found.count
    ) % {
        "first": whole(first),
        "last": whole(first + len(found.rows) - 1),
        "count": whole(found.count),
    }


def _compared(scope: Scope) -> str:
    if scope.compared is None or not (scope.has_today or scope.is_left_out):
        return ""
    if scope.is_left_out:
        return gettext("Page views of these days are not counted yet, so pages are not compared.")
    if compared_days(scope) is None:
        return gettext("Hours are kept of the whole site only, so pages of a day that is not over are not compared.")
    return gettext("Hours are kept of the whole site only, so pages are compared by whole days, and today is not over.")


def _of_many() -> str:
    return gettext("Only pages that %s visitors or more saw are listed.") % whole(FEW)


def _people(found: Listed) -> str:
    rows = sum(row.visitors for row in found.rows)
    more = rows - found.people
    if not more:
        return ""
    return gettext("Rows %(rows)s, people %(people)s: %(more)s more because they saw several of these.") % {
        "rows": whole(rows),
        "people": whole(found.people),
        "more": whole(more),
    }
