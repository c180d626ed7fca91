"""Which pages gained and lost page views between two ranges, and which are new: all of them, in any order.

One statement adds up what is folded of all pages, and the page views of the tail are added. Pages are numbers here; the
paths are read of those that are shown, or searched for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, NamedTuple, TypeVar

from pyroaring import BitMap

from django_pagestats.buckets import Granularity, day_date, day_number
from django_pagestats.ids import known_subject_ids
from django_pagestats.merging.portions import portions
from django_pagestats.merging.prefixes import begins
from django_pagestats.merging.reading import Where, can_hold
from django_pagestats.models import Subject
from django_pagestats.stats.questions import VALUES_PER_STATEMENT, listed
from django_pagestats.stats.ranges import EVERYTHING, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.tail import ShortTail
from django_pagestats.stats.tail.base import too_long
from django_pagestats.stats.topics import PAGES
from django_pagestats.stats.wheres import values_where

Row = TypeVar("Row")

#: days of two ranges that are far apart, which a statement names one by one
MOST_NAMED_DAYS = 1_000

#: pages whose paths are read at a time, where all are wanted
PORTION = 500
#: what pages are sorted by beside their numbers
PATH = "path"
#: a page by its subject's id or, where it has none yet, by its path
Page = int | str
Days = tuple[date, date]


@dataclass(frozen=True, slots=True)
class Moved:
    """The page views of a page in a range, and in the one before."""

    path: str
    page_views: int
    page_views_before: int

    @property
    def difference(self) -> int:
        return self.page_views - self.page_views_before


@dataclass(frozen=True, slots=True)
class NewPage:
    """A page that was first seen in a range."""

    path: str
    #: those in the range
    page_views: int
    first_seen_on: date


class _Counts(NamedTuple):
    """The page views of a page in both ranges."""

    page_views: int
    page_views_before: int

    @property
    def difference(self) -> int:
        return self.page_views - self.page_views_before


class _Beginning(NamedTuple):
    """The page views of a page in a range, and from its beginning on to this day; and its first day from there on."""

    page_views: int
    since: int
    first_seen: int


class Pages(Generic[Row]):
    """Pages in an order, as numbers: their paths are read of the rows that are asked for, while the snapshot lasts."""

    def __init__(self, taken: Snapshot, counted: Sequence[tuple[Page, Any]], row: Callable[[str, Any], Row]) -> None:
        self._taken, self._counted, self._row = taken, counted, row

    def __len__(self) -> int:
        return len(self._counted)

    def __iter__(self) -> Iterator[Row]:
        """All rows, of which a portion is in memory at a time."""
        for portion in portions(self._counted, PORTION):
            yield from self._rows(portion)

    def rows(self, limit: int, *, offset: int = 0) -> list[Row]:
        return self._rows(self._counted[offset : offset + limit])

    def beginning_with(self, prefix: str) -> Pages[Row]:
        """Those whose paths begin so, in the same order."""
        paths = self._paths(prefix) if prefix else {}
        found = [it for it in self._counted if it[0] in paths] if prefix else self._counted
        return Pages(self._taken, found, self._row)

    def by(self, number: str, *, is_descending: bool) -> Pages[Row]:
        """In the order of `page_views`, `page_views_before`, `difference`, `first_seen` or PATH (by code points).

        Of equal pages that which was known first comes first.
        """
        if number == PATH:
            paths = self._paths("")
            found = sorted(self._counted, key=lambda it: paths[it[0]], reverse=is_descending)
        else:
            sign = -1 if is_descending else 1
            found = sorted(self._counted, key=lambda it: (sign * getattr(it[1], number), *_order(it[0])))
        return Pages(self._taken, found, self._row)

    def _rows(self, counted: Sequence[tuple[Page, Any]]) -> list[Row]:
        paths = self._taken._ask(lambda moment: _paths_of(moment, [page for page, _ in counted]))
        return [self._row(paths[page], counts) for page, counts in counted]

    def _paths(self, prefix: str) -> dict[Page, str]:
        """The paths of those that begin so: one statement, however many there are."""
        pages = {page for page, _ in self._counted}
        return self._taken._ask(lambda moment: _beginning(moment, pages, prefix))


def changed_pages(taken: Snapshot, days: Days, before: Days) -> tuple[Pages[Moved], Pages[Moved]]:
    """The pages that gained page views, and those that lost some, those that did so the most first.

    Both ranges are `[start, end)`. The pages that changed are in memory, as numbers. Raises TailTooLongError.
    """
    spans = _span(*days), _span(*before)
    counted = taken._ask(lambda moment: _changed(moment, *spans))
    gained = [(page, counts) for page, counts in counted.items() if counts.difference > 0]
    lost = [(page, counts) for page, counts in counted.items() if counts.difference < 0]

    def row(path: str, counts: _Counts) -> Moved:
        return Moved(path, *counts)

    return (
        Pages(taken, gained, row).by("difference", is_descending=True),
        Pages(taken, lost, row).by("difference", is_descending=False),
    )


def new_pages(taken: Snapshot, days: Days) -> Pages[NewPage]:
    """The pages that nobody saw before a range and somebody in it, those with the most page views first.

    All pages that were seen from its beginning on are in memory, as numbers. Raises TailTooLongError.
    """
    span = _span(*days)
    counted = taken._ask(lambda moment: _new_pages(moment, span))

    def row(path: str, it: _Beginning) -> NewPage:
        return NewPage(path, it.page_views, day_date(it.first_seen))

    return Pages(taken, list(counted.items()), row).by("page_views", is_descending=True)


def seen_of(taken: Snapshot, paths: Iterable[str], *, start: date | None = None, end: date | None = None) -> set[str]:
    """Those of many paths that were viewed in a range: the ids of all pages of the range are read once, as a set.

    Raises TailTooLongError.
    """
    asked = dict.fromkeys(listed(paths))
    return taken._ask(lambda moment: _seen_of(moment, asked, start, end))


def _span(start: date, end: date) -> Span:
    return Span(Granularity.DAY, day_number(start), day_number(end))


def _changed(moment: Moment, now: Span, before: Span) -> dict[Page, _Counts]:
    """The pages that have other page views in one range than in the other, and some that have as many."""
    moment.folded.begin()  # before the ids are looked up: a page that these aggregates count has its id by then
    tailed = _tailed(moment, _hull(now, before))
    subjects = _ids_of(moment, tailed)
    folded = [moment.folded.subject_totals(span, PAGES, subjects.values()) for span in (now, before)]
    counted = _folded_changes(moment, now, before)
    for path, days in tailed.items():
        counted[subjects.get(path, path)] = _Counts(
            *(
                totals.get(subjects.get(path, 0), 0) + _within(days, span)
                for span, totals in zip((now, before), folded, strict=True)
            )
        )
    return counted


def _order(page: Page) -> tuple[bool, int, bytes]:
    """Of equal pages that which was known first; those that have no id yet by their paths."""
    return (True, 0, page.encode()) if isinstance(page, str) else (False, page, b"")


def _folded_changes(moment: Moment, now: Span, before: Span) -> dict[Page, _Counts]:
    """The pages of which the folded part has more, or fewer, page views in one range than in the other."""
    in_now, in_before = _sum_within(now), _sum_within(before)
    rows = moment.folded.rows(
        # names for both: MariaDB takes no two columns that are called alike, as those of equal ranges would be
        ["a.subject", f"{in_now} AS in_range", f"{in_before} AS in_range_before"],
        _where_of_both(now, before),
        tail=f"GROUP BY a.subject HAVING {in_now} <> {in_before}",
    )
    return {subject: _Counts(int(page_views), int(others)) for subject, page_views, others in rows}


def _sum_within(span: Span) -> str:
    """The page views of those of the days that are read that are in a span."""
    return f"SUM(CASE WHEN a.bucket >= {span.low:d} AND a.bucket < {span.high:d} THEN a.page_views ELSE 0 END)"


def _where_of_both(now: Span, before: Span) -> Where:
    """All days of both; where they are far apart not those between."""
    hull = _hull(now, before)
    few = [span.buckets(MOST_NAMED_DAYS) for span in (now, before)]
    named = None if None in few else sorted({day for days in few for day in days or ()})
    is_apart = named is not None and hull.buckets(len(named)) is None
    return values_where(hull, PAGES, buckets=named if is_apart else None)


def _hull(now: Span, before: Span) -> Span:
    """Both, and what is between them."""
    lows, highs = [(it.low or 0) for it in (now, before)], [(it.high or 0) for it in (now, before)]
    return Span(Granularity.DAY, min(lows), max(highs))


def _new_pages(moment: Moment, span: Span) -> dict[Page, _Beginning]:
    since, always = Span(Granularity.DAY, span.low), moment.span(EVERYTHING)
    rows = moment.folded.rows(
        ["a.subject", _sum_within(span), "SUM(a.page_views)", "MIN(a.bucket)"],
        values_where(since, PAGES),
        tail="GROUP BY a.subject",
    )
    found: dict[Page, _Beginning] = {subject: _Beginning(*map(int, counts)) for subject, *counts in rows}
    tailed, tailed_in_all = _tailed(moment, since), _tailed(moment, always)
    subjects = _ids_of(moment, {**tailed, **tailed_in_all})
    for path, days in tailed.items():
        page = subjects.get(path, path)
        counted = found.get(page, _Beginning(0, 0, min(days)))
        found[page] = _Beginning(
            counted.page_views + _within(days, span), counted.since + sum(days.values()), min(counted.first_seen, *days)
        )
    seen = {page: it for page, it in found.items() if it.page_views}
    in_all = Counter[Page](moment.folded.subject_totals(always, PAGES, [it for it in seen if isinstance(it, int)]))
    for path, days in tailed_in_all.items():
        in_all[subjects.get(path, path)] += sum(days.values())
    # whoever has as many page views since then as in all has none of before
    return {page: it for page, it in seen.items() if it.since == in_all[page]}


def _seen_of(moment: Moment, paths: Collection[str], start: date | None, end: date | None) -> set[str]:
    span = moment.span_of_days(start, end)
    if span.is_empty:
        return set()
    rows = moment.folded.rows(["DISTINCT a.subject"], values_where(span, PAGES))
    seen = BitMap(subject for (subject,) in rows)
    found = _tailed(moment, span).keys() & paths
    for portion in portions((path for path in paths if can_hold(moment.using, path)), VALUES_PER_STATEMENT):
        found.update(path for path, subject in _ids_of(moment, portion).items() if subject in seen)
    return found


def _tailed(moment: Moment, span: Span) -> dict[str, dict[int, int]]:
    """path -> day -> page views of the tail, of those that have any."""
    tail = moment.tail_of(span)
    if not isinstance(tail, ShortTail):
        raise too_long("changes of pages")
    return tail.page_views_by_value_and_day(span, PAGES)


def _ids_of(moment: Moment, paths: Collection[str]) -> dict[str, int]:
    return known_subject_ids(moment.using, paths, PAGES.id) if paths else {}


def _within(days: Mapping[int, int], span: Span) -> int:
    return sum(page_views for day, page_views in days.items() if day in span)


def _paths_of(moment: Moment, pages: Iterable[Page]) -> dict[Page, str]:
    asked = list(pages)
    found: dict[Page, str] = {page: page for page in asked if isinstance(page, str)}
    return found | moment.folded.texts(page for page in asked if isinstance(page, int))


def _beginning(moment: Moment, pages: Collection[Page], prefix: str) -> dict[Page, str]:
    found: dict[Page, str] = {page: page for page in pages if isinstance(page, str) and page.startswith(prefix)}
    if can_hold(moment.using, prefix):
        known = Subject.objects.using(moment.using).filter(begins("value", prefix), dimension=PAGES.id)
        texts = known.values_list("pk", "value").iterator()
        found.update((subject, path) for subject, path in texts if subject in pages)
    return found
