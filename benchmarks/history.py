"""Aggregates as a site of many years has them, without its page views: as of 100,000,000 of these over three years.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_speed python -m benchmarks.history [--scale 0.1]

50,000 paths by Zipf's law, 5,000,000 visitors, each with a first visit and a lognormal number of later page views some
days around it, and the attributes of `benchmarks.data`; a scale makes page views and visitors fewer, and paths by its
root. Page views are drawn a day at a time and tallied as the fold does it, so that memory is that of a day and of what
is drawn for the days to come; they get no rows of their own, but for the first and the last one. The rows of all time
are made by a pass, as a run makes them. tests/test_benchmarks.py folds the same page views, and finds the same rows.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from itertools import accumulate, islice, pairwise
from math import log
from typing import Any, NamedTuple

import django
from django.core.management.color import no_style
from django.db import connection, transaction

from benchmarks.data import BATCH, SIGMA, SPREAD, analyze, path_of, prepare
from testproject.traffic import (
    CAMPAIGNS,
    HOUR_WEIGHTS,
    OF_VISITORS,
    SOURCES,
    WEEKDAY_WEIGHTS,
    WITH_CAMPAIGN,
    Attributes,
)

PAGE_VIEWS = 100_000_000
VISITORS = 5_000_000
PATHS = 50_000
DAYS = 3 * 365
#: the last day is over: the tail is of the day after it
END = date(2026, 11, 30)
HOUR_SECONDS = 3_600
DAY_SECONDS = 86_400
#: where page views come from; None: it is no arrival
PLACES = (None, *SOURCES)


class Day(NamedTuple):
    """The page views of one day in order of time, column by column."""

    #: midnight UTC, in seconds since the epoch
    begins_at: int
    pages: list[int]
    visitors: list[int]
    seconds: list[int]
    #: numbers of PLACES and CAMPAIGNS
    sources: list[int]
    campaigns: list[int | None]


class History:
    """Draws the page views of a site, the same ones every time. Visitors have their ids, from 1, by their first day."""

    def __init__(self, scale: float = 1.0, *, days: int = DAYS, end: date = END, seed: int = 20261130) -> None:
        self.page_views = max(1, round(PAGE_VIEWS * scale))
        self.visitors = max(1, round(VISITORS * scale))
        self.paths = max(1, round(PATHS * min(1.0, scale) ** 0.5))
        self.days = days
        self.first_day = end - timedelta(days=days)
        self._rng = random.Random(seed)
        self._drawn = Attributes(seed)
        self._seed = seed
        names = [path_of(number) for number in range(self.paths)]
        self._rng.shuffle(names)
        #: by rank
        self.path_names = names

    def key_of(self, visitor: int) -> str:
        return hashlib.md5(f"{self._seed}:{visitor}".encode(), usedforsecurity=False).hexdigest()

    def attributes_of(self, visitor: int) -> dict[str, str]:
        """Hers, which follow from her key."""
        return self._drawn.of_visitor(self.key_of(visitor))

    def rows(self) -> Iterator[tuple[str, str, datetime, dict[str, str]]]:
        """(path, session key, time, attributes) of each page view, in order of time."""
        for day in self.draw():
            for page, visitor, second, source, campaign in zip(*day[1:], strict=True):
                attributes = self.attributes_of(visitor)
                if source:
                    attributes["source"] = SOURCES[source - 1]
                if campaign is not None:
                    attributes["campaign"] = CAMPAIGNS[campaign]
                viewed_at = datetime.fromtimestamp(second, timezone.utc)
                yield self.path_names[page], self.key_of(visitor), viewed_at, attributes

    def draw(self) -> Iterator[Day]:
        """Each day that has page views; as many in all as were asked for, but for chance: by 1 % at the most."""
        rng = self._rng
        zipf = list(accumulate(1 / rank for rank in range(1, self.paths + 1)))
        of_sources = list(accumulate([2 * sum(1 / rank for rank in range(1, len(SOURCES) + 1)), *_zipf(len(SOURCES))]))
        midnight = int(datetime.combine(self.first_day, datetime.min.time(), timezone.utc).timestamp())
        for number, visitors in enumerate(self._by_day()):
            rng.shuffle(visitors)
            count = len(visitors)
            if not count:
                continue
            begins_at = midnight + number * DAY_SECONDS
            sources = rng.choices(range(len(PLACES)), cum_weights=of_sources, k=count)
            yield Day(
                begins_at,
                rng.choices(range(self.paths), cum_weights=zipf, k=count),
                visitors,
                [begins_at + second for second in self._seconds(count)],
                sources,
                [
                    rng.randrange(len(CAMPAIGNS)) if source and rng.random() < WITH_CAMPAIGN else None
                    for source in sources
                ],
            )

    def _seconds(self, count: int) -> list[int]:
        """The second of the day of each page view, in order, by the rhythm of days: evenly within an hour."""
        parts = [count * weight // sum(HOUR_WEIGHTS) for weight in HOUR_WEIGHTS]
        parts[-1] += count - sum(parts)
        return [hour * HOUR_SECONDS + n * HOUR_SECONDS // part for hour, part in enumerate(parts) for n in range(part)]

    def _by_day(self) -> Iterator[list[int]]:
        """The visitor of each page view of a day; what is drawn for the days to come is kept as numbers of 4 bytes."""
        rng = self._rng
        more = self.page_views / self.visitors - 1
        mu = log(more) - SIGMA**2 / 2 if more > 0 else 0.0
        spread = SPREAD.days
        to_come: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
        for day, (low, high) in enumerate(pairwise(self._first_visits())):
            today = to_come.pop(day, array("I"))
            for visitor in range(low + 1, high + 1):
                today.append(visitor)
                for _ in range(round(rng.lognormvariate(mu, SIGMA)) if more > 0 else 0):
                    at = day + int(-log(1.0 - rng.random()) * spread)
                    if at >= self.days:
                        at = rng.randrange(day, self.days)
                    (today if at == day else to_come[at]).append(visitor)
            yield today.tolist()

    def _first_visits(self) -> Iterator[int]:
        """How many visitors there were before each day, and after the last: weekends are quiet."""
        weights = [WEEKDAY_WEIGHTS[(self.first_day + timedelta(days=day)).weekday()] for day in range(self.days)]
        total = sum(weights)
        return (self.visitors * upto // total for upto in accumulate(weights, initial=0))


def _zipf(count: int) -> list[float]:
    return [1 / rank for rank in range(1, count + 1)]


class Writer:
    """Writes the aggregates of a history into an empty database, day by day, as a fold of its page views would."""

    def __init__(self, history: History) -> None:
        from django_pagestats.dimensions import of_settings

        self.history = history
        #: (dimension, value) of each subject, whose id is its place
        self.subjects: list[tuple[int, str]] = []
        self._pages = self._ids(2, history.path_names)
        #: by the number of a dimension: of a day's page views the subject of each
        self._columns: dict[int, Callable[[Day], Iterable[int | None]]] = {}
        for dimension in of_settings():
            if (column := self._column_of(dimension.name, dimension.id)) is not None:
                self._columns[dimension.id] = column

    def _ids(self, dimension: int, values: Iterable[str]) -> list[int]:
        first = len(self.subjects) + 1
        self.subjects += [(dimension, value) for value in values]
        return list(range(first, len(self.subjects) + 1))

    def _column_of(self, name: str, dimension: int) -> Callable[[Day], Iterable[int | None]] | None:
        """None: no page view of these has a value of it."""
        from django_pagestats.dimensions import section

        names = self.history.path_names
        if name == "source":
            sources = [None, *self._ids(dimension, SOURCES)]
            return lambda day: map(sources.__getitem__, day.sources)
        if name == "campaign":
            campaigns = self._ids(dimension, CAMPAIGNS)
            return lambda day: [None if number is None else campaigns[number] for number in day.campaigns]
        if name == "entry":
            entries = self._ids(dimension, names)
            return lambda day: [entries[page] if at else None for page, at in zip(day.pages, day.sources, strict=True)]
        if name == "section":
            known = list(dict.fromkeys(map(section, names)))
            ids = dict(zip(known, self._ids(dimension, known), strict=True))
            sections = [ids[section(path)] for path in names]
            return lambda day: map(sections.__getitem__, day.pages)
        if name in OF_VISITORS:
            subjects = dict(zip(OF_VISITORS[name], self._ids(dimension, OF_VISITORS[name]), strict=True))
            of_visitors = self._of_visitors[name]
            return lambda day: [subjects[OF_VISITORS[name][of_visitors[visitor]]] for visitor in day.visitors]
        return None

    @cached_property
    def _of_visitors(self) -> dict[str, bytearray]:
        """The rank of each visitor's values, by id."""
        ranks = {name: {value: rank for rank, value in enumerate(values)} for name, values in OF_VISITORS.items()}
        found = {name: bytearray(self.history.visitors + 1) for name in OF_VISITORS}
        for visitor in range(1, self.history.visitors + 1):
            for name, value in self.history.attributes_of(visitor).items():
                found[name][visitor] = ranks[name][value]
        return found

    def write(self, tell: Callable[[int, int], None] = lambda day, page_views: None) -> int:
        """All of it; the number of page views. `tell` gets that of days and page views so far."""
        from django_pagestats.folding.all_time import AllTime
        from django_pagestats.folding.generations import new_generation
        from django_pagestats.folding.zones import rules_with
        from django_pagestats.merging import database_for
        from django_pagestats.models import Generation, raised_revision
        from django_pagestats.stats.ranges import calendar_of

        self._write_ids()
        database, generation = database_for("default"), new_generation("default", 0, is_active=True)
        calendar = calendar_of(generation.time_zone)
        highest, count, rules = None, 0, generation.zone_rules
        ends: list[Day] = []
        for number, day in enumerate(self.history.draw(), 1):
            tallied = self._tallied(day, calendar)
            prepared = database.prepare(tallied.of_times())
            with database.chunk_transaction():
                highest = database.merge(generation.pk, prepared, highest)
            count, rules = count + tallied.page_views, rules_with(rules, tallied, calendar)
            ends = [*ends[:1], day]
            tell(number, count)
        self._write_ends(ends, count)
        last = [count, ends[-1].seconds[-1]]
        Generation.objects.filter(pk=generation.pk).update(
            cursor=count, revision=raised_revision(), zone_rules=rules, last_page_view=last
        )
        all_time = AllTime("default", generation.pk)
        while not all_time.step():
            pass
        return count

    def _tallied(self, day: Day, calendar: Any) -> Any:
        from django_pagestats.dimensions import Spread
        from django_pagestats.tally import tally

        spread = Spread({number: list(column(day)) for number, column in self._columns.items()})
        return tally(
            zip(map(self._pages.__getitem__, day.pages), day.visitors, day.seconds, strict=True), calendar, spread
        )

    def _write_ids(self) -> None:
        from django_pagestats.ids import digest_of
        from django_pagestats.models import Subject, Visitor

        history = self.history
        rows = enumerate(self.subjects, 1)
        subjects = ((pk, dimension, value, digest_of(value)) for pk, (dimension, value) in rows)
        visitors = ((visitor, history.key_of(visitor)) for visitor in range(1, history.visitors + 1))
        with transaction.atomic():
            store(subjects, f"{Subject._meta.db_table} (id, dimension, value, digest)")
            store(visitors, f"{Visitor._meta.db_table} (id, session_key)")
        _reset_sequences([Subject, Visitor])

    def _write_ends(self, days: list[Day], count: int) -> None:
        """The first and the last page view: a table without any would say that it lost them."""
        from django_pagestats.models import PageView

        for pk, day, number in ((1, days[0], 0), (count, days[-1], -1)):
            PageView.objects.create(
                pk=pk,
                path=self.history.path_names[day.pages[number]],
                session_key=self.history.key_of(day.visitors[number]),
                viewed_at=datetime.fromtimestamp(day.seconds[number], timezone.utc),
            )
        _reset_sequences([PageView])


def store(rows: Iterator[tuple[Any, ...]], into: str) -> None:
    """Rows of a table; `into` is its name with its columns."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            return
        while batch := list(islice(rows, BATCH)):
            places = ", ".join(["%s"] * len(batch[0]))
            cursor.executemany(f"INSERT INTO {into} VALUES ({places})", batch)


def _reset_sequences(models: list[Any]) -> None:
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of page views and visitors; 0.1: a tenth")
    parser.add_argument("--replace", action="store_true", help="empty the whole database first")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor

    prepare(
        parser,
        "page views, or aggregates",
        lambda: Generation.objects.exists() or PageView.objects.exists(),
        replace=options.replace,
    )
    started = time.perf_counter()

    def tell(days: int, page_views: int) -> None:
        if days % 50 == 0:
            print(f"{days} days, {page_views:,} page views in {time.perf_counter() - started:.0f} s", flush=True)

    count = Writer(History(options.scale)).write(tell)
    analyze([model._meta.db_table for model in (Aggregate, PageView, Subject, Visitor)])
    rows = Aggregate.objects.count()
    print(f"{rows:,} rows as of {count:,} page views in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
