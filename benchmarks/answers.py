"""How long answers take, with an empty tail and analyzed aggregates: the median of 50 of each, as a Markdown table.

PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.answers
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

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


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    call_command("backfill_aggregates", sync=True, verbosity=0)
    from django_pagestats import stats
    from django_pagestats.models import Aggregate, PageView

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
    for name, ask in questions.items():
        took = milliseconds(ask)
        print(f"| {name} | {statistics.median(took):.2f} | {max(took):.2f} |")


if __name__ == "__main__":
    main()
