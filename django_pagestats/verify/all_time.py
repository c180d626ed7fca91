"""Rows of all time against the stored rows of days: what these add up to, and the union of their sets."""

from __future__ import annotations

from collections.abc import Iterator

from django_pagestats.tally import Level
from django_pagestats.verify.comparing import Comparison
from django_pagestats.verify.differences import Difference
from django_pagestats.verify.gap import Gap, with_gap
from django_pagestats.verify.stored import stored_rows
from django_pagestats.verify.totals import Totals

#: bucket numbers of rows of all time: one version answers, the other is being made, or deleted
VERSIONS = (0, 1)


def compare_all_time(comparison: Comparison, day_level: Level, all_level: Level) -> Iterator[Difference]:
    """After all rows of days were looked at: what they add up to was kept, for as many subjects as fit.

    The rows are those that answer, with what is in the gap; of another version nothing is asked.
    """
    generation = comparison.generation
    rows = comparison.rows(all_level)
    answering = rows.filter(bucket=generation.all_bucket)
    for row in stored_rows(rows.exclude(bucket__in=VERSIONS)):
        yield from comparison.compare(all_level, row, None)
    if generation.all_moved_at is None:  # there are to be none yet
        for row in stored_rows(answering):
            yield from comparison.compare(all_level, row, None)
        return
    gap = Gap(comparison.using, generation, all_level)
    for totals in _ranges(comparison, day_level):
        entries, bounds = totals.entries(), totals.bounds()
        missing = gap.counted(totals.low, totals.high)
        for row in with_gap(stored_rows(answering.filter(**bounds)), generation.all_bucket, missing):
            yield from comparison.compare(all_level, row, entries.pop(row.subject, None))
        for subject, entry in sorted(entries.items()):
            yield comparison.missing(all_level, generation.all_bucket, subject, entry.page_views)


def _ranges(comparison: Comparison, day_level: Level) -> Iterator[Totals]:
    """What the rows of days add up to, a range of subjects after another; those that were not kept are read again."""
    totals = comparison.totals.pop(day_level)
    while True:
        totals.entries()
        yield totals
        totals.room.leave(totals)
        if totals.high is None:
            return
        totals = Totals(low=totals.high, room=totals.room)
        for row in stored_rows(comparison.rows(day_level, **totals.bounds())):
            totals.add_stored(row)
