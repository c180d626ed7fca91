"""Aggregate rows as they are stored: of a tally, with their visitor sets as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from pyroaring import BitMap

from django_pagestats.exceptions import UnreadableSetError

Key = tuple[int, int]
#: what is written of one aggregate row, after its generation, which is the same for all:
#: (dimension, granularity, bucket, subject, page_views, visitors, visitor_set, repeat_set); a plain tuple, made once a
#: row
AggregateRow = tuple[int, int, int, int, int, int, bytes, bytes | None]

#: from so many visitors on it pays to look for runs of consecutive ids in a set
RUN_OPTIMIZE_FROM = 64


#: a set of one visitor, in the portable format of Roaring bitmaps, as `BitMap([visitor]).serialize()` makes it, four
#: times as fast: cookie, number of containers, key, cardinality - 1, offset, value
ONE_VISITOR = struct.Struct("<IIHHIH")
ONE_VISITOR_START = struct.pack("<II", 12_346, 1)


def has_one_visitor(raw: bytes) -> bool:
    """Whether a set is as ONE_VISITOR packs it: one container of no more bytes than one value has."""
    return len(raw) == ONE_VISITOR.size and raw.startswith(ONE_VISITOR_START)


def only_visitors(sets: bytes) -> list[int]:
    """The visitors of sets that have one each, ten times as fast as by a BitMap for each."""
    return [high << 16 | low for _, _, high, _, _, low in ONE_VISITOR.iter_unpack(sets)]


class SubjectDays(NamedTuple):
    """What rows of days of one subject hold."""

    subject: int
    rows: int
    page_views: int
    #: the sets of one visitor each, as ONE_VISITOR packs them, one after another
    singles: bytes
    #: the others, but for large ones, of which these are bucket and number of visitors
    several: Sequence[bytes]
    large: Sequence[tuple[int, int]]


def by_subject(rows: Iterable[tuple[int, int, int, int, bytes | None]]) -> Iterator[SubjectDays]:
    """Rows of days: (bucket, subject, page views, visitors, set or None where that is large), in any order."""
    for subject, days in groupby(sorted(rows, key=itemgetter(1)), key=itemgetter(1)):
        number = total = 0
        singles: list[bytes] = []
        several: list[bytes] = []
        large: list[tuple[int, int]] = []
        for bucket, _, page_views, visitors, raw in days:
            number += 1
            total += page_views
            if raw is None:
                large.append((bucket, visitors))
            elif has_one_visitor(raw):
                singles.append(raw)
            else:
                several.append(raw)
        yield SubjectDays(subject, number, total, b"".join(singles), several, large)


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
        raise _damaged(error) from error


def united(raws: Iterable[bytes | memoryview]) -> BitMap:
    """Some visitor sets as they are stored, as one set; raises UnreadableSetError where the bytes of any are none."""
    try:
        return BitMap.union(*map(BitMap.deserialize, map(bytes, raws)))
    except (IndexError, ValueError) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> UnreadableSetError:
    return UnreadableSetError(
        f"A stored visitor set is damaged ({error}): verify_aggregates tells which, and --repair counts anew."
    )
