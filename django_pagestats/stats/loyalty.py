"""Who came again: new and returning visitors, on how many days they were seen, and who came back in which week.

The set of each day is read once, in order, and what is kept of it is added up: a week's visitors, the new ones of the
weeks that are still followed, and of how many days each visitor is. Memory does not grow with the range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from pyroaring import BitMap

from django_pagestats.buckets import Granularity, day_number
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.visitor_questions import Sets
from django_pagestats.stats.visitor_sets import VisitorSet


@dataclass(frozen=True, slots=True)
class Week:
    """The visitors of a week, or of the part of it that a range has."""

    visitors: int
    #: those who were never here before
    new: int
    #: how many of the new ones came in each of the weeks that followed, the next one first
    came_again: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DaysSeen:
    """Visitors by the number of days on which they were seen."""

    one: int
    two: int
    three_to_five: int
    six_or_more: int


@dataclass(frozen=True, slots=True)
class Loyalty:
    """The visitors of a range of days, who are new or returning."""

    visitors: int
    #: seen before the range, on whatever day since the first
    returning: int
    days_seen: DaysSeen
    #: in order
    weeks: list[Week]

    @property
    def new(self) -> int:
        return self.visitors - self.returning


def loyalty_of(taken: Snapshot, weeks: Sequence[tuple[date, date]], *, followed: int) -> Loyalty:
    """The loyalty of the days of some weeks, `[start, end)` each, one right after the other; at least one.

    The new visitors of a week are followed through so many of the weeks after it. A visitor is a session key: what
    it recognises, and for how long, the policies of the range say (`stats.visitor_policy()`). Raises TailTooLongError.
    """
    before = taken.visitors(end=weeks[0][0])
    return taken._ask(lambda moment: _loyalty_of(moment, taken, before, weeks, followed))


def _loyalty_of(
    moment: Moment, taken: Snapshot, before: VisitorSet, weeks: Sequence[tuple[date, date]], followed: int
) -> Loyalty:
    nobody = before - before
    counter = _Counter(nobody)
    known, everybody = before, nobody
    found: list[Week] = []
    #: the new visitors of the weeks before, as far as they are followed, with what is told of these weeks
    cohorts: deque[tuple[VisitorSet, Week]] = deque(maxlen=followed)
    for visitors in _visitors_by_week(moment, taken, weeks, counter, nobody):
        for cohort, week in cohorts:
            week.came_again.append(len(cohort & visitors))
        new = visitors - known
        found.append(Week(len(visitors), len(new)))
        cohorts.append((new, found[-1]))
        known |= visitors
        everybody |= visitors
    return Loyalty(len(everybody), len(everybody & before), counter.days_seen(everybody), found)


def _visitors_by_week(
    moment: Moment, taken: Snapshot, weeks: Sequence[tuple[date, date]], counter: _Counter, nobody: VisitorSet
) -> Iterator[VisitorSet]:
    """The visitors of each week, whose days are counted on the way."""
    days = _visitors_by_day(moment, taken, weeks[0][0], weeks[-1][1])
    day, visitors = next(days, (None, nobody))
    for _, end in weeks:
        of_week = nobody
        while day is not None and day < day_number(end):
            of_week |= visitors
            counter.add(visitors)
            day, visitors = next(days, (None, nobody))
        yield of_week


def _visitors_by_day(moment: Moment, taken: Snapshot, start: date, end: date) -> Iterator[tuple[int, VisitorSet]]:
    """Each day that has visitors with the set of them, in order; some sets at a time are in memory."""
    span = Span(Granularity.DAY, day_number(start), day_number(end))
    folded = moment.folded.series(span, None)
    maker = Sets(moment, span, taken._origin)
    tailed = maker.tail.session_keys_by_bucket(span)
    sets = moment.folded.sets_in_order(span, None, sorted(folded))
    bucket, stored = next(sets, (None, BitMap()))
    for day in sorted(folded.keys() | tailed.keys()):
        of_day = BitMap()
        if day == bucket:
            of_day = stored
            bucket, stored = next(sets, (None, BitMap()))
        yield day, maker.of(of_day, tailed.get(day, ()))


class _Counter:
    """On how many days each visitor was seen, as binary numbers: a plane is the visitors whose number has that digit.

    A day is added to all of them at once, as one adds by hand: who has the digit already carries it to the next one.
    """

    def __init__(self, nobody: VisitorSet) -> None:
        self._planes = [nobody, nobody, nobody]
        #: whose number outgrew the planes: eight or more
        self._many = nobody

    def add(self, carry: VisitorSet) -> None:
        for number, plane in enumerate(self._planes):
            self._planes[number], carry = plane ^ carry, plane & carry
            if not carry:
                return
        self._many |= carry

    def days_seen(self, everybody: VisitorSet) -> DaysSeen:
        ones, twos, fours = self._planes
        six_or_more = self._many | (fours & twos)
        few = everybody - six_or_more
        one, two = few & (ones - twos - fours), few & (twos - ones - fours)
        return DaysSeen(len(one), len(two), len(few - one - two), len(six_or_more))
