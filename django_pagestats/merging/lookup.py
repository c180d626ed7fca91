"""Merging by look-up: read the rows that are there, unite their sets in Python, write them back, in bulk."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from django_pagestats.buckets import Granularity
from django_pagestats.merging.base import AGGREGATE_TABLE, Database, Highest
from django_pagestats.merging.fresh import new_rows
from django_pagestats.merging.portions import portions, portions_by_size
from django_pagestats.merging.repeats import Visits, has_repeats
from django_pagestats.merging.rows import AggregateRow, Key, deserialized, serialized
from django_pagestats.models import SharedDay
from django_pagestats.tally import SITE_DAY, SITE_SUBJECT, Counts, Level

SHARED_DAY_TABLE = SharedDay._meta.db_table
#: days that one statement names: MariaDB makes a longer list a temporary table
MOST_DAYS = 900


class StoredRow(NamedTuple):
    """An aggregate row as it is; `visitor_set` is None where it was too large to come along."""

    bucket: int
    subject: int
    page_views: int
    visitors: int
    visitor_set: bytes | None
    repeat_set: bytes | None = None  #: of rows of the site, where there is one
    locator: Any = None  #: where the database finds the row again at once, if it has such a thing


class LookupDatabase(Database):
    """A database on a server: a statement costs a round trip, and so there are few of them."""

    #: rows looked up by one statement, and a set of how many visitors comes along with its row at the most:
    #: together they bound what a look-up brings into memory (a set takes 10 bytes a visitor at the very most)
    LOOKUP_ROWS: ClassVar[int] = 2_000
    INLINE_VISITORS: ClassVar[int] = 1_000
    #: larger sets are read in portions of about this many bytes, or one by one
    PORTION_BYTES: ClassVar[int] = 8_000_000

    def one_statement(self) -> AbstractContextManager[None]:
        return self.transaction() if self.begins_here() else nullcontext()

    def merge(
        self,
        generation: int,
        prepared: Sequence[tuple[Level, Counts]],
        highest: Highest | None = None,
        *,
        is_shared: bool = False,
    ) -> Highest:
        highest = {} if is_shared else dict(highest or {})
        stored_days = self._stored_days(generation, prepared) if is_shared else set()
        fresh: list[Iterator[AggregateRow]] = []
        for level, counts in prepared:
            if is_shared:
                new, known = _split_by_days(level, counts, stored_days)
            else:
                new, known = self._split(generation, level, counts, highest)
            for portion in portions(sorted(known), self.LOOKUP_ROWS):
                self._merge_portion(generation, level, {key: counts[key] for key in portion})
            # in the order of the primary key, so that neighbours are found and written together
            fresh.append(new_rows(level, sorted(new), counts))
        self._write(generation, chain.from_iterable(fresh), replacing=False)
        return highest

    def insert_rows(self, generation: int, rows: Iterable[AggregateRow]) -> None:
        self._write(generation, rows, replacing=False)

    def _split(self, generation: int, level: Level, counts: Counts, highest: Highest) -> tuple[list[Key], list[Key]]:
        """The keys that cannot be stored yet, being of later buckets than any stored one, and all others."""
        if level.granularity == Granularity.ALL or not counts:
            return [], list(counts)
        if level not in highest:
            highest[level] = self._highest_bucket(generation, level)
        before = highest[level]
        last = max(bucket for bucket, _ in counts)
        highest[level] = last if before is None else max(before, last)
        if before is None or last <= before:
            return (list(counts), []) if before is None else ([], list(counts))
        return [key for key in counts if key[0] > before], [key for key in counts if key[0] <= before]

    def _stored_days(self, generation: int, prepared: Sequence[tuple[Level, Counts]]) -> set[int]:
        """Those of the days that the generation has rows of: a day has one of the site if it has any."""
        wanted = sorted({day for level, counts in prepared if level == SITE_DAY for day, _ in counts})
        stored: set[int] = set()
        for days in portions(wanted, MOST_DAYS):
            stored.update(
                row.bucket for row in self._lookup(generation, SITE_DAY, [(d, SITE_SUBJECT) for d in days], 0)
            )
        return stored

    def lock_days(self, days: Iterable[int]) -> None:
        wanted = sorted({*days, *(day + 1 for day in days)})  # an HOUR bucket may be of two days
        for portion in portions(wanted, MOST_DAYS):
            while missing := set(portion).difference(self._locked_days(portion)):
                rows = [SharedDay(day) for day in sorted(missing)]
                SharedDay.objects.using(self.connection.alias).bulk_create(rows, ignore_conflicts=True)

    def _locked_days(self, days: Sequence[int]) -> list[int]:
        """Those of the days that have a row, which is the caller's now; in their order, like everybody."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id FROM {SHARED_DAY_TABLE}{self.BY_PRIMARY_KEY} WHERE id IN ({', '.join(map(str, days))})"
                " ORDER BY id FOR UPDATE"
            )
            return [day for (day,) in cursor.fetchall()]

    def _highest_bucket(self, generation: int, level: Level) -> int | None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT MAX(bucket) FROM {AGGREGATE_TABLE} WHERE generation = {generation:d}"
                f" AND dimension = {level.dimension:d} AND granularity = {level.granularity:d}"
            )
            highest: int | None = cursor.fetchone()[0]
        return highest

    def _merge_portion(self, generation: int, level: Level, counts: Counts) -> None:
        stored = self._lookup(generation, level, list(counts), self.INLINE_VISITORS)
        self._replace(generation, level, [row for row in stored if row.visitor_set is not None], counts)
        large = [row for row in stored if row.visitor_set is None]
        for portion in portions_by_size(large, self.PORTION_BYTES, size=lambda row: 20 * row.visitors + 16):
            keys = [(row.bucket, row.subject) for row in portion]
            self._replace(generation, level, self._lookup(generation, level, keys, None), counts)
        found = {(row.bucket, row.subject) for row in stored}
        new = [key for key in counts if key not in found]
        self._write(generation, new_rows(level, new, counts), replacing=False)

    def _replace(self, generation: int, level: Level, stored: Sequence[StoredRow], counts: Counts) -> None:
        self._remove(stored)
        self._write(generation, _merged_rows(level, stored, counts), replacing=True)

    def _remove(self, stored: Sequence[StoredRow]) -> None:
        """Delete rows that are about to be written anew, where that is faster than to update them."""

    def _sets(self, level: Level, inline_visitors: int | None) -> str:
        """The columns of a row's sets in a look-up: of rows of the site the second one too."""
        sets = ["visitor_set", "repeat_set" if has_repeats(level) else "NULL"]
        if inline_visitors is not None:
            sets = [f"CASE WHEN visitors <= {inline_visitors:d} THEN {column} END" for column in sets]
        return ", ".join(sets)

    @abstractmethod
    def _lookup(
        self, generation: int, level: Level, keys: Sequence[Key], inline_visitors: int | None
    ) -> list[StoredRow]:
        """Those of the rows that exist, without the sets of more than `inline_visitors` visitors."""

    @abstractmethod
    def _write(self, generation: int, rows: Iterable[AggregateRow], *, replacing: bool) -> None:
        """Write rows, in statements of bounded size; `replacing`: each of them exists, or existed until `_remove`."""


def _split_by_days(level: Level, counts: Counts, stored_days: set[int]) -> tuple[list[Key], list[Key]]:
    """The keys that cannot be stored yet, being of days without any row, and all others; an hour may be of two days."""
    if level.granularity != Granularity.DAY:
        return [], list(counts)
    return [key for key in counts if key[0] not in stored_days], [key for key in counts if key[0] in stored_days]


def _merged_rows(level: Level, stored: Iterable[StoredRow], counts: Counts) -> Iterator[AggregateRow]:
    dimension, granularity = map(int, level)
    keeps_repeats = has_repeats(level)
    for bucket, subject, page_views, _, visitor_set, repeat_set, _ in stored:
        visitors = counts[bucket, subject]
        total = page_views + len(visitors)
        if keeps_repeats:
            both = Visits.stored(page_views, visitor_set or b"", repeat_set)
            both.add(Visits.counted(visitors))
            yield dimension, granularity, bucket, subject, total, *both.sets()
            continue
        merged = deserialized(visitor_set or b"")
        merged.update(visitors)
        yield dimension, granularity, bucket, subject, total, *serialized(merged), None
