"""How many never-seen values of an attribute are recorded a day: a flood of made-up ones must not fill the database.

Each process remembers, for each attribute, the values that it has recorded, over the days; one that it has not is new,
and of new ones at most PAGESTATS_NEW_VALUES_PER_DAY are let in on a local day. So a process that starts anew lets in
all that a site usually has, as new ones. When the number is used up it learns, away from the request, the values of
page views from before this day: those that a flood used up the day's number before they came are let in from then on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timezone
from zoneinfo import ZoneInfo

from django.db import router

from django_pagestats.clock import local_day
from django_pagestats.conf import conf
from django_pagestats.models import PageView
from django_pagestats.recording import background

logger = logging.getLogger(__name__)

#: Values of one attribute that are remembered for certain (or twice the setting, if that is more); up to twice as many
#: are. One that is forgotten is new again.
REMEMBERED = 5_000
MOST_REMEMBERED = 50_000
#: Page views of before today, the newest, whose values are learnt.
LEARNT_FROM = 5_000
#: How often it is looked whether there is something to learn.
LEARN_SECONDS = 10.0


class _Seen:
    """The values of one attribute: two sets of their hashes, of which the older one goes when the newer one is full.

    What is met in the older one moves to the newer, so that a flood of values that come once drives out its own kind.
    """

    def __init__(self) -> None:
        self.newer: set[int] = set()
        self._older: set[int] = set()
        self.day: date | None = None
        self.new_today = 0

    def has(self, key: int) -> bool:
        if key in self.newer:
            return True
        if key not in self._older:
            return False
        self.add(key)
        return True

    def add(self, key: int) -> None:
        if len(self.newer) >= min(max(REMEMBERED, 2 * conf.NEW_VALUES_PER_DAY), MOST_REMEMBERED):
            self._older, self.newer = self.newer, set()
        self.newer.add(key)


_seen: dict[str, _Seen] = {}
_lock = threading.Lock()
#: the day of which the values of before were learnt, and whether somebody has asked for it
_learnt_on: date | None = None
_is_asked = False


def is_let_in(name: str, value: str) -> bool:
    """Whether a value of an attribute may be recorded: it was seen before, or is one of the new ones of this day."""
    seen = _seen.get(name)
    key = hash(value)  # its text is not kept: 64 bits, salted in each process
    if seen is not None and key in seen.newer:
        return True
    with _lock:
        seen = _seen.setdefault(name, _Seen())
        if seen.has(key):
            return True
        return _let_in(name, seen, key)


def _let_in(name: str, seen: _Seen, key: int) -> bool:
    global _is_asked
    today = _today()
    if seen.day != today:
        seen.day, seen.new_today = today, 0
    if seen.new_today < conf.NEW_VALUES_PER_DAY:
        seen.new_today += 1
        seen.add(key)
        return True
    if seen.new_today == conf.NEW_VALUES_PER_DAY:
        seen.new_today += 1  # said once a day
        logger.warning(
            "The attribute %s had %s new values today (PAGESTATS_NEW_VALUES_PER_DAY): further ones are left out",
            name,
            conf.NEW_VALUES_PER_DAY,
        )
    _is_asked = _is_asked or _learnt_on != today
    return False


def learn() -> None:
    """Take the values of the newest page views of before this day as seen, if somebody has asked for it.

    Once a day, also where the database fails: it is not asked every ten seconds for what can be done without.
    """
    global _learnt_on, _is_asked
    if not _is_asked:
        return
    today = _learnt_on = _today()
    _is_asked = False
    midnight = datetime.combine(today, time(), ZoneInfo(conf.TIME_ZONE)).astimezone(timezone.utc)
    rows = PageView.objects.using(router.db_for_write(PageView)).filter(viewed_at__lt=midnight)
    found = rows.order_by("-viewed_at").values_list("attributes", flat=True)[:LEARNT_FROM]
    _take_as_seen(found)


def _take_as_seen(found: Iterable[Mapping[str, str] | None]) -> None:
    for attributes in found:
        for name, value in (attributes or {}).items():
            with _lock:
                seen = _seen.setdefault(str(name), _Seen())
                if not seen.has(hash(value)):
                    seen.add(hash(value))


def forget() -> None:
    """Begin anew, as a process that has just started."""
    global _learnt_on, _is_asked
    with _lock:
        _seen.clear()
        _learnt_on, _is_asked = None, False


def _today() -> date:
    return local_day(datetime.now(timezone.utc))


background.every(lambda: LEARN_SECONDS, learn, name="learning the values of attributes", is_flushed=False)
