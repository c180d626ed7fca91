"""Page views in memory, from which chunks are cut: a stretch of them with ids in place of their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django_pagestats.buckets import Calendar
from django_pagestats.dimensions import Spread
from django_pagestats.folding.zones import Rules
from django_pagestats.ids import Witnesses
from django_pagestats.tally import Tally


@dataclass(frozen=True)
class Chunk:
    """The page views of one fold, tallied and not yet merged."""

    generation: int
    after: int
    upto: int  #: the cursor once it is merged
    target: int  #: how far it was allowed to go
    page_views: int
    tally: Tally
    #: id and whole seconds since the epoch of its last page view
    last: tuple[int, int] | None
    is_full: bool  #: as many page views as the chunk size asks for
    #: by which it is seen that the database still has the ids of its subjects and visitors
    witnesses: Witnesses
    #: what the generation is to keep of its zone's rules, see folding.zones
    zone_rules: Rules = None


@dataclass
class Stretch:
    """Page views in memory, with ids in place of their texts, from which chunks are cut one after another."""

    after: int
    target: int
    ids: Sequence[int]
    subjects: Sequence[int]
    visitors: Sequence[int]
    seconds: Sequence[int]  #: whole ones since the epoch
    is_last: bool  #: no page views follow up to the target
    witnesses: Witnesses
    #: where they count beside site and page; None: the generation has no named dimensions
    spread: Spread | None = None

    def size_to_a_days_end(self, size: int, calendar: Calendar) -> int:
        """How many of the first `size` page views come before the last day of them, if these are more than half.

        A day that is folded at once has its rows written once, and in order.
        """
        number = min(size, len(self.ids))
        if number == 0 or (self.is_last and len(self.ids) <= size):
            return number
        begin = calendar.day_start(calendar.day(self.seconds[number - 1]))
        for index in range(number - 1, number // 2 - 1, -1):
            if self.seconds[index] < begin:
                return index + 1
        return number

    def followed_by(self, more: Stretch) -> Stretch:
        """Both as one; the ids of the later one's witnesses are those of both."""
        return replace(
            self,
            ids=[*self.ids, *more.ids],
            subjects=[*self.subjects, *more.subjects],
            visitors=[*self.visitors, *more.visitors],
            seconds=[*self.seconds, *more.seconds],
            is_last=more.is_last,
            witnesses=more.witnesses,
            spread=None if self.spread is None or more.spread is None else self.spread.followed_by(more.spread),
        )

    def page_views(self, size: int) -> Iterator[tuple[int, int, int]]:
        """(subject, visitor, second) of the first `size` page views."""
        return zip(self.subjects[:size], self.visitors[:size], self.seconds[:size], strict=True)

    def spread_of(self, size: int) -> Spread | None:
        """Where the first `size` page views count beside site and page."""
        return None if self.spread is None else self.spread.part(0, size)

    def upto(self, size: int) -> int:
        """The cursor after the first `size` page views."""
        is_end = self.is_last and len(self.ids) <= size
        return max(self.target, self.after) if is_end else self.ids[min(size, len(self.ids)) - 1]

    def last(self, size: int) -> tuple[int, int] | None:
        """Of the first `size` page views, the last one's id and second."""
        number = min(size, len(self.ids))
        return (self.ids[number - 1], self.seconds[number - 1]) if number else None

    def rest(self, size: int) -> Stretch | None:
        """What follows the first `size` page views, if there is anything."""
        if len(self.ids) <= size:
            return None
        return replace(
            self,
            after=self.upto(size),
            ids=self.ids[size:],
            subjects=self.subjects[size:],
            visitors=self.visitors[size:],
            seconds=self.seconds[size:],
            spread=None if self.spread is None else self.spread.part(size, None),
        )


class Cut(NamedTuple):
    """Where the next chunk ends: it has the first `size` page views of a stretch."""

    stretch: Stretch
    size: int
    is_full: bool
