"""The whole way on a fresh SQLite file: page views, a real cluster, a backfill to watch, the numbers.

`make demo` runs it with PAGESTATS_DB_NAME set to a new file.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.urls import reverse

from django_pagestats import stats
from testproject.cluster import Cluster

T = TypeVar("T")
LOOK = """
To look at it, start the site:

    PAGESTATS_DB_NAME={database} {python} manage.py runserver --insecure

and open the dashboard (user demo, password demo): http://127.0.0.1:8000{dashboard}
"""


class Command(BaseCommand):
    help = "Show it all: page views, a real qcluster, backfill_aggregates --wait, the numbers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--page-views", type=int, default=200_000)

    def handle(self, *args: Any, page_views: int, **options: Any) -> None:
        # without it a terminal that is closed would leave the cluster behind
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        logging.getLogger("django-q").setLevel(logging.WARNING)
        database = Path(str(connection.settings_dict["NAME"]))
        self.title(f"A new site in {database}")
        call_command("migrate", verbosity=0, stdout=self.stdout)
        call_command("demo_data", page_views=page_views, stdout=self.stdout, stderr=self.stderr)
        self.title("manage.py qcluster, and manage.py backfill_aggregates --wait")
        connection.close()
        with Cluster(log=database.with_name("qcluster.log")) as cluster:
            call_command("backfill_aggregates", wait=True, stdout=self.stdout, stderr=self.stderr)
        self.stdout.write(f"The cluster has ended with status {cluster.exit_status} after SIGTERM to its main process.")
        self.title("The numbers")
        self.show_totals()
        self.show_top_pages()
        self.show_uniques()
        self.title("manage.py verify_aggregates")
        call_command("verify_aggregates", stdout=self.stdout, stderr=self.stderr)
        dashboard = reverse("admin:django_pagestats_dashboard")
        self.stdout.write(LOOK.format(database=database, python=sys.executable, dashboard=dashboard))

    def title(self, text: str) -> None:
        self.stdout.write("")
        self.stdout.write(self.style.MIGRATE_HEADING(text))

    def timed(self, what: str, answer: Callable[[], T]) -> T:
        begun = time.perf_counter()
        found = answer()
        self.stdout.write(f"{what} ({1_000 * (time.perf_counter() - begun):.1f} ms)")
        return found

    def show_totals(self) -> None:
        summary = self.timed("stats.summary()", stats.summary)
        self.stdout.write(f"  page views       {summary.page_views:>10,}")
        self.stdout.write(f"  unique visitors  {summary.visitors:>10,}")
        self.stdout.write(f"  paths            {summary.paths:>10,}")
        self.stdout.write(f"  not folded yet   {summary.pending:>10,}")

    def show_top_pages(self) -> None:
        pages = self.timed("stats.top_pages(limit=10)", lambda: stats.top_pages(limit=10))
        self.stdout.write(f"  {'page views':>10} {'visitors':>10}  path")
        for page in pages:
            self.stdout.write(f"  {page.page_views:>10,} {page.visitors:>10,}  {page.path}")

    def show_uniques(self) -> None:
        today = date.today()  # noqa: DTZ011 - the demo's TIME_ZONE is UTC, a day more or less does not matter
        for days in (7, 30, 365):
            start = today - timedelta(days=days)
            visitors = self.timed(
                f"stats.count_unique_visitors(start={start}, end={today})",
                lambda start=start: stats.count_unique_visitors(start=start, end=today),
            )
            self.stdout.write(f"  {visitors:>10,} unique visitors of the last {days} days")
