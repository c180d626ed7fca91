"""The values of a dimension in groups, such as sources in channels, whoever makes the groups, and when.

Visitors of a group are the exact union of the sets of its values. All sets of the dimension in the range are read for
that, some megabytes at a time: there is one for each value and day. Nothing is kept of them but a set for each group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from pyroaring import BitMap

from django_pagestats.buckets import day_date
from django_pagestats.dimensions import NamedDimension
from django_pagestats.stats.listing import any_dimension, ranked_of
from django_pagestats.stats.questions import MOST_PAGES
from django_pagestats.stats.ranges import Bound
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import GroupOf


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
    groups: dict[str, Group] = {}
    folded_days, sets = moment.folded.groups(span, dimension, group_of)
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
    for group, count in _before(moment, dimension, group_of, before).items():
        if group in groups:
            groups[group].before = count
    everybody = BitMap.union(*sets.values()) if sets else BitMap()
    new = tail.new_visitors_of_values(span, dimension, [value for of in values.values() for value in of], everybody)
    return Grouped(groups, len(everybody) + new)


def _before(
    moment: Moment, dimension: NamedDimension, group_of: GroupOf, before: tuple[Bound, Bound] | None
) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    if before is not None:
        span = moment.span_of_days(*before)
        ranked = [] if span.is_empty else ranked_of(moment, span, dimension, limit=MOST_PAGES, offset=0)
        names = moment.folded.group_by_subject(dimension, group_of)
        for it in ranked:
            group = names[it.subject or 0] if it.value is None else group_of(it.value)
            found[group] += it.page_views
    return found
