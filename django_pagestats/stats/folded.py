"""The folded part of an answer, aggregates of the active generation, all of one state: the values of dimensions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any, NamedTuple

from pyroaring import BitMap

from django_pagestats.buckets import Granularity
from django_pagestats.dimensions import ENTRY, NamedDimension
from django_pagestats.ids import known_subject_ids
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import Where
from django_pagestats.merging.rows import deserialized
from django_pagestats.models import Subject
from django_pagestats.stats import ranking
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.ranking import Ranking
from django_pagestats.stats.statements import MOST_BUCKETS, SETS_PER_STATEMENT, buckets_at_once, kept
from django_pagestats.stats.topic_rows import BUCKETS_PER_STATEMENT, KEPT_SETS, TopicRows
from django_pagestats.stats.topics import PAGES, Topic
from django_pagestats.stats.wheres import values_where

#: sets that the first statement reads of several subjects at once: those of ten pages and two months
SUBJECT_SETS_PER_STATEMENT = 640
#: rows that one statement looks up by primary key; and subjects of which it looks up all days, however many these are
ROWS_PER_STATEMENT = 10_000
SUBJECTS_PER_STATEMENT = 500
#: with so many of them all rows of a month are a hundred thousand
VERY_MANY_PAGE_VIEWS = 3_000_000
#: values whose subjects are remembered, before they are forgotten
MOST_NAMED = 5_000
#: texts of subjects that one statement reads
TEXTS_PER_STATEMENT = 500


class Ranked(NamedTuple):
    """A page, or another value of a dimension, among the top ones: by its id or, where it has none yet, by its text."""

    subject: int | None
    value: str | None
    page_views: int
    #: None: only its visitor sets tell
    visitors: int | None


class Folded(TopicRows):
    """What the aggregates say; answers that are kept are nobody's to change."""

    @cached_property
    def _named(self) -> dict[tuple[NamedDimension, str], int]:
        """The subjects of values that were read by their subjects."""
        return {}

    @kept
    def page_views_of_all(self, span: Span, dimension: NamedDimension) -> int:
        """Of all values together."""
        return int(self.rows(["SUM(a.page_views)"], values_where(span, dimension))[0][0] or 0)

    def read_page_views_of_all(self, spans: Collection[Span], dimension: NamedDimension) -> None:
        """Read the same of several spans by one statement, where it can."""
        days = {span: span.buckets(MOST_BUCKETS) for span in spans}
        every = sorted({day for of in days.values() for day in of or ()})
        if not self.is_own or len(days) < 2 or None in days.values() or len(every) > MOST_BUCKETS:
            return
        if all(self.found("page_views_of_all", span, dimension) is not None for span in days):
            return
        where = values_where(Span(Granularity.DAY), dimension, buckets=every)
        rows = self.rows(["a.bucket", "SUM(a.page_views)"], where, tail="GROUP BY a.bucket")
        for span in days:
            self.know("page_views_of_all", span, dimension, sum(int(total) for day, total in rows if day in span))

    @kept
    def count_values(self, span: Span, dimension: NamedDimension) -> int:
        by_look_ups = None if span.is_all_time else self._ranking(span, dimension)
        if by_look_ups is not None and (count := by_look_ups.count(is_large=self._is_large)) is not None:
            return count
        column = "COUNT(*)" if span.is_all_time else "COUNT(DISTINCT a.subject)"
        return int(self.rows([column], values_where(span, dimension))[0][0])

    @kept
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
        elif (look_ups := self._ranking(span, dimension)) and (found := look_ups.top(count, lambda: self.state)):
            rows = [(subject, page_views, None) for subject, page_views in found]
        else:
            rows = self._ranked(span, dimension, count)
        return [Ranked(subject, None, int(page_views), visitors) for subject, page_views, visitors in rows]

    def _ranked(self, span: Span, dimension: NamedDimension, count: int) -> list[tuple[Any, ...]]:
        """Of all rows; since these are read, the values are counted by the same statement."""
        rows = self.rows(
            ["a.subject", "SUM(a.page_views) AS total", "NULL AS visitors", "COUNT(*) OVER () AS counted"],
            values_where(span, dimension),
            tail=f"GROUP BY a.subject ORDER BY total DESC, a.subject LIMIT {count:d}",
        )
        if count:
            self.know("count_values", span, dimension, rows[0][3] if rows else 0)
        return [row[:3] for row in rows]

    def _ranking(self, span: Span, dimension: NamedDimension) -> Ranking | None:
        """Look-ups in place of all rows, of paths: other dimensions have few values, whose rows are soon read."""
        if dimension != PAGES and dimension.source != ENTRY:
            return None
        days = self.buckets(span, None)
        most_viewed, known = partial(self._most_viewed, dimension), partial(self._known_subjects, dimension)
        return Ranking(self.rows, span, dimension, days, most_viewed, known)

    @property
    def _is_large(self) -> bool:
        """Whether there are very many page views, as far as is known without a statement."""
        return self._state is not None and self._state.cursor >= VERY_MANY_PAGE_VIEWS

    @kept
    def _known_subjects(self, dimension: NamedDimension) -> BitMap:
        """All that any aggregates count, up to `MOST_KNOWN` and one."""
        self.begin()  # what these aggregates count has its id by then
        subjects = Subject.objects.using(self.using).filter(dimension=dimension.id)
        return BitMap(list(chain.from_iterable(subjects.values_list("pk")[: ranking.MOST_KNOWN + 1])))

    @kept
    def _most_viewed(self, dimension: NamedDimension) -> list[tuple[int, int]]:
        """The values with the most page views of all time, with these."""
        rows = self.rows(
            ["a.subject", "a.page_views"],
            Where(dimension.id, Granularity.ALL, is_ranked=dimension == PAGES),
            tail=f"ORDER BY a.page_views DESC, a.subject LIMIT {ranking.MOST_VIEWED:d}",
            index="pagestats_top_pages" if dimension == PAGES else "",
        )
        return [(subject, page_views) for subject, page_views in rows]

    def page_views_by_value(self, span: Span, dimension: NamedDimension, values: Iterable[str]) -> dict[str, int]:
        """value -> page views, of those of the values that have any."""
        return self._page_views_by_value(span, dimension, tuple(values))

    @kept
    def _page_views_by_value(self, span: Span, dimension: NamedDimension, values: tuple[str, ...]) -> dict[str, int]:
        subjects = self._subject_ids(dimension, values)
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
        self,
        span: Span,
        dimension: NamedDimension,
        keys: Iterable[int],
        *,
        are_small: bool = False,
        page_views: int = 0,
    ) -> dict[int, BitMap]:
        """subject -> the ids of its visitors in the span, of those subjects that have any.

        `are_small`: all sets of the keys are of so few page views that they may be in memory together. `page_views`: no
        more than so many have all of them; the fewer, the more of their sets the first statement reads. 0: not known.
        """

        def read(subjects: list[int]) -> Iterator[tuple[int, BitMap]]:
            merged: dict[int, BitMap] = {}
            days = self.buckets(span, None)
            few = BUCKETS_PER_STATEMENT if are_small else max(1, SUBJECT_SETS_PER_STATEMENT // len(subjects))
            few = max(few, buckets_at_once(len(days), page_views))
            rows = self._rows_with_sets(
                ["a.subject", "a.visitor_set"],
                lambda buckets: values_where(span, dimension, buckets=buckets, subjects=subjects),
                days,
                first=few,
            )
            for subject, visitor_set in rows:
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
        rows = self._rows_with_sets(
            ["a.bucket", "a.subject", "a.visitor_set"],
            lambda buckets: values_where(span, dimension, buckets=buckets, subjects=subjects),
            self.buckets(span, None),
            first=max(1, SUBJECT_SETS_PER_STATEMENT // len(subjects)),
            tail="ORDER BY a.bucket, a.subject",
        )
        yield from ((bucket, subject, deserialized(visitor_set)) for bucket, subject, visitor_set in rows)

    def sets_by_bucket(self, span: Span, topic: Topic | None) -> Iterator[tuple[int, BitMap]]:
        """Each bucket of a topic's, or of the site's, with the ids of its visitors, in order."""
        return self.sets_in_order(span, topic, self.buckets(span, topic))

    def subject_series(self, span: Span, dimension: NamedDimension, values: Iterable[str]) -> dict[str, dict[int, int]]:
        """value -> bucket -> page views, of those that have any, of a closed span."""
        return self._subject_series(span, dimension, tuple(values))

    @kept
    def _subject_series(
        self, span: Span, dimension: NamedDimension, values: tuple[str, ...]
    ) -> dict[str, dict[int, int]]:
        subjects = self._subject_ids(dimension, values)
        values_of = {subject: value for value, subject in subjects.items()}
        found: dict[str, dict[int, int]] = {}
        for buckets in portions(self.buckets(span, None), max(1, ROWS_PER_STATEMENT // max(1, len(values_of)))):
            where = values_where(span, dimension, buckets=buckets, subjects=list(values_of))
            rows = self.rows(["a.subject", "a.bucket", "a.page_views"], where) if values_of else []
            for subject, bucket, page_views in rows:
                found.setdefault(values_of[subject], {})[bucket] = page_views
        return found

    @kept
    def _subject_ids(self, dimension: NamedDimension, values: tuple[str, ...]) -> dict[str, int]:
        return self.subject_ids(dimension, values)

    def subject_ids(self, dimension: NamedDimension, values: Iterable[str]) -> dict[str, int]:
        """value -> its subject, of those values that have one, as all have that these aggregates count."""
        self.begin()  # before the ids are looked up: a value that these aggregates count has its id by then
        values = set(values)
        known = {value: self._named[dimension, value] for value in values if (dimension, value) in self._named}
        unknown = values.difference(known)
        return known | known_subject_ids(self.using, unknown, dimension.id) if unknown else known

    def remember(self, dimension: NamedDimension, subjects: Mapping[str, int | None]) -> None:
        """Which subjects some values have, so that they are not looked up by their texts."""
        if len(self._named) > MOST_NAMED:
            self._named.clear()
        self._named.update(((dimension, value), it) for value, it in subjects.items() if it is not None)

    def texts(self, subjects: Iterable[int]) -> dict[int, str]:
        """subject -> its value, of subjects that these aggregates count."""
        texts = {subject: self.found("text", subject) for subject in subjects}
        for portion in portions((subject for subject, text in texts.items() if text is None), TEXTS_PER_STATEMENT):
            rows = Subject.objects.using(self.using).filter(pk__in=portion)
            for subject, text in rows.values_list("pk", "value"):
                texts[subject] = self.keep("text", subject, text)
        return {subject: text for subject, text in texts.items() if text is not None}
