"""The same questions asked of aggregates, of the page views themselves, and of a materialised view, in turn.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_rivals python -m benchmarks.rivals [--rounds 7]

On page views of `benchmarks.data`, folded. By plain SQL with an index on time, path and session key; by a view of the
page views and visitors of each page and day, which is to be refreshed as a whole, and cannot tell the visitors of
several days. Aggregates are asked with nothing kept, as the first time after a fold. And what each takes on disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import django
from django.core.management import call_command
from django.db import connection

RAW_INDEX = "CREATE INDEX rivals_raw ON django_pagestats_pageview (viewed_at, path, session_key)"
VIEW = (
    "CREATE MATERIALIZED VIEW rivals_view AS SELECT viewed_at::date AS day, path, COUNT(*) AS page_views,"
    " COUNT(DISTINCT session_key) AS visitors FROM django_pagestats_pageview GROUP BY 1, 2"
)
WITHIN = "FROM django_pagestats_pageview WHERE viewed_at >= %s AND viewed_at < %s"
TOP = "GROUP BY path ORDER BY 2 DESC LIMIT 10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    call_command("backfill_aggregates", sync=True, verbosity=0)
    from django_pagestats.models import PageView

    end = PageView.objects.latest("viewed_at").viewed_at.date() + timedelta(days=1)
    run("DROP MATERIALIZED VIEW IF EXISTS rivals_view")
    run("DROP INDEX IF EXISTS rivals_raw")
    raw, ours = size("pageview"), sum(map(size, ("aggregate", "visitor", "subject")))
    run(RAW_INDEX)
    began = time.perf_counter()
    run(VIEW)
    made = time.perf_counter() - began
    run("CREATE INDEX rivals_days ON rivals_view (day, path)")
    for table in ("django_pagestats_pageview", "django_pagestats_aggregate", "rivals_view"):
        run(f"VACUUM ANALYZE {table}")
    views = PageView.objects.count() / 1_000_000
    print(f"MB a million page views: the table {raw / views:.0f}, with the index {size('pageview') / views:.0f};")
    view_mb = size("view", "rivals_") / views
    print(f"aggregates with ids {ours / views:.0f}; the view {view_mb:.0f}, {made:.1f} s to make\n")
    print("| question | aggregates, ms | plain SQL, ms | ratio | view, ms |\n|---|---|---|---|---|")
    for days in (28, 365):
        for name, ways in ways_of(end - timedelta(days=days), end).items():
            took: list[list[float]] = [[] for _ in ways]
            for _ in range(options.rounds):
                for way, times in zip(ways, took, strict=True):
                    times.append(milliseconds(way))
            ours_ms, raw_ms, *view_ms = (statistics.median(times) for times in took)
            view = f"{view_ms[0]:.1f}" if view_ms else "cannot"
            print(
                f"| {name}, {days} days | {ours_ms:.1f} | {raw_ms:.1f} | {raw_ms / ours_ms:.0f} | {view} |", flush=True
            )
    run("DROP MATERIALIZED VIEW rivals_view")
    run("DROP INDEX rivals_raw")


def ways_of(start: object, end: object) -> dict[str, list[Callable[[], object]]]:
    """By aggregates, by plain SQL, and by the view where it can."""
    from django_pagestats import stats

    days, bounds = {"start": start, "end": end}, [start, end]
    of_view = "FROM rivals_view WHERE day >= %s AND day < %s"
    return {
        "page views": [
            lambda: stats.count_page_views(**days),  # type: ignore[arg-type]
            lambda: run(f"SELECT COUNT(*) {WITHIN}", bounds),
            lambda: run(f"SELECT SUM(page_views) {of_view}", bounds),
        ],
        "visitors": [
            lambda: stats.count_unique_visitors(**days),  # type: ignore[arg-type]
            lambda: run(f"SELECT COUNT(DISTINCT session_key) {WITHIN}", bounds),
        ],
        "ten pages with their visitors": [
            lambda: stats.top_pages(10, **days),  # type: ignore[arg-type]
            lambda: run(f"SELECT path, COUNT(*), COUNT(DISTINCT session_key) {WITHIN} {TOP}", bounds),
        ],
        "ten pages": [
            lambda: stats.top_pages(10, **days),  # type: ignore[arg-type]
            lambda: run(f"SELECT path, COUNT(*) {WITHIN} {TOP}", bounds),
            lambda: run(f"SELECT path, SUM(page_views) {of_view} {TOP}", bounds),
        ],
    }


def milliseconds(ask: Callable[[], object]) -> float:
    from django_pagestats.stats.kept_answers import kept_answers

    kept_answers.clear()
    began = time.perf_counter()
    ask()
    return 1_000 * (time.perf_counter() - began)


def size(table: str, prefix: str = "django_pagestats_") -> float:
    """MB, with indexes."""
    return float(run(f"SELECT pg_total_relation_size('{prefix}{table}')")[0][0]) / 1e6


def run(sql: str, parameters: list[object] | None = None) -> list[tuple[float, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


if __name__ == "__main__":
    main()
