"""How long the dashboard and its questions take: first after a fold, and once more with page views in the tail.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_speed python -m benchmarks.dashboard [--rounds 20] [--tail 1000]

On aggregates of `benchmarks.history`, of the day after the last one. First nothing is kept; then the page views of the
tail are there, and each question was asked once. In milliseconds: the median of the clock, the slowest, and the mean of
what the processors did, here and in the server's session (PostgreSQL on this machine, without parallel workers), which
is what to read on a machine that has other things to do; and beside them a yardstick, a fixed task of both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.db import connection

from benchmarks.history import History

TICKS = os.sysconf("SC_CLK_TCK")


class Took(NamedTuple):
    """Milliseconds."""

    clock: float
    processors: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tail", type=int, default=1_000, help="page views that are not folded, when asked once more")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    from django_pagestats.models import Generation, PageView
    from django_pagestats.stats.kept_answers import kept_answers

    generation = Generation.objects.get(is_active=True)
    PageView.objects.filter(pk__gt=generation.cursor).delete()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET max_parallel_workers_per_gather = 0")
    today = PageView.objects.latest("pk").viewed_at.date() + timedelta(days=1)
    questions = questions_of(today)
    print("| the first time | median ms | slowest ms | processors ms |\n|---|---|---|---|")
    for name, ask in questions.items():
        show(name, [measured(ask, before=kept_answers.clear) for _ in range(options.rounds)])
    record(options.tail, today)
    print(f"\n| once more, {options.tail:,} page views in the tail | median ms | slowest ms | processors ms |")
    print("|---|---|---|---|")
    for name, ask in questions.items():
        ask()
        show(name, [measured(ask) for _ in range(options.rounds)])
    show("yardstick", [measured(yardstick) for _ in range(options.rounds)])
    PageView.objects.filter(pk__gt=generation.cursor).delete()


def questions_of(today: date) -> dict[str, Callable[[], object]]:
    from django_pagestats import stats

    def visitors(days: int) -> Callable[[], object]:
        return lambda: stats.count_unique_visitors(start=today - timedelta(days=days), end=today)

    most_viewed = stats.top_pages(1)[0].path

    return {
        "totals of all time (`summary()`)": stats.summary,
        "dashboard, above the fold, 28 days": lambda: dashboard("28d", today),
        "dashboard, above the fold, 12 months": lambda: dashboard("12m", today),
        "dashboard, above the fold, all time": lambda: dashboard("all", today),
        "dashboard, with all panels, 28 days": lambda: dashboard("28d", today, with_panels=True),
        "dashboard, with all panels, 12 months": lambda: dashboard("12m", today, with_panels=True),
        "dashboard of the page with the most page views, 28 days": lambda: dashboard_of_page(most_viewed, "28d", today),
        "visitors of 28 days": visitors(28),
        "visitors of 365 days": visitors(365),
        "visitors of 730 days": visitors(730),
        "top 50 pages of 28 days": lambda: stats.top_pages(50, start=today - timedelta(days=28), end=today),
        "top 50 pages of 730 days": lambda: stats.top_pages(50, start=today - timedelta(days=730), end=today),
        "pages of 28 days": lambda: stats.count_paths(start=today - timedelta(days=28), end=today),
        "pages of 365 days": lambda: stats.count_paths(start=today - timedelta(days=365), end=today),
    }


def dashboard(of_range: str, today: date, *, with_panels: bool = False) -> None:
    """What is read and worked out for the page, without its template."""
    from django_pagestats.dashboard import page
    from django_pagestats.dashboard.scope import scope_of

    with scope_of({"range": of_range}, using="default", now=noon(today), is_public=False) as scope:
        page.read_ahead(scope)
        totals = page.totals_of(scope)
        page.active_now(scope, [])
        page.chart_of(scope, page.points_of(scope), page.notes_of(scope))
        page.table_of(scope, page.KIND_OF_PAGES, totals)
        if with_panels:
            page.panels_of(scope, totals)
        page.trust_of(scope, totals)


def dashboard_of_page(path: str, of_range: str, today: date) -> None:
    """All that is read and worked out for it, without its template."""
    from django_pagestats.dashboard.page import page_of

    page_of({"range": of_range, "path": path}, using="default", now=noon(today))


def noon(day: date) -> datetime:
    """A time at which a day is not over."""
    return datetime.combine(day, datetime.min.time(), timezone.utc) + timedelta(hours=12, minutes=30)


def record(count: int, today: date) -> None:
    """So many page views of the morning, of known and new visitors and pages."""
    from django_pagestats.models import PageView

    history = History()
    midnight = datetime.combine(today, datetime.min.time(), timezone.utc)
    PageView.objects.bulk_create(
        PageView(
            path=history.path_names[n * n % 997] if n % 50 else f"/new/{n}",
            session_key=history.key_of(n * 1_009 + 1) if n % 3 else f"new{n}",
            viewed_at=midnight + timedelta(seconds=40 * n),
            attributes={"country": "DE", **({"source": "news.example"} if n % 3 == 0 else {})},
        )
        for n in range(count)
    )


def yardstick() -> None:
    sum(n * n for n in range(100_000))
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT SUM(n) FROM s"
        )


def measured(ask: Callable[[], object], before: Callable[[], Any] | None = None) -> Took:
    if before is not None:
        before()
    server, own, clock = server_seconds(), time.process_time(), time.perf_counter()
    ask()
    clock, own = time.perf_counter() - clock, time.process_time() - own
    return Took(1_000 * clock, 1_000 * (own + server_seconds() - server))


def server_seconds() -> float:
    """What the server's session has taken of the processors; 0 where that is not to be seen."""
    if connection.vendor != "postgresql":
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        stat = Path(f"/proc/{cursor.fetchone()[0]}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def show(name: str, took: list[Took]) -> None:
    clock = [it.clock for it in took]
    processors = statistics.mean(it.processors for it in took)
    print(f"| {name} | {statistics.median(clock):.1f} | {max(clock):.0f} | {processors:.1f} |", flush=True)


if __name__ == "__main__":
    main()
