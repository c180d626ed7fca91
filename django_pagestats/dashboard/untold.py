"""What else the public is not told, so that nothing of a few visitors is left when what is told is subtracted.

One page tells all of a range (see `public`), so it is numbers of one page that could be subtracted: a row or a place of
the chart from the total, a row from a row or day that has all of its visitors, all rows or all places from the total.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from django_pagestats.dashboard.numbers import FEW, is_few
from django_pagestats.stats import VisitorSet


class HasVisitors(Protocol):
    """A row of a list."""

    @property
    def visitors(self) -> VisitorSet: ...


Row = TypeVar("Row", bound=HasVisitors)


def places_told(visitors: Sequence[int | None], everybody: int, *, beside: int = 0) -> list[bool]:
    """Of which places of a chart the number may be told; of a few visitors, and of all but a few, it may not.

    What is left empty, with the visitors of the range who are `beside` the chart, is the total less all that is told:
    so if it is of a few, the place with the fewest visitors of the others is left empty, too.
    """
    told = [it is not None and it >= FEW and not is_few(everybody - it) for it in visitors]
    empty = [it or 0 for it, is_told in zip(visitors, told, strict=True) if not is_told]
    if is_few(max([*empty, beside])) and any(told):
        _, place = min((it or 0, place) for place, it in enumerate(visitors) if told[place])
        told[place] = False
    return told


def rows_told(rows: Iterable[Row], everybody: VisitorSet, others: Iterable[VisitorSet]) -> list[Row]:
    """Those of a list that may be told of beside the visitors of the site, and the groups of `others`."""
    others = [everybody, *others]
    told: list[Row] = []
    for row in rows:
        are_many = len(row.visitors) >= FEW
        if are_many and all(_are_apart(row.visitors, it) for it in (*others, *(it.visitors for it in told))):
            told.append(row)
    while told and _is_rest_few([row.visitors for row in told], everybody):
        told.pop()
    return told


def _are_apart(one: VisitorSet, other: VisitorSet) -> bool:
    """Whether the greater of both does not have all of the other, and a few more."""
    if len(one) > len(other):
        one, other = other, one
    return not (is_few(len(other) - len(one)) and one <= other)


def _is_rest_few(sets: Sequence[VisitorSet], everybody: VisitorSet) -> bool:
    """Whether the total less all rows is a few.

    It is those who are in no row, if nobody is in two; and those who are in two, if everybody is in one. Who knows what
    the rows are, such as devices, knows that next to all of them are.
    """
    nobody = everybody - everybody
    once, twice = nobody, nobody
    for some in sets:
        once, twice = once | some, twice | (once & some)
    outside, several = len(everybody - once), len(twice)
    return (is_few(outside) and several < FEW) or (is_few(several) and outside < FEW)
