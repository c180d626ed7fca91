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
    so where it is of a few, the places with the fewest visitors of the others are left empty, too, until it might be of
    a few or of none (see `_tells_few`).
    """
    told = [it is not None and it >= FEW and not is_few(everybody - it) for it in visitors]
    empty = [beside, *(it or 0 for it, is_told in zip(visitors, told, strict=True) if not is_told)]
    if not is_few(max(empty)):
        return told
    others = sorted((it or 0, place) for place, it in enumerate(visitors) if told[place])
    for count, (_, place) in enumerate(others, 1):
        told[place] = False
        least = others[count][0] if count < len(others) else None
        if least is None or not _tells_few(sum(empty) + sum(it for it, _ in others[:count]), count, least):
            break
    return told


def _tells_few(together: int, count: int, least: int) -> bool:
    """Whether who knows what empty places have together knows, too, how many of that are in those of a few visitors.

    `count` of the others are empty. Each has five visitors at least, and no more than `least`, as the smallest that is
    told, so those of a few have the rest. That must be able to be all from none to four, or five at least.
    """
    at_most, at_least = together - FEW * count, together - least * count
    return at_most < FEW - 1 or is_few(at_least)


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
