"""Aggregate rows, read in slices of bounded bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

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


class StoredRow(NamedTuple):
    """An aggregate row as it is stored."""

    bucket: int
    subject: int
    page_views: int
    visitors: int
    raw: bytes

    @property
    def visitor_set(self) -> BitMap | None:
        """None where its bytes are no set."""
        return decode(self.raw)

    def is_of_one(self, visitor: int) -> bool:
        """Whether it is what one page view of this visitor makes: most rows of a page and a day are."""
        return self.page_views == self.visitors == 1 and self.raw == ONE_VISITOR.pack(
            12_346, 1, visitor >> 16, 0, 16, visitor & 0xFFFF
        )


def stored_rows(rows: QuerySet[Aggregate]) -> Iterator[StoredRow]:
    """Rows of one generation, dimension and granularity, by bucket and subject."""
    limit, after = FIRST_SLICE_ROWS, None
    while True:
        found = _slice(rows, after, limit)
        size = 0
        for bucket, subject, page_views, visitors, raw in found:
            size += len(raw) + ROW_BYTES
            yield StoredRow(bucket, subject, page_views, visitors, bytes(raw))
        if len(found) < limit:
            return
        after = found[-1][:2]
        wanted = limit * SLICE_BYTES // size
        limit = max(1, min(wanted, 4 * limit, MOST_SLICE_ROWS))


def _slice(rows: QuerySet[Aggregate], after: tuple[int, int] | None, limit: int) -> list[tuple[Any, ...]]:
    columns = rows.order_by("bucket", "subject").values_list(
        "bucket", "subject", "page_views", "visitors", "visitor_set"
    )
    if after is None:
        return list(columns[:limit])
    # two ranges of the primary key: MariaDB would read from the first row on for `(bucket, subject) > (.., ..)`
    found = list(columns.filter(bucket=after[0], subject__gt=after[1])[:limit])
    if len(found) < limit:
        found += columns.filter(bucket__gt=after[0])[: limit - len(found)]
    return found


def decode(raw: bytes) -> BitMap | None:
    """A visitor set from its bytes; None if they are none."""
    try:
        return BitMap.deserialize(raw)
    except (IndexError, ValueError):
        return None
