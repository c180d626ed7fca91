"""What every database does the same way: which rows a tally changes, and in which portions."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain, islice
from typing import Any, ClassVar, NamedTuple, TypeVar

from django.db import transaction
from pyroaring import BitMap

from django_pagestats.buckets import Granularity
from django_pagestats.models import Aggregate, PageView
from django_pagestats.tally import Counts, Level, Tally

T = TypeVar("T")
Key = tuple[int, int]

PAGE_VIEW_TABLE = PageView._meta.db_table
AGGREGATE_TABLE = Aggregate._meta.db_table


class RowsLockedError(Exception):
    """Page views of a chunk are locked by a transaction that has not ended."""


class PageViewRow(NamedTuple):
    id: int
    path: str
    session_key: str
    seconds: int  #: whole seconds since the epoch, UTC


#: what is written of one aggregate row, after its generation, which is the same for all:
#: (dimension, granularity, bucket, subject, page_views, visitors, visitor_set); a plain tuple, made once a row
AggregateRow = tuple[int, int, int, int, int, int, bytes]

#: the highest stored bucket of each level with buckets
Highest = dict[Level, int | None]


class StoredRow(NamedTuple):
    """An aggregate row as it is; `visitor_set` is None where it was too large to come along."""

    bucket: int
    subject: int
    page_views: int
    visitors: int
    visitor_set: bytes | None
    locator: Any = None  #: where the database finds the row again at once, if it has such a thing


class Database(ABC):
    """One database's SQL, on one connection."""

    #: rows looked up by one statement, and a set of how many visitors comes along with its row at the most:
    #: together they bound what a look-up brings into memory (a set takes 10 bytes a visitor at the very most)
    LOOKUP_ROWS: ClassVar[int] = 2_000
    INLINE_VISITORS: ClassVar[int] = 1_000
    #: larger sets are read in portions of about this many bytes, or one by one
    PORTION_BYTES: ClassVar[int] = 8_000_000
    #: seconds that a chunk's transaction should last
    CHUNK_SECONDS: ClassVar[float] = 1.0
    #: whether the next chunk may be read, on a connection of its own, while one is merged
    READS_AHEAD: ClassVar[bool] = True
    #: a rest after each chunk in a cluster, in times of what the chunk took
    NICE: ClassVar[float] = 0.0

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    # -- page views

    @abstractmethod
    def read_page_views(self, after: int, upto: int | None, limit: int) -> list[PageViewRow]:
        """The next page views with `after < id <= upto`, in order of id.

        Raises RowsLockedError where the database knows only by trying that one of them is not yet committed.
        """

    # -- ids

    @abstractmethod
    def select_ids(self, table: str, column: str, values: Sequence[str], where: str = "") -> dict[str, int]:
        """value -> id of those rows whose `column` is one of the values; `where` is more SQL of ours."""

    @abstractmethod
    def insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], key: str
    ) -> dict[str, int]:
        """Insert rows, and leave those alone that are there already.

        Gives `key` -> id of what was inserted, where the database tells without another question: else nothing.
        """

    # -- aggregates

    def chunk_transaction(self) -> AbstractContextManager[None]:
        """A READ COMMITTED transaction, whatever the site's default; inside a test's transaction, that one."""
        return transaction.atomic(using=self.connection.alias, durable=True)

    def merge(self, generation: int, tally: Tally, highest: Highest | None = None) -> Highest:
        """Add a tally to the aggregates of a generation, in the caller's transaction.

        The caller holds the generation's row lock, so nobody else writes these rows. Returns the highest buckets
        afterwards, which the next merge may be given if nobody else merged in between.
        """
        highest = dict(highest or {})
        fresh: list[Iterator[AggregateRow]] = []
        for level, counts in tally.levels():
            new, known = self._split(generation, level, counts, highest)
            for portion in portions(sorted(known), self.LOOKUP_ROWS):
                self._merge_portion(generation, level, {key: counts[key] for key in portion})
            # in the order of the primary key, so that neighbours are found and written together
            fresh.append(_new_rows(level, sorted(new), counts))
        self._write(generation, chain.from_iterable(fresh), replacing=False)
        return highest

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
        for portion in portions_by_size(large, self.PORTION_BYTES, size=lambda row: 10 * row.visitors + 16):
            keys = [(row.bucket, row.subject) for row in portion]
            self._replace(generation, level, self._lookup(generation, level, keys, None), counts)
        found = {(row.bucket, row.subject) for row in stored}
        new = [key for key in counts if key not in found]
        self._write(generation, _new_rows(level, new, counts), replacing=False)

    def _replace(self, generation: int, level: Level, stored: Sequence[StoredRow], counts: Counts) -> None:
        self._remove(stored)
        self._write(generation, _merged_rows(level, stored, counts), replacing=True)

    def _remove(self, stored: Sequence[StoredRow]) -> None:  # noqa: B027 - not every database has to
        """Delete rows that are about to be written anew, where that is faster than to update them."""

    @abstractmethod
    def _lookup(
        self, generation: int, level: Level, keys: Sequence[Key], inline_visitors: int | None
    ) -> list[StoredRow]:
        """Those of the rows that exist, without the sets of more than `inline_visitors` visitors."""

    @abstractmethod
    def _write(self, generation: int, rows: Iterable[AggregateRow], *, replacing: bool) -> None:
        """Write rows, in statements of bounded size; `replacing`: each of them exists, or existed until `_remove`."""

    def analyze(self) -> None:  # noqa: B027 - where the database does it in time by itself
        """Renew the planner's statistics of the aggregates, after many of them were written."""

    @abstractmethod
    def delete_aggregates(self, generation: int, limit: int) -> int:
        """Delete at most so many aggregate rows of a generation; returns how many."""


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion


def portions_by_size(items: Iterable[T], limit: int, *, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Portions of so much size in all; an item that is larger makes one by itself."""
    portion: list[T] = []
    total = 0
    for item in items:
        more = size(item)
        if portion and total + more > limit:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += more
    if portion:
        yield portion


#: from so many visitors on it pays to look for runs of consecutive ids in a set
RUN_OPTIMIZE_FROM = 64


#: a set of one visitor, in the portable format of Roaring bitmaps:
#: cookie, number of containers, key, cardinality - 1, offset, value
ONE_VISITOR = struct.Struct("<IIHHIH")


def _one_visitor(visitor: int) -> bytes:
    """`BitMap([visitor]).serialize()`, four times as fast: most sets of a page and a day have one visitor."""
    return ONE_VISITOR.pack(12_346, 1, visitor >> 16, 0, 16, visitor & 0xFFFF)


def _serialized(visitors: BitMap) -> tuple[int, bytes]:
    count = len(visitors)
    if count >= RUN_OPTIMIZE_FROM:
        visitors.run_optimize()
    return count, visitors.serialize()


def _new_rows(level: Level, keys: Iterable[Key], counts: Counts) -> Iterator[AggregateRow]:
    dimension, granularity = map(int, level)
    for key in keys:
        visitors = counts[key]
        page_views = len(visitors)
        if page_views == 1:
            yield dimension, granularity, *key, 1, 1, _one_visitor(visitors[0])
        else:
            yield dimension, granularity, *key, page_views, *_serialized(BitMap(visitors))


def _merged_rows(level: Level, stored: Iterable[StoredRow], counts: Counts) -> Iterator[AggregateRow]:
    dimension, granularity = map(int, level)
    for bucket, subject, page_views, _, visitor_set, _ in stored:
        visitors = counts[bucket, subject]
        merged = BitMap.deserialize(bytes(visitor_set or b""))
        merged.update(visitors)
        yield dimension, granularity, bucket, subject, page_views + len(visitors), *_serialized(merged)
