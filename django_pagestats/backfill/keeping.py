"""What a link leaves for the next one, if that comes to the same process: its folder."""

from __future__ import annotations

import math
import time
from datetime import datetime

from django_pagestats import folding
from django_pagestats.conf import conf
from django_pagestats.models import BackfillRun, BuildSegment

#: Alias, run (with its birth: a rolled back or flushed database gives its number again), segment of it (0: none) and
#: the epoch handed over.
Handover = tuple[str, int, datetime, int, int]
#: The folder of the last link in this process that handed over, and when, for the next one if it comes here too: with
#: the ids it has found, and with what it reads ahead meanwhile. Its ids were committed before that epoch was, or within
#: seconds after; once a lease is over it is used no more, so that no database can have been restored in between.
_KEPT: dict[Handover, tuple[folding.Folder, float]] = {}


def keep(run: BackfillRun, folder: folding.Folder, *, segment: BuildSegment | None = None) -> None:
    """Leave a folder for the link that gets the run, or its segment, next."""
    folder.keep()
    _KEPT[_handover(folder.using, run, segment, 0)] = folder, time.monotonic()


def take_kept(
    using: str, run: BackfillRun, *, segment: BuildSegment | None = None, place: folding.Place | None = None
) -> folding.Folder | None:
    """The folder that the link before has left here for what was claimed, to be used once more."""
    release_kept(older_than=conf.LEASE_SECONDS)
    kept = _KEPT.pop(_handover(using, run, segment, 1), None)
    release_kept()  # of another run
    if kept is None:
        return None
    folder, _ = kept
    folder.go_on(run.generation, place)
    return folder


def release_kept(*, older_than: float = -math.inf) -> None:
    """Give back the memory of what was kept for a next link more than so many seconds ago: that went elsewhere."""
    for handover, (folder, kept_at) in list(_KEPT.items()):
        if time.monotonic() - kept_at >= older_than:
            folder.release()
            _KEPT.pop(handover, None)


def _handover(using: str, run: BackfillRun, segment: BuildSegment | None, links_ago: int) -> Handover:
    epoch = (run.epoch if segment is None else segment.epoch) - links_ago
    return using, run.pk, run.created_at, 0 if segment is None else segment.pk, epoch
