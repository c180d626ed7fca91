"""The values of a dimension in groups, such as sources in channels, whoever makes the groups, and when.

Visitors of a group are the exact union of the sets of its values. All sets of the dimension in the range are read for
that, some megabytes at a time: there is one for each value and day. Nothing is kept of them but a set for each group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple

from pyroaring import BitMap

from django_pagestats.buckets import day_date
from django_pagestats.dimensions import NamedDimension
from django_pagestats.merging.rows import united
from django_pagestats.models import Subject
from django_pagestats.stats.listing import any_dimension, ranked_of
from django_pagestats.stats.questions import MOST_PAGES
from django_pagestats.stats.ranges import Bound, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.wheres import values_where

#: so many sets are read at first, and then as many as have so many bytes
FIRST_SETS_PER_STATEMENT = 2_000
FEWEST_SETS_PER_STATEMENT = 64
MOST_SETS_PER_STATEMENT = 50_000
BYTES_PER_STATEMENT = 8_000_000

GroupOf = Callable[[str], str]


@dataclass(slots=True)
class Group:
    """What its values have together."""

    page_views: int = 0
    #: distinct
    visitors: int = 0
    #: page views of the range before
    before: int = 0
    #: page views of the days that have any; of a closed range only
    by_day: dict[date, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grouped:
    """The groups that have a page view in the range, and the distinct visitors of all of them."""

    groups: dict[str, Group]
    people: int = 0


class _Folded(NamedTuple):
    """Of each group the page views by bucket, and the visitors."""

    days: dict[str, Counter[int]]
    sets: dict[str, BitMap]


def group_values(
    taken: Snapshot,
    dimension: str,
    group_of: GroupOf,
    *,
    start: Bound = None,
    end: Bound = None,
    before: tuple[Bound, Bound] | None = None,
) -> Grouped:
    """All values of a dimension; `group_of` is pure. Raises UnknownDimensionError.

    A statement reads what `BYTES_PER_STATEMENT` says; another one the texts of all values there ever were.
    """
    return taken._ask(lambda moment: _grouped(moment, dimension, group_of, start, end, before))


def _grouped(
    moment: Moment,
    name: str,
    group_of: GroupOf,
    start: Bound,
    end: Bound,
    before: tuple[Bound, Bound] | None,
) -> Grouped:
    dimension = any_dimension(moment, name)
    span = moment.span_of_days(start, end)
    if span.is_empty:
        return Grouped({})
    known = _Groups(moment, dimension, group_of)
    groups: dict[str, Group] = {}
    folded_days, sets = _folded(moment, span, dimension, known)
    days: defaultdict[str, Counter[int]] = defaultdict(Counter)
    days.update((group, Counter(counts)) for group, counts in folded_days.items())
    tail = moment.tail_of(span)
    values: defaultdict[str, list[str]] = defaultdict(list)
    for value, counts in tail.page_views_by_value_and_day(span, dimension).items():
        group = group_of(value)
        days[group].update(counts)
        values[group].append(value)
    for group, counts_of_days in days.items():
        folded = sets.get(group, BitMap())
        new = tail.new_visitors_of_values(span, dimension, values[group], folded)
        groups[group] = Group(sum(counts_of_days.values()), len(folded) + new)
        if start is not None and end is not None:
            groups[group].by_day = {day_date(day): count for day, count in counts_of_days.items()}
    for group, count in _before(moment, dimension, known, before).items():
        if group in groups:
            groups[group].before = count
    everybody = BitMap.union(*sets.values()) if sets else BitMap()
    new = tail.new_visitors_of_values(span, dimension, [value for of in values.values() for value in of], everybody)
    return Grouped(groups, len(everybody) + new)


def _folded(moment: Moment, span: Span, dimension: NamedDimension, known: _Groups) -> _Folded:
    """What the aggregates say of each group, which is kept."""
    question = ("groups", span, dimension, known.group_of)
    if (kept := moment.folded.found(*question)) is not None:
        return kept  # type: ignore[no-any-return]
    made = _Folded(defaultdict(Counter), defaultdict(BitMap))
    for rows in _portions(moment, span, dimension):
        stored: defaultdict[str, list[bytes]] = defaultdict(list)
        for bucket, subject, page_views, visitor_set in rows:
            group = known.of_subject(subject)
            made.days[group][bucket] += page_views
            stored[group].append(visitor_set)
        for group, sets in stored.items():
            made.sets[group] |= united(sets)
    return moment.folded.keep(*question, _Folded(dict(made.days), dict(made.sets)))  # type: ignore[no-any-return]


def _before(
    moment: Moment, dimension: NamedDimension, known: _Groups, before: tuple[Bound, Bound] | None
) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    if before is not None:
        span = moment.span_of_days(*before)
        ranked = [] if span.is_empty else ranked_of(moment, span, dimension, limit=MOST_PAGES, offset=0)
        for it in ranked:
            group = known.of_subject(it.subject or 0) if it.value is None else known.group_of(it.value)
            found[group] += it.page_views
    return found


def _portions(moment: Moment, span: Span, dimension: NamedDimension) -> Iterator[list[tuple[Any, ...]]]:
    """(bucket, subject, page views, stored visitor set) of each row of a dimension, in the order of the primary key."""
    where, size = values_where(span, dimension), FIRST_SETS_PER_STATEMENT
    columns = ["a.bucket", "a.subject", "a.page_views", "a.visitor_set"]
    while True:
        rows = moment.folded.rows(columns, where, tail=f"ORDER BY a.bucket, a.subject LIMIT {size:d}")
        yield rows
        if len(rows) < size:
            return
        (bucket, subject, *_), read = rows[-1], sum(len(row[3]) for row in rows)
        if not span.is_all_time:  # so that the primary key finds the place; of all time there is one bucket
            where = replace(where, low=bucket)
        where = replace(where, after=(bucket, subject))
        size = min(MOST_SETS_PER_STATEMENT, max(FEWEST_SETS_PER_STATEMENT, size * BYTES_PER_STATEMENT // max(1, read)))


class _Groups:
    """The group of each subject; the texts of all of them are read when the first one is asked for."""

    def __init__(self, moment: Moment, dimension: NamedDimension, group_of: GroupOf) -> None:
        self._moment, self._dimension, self.group_of = moment, dimension, group_of
        self._of: dict[int, str] = {}

    def of_subject(self, subject: int) -> str:
        if subject not in self._of:
            # one more was given an id since
            subjects = Subject.objects.using(self._moment.using).filter(dimension=self._dimension.id)
            if self._of:
                subjects = subjects.filter(pk=subject)
            for pk, value in subjects.values_list("pk", "value").iterator():
                self._of[pk] = self.group_of(value)
        return self._of[subject]
