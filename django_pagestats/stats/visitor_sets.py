"""Visitors as sets: of two things, who did both, or the one and not the other; exact, and without telling who it was.

A set has no keys in it: the ids of its visitors, and the numbers by which its snapshot tells those visitors apart who
have no id yet (see `newcomers`). An operation makes a new set at once: with a million visitors on each side it takes
less than a millisecond, which is little beside reading them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NoReturn

from pyroaring import BitMap


class VisitorSet:
    """Some visitors of one instant, immutable: `&`, `|`, `-`, `^`, comparisons as of Python's sets, `len()`, `bool()`.

    Sets are of one snapshot, or of answers between which nothing was recorded or folded; others raise ValueError. No
    way leads from a set to a visitor: it has no elements to go through, to look for or to store.
    """

    __slots__ = ("_ids", "_newcomers", "_origin")

    def __init__(self, ids: BitMap, newcomers: BitMap, origin: Hashable) -> None:
        #: neither is changed any more
        self._ids, self._newcomers = ids, newcomers
        #: what the numbers mean: only sets of equal origins can be compared
        self._origin = origin

    def __and__(self, other: VisitorSet) -> VisitorSet:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        self._check(other)
        return VisitorSet(self._ids & other._ids, self._newcomers & other._newcomers, self._origin)

    def __or__(self, other: VisitorSet) -> VisitorSet:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        self._check(other)
        return VisitorSet(self._ids | other._ids, self._newcomers | other._newcomers, self._origin)

    def __sub__(self, other: VisitorSet) -> VisitorSet:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        self._check(other)
        return VisitorSet(self._ids - other._ids, self._newcomers - other._newcomers, self._origin)

    def __xor__(self, other: VisitorSet) -> VisitorSet:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        self._check(other)
        return VisitorSet(self._ids ^ other._ids, self._newcomers ^ other._newcomers, self._origin)

    def isdisjoint(self, other: VisitorSet) -> bool:
        """Whether no visitor is in both."""
        if not isinstance(other, VisitorSet):
            raise TypeError(f"{other!r} is no VisitorSet.")
        self._check(other)
        return self._ids.isdisjoint(other._ids) and self._newcomers.isdisjoint(other._newcomers)

    def __le__(self, other: VisitorSet) -> bool:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        self._check(other)
        return self._ids <= other._ids and self._newcomers <= other._newcomers

    def __lt__(self, other: VisitorSet) -> bool:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        return self <= other and self != other

    def __ge__(self, other: VisitorSet) -> bool:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        return other <= self

    def __gt__(self, other: VisitorSet) -> bool:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        return other < self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VisitorSet):
            return NotImplemented
        self._check(other)
        return self._ids == other._ids and self._newcomers == other._newcomers

    def __hash__(self) -> int:
        return hash((self._origin, len(self)))

    def __len__(self) -> int:
        return len(self._ids) + len(self._newcomers)

    def __bool__(self) -> bool:
        return bool(self._ids) or bool(self._newcomers)

    def __repr__(self) -> str:
        return f"<VisitorSet of {len(self)}>"

    def __copy__(self) -> VisitorSet:
        return self

    def __deepcopy__(self, memo: object) -> VisitorSet:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A VisitorSet cannot be pickled: it says nothing outside its snapshot. Keep its len() instead.")

    def _check(self, other: VisitorSet) -> None:
        if self._origin != other._origin:
            raise ValueError(
                "These sets of visitors are of different instants, or of different databases: take both from one"
                " snapshot (`with stats.snapshot() as now:`, and then `now.visitors(...)`)."
            )
