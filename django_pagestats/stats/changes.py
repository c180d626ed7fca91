"""Which pages gained and lost the most between two ranges, and which are new: of all pages, not of the top ones.

The database ranks what is folded, and the page views of the tail are added: of pages that the tail has not, the first
n together are among the first of the folded part, as many more as the tail has pages that may have been before them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from pyroaring import BitMap

from django_pagestats.buckets import Granularity, day_date, day_number
from django_pagestats.ids import known_subject_ids
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import Where, can_hold
from django_pagestats.stats.questions import VALUES_PER_STATEMENT, listed
from django_pagestats.stats.ranges import EVERYTHING, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.tail import ShortTail
from django_pagestats.stats.tail.base import too_long
from django_pagestats.stats.topics import PAGES
from django_pagestats.stats.wheres import values_where

#: days of two ranges that are far apart, which a statement names one by one
MOST_NAMED_DAYS = 1_000

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

    now: int
    before: int

    @property
    def difference(self) -> int:
        return self.now - self.before


class _Beginning(NamedTuple):
    """The page views of a page in a range, and from its beginning on to this day; and its first day from there on."""

    in_range: int
    since: int
    first: int


def most_changed(taken: Snapshot, days: Days, before: Days, *, limit: int) -> tuple[list[Moved], list[Moved]]:
    """The pages that gained the most page views, and those that lost the most, by the absolute difference.

    Both ranges are `[start, end)`. Of equal ones that which was known first. Raises TailTooLongError.
    """
    spans = _span(*days), _span(*before)
    return taken._ask(lambda moment: _most_changed(moment, *spans, limit))


def new_pages(taken: Snapshot, days: Days, *, limit: int) -> tuple[list[NewPage], int]:
    """The pages that nobody saw before a range and somebody in it: those with the most page views, and how many in all.

    All pages that were seen from its beginning on are in memory, as numbers. Raises TailTooLongError.
    """
    span = _span(*days)
    return taken._ask(lambda moment: _new_pages(moment, span, limit))


def seen_of(taken: Snapshot, paths: Iterable[str], *, start: date | None = None, end: date | None = None) -> set[str]:
    """Those of many paths that were viewed in a range: the ids of all pages of the range are read once, as a set.

    Raises TailTooLongError.
    """
    asked = dict.fromkeys(listed(paths))
    return taken._ask(lambda moment: _seen_of(moment, asked, start, end))


def _span(start: date, end: date) -> Span:
    return Span(Granularity.DAY, day_number(start), day_number(end))


def _most_changed(moment: Moment, now: Span, before: Span, limit: int) -> tuple[list[Moved], list[Moved]]:
    moment.folded.begin()  # before the ids are looked up: a page that these aggregates count has its id by then
    tailed = _tailed(moment, _hull(now, before))
    subjects = _ids_of(moment, tailed)
    folded = [moment.folded.subject_totals(span, PAGES, subjects.values()) for span in (now, before)]
    with_tail: dict[Page, _Counts] = {}
    for path, days in tailed.items():
        page = subjects.get(path, path)
        with_tail[page] = _Counts(
            *(
                totals.get(subjects.get(path, 0), 0) + _within(days, span)
                for span, totals in zip((now, before), folded, strict=True)
            )
        )
    gained, lost = (
        _ranked({**_folded_changes(moment, now, before, sign, limit + len(subjects)), **with_tail}, sign, limit)
        for sign in (1, -1)
    )
    paths = _paths_of(moment, [page for page, _ in (*gained, *lost)])
    gainers, losers = ([Moved(paths[page], *counts) for page, counts in side] for side in (gained, lost))
    return gainers, losers


def _ranked(counted: Mapping[Page, _Counts], sign: int, limit: int) -> list[tuple[Page, _Counts]]:
    """The first of the pages that gained (1) or lost (-1)."""
    found = [(page, counts) for page, counts in counted.items() if sign * counts.difference > 0]
    return sorted(found, key=lambda it: (-sign * it[1].difference, *_order(it[0])))[:limit]


def _order(page: Page) -> tuple[bool, int, bytes]:
    """Of equal pages that which was known first; those that have no id yet by their paths."""
    return (True, 0, page.encode()) if isinstance(page, str) else (False, page, b"")


def _folded_changes(moment: Moment, now: Span, before: Span, sign: int, count: int) -> dict[Page, _Counts]:
    """Of the folded part, the pages with the greatest (1) or the least (-1) difference."""
    in_now, in_before = _sum_within(now), _sum_within(before)
    rows = moment.folded.rows(
        # names for all: MariaDB takes no two columns that are called alike, as those of equal ranges would be
        [
            "a.subject",
            f"{in_now} AS in_range",
            f"{in_before} AS in_range_before",
            f"{in_now} - {in_before} AS difference",
        ],
        _where_of_both(now, before),
        tail=f"GROUP BY a.subject ORDER BY difference {'DESC' if sign > 0 else 'ASC'}, a.subject LIMIT {count:d}",
    )
    return {subject: _Counts(int(page_views), int(others)) for subject, page_views, others, _ in rows}


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


def _new_pages(moment: Moment, span: Span, limit: int) -> tuple[list[NewPage], int]:
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
            counted.in_range + _within(days, span), counted.since + sum(days.values()), min(counted.first, *days)
        )
    seen = {page: it for page, it in found.items() if it.in_range}
    in_all = Counter[Page](moment.folded.subject_totals(always, PAGES, [it for it in seen if isinstance(it, int)]))
    for path, days in tailed_in_all.items():
        in_all[subjects.get(path, path)] += sum(days.values())
    # whoever has as many page views since then as in all has none of before
    new = [(page, it) for page, it in seen.items() if it.since == in_all[page]]
    first = sorted(new, key=lambda it: (-it[1].in_range, *_order(it[0])))[:limit]
    paths = _paths_of(moment, [page for page, _ in first])
    return [NewPage(paths[page], it.in_range, day_date(it.first)) for page, it in first], len(new)


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
    found: dict[Page, str] = {page: page for page in pages if isinstance(page, str)}
    return found | moment.folded.texts(page for page in pages if isinstance(page, int))
