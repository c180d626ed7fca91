"""Rows of all time against the stored rows of days: what these add up to, and the union of their sets."""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from django_pagestats.tally import Level
from django_pagestats.verify.comparing import Comparison
from django_pagestats.verify.differences import Difference
from django_pagestats.verify.gap import Gap, with_gap
from django_pagestats.verify.groups import Entries, Entry
from django_pagestats.verify.stored import StoredRow, stored_rows

#: bucket numbers of rows of all time: one version answers, the other is being made, or deleted
VERSIONS = (0, 1)
#: what merged rows of days may weigh: one weighs 1, a visitor of it a tenth
MERGED_WEIGHT = 120_000


def compare_all_time(comparison: Comparison, day_level: Level, all_level: Level) -> Iterator[Difference]:
    """In ranges of subjects so small that the merged DAY rows of one stay bounded.

    The rows are those that answer, with what is in the gap; of another version nothing is asked.
    """
    generation = comparison.generation
    yield from comparison.pairs(all_level, stored_rows(comparison.rows(all_level).exclude(bucket__in=VERSIONS)), {})
    rows = comparison.rows(all_level, bucket=generation.all_bucket)
    if generation.all_moved_at is None:  # there are to be none yet
        yield from comparison.pairs(all_level, stored_rows(rows), {})
        return
    gap = Gap(comparison.using, generation)
    for bounds, merged in _merged(comparison, day_level):
        missing = gap.counted(all_level, bounds.get("subject__gte"), bounds.get("subject__lt"))
        rows_with_gap = with_gap(stored_rows(rows.filter(**bounds)), missing)
        yield from comparison.compare_rows(
            all_level, ((row, merged.pop((row.bucket, row.subject), None)) for row in rows_with_gap)
        )
        for (bucket, subject), entry in sorted(merged.items(), key=lambda item: item[0]):
            yield comparison.missing(all_level, bucket, subject, entry.page_views)


def _merged(comparison: Comparison, day_level: Level) -> Iterator[tuple[dict[str, int], Entries]]:
    """The bounds of a range of subjects, and what their rows of days add up to."""
    bucket = comparison.generation.all_bucket
    pending: list[dict[str, int]] = [{}]
    while pending:
        bounds = pending.pop()
        merged: Entries = {}
        weight = 0.0
        for row in stored_rows(comparison.rows(day_level, **bounds)):
            if row.subject >= bounds.get("subject__lt", row.subject + 1):
                continue  # of a part that was cut off meanwhile
            weight += _merge(merged, bucket, row)
            while weight > MERGED_WEIGHT and len(merged) > 1:
                middle = sorted(subject for _, subject in merged)[len(merged) // 2]
                pending.append({**bounds, "subject__gte": middle})
                bounds = {**bounds, "subject__lt": middle}
                merged = {key: entry for key, entry in merged.items() if key[1] < middle}
                weight = sum(1 + len(entry.visitors) / 10 for entry in merged.values())
        yield bounds, merged


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
