"""The tail in memory: its page views are tallied as the fold does it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain

from django.db.models import Min
from pyroaring import BitMap

from django_pagestats.buckets import Granularity, epoch_seconds
from django_pagestats.dimensions import NamedDimension
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.ids import known_subject_ids, known_visitor_ids
from django_pagestats.merging import PageViewRow
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import State
from django_pagestats.models import PageView
from django_pagestats.stats.folded import Folded, Ranked
from django_pagestats.stats.ranges import EVERYTHING, Span, intervals
from django_pagestats.stats.statements import BEFORE_ALL
from django_pagestats.stats.tail.base import (
    LATE_PAGE_VIEWS,
    ONE_GROUP,
    Tail,
    check_within,
    first_view,
)
from django_pagestats.stats.tail.values import Attributes, Valued, spread_over
from django_pagestats.stats.topics import PAGES, Topic
from django_pagestats.tally import Tally, tally

#: the number of a path that no page view has
NO_PATH = -1


class ShortTail(Tail):
    """Page views in memory: each path and each session key once, and numbers in their place."""

    pending_is_exact = True

    def __init__(self, using: str, state: State, rows: Sequence[PageViewRow], *, upto: int = BEFORE_ALL) -> None:
        super().__init__(using, state)
        ids, paths, session_keys, seconds = zip(*rows, strict=True) if rows else ((), (), (), ())
        self._paths, self._session_keys = _numbered(paths), _numbered(session_keys)
        self.ids, self._seconds = list(ids), list(seconds)
        #: up to which primary key no page view is missing
        self._upto = max(upto, ids[-1] if ids else state.cursor)
        self._of_path = list(map(self._paths.__getitem__, paths))
        self._of_visitor = list(map(self._session_keys.__getitem__, session_keys))
        self._attributes = Attributes(using)
        self._named: dict[NamedDimension, Valued] = {}
        self._subjects: dict[NamedDimension, dict[str, int]] = {}

    @property
    def pending(self) -> int:
        return len(self.ids)

    @property
    def session_keys(self) -> Collection[str]:
        """Each one once; after a cut those of before it, too."""
        return self._session_keys.keys()

    @property
    def paths(self) -> Collection[str]:
        """Each one once; after a cut those of before it, too."""
        return self._paths.keys()

    @cached_property
    def _tally(self) -> Tally:
        return tally(zip(self._of_path, self._of_visitor, self._seconds, strict=True), self.calendar)

    @cached_property
    def _count_by_path(self) -> dict[str, int]:
        paths = list(self._paths)
        return {paths[number]: count for number, count in Counter(self._of_path).items()}

    @cached_property
    def known_visitors(self) -> dict[str, int]:
        """session key -> visitor id, of those of the session keys that have one."""
        return known_visitor_ids(self.using, self._session_keys) if self._session_keys else {}

    @cached_property
    def _visitor_ids(self) -> list[int | None]:
        return [self.known_visitors.get(key) for key in self._session_keys]

    def _values(self, dimension: NamedDimension) -> Valued:
        """The values of a dimension; raises DimensionError."""
        if dimension == PAGES:
            return Valued(self._paths, self._tally.page_days)
        if not self.ids:
            return Valued({}, {})
        if dimension not in self._named:
            spread, numbers = spread_over(dimension, self.ids, list(self._paths), self._of_path, self._attributes)
            rows = zip(self._of_path, self._of_visitor, self._seconds, strict=True)
            counted = tally(rows, self.calendar, spread).value_days
            self._named[dimension] = Valued(numbers, counted.get(dimension.id, {}))
        return self._named[dimension]

    def _subject_ids(self, dimension: NamedDimension) -> dict[str, int]:
        """value -> subject id, of those that have one."""
        if dimension not in self._subjects:
            values = self._values(dimension).numbers
            self._subjects[dimension] = known_subject_ids(self.using, values, dimension.id) if values else {}
        return self._subjects[dimension]

    def _groups(self, span: Span, topic: Topic | None) -> dict[int, list[int]]:
        """bucket -> the visitor of each page view."""
        groups: dict[int, list[int]] = {}
        for bucket, visitors in self._counts(span, topic):
            if span.is_all_time:
                bucket = ONE_GROUP
            elif bucket not in span:
                continue
            groups.setdefault(bucket, []).extend(visitors)
        return groups

    def _counts(self, span: Span, topic: Topic | None) -> Iterator[tuple[int, list[int]]]:
        if topic is not None:
            numbers, days = self._values(topic.dimension)
            wanted = topic.numbers_in(numbers)
            return ((day, visitors) for (day, of), visitors in days.items() if of in wanted)
        if span.granularity == Granularity.HOUR:
            return ((hour, visitors) for (_, hour), visitors in self._tally.site_hours.items())
        return ((day, visitors) for (day, _), visitors in self._tally.site_hours.items())

    def _groups_by_value(self, span: Span, dimension: NamedDimension) -> dict[str, list[int]]:
        numbers, days = self._values(dimension)
        values = list(numbers)
        groups: dict[str, list[int]] = {}
        for (day, number), visitors in days.items():
            if span.is_all_time or day in span:
                groups.setdefault(values[number], []).extend(visitors)
        return groups

    def _new(self, visitors: Iterable[int], folded: BitMap) -> int:
        distinct = set(visitors)
        if not folded:
            return len(distinct)
        ids = (self._visitor_ids[visitor] for visitor in distinct)
        return len(distinct) - folded.intersection_cardinality(BitMap(found for found in ids if found is not None))

    # -- the answers

    def page_views(self, span: Span, topic: Topic | None) -> int:
        if span == EVERYTHING and (topic is None or topic.dimension == PAGES):  # no need of a tally
            return len(self.ids) if topic is None else self._of_path.count(self._paths.get(topic.value, NO_PATH))
        return sum(self.page_views_by_bucket(span, topic).values())

    def page_views_by_value(self, span: Span, dimension: NamedDimension, values: Collection[str]) -> dict[str, int]:
        if span == EVERYTHING and dimension == PAGES:
            return self._count_by_path
        numbers, days = self._values(dimension)
        wanted = {numbers[value]: value for value in values if value in numbers}
        counts: Counter[str] = Counter()
        for (day, number), visitors in days.items():
            if number in wanted and day in span:
                counts[wanted[number]] += len(visitors)
        return counts

    def page_views_by_value_and_day(self, span: Span, dimension: NamedDimension) -> dict[str, dict[int, int]]:
        numbers, days = self._values(dimension)
        values = list(numbers)
        found: dict[str, dict[int, int]] = {}
        for (day, number), visitors in days.items():
            if span.is_all_time or day in span:
                found.setdefault(values[number], {})[day] = len(visitors)
        return found

    def values(self, span: Span, dimension: NamedDimension) -> Collection[str]:
        return self._groups_by_value(span, dimension).keys()

    def page_views_by_bucket(self, span: Span, topic: Topic | None) -> dict[int, int]:
        return {bucket: len(visitors) for bucket, visitors in self._groups(span, topic).items()}

    def page_views_by_session_key(self, span: Span, topic: Topic | None) -> dict[str, int]:
        """session key -> page views of a span, of those that have any."""
        counts = Counter(chain.from_iterable(self._groups(span, topic).values()))
        return {key: counts[number] for key, number in self._session_keys.items() if number in counts}

    def session_keys_by_value(self, span: Span, dimension: NamedDimension) -> dict[str, list[str]]:
        """value -> the session keys of its page views of a span, of those values that have any."""
        keys, groups = list(self._session_keys), self._groups_by_value(span, dimension)
        return {value: [keys[number] for number in set(numbers)] for value, numbers in groups.items()}

    def session_keys_by_bucket(self, span: Span, topic: Topic | None = None) -> dict[int, set[str]]:
        """bucket -> the session keys of the page views in it, of a topic or of the site, of those that have any."""
        keys = list(self._session_keys)
        return {bucket: {keys[number] for number in set(of)} for bucket, of in self._groups(span, topic).items()}

    def session_keys_by_value_and_day(
        self, span: Span, dimension: NamedDimension, values: Collection[str]
    ) -> dict[tuple[int, str], list[str]]:
        """(day, value) -> the session keys of its page views on it, of those of the values that have any."""
        keys, (numbers, days) = list(self._session_keys), self._values(dimension)
        wanted = {numbers[value]: value for value in values if value in numbers}
        return {
            (day, wanted[number]): [keys[visitor] for visitor in set(visitors)]
            for (day, number), visitors in days.items()
            if number in wanted and day in span
        }

    def session_keys_of(self, span: Span, dimension: NamedDimension, values: Collection[str]) -> set[str]:
        """Those of the visitors of any of some values."""
        groups, keys = self._groups_by_value(span, dimension), list(self._session_keys)
        return {keys[visitor] for value in values for visitor in groups.get(value, ())}

    def new_visitors(self, span: Span, topic: Topic | None, folded: BitMap) -> int:
        groups = self._groups(span, topic)
        return self._new((visitor for visitors in groups.values() for visitor in visitors), folded)

    def new_visitors_by_bucket(self, span: Span, topic: Topic | None, folded: Mapping[int, BitMap]) -> dict[int, int]:
        groups = self._groups(span, topic)
        return {bucket: self._new(groups.get(bucket, ()), known) for bucket, known in folded.items()}

    def new_visitors_by_value(
        self, span: Span, dimension: NamedDimension, folded: Mapping[str, BitMap]
    ) -> dict[str, int]:
        groups = self._groups_by_value(span, dimension)
        return {value: self._new(groups.get(value, ()), known) for value, known in folded.items()}

    def page_views_of_all(self, span: Span, dimension: NamedDimension) -> int:
        days = self._values(dimension).days
        return sum(len(visitors) for (day, _), visitors in days.items() if span.is_all_time or day in span)

    def new_visitors_of_values(
        self, span: Span, dimension: NamedDimension, values: Collection[str], folded: BitMap
    ) -> int:
        groups = self._groups_by_value(span, dimension)
        return self._new((visitor for value in values for visitor in groups.get(value, ())), folded)

    def count_values(self, folded: Folded, span: Span, dimension: NamedDimension, counted: int) -> int:
        values = self._groups_by_value(span, dimension)
        known = self._subject_ids(dimension) if values else {}
        subjects = {known[value] for value in values if value in known}
        return counted + len(values) - len(folded.subject_totals(span, dimension, subjects))

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
        # a value that is not in the tail and is among the first n together is among the first n of the folded part
        tailed = self._groups_by_value(span, dimension)
        ids = self._subject_ids(dimension) if tailed else {}
        subjects = {value: ids.get(value) for value in tailed}
        known = {subject for subject in subjects.values() if subject is not None}
        totals = folded.subject_totals(span, dimension, known)
        found = [it for it in ranked if it.subject not in totals]
        for value, subject in subjects.items():
            found.append(Ranked(subject, value, len(tailed[value]) + totals.get(subject or 0, 0), None))
        return sorted(found, key=_rank)[offset : offset + limit]

    def first_viewed_at(self, span: Span) -> datetime | None:
        folded = None
        if self.state.cursor > BEFORE_ALL:
            folded = first_view(self.using, self.state.cursor, intervals(span, self.calendar))
        is_everything = span.is_all_time
        earliest = min((at for at in self._seconds if is_everything or self.calendar.day(at) in span), default=None)
        if earliest is None or (folded is not None and epoch_seconds(folded) < earliest):
            return folded
        # the tally has whole seconds only
        ids = [pk for pk, at in zip(self.ids, self._seconds, strict=True) if at == earliest]
        views = PageView.objects.using(self.using)
        firsts: list[datetime] = [
            views.filter(pk__in=portion).aggregate(first=Min("viewed_at"))["first"] for portion in portions(ids, 500)
        ]
        return min(firsts if folded is None else [folded, *firsts])

    def after(self, state: State) -> Tail:
        check_within(self.state, state, self._upto)
        passed = bisect_right(self.ids, state.cursor)
        gone = PageView.objects.using(self.using).filter(pk__gt=self.state.cursor, pk__lte=state.cursor)
        if state.cursor != self.state.cursor and gone.count() != passed:
            raise AnswerUnsettledError(LATE_PAGE_VIEWS)
        return self.cut(state)

    def cut(self, state: State) -> ShortTail:
        """Those of the page views that come after another state's cursor."""
        passed = bisect_right(self.ids, state.cursor)
        rest = ShortTail(self.using, state, [], upto=self._upto)
        # those of page views that are gone from it do no harm
        rest._paths, rest._session_keys, rest._attributes = self._paths, self._session_keys, self._attributes
        rest.ids, rest._seconds = self.ids[passed:], self._seconds[passed:]
        rest._of_path, rest._of_visitor = self._of_path[passed:], self._of_visitor[passed:]
        return rest


def _rank(it: Ranked) -> tuple[int, bool, int, bytes]:
    unknown = it.subject is None
    return -it.page_views, unknown, it.subject or 0, (it.value or "").encode() if unknown else b""


def _numbered(values: Iterable[str]) -> dict[str, int]:
    distinct = dict.fromkeys(values)
    return dict(zip(distinct, range(len(distinct)), strict=True))
