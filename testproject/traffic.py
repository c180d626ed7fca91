"""Page views of a realistic shape: a few pages and visitors make most of them, and nights are quiet."""

from __future__ import annotations

import random
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from hashlib import blake2b
from itertools import accumulate
from struct import Struct

SECTIONS = ("blog", "docs", "products", "news", "help", "events", "people", "über-uns")
WORDS = ("getting-started", "release", "pricing", "team", "faq", "café", "guide", "roadmap", "careers", "search")
#: the share of page views of each hour of a day, and of each day of a week
HOUR_WEIGHTS = (3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 10, 11, 12, 12, 11, 10, 9, 10, 11, 10, 8, 5)
WEEKDAY_WEIGHTS = (10, 11, 11, 11, 9, 6, 7)

CODES = """
    US IN DE GB FR BR JP CA NL IT ES PL AU ID CN RU KR MX SE CH TR UA AR CZ AT BE VN PH RO PT
    DK FI NO SG ZA GR HU IE IL NZ TH MY TW HK CO CL PK BD NG EG IR KE MA PE SK BG HR LT RS SI
    LV EE LK SA AE KZ BY VE EC TN DZ NP GH IQ GE AM AZ UZ CY LU IS MT MD MK BA AL CR PA UY PY
    BO DO GT CU JM TT HN SV NI ET TZ UG CM CI SN ZW ZM JO LB KW QA OM BH MM KH LA MN AF LY AD
"""
COUNTRIES = tuple(CODES.split())
BROWSERS = ("Chrome", "Safari", "Edge", "Firefox", "Samsung Internet", "Opera", "Brave", "DuckDuckGo", "Vivaldi")
BROWSERS += ("Yandex Browser", "UC Browser", "Instagram")
SYSTEMS = ("Windows", "Android", "iOS", "macOS", "Linux", "ChromeOS", "Fire OS", "Tizen")
DEVICES = ("mobile", "desktop", "tablet")
#: the attributes of a visitor, and their values, the most frequent first; each is drawn by itself
OF_VISITORS = {"country": COUNTRIES, "browser": BROWSERS, "system": SYSTEMS, "device": DEVICES}
#: of several channels
SOURCES = ("google.com", "(direct)", "news.example", "bing.com", "chatgpt.com", "facebook.com", "duckduckgo.com")
SOURCES += ("newsletter", "reddit.com", "linkedin.com", *(f"site-{number}.example" for number in range(11, 501)))
CAMPAIGNS = tuple(f"{WORDS[number % len(WORDS)]}-{number}" for number in range(50))
#: of all page views, and of these
ARRIVALS, WITH_CAMPAIGN = 1 / 3, 1 / 10
NUMBERS = Struct(f"<{len(OF_VISITORS)}I")


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


class Attributes:
    """Draws the attributes of page views, every value by Zipf's law."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def of_visitor(self, session_key: str) -> dict[str, str]:
        """Hers, whenever she comes: they follow from her key."""
        numbers = NUMBERS.unpack(blake2b(session_key.encode(), digest_size=NUMBERS.size).digest())
        return {
            name: values[_rank(len(values), number / 2**32)]
            for (name, values), number in zip(OF_VISITORS.items(), numbers, strict=True)
        }

    def of_arrival(self) -> dict[str, str]:
        """Where one comes from, and perhaps the campaign."""
        random = self._rng.random
        found = {"source": SOURCES[_rank(len(SOURCES), random())]}
        if random() < WITH_CAMPAIGN:
            found["campaign"] = CAMPAIGNS[_rank(len(CAMPAIGNS), random())]
        return found

    def of_page_view(self, session_key: str) -> dict[str, str]:
        """Hers, and of one in three page views those of an arrival."""
        return {**self.of_visitor(session_key), **(self.of_arrival() if self.is_arrival() else {})}

    def is_arrival(self, share: float = ARRIVALS) -> bool:
        return self._rng.random() < share


def _rank(count: int, part: float) -> int:
    """Which of `count` values an evenly drawn part of 1 stands for."""
    weights = _zipf(count)
    return bisect(weights, part * weights[-1])


@cache
def _zipf(count: int) -> list[float]:
    return list(accumulate(1 / (rank + 1) for rank in range(count)))
