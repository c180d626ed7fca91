"""The values of a dimension as a table wants them: any page of the list, in some orders, those that begin with a text.

The paths are the values of the dimension "page"; the others are those of the generation that answers.

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
from django_pagestats.merging.portions import portions
from django_pagestats.merging.prefixes import begins
from django_pagestats.merging.reading import can_hold
from django_pagestats.models import Subject
from django_pagestats.stats.answers import ValueStats
from django_pagestats.stats.conditions import dimension_of
from django_pagestats.stats.folded import Ranked
from django_pagestats.stats.questions import (
    MOST_PAGES,
    SETS_AT_A_TIME,
    VALUES_PER_STATEMENT,
    check_numbers,
    count_page_views_of,
    count_values_of,
    with_visitors,
)
from django_pagestats.stats.ranges import Bound, Span, page_span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import PAGES, Topic

#: of values whose sets are read at once: no set of a day, and no visitor in it, is without a page view
SMALL_PAGE_VIEWS = 50_000
#: most first; by text, from A to Z; by page views, the greatest gain on another range first
Order = Literal["page_views", "visitors", "value", "change"]


@dataclass(frozen=True, slots=True)
class Listed:
    """Some rows of a list."""

    rows: list[ValueStats]
    #: rows of the whole list
    count: int
    #: the distinct visitors of `rows`: fewer than the sum of their visitors where somebody is in several
    people: int
    #: all rows of the whole list by page views, as they were ranked; empty where only those that are wanted were
    ranking: Sequence[Ranked] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which values, of which days, in which order; `start` and `end` as everywhere in `stats`.

    Of equal rows those of more page views come first, then the value that was known first. `before` is the range of
    which the order of changes is a change.
    """

    dimension: str = PAGES.name
    prefix: str = ""
    order: Order = "page_views"
    is_reversed: bool = False
    before: tuple[Bound, Bound] | None = None
    start: Bound = None
    end: Bound = None


def list_values(taken: Snapshot, wanted: Wanted, *, limit: int = 10, offset: int = 0) -> Listed:
    """Some rows of the list; raises UnknownDimensionError."""
    check_numbers(limit=limit, offset=offset)

    def listed(moment: Moment) -> Listed:
        lister = lister_of(moment, wanted)
        if lister is None:
            return Listed([], 0, 0)
        if wanted.order == "page_views" and not wanted.prefix and not wanted.is_reversed:
            ranked = lister.ranked(limit=limit, offset=offset)
            count = count_values_of(moment, lister.dimension, wanted.start, wanted.end)
        else:
            found = lister.ordered(upto=MOST_PAGES if wanted.is_reversed else offset + limit)
            ranked, count = found[offset : offset + limit], len(lister.all)
        rows = list(lister.rows(ranked))
        people = lister.people(ranked, [row.value for row in rows])
        return Listed(rows, count, people, lister.all)

    return taken._ask(listed)


def every_value(taken: Snapshot, wanted: Wanted) -> Iterator[ValueStats]:
    """All rows of the list, of which a portion is in memory at a time, besides their ranking."""

    def ranking(moment: Moment) -> list[Ranked]:
        lister = lister_of(moment, wanted)
        return [] if lister is None else lister.ordered(upto=MOST_PAGES)

    def rows(moment: Moment, portion: Sequence[Ranked]) -> list[ValueStats]:
        lister = lister_of(moment, wanted)
        return [] if lister is None else lister.small_rows(portion)

    # page views are of one instant whatever becomes of the aggregates meanwhile: so is their order
    for portion in _small_portions(taken._ask(ranking)):
        yield from taken._ask(lambda moment, portion=portion: rows(moment, portion))  # type: ignore[misc]


def page_views_of(
    taken: Snapshot, dimension: str, values: Collection[str], *, start: Bound = None, end: Bound = None
) -> dict[str, int]:
    """value -> its page views in a range of days; as many statements for one as for 500."""
    return taken._ask(
        lambda moment: count_page_views_of(moment, values, start, end, any_dimension(moment, dimension)),
    )


def page_views_by_day(
    taken: Snapshot, dimension: str, values: Collection[str], *, start: Bound, end: Bound
) -> dict[str, dict[date, int]]:
    """value -> day -> page views, of those days of a closed range that have any; as many statements for all of them."""

    def counted(moment: Moment) -> dict[str, dict[date, int]]:
        of = any_dimension(moment, dimension)
        span = page_span(start, end, lambda: moment.calendar)
        found: dict[str, dict[date, int]] = {value: {} for value in values}
        if span.is_empty or not found:
            return found
        tail = moment.tail_of(span)
        folded = moment.folded.subject_series(span, of, [value for value in values if can_hold(moment.using, value)])
        for value, days in found.items():
            counts = Counter(folded.get(value, {}))
            counts.update(tail.page_views_by_bucket(span, Topic(of, value)))
            days.update((day_date(day), count) for day, count in counts.items())
        return found

    return taken._ask(counted)


def visitors_by_value(
    taken: Snapshot, dimension: str, values: Collection[str], *, start: Bound, end: Bound
) -> dict[str, int]:
    """value -> its distinct visitors in a range of days; as many statements for all of them."""

    def counted(moment: Moment) -> dict[str, int]:
        of = any_dimension(moment, dimension)
        span = page_span(start, end, lambda: moment.calendar)
        found = dict.fromkeys(values, 0)
        held = [] if span.is_empty else [value for value in found if can_hold(moment.using, value)]
        subjects = moment.folded.subject_ids(of, held)
        ranked = [Ranked(subjects.get(value), value, 0, None) for value in held]
        found.update((value, visitors) for value, _, visitors in with_visitors(moment, span, of, ranked))
        return found

    return taken._ask(counted)


def any_dimension(moment: Moment, name: str) -> NamedDimension:
    """The pages, or one of the generation that answers; raises UnknownDimensionError."""
    return PAGES if name == PAGES.name else dimension_of(moment, name)


def lister_of(moment: Moment, wanted: Wanted) -> Lister | None:
    """None: there is nothing to list."""
    dimension = any_dimension(moment, wanted.dimension)
    span = moment.span_of_days(wanted.start, wanted.end)
    if span.is_empty or not can_hold(moment.using, wanted.prefix):
        return None
    return Lister(moment, span, dimension, wanted)


class Lister:
    """The list of one dimension, in one span."""

    def __init__(self, moment: Moment, span: Span, dimension: NamedDimension, wanted: Wanted) -> None:
        self.moment, self.span, self.dimension, self.wanted = moment, span, dimension, wanted
        self.tail = moment.tail_of(span)
        #: all rows that are wanted, by page views; empty until they are asked for
        self.all: list[Ranked] = []

    def ranked(self, *, limit: int, offset: int) -> list[Ranked]:
        """By page views, whatever the prefix."""
        return ranked_of(self.moment, self.span, self.dimension, limit=limit, offset=offset)

    def ordered(self, *, upto: int) -> list[Ranked]:
        """The first of all rows in the wanted order."""
        prefix, order = self.wanted.prefix, self.wanted.order
        every = self.ranked(limit=MOST_PAGES, offset=0)
        if prefix or order == "value":
            texts = dict(self._texts())
            named = ((texts.get(it.subject or 0, "") if it.value is None else it.value, it) for it in every)
            found = [(text, it) for text, it in named if text.startswith(prefix)]
            if order == "value":
                found.sort(key=lambda pair: pair[0])
            every = [it for _, it in found]
        self.all = every
        if order == "visitors":
            every = self._by_visitors(upto)
        elif order == "change":
            every = self._by_change()
        return (every[::-1] if self.wanted.is_reversed else every)[:upto]

    def rows(self, ranked: Iterable[Ranked]) -> Iterator[ValueStats]:
        for portion in portions(ranked, SETS_AT_A_TIME):
            for counted in with_visitors(self.moment, self.span, self.dimension, portion):
                yield ValueStats(*counted)

    def small_rows(self, portion: Sequence[Ranked]) -> list[ValueStats]:
        """Of one portion of those that are small; or of a single large value."""
        counted = with_visitors(self.moment, self.span, self.dimension, portion, are_small=len(portion) > 1)
        return [ValueStats(*it) for it in counted]

    def people(self, ranked: Sequence[Ranked], texts: Sequence[str]) -> int:
        """The distinct visitors of some rows."""
        subjects = {it.subject for it in ranked if it.subject is not None}
        sets = self.moment.folded.subject_sets(self.span, self.dimension, subjects)
        known = BitMap.union(*sets.values()) if sets else BitMap()
        return len(known) + self.tail.new_visitors_of_values(self.span, self.dimension, texts, known)

    def _texts(self) -> Iterator[tuple[int, str]]:
        subjects = Subject.objects.using(self.moment.using).filter(dimension=self.dimension.id)
        return subjects.filter(begins("value", self.wanted.prefix)).values_list("pk", "value").iterator()

    def _by_visitors(self, upto: int) -> list[Ranked]:
        best: list[Ranked] = []
        for portion in portions(self.all, SETS_AT_A_TIME):
            if len(best) > upto and portion[0].page_views <= (best[-1].visitors or 0):
                break
            counted = with_visitors(self.moment, self.span, self.dimension, portion)
            best += [it._replace(visitors=visitors) for it, (_, _, visitors) in zip(portion, counted, strict=True)]
            best.sort(key=lambda it: -(it.visitors or 0))  # stable: by page views among equals
            best = list(islice(best, upto + 1))
        return best[:upto]

    def _by_change(self) -> list[Ranked]:
        """Those that have more page views than before come first, whatever per cent that is."""
        before: dict[int | str | None, int] = {}
        if self.wanted.before is not None:
            then = self.moment.span_of_days(*self.wanted.before)
            if not then.is_empty:
                of_before = ranked_of(self.moment, then, self.dimension, limit=MOST_PAGES, offset=0)
                before = {_key(it): it.page_views for it in of_before}
        return sorted(self.all, key=lambda it: before.get(_key(it), 0) - it.page_views)  # stable


def ranked_of(moment: Moment, span: Span, dimension: NamedDimension, *, limit: int, offset: int) -> list[Ranked]:
    folded = moment.folded.top(span, dimension, min(offset + limit, MOST_PAGES))
    return moment.tail_of(span).top(moment.folded, span, dimension, folded, limit=limit, offset=offset)


def _small_portions(ranked: Iterable[Ranked]) -> Iterator[list[Ranked]]:
    """Of so few page views together that their sets are small; what has more is alone."""
    portion: list[Ranked] = []
    page_views = 0
    for it in ranked:
        if portion and (page_views + it.page_views > SMALL_PAGE_VIEWS or len(portion) == VALUES_PER_STATEMENT):
            yield portion
            portion, page_views = [], 0
        portion.append(it)
        page_views += it.page_views
    if portion:
        yield portion


def _key(it: Ranked) -> int | str | None:
    """What tells a value in two rankings of one moment."""
    return it.value if it.subject is None else it.subject
