"""The values of a dimension as a table wants them: any page of the list, in some orders, those that begin with a text.

Numbers of visitors are read of the rows that are shown, and the order of visitors costs little more: no value has more
visitors than page views, so the search ends where the page views fall to the visitors of the last row that is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Literal

from pyroaring import BitMap

from django_pagestats.buckets import day_date
from django_pagestats.dimensions import NamedDimension
from django_pagestats.ids import known_subject_ids
from django_pagestats.merging.reading import can_hold
from django_pagestats.models import Subject
from django_pagestats.stats.answers import PageStats
from django_pagestats.stats.folded import Ranked, portions
from django_pagestats.stats.questions import (
    MOST_PAGES,
    SETS_AT_A_TIME,
    check_numbers,
    count_values_of,
    with_visitors,
)
from django_pagestats.stats.ranges import Bound, Span, page_span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import PAGES, Topic

#: most first; by text, from A to Z
Order = Literal["page_views", "visitors", "value"]


@dataclass(frozen=True, slots=True)
class Listed:
    """Some rows of a list."""

    rows: list[PageStats]
    #: rows of the whole list
    count: int
    #: the distinct visitors of `rows`: fewer than the sum of their visitors where somebody is in several
    people: int


def list_pages(
    taken: Snapshot,
    *,
    prefix: str = "",
    order: Order = "page_views",
    is_reversed: bool = False,
    least_visitors: int = 0,
    limit: int = 10,
    offset: int = 0,
    start: Bound = None,
    end: Bound = None,
) -> Listed:
    """The pages that were viewed in a range of days, those whose path begins with `prefix`.

    Of equal rows those of more page views come first, then the path that was known first. `least_visitors` is of the
    order of visitors: rows with fewer are left out, but not of the count.
    """
    check_numbers(limit=limit, offset=offset)

    def listed(moment: Moment) -> Listed:
        span = moment.span(page_span(start, end, lambda: moment.calendar))
        if span.is_empty or not can_hold(moment.using, prefix):
            return Listed([], 0, 0)
        lister = _Lister(moment, span, PAGES, prefix, least_visitors)
        if order == "page_views" and not prefix and not is_reversed:
            ranked = lister.ranked(limit=limit, offset=offset)
            count = count_values_of(moment, PAGES, start, end)
        else:
            found = lister.ordered(order, upto=MOST_PAGES if is_reversed else offset + limit)
            ranked = (found[::-1] if is_reversed else found)[offset : offset + limit]
            count = len(lister.all)
        rows = list(lister.rows(ranked))
        return Listed(rows, count, lister.people(ranked, [row.path for row in rows]))

    return taken._ask(listed)


def every_page(
    taken: Snapshot,
    *,
    prefix: str = "",
    order: Order = "page_views",
    is_reversed: bool = False,
    start: Bound = None,
    end: Bound = None,
) -> Iterator[PageStats]:
    """All rows of the list, of which a portion is in memory at a time, besides their ranking."""

    def lister_of(moment: Moment) -> _Lister | None:
        span = moment.span(page_span(start, end, lambda: moment.calendar))
        return None if span.is_empty or not can_hold(moment.using, prefix) else _Lister(moment, span, PAGES, prefix)

    def ranking(moment: Moment) -> list[Ranked]:
        lister = lister_of(moment)
        found = [] if lister is None else lister.ordered(order, upto=MOST_PAGES)
        return found[::-1] if is_reversed else found

    def rows(moment: Moment, portion: Sequence[Ranked]) -> list[PageStats]:
        lister = lister_of(moment)
        return [] if lister is None else list(lister.rows(portion))

    # page views are of one instant whatever becomes of the aggregates meanwhile: so is their order
    for portion in portions(taken._ask(ranking), SETS_AT_A_TIME):
        yield from taken._ask(lambda moment, portion=portion: rows(moment, portion))  # type: ignore[misc]


def page_views_by_day(
    taken: Snapshot, paths: Collection[str], *, start: Bound, end: Bound
) -> dict[str, dict[date, int]]:
    """path -> day -> page views, of those days of a closed range that have any; as many statements for all of them."""

    def counted(moment: Moment) -> dict[str, dict[date, int]]:
        span = page_span(start, end, lambda: moment.calendar)
        found: dict[str, dict[date, int]] = {path: {} for path in paths}
        if span.is_empty or not found:
            return found
        tail = moment.tail_of(span)
        folded = moment.folded.subject_series(span, PAGES, [path for path in paths if can_hold(moment.using, path)])
        for path, days in found.items():
            counts = Counter(folded.get(path, {}))
            counts.update(tail.page_views_by_bucket(span, Topic(PAGES, path)))
            days.update((day_date(day), count) for day, count in counts.items())
        return found

    return taken._ask(counted)


def visitors_by_page(taken: Snapshot, paths: Collection[str], *, start: Bound, end: Bound) -> dict[str, int]:
    """path -> its distinct visitors in a range of days; as many statements for all of them."""

    def counted(moment: Moment) -> dict[str, int]:
        span = page_span(start, end, lambda: moment.calendar)
        found = dict.fromkeys(paths, 0)
        held = [] if span.is_empty else [path for path in found if can_hold(moment.using, path)]
        moment.folded.begin()
        subjects = known_subject_ids(moment.using, held, PAGES.id)
        ranked = [Ranked(subjects.get(path), path, 0, None) for path in held]
        found.update((path, visitors) for path, _, visitors in with_visitors(moment, span, PAGES, ranked))
        return found

    return taken._ask(counted)


class _Lister:
    """The list of one dimension, in one span."""

    def __init__(
        self, moment: Moment, span: Span, dimension: NamedDimension, prefix: str, least_visitors: int = 0
    ) -> None:
        self.moment, self.span, self.dimension, self.prefix = moment, span, dimension, prefix
        self.least_visitors = least_visitors
        self.tail = moment.tail_of(span)
        #: all rows that are wanted, by page views; empty until they are asked for
        self.all: list[Ranked] = []

    def ranked(self, *, limit: int, offset: int) -> list[Ranked]:
        """By page views, whatever the prefix."""
        folded = self.moment.folded.top(self.span, self.dimension, min(offset + limit, MOST_PAGES))
        return self.tail.top(self.moment.folded, self.span, self.dimension, folded, limit=limit, offset=offset)

    def ordered(self, order: Order, *, upto: int) -> list[Ranked]:
        """The first of all rows in an order."""
        if self.prefix or order == "value":
            texts = dict(self._texts())
            named = ((texts.get(it.subject or 0, "") if it.value is None else it.value, it) for it in self._every())
            found = [(text, it) for text, it in named if text.startswith(self.prefix)]
            self.all = [it for _, it in found]
            if order == "value":
                return [it for _, it in sorted(found, key=lambda pair: pair[0])[:upto]]
        else:
            self.all = list(self._every())
        return self._by_visitors(upto) if order == "visitors" else self.all[:upto]

    def rows(self, ranked: Iterable[Ranked]) -> Iterator[PageStats]:
        for portion in portions(ranked, SETS_AT_A_TIME):
            for counted in with_visitors(self.moment, self.span, self.dimension, portion):
                yield PageStats(*counted)

    def people(self, ranked: Sequence[Ranked], texts: Sequence[str]) -> int:
        """The distinct visitors of some rows."""
        subjects = {it.subject for it in ranked if it.subject is not None}
        sets = self.moment.folded.subject_sets(self.span, self.dimension, subjects)
        known = BitMap.union(*sets.values()) if sets else BitMap()
        return len(known) + self.tail.new_visitors_of_values(self.span, self.dimension, texts, known)

    def _every(self) -> list[Ranked]:
        return self.ranked(limit=MOST_PAGES, offset=0)

    def _texts(self) -> Iterator[tuple[int, str]]:
        # LIKE ignores the case on SQLite: what is found is looked at again
        subjects = Subject.objects.using(self.moment.using).filter(dimension=self.dimension.id)
        return subjects.filter(value__startswith=self.prefix).values_list("pk", "value").iterator()

    def _by_visitors(self, upto: int) -> list[Ranked]:
        best: list[Ranked] = []
        enough = (it for it in self.all if it.page_views >= self.least_visitors)
        for portion in portions(enough, SETS_AT_A_TIME):
            if len(best) >= upto and portion[0].page_views <= (best[-1].visitors or 0):
                break
            counted = with_visitors(self.moment, self.span, self.dimension, portion)
            best += [it._replace(visitors=visitors) for it, (_, _, visitors) in zip(portion, counted, strict=True)]
            best.sort(key=lambda it: -(it.visitors or 0))  # stable: by page views among equals
            best = list(islice(best, upto))
        return [it for it in best if (it.visitors or 0) >= self.least_visitors]
