"""Fill the configured database with page views of a realistic shape, the same ones every time.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.data 1000000 [--attributes]

With attributes they are the same page views: a visitor keeps her country, browser, system and device, which are drawn
one by one, so that contexts are many; a third are arrivals, with a source, and one in ten of these with a campaign.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import accumulate, islice
from math import log
from pathlib import Path

import django
from django.core.management import call_command
from django.db import connection, transaction

from testproject.traffic import ARRIVALS, Attributes

START = datetime(2025, 1, 1, tzinfo=timezone.utc)
YEAR = timedelta(days=365)
PATHS = 20_000
VISITORS_PER_PAGE_VIEW = 0.16
#: page views of a visitor after the first: lognormal, of this mean and sigma
MORE_VIEWS, SIGMA = 1 / VISITORS_PER_PAGE_VIEW - 1, 1.25
#: mean distance of a later page view from the first visit
SPREAD = timedelta(days=20)
#: of the later page views, so that ARRIVALS of all are
LATER_ARRIVALS = (ARRIVALS - VISITORS_PER_PAGE_VIEW) / (1 - VISITORS_PER_PAGE_VIEW)
SECTIONS = ("articles", "news", "docs", "shop", "people", "help")
MICROSECOND = timedelta(microseconds=1)
BATCH = 10_000

#: path, session key, time, attributes as JSON
Row = tuple[str, str, datetime, str | None]


def view_times(count: int, *, years: int, shuffle: bool, rng: random.Random) -> list[tuple[int, int]]:
    """(microseconds after START, number of the visitor) of each page view."""
    length = years * YEAR // MICROSECOND
    spread = SPREAD // MICROSECOND
    mu = log(MORE_VIEWS) - SIGMA**2 / 2
    views: list[tuple[int, int]] = []
    visitor = 0
    while len(views) < count:
        first = int(rng.random() * length)
        views.append((first, visitor))
        for _ in range(round(rng.lognormvariate(mu, SIGMA))):
            at = first + int(rng.expovariate(1 / spread))
            views.append((at if at < length else rng.randrange(first, length), visitor))
        visitor += 1
    del views[count:]
    if shuffle:
        rng.shuffle(views)
    else:
        views.sort()
    return views


def path_of(number: int) -> str:
    return f"/{SECTIONS[number % len(SECTIONS)]}/{number // 100}/an-ordinary-page-title-{number}/"


def rows(count: int, *, attributes: bool = False, shuffle_years: int = 0, seed: int = 20250101) -> Iterator[Row]:
    """`count` page views over a year, in time order, or shuffled over some years."""
    rng = random.Random(seed)
    paths = [path_of(number) for number in range(PATHS)]
    rng.shuffle(paths)
    zipf = list(accumulate(1 / rank for rank in range(1, PATHS + 1)))
    visitors: dict[int, Visitor] = {}
    drawn = Attributes(seed) if attributes else None
    views = view_times(count, years=shuffle_years or 1, shuffle=bool(shuffle_years), rng=rng)
    for at, number in views:
        visitor = visitors.get(number)
        if visitor is None:
            visitor = visitors[number] = Visitor(hashlib.md5(f"{seed}:{number}".encode()).hexdigest(), drawn)
        path = paths[bisect_left(zipf, rng.random() * zipf[-1])]
        yield path, visitor.key, START + at * MICROSECOND, visitor.next_attributes()


class Visitor:
    """Whose first page view is an arrival, and so are some of the later ones."""

    __slots__ = ("_drawn", "_hers", "_is_known", "key")

    def __init__(self, key: str, drawn: Attributes | None, *, is_known: bool = False) -> None:
        self.key = key
        self._drawn = drawn
        self._hers = json.dumps(drawn.of_visitor(key)) if drawn else ""
        self._is_known = is_known

    def next_attributes(self) -> str | None:
        """Of her next page view, as JSON: put together out of two texts, since a million are wanted."""
        if self._drawn is None:
            return None
        is_arrival = not self._is_known or self._drawn.is_arrival(LATER_ARRIVALS)
        self._is_known = True
        return f"{self._hers[:-1]}, {json.dumps(self._drawn.of_arrival())[1:]}" if is_arrival else self._hers


def make_database() -> None:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        return
    with connection._nodb_cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
            return
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if cursor.fetchone() is None:
            cursor.execute(f'CREATE DATABASE "{name}"')


def prepare(parser: argparse.ArgumentParser, what: str, is_there: Callable[[], bool], *, replace: bool) -> None:
    """Make the database and its tables, and empty them, if that is wanted; else end where something is there."""
    make_database()
    call_command("migrate", verbosity=0)
    if replace:
        call_command("flush", verbosity=0, interactive=False)
    elif is_there():
        parser.error(f"this database has {what}; --replace empties it")


def store(page_views: Iterator[Row], table: str) -> None:
    into = f"{table} (path, session_key, viewed_at, attributes)"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in page_views:
                    copy.write_row(row)
            return
        while batch := list(islice(page_views, BATCH)):
            values = [(path, key, at.replace(tzinfo=None).isoformat(" "), more) for path, key, at, more in batch]
            cursor.executemany(f"INSERT INTO {into} VALUES (%s, %s, %s, %s)", values)


def analyze(tables: list[str]) -> None:
    """Let the planner see the rows as autovacuum would after a while."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("ANALYZE")
            return
        for table in tables:
            cursor.execute(f"{'VACUUM ANALYZE' if connection.vendor == 'postgresql' else 'ANALYZE TABLE'} {table}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page_views", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--attributes", action="store_true", help="of six names")
    parser.add_argument("--shuffle-years", type=int, default=0, help="times in no order, over so many years")
    parser.add_argument("--replace", action="store_true", help="empty the whole database first")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    from django_pagestats.models import PageView

    prepare(parser, "page views", PageView.objects.exists, replace=options.replace)
    started = time.perf_counter()
    with transaction.atomic():
        made = rows(options.page_views, attributes=options.attributes, shuffle_years=options.shuffle_years)
        store(made, PageView._meta.db_table)
    analyze([PageView._meta.db_table])
    print(f"{options.page_views:,} page views in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
