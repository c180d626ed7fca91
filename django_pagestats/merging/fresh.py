"""Aggregate rows of what was counted alone, and of stored rows to which it is added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyroaring import BitMap

from django_pagestats.merging.repeats import Visits, has_repeats
from django_pagestats.merging.rows import ONE_VISITOR, AggregateRow, Key, serialized
from django_pagestats.tally import Counts, Level


def new_rows(level: Level, keys: Iterable[Key], counts: Counts) -> Iterator[AggregateRow]:
    """The rows of what was counted alone."""
    dimension, granularity = map(int, level)
    pack = ONE_VISITOR.pack
    keeps_repeats = has_repeats(level)
    for key in keys:
        visitors = counts[key]
        bucket, subject = key
        if len(visitors) == 1:  # most rows of a page and a day
            visitor = visitors[0]
            visitor_set = pack(12_346, 1, visitor >> 16, 0, 16, visitor & 0xFFFF)
            yield dimension, granularity, bucket, subject, 1, 1, visitor_set, None
        elif keeps_repeats:
            yield dimension, granularity, bucket, subject, len(visitors), *Visits.counted(visitors).sets()
        else:
            yield dimension, granularity, bucket, subject, len(visitors), *serialized(BitMap(visitors)), None
