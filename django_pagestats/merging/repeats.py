"""Repeat sets: the visitors with at least two page views, kept of rows of the site beside all their visitors.

Two of them are united as numbers of page views add up, counted as none, one or more: whoever is in one of both, or was
seen once in each. So it is no matter in which order page views come. NULL is stored where nobody has two; and where
some have and nobody knows who, in a generation of before there were such sets: that stays unknown, with whatever it is
united.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pyroaring import BitMap

from django_pagestats.buckets import Dimension
from django_pagestats.merging.rows import deserialized, serialized
from django_pagestats.tally import Level


def has_repeats(level: Level) -> bool:
    """Whether rows of a level have such sets."""
    return level.dimension == Dimension.SITE


@dataclass
class Visits:
    """The visitors of some page views of the site, and those of them with at least two; None: nobody knows which."""

    page_views: int
    visitors: BitMap
    repeats: BitMap | None

    @classmethod
    def counted(cls, seen: Sequence[int]) -> Visits:
        """Of the visitor of each page view."""
        visitors = BitMap(seen)
        if len(visitors) == len(seen):
            return cls(len(seen), visitors, BitMap())
        return cls(len(seen), visitors, BitMap([visitor for visitor, count in Counter(seen).items() if count > 1]))

    @classmethod
    def stored(cls, page_views: int, visitor_set: bytes, repeat_set: bytes | None) -> Visits:
        """Of a row; raises UnreadableSetError."""
        visitors = deserialized(visitor_set)
        if repeat_set is not None:
            return cls(page_views, visitors, deserialized(repeat_set))
        return cls(page_views, visitors, BitMap() if page_views == len(visitors) else None)

    def add(self, more: Visits) -> None:
        """Count other page views too."""
        if self.repeats is not None:
            if more.repeats is None:
                self.repeats = None
            else:
                self.repeats |= more.repeats
                self.repeats |= self.visitors & more.visitors
        self.page_views += more.page_views
        self.visitors |= more.visitors

    def sets(self) -> tuple[int, bytes, bytes | None]:
        """How many visitors, and both sets as they are stored."""
        repeat_set = serialized(self.repeats)[1] if self.repeats else None
        return *serialized(self.visitors), repeat_set
