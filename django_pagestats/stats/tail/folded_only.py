"""The tails of a snapshot that wants the folded part only: what is in no row of all time yet, or nothing."""

from __future__ import annotations

from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.merging.reading import State
from django_pagestats.stats.tail.base import FOLDED_MOVED, Tail, pending_after
from django_pagestats.stats.tail.short import ShortTail


class GapTail(ShortTail):
    """The tail of all time of a snapshot that wants the folded part only: what is folded into days."""

    def after(self, state: State) -> Tail:
        # the folded part is all that is answered: it may grow, and then the next answers are of a later instant
        raise AnswerUnsettledError(FOLDED_MOVED)


class NoTail(GapTail):
    """The tail of a snapshot that wants the folded part only: counted, and not read."""

    def __init__(self, using: str, state: State) -> None:
        super().__init__(using, state, [])
        self._counted, self.pending_is_exact = pending_after(using, state.cursor)

    @property
    def pending(self) -> int:
        return self._counted
