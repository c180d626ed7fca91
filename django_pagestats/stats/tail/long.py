"""The tail that the database counts, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from pyroaring import BitMap

from django_pagestats.buckets import Granularity, instant
from django_pagestats.dimensions import NamedDimension
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.ids import MOST_VISITORS
from django_pagestats.merging import database_for
from django_pagestats.merging.ordering import count_before, count_united_paths, read_places, read_ranking
from django_pagestats.merging.portions import portions
from django_pagestats.merging.prefixes import begins
from django_pagestats.merging.reading import State, read_with_visitors
from django_pagestats.models import Generation, PageView
from django_pagestats.stats.folded import Folded, Ranked
from django_pagestats.stats.ranges import EVERYTHING, Segment, Span, intervals, segments
from django_pagestats.stats.statements import BEFORE_ALL, MovedError
from django_pagestats.stats.tail.base import (
    LATE_PAGE_VIEWS,
    ONE_GROUP,
    Tail,
    check_within,
    first_view,
    pending_after,
    too_long,
    within,
)
from django_pagestats.stats.topics import PAGES, Topic
from django_pagestats.stats.wheres import values_where

#: page views that are in memory at a time, and the characters of their paths where these come with them
ROWS_PER_STATEMENT = 50_000
CHARACTERS_PER_STATEMENT = 8_000_000
#: buckets that one statement tells apart
BUCKETS_PER_STATEMENT = 400
#: no bucket: between two that are counted
GAP = -(10**9)


class LongTail(Tail):
    """Page views that the database counts, those up to `upto`; of named dimensions it raises TailTooLongError.

    Its statements must see one instant; `is_isolated` says that the transaction sees to that. Otherwise
    `is_unchanged()` counts once more: page views are append-only, so as many as before are the same as before.
    """

    def __init__(self, using: str, state: State, *, is_isolated: bool, upto: int | None = None) -> None:
        super().__init__(using, state)
        self._is_isolated = is_isolated
        if upto is None:
            upto = cast(int, PageView.objects.using(using).aggregate(highest=Max("pk"))["highest"])
            database_for(using).check_countable(state.cursor, upto)
        self.upto = upto
        self._length = None if is_isolated else self._rows_after(state.cursor).count()

    @cached_property
    def _pending(self) -> tuple[int, bool]:
        return pending_after(self.using, self.state.cursor, self.upto)

    @property
    def pending(self) -> int:
        return self._pending[0]

    @property
    def pending_is_exact(self) -> bool:  # type: ignore[override]
        return self._pending[1]

    def _rows_after(self, cursor: int) -> QuerySet[PageView]:
        return PageView.objects.using(self.using).filter(pk__gt=cursor, pk__lte=self.upto)

    def rows(self, span: Span, topic: Topic | None = None) -> QuerySet[PageView]:
        return self._within(self._rows_after(self.state.cursor), span, topic)

    def _within(self, rows: QuerySet[PageView], span: Span, topic: Topic | None = None) -> QuerySet[PageView]:
        rows = rows.filter(within(intervals(span, self.calendar)))
        if topic is None:
            return rows
        _check_is_of_pages(topic.dimension)
        return rows.filter(path=topic.value)

    # -- visitors

    def new(self, rows: QuerySet[PageView], key: Expression | F, folded: Mapping[Any, BitMap]) -> dict[Any, int]:
        """key -> distinct session keys whose visitor is not in the key's set."""
        distinct = rows.annotate(group=key).order_by().values("group").annotate(n=Count("session_key", distinct=True))
        new = dict.fromkeys(folded, 0) | dict(distinct.values_list("group", "n"))
        for group, known in self._known(rows, key, {group: ids for group, ids in folded.items() if ids}).items():
            new[group] -= len(known)
        return new

    def _known(self, rows: QuerySet[PageView], key: Expression | F, folded: Mapping[Any, BitMap]) -> dict[Any, BitMap]:
        """key -> the visitors that are in its set already."""
        seen = {group: BitMap() for group in folded}
        # a key may be a path, which comes with each row
        longest = max((len(group) for group in folded if isinstance(group, str)), default=0)
        size = min(ROWS_PER_STATEMENT, CHARACTERS_PER_STATEMENT // max(1, longest))
        found = rows.annotate(number=F("pk"), part=key).order_by("pk").values("number", "part", "session_key")
        last: int | None = self.state.cursor if folded else None
        while last is not None:
            portion = read_with_visitors(self.using, _sql(found.filter(pk__gt=last)[:size], self.using))
            groups: dict[Any, set[int]] = {}
            for _, group, visitor in portion:
                if visitor is not None and 0 <= visitor <= MOST_VISITORS and group in seen:
                    groups.setdefault(group, set()).add(visitor)
            for group, visitors in groups.items():
                seen[group] |= folded[group] & BitMap(visitors)
            last = max(row[0] for row in portion) if len(portion) == size else None
        return seen

    def _by_bucket(
        self, buckets: Sequence[int], granularity: Granularity, topic: Topic | None
    ) -> tuple[QuerySet[PageView], Expression] | None:
        """The rows of some buckets, and the expression that tells in which one each is."""
        parts = segments(buckets, granularity, self.calendar)
        if not parts:
            return None
        gaps = (Segment(part.end, following.start, GAP) for part, following in pairwise(parts))
        bucket = _bucket_of(sorted([*parts, *(gap for gap in gaps if gap.start < gap.end)]))
        rows = self.rows(EVERYTHING, topic)
        return rows.filter(viewed_at__gte=instant(parts[0].start), viewed_at__lt=instant(parts[-1].end)), bucket

    # -- the answers

    def page_views(self, span: Span, topic: Topic | None) -> int:
        return self.rows(span, topic).count()

    def page_views_by_value(self, span: Span, dimension: NamedDimension, values: Collection[str]) -> dict[str, int]:
        _check_is_of_pages(dimension)
        rows = self.rows(span).filter(path__in=list(values))
        return dict(rows.order_by().values("path").annotate(n=Count("pk")).values_list("path", "n"))

    def page_views_by_value_and_day(self, span: Span, dimension: NamedDimension) -> dict[str, dict[int, int]]:
        raise too_long(dimension.name)

    def values(self, span: Span, dimension: NamedDimension) -> Collection[str]:
        raise too_long("all pages" if dimension == PAGES else dimension.name)

    def page_views_by_bucket(self, span: Span, topic: Topic | None) -> dict[int, int]:
        assert span.low is not None and span.high is not None  # noqa: S101 - a time series is closed
        found: dict[int, int] = {}
        for buckets in portions(range(span.low, span.high), BUCKETS_PER_STATEMENT):
            if selected := self._by_bucket(buckets, span.granularity, topic):
                rows, bucket = selected
                counted = rows.annotate(group=bucket).order_by().values("group").annotate(n=Count("pk"))
                found.update(counted.values_list("group", "n"))
        found.pop(GAP, None)
        return found

    def new_visitors(self, span: Span, topic: Topic | None, folded: BitMap) -> int:
        rows = self.rows(span, topic)
        distinct = rows.aggregate(n=Count("session_key", distinct=True))["n"]
        one = Value(ONE_GROUP, output_field=IntegerField())
        known = self._known(rows, one, {ONE_GROUP: folded}) if folded else {ONE_GROUP: BitMap()}
        return int(distinct) - len(known[ONE_GROUP])

    def new_visitors_by_bucket(self, span: Span, topic: Topic | None, folded: Mapping[int, BitMap]) -> dict[int, int]:
        selected = self._by_bucket(sorted(folded), span.granularity, topic)
        if selected is None:
            return {}
        return {bucket: n for bucket, n in self.new(*selected, folded).items() if bucket in folded}

    def new_visitors_by_value(
        self, span: Span, dimension: NamedDimension, folded: Mapping[str, BitMap]
    ) -> dict[str, int]:
        _check_is_of_pages(dimension)
        return self.new(self.rows(span).filter(path__in=list(folded)), F("path"), folded)

    def page_views_of_all(self, span: Span, dimension: NamedDimension) -> int:
        _check_is_of_pages(dimension)
        return self.rows(span).count()

    def new_visitors_of_values(
        self, span: Span, dimension: NamedDimension, values: Collection[str], folded: BitMap
    ) -> int:
        _check_is_of_pages(dimension)
        one = Value(ONE_GROUP, output_field=IntegerField())
        return self.new(self.rows(span).filter(path__in=list(values)), one, {ONE_GROUP: folded})[ONE_GROUP]

    # -- the pages: united with the aggregates by one statement, whatever state it sees

    def count_values(self, folded: Folded, span: Span, dimension: NamedDimension, counted: int) -> int:
        _check_is_of_pages(dimension)
        state, paths = count_united_paths(self.using, values_where(span, dimension), self.pages(span))
        self.check(state, span)
        return paths

    def top(
        self,
        folded: Folded,
        span: Span,
        dimension: NamedDimension,
        ranked: list[Ranked],
        *,
        limit: int,
        offset: int,
    ) -> list[Ranked]:
        _check_is_of_pages(dimension)
        where = values_where(span, dimension)
        state, rows = read_ranking(self.using, where, self.pages(span), limit=limit, offset=offset)
        self.check(state, span)
        return [Ranked(subject, path, int(page_views), None) for subject, path, page_views in rows]

    def pages(self, span: Span) -> tuple[str, Sequence[Any]]:
        """The statement that gives (path, page_views) of the page views after the cursor as it is then."""
        cursor = Generation.objects.filter(is_active=True).values("all_cursor" if span.is_all_time else "cursor")
        from_cursor = Coalesce(Subquery(cursor), Value(BEFORE_ALL), output_field=BigIntegerField())
        rows = self._within(PageView.objects.using(self.using).filter(pk__gt=from_cursor, pk__lte=self.upto), span)
        pages = rows.order_by().values("path").annotate(page_views=Count("pk"))
        return _sql(pages, self.using)

    def check(self, state: State | None, span: Span) -> None:
        """Up to `upto` it is the same answer from any cursor below it, in the same zone."""
        if state is None:
            if self.state.generation:
                raise MovedError
        elif (
            state.all_cursor if span.is_all_time else state.cursor
        ) > self.upto or state.time_zone != self.state.time_zone:
            raise MovedError

    def count_before(self, span: Span, page_views: int, path: str) -> int:
        """How many pages of the folded part and of these together come before one in (-page views, path)."""
        state, count = count_before(self.using, values_where(span, PAGES), page_views, path, self.pages(span))
        self.check(state, span)
        return count

    def page_at(self, span: Span, number: int) -> str | None:
        """The page with this number, from 1 on, in that order."""
        where = values_where(span, PAGES)
        state, places = read_places(self.using, where, offset=number - 1, limit=1, tail=self.pages(span))
        self.check(state, span)
        return places[0].path if places else None

    # -- the pages whose paths begin with a text

    def rows_below(self, span: Span, prefix: str) -> QuerySet[PageView]:
        return self.rows(span).filter(begins("path", prefix))

    def new_visitors_below(self, span: Span, prefix: str, folded: BitMap) -> int:
        one = Value(ONE_GROUP, output_field=IntegerField())
        return self.new(self.rows_below(span, prefix), one, {ONE_GROUP: folded})[ONE_GROUP]

    def first_viewed_at(self, span: Span) -> datetime | None:
        return first_view(self.using, self.upto, intervals(span, self.calendar))

    def after(self, state: State) -> Tail:
        check_within(self.state, state, self.upto)
        if not self.is_unchanged():
            raise AnswerUnsettledError(LATE_PAGE_VIEWS)
        return LongTail(self.using, state, is_isolated=self._is_isolated, upto=self.upto)

    def is_unchanged(self) -> bool:
        return self._is_isolated or self._rows_after(self.state.cursor).count() == self._length


def _check_is_of_pages(dimension: NamedDimension) -> None:
    """Only Python knows what a function gives, and visitors that have no id yet take memory for each value."""
    if dimension != PAGES:
        raise too_long(dimension.name)


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


def _sql(rows: QuerySet[Any, Any], using: str) -> tuple[str, Sequence[Any]]:
    statement, parameters = rows.query.get_compiler(using).as_sql()
    return statement, parameters
