"""Compares the aggregates with a plain count of the page views up to the cursor, all at one instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

from django.db import connections
from django.db.models import F, Max, Q, QuerySet
from pyroaring import BitMap

from django_pagestats.buckets import Calendar, day_number
from django_pagestats.merging import database_for
from django_pagestats.merging.reading import one_instant
from django_pagestats.models import Aggregate, Dimension, Generation, PageView, Subject, Visitor
from django_pagestats.tally import (
    LEVELS,
    PAGE_ALL,
    PAGE_DAY,
    SITE_ALL,
    SITE_DAY,
    SITE_HOUR,
    SITE_SUBJECT,
    Level,
)
from django_pagestats.verify.counting import (
    GROUP_WEIGHT,
    Counted,
    Counts,
    Entries,
    Entry,
    PageViews,
    clean_boundary_from,
)
from django_pagestats.verify.differences import SUBJECT_GONE, VISITOR_GONE, Difference, What, bucket_time
from django_pagestats.verify.gap import Gap, with_gap
from django_pagestats.verify.stored import StoredRow, stored_rows

__all__ = ["Difference", "Verification", "What"]

#: bucket numbers of rows of all time: one version answers, the other is being made, or deleted
VERSIONS = (0, 1)
#: ids looked up by one statement
IDS_PER_STATEMENT = 900


class Verification:
    """One comparison of the active generation with its page views; iterate over it to run it.

    Yields every `Difference`; afterwards `page_views` and `aggregates` say how many were compared, and `differences`
    how many were found. Everything is read from one snapshot, in a read-only transaction of its own (inside the
    caller's `atomic()`, in that one), which lasts as long as the iteration: it waits for no writer or fold, and none
    waits for it. `generation` is None if there is none yet: then there is nothing to compare. Local days before the
    generation's `pruned_before` are frozen: of their rows only the set against the number of visitors is looked at.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.generation: Generation | None = None
        self.page_views = 0
        self.aggregates = 0
        self.differences = 0
        #: members of sets, and subjects, that no counted page view vouches for
        self._visitors = BitMap()
        self._subjects = BitMap()
        self._names: dict[int, str] = {}

    def __iter__(self) -> Iterator[Difference]:
        database_for(self.using).refuse_garbling()
        with self._snapshot():
            self.generation = Generation.objects.using(self.using).filter(is_active=True).first()
            if self.generation is None:
                return
            self.calendar = Calendar(self.generation.time_zone)
            for difference in self._compare(self.generation):
                self.differences += 1
                yield difference

    def _snapshot(self) -> AbstractContextManager[None]:
        connection = connections[self.using]
        if connection.in_atomic_block:
            return nullcontext()
        connection.ensure_connection()  # connecting sets SQLite's transaction mode, which the snapshot changes
        return one_instant(self.using)

    def _compare(self, generation: Generation) -> Iterator[Difference]:
        yield from self._cursor(generation)
        yield from self._unknown_kinds()
        uncountable = False
        for difference in self._uncountable(generation):
            uncountable = True
            yield difference
        if uncountable:  # there is no count to compare with before they are corrected
            return
        frozen_before = None
        if generation.pruned_before is not None:
            # a day that cannot be told from its neighbour by time counts as frozen with it
            frozen_before = clean_boundary_from(self.calendar, day_number(generation.pruned_before))
            yield from self._frozen(frozen_before)
        page_views = PageViews(self.using, generation.cursor, self.calendar)
        self.page_views = page_views.count
        for counted in page_views.groups(frozen_before):
            yield from self._group(counted)
        for day_level, all_level in ((SITE_DAY, SITE_ALL), (PAGE_DAY, PAGE_ALL)):
            yield from self._pairs(all_level, stored_rows(self._rows(all_level).exclude(bucket__in=VERSIONS)), {})
            yield from self._all(generation, day_level, all_level)
        yield from self._ids_of_nobody()

    def _cursor(self, generation: Generation) -> Iterator[Difference]:
        """Page views that are counted and gone from the end: a restore, a TRUNCATE; ids may come again."""
        highest = PageView.objects.using(self.using).aggregate(highest=Max("pk"))["highest"] or 0
        # after pruning the highest ones may rightly be gone; the days that are not frozen are compared anyway
        if highest < generation.cursor and generation.pruned_before is None:
            yield Difference(What.CURSOR, stored=generation.cursor, counted=highest, detail="the highest page view")

    def _uncountable(self, generation: Generation) -> Iterator[Difference]:
        after: int | None = None
        database = database_for(self.using)
        while found := database.uncountable(after, generation.cursor, IDS_PER_STATEMENT):
            for page_view in found:
                yield Difference(What.UNCOUNTABLE, subject=f"page view {page_view.id}", detail=str(page_view))
            after = found[-1].id

    # -- aggregate rows

    def _rows(self, level: Level, **bounds: int) -> QuerySet[Aggregate]:
        assert self.generation is not None  # noqa: S101 - __iter__ has looked
        return Aggregate.objects.using(self.using).filter(
            generation=self.generation.pk,
            dimension=int(level.dimension),
            granularity=int(level.granularity),
            **bounds,
        )

    def _unknown_kinds(self) -> Iterator[Difference]:
        """From one (dimension, granularity) to the next along the primary key."""
        assert self.generation is not None  # noqa: S101 - __iter__ has looked
        rows = Aggregate.objects.using(self.using).filter(generation=self.generation.pk)
        kinds = rows.order_by("dimension", "granularity").values_list("dimension", "granularity")
        kind = kinds.first()
        while kind is not None:
            if kind not in LEVELS:
                count = rows.filter(dimension=kind[0], granularity=kind[1]).count()
                yield Difference(What.UNKNOWN_KIND, str(kind[0]), str(kind[1]), stored=count, detail="number of rows")
            following = kinds.filter(dimension=kind[0], granularity__gt=kind[1]).first()
            kind = following or kinds.filter(dimension__gt=kind[0]).first()

    def _frozen(self, day: int) -> Iterator[Difference]:
        hour = self.calendar.hour(self.calendar.day_start(day))
        for level, bound in ((SITE_HOUR, hour), (SITE_DAY, day), (PAGE_DAY, day)):
            for row in stored_rows(self._rows(level, bucket__lt=bound)):
                self.aggregates += 1
                self._doubt(level, row)
                members = row.visitor_set
                if members is None:
                    yield self._difference(What.UNREADABLE_SET, level, row.bucket, row.subject)
                elif len(members) != row.visitors:
                    yield self._difference(
                        What.VISITORS, level, row.bucket, row.subject, stored=row.visitors, counted=len(members)
                    )

    # -- against the page views

    def _group(self, counted: Counted) -> Iterator[Difference]:
        group = counted.group
        self._names = {number: path for path, number in counted.unknown_paths.items()}
        days: dict[str, int] = {}
        hours: dict[str, int] = {}
        for bound, day in (("bucket__gte", group.first), ("bucket__lt", group.end)):
            if day is not None:
                days[bound] = day
                hours[bound] = self.calendar.hour(self.calendar.day_start(day))
        if group.has_site:
            yield from self._pairs(SITE_HOUR, stored_rows(self._rows(SITE_HOUR, **hours)), counted.hours())
            days_of_site = counted.days()
            yield from self._unknown_visitors(days_of_site)
            yield from self._pairs(SITE_DAY, stored_rows(self._rows(SITE_DAY, **days)), days_of_site)
        pages = self._rows(PAGE_DAY, **days)
        if group.parts > 1:
            wanted = Q(part=group.part) | Q(subject__lt=0) if group.has_site else Q(part=group.part)
            pages = pages.annotate(part=F("subject") % group.parts).filter(wanted)
        yield from self._pairs(PAGE_DAY, stored_rows(pages), counted.pages())

    def _unknown_visitors(self, days: Counts) -> Iterator[Difference]:
        for (day, subject), seen in sorted(days.items(), key=lambda item: item[0]):
            if unknown := seen.count(None):
                yield self._difference(
                    What.UNKNOWN_VISITORS,
                    SITE_DAY,
                    day,
                    subject,
                    counted=unknown,
                    detail="page views whose session key has no Visitor row",
                )

    def _pairs(self, level: Level, stored: Iterable[StoredRow], counts: Counts) -> Iterator[Difference]:
        """Stored rows against what was counted of the same range; empties `counts`."""

        def counted() -> Iterator[tuple[StoredRow, Entry | None]]:
            for row in stored:
                seen = counts.pop((row.bucket, row.subject), None)
                if seen is None:
                    yield row, None
                elif len(seen) == 1 and seen[0] is not None and row.is_of_one(seen[0]):
                    self.aggregates += 1
                else:
                    yield row, Entry.of(seen)

        yield from self._compare_rows(level, counted())
        for (bucket, subject), seen in sorted(counts.items(), key=lambda item: item[0]):
            yield self._missing(level, bucket, subject, len(seen))

    def _missing(self, level: Level, bucket: int, subject: int, page_views: int) -> Difference:
        return self._difference(What.MISSING_ROW, level, bucket, subject, counted=page_views, detail="page views")

    def _compare_rows(self, level: Level, pairs: Iterable[tuple[StoredRow, Entry | None]]) -> Iterator[Difference]:
        for row, entry in pairs:
            self.aggregates += 1
            if entry is None:
                self._doubt(level, row)
                yield self._difference(
                    What.EXTRA_ROW, level, row.bucket, row.subject, stored=row.page_views, detail="page views"
                )
            else:
                yield from self._pair(level, row, entry)

    def _pair(self, level: Level, row: StoredRow, entry: Entry) -> Iterator[Difference]:
        place = level, row.bucket, row.subject
        if row.page_views != entry.page_views:
            yield self._difference(What.PAGE_VIEWS, *place, stored=row.page_views, counted=entry.page_views)
        members = len(entry.visitors)
        if row.visitors != members:
            yield self._difference(What.VISITORS, *place, stored=row.visitors, counted=members)
        stored = row.visitor_set
        if stored is None:
            yield self._difference(
                What.UNREADABLE_SET,
                *place,
                stored=row.visitors,
                counted=members,
                detail="of stored bytes that are no set",
            )
        elif stored != entry.visitors:
            self._visitors |= stored
            yield self._difference(
                What.VISITOR_SET,
                *place,
                stored=len(stored),
                counted=members,
                detail=f"{stored.difference_cardinality(entry.visitors)} too many,"
                f" {entry.visitors.difference_cardinality(stored)} missing",
            )

    # -- ALL rows against DAY rows

    def _all(self, generation: Generation, day_level: Level, all_level: Level) -> Iterator[Difference]:
        """In ranges of subjects so small that the merged DAY rows of one stay bounded.

        The rows are those that answer, with what is in the gap; of another version nothing is asked.
        """
        rows = self._rows(all_level, bucket=generation.all_bucket)
        if generation.all_moved_at is None:  # there are to be none yet
            yield from self._pairs(all_level, stored_rows(rows), {})
            return
        gap = Gap(self.using, generation)
        pending: list[dict[str, int]] = [{}]
        while pending:
            bounds = pending.pop()
            merged: Entries = {}
            weight = 0.0
            for row in stored_rows(self._rows(day_level, **bounds)):
                if row.subject >= bounds.get("subject__lt", row.subject + 1):
                    continue  # of a part that was cut off meanwhile
                weight += _merge(merged, generation.all_bucket, row)
                while weight > GROUP_WEIGHT and len(merged) > 1:
                    middle = sorted(subject for _, subject in merged)[len(merged) // 2]
                    pending.append({**bounds, "subject__gte": middle})
                    bounds = {**bounds, "subject__lt": middle}
                    merged = {key: entry for key, entry in merged.items() if key[1] < middle}
                    weight = sum(1 + len(entry.visitors) / 10 for entry in merged.values())
            missing = gap.counted(all_level, bounds.get("subject__gte"), bounds.get("subject__lt"))
            rows_with_gap = with_gap(stored_rows(rows.filter(**bounds)), missing)
            yield from self._compare_rows(
                all_level, ((row, merged.pop((row.bucket, row.subject), None)) for row in rows_with_gap)
            )
            for (bucket, subject), entry in sorted(merged.items(), key=lambda item: item[0]):
                yield self._missing(all_level, bucket, subject, entry.page_views)

    # -- names and ids

    def _doubt(self, level: Level, row: StoredRow) -> None:
        """Look at the end whether this row's visitors and subject exist."""
        if (members := row.visitor_set) is not None:
            self._visitors |= members
        if level.dimension == Dimension.PAGE and 0 <= row.subject < 2**32:
            self._subjects.add(row.subject)

    def _ids_of_nobody(self) -> Iterator[Difference]:
        for visitor in _absent(Visitor.objects.using(self.using), self._visitors):
            yield Difference(What.NO_VISITOR, "visitor", subject=str(visitor), stored=visitor, detail=VISITOR_GONE)
        subjects = Subject.objects.using(self.using).filter(dimension=int(Dimension.PAGE))
        for subject in _absent(subjects, self._subjects):
            yield Difference(What.NO_SUBJECT, "page", subject=f"subject {subject}", stored=subject, detail=SUBJECT_GONE)

    def _difference(self, what: What, level: Level, bucket: int, subject: int, **values: Any) -> Difference:
        return Difference(
            what,
            level.dimension.name.lower(),
            level.granularity.name.lower(),
            self._name(level, subject),
            bucket,
            bucket_time(level, bucket, self.calendar),
            **values,
        )

    def _name(self, level: Level, subject: int) -> str:
        if level.dimension == Dimension.SITE:
            return "" if subject == SITE_SUBJECT else f"subject {subject}"
        if subject not in self._names:
            if len(self._names) >= GROUP_WEIGHT:
                self._names.clear()
            found = Subject.objects.using(self.using).filter(pk=subject, dimension=int(Dimension.PAGE))
            self._names[subject] = found.values_list("value", flat=True).first() or f"subject {subject}"
        return self._names[subject]


def _merge(merged: Entries, bucket: int, row: StoredRow) -> float:
    """Add a DAY row to the ALL row it belongs to; how much heavier that made it."""
    entry = merged.get((bucket, row.subject))
    added = 0.0
    if entry is None:
        entry = merged[bucket, row.subject] = Entry()
        added = 1.0
    entry.page_views += row.page_views
    before = len(entry.visitors)
    entry.visitors |= row.visitor_set or BitMap()
    return added + (len(entry.visitors) - before) / 10


def _absent(rows: QuerySet[Any], ids: BitMap) -> Iterator[int]:
    """Those ids that none of the rows has."""
    following = iter(ids)
    while portion := list(islice(following, IDS_PER_STATEMENT)):
        found = set(rows.filter(Q(pk__in=portion)).values_list("pk", flat=True))
        yield from (number for number in portion if number not in found)
