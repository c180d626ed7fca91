"""How long answers take, with an empty tail and analyzed aggregates: the median of 50 of each, as a Markdown table.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.answers [--gap 900]

Those about named dimensions are asked where the aggregates have them: of page views of `benchmarks.data --attributes`.
With a gap: so many of the newest page views come once more, and rows of days count them, rows of all time not yet.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from functools import partial

import django
from django.core.management import call_command

from benchmarks.data import analyze

TIMES = 50


def milliseconds(ask: Callable[[], object]) -> list[float]:
    ask()  # the first one connects, compiles and plans
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        ask()
        took.append((time.perf_counter() - started) * 1000)
    return took


def make_gap(count: int) -> int:
    """How many page views the rows of all time do not count afterwards."""
    from django_pagestats import folding
    from django_pagestats.models import Generation, PageView

    newest = PageView.objects.order_by("-pk").values_list("path", "session_key", "viewed_at")[:count]
    PageView.objects.bulk_create([PageView(path=path, session_key=key, viewed_at=at) for path, key, at in newest])
    folding.keep_up("default", seconds=60)
    active = Generation.objects.get(is_active=True)
    return int(active.cursor - active.all_cursor)


def record_recent(count: int, seconds: int = 300) -> None:
    """So many page views of the last minutes, whatever the times of the others; they are the tail."""
    from django_pagestats.models import PageView

    now = datetime.now(timezone.utc)
    times = [now - timedelta(seconds=n * seconds / count) for n in range(count)]
    views = [PageView(path=f"/{n % 20}", session_key=f"now{n % 60}", viewed_at=at) for n, at in enumerate(times)]
    PageView.objects.bulk_create(views)


def many_questions(days: dict[str, date]) -> dict[str, Callable[[], object]]:
    """Of many paths at once, the most viewed ones."""
    from django_pagestats import stats

    top = [page.path for page in stats.top_pages(500)]
    return {
        "count_page_views_of(50 paths)": lambda: stats.count_page_views_of(top[:50]),
        "count_page_views_of(500 paths)": lambda: stats.count_page_views_of(top),
        "count_page_views_of(50 paths), 30 days": lambda: stats.count_page_views_of(top[:50], **days),
        "count_page_views_of(500 paths), 365 days": lambda: stats.count_page_views_of(
            top, start=days["end"] - timedelta(days=365), end=days["end"]
        ),
    }


def dimension_questions(end: date) -> dict[str, Callable[[], object]]:
    """About the named dimensions of the default setting, and about visitors as sets."""
    from django_pagestats import stats

    if "country" not in {dimension.name for dimension in stats.dimensions()}:
        return {}
    weeks = {"start": end - timedelta(days=28), "end": end}
    year = {"start": end - timedelta(days=365), "end": end}
    first, second = (page.path for page in stats.top_pages(2))
    country = {"country": stats.top("country", 1)[0].value}
    return {
        **{f'top("{name}"), 28 days': partial(stats.top, name, **weeks) for name in ("source", "country", "device")},
        'top("source")': lambda: stats.top("source"),
        'count_values("source"), 28 days': lambda: stats.count_values("source", **weeks),
        "count_page_views(where=a country), 28 days": lambda: stats.count_page_views(where=country, **weeks),
        "count_unique_visitors(where=a country), 28 days": lambda: stats.count_unique_visitors(where=country, **weeks),
        'time_series("day", where=a country), 28 days': lambda: stats.time_series("day", where=country, **weeks),
        "count_visits(), 28 days": lambda: stats.count_visits(**weeks),
        "count_single_page_visitors(), 28 days": lambda: stats.count_single_page_visitors(**weeks),
        "count_single_page_visitors(), 365 days": lambda: stats.count_single_page_visitors(**year),
        "visitors(path) & visitors(another path), 365 days": lambda: len(
            stats.visitors(path=first, **year) & stats.visitors(path=second, **year)
        ),
        "visitors(path) & visitors(where=a country), 365 days": lambda: len(
            stats.visitors(path=first, **year) & stats.visitors(where=country, **year)
        ),
    }


def recent_questions() -> dict[str, Callable[[], object]]:
    """Of the last minutes."""
    from django_pagestats import stats
    from django_pagestats.silence import last_viewed_at

    return {
        "active_visitors()": stats.active_visitors,
        "active_pages()": stats.active_pages,
        "the last page view": lambda: last_viewed_at("default", datetime.now(timezone.utc)),
    }


def show(questions: dict[str, Callable[[], object]]) -> None:
    for name, ask in questions.items():
        took = milliseconds(ask)
        print(f"| {name} | {statistics.median(took):.2f} | {max(took):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gap", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    call_command("backfill_aggregates", sync=True, verbosity=0)
    from django_pagestats import stats
    from django_pagestats.models import Aggregate, PageView

    if options.gap:
        print(f"a gap of {make_gap(options.gap):,} page views")
    analyze([Aggregate._meta.db_table])

    end = PageView.objects.latest("viewed_at").viewed_at.date() + timedelta(days=1)
    month = {"start": end - timedelta(days=30), "end": end}
    busiest = stats.top_pages(1)[0].path
    questions: dict[str, Callable[[], object]] = {
        "count_page_views()": stats.count_page_views,
        "count_unique_visitors()": stats.count_unique_visitors,
        "top_pages(10)": lambda: stats.top_pages(10),
        'time_series("day"), 30 days': lambda: stats.time_series("day", **month),
        "summary()": stats.summary,
        "count_unique_visitors(), 30 days": lambda: stats.count_unique_visitors(**month),
        "count_unique_visitors(path=the busiest), 30 days": lambda: stats.count_unique_visitors(path=busiest, **month),
        'time_series("day", path=the busiest), 30 days': lambda: stats.time_series("day", path=busiest, **month),
        "top_pages(10), 30 days": lambda: stats.top_pages(10, **month),
    }
    print(f"{PageView.objects.count():,} page views\n\n| answer | median ms | slowest ms |\n|---|---|---|")
    show({**questions, **many_questions(month), **dimension_questions(end)})
    record_recent(100)
    show(recent_questions())


if __name__ == "__main__":
    main()
