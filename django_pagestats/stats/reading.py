"""How the statements of an answer come to see one instant (design, promise P1).

An answer reads aggregates, each statement of which says what state it saw, and then the tail of that state. Where two
statements saw different states it begins anew. After some tries it reads inside a transaction that sees one instant;
within the caller's transaction, which cannot be made to, it goes on trying.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections

from django_pagestats.buckets import Calendar
from django_pagestats.conf import conf
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.merging.reading import one_instant
from django_pagestats.stats.folded import Folded, MovedError
from django_pagestats.stats.ranges import calendar_of
from django_pagestats.stats.tail import LATE_PAGE_VIEWS, NoTail, Tail, TailTooLongError, read_tail

T = TypeVar("T")
TRIES = 5


class Moment:
    """What the answers are read from: aggregates of one state, and the tail after them."""

    def __init__(self, using: str, *, is_exact: bool = True, is_isolated: bool = False, is_kept: bool = False) -> None:
        self.using = using
        self.is_exact = is_exact
        #: the transaction sees one instant
        self.is_isolated = is_isolated
        #: the page views stay those of the beginning, though the aggregates may move
        self.is_kept = is_kept
        self.in_transaction = in_transaction(using)
        self.folded = Folded(using)
        self._tail: Tail | None = None

    @property
    def calendar(self) -> Calendar:
        return calendar_of(self.folded.state.time_zone)

    @property
    def tail(self) -> Tail:
        """The page views after the aggregates that were read; read once for each state."""
        state = self.folded.state
        if self._tail is None or (self._tail.state != state and not self.is_kept):
            self._tail = self._read_tail()
        elif self._tail.state != state:
            self._tail = self._tail.after(state)
        return self._tail

    def begin(self) -> None:
        """Read the state and the tail: the instant is this one, not that of the first question."""
        self._tail = self._read_tail()

    def _read_tail(self) -> Tail:
        if not self.is_exact:
            return NoTail(self.using, self.folded.state)
        return read_tail(self.using, self.folded.state, may_be_long=self.in_transaction, is_isolated=self.is_isolated)

    def answer(self, question: Callable[[Moment], T]) -> T:
        """The answer to a question; raises MovedError if it would not settle."""
        deadline = time.monotonic() + conf.READ_SECONDS
        tries = 1
        while True:
            try:
                self.folded.ask_again()
                answer = question(self)
                self._verify_tail()
                return answer
            except MovedError:
                if tries >= TRIES and (not self.in_transaction or time.monotonic() >= deadline):
                    raise
            tries += 1
            self.folded = self.folded.again()

    def _verify_tail(self) -> None:
        if self._tail is None or self._tail.is_unchanged():
            return
        if self.is_kept:
            raise AnswerUnsettledError(LATE_PAGE_VIEWS)
        self._tail = None
        raise MovedError


def in_transaction(using: str) -> bool:
    """Whether the next statement is part of a transaction of the caller's."""
    connection = connections[using]
    return connection.in_atomic_block or not connection.get_autocommit()


def answer(using: str, question: Callable[[Moment], T]) -> T:
    """The answer to one question, exact at one instant; raises AnswerUnsettledError inside a transaction only."""
    moment = Moment(using)
    try:
        return moment.answer(question)
    except (MovedError, TailTooLongError):
        if moment.in_transaction:
            raise _unsettled() from None
    with _isolated_moment(using, is_exact=True) as moment:
        return answer_kept(moment, question)


@contextmanager
def moment_of(using: str, *, is_exact: bool) -> Iterator[Moment]:
    """A moment for many questions."""
    if not in_transaction(using):
        with _isolated_moment(using, is_exact=is_exact) as moment:
            yield moment
        return
    moment = Moment(using, is_exact=is_exact, is_kept=True)
    moment.begin()
    yield moment


def answer_kept(moment: Moment, question: Callable[[Moment], T]) -> T:
    """The answer to one question of many."""
    try:
        return moment.answer(question)
    except MovedError:
        raise _unsettled() from None


@contextmanager
def _isolated_moment(using: str, *, is_exact: bool) -> Iterator[Moment]:
    with one_instant(using):
        moment = Moment(using, is_exact=is_exact, is_isolated=True, is_kept=True)
        moment.begin()
        yield moment


def _unsettled() -> AnswerUnsettledError:
    return AnswerUnsettledError(
        f"The page views or their aggregates kept moving for {conf.READ_SECONDS:g} s (PAGESTATS_READ_SECONDS) while an"
        " answer was read inside a transaction that shows such changes. Ask outside atomic(), or in a REPEATABLE READ"
        " transaction."
    )
