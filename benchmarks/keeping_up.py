"""What keeping up writes: bytes of the write-ahead log, minute by minute, on a site that has many page views already.

    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench_10m python -m benchmarks.keeping_up [--minutes 60]
        [--page-views 1000]

Each minute that is played brings so many page views, five in six of visitors that were there before, and one tick of
keeping up. PostgreSQL makes a checkpoint every five minutes by default, after which each page is written whole once;
here one comes every five ticks. MariaDB: the redo log, and the binary log where the server has one.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import timedelta
from itertools import accumulate

import django
from django.db import connection

from benchmarks.data import PATHS, Row, Visitor, path_of, store
from testproject.traffic import Attributes

CHECKPOINT_MINUTES = 5
NEW_VISITORS = 1 / 6
DAY_MINUTES = 1_440


def written() -> int:
    """Bytes of the log since some beginning."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
            return int(cursor.fetchone()[0])
        cursor.execute("SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_os_log_written', 'Binlog_bytes_written')")
        return sum(int(value) for _, value in cursor.fetchall())


class Visits:
    """Page views of the minutes after the last page view there is, with attributes if that has some."""

    def __init__(self) -> None:
        from django_pagestats import models

        self.rng = random.Random(1)
        latest = models.PageView.objects.latest("viewed_at")
        self.at = latest.viewed_at
        self.drawn = Attributes(1) if latest.attributes else None
        self.highest = models.Visitor.objects.latest("pk").pk
        self.visitors = models.Visitor.objects
        self.zipf = list(accumulate(1 / rank for rank in range(1, PATHS + 1)))
        self.paths = [path_of(number) for number in range(PATHS)]
        self.rng.shuffle(self.paths)

    def of_a_minute(self, count: int) -> Iterator[Row]:
        known = [self.rng.randint(1, self.highest) for _ in range(count)]
        keys = list(self.visitors.filter(pk__in=known).values_list("session_key", flat=True))
        for _ in range(count):
            is_new = self.rng.random() < NEW_VISITORS
            key = f"{self.rng.getrandbits(128):032x}" if is_new else self.rng.choice(keys)
            path = self.paths[bisect_left(self.zipf, self.rng.random() * self.zipf[-1])]
            self.at += timedelta(minutes=1) / count
            attributes = Visitor(key, self.drawn, is_known=not is_new).next_attributes()
            yield path, key, self.at, attributes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--page-views", type=int, default=1_000, help="of each minute")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    from django_pagestats import folding
    from django_pagestats.models import Generation, PageView

    visits = Visits()
    recorded, folded, seconds, closings = 0, [], [], 0
    for minute in range(options.minutes):
        if connection.vendor == "postgresql" and minute % CHECKPOINT_MINUTES == 0:
            with connection.cursor() as cursor:
                cursor.execute("CHECKPOINT")
        before = written()
        store(iter(list(visits.of_a_minute(options.page_views))), PageView._meta.db_table)
        recorded += written() - before
        all_cursor = Generation.objects.get(is_active=True).all_cursor
        before, began = written(), time.perf_counter()
        kept_up = folding.keep_up("default", seconds=60)
        assert kept_up.page_views == options.page_views, kept_up
        seconds.append(time.perf_counter() - began)
        folded.append(written() - before)
        closings += Generation.objects.get(is_active=True).all_cursor != all_cursor
    day = DAY_MINUTES / options.minutes / 1e9
    print(f"{connection.vendor}, {options.minutes} minutes of {options.page_views:,} page views, {closings} closings\n")
    print("| written | GB a day | most in a tick, MB |\n|---|---|---|")
    print(f"| by keeping up | {sum(folded) * day:.2f} | {max(folded) / 1e6:.1f} |")
    print(f"| by recording the page views | {recorded * day:.2f} | |")
    print(f"\na tick took {statistics.median(seconds):.2f} s, the longest {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
