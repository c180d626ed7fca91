"""Which values have the most page views in some days, and how many have any, without adding up the rows of all of them.

No value has more page views in some days than in all time. So a few values with the most of all time are looked up in
these days, and then those that may have more in them than the last of the first ones. And the last days have most of
the values: only the others are looked for in the days before. Where that would not do all rows are read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from pyroaring import BitMap

from django_pagestats.dimensions import NamedDimension
from django_pagestats.merging.reading import State
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.wheres import values_where

#: of fewer days, and of fewer values, all rows are read at once; and, where page views are not very many, to count
FEWEST_DAYS, FEWEST_VALUES = 14, 513
MANY_DAYS = 56
#: so many values more than are wanted are looked up at first: these tell which others may be among the first
MORE_VALUES = 6
#: values that are read of all time: those that may be looked up, and the next one, whose page views no other exceeds
MOST_VIEWED = 2_049
#: of a longer list than so all rows are read
LONGEST_TOP = 200
#: the last days, whose values are read, and so many times as many are looked at next
LAST_DAYS = 10
MORE_DAYS = 3
#: of more values than these it is not asked which there are
MOST_KNOWN = 200_000
#: rows that are looked up by primary key, and read, in so little time that it is worth no statement more
FEW_LOOK_UPS, FEW_ROWS = 10_000, 50_000
#: so many times as many values as are missing must have been seen for them to be looked up: a look-up takes as long as
#: five rows, and of the values that some days have half are of each of them
DEARER = 10

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
        if (
            count > LONGEST_TOP
            or len(self.days) < FEWEST_DAYS
            or len(most_viewed := self._most_viewed()) < FEWEST_VALUES
        ):
            return None
        # page views that are folded into days only may be of one value; ids of page views are at least as many
        unknown = state().cursor - state().all_cursor
        has_all = len(most_viewed) < MOST_VIEWED
        most = len(most_viewed) // DEARER if has_all else MOST_VIEWED - 1
        totals: list[Total] = []
        known, upto = 0, count + MORE_VALUES
        while known < upto <= most:
            totals += self._totals([subject for subject, _ in most_viewed[known:upto]])
            found = sorted(totals, key=lambda it: (-it[1], it[0]))[:count]
            least = found[-1][1] if len(found) == count else 0
            # none has more page views in these days than in all time; of equal ones the one that was known first
            may_be = bisect_right(most_viewed, unknown - least, key=lambda it: -it[1])
            known, upto = upto, may_be
            if upto <= known:
                return found if least > unknown else None
        return None

    def _totals(self, subjects: Sequence[int]) -> list[Total]:
        if not subjects:
            return []
        where = values_where(self.span, self.dimension, buckets=self.days, subjects=subjects)
        rows = self._rows(["a.subject", "SUM(a.page_views)"], where, tail="GROUP BY a.subject")
        return [(subject, int(total)) for subject, total in rows]

    # -- how many

    def count(self, *, is_large: bool) -> int | None:
        """How many values have a page view; None: to count them at once takes no longer.

        `is_large`: there are very many page views, so that it pays for fewer days.
        """
        if len(self.days) < (FEWEST_DAYS if is_large else MANY_DAYS) or len(known := self._known()) < FEWEST_VALUES:
            return None
        seen, rest, step = BitMap(), self.days, LAST_DAYS
        while rest:
            # a value has its id before it is folded, so that none is missing
            unseen = known - seen if len(known) <= MOST_KNOWN else known
            if not unseen:
                break
            if len(unseen) * len(rest) <= FEW_LOOK_UPS or (seen and len(seen) * len(rest) <= FEW_ROWS):
                step = len(rest)
            days, rest = rest[-step:], rest[:-step]
            are_few = len(known) <= MOST_KNOWN and len(unseen) * DEARER < len(seen)
            seen |= self._subjects(days, list(unseen) if are_few else None)
            step *= MORE_DAYS if seen else 2  # days to come have none
        return len(seen)

    def _subjects(self, days: Sequence[int], subjects: Sequence[int] | None) -> BitMap:
        where = values_where(self.span, self.dimension, buckets=days, subjects=subjects)
        rows = self._rows(["a.subject"], where, tail="GROUP BY a.subject")
        return BitMap(list(chain.from_iterable(rows)))
