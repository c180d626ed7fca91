"""Aggregate rows as they are stored: of a tally, with their visitor sets as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from pyroaring import BitMap

from django_pagestats.exceptions import UnreadableSetError
from django_pagestats.tally import Counts, Level

Key = tuple[int, int]
#: what is written of one aggregate row, after its generation, which is the same for all:
#: (dimension, granularity, bucket, subject, page_views, visitors, visitor_set); a plain tuple, made once a row
AggregateRow = tuple[int, int, int, int, int, int, bytes]

#: from so many visitors on it pays to look for runs of consecutive ids in a set
RUN_OPTIMIZE_FROM = 64


#: a set of one visitor, in the portable format of Roaring bitmaps:
#: cookie, number of containers, key, cardinality - 1, offset, value
ONE_VISITOR = struct.Struct("<IIHHIH")
ONE_VISITOR_START = struct.pack("<II", 12_346, 1)


def _one_visitor(visitor: int) -> bytes:
    """`BitMap([visitor]).serialize()`, four times as fast: most sets of a page and a day have one visitor."""
    return ONE_VISITOR.pack(12_346, 1, visitor >> 16, 0, 16, visitor & 0xFFFF)


def has_one_visitor(raw: bytes) -> bool:
    """Whether a set is as `_one_visitor` packs it: one container of no more bytes than one value has."""
    return len(raw) == ONE_VISITOR.size and raw.startswith(ONE_VISITOR_START)


def only_visitors(sets: Iterable[bytes]) -> list[int]:
    """The visitors of sets that have one each, ten times as fast as by a BitMap for each."""
    return [high << 16 | low for _, _, high, _, _, low in ONE_VISITOR.iter_unpack(b"".join(sets))]


def serialized(visitors: BitMap) -> tuple[int, bytes]:
    """How many visitors, and the set as it is stored."""
    count = len(visitors)
    if count >= RUN_OPTIMIZE_FROM:
        visitors.run_optimize()
    return count, visitors.serialize()


def deserialized(raw: bytes | memoryview) -> BitMap:
    """A visitor set as it is stored; raises UnreadableSetError where its bytes are none."""
    try:
        return BitMap.deserialize(bytes(raw))
    except (IndexError, ValueError) as error:
        raise UnreadableSetError(
            f"A stored visitor set is damaged ({error}): verify_aggregates tells which, and --repair counts anew."
        ) from error


def new_rows(level: Level, keys: Iterable[Key], counts: Counts) -> Iterator[AggregateRow]:
    """The rows of what was counted alone."""
    dimension, granularity = map(int, level)
    for key in keys:
        visitors = counts[key]
        page_views = len(visitors)
        if page_views == 1:
            yield dimension, granularity, *key, 1, 1, _one_visitor(visitors[0])
        else:
            yield dimension, granularity, *key, page_views, *serialized(BitMap(visitors))
