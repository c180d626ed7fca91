"""Aggregate rows, read in slices of bounded bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import QuerySet
from pyroaring import BitMap

from django_pagestats.models import Aggregate

FIRST_SLICE_ROWS = 16
MOST_SLICE_ROWS = 4_000
SLICE_BYTES = 2_000_000
#: a set of one visitor, as the format of Roaring bitmaps has it: cookie, number of containers, key, cardinality - 1,
#: offset, value. Written down here once more, so that what is stored is not compared with what has made it
ONE_VISITOR = struct.Struct("<IIHHIH")
#: what a row takes besides its set
ROW_BYTES = 250

#: bucket, subject, page views, visitors, set, repeat set: as the driver gives it
RawRow = tuple[int, int, int, int, Any, Any]
SET_OF, REPEAT_SET_OF = itemgetter(4), itemgetter(5)


class StoredRow(NamedTuple):
    """An aggregate row as it is stored."""

    bucket: int
    subject: int
    page_views: int
    visitors: int
    raw: bytes
    #: None where none is stored
    raw_repeats: bytes | None = None

    @property
    def visitor_set(self) -> BitMap | None:
        """None where its bytes are no set."""
        return decode(self.raw)

    @property
    def repeat_set(self) -> BitMap | None:
        """None where none is stored, or its bytes are none."""
        return None if self.raw_repeats is None else decode(self.raw_repeats)

    @property
    def repeats(self) -> BitMap | None:
        """The visitors with at least two page views, as the row has it: None where it does not tell."""
        if self.raw_repeats is None and self.page_views == self.visitors:
            return BitMap()
        return self.repeat_set


def stored_slices(rows: QuerySet[Aggregate]) -> Iterator[list[RawRow]]:
    """Rows of one generation, dimension and granularity, by bucket and subject."""
    limit, after = FIRST_SLICE_ROWS, None
    while True:
        found = _slice(rows, after, limit)
        yield found
        if len(found) < limit:
            return
        after = found[-1][:2]
        size = ROW_BYTES * len(found) + sum(map(len, map(SET_OF, found)))
        size += sum(map(len, filter(None, map(REPEAT_SET_OF, found))))
        wanted = limit * SLICE_BYTES // size
        limit = max(1, min(wanted, 4 * limit, MOST_SLICE_ROWS))


def stored_rows(rows: QuerySet[Aggregate]) -> Iterator[StoredRow]:
    """The same rows one by one."""
    return map(stored_row, chain.from_iterable(stored_slices(rows)))


def stored_row(row: RawRow) -> StoredRow:
    return StoredRow(*row[:4], bytes(row[4]), None if row[5] is None else bytes(row[5]))


def add_up_to(seen: list[Any], row: RawRow) -> bool:
    """Whether page views of these visitors make a row, byte for byte; if not, the row may be right all the same.

    Not for rows of the site: a repeat set is to be looked at in any case.
    """
    _, _, page_views, visitors, raw, raw_repeats = row
    if page_views != len(seen) or None in seen or raw_repeats is not None:
        return False
    if page_views == 1:  # most rows of a page and a day are
        visitor = seen[0]
        expected = ONE_VISITOR.pack(12_346, 1, visitor >> 16, 0, 16, visitor & 0xFFFF)
        return visitors == 1 and bool(raw == expected)
    members = BitMap(seen)
    return visitors == len(members) and bool(raw == members.serialize())


def _slice(rows: QuerySet[Aggregate], after: tuple[int, int] | None, limit: int) -> list[RawRow]:
    columns = rows.order_by("bucket", "subject").values_list(
        "bucket", "subject", "page_views", "visitors", "visitor_set", "repeat_set"
    )
    if after is None:
        return _fetched(columns[:limit])
    # two ranges of the primary key: MariaDB would read from the first row on for `(bucket, subject) > (.., ..)`
    found = _fetched(columns.filter(bucket=after[0], subject__gt=after[1])[:limit])
    if len(found) < limit:
        found += _fetched(columns.filter(bucket__gt=after[0])[: limit - len(found)])
    return found


def _fetched(columns: QuerySet[Aggregate, Any]) -> list[RawRow]:
    """What the queryset gives, row by row as the driver made it: of many rows that takes half the time."""
    statement, parameters = columns.query.get_compiler(using=columns.db).as_sql()
    with connections[columns.db].cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def decode(raw: bytes) -> BitMap | None:
    """A visitor set from its bytes; None if they are none."""
    try:
        return BitMap.deserialize(raw)
    except (IndexError, ValueError):
        return None
