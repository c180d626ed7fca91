"""The visitors of many values as sets, so that each may be crossed with others: who came from where, among some.

How many of some visitors a value has is in no aggregate, but no value has more of them than page views: so those with
the most are found among the values with the most page views, where these are not too many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyroaring import BitMap

from django_pagestats.merging.portions import portions
from django_pagestats.stats.folded import Ranked
from django_pagestats.stats.listing import Lister, Wanted, any_dimension, lister_of
from django_pagestats.stats.questions import MOST_PAGES, SETS_AT_A_TIME
from django_pagestats.stats.ranges import Bound
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import GroupOf
from django_pagestats.stats.visitor_questions import Sets
from django_pagestats.stats.visitor_sets import VisitorSet

#: values whose sets are read at a time, and those that are looked at for one list, at the most
VALUES_AT_A_TIME = 32
MOST_LOOKED_AT = 2 * VALUES_AT_A_TIME


@dataclass(frozen=True, slots=True)
class ValueVisitors:
    """A value, or a group of them, with all of its visitors."""

    value: str
    visitors: VisitorSet


@dataclass(frozen=True, slots=True)
class Crossed:
    """The values that the most of some visitors have."""

    rows: list[ValueVisitors]
    #: no other value has more of them than the last row
    is_complete: bool
    #: how many values there are with their sets looked at, those with the most page views
    looked_at: int


def cross_values(taken: Snapshot, wanted: Wanted, among: VisitorSet, *, upto: int) -> Crossed:
    """The first values by how many visitors of `among` they have, without those that have none.

    `wanted` says of which dimension, days and prefix; its order does not count. Raises UnknownDimensionError,
    DimensionError, and TailTooLongError.
    """

    def crossed(moment: Moment) -> Crossed:
        lister = lister_of(moment, wanted)
        if lister is None:
            return Crossed([], True, 0)
        best: list[tuple[int, Ranked, VisitorSet]] = []
        for start in range(0, MOST_LOOKED_AT, VALUES_AT_A_TIME):
            # and the next one; the first values are often enough, and found sooner
            ranked = _ranked(lister, start + VALUES_AT_A_TIME + 1)
            portion = ranked[start : start + VALUES_AT_A_TIME]
            sets = _sets(lister, portion, taken) if portion else []
            best += [
                (len(of & among), it, of) for it, of in zip(portion, sets, strict=True) if not of.isdisjoint(among)
            ]
            best = sorted(best, key=lambda row: -row[0])[:upto]  # stable: by page views among equals
            looked_at = start + len(portion)
            following = ranked[looked_at].page_views if looked_at < len(ranked) else 0
            if not following or (len(best) == upto and following <= best[-1][0]):
                return Crossed(_named(lister, best), True, looked_at)
        return Crossed(_named(lister, best), False, MOST_LOOKED_AT)

    return taken._ask(crossed)


def every_value_of(taken: Snapshot, wanted: Wanted) -> Iterator[ValueVisitors]:
    """All values, most page views first, with their visitors: the sets of a portion are in memory at a time."""

    def ranking(moment: Moment) -> list[Ranked]:
        lister = lister_of(moment, wanted)
        return [] if lister is None else _ranked(lister, MOST_PAGES)

    def rows(moment: Moment, portion: Sequence[Ranked]) -> list[ValueVisitors]:
        lister = lister_of(moment, wanted)
        if lister is None:
            return []
        return _named(lister, [(0, *row) for row in zip(portion, _sets(lister, portion, taken), strict=True)])

    for portion in portions(taken._ask(ranking), SETS_AT_A_TIME):
        yield from taken._ask(lambda moment, portion=portion: rows(moment, portion))  # type: ignore[misc]


def groups_of(
    taken: Snapshot, dimension: str, group_of: GroupOf, *, start: Bound = None, end: Bound = None
) -> dict[str, VisitorSet]:
    """group -> its visitors in a range of days, of all groups that have any; as many statements as the sets want.

    Raises what `cross_values` does.
    """

    def grouped(moment: Moment) -> dict[str, VisitorSet]:
        of, span = any_dimension(moment, dimension), moment.span_of_days(start, end)
        if span.is_empty:
            return {}
        folded = moment.folded.groups(span, of, group_of).sets
        maker = Sets(moment, span, taken._origin)
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for value, of_value in maker.tail.session_keys_by_value(span, of).items():
            keys[group_of(value)] += of_value
        return {it: maker.of(folded.get(it, BitMap()), keys.get(it, ())) for it in folded.keys() | keys.keys()}

    return taken._ask(grouped)


def _ranked(lister: Lister, most: int) -> list[Ranked]:
    return lister.ordered(upto=most) if lister.wanted.prefix else lister.ranked(limit=most, offset=0)


def _sets(lister: Lister, ranked: Sequence[Ranked], taken: Snapshot) -> list[VisitorSet]:
    moment, span, dimension = lister.moment, lister.span, lister.dimension
    page_views = sum(it.page_views for it in ranked)
    subjects = [it.subject for it in ranked if it.subject is not None]
    folded = moment.folded.subject_sets(span, dimension, subjects, page_views=page_views)
    maker = Sets(moment, span, taken._origin)
    # whatever has a page view in the tail is there by its text
    keys = maker.tail.session_keys_by_value(span, dimension)
    return [maker.of(folded.get(it.subject or 0, BitMap()), keys.get(it.value or "", ())) for it in ranked]


def _named(lister: Lister, rows: Sequence[tuple[int, Ranked, VisitorSet]]) -> list[ValueVisitors]:
    ids = (it.subject for _, it, _ in rows if it.value is None and it.subject is not None)
    texts = lister.moment.folded.texts(ids)
    return [ValueVisitors(texts[it.subject or 0] if it.value is None else it.value, of) for _, it, of in rows]
