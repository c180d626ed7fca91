"""The tables of the content audit: what each is, and some rows of it as the URL asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, pgettext_lazy

from django_pagestats.dashboard.naming import visible
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.tables import Head
from django_pagestats.stats.changes import PATH, Pages

T = TypeVar("T")

#: column -> what pages are sorted by
NUMBERS = {
    "path": PATH,
    "page_views": "page_views",
    "page_views_before": "page_views_before",
    "change": "difference",
    "first_seen_on": "first_seen",
}
#: columns that are sorted from A to Z first, the others from the greatest number
TEXTS = frozenset({"path", "sitemap"})

PAGE = pgettext_lazy("heading", "Page")
PAGE_VIEWS = pgettext_lazy("figure", "Page views")
MOVED = {
    "path": PAGE,
    "change": pgettext_lazy("heading", "Change"),
    "page_views": PAGE_VIEWS,
    "page_views_before": pgettext_lazy("heading", "Before"),
}


@dataclass(frozen=True, slots=True)
class AuditKind:
    """What the rows of a table are."""

    #: in URLs, in the ids of the page, and the name of its CSV
    name: str
    title: Promise
    #: column -> its head, the path first; by each it can be sorted
    columns: Mapping[str, Promise]
    #: the order of rows that nobody has sorted; empty: that of the site
    usual: str = ""
    #: rows that are shown at a time
    size: int = 10

    # what the templates of tables ask
    column = "path"
    are_paths = True
    are_pages = False


GAINERS = AuditKind("gainers", pgettext_lazy("heading", "Gained the most page views"), MOVED, "-change")
LOSERS = AuditKind("losers", pgettext_lazy("heading", "Lost the most page views"), MOVED, "change")
NEW = AuditKind(
    "new",
    pgettext_lazy("heading", "New pages"),
    {"path": PAGE, "page_views": PAGE_VIEWS, "first_seen_on": pgettext_lazy("heading", "First seen on")},
    "-page_views",
)
UNSEEN = AuditKind(
    "unseen",
    pgettext_lazy("heading", "Pages that nobody saw"),
    {"path": PAGE, "sitemap": pgettext_lazy("heading", "Sitemap")},
    size=25,
)
#: name -> the columns that it sorts by
TABLES = {kind.name: tuple(kind.columns) for kind in (GAINERS, LOSERS, NEW, UNSEEN)}


@dataclass(frozen=True, slots=True)
class Row:
    """A page as it is shown; what its table does not tell is empty."""

    path: str
    text: str
    href: str
    #: page views less those of before, with its sign
    difference: str = ""
    page_views: str = ""
    before: str = ""
    first_seen_on: str = ""
    section: str = ""


@dataclass(frozen=True, slots=True)
class AuditTable:
    """Some rows, and the ways to the others; or, in `told`, why there are none."""

    kind: AuditKind
    #: sentences
    told: Sequence[str]
    rows: Sequence[Row] = ()
    heads: Sequence[Head] = ()
    search: str = ""
    #: what a form says beside its search
    hidden: Sequence[tuple[str, str]] = ()
    newer: str = ""
    older: str = ""
    #: the query of all rows as CSV; empty where there are none
    csv: str = ""
    #: there is something to search in
    has_search: bool = False


def table_of(
    scope: Scope,
    kind: AuditKind,
    rows_from: Callable[[int], Sequence[Row]],
    *,
    count: int,
    told: Sequence[str],
    columns: Sequence[str] | None = None,
) -> AuditTable:
    """The rows that the URL asks for of a list of `count`; `rows_from(n)` gives those from the nth on, from 0."""
    state, table = scope.state, scope.state.table(kind.name)
    pages = max(1, -(-count // kind.size))
    page = min(table.page, pages)

    def turned(to: int) -> str:
        return state.with_table(kind.name, page=to).query() if 1 <= to <= pages else ""

    rows = rows_from(kind.size * (page - 1))
    return AuditTable(
        kind,
        [*told, *_found_of(count, table.search), *_shown_of(kind, page, pages, len(rows))],
        rows,
        [_head(scope, kind, column) for column in columns or kind.columns],
        table.search,
        state.beside_search(kind.name),
        turned(page - 1),
        turned(page + 1),
        f"{state.with_table(kind.name).query()}&csv={kind.name}" if rows else "",
        has_search=bool(table.search) or pages > 1,
    )


def in_wanted_order(scope: Scope, kind: AuditKind, pages: Pages[T]) -> Pages[T]:
    """Those that the URL searches for, in the order that it asks for."""
    table = scope.state.table(kind.name)
    found = pages.beginning_with(table.search)
    if not table.sort:
        return found
    return found.by(NUMBERS[table.sort.removeprefix("-")], is_descending=table.sort.startswith("-"))


def _head(scope: Scope, kind: AuditKind, column: str) -> Head:
    sort = scope.state.table(kind.name).sort or kind.usual
    is_current = sort.removeprefix("-") == column
    first = _first_order(kind, column)
    # the second push turns the order
    other = column if first.startswith("-") else f"-{column}"
    return Head(
        column,
        kind.columns[column],
        scope.state.with_table(kind.name, sort=other if sort == first else first).query(),
        ("descending" if sort.startswith("-") else "ascending") if is_current else "",
        is_text=column in TEXTS,
    )


def _first_order(kind: AuditKind, column: str) -> str:
    """What the first push on a column's head asks for."""
    if kind.usual.removeprefix("-") == column:
        return kind.usual
    return column if column in TEXTS else f"-{column}"


def _found_of(count: int, search: str) -> list[str]:
    if not search:
        return []
    told = ngettext(
        "%(count)s of them begins with “%(search)s”.", "%(count)s of them begin with “%(search)s”.", count
    ) % {"count": whole(count), "search": visible(search)}
    return [told]


def _shown_of(kind: AuditKind, page: int, pages: int, shown: int) -> list[str]:
    if pages == 1:
        return []
    first = kind.size * (page - 1) + 1
    rows = {"first": whole(first), "last": whole(first + shown - 1)}
    return [gettext("%(first)s to %(last)s of these are shown.") % rows]
