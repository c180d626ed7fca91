"""The same questions asked of aggregates, of the page views themselves, of a materialised view and of others, in turn.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_rivals python -m benchmarks.rivals [--rounds 7]

On page views of `benchmarks.data`, folded. By plain SQL with an index on time, path and session key; by a view of the
page views and visitors of each page and day, which is to be refreshed as a whole, and cannot tell the visitors of
several days; and by django-sitepulse where it is installed, given the same page views as its hits and rolled up by
itself, with identifiers that last (RETURNING_VISITORS), without which it has no visitors of several days. Aggregates
are asked with nothing kept, as the first time after a fold. And what each takes on disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection

RAW_INDEX = "CREATE INDEX rivals_raw ON django_pagestats_pageview (viewed_at, path, session_key)"
VIEW = (
    "CREATE MATERIALIZED VIEW rivals_view AS SELECT viewed_at::date AS day, path, COUNT(*) AS page_views,"
    " COUNT(DISTINCT session_key) AS visitors FROM django_pagestats_pageview GROUP BY 1, 2"
)
WITHIN = "FROM django_pagestats_pageview WHERE viewed_at >= %s AND viewed_at < %s"
TOP = "GROUP BY path ORDER BY 2 DESC LIMIT 10"
#: page views as hits of django-sitepulse: a session is a visitor's day
HITS = """
INSERT INTO sitepulse_hit (ts, visitor_hash, session_id, is_new_session, path, route, view_name, method, status,
    duration_ms, referrer_host, referrer_path, utm_source, utm_medium, utm_campaign, country, region, device,
    browser_id, os_id, is_bot)
SELECT viewed_at, decode(md5(session_key), 'hex'), decode(md5(session_key || viewed_at::date), 'hex'), false,
    path, '', '', 1, 200, 10, '', '', '', '', '', '', '', 1, %s, %s, false
FROM django_pagestats_pageview
"""
HIT_BYTES = "SELECT SUM(pg_total_relation_size(relid)) FROM pg_partition_tree('sitepulse_hit') WHERE isleaf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.recording_settings")
    settings.SITEPULSE = {"RETURNING_VISITORS": True}
    django.setup()
    call_command("migrate", verbosity=0)
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
    if apps.is_installed("sitepulse"):
        began = time.perf_counter()
        roll_up(end)
        hits_mb = float(run(HIT_BYTES)[0][0]) / 1e6 / views
        rollup_mb = sum(size(name, "sitepulse_daily_") for name in ("page", "source", "visitor")) / views
        print(f"django-sitepulse: hits {hits_mb:.0f}, rollups {rollup_mb:.0f}, {time.perf_counter() - began:.0f} s\n")
    print("| question | aggregates, ms | plain SQL, ms | ratio | view, ms | sitepulse, ms |\n|---|---|---|---|---|---|")
    for days in (28, 365):
        for name, ways in ways_of(end - timedelta(days=days), end).items():
            took: dict[str, list[float]] = {by: [] for by in ways}
            for _ in range(options.rounds):
                for by, times in took.items():
                    times.append(milliseconds(ways[by]))
            ms = {by: statistics.median(times) for by, times in took.items()}
            ratio = f"{ms['plain SQL'] / ms['aggregates']:.0f}"
            others = (f"{ms[by]:.1f}" if by in ms else "cannot" for by in ("view", "sitepulse"))
            cells = [f"{ms['aggregates']:.1f}", f"{ms['plain SQL']:.1f}", ratio, *others]
            print(f"| {name}, {days} days | {' | '.join(cells)} |", flush=True)
    run("DROP MATERIALIZED VIEW rivals_view")
    run("DROP INDEX rivals_raw")


def ways_of(start: date, end: date) -> dict[str, dict[str, Callable[[], object]]]:
    """Each question by whatever can answer it: aggregates, plain SQL, the view, django-sitepulse."""
    from django_pagestats import stats

    bounds: list[object] = [start, end]
    of_view = "FROM rivals_view WHERE day >= %s AND day < %s"
    ways: dict[str, dict[str, Callable[[], object]]] = {
        "page views": {
            "aggregates": lambda: stats.count_page_views(start=start, end=end),
            "plain SQL": lambda: run(f"SELECT COUNT(*) {WITHIN}", bounds),
            "view": lambda: run(f"SELECT SUM(page_views) {of_view}", bounds),
        },
        "visitors": {
            "aggregates": lambda: stats.count_unique_visitors(start=start, end=end),
            "plain SQL": lambda: run(f"SELECT COUNT(DISTINCT session_key) {WITHIN}", bounds),
        },
        "ten pages with their visitors": {
            "aggregates": lambda: stats.top_pages(10, start=start, end=end),
            "plain SQL": lambda: run(f"SELECT path, COUNT(*), COUNT(DISTINCT session_key) {WITHIN} {TOP}", bounds),
        },
        "ten pages": {
            "aggregates": lambda: stats.top_pages(10, start=start, end=end),
            "plain SQL": lambda: run(f"SELECT path, COUNT(*) {WITHIN} {TOP}", bounds),
            "view": lambda: run(f"SELECT path, SUM(page_views) {of_view} {TOP}", bounds),
        },
    }
    if apps.is_installed("sitepulse"):
        from sitepulse.query import Report

        last = end - timedelta(days=1)  # its ranges end with their last day
        by_sitepulse: dict[str, Callable[[], Any]] = {
            "page views": lambda: sum(row["views"] for row in Report.pageviews(start, last, "date", limit=None)),
            "visitors": lambda: Report.visitors(start, last, "total")["total"],
            "ten pages": lambda: Report.pageviews(start, last, "path", limit=10),
        }
        for name, way in by_sitepulse.items():
            ways[name]["sitepulse"] = way
        assert by_sitepulse["page views"]() == stats.count_page_views(start=start, end=end)
        assert by_sitepulse["visitors"]() == stats.count_unique_visitors(start=start, end=end)
    return ways


def roll_up(end: date) -> None:
    """All page views as hits of django-sitepulse, and its rollups of each day up to the last."""
    from sitepulse.models import Browser, OperatingSystem
    from sitepulse.rollup import mark_rolled_up, rollup_range

    from django_pagestats.models import PageView

    run("TRUNCATE sitepulse_hit, sitepulse_daily_page, sitepulse_daily_source, sitepulse_daily_visitor")
    browser, _ = Browser.objects.get_or_create(name=Browser.UNKNOWN)
    system, _ = OperatingSystem.objects.get_or_create(name=OperatingSystem.UNKNOWN)
    run(HITS, [browser.pk, system.pk])
    run("VACUUM ANALYZE sitepulse_hit")
    last = end - timedelta(days=1)
    rollup_range(PageView.objects.earliest("viewed_at").viewed_at.date(), last)
    mark_rolled_up(last)
    for name in ("page", "source", "visitor"):
        run(f"VACUUM ANALYZE sitepulse_daily_{name}")


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
