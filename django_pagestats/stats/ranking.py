"""Which values have the most page views in some days, and how many have any, without adding up the rows of all of them.

No value has more page views in some days than in all time. So the values with the most of all time are looked up in
these days, until no other one can be among the first. And of long ranges the last days have most of the values: only
the others are looked for in the days before. Where that would not do all rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyroaring import BitMap

from django_pagestats.dimensions import NamedDimension
from django_pagestats.merging.reading import State
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.wheres import values_where

#: of fewer days all rows are read at once
FEWEST_DAYS = 14
#: so many values are looked up at first, of so many days on; else, and if these are not enough, as many as that
LONG_DAYS = 200
FEW_CANDIDATES, MANY_CANDIDATES = 64, 512
#: of a longer list than so all rows are read
LONGEST_TOP = 200
#: the last days, whose values are read, and so many times as many if these are not enough
LAST_DAYS = 28
MORE_DAYS = 4
#: of more values than these it is not asked which there are
MOST_KNOWN = 200_000
#: rows that are looked up by primary key in place of reading all
MOST_LOOK_UPS = 1_000_000

#: values that are read of all time: those to look up, and the next one, whose page views no other exceeds
MOST_VIEWED = MANY_CANDIDATES + 1

Rows = Callable[..., list[tuple[Any, ...]]]
#: subject, page views
Total = tuple[int, int]


class Ranking:
    """One dimension in some days, by statements of one state."""

    def __init__(
        self,
        rows: Rows,
        span: Span,
        dimension: NamedDimension,
        days: Sequence[int],
        most_viewed: Callable[[], list[Total]],
        known: Callable[[], BitMap],
    ) -> None:
        self._rows = rows
        self.span, self.dimension, self.days = span, dimension, days
        #: gives `MOST_VIEWED` values with the most page views of all time, if there are as many
        self._most_viewed = most_viewed
        #: gives all values there are, or of very many `MOST_KNOWN` and one
        self._known = known

    # -- the first ones

    def top(self, count: int, state: Callable[[], State]) -> list[Total] | None:
        """The first ones by page views, then subject; None: that is not to be had by look-ups."""
        if count > LONGEST_TOP or len(self.days) < FEWEST_DAYS or len(most_viewed := self._most_viewed()) < MOST_VIEWED:
            return None
        is_long = len(self.days) >= LONG_DAYS
        for most in (FEW_CANDIDATES, MANY_CANDIDATES) if is_long else (MANY_CANDIDATES,):
            # page views that are folded into days only may be of one value; ids of page views are at least as many
            others = most_viewed[most][1] + state().cursor - state().all_cursor
            if count > most or most_viewed[count - 1][1] <= others:
                continue  # none can have more page views in these days than in all time
            found = self._totals([subject for subject, _ in most_viewed[:most]])[:count]
            if len(found) == count and found[-1][1] > others:
                return found
        return None

    def _totals(self, subjects: Sequence[int]) -> list[Total]:
        if not subjects:
            return []
        where = values_where(self.span, self.dimension, buckets=self.days, subjects=subjects)
        rows = self._rows(["a.subject", "SUM(a.page_views)"], where, tail="GROUP BY a.subject")
        return sorted(((subject, int(total)) for subject, total in rows), key=lambda it: (-it[1], it[0]))

    # -- how many

    def count(self) -> int | None:
        """How many values have a page view; None: to count them at once takes no longer."""
        if len(self.days) < 2 * LAST_DAYS or len(self._known()) < MOST_VIEWED:
            return None
        seen, rest, step = BitMap(), self.days, LAST_DAYS
        while step <= min(len(rest) // 2, LAST_DAYS * MORE_DAYS):
            seen |= self._subjects(rest[-step:])
            rest, step = rest[:-step], step * MORE_DAYS
            # a value has its id before it is folded, so that none is missing
            unseen = self._known() - seen
            if len(self._known()) <= MOST_KNOWN and len(unseen) * len(rest) <= MOST_LOOK_UPS:
                return len(seen) + (len(self._subjects(rest, list(unseen))) if unseen else 0)
        return len(seen | self._subjects(rest))

    def _subjects(self, days: Sequence[int], subjects: Sequence[int] | None = None) -> BitMap:
        where = values_where(self.span, self.dimension, buckets=days, subjects=subjects)
        return BitMap(subject for (subject,) in self._rows(["a.subject"], where, tail="GROUP BY a.subject"))
