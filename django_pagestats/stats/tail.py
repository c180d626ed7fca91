"""The tail of an answer: the page views after the cursor of the aggregates that were read.

Up to PAGESTATS_TAIL_LIMIT of them are read by one statement and tallied as the fold does it. A longer tail is counted
by the database, in bounded memory. Both say how many visitors are new, that is, in no set of the folded part: the
number of session keys less those whose visitor is in the set. A session key that has no visitor id by the time it is
looked up, which is after the aggregates were read, is in none of their sets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    Expression,
    F,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from pyroaring import BitMap

from django_pagestats.buckets import Granularity, epoch_seconds, instant
from django_pagestats.conf import conf
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.ids import known_subject_ids, known_visitor_ids
from django_pagestats.merging import database_for
from django_pagestats.merging.reading import State, count_united_paths, read_ranking, read_with_visitors
from django_pagestats.models import Generation, PageView
from django_pagestats.stats.folded import BEFORE_ALL, Folded, MovedError, RankedPage, pages_where, portions
from django_pagestats.stats.ranges import EVERYTHING, Segment, Span, calendar_of, intervals, segments
from django_pagestats.tally import Tally, tally

#: (id, path, session key, whole seconds since the epoch)
Row = tuple[int, str, str, int]
#: a bucket, a path, or 0 where all is one group
Key = int | str
#: page views of a long tail that are in memory at a time
ROWS_PER_STATEMENT = 50_000
#: buckets of a long tail that one statement tells apart
BUCKETS_PER_STATEMENT = 400
ONE_GROUP = 0
#: no bucket: between two that are counted
GAP = -(10**9)


class TailTooLongError(Exception):
    """The tail is longer than the limit: its answer takes several statements, which must see one instant."""


class Tail(ABC):
    """The page views after `state.cursor`."""

    #: how many page views it is, or may be
    pending: int
    pending_is_exact: bool

    def __init__(self, using: str, state: State) -> None:
        self.using = using
        self.state = state
        self.calendar = calendar_of(state.time_zone)

    @abstractmethod
    def page_views(self, span: Span, path: str | None) -> int:
        """The page views of a span, of one path or of the site."""

    @abstractmethod
    def page_views_by_bucket(self, span: Span, path: str | None) -> dict[int, int]:
        """bucket -> page views, of those buckets of a closed span that have any."""

    @abstractmethod
    def new_visitors(self, span: Span, path: str | None, folded: BitMap) -> int:
        """How many visitors of a span are not in `folded`."""

    @abstractmethod
    def new_visitors_by_bucket(self, span: Span, path: str | None, folded: Mapping[int, BitMap]) -> dict[int, int]:
        """bucket -> how many of its visitors are not in its set, of the buckets in `folded`."""

    @abstractmethod
    def new_visitors_by_path(self, span: Span, folded: Mapping[str, BitMap]) -> dict[str, int]:
        """path -> how many of its visitors are not in its set, of the paths in `folded`."""

    @abstractmethod
    def count_paths(self, folded: Folded, span: Span, counted: int) -> int:
        """The paths of the folded part, `counted` of them, and of the tail together."""

    @abstractmethod
    def top(self, folded: Folded, span: Span, ranked: list[RankedPage], *, limit: int, offset: int) -> list[RankedPage]:
        """The top pages of the folded part, whose first `offset + limit` are `ranked`, and of the tail together."""

    @abstractmethod
    def first_viewed_at(self) -> datetime | None:
        """The earliest time of a page view, folded or not."""

    @abstractmethod
    def after(self, state: State) -> Tail:
        """The same page views as seen from another state; raises AnswerUnsettledError where they are gone from it."""

    def is_unchanged(self) -> bool:
        """Whether the statements of an answer all saw these page views; those in memory cannot change."""
        return True


class ShortTail(Tail):
    """Page views in memory."""

    pending_is_exact = True

    def __init__(self, using: str, state: State, rows: Sequence[Row]) -> None:
        super().__init__(using, state)
        self.rows = rows
        self.pending = len(rows)

    # -- the tally: paths and session keys are numbered as they come

    @cached_property
    def _paths(self) -> dict[str, int]:
        return {path: number for number, path in enumerate({row[1]: None for row in self.rows})}

    @cached_property
    def _session_keys(self) -> dict[str, int]:
        return {key: number for number, key in enumerate({row[2]: None for row in self.rows})}

    @cached_property
    def _tally(self) -> Tally:
        paths, keys = self._paths, self._session_keys
        return tally(((paths[path], keys[key], seconds) for _, path, key, seconds in self.rows), self.calendar)

    @cached_property
    def _visitor_ids(self) -> list[int | None]:
        known = known_visitor_ids(self.using, self._session_keys) if self.rows else {}
        return [known.get(key) for key in self._session_keys]

    @cached_property
    def _subject_ids(self) -> dict[str, int]:
        return known_subject_ids(self.using, self._paths) if self.rows else {}

    def _groups(self, span: Span, path: str | None) -> dict[int, list[int]]:
        """bucket -> the visitor of each page view."""
        groups: dict[int, list[int]] = {}
        for bucket, visitors in self._counts(span, path):
            if span.granularity == Granularity.ALL:
                bucket = ONE_GROUP
            elif bucket not in span:
                continue
            groups.setdefault(bucket, []).extend(visitors)
        return groups

    def _counts(self, span: Span, path: str | None) -> Iterator[tuple[int, list[int]]]:
        if path is not None:
            subject = self._paths.get(path)
            return ((day, visitors) for (day, of), visitors in self._tally.page_days.items() if of == subject)
        if span.granularity == Granularity.HOUR:
            return ((hour, visitors) for (_, hour), visitors in self._tally.site_hours.items())
        return ((day, visitors) for (day, _), visitors in self._tally.site_hours.items())

    def _groups_by_path(self, span: Span) -> dict[str, list[int]]:
        paths = list(self._paths)
        groups: dict[str, list[int]] = {}
        for (day, subject), visitors in self._tally.page_days.items():
            if span.granularity == Granularity.ALL or day in span:
                groups.setdefault(paths[subject], []).extend(visitors)
        return groups

    def _new(self, visitors: Iterable[int], folded: BitMap) -> int:
        distinct = set(visitors)
        if not folded:
            return len(distinct)
        ids = (self._visitor_ids[visitor] for visitor in distinct)
        return len(distinct) - folded.intersection_cardinality(BitMap(found for found in ids if found is not None))

    # -- the answers

    def page_views(self, span: Span, path: str | None) -> int:
        if span == EVERYTHING:  # no need of a tally
            return sum(path in (None, row[1]) for row in self.rows)
        return sum(self.page_views_by_bucket(span, path).values())

    def page_views_by_bucket(self, span: Span, path: str | None) -> dict[int, int]:
        return {bucket: len(visitors) for bucket, visitors in self._groups(span, path).items()}

    def new_visitors(self, span: Span, path: str | None, folded: BitMap) -> int:
        groups = self._groups(span, path)
        return self._new((visitor for visitors in groups.values() for visitor in visitors), folded)

    def new_visitors_by_bucket(self, span: Span, path: str | None, folded: Mapping[int, BitMap]) -> dict[int, int]:
        groups = self._groups(span, path)
        return {bucket: self._new(groups.get(bucket, ()), known) for bucket, known in folded.items()}

    def new_visitors_by_path(self, span: Span, folded: Mapping[str, BitMap]) -> dict[str, int]:
        groups = self._groups_by_path(span)
        return {path: self._new(groups.get(path, ()), known) for path, known in folded.items()}

    def count_paths(self, folded: Folded, span: Span, counted: int) -> int:
        paths = self._groups_by_path(span)
        subjects = {self._subject_ids[path] for path in paths if path in self._subject_ids}
        return counted + len(paths) - len(folded.page_totals(span, None, subjects))

    def top(self, folded: Folded, span: Span, ranked: list[RankedPage], *, limit: int, offset: int) -> list[RankedPage]:
        # a page that is not in the tail and is among the first n together is among the first n of the folded part
        tailed = self._groups_by_path(span)
        subjects = {path: self._subject_ids.get(path) for path in tailed}
        totals = folded.page_totals(span, None, {subject for subject in subjects.values() if subject is not None})
        pages = [page for page in ranked if page.subject not in totals]
        for path, subject in subjects.items():
            pages.append(RankedPage(subject, path, len(tailed[path]) + totals.get(subject or 0, 0), None))
        return sorted(pages, key=_rank)[offset : offset + limit]

    def first_viewed_at(self) -> datetime | None:
        folded = None
        if self.state.cursor > BEFORE_ALL:
            folded = first_view(self.using, self.state.cursor)
        earliest = min((row[3] for row in self.rows), default=None)
        if earliest is None or (folded is not None and epoch_seconds(folded) < earliest):
            return folded
        # the tally has whole seconds only
        ids = [row[0] for row in self.rows if row[3] == earliest]
        views = PageView.objects.using(self.using)
        firsts: list[datetime] = [
            views.filter(pk__in=portion).aggregate(first=Min("viewed_at"))["first"] for portion in portions(ids, 500)
        ]
        return min(firsts if folded is None else [folded, *firsts])

    def after(self, state: State) -> Tail:
        last = self.rows[-1][0] if self.rows else self.state.cursor
        _check_within(self.state, state, last)
        rows = [row for row in self.rows if row[0] > state.cursor]
        passed = PageView.objects.using(self.using).filter(pk__gt=self.state.cursor, pk__lte=state.cursor)
        if state.cursor != self.state.cursor and passed.count() != len(self.rows) - len(rows):
            raise AnswerUnsettledError(LATE_PAGE_VIEWS)
        return ShortTail(self.using, state, rows)


class NoTail(ShortTail):
    """The tail of a snapshot that wants the folded part only: counted, and not read."""

    def __init__(self, using: str, state: State) -> None:
        super().__init__(using, state, [])
        views = PageView.objects.using(using).filter(pk__gt=state.cursor)
        self.pending = views.order_by("pk")[: conf.TAIL_LIMIT + 1].count()
        self.pending_is_exact = self.pending <= conf.TAIL_LIMIT
        if not self.pending_is_exact:
            self.pending = _ids_spanned(using, state)[1]

    def after(self, state: State) -> Tail:
        # the folded part is all that is answered: it may grow, and then the next answers are of a later instant
        raise AnswerUnsettledError(FOLDED_MOVED)


class LongTail(Tail):
    """Page views that the database counts, those up to `upto`.

    Its statements must see one instant; `is_isolated` says that the transaction sees to that. Otherwise
    `is_unchanged()` counts once more: page views are append-only, so as many as before are the same as before.
    """

    pending_is_exact = False

    def __init__(self, using: str, state: State, *, is_isolated: bool) -> None:
        super().__init__(using, state)
        self._is_isolated = is_isolated
        self.upto, self.pending = _ids_spanned(using, state)
        self._length = -1 if is_isolated else self._rows_after(state.cursor).count()

    def _rows_after(self, cursor: int) -> QuerySet[PageView]:
        return PageView.objects.using(self.using).filter(pk__gt=cursor, pk__lte=self.upto)

    def _rows(self, span: Span, path: str | None = None) -> QuerySet[PageView]:
        return self._within(self._rows_after(self.state.cursor), span, path)

    def _within(self, rows: QuerySet[PageView], span: Span, path: str | None = None) -> QuerySet[PageView]:
        wanted = Q()
        # a date that the zone left out has no instants: an interval without any, since no condition is no limit
        for start, end in intervals(span, self.calendar) or [(0, 0)]:
            within = Q() if start is None else Q(viewed_at__gte=instant(start))
            wanted |= within if end is None else within & Q(viewed_at__lt=instant(end))
        rows = rows.filter(wanted)
        return rows if path is None else rows.filter(path=path)

    # -- visitors

    def _new(self, rows: QuerySet[PageView], key: Expression | F, folded: Mapping[Any, BitMap]) -> dict[Any, int]:
        """key -> distinct session keys whose visitor is not in the key's set."""
        distinct = rows.annotate(group=key).order_by().values("group").annotate(n=Count("session_key", distinct=True))
        new = dict.fromkeys(folded, 0) | dict(distinct.values_list("group", "n"))
        for group, known in self._known(rows, key, {group: ids for group, ids in folded.items() if ids}).items():
            new[group] -= len(known)
        return new

    def _known(self, rows: QuerySet[PageView], key: Expression | F, folded: Mapping[Any, BitMap]) -> dict[Any, BitMap]:
        """key -> the visitors that are in its set already."""
        seen = {group: BitMap() for group in folded}
        found = rows.annotate(number=F("pk"), part=key).order_by("pk").values("number", "part", "session_key")
        last: int | None = self.state.cursor if folded else None
        while last is not None:
            portion = read_with_visitors(self.using, _sql(found.filter(pk__gt=last)[:ROWS_PER_STATEMENT], self.using))
            groups: dict[Any, set[int]] = {}
            for _, group, visitor in portion:
                if visitor is not None and group in seen:
                    groups.setdefault(group, set()).add(visitor)
            for group, visitors in groups.items():
                seen[group] |= folded[group] & BitMap(visitors)
            last = max(row[0] for row in portion) if len(portion) == ROWS_PER_STATEMENT else None
        return seen

    def _by_bucket(
        self, buckets: Sequence[int], granularity: Granularity, path: str | None
    ) -> tuple[QuerySet[PageView], Expression] | None:
        """The rows of some buckets, and the expression that tells in which one each is."""
        parts = segments(buckets, granularity, self.calendar)
        if not parts:
            return None
        gaps = (Segment(part.end, following.start, GAP) for part, following in pairwise(parts))
        bucket = _bucket_of(sorted([*parts, *(gap for gap in gaps if gap.start < gap.end)]))
        rows = self._rows(EVERYTHING, path)
        return rows.filter(viewed_at__gte=instant(parts[0].start), viewed_at__lt=instant(parts[-1].end)), bucket

    # -- the answers

    def page_views(self, span: Span, path: str | None) -> int:
        return self._rows(span, path).count()

    def page_views_by_bucket(self, span: Span, path: str | None) -> dict[int, int]:
        assert span.low is not None and span.high is not None  # noqa: S101 - a time series is closed
        found: dict[int, int] = {}
        for buckets in portions(range(span.low, span.high), BUCKETS_PER_STATEMENT):
            if selected := self._by_bucket(buckets, span.granularity, path):
                rows, bucket = selected
                counted = rows.annotate(group=bucket).order_by().values("group").annotate(n=Count("pk"))
                found.update(counted.values_list("group", "n"))
        found.pop(GAP, None)
        return found

    def new_visitors(self, span: Span, path: str | None, folded: BitMap) -> int:
        rows = self._rows(span, path)
        distinct = rows.aggregate(n=Count("session_key", distinct=True))["n"]
        one = Value(ONE_GROUP, output_field=IntegerField())
        known = self._known(rows, one, {ONE_GROUP: folded}) if folded else {ONE_GROUP: BitMap()}
        return int(distinct) - len(known[ONE_GROUP])

    def new_visitors_by_bucket(self, span: Span, path: str | None, folded: Mapping[int, BitMap]) -> dict[int, int]:
        selected = self._by_bucket(sorted(folded), span.granularity, path)
        if selected is None:
            return {}
        return {bucket: n for bucket, n in self._new(*selected, folded).items() if bucket in folded}

    def new_visitors_by_path(self, span: Span, folded: Mapping[str, BitMap]) -> dict[str, int]:
        return self._new(self._rows(span).filter(path__in=list(folded)), F("path"), folded)

    # -- the pages: united with the aggregates by one statement, whatever state it sees

    def count_paths(self, folded: Folded, span: Span, counted: int) -> int:
        state, paths = count_united_paths(self.using, pages_where(span), self._pages(span))
        self._check(state)
        return paths

    def top(self, folded: Folded, span: Span, ranked: list[RankedPage], *, limit: int, offset: int) -> list[RankedPage]:
        state, rows = read_ranking(self.using, pages_where(span), self._pages(span), limit=limit, offset=offset)
        self._check(state)
        return [RankedPage(subject, path, int(page_views), None) for subject, path, page_views in rows]

    def _pages(self, span: Span) -> tuple[str, Sequence[Any]]:
        """The statement that gives (path, page_views) of the page views after the cursor as it is then."""
        cursor = Generation.objects.filter(is_active=True).values("cursor")
        from_cursor = Coalesce(Subquery(cursor), Value(BEFORE_ALL), output_field=BigIntegerField())
        rows = self._within(PageView.objects.using(self.using).filter(pk__gt=from_cursor, pk__lte=self.upto), span)
        pages = rows.order_by().values("path").annotate(page_views=Count("pk"))
        return _sql(pages, self.using)

    def _check(self, state: State | None) -> None:
        """Up to `upto` it is the same answer from any cursor below it, in the same zone."""
        if state is None:
            if self.state.generation:
                raise MovedError
        elif state.cursor > self.upto or state.time_zone != self.state.time_zone:
            raise MovedError

    def first_viewed_at(self) -> datetime | None:
        return first_view(self.using, self.upto)

    def after(self, state: State) -> Tail:
        _check_within(self.state, state, self.upto)
        if self._rows_after(self.state.cursor).count() != self._length:
            raise AnswerUnsettledError(LATE_PAGE_VIEWS)
        moved = LongTail.__new__(LongTail)
        Tail.__init__(moved, self.using, state)
        moved._is_isolated, moved.upto, moved.pending = self._is_isolated, self.upto, self.upto - state.cursor
        moved._length = moved._rows_after(state.cursor).count()
        return moved

    def is_unchanged(self) -> bool:
        return self._is_isolated or self._rows_after(self.state.cursor).count() == self._length


LATE_PAGE_VIEWS = (
    "Page views of before the snapshot were committed and folded after it began: it cannot be kept inside a"
    " transaction that shows such changes. Take stats.snapshot() outside atomic(), or in a REPEATABLE READ transaction."
)
FOLDED_BEYOND = (
    "The fold went beyond the page views of the snapshot: it cannot be kept inside a transaction that shows such"
    " changes. Take stats.snapshot() outside atomic(), or in a REPEATABLE READ transaction."
)
FOLDED_MOVED = (
    "The aggregates moved under a snapshot of the folded part: it cannot be kept inside a transaction that shows such"
    " changes. Take stats.snapshot() outside atomic(), or in a REPEATABLE READ transaction."
)


def read_tail(using: str, state: State, *, may_be_long: bool, is_isolated: bool) -> Tail:
    """The page views after the cursor of a state; raises TailTooLongError if they are many and may not be."""
    limit = conf.TAIL_LIMIT
    rows = database_for(using).read_page_views(state.cursor, None, limit + 1)
    if len(rows) <= limit:
        return ShortTail(using, state, rows)
    if not may_be_long:
        raise TailTooLongError
    return LongTail(using, state, is_isolated=is_isolated)


def first_view(using: str, upto: int) -> datetime | None:
    """The earliest time of the page views up to a primary key, through the index on the time."""
    # pk + 0: the primary key, which would have to be walked to the end, is no way to find the first time
    views = PageView.objects.using(using).annotate(number=F("pk") + 0).filter(number__lte=upto)
    return views.order_by("viewed_at").values_list("viewed_at", flat=True).first()


def _sql(rows: QuerySet[Any, Any], using: str) -> tuple[str, Sequence[Any]]:
    statement, parameters = rows.query.get_compiler(using).as_sql()
    return statement, parameters


def _ids_spanned(using: str, state: State) -> tuple[int, int]:
    """The highest primary key, and how many there may be after the cursor."""
    views = PageView.objects.using(using)
    highest = cast(int, views.aggregate(highest=Max("pk"))["highest"])
    cursor = state.cursor
    if cursor == BEFORE_ALL:
        cursor = cast(int, views.aggregate(lowest=Min("pk"))["lowest"]) - 1
    return highest, highest - cursor


def _check_within(before: State, now: State, last: int) -> None:
    if not before.cursor <= now.cursor <= last or now.time_zone != before.time_zone:
        raise AnswerUnsettledError(FOLDED_BEYOND)


def _bucket_of(parts: Sequence[Segment]) -> Expression:
    """The bucket of `viewed_at`, by bisection: one comparison for each doubling of the segments."""
    if len(parts) == 1:
        return Value(parts[0].bucket, output_field=IntegerField())
    middle = len(parts) // 2
    return Case(
        When(viewed_at__lt=instant(parts[middle].start), then=_bucket_of(parts[:middle])),
        default=_bucket_of(parts[middle:]),
        output_field=IntegerField(),
    )


def _rank(page: RankedPage) -> tuple[int, bool, int, bytes]:
    unknown = page.subject is None
    return -page.page_views, unknown, page.subject or 0, (page.path or "").encode() if unknown else b""
