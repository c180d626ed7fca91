"""Pages together with the pages below them, such as those of sections: many of these trees at once.

A tree has its root, every path that begins with the root and a slash, and any of these with a query: of "/blog", and of
"/blog/", that is "/blog/2026/", but not "/blogging". Trees may lie within each other; a path counts once in each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date

from django.db.models import Count
from pyroaring import BitMap

from django_pagestats.buckets import day_date
from django_pagestats.dimensions import ENTRY, NamedDimension
from django_pagestats.merging.portions import portions
from django_pagestats.merging.prefixes import begins
from django_pagestats.merging.reading import can_hold
from django_pagestats.models import Subject
from django_pagestats.stats import below
from django_pagestats.stats.conditions import dimension_of_source
from django_pagestats.stats.folded import ROWS_PER_STATEMENT
from django_pagestats.stats.ranges import Bound, Span, page_span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.tail import ShortTail
from django_pagestats.stats.tail.base import too_long
from django_pagestats.stats.tail.long import LongTail
from django_pagestats.stats.topics import PAGES
from django_pagestats.stats.visitor_questions import Sets
from django_pagestats.stats.visitor_sets import VisitorSet
from django_pagestats.stats.wheres import values_where

#: of more pages in all days are not told apart: they would be too many rows
MOST_PAGES_BY_DAY = 2_000

#: root -> day -> page views; a day is None where days are not told apart
ByDay = dict[str, dict[date | None, int]]


def page_views_of_trees(taken: Snapshot, roots: Collection[str], *, start: Bound, end: Bound) -> ByDay:
    """The page views of each tree, on those days of a closed range that have any.

    Where the trees have more than MOST_PAGES_BY_DAY pages in all, they are of all days together, under None.
    """

    def counted(moment: Moment) -> ByDay:
        span = page_span(start, end, lambda: moment.calendar)
        found: dict[str, Counter[date | None]] = {root: Counter() for root in roots}
        if span.is_empty or not found:
            return {}
        trees = _Trees(moment, [root for root in found if can_hold(moment.using, root)])
        if not trees.is_by_day(span):
            found = {root: Counter({None: 0}) for root in found}
        for path, day, count in trees.page_views(span):
            for root in trees.of(path):
                found[root][day] += count
        return {root: dict(days) for root, days in found.items()}

    return taken._ask(counted)


def count_page_views_of_trees(taken: Snapshot, roots: Collection[str], *, start: Bound, end: Bound) -> dict[str, int]:
    """root -> page views of its tree."""
    found = page_views_of_trees(taken, roots, start=start, end=end)
    return {root: sum(found.get(root, {}).values()) for root in roots}


def visitors_of_tree(taken: Snapshot, root: str, *, start: Bound, end: Bound) -> VisitorSet:
    """The visitors of any of its pages; raises what `visitors()` does."""

    def asked(moment: Moment) -> VisitorSet | None:
        span = page_span(start, end, lambda: moment.calendar)
        if span.is_empty or not can_hold(moment.using, root):
            return Sets(moment, span, taken._origin).of(BitMap())
        if below.is_the_site(moment, span, root):
            return None
        trees = _Trees(moment, [root])
        folded = below.visitors_of_pages(moment.folded, span, BitMap(trees.paths))
        sets = Sets(moment, span, taken._origin)
        tailed = [path for path in sets.tail.paths if trees.of(path)]
        return sets.of(folded, sets.tail.session_keys_of(span, PAGES, tailed))

    found = taken._ask(asked)
    return taken.visitors(start=start, end=end) if found is None else found


def count_visits_of_tree(taken: Snapshot, root: str, *, start: Bound, end: Bound) -> int:
    """The arrivals at any of its pages, each of which is at one; raises UnknownDimensionError, and TailTooLongError."""

    def counted(moment: Moment) -> int:
        entry = dimension_of_source(moment, ENTRY)
        span = page_span(start, end, lambda: moment.calendar)
        if span.is_empty or not can_hold(moment.using, root):
            return 0
        if isinstance(moment.tail_of(span), LongTail):
            raise too_long("visits of pages with those below them")
        trees = _Trees(moment, [root], entry)
        return sum(count for path, _, count in trees.page_views(span) if trees.of(path))

    return taken._ask(counted)


class _Trees:
    """The pages of some trees that have an id; of `dimension`, those that are values of it."""

    def __init__(self, moment: Moment, roots: Collection[str], dimension: NamedDimension = PAGES) -> None:
        self.moment, self._roots, self._dimension = moment, frozenset(roots), dimension
        moment.folded.begin()  # before the ids are looked up: a page that these aggregates count has its id by then
        #: subject -> path
        self.paths = dict(self._pages(_common(roots))) if roots else {}

    def _pages(self, prefix: str) -> Iterator[tuple[int, str]]:
        pages = Subject.objects.using(self.moment.using).filter(begins("value", prefix), dimension=self._dimension.id)
        found = pages.values_list("pk", "value").iterator()
        return ((pk, path) for pk, path in found if self.of(path))

    def of(self, path: str) -> frozenset[str]:
        """The roots of the trees that it belongs to."""
        return self._roots.intersection(_roots_of(path))

    def is_by_day(self, span: Span) -> bool:
        """Whether days are told apart."""
        return len(self.paths) <= MOST_PAGES_BY_DAY and isinstance(self.moment.tail_of(span), ShortTail)

    def page_views(self, span: Span) -> Iterator[tuple[str, date | None, int]]:
        """Path, day and page views; of all days together where the pages, or the page views of the tail, are many."""
        tail, by_day = self.moment.tail_of(span), self.is_by_day(span)
        yield from self._folded_by_day(span) if by_day else self._folded(span)
        if isinstance(tail, ShortTail):
            numbers, days = tail._values(self._dimension)
            paths = list(numbers)
            of_span = ((day, number, visitors) for (day, number), visitors in days.items() if day in span)
            yield from ((paths[of], day_date(day) if by_day else None, len(seen)) for day, of, seen in of_span)
        elif isinstance(tail, LongTail):
            prefix = _common(self._roots)
            rows = tail.rows_below(span, prefix).order_by().values("path").annotate(n=Count("pk"))
            yield from ((path, None, count) for path, count in rows.values_list("path", "n"))

    def _folded_by_day(self, span: Span) -> Iterator[tuple[str, date | None, int]]:
        buckets = self.moment.folded.buckets(span, None)
        for subjects in portions(self.paths, max(1, ROWS_PER_STATEMENT // max(1, len(buckets)))):
            where = values_where(span, self._dimension, buckets=buckets, subjects=subjects)
            for subject, bucket, count in self.moment.folded.rows(["a.subject", "a.bucket", "a.page_views"], where):
                yield self.paths[subject], day_date(bucket), count

    def _folded(self, span: Span) -> Iterator[tuple[str, date | None, int]]:
        where = values_where(span, self._dimension)
        rows = self.moment.folded.rows(["a.subject", "SUM(a.page_views)"], where, tail="GROUP BY a.subject")
        yield from ((self.paths[subject], None, int(count)) for subject, count in rows if subject in self.paths)


def _roots_of(path: str) -> Iterator[str]:
    """Every root whose tree it would belong to."""
    yield path
    base = path.partition("?")[0]
    yield base
    for place, character in enumerate(base):
        if character == "/":
            yield base[:place]
            yield base[: place + 1]


def _common(texts: Collection[str]) -> str:
    """With what all of them begin."""
    first, last = min(texts), max(texts)
    same = (place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(same, len(first))]
