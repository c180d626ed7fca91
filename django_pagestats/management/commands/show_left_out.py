"""Show what was left out, by day and reason; docs/recording.md#what-is-left-out."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import recording
from django_pagestats.clock import local_day
from django_pagestats.conf import conf
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.models import LeftOut
from django_pagestats.models.left_out import OF_ATTRIBUTES

MOST_DAYS = 100_000


class Command(DatabaseCommand):
    help = "Show how many page views were left out, by local day and reason."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--days", type=int, default=30, metavar="N", help="The last N local days, today included; default 30."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def check_options(self, options: dict[str, Any]) -> None:
        if not 1 <= options["days"] <= MOST_DAYS:
            raise CommandError(f"--days {options['days']}: 1 to {MOST_DAYS:,}.")

    def work(self, *, database: str, **options: Any) -> None:
        recording.flush()
        last = local_day(datetime.now(timezone.utc))
        first = last - timedelta(days=options["days"] - 1)
        rows = LeftOut.objects.using(database).filter(day__gte=first).order_by("-day", "-count", "reason")
        found = list(rows.values_list("day", "reason", "count"))
        totals: Counter[str] = Counter()
        for _, reason, count in found:
            totals[reason] += count
        page_views = sum(count for reason, count in totals.items() if reason not in OF_ATTRIBUTES)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(database, first, last, found, totals, page_views)))
        elif not found:
            self.stdout.write(f"Nothing was left out from {first} to {last}.")
        else:
            for line in _table(found, totals, page_views):
                self.stdout.write(line)


def _table(found: list[tuple[date, str, int]], totals: Counter[str], page_views: int) -> Iterator[str]:
    lines = [(str(day), reason, f"{count:,}") for day, reason, count in found]
    sums = [("in all", reason, f"{count:,}") for reason, count in totals.most_common()]
    heads, end = ("day", "reason", "count"), ("in all", "page views", f"{page_views:,}")
    first, second, third = (max(map(len, cells)) for cells in zip(heads, *lines, *sums, end, strict=True))
    for cells in (heads, *lines, ("", "", ""), *sums, end):
        yield f"{cells[0]:<{first}}  {cells[1]:<{second}}  {cells[2]:>{third}}".rstrip()


def _as_json(
    database: str, first: date, last: date, found: list[tuple[date, str, int]], totals: Counter[str], page_views: int
) -> dict[str, Any]:
    return {
        "database": database,
        "time_zone": conf.TIME_ZONE,
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "left_out": [{"day": day.isoformat(), "reason": reason, "count": count} for day, reason, count in found],
        "totals": dict(totals.most_common()),
        "page_views": page_views,
    }
