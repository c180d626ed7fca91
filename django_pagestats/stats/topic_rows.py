"""What the aggregates say of the site, or of one topic: a page, a value of a dimension, or a group of values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pyroaring import BitMap

from django_pagestats.buckets import Granularity
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import Where
from django_pagestats.merging.repeats import Visits
from django_pagestats.merging.rows import deserialized
from django_pagestats.stats.group_rows import GroupRows
from django_pagestats.stats.ranges import Span, by_days, calendar_of
from django_pagestats.stats.site_sets import Pieces
from django_pagestats.stats.statements import SETS_PER_STATEMENT, Question, kept
from django_pagestats.stats.topics import Topic, is_group
from django_pagestats.stats.wheres import topic_where

#: buckets of one topic that one statement looks up by primary key
BUCKETS_PER_STATEMENT = 400
#: of a closed range all are named, though not in one statement; else those are looked for that have rows
MOST_NAMED_BUCKETS = 2_000
#: sets of hours that are read with those of days: of both edges of two ranges
FEW_HOURS = 96
#: sets that are kept for another try, at the most
KEPT_SETS = 256


class Totals(NamedTuple):
    """What the aggregates say of one subject."""

    page_views: int
    visitors: int


class TopicRows(GroupRows):
    """The rows of the site, or of one topic."""

    def __init__(self, using: str, *, is_own: bool = False, wanted: dict[Question, set[int]] | None = None) -> None:
        super().__init__(using, is_own=is_own, wanted=wanted)
        #: what was read together
        self._site: dict[Span, Visits] = {}

    def page_views(self, span: Span, topic: Topic | None) -> int:
        if topic is None and span in self._site:
            return self._site[span].page_views
        return self._page_views(span, topic)

    @kept
    def _page_views(self, span: Span, topic: Topic | None) -> int:
        if is_group(topic):
            return self.group_page_views(span, topic)
        return sum(
            int(total or 0)
            for where in self._wheres(span, topic, BUCKETS_PER_STATEMENT)
            for (total,) in self.rows(["SUM(a.page_views)"], where)
        )

    @kept
    def series(self, span: Span, topic: Topic | None) -> dict[int, Totals]:
        """The totals of each bucket that has any."""
        if is_group(topic):
            rows = self.group_rows(span, topic)
            return {bucket: Totals(page_views, len(visitors)) for bucket, page_views, visitors in rows}
        return {
            bucket: Totals(page_views, visitors)
            for where in self._wheres(span, topic, BUCKETS_PER_STATEMENT)
            for bucket, page_views, visitors in self.rows(["a.bucket", "a.page_views", "a.visitors"], where)
        }

    def visitors(self, span: Span, topic: Topic | None) -> BitMap:
        """The ids of all visitors of a span; a few sets at a time are in memory."""
        if topic is None and span in self._site:
            return self._site[span].visitors
        return self._visitors(span, topic)

    @kept
    def _visitors(self, span: Span, topic: Topic | None) -> BitMap:
        merged = BitMap()
        if is_group(topic):
            for _, _, visitors in self.group_rows(span, topic):
                merged |= visitors
            return merged
        for part in self._parts(span):
            for (visitor_set,) in self._sets(["a.visitor_set"], part, topic, self.buckets(part, topic)):
                merged |= deserialized(visitor_set)
        return merged

    def site(self, span: Span) -> Visits:
        """The page views of a span, the ids of its visitors, and of those who have more than one page view."""
        return self.read_site([span])[span]

    def read_site(self, spans: Collection[Span]) -> dict[Span, Visits]:
        """The same of several spans, each of whose buckets is read once; later questions about them need no statement.

        A few sets, and what the spans have in common, are in memory at a time.
        """
        for span in spans:
            if span not in self._site and (found := self.found("site", span)) is not None:
                self._site[span] = found
        missing = {span: self._parts(span) for span in spans if span not in self._site}
        every = [part for parts in missing.values() for part in parts]
        pieces = Pieces(every)
        for granularity, bucket, *row in self._site_rows(every):
            pieces.add(Granularity(granularity), bucket, Visits.stored(*row))
        for span, parts in missing.items():
            self._site[span] = self.keep("site", span, pieces.together(parts))
        return {span: self._site[span] for span in spans}

    def _site_rows(self, spans: Iterable[Span]) -> Iterator[tuple[Any, ...]]:
        """(granularity, bucket, page views, both sets) of each row of the site in any of some spans, once."""
        buckets: dict[Granularity, set[int]] = {}
        for span in spans:
            buckets.setdefault(span.granularity, set()).update(self.buckets(span, None))
        columns = ["a.granularity", "a.bucket", "a.page_views", "a.visitor_set", "a.repeat_set"]
        also = None
        if len(hours := buckets.get(Granularity.HOUR, ())) <= FEW_HOURS and buckets.get(Granularity.DAY):
            # those of the edges of days: their sets are small
            also = topic_where(Span(Granularity.HOUR), None, buckets=sorted(hours)) if hours else None
            buckets.pop(Granularity.HOUR, None)
        for granularity in sorted(buckets):
            of_days = also if granularity == Granularity.DAY else None
            yield from self._sets(columns, Span(granularity), None, sorted(buckets[granularity]), also=of_days)

    def visitor_sets(self, span: Span, topic: Topic | None, keys: Iterable[int]) -> dict[int, BitMap]:
        """bucket -> the ids of its visitors, of those buckets that have any."""

        def read(buckets: list[int]) -> Iterator[tuple[int, BitMap]]:
            if is_group(topic):
                yield from ((bucket, visitors) for bucket, _, visitors in self.group_rows(span, topic, buckets))
                return
            for bucket, visitor_set in self.rows(
                ["a.bucket", "a.visitor_set"], topic_where(span, topic, buckets=buckets)
            ):
                yield bucket, deserialized(visitor_set)

        return self._look_up(("visitor_sets", span, topic), keys, read, size=SETS_PER_STATEMENT, most=KEPT_SETS)

    def sets_in_order(self, span: Span, topic: Topic | None, buckets: Iterable[int]) -> Iterator[tuple[int, BitMap]]:
        """Each bucket with the ids of its visitors, of those buckets that have any; some sets at a time in memory."""
        if is_group(topic):
            wanted = BitMap(buckets)
            rows_of_group = self.group_rows(span, topic)
            yield from ((bucket, visitors) for bucket, _, visitors in rows_of_group if bucket in wanted)
            return
        rows = self._sets(["a.bucket", "a.visitor_set"], span, topic, sorted(buckets), is_sorted=True)
        yield from ((bucket, deserialized(visitor_set)) for bucket, visitor_set in rows)

    def _sets(
        self,
        columns: Sequence[str],
        span: Span,
        topic: Topic | None,
        buckets: Sequence[int],
        *,
        is_sorted: bool = False,
        also: Where | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """Columns of the site's rows, or of a topic's, of some buckets; the first statement reads `also`, too."""
        return self._rows_with_sets(
            columns,
            lambda portion: topic_where(span, topic, buckets=portion),
            buckets,
            first=SETS_PER_STATEMENT,
            tail="ORDER BY a.bucket" if is_sorted else "",
            also=also,
        )

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
        few = span.buckets(MOST_NAMED_BUCKETS)
        return self._site_buckets(span) if few is None else few

    @kept
    def _site_buckets(self, span: Span) -> list[int]:
        """Those in which the site has page views: no topic has any in another one."""
        rows = self.rows(["a.bucket"], topic_where(span, None))
        return sorted(bucket for (bucket,) in rows)
