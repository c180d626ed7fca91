"""What a worker waits for between two chunks: the horizon, the site's throttles, and the rest that others are left."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django_pagestats import folding, horizon, throttles
from django_pagestats.backfill.chain import RESTS
from django_pagestats.backfill.claims import Held
from django_pagestats.conf import conf
from django_pagestats.merging import database_for

#: how long a waiting run is left alone before the next look
WAIT_SECONDS = 10
#: between two questions to the throttles
THROTTLE_SECONDS = 1.0
#: a rest in a worker that is held meanwhile; and from so many times a chunk on, one that gives the worker back, about
#: as long as django-q2 takes to look at its schedules
SHORT_REST_SECONDS = 1.0
LONG_RESTS_FROM = 20
LONG_REST_SECONDS = 30.0
#: so many times as long as a link works a worker may rest: a link has three times as long before django-q2 ends it
MOST_LINKS_OF_REST = 2
#: a chunk that a browser waits for: a request has time for some of them
PAGE_CHUNK_SECONDS = 0.25
#: between two looks at the run during a rest
LOOK_SECONDS = 1.0


class Waiting:
    """Waits here, or gives the worker back until later, and keeps what the throttles said last."""

    def __init__(self, claim: Held) -> None:
        self.claim = claim
        self._throttled: throttles.Wait | None = None
        self._asks_again_at = time.monotonic()

    def for_horizon(self) -> bool:
        """Wait until every page view up to the target is visible; False if it is so."""
        settling = self.claim.run.settling
        if settling is None:
            return False
        if blockers := folding.poll(self.claim.using, horizon.Settling.from_json(settling)):
            self._for_blocker(blockers[0])
            return True
        self.claim.update(settling=None, wait_reason="")
        return False

    def for_rows(self) -> None:
        """Wait for whoever has page views of the next chunk locked."""
        self._for_blocker(horizon.rows_locked(self.claim.clock.now()))

    def _for_blocker(self, blocker: horizon.Blocker) -> None:
        reason = f"waits for {blocker}"
        said = self.claim.run.wait_reason
        if blocker.pid is None and said.startswith(f"waits for {blocker.kind}"):
            reason = said  # the same wait goes on: since when does not change
        self._wait(reason)

    def for_throttles(self) -> bool:
        """Wait while the site wants it; False if it does not. It is asked at the beginning, and once a second."""
        if conf.THROTTLE and time.monotonic() >= self._asks_again_at:
            self._throttled = throttles.reason_to_wait(self.claim.using)
            self._asks_again_at = time.monotonic() + THROTTLE_SECONDS
        if self._throttled is None:
            return False
        self._wait(f"throttled: {self._throttled.reason}", self._throttled.until)
        if not self.claim.is_handed_over:
            folding.rest(THROTTLE_SECONDS, self.claim.using)
        return True

    def _wait(self, reason: str, until: datetime | None = None, *, seconds: float = WAIT_SECONDS) -> None:
        if self.claim.deadline is None:  # in this process there is nobody else: look again
            self.claim.stay(wait_reason=reason)
            return
        now = self.claim.clock.now()
        self.claim.give_back(reason, max(until or now, now + timedelta(seconds=seconds)))

    # -- resting

    def nice(self) -> float:
        """How long to rest after a chunk, in times of what it took."""
        if self.claim.run.nice is not None:
            return self.claim.run.nice
        return folding.niceness(self.claim.using, is_cluster=self.claim.deadline is not None)

    def chunk_seconds(self) -> float:
        """How long a chunk should last: not so long that the rest after it is more than a worker may be held."""
        usual = database_for(self.claim.using).CHUNK_SECONDS
        if self.claim.is_of_page:
            usual = min(usual, PAGE_CHUNK_SECONDS)
        nice = self.nice()
        if nice <= 0:
            return usual
        return min(usual, (SHORT_REST_SECONDS if nice <= LONG_RESTS_FROM else LONG_REST_SECONDS) / nice)

    def _most_rest(self) -> float:
        """How long a worker is held for a rest at the most."""
        return SHORT_REST_SECONDS if self.claim.is_of_page else MOST_LINKS_OF_REST * conf.LINK_SECONDS

    def after_chunk(self, took: float, *, is_called_off: Callable[[], bool]) -> None:
        """Leave the database to others after a chunk that took so long."""
        nice = self.nice()
        seconds = nice * took
        if self.claim.is_wished():
            return
        if self.claim.deadline is not None and seconds > self._most_rest():
            self._wait(f"{RESTS} {nice:g} times as long as its chunk took", seconds=seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            folding.rest(min(left, LOOK_SECONDS), self.claim.using)
            if left <= LOOK_SECONDS:
                return
            self.claim.stay()
            self.claim.look()
            if self.claim.is_wished() or self.nice() == 0 or is_called_off():
                return
