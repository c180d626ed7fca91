"""Stored rows against what was counted of the same range, and what differs in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from pyroaring import BitMap

from django_pagestats.buckets import Calendar
from django_pagestats.models import Aggregate, Dimension, Generation, Subject, Visitor
from django_pagestats.tally import PAGE_DAY, SITE_DAY, SITE_SUBJECT, Level
from django_pagestats.verify.differences import SUBJECT_GONE, VISITOR_GONE, Difference, What, bucket_time
from django_pagestats.verify.groups import Counts, Entry, Seen
from django_pagestats.verify.stored import RawRow, StoredRow, add_up_to, stored_row, stored_slices
from django_pagestats.verify.totals import Totals

#: ids looked up by one statement
IDS_PER_STATEMENT = 900
#: paths that are remembered by their subjects
MOST_NAMES = 120_000


class Findings(NamedTuple):
    """What a comparison knows besides the differences that it has told."""

    aggregates: int
    totals: dict[Level, Totals]
    visitors: BitMap
    subjects: BitMap


class Comparison:
    """Compares the rows of one generation, and remembers the ids that no counted page view vouches for."""

    def __init__(self, using: str, generation: Generation, calendar: Calendar) -> None:
        self.using = using
        self.generation = generation
        self.calendar = calendar
        #: rows that were compared
        self.aggregates = 0
        #: what the stored rows of days add up to, for the rows of all time
        self.totals = {SITE_DAY: Totals(), PAGE_DAY: Totals()}
        #: subject -> path, also of those that have no row and a negative number in its place
        self.names: dict[int, str] = {}
        #: members of sets, and subjects, that no counted page view vouches for
        self._visitors = BitMap()
        self._subjects = BitMap()

    def rows(self, level: Level, **bounds: int) -> QuerySet[Aggregate]:
        return Aggregate.objects.using(self.using).filter(
            generation=self.generation.pk,
            dimension=int(level.dimension),
            granularity=int(level.granularity),
            **bounds,
        )

    def against_page_views(self, level: Level, rows: QuerySet[Aggregate], counts: Counts) -> Iterator[Difference]:
        """Rows of hours or days, and what was counted of the same range; empties `counts`."""
        for stored in stored_slices(rows):
            for row, seen in self._unlike(level, stored, counts):
                self.add_up(level, row)
                yield from self.compare(level, row, None if seen is None else Entry.of(seen))
        for bucket in sorted(counts):
            for subject, seen in sorted(counts[bucket].items()):
                yield self.missing(level, bucket, subject, len(seen))

    def _unlike(self, level: Level, stored: Sequence[RawRow], counts: Counts) -> list[tuple[StoredRow, Seen | None]]:
        """Those rows that are not byte for byte what was counted, with what was; the others are done with."""
        alike: list[tuple[int, list[Any]]] = []
        unlike: list[tuple[StoredRow, Seen | None]] = []
        for row in stored:
            seen = counts[row[0]].pop(row[1], None) if row[0] in counts else None
            if seen is not None and add_up_to(seen, row):
                alike.append((row[1], seen))
            else:
                unlike.append((stored_row(row), seen))
        self.aggregates += len(alike)
        if level in self.totals:
            self.totals[level].add_counted(alike)
        return unlike

    def add_up(self, level: Level, row: StoredRow) -> None:
        """Count a row of days, as it is stored, for the row of all time."""
        if level in self.totals:
            self.totals[level].add_stored(row)

    def missing(self, level: Level, bucket: int, subject: int, page_views: int) -> Difference:
        return self.difference(What.MISSING_ROW, level, bucket, subject, counted=page_views, detail="page views")

    def compare(self, level: Level, row: StoredRow, entry: Entry | None) -> Iterator[Difference]:
        """A stored row and what there should be; None: nothing."""
        self.aggregates += 1
        if entry is None:
            self.doubt(level, row)
            yield self.difference(
                What.EXTRA_ROW, level, row.bucket, row.subject, stored=row.page_views, detail="page views"
            )
        else:
            yield from self._pair(level, row, entry)

    def _pair(self, level: Level, row: StoredRow, entry: Entry) -> Iterator[Difference]:
        place = level, row.bucket, row.subject
        if row.page_views != entry.page_views:
            yield self.difference(What.PAGE_VIEWS, *place, stored=row.page_views, counted=entry.page_views)
        members = len(entry.visitors)
        if row.visitors != members:
            yield self.difference(What.VISITORS, *place, stored=row.visitors, counted=members)
        stored = row.visitor_set
        if stored is None:
            yield self.difference(
                What.UNREADABLE_SET,
                *place,
                stored=row.visitors,
                counted=members,
                detail="of stored bytes that are no set",
            )
        elif stored != entry.visitors:
            self._visitors |= stored
            yield self.difference(
                What.VISITOR_SET,
                *place,
                stored=len(stored),
                counted=members,
                detail=f"{stored.difference_cardinality(entry.visitors)} too many,"
                f" {entry.visitors.difference_cardinality(stored)} missing",
            )

    # -- parts that were compared elsewhere

    def findings(self) -> Findings:
        return Findings(self.aggregates, self.totals, self._visitors, self._subjects)

    def take(self, findings: Findings) -> None:
        """Go on as if what another comparison has found had been found here."""
        self.aggregates += findings.aggregates
        for level, totals in findings.totals.items():
            self.totals[level].add(totals)
        self._visitors |= findings.visitors
        self._subjects |= findings.subjects

    # -- names and ids

    def doubt(self, level: Level, row: StoredRow) -> None:
        """Look at the end whether this row's visitors and subject exist."""
        if (members := row.visitor_set) is not None:
            self._visitors |= members
        if level.dimension == Dimension.PAGE and 0 <= row.subject < 2**32:
            self._subjects.add(row.subject)

    def ids_of_nobody(self) -> Iterator[Difference]:
        for visitor in _absent(Visitor.objects.using(self.using), self._visitors):
            yield Difference(What.NO_VISITOR, "visitor", subject=str(visitor), stored=visitor, detail=VISITOR_GONE)
        subjects = Subject.objects.using(self.using).filter(dimension=int(Dimension.PAGE))
        for subject in _absent(subjects, self._subjects):
            yield Difference(What.NO_SUBJECT, "page", subject=f"subject {subject}", stored=subject, detail=SUBJECT_GONE)

    def difference(self, what: What, level: Level, bucket: int, subject: int, **values: Any) -> Difference:
        return Difference(
            what,
            Dimension(level.dimension).name.lower(),
            level.granularity.name.lower(),
            self._name(level, subject),
            bucket,
            bucket_time(level, bucket, self.calendar),
            **values,
        )

    def _name(self, level: Level, subject: int) -> str:
        if level.dimension == Dimension.SITE:
            return "" if subject == SITE_SUBJECT else f"subject {subject}"
        if subject not in self.names:
            if len(self.names) >= MOST_NAMES:
                self.names.clear()
            found = Subject.objects.using(self.using).filter(pk=subject, dimension=int(Dimension.PAGE))
            self.names[subject] = found.values_list("value", flat=True).first() or f"subject {subject}"
        return self.names[subject]


def _absent(rows: QuerySet[Any], ids: BitMap) -> Iterator[int]:
    """Those ids that none of the rows has."""
    following = iter(ids)
    while portion := list(islice(following, IDS_PER_STATEMENT)):
        found = set(rows.filter(Q(pk__in=portion)).values_list("pk", flat=True))
        yield from (number for number in portion if number not in found)
