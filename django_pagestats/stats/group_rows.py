"""The rows of all values of a dimension, some megabytes at a time, and what those of a group have together.

A group has as many values as there are, a channel those of most sources, so its rows are not looked up value by value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from pyroaring import BitMap

from django_pagestats.dimensions import NamedDimension
from django_pagestats.merging.reading import Where
from django_pagestats.merging.rows import united
from django_pagestats.models import Subject
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.statements import Statements, kept
from django_pagestats.stats.topics import GroupOf, Topic
from django_pagestats.stats.wheres import values_where

#: so many sets are read at first, and then as many as have so many bytes
FIRST_SETS_PER_STATEMENT = 2_000
FEWEST_SETS_PER_STATEMENT = 64
MOST_SETS_PER_STATEMENT = 50_000
BYTES_PER_STATEMENT = 8_000_000
#: a group of no more values names them, and of a larger one all rows of the dimension are read
MOST_NAMED_SUBJECTS = 500


class FoldedGroups(NamedTuple):
    """Of each group the page views by bucket, and the ids of its visitors."""

    days: dict[str, Counter[int]]
    sets: dict[str, BitMap]


class GroupRows(Statements):
    """The rows of many values at a time."""

    @kept
    def groups(self, span: Span, dimension: NamedDimension, group_of: GroupOf) -> FoldedGroups:
        """All groups of a dimension's values that have any."""
        days: defaultdict[str, Counter[int]] = defaultdict(Counter)
        sets: defaultdict[str, BitMap] = defaultdict(BitMap)
        for bucket, group, page_views, visitors in self.rows_by_group(span, dimension, group_of):
            days[group][bucket] = page_views
            sets[group] |= visitors
        return FoldedGroups(dict(days), dict(sets))

    def rows_by_group(
        self, span: Span, dimension: NamedDimension, group_of: GroupOf
    ) -> Iterator[tuple[int, str, int, BitMap]]:
        """(bucket, group, page views, ids of visitors) of all groups, in the order of buckets."""
        names = self.group_by_subject(dimension, group_of)
        yield from self._by_group(values_where(span, dimension), span, names)

    def group_by_subject(self, dimension: NamedDimension, group_of: GroupOf) -> dict[int, str]:
        """subject -> its group, of all that these aggregates count."""
        groups = self._subjects_of_groups(dimension, group_of)
        return {subject: group for group, subjects in groups.items() for subject in subjects}

    def group_rows(
        self, span: Span, topic: Topic, buckets: Sequence[int] | None = None
    ) -> Iterator[tuple[int, int, BitMap]]:
        """(bucket, page views, ids of visitors) of each bucket in which one group has any, in order."""
        if subjects := self._subjects_of(topic):
            where = _where(span, topic, subjects, buckets)
            rows = self._by_group(where, span, dict.fromkeys(subjects, topic.value))
            yield from ((bucket, page_views, visitors) for bucket, _, page_views, visitors in rows)

    def group_page_views(self, span: Span, topic: Topic) -> int:
        """Of all values of one group together."""
        subjects = self._subjects_of(topic)
        if not subjects:
            return 0
        columns = ["a.subject", "SUM(a.page_views)"]
        rows = self.rows(columns, _where(span, topic, subjects), tail="GROUP BY a.subject")
        return sum(int(page_views) for subject, page_views in rows if subject in subjects)

    def _by_group(self, where: Where, span: Span, names: Mapping[int, str]) -> Iterator[tuple[int, str, int, BitMap]]:
        """What the rows of each bucket and group have together; `names`: subject -> group, others are left out.

        The sets of a portion, and those of the groups of one bucket, are in memory.
        """
        last, page_views, sets = 0, Counter[str](), defaultdict[str, BitMap](BitMap)
        for rows in self._portions(where, span):
            for bucket, those in groupby(rows, key=itemgetter(0)):
                if bucket != last:
                    yield from ((last, group, page_views[group], visitors) for group, visitors in sets.items())
                    last, page_views, sets = bucket, Counter(), defaultdict(BitMap)
                stored: defaultdict[str, list[bytes]] = defaultdict(list)
                for _, subject, count, visitor_set in those:
                    if (group := names.get(subject)) is not None:
                        page_views[group] += count
                        stored[group].append(visitor_set)
                for group, of_group in stored.items():
                    sets[group] |= united(of_group)
        yield from ((last, group, page_views[group], visitors) for group, visitors in sets.items())

    def _portions(self, where: Where, span: Span) -> Iterator[list[tuple[Any, ...]]]:
        """(bucket, subject, page views, stored visitor set) of each row, in the order of the primary key."""
        size = FIRST_SETS_PER_STATEMENT
        columns = ["a.bucket", "a.subject", "a.page_views", "a.visitor_set"]
        while True:
            rows = self.rows(columns, where, tail=f"ORDER BY a.bucket, a.subject LIMIT {size:d}")
            yield rows
            if len(rows) < size:
                return
            (bucket, subject, *_), read = rows[-1], sum(len(row[3]) for row in rows)
            if not span.is_all_time:  # so that the primary key finds the place; of all time there is one bucket
                where = replace(where, low=bucket)
            where = replace(where, after=(bucket, subject))
            wanted = size * BYTES_PER_STATEMENT // max(1, read)
            size = min(MOST_SETS_PER_STATEMENT, max(FEWEST_SETS_PER_STATEMENT, wanted))

    def _subjects_of(self, topic: Topic) -> BitMap:
        assert topic.group_of is not None  # noqa: S101 - of one value nothing is to be told apart
        return self._subjects_of_groups(topic.dimension, topic.group_of).get(topic.value, BitMap())

    @kept
    def _subjects_of_groups(self, dimension: NamedDimension, group_of: GroupOf) -> dict[str, BitMap]:
        """group -> the subjects of its values, of all that there ever were."""
        self.begin()  # what these aggregates count has its id by then
        found: dict[str, BitMap] = {}
        subjects = Subject.objects.using(self.using).filter(dimension=dimension.id)
        for subject, value in subjects.values_list("pk", "value").iterator():
            found.setdefault(group_of(value), BitMap()).add(subject)
        return found


def _where(span: Span, topic: Topic, subjects: BitMap, buckets: Sequence[int] | None = None) -> Where:
    """The rows of a group's values, if these are few; else of all values, those of the group among them."""
    # of all time PostgreSQL looks named ones up one by one, in no portions
    is_named = len(subjects) <= MOST_NAMED_SUBJECTS and not span.is_all_time
    return values_where(span, topic.dimension, buckets=buckets, subjects=list(subjects) if is_named else None)
