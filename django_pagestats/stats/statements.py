"""How aggregates are read: statements that all see one state, of bounded bytes, and what is not asked for twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django_pagestats.conf import conf
from django_pagestats.dimensions import NamedDimension, of_generation, of_settings
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import State, Where, read_aggregates, read_dimensions, read_state
from django_pagestats.models import Generation
from django_pagestats.stats.kept_answers import ABSENT, kept_answers, may_be_kept, place_of
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.topics import Topic

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound="Statements")

#: below any primary key: before the first fold everything is tail
BEFORE_ALL = -(2**63) + 1
#: sets that the first of several statements reads; the others read as many as have so many bytes, by those before
SETS_PER_STATEMENT = 64
SET_BYTES_PER_STATEMENT = 16_000_000
#: of a set, at the most: that of a single visitor has as many
BYTES_OF_PAGE_VIEW = 18
#: buckets that one statement names: MariaDB makes a longer list a temporary table
MOST_BUCKETS = 900

#: answers that one snapshot remembers by itself: more panels ask the same
MOST_ANSWERED = 100

#: what was asked for: the method, its span, and its topic or dimension
Question = tuple[str, Span, Topic | NamedDimension | None]


class MovedError(Exception):
    """The aggregates, or the tail, moved between two statements of an answer."""


class Statements:
    """Reads aggregates, and raises MovedError as soon as a statement saw another state than the first one.

    Look-ups that depend on the tail are kept by key: `again()` makes a new one that asks all of them first, so that
    the tail's tally, which may take longer than a fold, lies between no two statements.

    `is_own`: it reads in no transaction of the caller's, so that what it reads was committed, and is kept for others.
    """

    def __init__(self, using: str, *, is_own: bool = False, wanted: dict[Question, set[int]] | None = None) -> None:
        self.using = using
        self.is_own = is_own
        self._place = place_of(using)
        self._state: State | None = None
        self._wanted = wanted or {}
        self._kept: dict[Question, dict[int, Any]] = {}
        self._answered: dict[Hashable, Any] = {}

    def again(self: S) -> S:
        return type(self)(self.using, is_own=self.is_own, wanted=self._wanted)

    def ask_again(self) -> None:
        """Look up what the tries before had to."""
        for (method, span, about), keys in list(self._wanted.items()):
            getattr(self, method)(span, about, set(keys))

    # -- the state

    @property
    def state(self) -> State:
        self.begin()
        assert self._state is not None  # noqa: S101 - pinned above
        return self._state

    def begin(self) -> None:
        """Read the state, if no statement has told it yet."""
        if self._state is None:
            self._pin(read_state(self.using))

    def check(self) -> None:
        self._pin(read_state(self.using))

    @cached_property
    def dimensions(self) -> tuple[NamedDimension, ...]:
        """Those of the generation that answers; before the first fold, when all is tail, those of the settings."""
        if (found := self.found("dimensions")) is not None:
            return found  # type: ignore[no-any-return]
        state, stored = read_dimensions(self.using)
        self._pin(state)
        if state is None:
            generations = Generation.objects.using(self.using).order_by("pk")
            return of_settings(generations.values_list("dimensions", flat=True))
        named = of_generation(stored)
        self.keep("dimensions", named)
        return named

    def _pin(self, state: State | None) -> None:
        seen = state or State(0, BEFORE_ALL, 0, conf.TIME_ZONE, BEFORE_ALL)
        if self._state is None:
            self._state = seen
        elif self._state != seen:
            raise MovedError

    # -- statements

    def rows(
        self, columns: Sequence[str], where: Where, *, tail: str = "", index: str = "", also: Where | None = None
    ) -> list[tuple[Any, ...]]:
        return self.seen(read_aggregates(self.using, columns, where, tail=tail, index=index, also=also))

    def seen(self, found: tuple[State | None, T]) -> T:
        """What a statement found; raises MovedError if it saw another state than the ones before."""
        state, answer = found
        self._pin(state)
        return answer

    def _rows_with_sets(
        self,
        columns: Sequence[str],
        where: Callable[[Sequence[int]], Where],
        buckets: Sequence[int],
        *,
        first: int,
        tail: str = "",
        also: Where | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of some buckets, portion by portion; each has about as many bytes of sets at the most.

        So a few statements read years of small sets. `first`: buckets of the first one, before sizes are known; `also`:
        what that one reads, too.
        """
        begin, size = 0, first
        while begin < len(buckets):
            portion = buckets[begin : begin + size]
            rows = self.rows(columns, where(portion), tail=tail, also=None if begin else also)
            begin += size
            bytes_of_bucket = 1 + sum(len(cell) for row in rows for cell in row if _is_set(cell)) // len(portion)
            size = max(1, min(MOST_BUCKETS, SET_BYTES_PER_STATEMENT // bytes_of_bucket))
            yield from rows

    # -- what is kept

    def found(self, *question: Hashable) -> Any:
        """What is kept of it, of this very state; None: it has to be read.

        Within the caller's transaction the state is not read for that: what is asked there is rarely asked again.
        """
        if self._state is None and self.is_own and conf.ANSWERS_MEGABYTES:
            self.begin()
        if self._state is None or not may_be_kept(self._state):
            return None
        return kept_answers.get(self._place, self._state, question)

    def keep(self, *question_and_answer: Any) -> Any:
        """Keep an answer that statements of this state have given, for whoever asks the same of it; gives it back."""
        *question, answer = question_and_answer
        if self.is_own and self._state is not None and may_be_kept(self._state):
            kept_answers.put(self._place, self._state, tuple(question), answer)
        return answer

    def know(self, *question_and_answer: Any) -> None:
        """Keep the answer to a question of `kept` that the statement of another one has given."""
        *question, answer = question_and_answer
        if self.is_own and len(self._answered) < MOST_ANSWERED:
            self._answered[tuple(question)] = answer
        self.keep(*question_and_answer)

    def _look_up(
        self,
        question: Question,
        keys: Iterable[int],
        read: Callable[[list[int]], Iterable[tuple[int, T]]],
        *,
        size: int,
        most: int | None,
    ) -> dict[int, T]:
        """The values of keys: those kept, and the others read and, up to `most` of them, kept for another try."""
        kept = self._kept.setdefault(question, {})
        wanted = self._wanted.setdefault(question, set())
        keys = list(keys)
        for key in keys:
            if key not in kept and (answer := self.found(*question, key)) is not None:
                kept[key] = None if answer is ABSENT else answer
        found: dict[int, T] = {key: kept[key] for key in keys if kept.get(key) is not None}
        for portion in portions((key for key in keys if key not in kept), size):
            if most is None or len(wanted.union(portion)) <= most:
                wanted.update(portion)  # before it is read: it may be what raises MovedError
            values = dict(read(portion))
            found.update(values)
            for key in portion:
                if key in wanted:
                    kept[key] = values.get(key)
                self.keep(*question, key, values.get(key, ABSENT))
        return found


def kept(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Of a method whose arguments can be compared: its answers are kept, and nobody may change them."""

    @wraps(method)
    def ask(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        question = (method.__name__, *args, *kwargs.items())
        answer = self._answered.get(question)
        if answer is None and (answer := self.found(*question)) is None:
            answer = self.keep(*question, method(self, *args, **kwargs))
        # within the caller's transaction aggregates may move: there each question looks whether they have
        if self.is_own and len(self._answered) < MOST_ANSWERED:
            self._answered[question] = answer
        return answer  # type: ignore[no-any-return]

    return ask


def buckets_at_once(count: int, page_views: int) -> int:
    """How many of so many buckets, which have so many page views, have as many bytes of sets as one statement reads.

    0: how many page views they have is not known.
    """
    most = max(1, SET_BYTES_PER_STATEMENT // BYTES_OF_PAGE_VIEW)
    return min(count, MOST_BUCKETS) * min(most, page_views) // max(1, page_views)


def _is_set(cell: object) -> bool:
    return isinstance(cell, bytes | memoryview)
