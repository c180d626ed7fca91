"""How the statements of an answer come to see one instant (design, promise P1).

An answer reads aggregates, each statement of which says what state it saw, and then the tail of that state: the page
views after the cursor of the rows that it read, which for rows of all time is another than for days. Where two
statements saw different states it begins anew. After some tries it reads inside a transaction that sees one instant;
within the caller's transaction, which cannot be made to, it goes on trying.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections, router

from django_pagestats.buckets import Calendar
from django_pagestats.conf import conf
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.merging.reading import State, one_instant
from django_pagestats.models import Aggregate
from django_pagestats.stats.folded import Folded
from django_pagestats.stats.newcomers import Newcomers
from django_pagestats.stats.ranges import ALL_DAYS, EVERYTHING, Bound, Span, calendar_of, page_span
from django_pagestats.stats.statements import MovedError
from django_pagestats.stats.tail import (
    LATE_PAGE_VIEWS,
    NoTail,
    OneInstantNeededError,
    ShortTail,
    Tail,
    read_all_time_tail,
    read_tail,
)

T = TypeVar("T")
TRIES = 5


class GapTooLongError(Exception):
    """The rows of all time are so far behind the rows of days that these answer for them."""


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
        self.folded = Folded(using, is_own=is_isolated or not (self.in_transaction or is_kept))
        #: is it after the cursor of all time? -> the tail; and of a moment that is kept those that were read at first
        self._tails: dict[bool, Tail] = {}
        self._origins: dict[bool, Tail] = {}
        #: who is who in the sets of a moment that is kept
        self.newcomers = Newcomers(using)
        #: all time is answered by rows of days: those of all time are too far behind
        self._is_by_days = False

    @property
    def calendar(self) -> Calendar:
        return calendar_of(self.folded.state.time_zone)

    def span(self, span: Span) -> Span:
        """The rows by which a span is answered."""
        return ALL_DAYS if self._is_by_days and span == EVERYTHING else span

    def span_of_days(self, start: Bound, end: Bound) -> Span:
        """The rows by which a range of days is answered, of whatever it is; raises ValueError for any other range."""
        return self.span(page_span(start, end, lambda: self.calendar))

    def tail_of(self, span: Span) -> Tail:
        """The page views after the aggregates that were read for a span; read once for each state."""
        is_all_time, state = span.is_all_time, self.folded.state
        wanted = state.of_all_time() if is_all_time else state
        tail = self._tails.get(is_all_time)
        if tail is None or (tail.state != wanted and not self.is_kept):
            tail = self._read_all_time(state) if is_all_time else self._read_tail(state)
        elif tail.state != wanted:
            tail = self._origins[is_all_time].after(wanted)
        self._tails[is_all_time] = tail
        return tail

    def begin(self) -> None:
        """Read the state and the tail: the instant is this one, not that of the first question."""
        try:
            self.tail_of(EVERYTHING)
        except GapTooLongError:
            self._is_by_days = True
        self.tail_of(ALL_DAYS)
        self._origins = dict(self._tails)

    def _read_tail(self, state: State) -> Tail:
        longer = self._tails.get(True)
        if isinstance(longer, ShortTail) and longer.state == state.of_all_time() and self.is_exact:
            return longer.cut(state)
        if not self.is_exact:
            return NoTail(self.using, state)
        return read_tail(self.using, state, may_be_long=self.in_transaction, is_isolated=self.is_isolated)

    def _read_all_time(self, state: State) -> Tail:
        """Raises GapTooLongError where it would be so long that the rows of days answer faster."""
        if state.all_cursor == state.cursor:
            return self.tail_of(ALL_DAYS)
        if state.cursor - state.all_cursor > conf.TAIL_LIMIT:
            raise GapTooLongError
        try:
            return read_all_time_tail(self.using, state, is_exact=self.is_exact)
        except OneInstantNeededError:
            raise GapTooLongError from None

    def answer(self, question: Callable[[Moment], T]) -> T:
        """The answer to a question; raises MovedError if it would not settle."""
        deadline = time.monotonic() + conf.READ_SECONDS
        tries = 1
        while True:
            try:
                self.folded.ask_again()
                answer = question(self)
                self._verify_tails()
                return answer
            except GapTooLongError:
                self._is_by_days = True
                continue
            except MovedError:
                if tries >= TRIES and (not self.in_transaction or time.monotonic() >= deadline):
                    raise
            tries += 1
            self.folded = self.folded.again()

    def _verify_tails(self) -> None:
        if all(tail.is_unchanged() for tail in set(self._tails.values())):
            return
        if self.is_kept:
            raise AnswerUnsettledError(LATE_PAGE_VIEWS)
        self._tails.clear()
        raise MovedError


def in_transaction(using: str) -> bool:
    """Whether the next statement is part of a transaction of the caller's."""
    connection = connections[using]
    return connection.in_atomic_block or not connection.get_autocommit()


def alias_of(using: str | None) -> str:
    """The database that answers."""
    return using or router.db_for_read(Aggregate)


def answer(using: str, question: Callable[[Moment], T]) -> T:
    """The answer to one question, exact at one instant; raises AnswerUnsettledError inside a transaction only."""
    moment = Moment(using)
    try:
        return moment.answer(question)
    except (MovedError, OneInstantNeededError):
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
