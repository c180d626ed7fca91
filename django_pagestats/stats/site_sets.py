"""Several spans of the site at once: each bucket is added once, to the piece that it is of; pieces make up spans."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from pyroaring import BitMap

from django_pagestats.buckets import Granularity
from django_pagestats.merging.repeats import Visits
from django_pagestats.stats.ranges import Span

BELOW_ALL, ABOVE_ALL = float("-inf"), float("inf")


class Pieces:
    """What some spans are cut into by the edges of all of them."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._edges: dict[Granularity, list[float]] = {}
        self._visits: dict[tuple[Granularity, int], Visits] = {}
        for span in spans:
            self._edges.setdefault(span.granularity, []).extend(_edges(span))
        for granularity, edges in self._edges.items():
            self._edges[granularity] = sorted(set(edges))

    def add(self, granularity: Granularity, bucket: int, visits: Visits) -> None:
        """Count a bucket, whose visits are given away."""
        # of all time there is one bucket, whatever its number
        piece = granularity, 0 if granularity == Granularity.ALL else bisect_right(self._edges[granularity], bucket)
        if piece in self._visits:
            self._visits[piece].add(visits)
        else:
            self._visits[piece] = visits

    def together(self, spans: Iterable[Span]) -> Visits:
        """What the buckets of some of the spans add up to."""
        whole = Visits(0, BitMap(), BitMap())
        for span in spans:
            for visits in self._of(span):
                whole.add(visits)
        return whole

    def _of(self, span: Span) -> Iterable[Visits]:
        if span.is_all_time:
            pieces: Iterable[int] = [0]
        else:
            low, high = (bisect_right(self._edges[span.granularity], edge) for edge in _edges(span))
            pieces = range(low, high)
        return (self._visits[span.granularity, n] for n in pieces if (span.granularity, n) in self._visits)


def _edges(span: Span) -> tuple[float, float]:
    return BELOW_ALL if span.low is None else span.low, ABOVE_ALL if span.high is None else span.high
