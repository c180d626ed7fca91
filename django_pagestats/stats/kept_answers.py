"""What aggregates have said, kept in this process until they change: so that who asks again reads the tail only.

An answer is kept by where it was read and by the state that it is of. Whatever changes aggregates raises the revision
in the same transaction, by a number drawn anew (`models.raised_revision`): so two states are equal only if the
aggregates are, be it after a rollback, a restored dump or the fail-over to a server that lost its last commits, and a
schema of other rows under the same alias has another one. What was never raised so, as by a release before, is not
kept. Processes keep their own.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence, Set
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple

from pyroaring import BitMap

from django_pagestats.conf import conf
from django_pagestats.merging.reading import State
from django_pagestats.merging.repeats import Visits
from django_pagestats.models import REVISION_STEP
from django_pagestats.schemas import schema_of

#: what an answer is kept with, beside its own bytes
ENTRY_BYTES = 400
#: of a long list so many are measured
MEASURED = 50
#: of the bytes of all, the most that one answer may have
LARGEST_PART = 4

MEGABYTE = 1_000_000

#: types of what has no parts
SINGLE = frozenset({int, str, type(None)})

#: an answer that there is nothing: None says that there is no answer
ABSENT = object()


class Place(NamedTuple):
    """Where aggregates are: the same alias has other tables for each tenant that has a schema."""

    using: str
    schema: str | None


class KeptAnswers:
    """Answers of this process, the one that was asked for least lately is dropped first; for all threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answers: OrderedDict[tuple[Place, Hashable], tuple[Any, int]] = OrderedDict()
        #: the state that the answers of a place are of: those of another one nobody asks for again
        self._states: dict[Place, State] = {}
        self.bytes = 0

    def get(self, place: Place, state: State, question: Hashable) -> Any:
        """The answer, which nobody may change; None: it is not kept."""
        with self._lock:
            if self._states.get(place) != state or (found := self._answers.get((place, question))) is None:
                return None
            self._answers.move_to_end((place, question))
            return found[0]

    def put(self, place: Place, state: State, question: Hashable, answer: Any) -> None:
        most = conf.ANSWERS_MEGABYTES * MEGABYTE
        size = ENTRY_BYTES + bytes_of(question) + bytes_of(answer)
        if size * LARGEST_PART > most:
            return
        with self._lock:
            if self._states.get(place) != state:
                for key in [key for key in self._answers if key[0] == place]:
                    self._drop(key)
                self._states[place] = state
            if (place, question) in self._answers:
                self._drop((place, question))
            self._answers[place, question] = answer, size
            self.bytes += size
            while self.bytes > most:
                self._drop(next(iter(self._answers)))

    def clear(self) -> None:
        with self._lock:
            self._answers.clear()
            self._states.clear()
            self.bytes = 0

    def after_fork(self) -> None:
        """In a forked process, where another thread of its parent may have held the lock: begin anew."""
        self.__init__()  # type: ignore[misc]

    def _drop(self, key: tuple[Place, Hashable]) -> None:
        self.bytes -= self._answers.pop(key)[1]


kept_answers = KeptAnswers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=kept_answers.after_fork)


def place_of(using: str) -> Place:
    return Place(using, schema_of(using))


def may_be_kept(state: State) -> bool:
    """Whether answers of this state are looked for and kept."""
    return state.revision >= REVISION_STEP and conf.ANSWERS_MEGABYTES > 0


def bytes_of(value: object) -> int:
    """About how much memory a value takes."""
    if type(value) in SINGLE:  # as most are: what else it may be takes ten times as long to find out
        return sys.getsizeof(value)
    if isinstance(value, BitMap):
        told: Any = value.get_statistics()
        sizes: list[int] = [size for name, size in told.items() if name.startswith("n_bytes")]
        return ENTRY_BYTES + sum(sizes)
    if isinstance(value, Visits):
        return bytes_of(value.visitors) + bytes_of(value.repeats)
    if isinstance(value, Mapping):
        return sys.getsizeof(value) + _of_many(list(islice(value.items(), MEASURED)), len(value))
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        return sys.getsizeof(value) + _of_many(list(islice(value, MEASURED)), len(value))
    return sys.getsizeof(value)


def _of_many(measured: Sequence[object], count: int) -> int:
    return sum(bytes_of(value) for value in measured) * count // max(1, len(measured))
