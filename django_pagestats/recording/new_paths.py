"""How many paths that nobody has viewed before a process takes on a day from those who may make paths up.

The middleware sees pages that the site has answered; the beacon's endpoint is told of paths, and a URLconf that takes
any path (a wiki's, a CMS's) does not tell true ones from others. A path is known if it has a row in the aggregates, or
if this process has recorded it before: page views that are not folded yet have no index by path. So after a restart
some paths are new once more; that costs a part of the day's number, and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import date, datetime, timezone

from django.db import router

from django_pagestats.buckets import Dimension
from django_pagestats.clock import local_day
from django_pagestats.conf import conf
from django_pagestats.ids import digest_of
from django_pagestats.models import Subject
from django_pagestats.recording import suspending

#: paths that a process remembers as known, 100 bytes each; the oldest go first
MOST_PATHS = 50_000


class KnownPaths:
    """The paths that this process has seen to be known, and how many new ones it took on the day of now."""

    def __init__(self, most: int = MOST_PATHS) -> None:
        self._most = most
        self._digests: OrderedDict[str, None] = OrderedDict()
        self._day = date.min
        self._new = 0
        self._lock = threading.Lock()

    def has(self, digest: str) -> bool:
        with self._lock:
            return digest in self._digests

    def add(self, digest: str) -> None:
        with self._lock:
            self._digests[digest] = None
            if len(self._digests) > self._most:
                self._digests.popitem(last=False)

    def take_new(self, day: date) -> bool:
        """Whether one more new path may come in on a day."""
        with self._lock:
            if day != self._day:
                self._day, self._new = day, 0
            if self._new >= conf.NEW_PATHS_PER_DAY:
                return False
            self._new += 1
        return True

    def clear(self) -> None:
        with self._lock:
            self._digests.clear()
            self._new = 0


_own = KnownPaths()


def forget() -> None:
    """No path is known to this process; for tests."""
    _own.clear()


def is_one_too_many(path: str, *, using: str | None = None, now: datetime | None = None) -> bool:
    """Whether a path is new, and PAGESTATS_NEW_PATHS_PER_DAY have come in today already; one look-up by an index.

    `path` is the page as it is counted. Raises the database's errors.
    """
    digest = digest_of(path)
    if _own.has(digest):
        return False
    alias = using or router.db_for_write(Subject)
    with suspending.watched(alias):
        is_known = Subject.objects.using(alias).filter(dimension=Dimension.PAGE, digest=digest).exists()
    if not is_known and not _own.take_new(local_day(now or datetime.now(timezone.utc))):
        return True
    _own.add(digest)
    return False
