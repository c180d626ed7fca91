"""Stored rows against what was counted of the same range, and what differs in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from pyroaring import BitMap

from django_pagestats.buckets import Calendar
from django_pagestats.dimensions import of_generation
from django_pagestats.models import Aggregate, Dimension, Generation, Granularity, Subject, Visitor
from django_pagestats.tally import SITE_SUBJECT, Level, levels_of
from django_pagestats.verify.differences import SUBJECT_GONE, VISITOR_GONE, Difference, What, bucket_time
from django_pagestats.verify.groups import Counts, Entry, Seen
from django_pagestats.verify.stored import RawRow, StoredRow, add_up_to, stored_row, stored_slices
from django_pagestats.verify.totals import Room, Totals

#: ids looked up by one statement
IDS_PER_STATEMENT = 900
#: paths and values that are remembered by their subjects
MOST_NAMES = 120_000


class Findings(NamedTuple):
    """What a comparison knows besides the differences that it has told."""

    aggregates: int
    totals: dict[Level, Totals]
    visitors: BitMap
    subjects: dict[int, BitMap]


class Comparison:
    """Compares the rows of one generation, and remembers the ids that no counted page view vouches for."""

    def __init__(self, using: str, generation: Generation, calendar: Calendar, *, is_of_all_time: bool = True) -> None:
        self.using = using
        self.generation = generation
        self.calendar = calendar
        #: rows that were compared
        self.aggregates = 0
        self.dimensions = of_generation(generation.dimensions)
        #: a generation of before has rows of which nobody knows who has at least two page views
        self.has_repeats = generation.dimensions is not None
        self.day_levels = [level for level in levels_of(self.dimensions) if level.granularity == Granularity.DAY]
        #: what the stored rows of days add up to, for the rows of all time; of a range of days these are not compared
        self.totals = _totals(self.day_levels if is_of_all_time else [])
        #: (dimension, subject) -> path or value, also of those that have no row and a negative number in its place
        self.names: dict[tuple[int, int], str] = {}
        #: members of sets, and subjects by dimension, that no counted page view vouches for
        self._visitors = BitMap()
        self._subjects: dict[int, BitMap] = {}
        self._words = {int(it): it.name.lower() for it in Dimension} | {it.id: it.name for it in self.dimensions}

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
                is_site = level.dimension == Dimension.SITE
                yield from self.compare(level, row, None if seen is None else Entry.of(seen, with_repeats=is_site))
        for bucket in sorted(counts):
            for subject, seen in sorted(counts[bucket].items()):
                yield self.missing(level, bucket, subject, len(seen))

    def _unlike(self, level: Level, stored: Sequence[RawRow], counts: Counts) -> list[tuple[StoredRow, Seen | None]]:
        """Those rows that are not byte for byte what was counted, with what was; the others are done with.

        Rows of the site are few, and have two sets: all of them are looked at.
        """
        alike: list[tuple[int, list[Any]]] = []
        unlike: list[tuple[StoredRow, Seen | None]] = []
        is_site = level.dimension == Dimension.SITE
        for row in stored:
            seen = counts[row[0]].pop(row[1], None) if row[0] in counts else None
            if seen is not None and not is_site and add_up_to(seen, row):
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
                detail=_differing(stored, entry.visitors),
            )
        yield from self._repeats(level, row, entry)

    def _repeats(self, level: Level, row: StoredRow, entry: Entry) -> Iterator[Difference]:
        """The set of those with at least two page views; where nobody knows who should be in it, nothing is told."""
        place = level, row.bucket, row.subject
        counted = entry.repeats if level.dimension == Dimension.SITE else BitMap()
        if counted is None or (row.raw_repeats is None and not (counted and self.has_repeats)):
            return
        stored = row.repeat_set
        if stored is not None and stored != counted:
            self._visitors |= stored
            yield self.difference(
                What.REPEAT_SET,
                *place,
                stored=len(stored),
                counted=len(counted),
                detail=_differing(stored, counted),
            )
        elif stored is None and row.raw_repeats is None:
            yield self.difference(What.REPEAT_SET, *place, counted=len(counted), detail="none is stored")
        elif stored is None:
            yield self.difference(
                What.UNREADABLE_REPEAT_SET, *place, counted=len(counted), detail="stored bytes that are no set"
            )

    def repeats_of_frozen(self, level: Level, row: StoredRow, members: BitMap) -> Iterator[Difference]:
        """What a row whose page views are gone tells by itself: so many page views more than visitors are by some."""
        more = max(0, row.page_views - len(members))
        stored = row.repeat_set
        least, most = (min(1, more), min(more, len(members))) if level.dimension == Dimension.SITE else (0, 0)
        if stored is None:
            if row.raw_repeats is not None or (least and self.has_repeats):
                what = What.REPEAT_SET if row.raw_repeats is None else What.UNREADABLE_REPEAT_SET
                yield self.difference(what, level, row.bucket, row.subject, counted=most, detail="at most")
        elif not least <= len(stored) <= most or not stored <= members:
            yield self.difference(
                What.REPEAT_SET,
                level,
                row.bucket,
                row.subject,
                stored=len(stored),
                counted=most,
                detail=f"at most; {stored.difference_cardinality(members)} are no visitors of the row",
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
        for dimension, subjects in findings.subjects.items():
            self._subjects[dimension] = self._subjects.get(dimension, BitMap()) | subjects

    # -- names and ids

    def doubt(self, level: Level, row: StoredRow) -> None:
        """Look at the end whether this row's visitors and subject exist."""
        for members in (row.visitor_set, row.repeat_set):
            if members is not None:
                self._visitors |= members
        if level.dimension != Dimension.SITE and 0 <= row.subject < 2**32:
            self._subjects.setdefault(level.dimension, BitMap()).add(row.subject)

    def ids_of_nobody(self) -> Iterator[Difference]:
        for visitor in _absent(Visitor.objects.using(self.using), self._visitors):
            yield Difference(What.NO_VISITOR, "visitor", subject=str(visitor), stored=visitor, detail=VISITOR_GONE)
        for dimension, doubted in sorted(self._subjects.items()):
            subjects = Subject.objects.using(self.using).filter(dimension=int(dimension))
            detail = SUBJECT_GONE.format(what="path" if dimension == Dimension.PAGE else "value")
            for subject in _absent(subjects, doubted):
                yield Difference(
                    What.NO_SUBJECT,
                    self._words[dimension],
                    subject=f"subject {subject}",
                    stored=subject,
                    detail=detail,
                )

    def difference(self, what: What, level: Level, bucket: int, subject: int, **values: Any) -> Difference:
        return Difference(
            what,
            self._words[level.dimension],
            level.granularity.name.lower(),
            self._name(level, subject),
            bucket,
            bucket_time(level, bucket, self.calendar),
            **values,
        )

    def _name(self, level: Level, subject: int) -> str:
        if level.dimension == Dimension.SITE:
            return "" if subject == SITE_SUBJECT else f"subject {subject}"
        key = int(level.dimension), subject
        if key not in self.names:
            if len(self.names) >= MOST_NAMES:
                self.names.clear()
            found = Subject.objects.using(self.using).filter(pk=subject, dimension=key[0])
            self.names[key] = found.values_list("value", flat=True).first() or f"subject {subject}"
        return self.names[key]


def _totals(levels: Sequence[Level]) -> dict[Level, Totals]:
    """Within one memory for all of them."""
    room = Room()
    return {level: Totals(room=room) for level in levels}


def _differing(stored: BitMap, counted: BitMap) -> str:
    too_many, missing = stored.difference_cardinality(counted), counted.difference_cardinality(stored)
    return f"{too_many} too many, {missing} missing"


def _absent(rows: QuerySet[Any], ids: BitMap) -> Iterator[int]:
    """Those ids that none of the rows has."""
    following = iter(ids)
    while portion := list(islice(following, IDS_PER_STATEMENT)):
        found = set(rows.filter(Q(pk__in=portion)).values_list("pk", flat=True))
        yield from (number for number in portion if number not in found)
