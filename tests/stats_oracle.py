"""What the tests of `stats` share: aggregates made without the fold, and answers counted one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from pyroaring import BitMap

from django_pagestats.ids import known_subject_ids, subject_ids, visitor_ids
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from django_pagestats.stats import PageStats, Point
from tests.factories import Row, expected_aggregates, hour_bucket

TABLES = (Aggregate, Generation, PageView, Subject, Visitor)


def clean(using: str = "default") -> None:
    """Delete the rows of all tables: faster than a flush, once an example."""
    for model in TABLES:
        model._base_manager.using(using).all()._raw_delete(using)  # what Django keeps, too


def fold_naively(
    rows: Sequence[Row],
    zone: str = "UTC",
    *,
    cursor: int | None = None,
    all_time: int | None = None,
    is_active: bool | None = True,
    using: str = "default",
) -> Generation:
    """A generation whose aggregates are these rows, made row by row from a naive count.

    `all_time`: its rows of all time count so many of them; None: all.
    """
    if cursor is None:
        cursor = rows[-1].id if rows else 0
    all_cursor = cursor if all_time is None else rows[all_time - 1].id if all_time else 0
    now = datetime.now(timezone.utc)
    generation = Generation.objects.using(using).create(
        cursor=cursor,
        all_cursor=all_cursor,
        all_bucket=0,
        all_moved_at=now,
        time_zone=zone,
        is_active=is_active,
        revision=1,
        created_at=now,
    )
    write_aggregates(generation.pk, rows, zone, all_cursor=all_cursor, using=using)
    return generation


def write_aggregates(
    generation: int,
    rows: Sequence[Row],
    zone: str = "UTC",
    *,
    all_cursor: int | None = None,
    using: str = "default",
) -> None:
    visitors = visitor_ids(using, sorted({row.session_key for row in rows}))
    subjects = subject_ids(using, sorted({row.path for row in rows})) | {"": 0}
    expected = expected_aggregates(rows, zone, all_cursor=all_cursor)
    Aggregate.objects.using(using).filter(generation=generation).delete()
    Aggregate.objects.using(using).bulk_create(
        [
            Aggregate(
                generation=generation,
                dimension=dimension,
                granularity=granularity,
                bucket=bucket,
                subject=subjects[path],
                page_views=page_views,
                visitors=len(keys),
                visitor_set=BitMap(visitors[key] for key in keys).serialize(),
            )
            for (dimension, granularity, bucket, path), (page_views, keys) in expected.items()
        ],
        batch_size=500,
    )


def fold_on(generation: Generation, rows: Sequence[Row], *, using: str = "default") -> None:
    """Bring a generation up to the last of `rows`, all rows so far."""
    write_aggregates(generation.pk, rows, generation.time_zone, using=using)
    generation.cursor = generation.all_cursor = rows[-1].id
    generation.revision += 1
    generation.save(using=using)


@dataclass
class Oracle:
    """Answers by a loop over all rows; ranges are local dates of `zone`, or instants."""

    rows: Sequence[Row]
    zone: str = "UTC"

    def within(self, path: str | None, start: Any, end: Any) -> list[Row]:
        return [row for row in self.rows if path in (None, row.path) and self._is_in(row, start, end)]

    def _is_in(self, row: Row, start: date | datetime | None, end: date | datetime | None) -> bool:
        local = row.viewed_at.astimezone(ZoneInfo(self.zone))

        def position(bound: date | datetime) -> date | datetime:
            return local if isinstance(bound, datetime) else local.date()

        return (start is None or position(start) >= start) and (end is None or position(end) < end)

    def page_views(self, path: str | None = None, start: Any = None, end: Any = None) -> int:
        return len(self.within(path, start, end))

    def page_views_of(self, paths: Iterable[str], start: Any = None, end: Any = None) -> dict[str, int]:
        counted = Counter(row.path for row in self.within(None, start, end))
        return {path: counted[path] for path in paths}

    def visitors(self, path: str | None = None, start: Any = None, end: Any = None) -> int:
        return len({row.session_key for row in self.within(path, start, end)})

    def paths(self, start: Any = None, end: Any = None) -> int:
        return len({row.path for row in self.within(None, start, end)})

    def top_pages(self, start: Any = None, end: Any = None) -> list[PageStats]:
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for row in self.within(None, start, end):
            keys[row.path].append(row.session_key)
        subjects = known_subject_ids("default", keys)
        ranked = sorted(keys, key=lambda path: (-len(keys[path]), subjects.get(path, 2**40), path.encode()))
        return [PageStats(path, len(keys[path]), len(set(keys[path]))) for path in ranked]

    def days(self, start: date, end: date, path: str | None = None) -> list[Point]:
        tz = ZoneInfo(self.zone)
        points = []
        for number in range((end - start).days):
            day = start + timedelta(days=number)
            if not any(midday.astimezone(tz).date() == day for midday in _hours_around(day)):
                continue
            rows = [row for row in self.within(path, None, None) if row.viewed_at.astimezone(tz).date() == day]
            points.append(Point(day, len(rows), len({row.session_key for row in rows})))
        return points

    def hours(self, start: datetime, end: datetime) -> list[Point]:
        """In steps of a quarter of an hour: where the number of the hour changes, one begins."""
        step = timedelta(seconds=30 if self.zone == "Africa/Monrovia" else 900)
        tz = ZoneInfo(self.zone)
        starts: dict[int, datetime] = {}
        # in UTC: of two times in one zone Python compares what the clocks say, and they may have been set back between
        moment = start.astimezone(timezone.utc)
        while moment < end.astimezone(timezone.utc):
            starts.setdefault(hour_bucket(moment.astimezone(tz)), moment)
            moment += step
        found: defaultdict[int, list[str]] = defaultdict(list)
        for row in self.rows:
            found[hour_bucket(row.viewed_at.astimezone(tz))].append(row.session_key)
        return [Point(begins, len(found[hour]), len(set(found[hour]))) for hour, begins in sorted(starts.items())]


def _hours_around(day: date) -> Iterable[datetime]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    return (midnight + timedelta(hours=hour) for hour in range(-30, 55))
