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


def rows_told(rows: Iterable[Row], before: Sequence[Sequence[VisitorSet]]) -> list[Row]:
    """Those of a list that may be told beside what is told before it, the visitors of the site among that."""
    groups = [group for some in before for group in some]
    told: list[Row] = []
    for row in rows:
        others = [*groups, *(it.visitors for it in told)]
        is_apart = len(row.visitors) >= FEW and all(_are_apart(row.visitors, it) for it in others)
        if is_apart and not any(_is_rest_few(some, row.visitors) for some in before):
            told.append(row)
    while told and any(_is_rest_few([row.visitors for row in told], of) for of in groups):
        told.pop()
    return told


def _are_apart(one: VisitorSet, other: VisitorSet) -> bool:
    """Whether the greater of both does not have all of the other, and a few more."""
    if len(one) > len(other):
        one, other = other, one
    return not (is_few(len(other) - len(one)) and one <= other)


def _is_rest_few(sets: Iterable[VisitorSet], of: VisitorSet) -> bool:
    """Whether some visitors, such as all of them, less all sets of a list that are within them, are a few.

    It is those who are in no set, if nobody is in two; and those who are in two, if everybody is in one. Who knows what
    the sets are, such as devices, knows that next to all are in one.
    """
    nobody = of - of
    once, twice = nobody, nobody
    for some in sets:
        if some <= of:
            once, twice = once | some, twice | (once & some)
    outside, several = len(of - once), len(twice)
    return (is_few(outside) and several < FEW) or (is_few(several) and outside < FEW)
