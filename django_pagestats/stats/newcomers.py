"""Who is who among the visitors of a snapshot: by visitor id or, where they had none yet, by a number of their own.

A session key gets its id from a fold, at any time, and what is folded then has that id. Two sets of one snapshot may be
made before and after. So whoever had no id when the snapshot looked, a *newcomer*, keeps its number in all of its sets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pyroaring import BitMap

from django_pagestats.ids import known_visitor_ids
from django_pagestats.merging.reading import State


class Newcomers:
    """The session keys of a tail as numbers: ids, and those of newcomers."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._state: State | None = None
        self._ids: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        #: id that a newcomer has got since -> its number
        self._late: dict[int, int] = {}

    @property
    def session_keys(self) -> Collection[str]:
        """Those of the newcomers, in the order of their numbers."""
        return self._numbers.keys()

    def look(self, session_keys: Iterable[str], state: State, known: Mapping[str, int] | None = None) -> None:
        """Look up the ids of a tail's session keys, once; to be called after aggregates of this state were read.

        Newcomers are looked up again for each state: by then what the aggregates have in their sets has its ids.
        `known`: all ids that session keys have in this state, where somebody has looked them up.
        """
        new = {key for key in session_keys if key not in self._ids and key not in self._numbers}
        again = set(self._numbers) if state != self._state else set()
        if known is None:
            known = known_visitor_ids(self.using, new | again) if new or again else {}
        found = known
        self._late.update((found[key], self._numbers[key]) for key in again if key in found)
        self._ids.update((key, found[key]) for key in new if key in found)
        # in an order that another look at the same ones has, too
        for key in sorted(new.difference(found)):
            self._numbers[key] = len(self._numbers)
        self._state = state

    def parted(self, ids: BitMap, session_keys: Iterable[str] = ()) -> tuple[BitMap, BitMap]:
        """The visitors of a set of the aggregates, and of session keys: their ids, and the numbers of newcomers."""
        keys = set(session_keys)
        known = BitMap(self._ids[key] for key in keys if key in self._ids)
        newcomers = BitMap(self._numbers[key] for key in keys if key in self._numbers)
        if late := ids & BitMap(self._late):
            newcomers |= BitMap(self._late[visitor] for visitor in late)
            ids = ids - late
        return ids | known, newcomers
