"""Rows of all time as they follow from the rows of days: those of each subject added up, their sets united.

The primary key has the days before the subjects, so that a few subjects of all days are one short range for each day.
What is in memory at a time is bounded: the rows of one statement, the bytes of large sets, the visitors of a slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby
from typing import Any, NamedTuple

from django.db.models import Max, Min
from pyroaring import BitMap

from django_pagestats.buckets import Dimension, Granularity
from django_pagestats.dimensions import of_generation
from django_pagestats.merging import database_for
from django_pagestats.merging.portions import portions, portions_by_size
from django_pagestats.merging.repeats import Visits
from django_pagestats.merging.rows import SubjectDays, deserialized, only_visitors
from django_pagestats.models import Aggregate, Generation, Subject
from django_pagestats.tally import SITE_DAY, SITE_SUBJECT, Level

#: buckets that one statement names: MariaDB makes a longer list a temporary table
MOST_BUCKETS = 900
#: a set of so many visitors comes along with its row; larger ones are read in portions of about so many bytes
INLINE_VISITORS = 100
PORTION_BYTES = 8_000_000
#: of the merged sets of a slice, which ends before the next subject then
SLICE_VISITORS = 2_000_000


class Merged(NamedTuple):
    """What the days of one subject add up to."""

    dimension: int
    subject: int
    page_views: int
    visitors: BitMap
    #: of the site: those with at least two page views; None: nobody knows
    repeats: BitMap | None = None


class Slice(NamedTuple):
    """The subjects after the last slice, up to this one."""

    upto: int
    merged: list[Merged]
    is_last: bool


class Days:
    """Reads the rows of days of one generation, a slice of subjects after another.

    They must not change meanwhile: whoever writes what is made of them compares the generation's cursor.
    """

    def __init__(self, using: str, generation: Generation) -> None:
        self.using = using
        self.generation = generation.pk
        #: of the subjects that have rows of days, beside the site
        self.dimensions = [int(Dimension.PAGE), *(it.id for it in of_generation(generation.dimensions))]
        self.database = database_for(using)
        #: subjects that the next slice may have
        self._width = 64
        # a page has no row for a day on which the site has none
        self._buckets = list(self._rows_of(SITE_DAY).order_by("bucket").values_list("bucket", flat=True))
        ids = Subject.objects.using(using).aggregate(lowest=Min("pk"), highest=Max("pk"))
        self.lowest, self.highest = ids["lowest"] or 1, ids["highest"] or 0

    def _rows_of(self, level: Level) -> Any:
        return Aggregate.objects.using(self.using).filter(
            generation=self.generation, dimension=int(level.dimension), granularity=int(level.granularity)
        )

    def slice_after(self, subject: int | None, *, upto: int | None = None) -> Slice:
        """The next subjects after one, with what their days add up to; None: from the first on, which is the site.

        `upto`: none after this one.
        """
        merged: list[Merged] = []
        end = self.highest if upto is None else min(upto, self.highest)
        if subject is None:
            subject = self.lowest - 1
            merged += self._site()
        while subject < end:
            last = min(subject + self._width, end)
            days = self._read(subject, last)
            if days is None:
                self._width = max(1, self._width // 2)
                continue
            self._adapt(sum(found.rows for _, found in days))
            subject = last
            if days:
                subject = self._bounded(last, days, merged)
                break
        return Slice(subject, merged, subject >= self.highest)

    def _site(self) -> Iterator[Merged]:
        """The site by itself: its sets are large, few, and two a day."""
        both: Visits | None = None
        site = self._rows_of(SITE_DAY).filter(subject=SITE_SUBJECT).order_by("bucket")
        days = list(site.values_list("bucket", "visitors"))
        for portion in portions_by_size(days, PORTION_BYTES, size=lambda day: 20 * day[1] + 16):
            for buckets in portions((bucket for bucket, _ in portion), MOST_BUCKETS):
                rows = site.filter(bucket__in=buckets)
                for row in rows.values_list("page_views", "visitor_set", "repeat_set"):
                    day = Visits.stored(*row)
                    if both is None:
                        both = day
                    else:
                        both.add(day)
        if both is not None:
            yield Merged(int(Dimension.SITE), SITE_SUBJECT, both.page_views, both.visitors, both.repeats)

    def _read(self, low: int, high: int) -> list[tuple[Level, SubjectDays]] | None:
        """What the rows with `low < subject <= high` hold; None: they are too many. Of one subject they never are."""
        limit = max(self.database.STEP_ROWS, MOST_BUCKETS) if high > low + 1 else len(self._buckets)
        days: list[tuple[Level, SubjectDays]] = []
        left = limit
        for level in self._levels(low, high):
            for buckets in portions(self._buckets, MOST_BUCKETS):
                found = self.database.days_of_subjects(
                    self.generation, level, buckets, (low, high), inline=INLINE_VISITORS, limit=left + 1
                )
                left -= sum(some.rows for some in found)
                if left < 0:
                    return None
                days += [(level, some) for some in found]
        return days

    def _levels(self, low: int, high: int) -> Iterator[Level]:
        """Of which there are subjects with `low < subject <= high`: of named dimensions in few ranges, most often."""
        subjects = Subject.objects.using(self.using).filter(pk__gt=low, pk__lte=high)
        there = set(subjects.order_by().values_list("dimension", flat=True).distinct())
        return (Level(dimension, Granularity.DAY) for dimension in self.dimensions if dimension in there)

    def _adapt(self, found: int) -> None:
        wanted = self._width * self.database.STEP_ROWS * 7 // 10 // max(1, found)
        self._width = max(1, min(2 * self._width, wanted))

    def _bounded(self, upto: int, days: list[tuple[Level, SubjectDays]], found: list[Merged]) -> int:
        """Add as many of the subjects as the memory may have merged sets of; up to which one these are."""
        visitors = 0
        for merged in self._merged(days):
            visitors += len(merged.visitors)
            if visitors > SLICE_VISITORS and visitors > len(merged.visitors):
                self._width = max(1, self._width // 2)
                return found[-1].subject
            found.append(merged)
        return upto

    def _merged(self, days: list[tuple[Level, SubjectDays]]) -> Iterator[Merged]:
        for _, rows in groupby(sorted(days, key=_subject), key=_subject):
            parts = list(rows)
            yield self._merge(parts[0][0], [part for _, part in parts])

    def _merge(self, level: Level, parts: list[SubjectDays]) -> Merged:
        subject = parts[0].subject
        singles = b"".join(part.singles for part in parts)
        several = chain.from_iterable(part.several for part in parts)
        merged = BitMap.union(BitMap(only_visitors(singles)), *map(deserialized, several))
        for visitor_set in self._large_sets(level, subject, [day for part in parts for day in part.large]):
            merged |= visitor_set
        return Merged(level.dimension, subject, sum(part.page_views for part in parts), merged)

    def _large_sets(self, level: Level, subject: int, days: list[tuple[int, int]]) -> Iterator[BitMap]:
        """A few at a time; a set takes ten bytes a visitor at the very most."""
        for portion in portions_by_size(days, PORTION_BYTES, size=lambda day: 10 * day[1] + 16):
            for buckets in portions((bucket for bucket, _ in portion), MOST_BUCKETS):
                rows = self._rows_of(level).filter(bucket__in=buckets, subject=subject)
                yield from map(deserialized, rows.values_list("visitor_set", flat=True))


def _subject(days: tuple[Level, SubjectDays]) -> int:
    return days[1].subject
