"""A table: some rows of a list, of pages or of the values of a dimension, with what is to be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext_lazy

from django_pagestats.dashboard.drawing import line_of
from django_pagestats.dashboard.figures import Totals, compared_days
from django_pagestats.dashboard.filters import Filter
from django_pagestats.dashboard.kinds import Kind
from django_pagestats.dashboard.links import filter_query
from django_pagestats.dashboard.naming import Name, name_of
from django_pagestats.dashboard.numbers import Change, change, share, whole
from django_pagestats.dashboard.ranges import Days, today_of
from django_pagestats.dashboard.scope import Scope, bounds
from django_pagestats.stats.listing import (
    Listed,
    Order,
    Wanted,
    list_values,
    page_views_by_day,
    page_views_of,
)

#: of the pages, and of a dimension
ROWS, FEWER_ROWS = 10, 8
HEADS: dict[str, Promise] = {
    "page_views": pgettext_lazy("figure", "Page views"),
    "visitors": pgettext_lazy("figure", "Visitors"),
    "change": pgettext_lazy("heading", "Change"),
}
VISITS = pgettext_lazy("figure", "Visits")
ORDERS: dict[str, Order] = {
    "path": "value",
    "value": "value",
    "page_views": "page_views",
    "visitors": "visitors",
    "change": "change",
}


@dataclass(frozen=True, slots=True)
class Head:
    """A column's title, as a link that sorts by it."""

    name: str
    label: str | Promise
    query: str
    #: "ascending", "descending" or empty: the list is in another order
    sorted: str
    #: beside the first column, others may be of texts
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A value as it is shown."""

    value: str
    name: Name
    #: the dashboard of those who have it; empty: there is no way there
    query: str
    page_views: str
    visitors: str
    share: str
    change: Change | None
    line: SafeString


@dataclass(frozen=True, slots=True)
class ListTable:
    """Some rows of the list, and the ways to the others."""

    kind: Kind
    heads: list[Head]
    #: of the column of changes; None: there are none
    change: Head | None
    rows: list[Row]
    search: str
    #: what a form says beside its search
    hidden: list[tuple[str, str]]
    count: str
    #: that the visitors of the rows are fewer people
    people: str
    #: by which days rows are compared, where hours would be wanted
    compared: str
    has_lines: bool
    page: int
    pages: int
    newer: str
    older: str
    #: the query of all rows as CSV
    csv: str
    #: why there is nothing to show
    why: str = ""


def table_of(scope: Scope, kind: Kind, totals: Totals) -> ListTable:
    """The rows that the URL asks for; raises DimensionError, and TailTooLongError for a named dimension."""
    asked, rows = scope.state.table(kind.name).page, rows_of(kind)
    wanted = wanted_of(scope, kind)

    def listed(page: int) -> Listed:
        return list_values(scope.taken, wanted, limit=rows, offset=rows * (page - 1))

    found, page = listed(asked), asked
    pages = max(1, -(-found.count // rows))
    if page > pages:
        found, page = listed(pages), pages
    values = [row.value for row in found.rows]
    before, lines = _before(scope, kind, values), _lines(scope, kind, values)
    return made_table(scope, kind, totals, found, before, lines, page=page, pages=pages)


def made_table(
    scope: Scope,
    kind: Kind,
    totals: Totals,
    found: Listed,
    before: Mapping[str, int],
    lines: Mapping[str, SafeString],
    *,
    page: int = 1,
    pages: int = 1,
) -> ListTable:
    """The table of some rows, with the page views before of those that may be compared, and their small lines."""

    def turned(to: int) -> str:
        return scope.state.with_table(kind.name, page=to).query() if 1 <= to <= pages else ""

    base = totals.visits if kind.is_of_visits else totals.page_views
    return ListTable(
        kind=kind,
        heads=[_head(scope, kind, name) for name in (kind.column, "page_views", "visitors")],
        change=None if compared_days(scope) is None else _head(scope, kind, "change"),
        rows=[
            Row(
                row.value,
                name_of(kind, row.value),
                filter_query(scope, Filter(kind.name, row.value)),
                whole(row.page_views),
                whole(row.visitors),
                share(row.page_views, base or 0),
                change(row.page_views, before[row.value]) if row.value in before else None,
                lines.get(row.value, SafeString("")),
            )
            for row in found.rows
        ],
        search=scope.state.table(kind.name).search,
        hidden=scope.state.beside_search(kind.name),
        count=_count(kind, found, page) if kind.are_pages or pages > 1 else "",
        people=_people(kind, found),
        compared=_compared(scope) if kind.are_pages else "",
        has_lines=bool(lines),
        page=page,
        pages=pages,
        newer=turned(page - 1),
        older=turned(page + 1),
        csv=f"{scope.state.query()}&csv={kind.name}",
    )


def rows_of(kind: Kind) -> int:
    """How many are shown at a time."""
    return ROWS if kind.are_pages else FEWER_ROWS


def wanted_of(scope: Scope, kind: Kind) -> Wanted:
    """The list, in the order that the URL asks for."""
    table, comparison = scope.state.table(kind.name), compared_days(scope)
    order, is_reversed = order_of(table.sort)
    before = None if comparison is None else (comparison.days_before.start, comparison.days_before.end)
    return Wanted(kind.dimension, table.search, order, is_reversed, before=before, **scope.bounds)


def order_of(sort: str) -> tuple[Order, bool]:
    """The order that a column's name asks for, "-" before it for the greatest first.

    The fewest visitors first are not to be had: one would have to read the visitors of all values.
    """
    order = ORDERS.get(sort.removeprefix("-"), "page_views")
    is_descending = sort.startswith("-") or not sort or order == "visitors"
    return order, is_descending if order == "value" else not is_descending


def _head(scope: Scope, kind: Kind, name: str) -> Head:
    order, is_reversed = order_of(scope.state.table(kind.name).sort)
    label = HEADS.get(name, kind.head)
    if name == "page_views" and kind.is_of_visits:
        label = VISITS
    is_descending = is_reversed == (order == "value")
    is_current = ORDERS[name] == order
    # the second push turns the order
    first = name if name == kind.column else f"-{name}"
    other = name if first.startswith("-") else f"-{name}"
    is_at_first = is_current and is_descending == first.startswith("-")
    return Head(
        name,
        label,
        scope.state.with_table(kind.name, sort=other if is_at_first and name != "visitors" else first).query(),
        ("descending" if is_descending else "ascending") if is_current else "",
    )


def _before(scope: Scope, kind: Kind, values: Sequence[str]) -> dict[str, int]:
    """The page views of before."""
    comparison = compared_days(scope)
    if comparison is None:
        return {}
    return page_views_of(scope.taken, kind.dimension, values, **bounds(comparison.days_before))


def _lines(scope: Scope, kind: Kind, values: Sequence[str]) -> dict[str, SafeString]:
    """Page views day by day, or of some days each in a long range."""
    days = days_of_lines(scope)
    if days is None:
        return {}
    found = page_views_by_day(scope.taken, kind.dimension, values, start=days.start, end=days.end)
    return {value: line_of(found[value], days) for value in values}


def days_of_lines(scope: Scope) -> Days | None:
    """Up to where all is counted; None: there are no lines."""
    days = scope.chart_days.until(today_of(scope.counted_until, scope.calendar) + timedelta(days=1))
    return days if days.count > 1 else None


def _count(kind: Kind, found: Listed, page: int) -> str:
    if not found.count:
        return ""
    first = rows_of(kind) * (page - 1) + 1
    if kind.are_pages:
        told = ngettext(
            "%(first)s to %(last)s of %(count)s page", "%(first)s to %(last)s of %(count)s pages", found.count
        )
    else:
        told = ngettext("%(first)s to %(last)s of %(count)s", "%(first)s to %(last)s of %(count)s", found.count)
    return told % {"first": whole(first), "last": whole(first + len(found.rows) - 1), "count": whole(found.count)}


def _compared(scope: Scope) -> str:
    if scope.compared is None or not (scope.has_today or scope.is_left_out):
        return ""
    if scope.is_left_out:
        return gettext("Page views of these days are not counted yet, so pages are not compared.")
    if compared_days(scope) is None:
        return gettext("Hours are kept of the whole site only, so pages of a day that is not over are not compared.")
    return gettext("Hours are kept of the whole site only, so pages are compared by whole days, and today is not over.")


def _people(kind: Kind, found: Listed) -> str:
    rows = sum(row.visitors for row in found.rows)
    more = rows - found.people
    if not more:
        return ""
    if kind.are_pages:
        told = gettext("Rows %(rows)s, people %(people)s: %(more)s more because they saw several of these.")
    else:
        told = gettext("Rows %(rows)s, people %(people)s: %(more)s more because they are in several of these.")
    return told % {"rows": whole(rows), "people": whole(found.people), "more": whole(more)}
