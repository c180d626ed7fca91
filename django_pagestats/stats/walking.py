"""All values of a dimension, one portion after another, in orders that no page view changes.

By page views a value may overtake others while a list is read. By its text, or as it was first counted, each value has
its place: a list that is read in parts has every value once. Raises TailTooLongError where the tail is not in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from heapq import merge
from itertools import groupby, islice, takewhile
from typing import TypeVar

from django.db.models import Max, Min

from django_pagestats.buckets import day_date, epoch_seconds
from django_pagestats.dimensions import ENTRY, NamedDimension
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import State, can_hold
from django_pagestats.models import PageView, Subject
from django_pagestats.stats.conditions import dimension_of, dimension_of_source
from django_pagestats.stats.folded import Ranked
from django_pagestats.stats.questions import SETS_AT_A_TIME, Counted, count_page_views, with_visitors
from django_pagestats.stats.ranges import ALL_DAYS, Bound, Span, page_span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import PAGES
from django_pagestats.stats.wheres import topic_where, values_where

T = TypeVar("T")

#: values of the folded part that are counted by one statement, and in memory at a time
VALUES_AT_A_TIME = 10_000
#: texts that are looked at by one statement, in the order of their bytes
TEXTS_AT_A_TIME = 1_000


def each_value(taken: Snapshot, dimension: str | None, *, start: Bound = None, end: Bound = None) -> Iterator[Counted]:
    """Each value with its page views and visitors in a range of days, of a named dimension; None: each path.

    As they were first counted, then those of the tail by their text. So many of the folded part are in memory at a
    time as one statement reads, whatever their number.
    """

    def ask(question: Callable[[_Walk], T]) -> T:
        return taken._ask(lambda moment: question(_Walk(moment, dimension, start, end)))

    tailed = ask(lambda walk: frozenset(walk.of_tail()))
    after = 0
    while found := ask(partial(_Walk.folded_after, subject=after)):
        for portion in portions(found, SETS_AT_A_TIME):
            rows = ask(partial(_Walk.counted, ranked=portion))
            yield from (row for row in rows if row[0] not in tailed)
        after = found[-1].subject or 0
    for texts in portions(sorted(tailed), SETS_AT_A_TIME):
        yield from ask(partial(_Walk.of, texts=texts))


def check_values(taken: Snapshot, dimension: str | None, *, start: Bound = None, end: Bound = None) -> None:
    """Raise what `each_value` would, before anything is read: ValueError, UnknownDimensionError, TailTooLongError."""
    taken._ask(lambda moment: _Walk(moment, dimension, start, end).of_tail())


def values_after(
    taken: Snapshot,
    dimension: str | None,
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int = 10,
    start: Bound = None,
    end: Bound = None,
) -> list[Counted]:
    """The first values that come after a text in the order of their bytes, of those that have page views.

    `prefix`: of those only that begin so.
    """

    def found(moment: Moment) -> list[Counted]:
        walk = _Walk(moment, dimension, start, end)
        if walk.is_empty or not all(can_hold(moment.using, text) for text in (prefix, after or "")):
            return []
        # in this order those with a prefix stand together, from the prefix itself on
        texts = takewhile(lambda text: text.startswith(prefix), walk.texts_after(after, prefix))
        rows = (row for portion in portions(texts, SETS_AT_A_TIME) for row in walk.of(portion))
        return list(islice(rows, limit))

    return taken._ask(found)


def numbers_of(
    taken: Snapshot, paths: Sequence[str], *, start: Bound = None, end: Bound = None
) -> list[tuple[str, int, int]]:
    """(path, page views, visitors) of each path that is asked for, in this order, with 0 where there are none."""

    def found(moment: Moment) -> list[tuple[str, int, int]]:
        walk = _Walk(moment, None, start, end)
        counted: dict[str, Counted] = {}
        for portion in portions(dict.fromkeys(paths), SETS_AT_A_TIME):
            counted.update((row[0], row) for row in walk.of(portion))
        return [counted.get(path, (path, 0, 0)) for path in paths]

    return taken._ask(found)


def visits_of(taken: Snapshot, paths: Sequence[str], *, start: Bound = None, end: Bound = None) -> dict[str, int]:
    """path -> the arrivals that landed there; raises UnknownDimensionError, and TailTooLongError."""

    def found(moment: Moment) -> dict[str, int]:
        entry = dimension_of_source(moment, ENTRY)
        return {path: count for path, count, _ in _Walk(moment, entry.name, start, end).page_views(list(paths))}

    return dict.fromkeys(paths, 0) | taken._ask(found)


def place_of(taken: Snapshot, *, start: Bound = None, end: Bound = None) -> tuple[int, int, State | None]:
    """What is the same as long as no list of a range in the order of page views can have changed.

    Page views are only added. So as long as a range has as many of them, each of its values has as many as before.
    Among equals the first one counted comes first: that may change once page views of the tail are folded.
    """

    def found(moment: Moment) -> tuple[int, int, State | None]:
        total = count_page_views(moment, None, None, start, end)
        span = moment.span_of_days(start, end)
        is_folded = span.is_empty or not moment.tail_of(span).page_views(span, None)
        state = moment.folded.state
        return state.generation, total, None if is_folded else state

    return taken._ask(found)


def days_of(taken: Snapshot, *, start: Bound = None, end: Bound = None) -> tuple[date, date] | None:
    """The first and the last day of a range that may have page views; None where it has none.

    Of aggregates whose page views are gone, too.
    """

    def found(moment: Moment) -> tuple[date, date] | None:
        span = page_span(start, end, lambda: moment.calendar)
        if span.is_empty:
            return None
        if span.is_all_time:
            span = ALL_DAYS
        rows = moment.folded.rows(["MIN(a.bucket) AS first", "MAX(a.bucket) AS last"], topic_where(span, None))
        days = [int(bucket) for bucket in rows[0] if bucket is not None]
        times = PageView.objects.using(moment.using).aggregate(first=Min("viewed_at"), last=Max("viewed_at"))
        days += [moment.calendar.day(epoch_seconds(at)) for at in times.values() if at is not None]
        days = [min(max(day, span.low or day), day if span.high is None else span.high - 1) for day in days]
        return (day_date(min(days)), day_date(max(days))) if days else None

    return taken._ask(found)


class _Walk:
    """Through the values of one dimension in one span."""

    def __init__(self, moment: Moment, dimension: str | None, start: Bound, end: Bound) -> None:
        self.moment = moment
        self.dimension: NamedDimension = PAGES if dimension is None else dimension_of(moment, dimension)
        self.span: Span = moment.span_of_days(start, end)
        self.is_empty = self.span.is_empty

    def of_tail(self) -> Sequence[str]:
        return () if self.is_empty else list(self.moment.tail_of(self.span).values(self.span, self.dimension))

    def folded_after(self, subject: int) -> list[Ranked]:
        """The next values of the folded part, in the order of their ids."""
        if self.is_empty:
            return []
        is_one_row = self.span.is_all_time
        columns = ["a.subject", "a.page_views", "a.visitors"]
        if not is_one_row:
            columns[1:] = ["SUM(a.page_views) AS total", "NULL AS visitors"]
        grouped = "" if is_one_row else "GROUP BY a.subject"
        tail = f"AND a.subject > {subject:d} {grouped} ORDER BY a.subject LIMIT {VALUES_AT_A_TIME:d}"
        rows = self.moment.folded.rows(columns, values_where(self.span, self.dimension), tail=tail)
        return sorted(Ranked(found, None, int(page_views), visitors) for found, page_views, visitors in rows)

    def counted(self, ranked: Sequence[Ranked]) -> list[Counted]:
        """With their visitors; of values in the tail without what that has."""
        return list(with_visitors(self.moment, self.span, self.dimension, ranked))

    def of(self, texts: Sequence[str]) -> list[Counted]:
        """Those of some values that have page views, with the tail."""
        views = {text: (subject, count) for text, count, subject in self.page_views(texts)}
        ranked = [Ranked(subject, text, count, None) for text, (subject, count) in views.items()]
        return list(with_visitors(self.moment, self.span, self.dimension, ranked)) if ranked else []

    def page_views(self, texts: Sequence[str]) -> list[tuple[str, int, int | None]]:
        """(value, page views, subject id) of those of some values that have any."""
        held = [] if self.is_empty else [text for text in texts if can_hold(self.moment.using, text)]
        if not held:
            return []
        subjects = self.moment.folded.subject_ids(self.dimension, held)
        totals = self.moment.folded.subject_totals(self.span, self.dimension, subjects.values())
        tail = self.moment.tail_of(self.span).page_views_by_value(self.span, self.dimension, held)
        found = ((text, totals.get(subjects.get(text, 0), 0) + tail.get(text, 0), subjects.get(text)) for text in held)
        return [it for it in found if it[1]]

    def texts_after(self, after: str | None, first: str) -> Iterator[str]:
        """Those from `first` on that may have page views, each once, in the order of their bytes."""
        of_tail = sorted(text for text in self.of_tail() if text >= first and (after is None or text > after))
        return (text for text, _ in groupby(merge(self._stored_after(after, first), of_tail)))

    def _stored_after(self, after: str | None, first: str) -> Iterator[str]:
        subjects = Subject.objects.using(self.moment.using).filter(dimension=self.dimension.id).order_by("value")
        subjects = subjects.filter(value__gte=first) if first else subjects
        while True:
            wanted = subjects if after is None else subjects.filter(value__gt=after)
            found = list(wanted.values_list("value", flat=True)[:TEXTS_AT_A_TIME])
            yield from found
            if len(found) < TEXTS_AT_A_TIME:
                return
            after = found[-1]
