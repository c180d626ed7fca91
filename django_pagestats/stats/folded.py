"""The folded part of an answer: aggregates of the active generation, all of one state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from pyroaring import BitMap

from django_pagestats.buckets import Granularity
from django_pagestats.conf import conf
from django_pagestats.dimensions import NamedDimension, of_generation, of_settings
from django_pagestats.ids import known_subject_ids
from django_pagestats.merging.reading import State, Where, read_aggregates, read_dimensions, read_state
from django_pagestats.merging.rows import deserialized
from django_pagestats.models import Generation
from django_pagestats.stats.ranges import Span, by_days, calendar_of
from django_pagestats.stats.topics import PAGES, Topic
from django_pagestats.stats.wheres import topic_where, values_where

T = TypeVar("T")

#: below any primary key: before the first fold everything is tail
BEFORE_ALL = -(2**63) + 1
#: buckets of one topic that one statement looks up by primary key
BUCKETS_PER_STATEMENT = 400
#: sets that one statement reads, and sets that are kept for another try, at the most
SETS_PER_STATEMENT = 64
ORDERED_SETS_PER_STATEMENT = 128
KEPT_SETS = 256
#: sets that one statement reads of several subjects at once: those of ten pages and two months
SUBJECT_SETS_PER_STATEMENT = 640
#: rows that one statement looks up by primary key; and subjects of which it looks up all days, however many these are
ROWS_PER_STATEMENT = 10_000
SUBJECTS_PER_STATEMENT = 500


class MovedError(Exception):
    """The aggregates, or the tail, moved between two statements of an answer."""


class Totals(NamedTuple):
    """What the aggregates say of one subject."""

    page_views: int
    visitors: int


class Ranked(NamedTuple):
    """A page, or another value of a dimension, among the top ones: by its id or, where it has none yet, by its text."""

    subject: int | None
    value: str | None
    page_views: int
    #: None: only its visitor sets tell
    visitors: int | None


#: what was asked for: the method, its span, and its topic or dimension
Question = tuple[str, Span, Topic | NamedDimension | None]


class Folded:
    """Reads aggregates, and raises MovedError as soon as a statement saw another state than the first one.

    Look-ups that depend on the tail are kept by key: `again()` makes a new one that asks all of them first, so that
    the tail's tally, which may take longer than a fold, lies between no two statements.
    """

    def __init__(self, using: str, wanted: dict[Question, set[int]] | None = None) -> None:
        self.using = using
        self._state: State | None = None
        self._wanted = wanted or {}
        self._kept: dict[Question, dict[int, Any]] = {}

    def again(self) -> Folded:
        return Folded(self.using, self._wanted)

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
        state, stored = read_dimensions(self.using)
        self._pin(state)
        if state is not None:
            return of_generation(stored)
        return of_settings(Generation.objects.using(self.using).order_by("pk").values_list("dimensions", flat=True))

    def _pin(self, state: State | None) -> None:
        seen = state or State(0, BEFORE_ALL, 0, conf.TIME_ZONE, BEFORE_ALL)
        if self._state is None:
            self._state = seen
        elif self._state != seen:
            raise MovedError

    def rows(self, columns: Sequence[str], where: Where, *, tail: str = "", index: str = "") -> list[tuple[Any, ...]]:
        state, rows = read_aggregates(self.using, columns, where, tail=tail, index=index)
        return self.seen((state, rows))

    def seen(self, found: tuple[State | None, T]) -> T:
        """What a statement found; raises MovedError if it saw another state than the ones before."""
        state, answer = found
        self._pin(state)
        return answer

    # -- the site, or one topic

    def page_views(self, span: Span, topic: Topic | None) -> int:
        return sum(
            int(total or 0)
            for where in self._wheres(span, topic, BUCKETS_PER_STATEMENT)
            for (total,) in self.rows(["SUM(a.page_views)"], where)
        )

    def series(self, span: Span, topic: Topic | None) -> dict[int, Totals]:
        """The totals of each bucket that has any."""
        return {
            bucket: Totals(page_views, visitors)
            for where in self._wheres(span, topic, BUCKETS_PER_STATEMENT)
            for bucket, page_views, visitors in self.rows(["a.bucket", "a.page_views", "a.visitors"], where)
        }

    def visitors(self, span: Span, topic: Topic | None) -> BitMap:
        """The ids of all visitors of a span; a few sets at a time are in memory."""
        merged = BitMap()
        for part in self._parts(span):
            for buckets in portions(self.buckets(part, topic), SETS_PER_STATEMENT):
                for (visitor_set,) in self.rows(["a.visitor_set"], topic_where(part, topic, buckets=buckets)):
                    merged |= deserialized(visitor_set)
        return merged

    def site_totals(self, span: Span) -> tuple[int, BitMap]:
        """The page views of a span, and the ids of its visitors; a few sets at a time are in memory."""
        total, merged = 0, BitMap()
        for buckets in portions(self.buckets(span, None), SETS_PER_STATEMENT):
            where = topic_where(span, None, buckets=buckets)
            for page_views, visitor_set in self.rows(["a.page_views", "a.visitor_set"], where):
                total += page_views
                merged |= deserialized(visitor_set)
        return total, merged

    def site_sets(self, span: Span) -> Iterator[tuple[int, bytes, bytes | None]]:
        """The page views, visitor set and repeat set of each bucket of a span; a few are in memory at a time."""
        columns = ["a.page_views", "a.visitor_set", "a.repeat_set"]
        for part in self._parts(span):
            for buckets in portions(self.buckets(part, None), SETS_PER_STATEMENT // 2):
                yield from self.rows(columns, topic_where(part, None, buckets=buckets))

    def visitor_sets(self, span: Span, topic: Topic | None, keys: Iterable[int]) -> dict[int, BitMap]:
        """bucket -> the ids of its visitors, of those buckets that have any."""

        def read(buckets: list[int]) -> Iterator[tuple[int, BitMap]]:
            for bucket, visitor_set in self.rows(
                ["a.bucket", "a.visitor_set"], topic_where(span, topic, buckets=buckets)
            ):
                yield bucket, deserialized(visitor_set)

        return self._look_up(("visitor_sets", span, topic), keys, read, size=SETS_PER_STATEMENT, most=KEPT_SETS)

    def sets_in_order(self, span: Span, topic: Topic | None, buckets: Iterable[int]) -> Iterator[tuple[int, BitMap]]:
        """Each bucket with the ids of its visitors, of those buckets that have any; some sets at a time in memory."""
        for portion in portions(buckets, ORDERED_SETS_PER_STATEMENT):
            rows = self.rows(["a.bucket", "a.visitor_set"], topic_where(span, topic, buckets=portion))
            yield from ((bucket, deserialized(visitor_set)) for bucket, visitor_set in sorted(rows))

    def _parts(self, span: Span) -> list[Span]:
        """By which it is read in the fewest sets: of hours whole days are sets of their own."""
        is_of_hours = span.granularity == Granularity.HOUR
        return by_days(span, calendar_of(self.state.time_zone)) if is_of_hours else [span]

    def _wheres(self, span: Span, topic: Topic | None, size: int) -> Iterator[Where]:
        if topic is None or span.is_all_time:
            yield topic_where(span, topic)
            return
        # a topic over some days: bucket IN (...) AND subject = ... on the primary key
        for buckets in portions(self.buckets(span, topic), size):
            yield topic_where(span, topic, buckets=buckets)

    def buckets(self, span: Span, topic: Topic | None) -> Sequence[int]:
        """The buckets in which there may be rows; of all time one, whatever its number (`Where`)."""
        if span.is_all_time:
            return [0]
        few = span.buckets(BUCKETS_PER_STATEMENT)
        if few is not None:
            return few
        rows = self.rows(["a.bucket"], topic_where(span, None))
        return sorted(bucket for (bucket,) in rows)

    # -- the values of a dimension

    def page_views_of_all(self, span: Span, dimension: NamedDimension) -> int:
        """Of all values together."""
        return int(self.rows(["SUM(a.page_views)"], values_where(span, dimension))[0][0] or 0)

    def count_values(self, span: Span, dimension: NamedDimension) -> int:
        column = "COUNT(*)" if span.is_all_time else "COUNT(DISTINCT a.subject)"
        return int(self.rows([column], values_where(span, dimension))[0][0])

    def top(self, span: Span, dimension: NamedDimension, count: int) -> list[Ranked]:
        """The first values by page views, then subject id."""
        if span.is_all_time:
            is_indexed = dimension == PAGES
            rows = self.rows(
                ["a.subject", "a.page_views", "a.visitors"],
                Where(dimension.id, span.granularity, is_ranked=is_indexed),
                tail=f"ORDER BY a.page_views DESC, a.subject LIMIT {count:d}",
                index="pagestats_top_pages" if is_indexed else "",
            )
        else:
            rows = self.rows(
                ["a.subject", "SUM(a.page_views) AS total", "NULL AS visitors"],
                values_where(span, dimension),
                tail=f"GROUP BY a.subject ORDER BY total DESC, a.subject LIMIT {count:d}",
            )
        return [Ranked(subject, None, int(page_views), visitors) for subject, page_views, visitors in rows]

    def page_views_by_value(self, span: Span, dimension: NamedDimension, values: Iterable[str]) -> dict[str, int]:
        """value -> page views, of those of the values that have any."""
        self.begin()  # before the ids are looked up: a value that these aggregates count has its id by then
        subjects = known_subject_ids(self.using, values, dimension.id)
        totals = self.subject_totals(span, dimension, subjects.values())
        return {value: totals[subject] for value, subject in subjects.items() if subject in totals}

    def subject_totals(self, span: Span, dimension: NamedDimension, keys: Iterable[int]) -> dict[int, int]:
        """subject -> page views, of those subjects that have any."""

        def read(subjects: list[int]) -> Iterator[tuple[int, int]]:
            totals: dict[int, int] = {}
            for buckets in portions(self.buckets(span, None), BUCKETS_PER_STATEMENT):
                for part in portions(subjects, max(SUBJECTS_PER_STATEMENT, ROWS_PER_STATEMENT // len(buckets))):
                    where = values_where(span, dimension, buckets=buckets, subjects=part)
                    for subject, page_views in self.rows(
                        ["a.subject", "SUM(a.page_views)"], where, tail="GROUP BY a.subject"
                    ):
                        totals[subject] = totals.get(subject, 0) + int(page_views)
            yield from totals.items()

        return self._look_up(("subject_totals", span, dimension), keys, read, size=ROWS_PER_STATEMENT, most=None)

    def subject_sets(
        self, span: Span, dimension: NamedDimension, keys: Iterable[int], *, are_small: bool = False
    ) -> dict[int, BitMap]:
        """subject -> the ids of its visitors in the span, of those subjects that have any.

        `are_small`: all sets of the keys are of so few page views that they may be in memory together.
        """

        def read(subjects: list[int]) -> Iterator[tuple[int, BitMap]]:
            merged: dict[int, BitMap] = {}
            days = BUCKETS_PER_STATEMENT if are_small else max(1, SUBJECT_SETS_PER_STATEMENT // len(subjects))
            for buckets in portions(self.buckets(span, None), days):
                where = values_where(span, dimension, buckets=buckets, subjects=subjects)
                for subject, visitor_set in self.rows(["a.subject", "a.visitor_set"], where):
                    found = deserialized(visitor_set)
                    if subject in merged:
                        merged[subject] |= found  # in place: a long range has many of them
                    else:
                        merged[subject] = found
            yield from merged.items()

        size, most = (SUBJECTS_PER_STATEMENT, 0) if are_small else (SETS_PER_STATEMENT, KEPT_SETS)
        return self._look_up(("subject_sets", span, dimension), keys, read, size=size, most=most)

    def subject_sets_by_bucket(
        self, span: Span, dimension: NamedDimension, subjects: Sequence[int]
    ) -> Iterator[tuple[int, int, BitMap]]:
        """(bucket, subject, ids of its visitors in it) in the order of buckets; a few at a time are in memory."""
        if not subjects:
            return
        for buckets in portions(self.buckets(span, None), max(1, SUBJECT_SETS_PER_STATEMENT // len(subjects))):
            where = values_where(span, dimension, buckets=buckets, subjects=subjects)
            for bucket, subject, visitor_set in sorted(self.rows(["a.bucket", "a.subject", "a.visitor_set"], where)):
                yield bucket, subject, deserialized(visitor_set)

    def sets_by_bucket(self, span: Span, topic: Topic) -> Iterator[tuple[int, BitMap]]:
        """Each bucket of a topic's with the ids of its visitors, in order."""
        return self.sets_in_order(span, topic, self.buckets(span, topic))

    def subject_series(self, span: Span, dimension: NamedDimension, values: Iterable[str]) -> dict[str, dict[int, int]]:
        """value -> bucket -> page views, of those that have any, of a closed span."""
        self.begin()
        subjects = known_subject_ids(self.using, values, dimension.id)
        values_of = {subject: value for value, subject in subjects.items()}
        found: dict[str, dict[int, int]] = {}
        for buckets in portions(self.buckets(span, None), max(1, ROWS_PER_STATEMENT // max(1, len(values_of)))):
            where = values_where(span, dimension, buckets=buckets, subjects=list(values_of))
            rows = self.rows(["a.subject", "a.bucket", "a.page_views"], where) if values_of else []
            for subject, bucket, page_views in rows:
                found.setdefault(values_of[subject], {})[bucket] = page_views
        return found

    # -- what is kept

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
        found: dict[int, T] = {key: kept[key] for key in keys if kept.get(key) is not None}
        for portion in portions((key for key in keys if key not in kept), size):
            if most is None or len(wanted.union(portion)) <= most:
                wanted.update(portion)  # before it is read: it may be what raises MovedError
            values = dict(read(portion))
            found.update(values)
            kept.update((key, values.get(key)) for key in portion if key in wanted)
        return found


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion
