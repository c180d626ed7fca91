"""The visitors of many values as sets, so that each may be crossed with others: who came from where, among some.

How many of some visitors a value has is in no aggregate, but no value has more of them than page views: so those with
the most are found among the values with the most page views, where these are not too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyroaring import BitMap

from django_pagestats.dimensions import NamedDimension
from django_pagestats.stats.folded import Ranked, portions
from django_pagestats.stats.listing import Wanted, lister_of
from django_pagestats.stats.questions import MOST_PAGES, SETS_AT_A_TIME, texts_of
from django_pagestats.stats.ranges import ALL_DAYS, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.visitor_questions import Sets
from django_pagestats.stats.visitor_sets import VisitorSet

#: values whose sets are looked at for one list, at the most
MOST_LOOKED_AT = 2 * SETS_AT_A_TIME


@dataclass(frozen=True, slots=True)
class ValueVisitors:
    """A value with its page views, of everybody, and all of its visitors."""

    value: str
    page_views: int
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
        best: list[ValueVisitors] = []
        looked_at = 0
        for portion, following in _portions(moment, taken, wanted, MOST_LOOKED_AT):
            best += (row for row in portion if not row.visitors.isdisjoint(among))
            best.sort(key=lambda row: -len(row.visitors & among))  # stable: by page views among equals
            best = best[:upto]
            looked_at += len(portion)
            if len(best) == upto and following <= len(best[-1].visitors & among):
                return Crossed(best, True, looked_at)
            if looked_at >= MOST_LOOKED_AT and following:
                return Crossed(best, False, looked_at)
        return Crossed(best, True, looked_at)

    return taken._ask(crossed)


def every_value_of(taken: Snapshot, wanted: Wanted) -> Iterator[ValueVisitors]:
    """All values, most page views first, with their visitors: the sets of a portion are in memory at a time."""
    ranked = taken._ask(lambda moment: _ranked(moment, wanted, MOST_PAGES))
    for portion in portions(ranked, SETS_AT_A_TIME):
        yield from taken._ask(lambda moment, portion=portion: _with_sets(moment, taken, wanted, portion))  # type: ignore[misc]


def pending_of(taken: Snapshot) -> tuple[int, bool]:
    """How many page views no aggregate counts yet, and whether that is so exactly."""

    def counted(moment: Moment) -> tuple[int, bool]:
        tail = moment.tail_of(ALL_DAYS)
        return tail.pending, tail.pending_is_exact

    return taken._ask(counted)


def _portions(moment: Moment, taken: Snapshot, wanted: Wanted, most: int) -> Iterator[tuple[list[ValueVisitors], int]]:
    """Values by page views, each portion with the page views of the first one after it, or 0."""
    ranked = _ranked(moment, wanted, most + 1)
    for start in range(0, min(len(ranked), most), SETS_AT_A_TIME):
        end = start + SETS_AT_A_TIME
        following = ranked[end].page_views if end < len(ranked) else 0
        yield _with_sets(moment, taken, wanted, ranked[start:end]), following


def _ranked(moment: Moment, wanted: Wanted, most: int) -> list[Ranked]:
    lister = lister_of(moment, wanted)
    if lister is None:
        return []
    return lister.ordered(upto=most) if wanted.prefix else lister.ranked(limit=most, offset=0)


def _with_sets(moment: Moment, taken: Snapshot, wanted: Wanted, ranked: Sequence[Ranked]) -> list[ValueVisitors]:
    lister = lister_of(moment, wanted)
    if lister is None:
        return []
    texts = _texts(moment.using, ranked)
    return [
        ValueVisitors(text, it.page_views, visitors)
        for text, it, visitors in zip(
            texts, ranked, _sets(moment, taken, lister.span, lister.dimension, ranked, texts), strict=True
        )
    ]


def _texts(using: str, ranked: Sequence[Ranked]) -> list[str]:
    found = texts_of(using, (it.subject for it in ranked if it.value is None and it.subject is not None))
    return [found[it.subject or 0] if it.value is None else it.value for it in ranked]


def _sets(
    moment: Moment,
    taken: Snapshot,
    span: Span,
    dimension: NamedDimension,
    ranked: Sequence[Ranked],
    texts: Sequence[str],
) -> list[VisitorSet]:
    folded = moment.folded.subject_sets(span, dimension, [it.subject for it in ranked if it.subject is not None])
    maker = Sets(moment, span, taken._origin)
    keys = maker.tail.session_keys_by_value(span, dimension)
    return [
        maker.of(folded.get(it.subject or 0, BitMap()), keys.get(text, ()))
        for it, text in zip(ranked, texts, strict=True)
    ]
