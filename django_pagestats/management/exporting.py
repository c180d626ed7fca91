"""What export_statistics writes: rows of one snapshot, as they are read, as CSV or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django_pagestats import __version__, intake
from django_pagestats.api.rendering import csv_text, written
from django_pagestats.exceptions import ArgumentError
from django_pagestats.merging.portions import portions
from django_pagestats.stats import Snapshot
from django_pagestats.stats.ranges import calendar_of, series_span
from django_pagestats.stats.walking import check_values, days_of, each_value

#: of which the points of a series are in memory at a time
SERIES_DAYS = 400
COLUMNS = ("granularity", "start", "dimension", "value", "page_views", "visitors")
#: rows that are written at a time
ROWS_AT_A_TIME = 500
#: the days of which a series may be
FIRST_DAY, LAST_DAY = date(intake.FIRST_YEAR, 1, 1), date(intake.LAST_YEAR, 12, 31)
END = LAST_DAY + timedelta(days=1)

Row = tuple[str, "date | datetime | None", str, "str | None", int, int]
Write = Callable[[str], object]


@dataclass(frozen=True)
class Wanted:
    """Which rows of which days."""

    totals: bool
    #: "day", "hour", or None
    series: str | None
    pages: bool
    #: None: all that there are
    dimensions: Sequence[str] | None
    start: date | None
    end: date | None

    @property
    def bounds(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end}


def check(taken: Snapshot, wanted: Wanted) -> None:
    """To be asked before anything is written; raises ValueError, UnknownDimensionError, TailTooLongError."""
    if wanted.totals or wanted.series:
        taken.count_page_views(**wanted.bounds)
    if wanted.series:
        _check_years(wanted)
    if wanted.series == "hour":
        series_span(wanted.start, wanted.end, lambda: calendar_of(taken.time_zone))
    for name in ([None] if wanted.pages else []) + _dimensions(taken, wanted):
        check_values(taken, name, **wanted.bounds)


def _check_years(wanted: Wanted) -> None:
    """Of the years of page views only: a series has a row for each day, whether it has page views or not."""
    for name, bound in wanted.bounds.items():
        if bound is not None and not FIRST_DAY <= bound <= END:
            raise ArgumentError(
                f"{name}={bound} is out of range for a series: page views are of {FIRST_DAY} to {LAST_DAY}, and a date"
                f" from {FIRST_DAY} to {END}, or none, would do.",
                name,
            )


def rows_of(taken: Snapshot, wanted: Wanted) -> Iterator[Row]:
    """All rows that are wanted, if `check` has nothing against it."""
    if wanted.totals:
        page_views, visitors = taken.count_page_views(**wanted.bounds), taken.count_unique_visitors(**wanted.bounds)
        yield "all", None, "site", None, page_views, visitors
    if wanted.series:
        yield from _series(taken, wanted, wanted.series)
    if wanted.pages:
        for path, page_views, visitors in each_value(taken, None, **wanted.bounds):
            yield "all", None, "page", path, page_views, visitors
    for name in _dimensions(taken, wanted):
        for value, page_views, visitors in each_value(taken, name, **wanted.bounds):
            yield "all", None, name, value, page_views, visitors


def _dimensions(taken: Snapshot, wanted: Wanted) -> list[str]:
    return [it.name for it in taken.dimensions()] if wanted.dimensions is None else list(wanted.dimensions)


def _series(taken: Snapshot, wanted: Wanted, granularity: str) -> Iterator[Row]:
    """Of the days that are asked for; where a bound is open from the first, or to the last, that has page views."""
    first, end = wanted.start, wanted.end
    if first is None or end is None:
        edges = days_of(taken, **wanted.bounds)
        if edges is None:
            return
        first, end = first or edges[0], end or edges[1] + timedelta(days=1)
    while first < end:
        until = min(first + timedelta(days=SERIES_DAYS), end)
        for point in taken.time_series(granularity, first, until):
            yield granularity, point.start, "site", None, point.page_views, point.visitors
        first = until


def write_csv(rows: Iterable[Row], write: Write) -> int:
    """Write a head and the rows; give back how many."""
    write(csv_text(COLUMNS, ()))
    return _written(rows, lambda portion: csv_text(None, portion), write)


def write_json_lines(rows: Iterable[Row], write: Write, *, head: dict[str, Any]) -> int:
    """Write an object about all of it, and one for each row; give back how many."""
    write(_line(head))
    return _written(
        rows, lambda portion: "".join(_line(dict(zip(COLUMNS, row, strict=True))) for row in portion), write
    )


def head_of(taken: Snapshot, wanted: Wanted, *, now: datetime) -> dict[str, Any]:
    """Of which range, zone and instant all rows are."""
    summary = taken.summary()
    return {
        "django_pagestats": __version__,
        "exported_at": now,
        "time_zone": taken.time_zone,
        "start": wanted.start,
        "end": wanted.end,
        "is_exact": summary.is_exact,
        "pending": summary.pending,
    }


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, default=written, ensure_ascii=False) + "\n"


def _written(rows: Iterable[Row], text_of: Callable[[list[Row]], str], write: Write) -> int:
    count = 0
    for portion in portions(rows, ROWS_AT_A_TIME):
        write(text_of(portion))
        count += len(portion)
    return count
