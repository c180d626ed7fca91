"""PostgreSQL groups rows of days by subject itself: most of their sets come as one value for each subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_pagestats.merging.arrays import number_array
from django_pagestats.merging.base import AGGREGATE_TABLE
from django_pagestats.merging.rows import ONE_VISITOR, ONE_VISITOR_START, SubjectDays
from django_pagestats.tally import Level

#: the same as `has_one_visitor`
HAS_ONE_VISITOR = (
    f"(length(visitor_set) = {ONE_VISITOR.size:d}"
    f" AND substr(visitor_set, 1, {len(ONE_VISITOR_START):d}) = '\\x{ONE_VISITOR_START.hex()}')"
)
GROUPED = (
    "SELECT subject, count(*), sum(page_views)::bigint,"
    " string_agg(visitor_set, '') FILTER (WHERE is_inline AND has_one),"
    " array_agg(visitor_set) FILTER (WHERE is_inline AND NOT has_one),"
    " array_agg(bucket) FILTER (WHERE NOT is_inline), array_agg(visitors) FILTER (WHERE NOT is_inline)"
    " FROM days GROUP BY subject"
)


def read_days(
    connection: Any,
    generation: int,
    level: Level,
    buckets: Sequence[int],
    subjects: tuple[int, int],
    *,
    inline: int,
    limit: int,
) -> list[SubjectDays]:
    """See `Database.days_of_subjects`."""
    low, high = subjects
    # LATERAL with LIMIT, as when rows are looked up: one descent of the primary key for each bucket
    days = (
        "SELECT stored.* FROM unnest(%s::integer[]) AS wanted(bucket) CROSS JOIN LATERAL (SELECT bucket, subject,"
        f" page_views, visitors, visitor_set, visitors <= {inline:d} AS is_inline, {HAS_ONE_VISITOR} AS has_one"
        f" FROM {AGGREGATE_TABLE} WHERE generation = {generation:d} AND dimension = {level.dimension:d}"
        f" AND granularity = {level.granularity:d} AND bucket = wanted.bucket AND subject > {low:d}"
        f" AND subject <= {high:d} LIMIT {limit:d}) AS stored LIMIT {limit:d}"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"WITH days AS ({days}) {GROUPED}", [number_array(buckets)])
        return [_subject_days(*row) for row in cursor.fetchall()]


def _subject_days(
    subject: int,
    rows: int,
    page_views: int,
    singles: bytes | None,
    several: list[bytes] | None,
    large: list[int] | None,
    visitors: list[int] | None,
) -> SubjectDays:
    """As the server gives it, NULL in place of what there is none of."""
    sizes = list(zip(large or (), visitors or (), strict=True))
    return SubjectDays(subject, rows, page_views, singles or b"", several or (), sizes)
