"""Page views of a realistic shape: a few pages and visitors make most of them, and nights are quiet."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate

SECTIONS = ("blog", "docs", "products", "news", "help", "events", "people", "über-uns")
WORDS = ("getting-started", "release", "pricing", "team", "faq", "café", "guide", "roadmap", "careers", "search")
#: the share of page views of each hour of a day, and of each day of a week
HOUR_WEIGHTS = (3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 10, 11, 12, 12, 11, 10, 9, 10, 11, 10, 8, 5)
WEEKDAY_WEIGHTS = (10, 11, 11, 11, 9, 6, 7)


def path_name(number: int) -> str:
    """The path of a page by its rank; the home page is the first."""
    if number == 0:
        return "/"
    return f"/{SECTIONS[number % len(SECTIONS)]}/{WORDS[number // 7 % len(WORDS)]}-{number}/"


def session_key(number: int) -> str:
    return f"{number * 2_654_435_761 % 2**32:08x}{number:08x}"


def page_views(
    count: int, *, seed: int, paths: int, visitors: int, days: int, start: datetime
) -> Iterator[tuple[str, str, datetime]]:
    """Yield `count` of (path, session key, viewed_at), in the order of time, from `days` days after `start`.

    Paths follow Zipf's law. A third of the page views belong to visitors that are drawn afresh, the others go on with
    a recent visit or come back after a long while.
    """
    rng = random.Random(seed)
    path_names = [path_name(number) for number in range(paths)]
    zipf = list(accumulate(1 / (rank + 1) for rank in range(paths)))
    recent = [int(visitors * rng.random()) for _ in range(min(visitors, 500))]
    for instants in _days(rng, count, days=days, start=start):
        chosen = rng.choices(path_names, cum_weights=zipf, k=len(instants))
        for path, viewed_at in zip(chosen, instants, strict=True):
            place = int(len(recent) * rng.random())
            if rng.random() < 1 / 3:
                # the square prefers low numbers: some come back all year, most only once or twice
                recent[place] = int(visitors * rng.random() ** 2)
            yield path, session_key(recent[place]), viewed_at


def _days(rng: random.Random, count: int, *, days: int, start: datetime) -> Iterator[list[datetime]]:
    """The sorted instants of each day, with the rhythm of days and weeks, of a site that grows."""
    by_day = [WEEKDAY_WEIGHTS[(start + timedelta(days=day)).weekday()] * (1 + day / days) for day in range(days)]
    views = Counter(rng.choices(range(days), by_day, k=count))
    for day in range(days):
        hours = rng.choices(range(24), HOUR_WEIGHTS, k=views[day])
        seconds = sorted(3_600 * (hour + rng.random()) for hour in hours)
        yield [start + timedelta(days=day, seconds=second) for second in seconds]
