"""What the dashboard shows is all in its URL: so that going back works, and a link shows the same.

Whatever is in a URL gives a state: what is no value of a parameter gives its default, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django_pagestats.dashboard.comparing import COMPARISONS, WEEKDAYS, Against
from django_pagestats.dashboard.filters import MOST_FILTERS, PAGES, Filter, filters_in, value_in
from django_pagestats.dashboard.ranges import (
    DEFAULT,
    FIRST_DAY,
    FREE,
    INTERVALS,
    LAST_DAY,
    MOST_DAYS,
    RANGES,
    Choice,
    Days,
)

#: characters of a search: those of a path
MOST_CHARACTERS = 2_048
#: of a list: the page views of nobody's site have more paths
MOST_PAGES = 10**6
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Table:
    """Which rows of a table are shown."""

    #: the beginning of what is looked for
    search: str = ""
    #: a column's name, with "-" before it for the greatest first; empty: the table's own order
    sort: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """All that a URL says. `tables` has those that differ from a table's beginning."""

    range: Choice = field(default_factory=Choice)
    against: Against = field(default_factory=Against)
    #: one of INTERVALS; empty: the usual one of the range
    interval: str = ""
    tables: Mapping[str, Table] = field(default_factory=dict)
    #: the page that it is about; empty: the whole site
    path: str = ""
    #: those of whom it is: visitors whom all of these have
    filters: tuple[Filter, ...] = ()
    #: the path of which is told how many came to it; empty: of none
    goal: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, Any], *, tables: Mapping[str, tuple[str, ...]], default: str = DEFAULT) -> State:
        """What a query (`request.GET`) says; `tables` are the names of tables with the columns that they sort by.

        `default` is the range of a query that names none.
        """
        name, interval = query.get("range"), query.get("interval")
        compare = query.get("compare")
        days, other_days = _days(query, "from", "to"), _days(query, "compare_from", "compare_to")
        is_free, is_against_free = name == FREE and days is not None, compare == FREE and other_days is not None
        parsed = {table: _table(query, table, columns) for table, columns in tables.items()}
        return cls(
            Choice(FREE, days) if is_free else Choice(name if name in RANGES else default),
            Against(FREE, other_days) if is_against_free else Against(compare if compare in COMPARISONS else WEEKDAYS),
            interval if interval in INTERVALS else "",
            {table: parsed for table, parsed in parsed.items() if parsed != Table()},
            value_in(query, "path"),
            filters_in(query, tables)[: MOST_FILTERS - bool(value_in(query, "path"))],
            value_in(query, "goal"),
        )

    @property
    def conditions(self) -> tuple[Filter, ...]:
        """All that makes its visitors fewer than those of the site, the page that it is about first."""
        page = (Filter(PAGES, self.path),) if self.path else ()
        return tuple(dict.fromkeys((*page, *self.filters)))

    def filtered(self, by: Filter) -> State:
        """The same of those whom a filter has, too; the lists are others then."""
        return replace(self, filters=tuple(dict.fromkeys((*self.filters, by))), tables={})

    def unfiltered(self, by: Filter) -> State:
        """The same without a filter or, if it is of that, without the page."""
        path = "" if by == Filter(PAGES, self.path) else self.path
        return replace(self, path=path, filters=tuple(it for it in self.filters if it != by), tables={})

    def of_everybody(self) -> State:
        """The same range and comparison, of the whole site, without a goal."""
        return replace(self.of_page(""), goal="")

    def of_page(self, path: str) -> State:
        """The same range and comparison, of one page."""
        return replace(self, path=path, filters=(), tables={})

    def table(self, name: str) -> Table:
        return self.tables.get(name, Table())

    def with_table(self, name: str, **changes: Any) -> State:
        """The same with another search, sort or page of a table; another search or sort begins at the first page."""
        changed = replace(self.table(name), **{"page": 1, **changes})
        return replace(self, tables={**self.tables, name: changed})

    def at_first_pages(self, **changes: Any) -> State:
        """The same with another range, comparison or interval: the rows are others, so each table begins anew."""
        tables = {name: replace(table, page=1) for name, table in self.tables.items()}
        return replace(self, tables=tables, **changes)

    def pairs(self) -> list[tuple[str, str]]:
        """What a query, or the hidden fields of a form, must say to give this state."""
        return [*self.parameters().items(), *(("f", it.text) for it in self.filters)]

    def beside_search(self, table: str) -> list[tuple[str, str]]:
        """What the form of a table's search says beside it; a search begins at the first page."""
        return [(name, value) for name, value in self.pairs() if name not in (f"{table}_q", f"{table}_p")]

    def parameters(self) -> dict[str, str]:
        """The same without the filters, which have one name for all.

        The range is always said: what is the default for one reader today may not be for another one.
        """
        said = {"range": self.range.name, **_said_days(self.range.free, "from", "to")}
        if self.against != Against():
            said |= {"compare": self.against.name, **_said_days(self.against.free, "compare_from", "compare_to")}
        if self.interval:
            said["interval"] = self.interval
        said |= {"path": self.path, "goal": self.goal}
        for name, table in sorted(self.tables.items()):
            said |= {f"{name}_q": table.search, f"{name}_sort": table.sort}
            said |= {f"{name}_p": str(table.page)} if table.page > 1 else {}
        return {key: value for key, value in said.items() if value}

    def query(self) -> str:
        """As it stands in a URL, with its question mark."""
        return f"?{urlencode(self.pairs())}"


def _said_days(days: Days | None, first: str, last: str) -> dict[str, str]:
    return {} if days is None else {first: days.start.isoformat(), last: days.last.isoformat()}


def _days(query: Mapping[str, Any], first: str, last: str) -> Days | None:
    """The days from the first to the last one, if these are dates of page views, and not too far apart."""
    start, end = _date(query.get(first)), _date(query.get(last))
    if start is None or end is None or not 0 <= (end - start).days < MOST_DAYS:
        return None
    return Days(start, end + timedelta(days=1))


def _date(text: object) -> date | None:
    if not isinstance(text, str) or not DATE.fullmatch(text):
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if FIRST_DAY <= found <= LAST_DAY else None


def _table(query: Mapping[str, Any], name: str, columns: tuple[str, ...]) -> Table:
    search, sort, page = (query.get(f"{name}_{key}") for key in ("q", "sort", "p"))
    return Table(
        search if isinstance(search, str) and _may_be_searched(search) else "",
        sort if isinstance(sort, str) and sort.removeprefix("-") in columns else "",
        list_page(page) or 1,
    )


def list_page(text: object) -> int | None:
    """The page of a list that a text names; None: it names none."""
    if not isinstance(text, str) or not re.fullmatch("[1-9][0-9]{0,6}", text) or int(text) > MOST_PAGES:
        return None
    return int(text)


def _may_be_searched(text: str) -> bool:
    """Whether a path may begin so: no database keeps a NUL, and none a half of a surrogate pair."""
    return len(text) <= MOST_CHARACTERS and "\0" not in text and not re.search("[\ud800-\udfff]", text)
