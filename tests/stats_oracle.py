"""What the tests of `stats` share: aggregates made without the fold, and answers counted one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from pyroaring import BitMap

from django_pagestats.ids import known_subject_ids, subject_ids, visitor_ids
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from django_pagestats.stats import PageStats, Point
from django_pagestats.stats.statements import Statements
from tests.factories import (
    OF_SETTINGS,
    PAGE,
    SITE,
    Row,
    expected_aggregates,
    hour_bucket,
)
from tests.named import Named, dimensions_of_settings, named_dimensions

#: one condition at the most: the name of a dimension, and a value
Where = Mapping[str, str] | None

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
    dimensions: Sequence[Mapping[str, Any]] | None = OF_SETTINGS,
    using: str = "default",
) -> Generation:
    """A generation whose aggregates are these rows, made row by row from a naive count.

    `all_time`: its rows of all time count so many of them; None: all. `dimensions`: None: as the release before named
    dimensions left it.
    """
    if dimensions is OF_SETTINGS:
        dimensions = dimensions_of_settings()
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
        dimensions=dimensions,
        created_at=now,
    )
    write_aggregates(generation.pk, rows, zone, all_cursor=all_cursor, dimensions=dimensions, using=using)
    return generation


def write_aggregates(
    generation: int,
    rows: Sequence[Row],
    zone: str = "UTC",
    *,
    all_cursor: int | None = None,
    dimensions: Sequence[Mapping[str, Any]] | None = OF_SETTINGS,
    using: str = "default",
) -> None:
    expected = expected_aggregates(rows, zone, all_cursor=all_cursor, dimensions=dimensions)
    visitors = visitor_ids(using, sorted({row.session_key for row in rows}))
    values: defaultdict[int, list[str]] = defaultdict(list)
    for dimension, _, _, value in expected:
        values[dimension].append(value)
    subjects = {(SITE, ""): 0}
    for dimension in sorted(values.keys() - {SITE}):
        found = subject_ids(using, sorted(set(values[dimension])), dimension=dimension)
        subjects |= {(dimension, value): subject for value, subject in found.items()}

    def bitmap(keys: Iterable[str]) -> bytes:
        return BitMap(visitors[key] for key in keys).serialize()

    Aggregate.objects.using(using).filter(generation=generation).delete()
    Aggregate.objects.using(using).bulk_create(
        [
            Aggregate(
                generation=generation,
                dimension=dimension,
                granularity=granularity,
                bucket=bucket,
                subject=subjects[dimension, value],
                page_views=stored.page_views,
                visitors=len(stored.visitors),
                visitor_set=bitmap(stored.visitors),
                repeat_set=bitmap(stored.repeaters) if stored.repeaters and dimensions is not None else None,
            )
            for (dimension, granularity, bucket, value), stored in expected.items()
        ],
        batch_size=500,
    )


def fold_on(generation: Generation, rows: Sequence[Row], *, using: str = "default") -> None:
    """Bring a generation up to the last of `rows`, all rows so far."""
    write_aggregates(generation.pk, rows, generation.time_zone, dimensions=generation.dimensions, using=using)
    generation.cursor = generation.all_cursor = rows[-1].id
    generation.revision += 1
    generation.save(using=using)


@contextmanager
def as_outside_transactions() -> Iterator[None]:
    """Answers are kept in a test's transaction too: it is rolled back, and the next test's may have the same ids."""
    with patch.object(Statements, "is_own", property(lambda self: True, lambda self, value: None), create=True):
        yield


@dataclass
class Oracle:
    """Answers by a loop over all rows; ranges are local dates of `zone`, or instants."""

    rows: Sequence[Row]
    zone: str = "UTC"
    #: of the generation that answers; None: it has none
    dimensions: Sequence[Mapping[str, Any]] | None = None

    def within(self, path: str | None, start: Any, end: Any, where: Where = None) -> list[Row]:
        return [
            row
            for row in self.rows
            if path in (None, row.path) and self._is_in(row, start, end) and self._has_all(row, where or {})
        ]

    def named(self, name: str) -> Named:
        (found,) = [it for it in named_dimensions(self.dimensions) if it.name == name]
        return found

    def value(self, row: Row, dimension: str) -> str | None:
        return row.path if dimension in ("path", "page") else self.named(dimension).value(row.path, row.attributes)

    def _has_all(self, row: Row, where: Mapping[str, str]) -> bool:
        return all(self.value(row, dimension) == value for dimension, value in where.items())

    def _is_in(self, row: Row, start: date | datetime | None, end: date | datetime | None) -> bool:
        local = row.viewed_at.astimezone(ZoneInfo(self.zone))

        def position(bound: date | datetime) -> date | datetime:
            return local if isinstance(bound, datetime) else local.date()

        return (start is None or position(start) >= start) and (end is None or position(end) < end)

    def page_views(self, path: str | None = None, start: Any = None, end: Any = None, where: Where = None) -> int:
        return len(self.within(path, start, end, where))

    def page_views_of(self, paths: Iterable[str], start: Any = None, end: Any = None) -> dict[str, int]:
        counted = Counter(row.path for row in self.within(None, start, end))
        return {path: counted[path] for path in paths}

    def visitors(self, path: str | None = None, start: Any = None, end: Any = None, where: Where = None) -> int:
        return len(self.keys(path, start, end, where))

    def keys(self, path: str | None = None, start: Any = None, end: Any = None, where: Where = None) -> frozenset[str]:
        """The visitors, as a set: of these the answers tell no more than how many there are."""
        return frozenset(row.session_key for row in self.within(path, start, end, where))

    def single_page_visitors(self, start: Any = None, end: Any = None) -> int:
        seen = Counter(row.session_key for row in self.within(None, start, end))
        return sum(times == 1 for times in seen.values())

    def visits(self, path: str | None = None, start: Any = None, end: Any = None) -> int:
        """Arrivals: page views whose source is known, which it is of those alone that came from elsewhere."""
        return sum("source" in (row.attributes or {}) for row in self.within(path, start, end))

    def paths(self, start: Any = None, end: Any = None) -> int:
        return len({row.path for row in self.within(None, start, end)})

    def top_pages(self, start: Any = None, end: Any = None) -> list[PageStats]:
        return [PageStats(*ranked) for ranked in self._ranked(PAGE, lambda row: row.path, start, end)]

    def top(self, dimension: str, start: Any = None, end: Any = None) -> list[tuple[str, int, int]]:
        """(value, page views, visitors) of all values, as they are ranked."""
        named = self.named(dimension)
        return self._ranked(named.id, lambda row: named.value(row.path, row.attributes), start, end)

    def values(self, dimension: str, start: Any = None, end: Any = None) -> int:
        return len(self.top(dimension, start, end))

    def _ranked(
        self, dimension: int, value_of: Callable[[Row], str | None], start: Any, end: Any
    ) -> list[tuple[str, int, int]]:
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for row in self.within(None, start, end):
            if (value := value_of(row)) is not None:
                keys[value].append(row.session_key)
        subjects = known_subject_ids("default", keys, dimension)
        ranked = sorted(keys, key=lambda value: (-len(keys[value]), subjects.get(value, 2**40), value.encode()))
        return [(value, len(keys[value]), len(set(keys[value]))) for value in ranked]

    def days(self, start: date, end: date, path: str | None = None, where: Where = None) -> list[Point]:
        tz = ZoneInfo(self.zone)
        of_topic = self.within(path, None, None, where)
        points = []
        for number in range((end - start).days):
            day = start + timedelta(days=number)
            if not any(midday.astimezone(tz).date() == day for midday in _hours_around(day)):
                continue
            rows = [row for row in of_topic if row.viewed_at.astimezone(tz).date() == day]
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
