"""How are aggregates deleted that answer no more: in chunks, once nobody needs their generation, or their version."""

from __future__ import annotations

import math
import time

from django.db import DatabaseError

from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.folding.all_time import AllTime, no_fence
from django_pagestats.folding.resting import rest
from django_pagestats.merging import Trouble, Waits, database_for
from django_pagestats.models import BackfillRun, BuildSegment, Generation

#: how long the end of a chunk of a segment is waited for, whose rows are to be deleted
LOCK_SECONDS = 5


def sweep(using: str, *, seconds: float = math.inf, chunk_size: int = 10_000, nice: float = 0.0) -> int:
    """Delete the aggregates of generations that answer no more, in chunks; returns how many rows went.

    One that a run is still building is left alone, or may go on with, and so are the active one and those that are
    kept; of these, rows of all time go that a pass has left behind. After each chunk comes a rest of `nice` times as
    long as it took.
    """
    deadline = time.monotonic() + seconds
    database = database_for(using)
    deleted = _sweep_passes(using, deadline, nice)
    for generation in to_sweep(using):
        if time.monotonic() >= deadline or not _doom_if_free(using, generation):
            continue
        while time.monotonic() < deadline:
            began = time.monotonic()
            count = database.delete_aggregates(generation, chunk_size)
            deleted += count
            rest(nice * (time.monotonic() - began), using)
            if not count:
                Generation.objects.using(using).filter(pk=generation).update(swept_at=database_now(using))
                break
    return deleted


def _sweep_passes(using: str, deadline: float, nice: float) -> int:
    """Delete the rows of all time that answer no more, of generations that no run is at work on."""
    needed = Generation.objects.using(using).filter(swept_at=None, doomed_at=None)
    deleted = 0
    for generation in needed.exclude(runs__active_key=BackfillRun.ACTIVE).order_by("pk").values_list("pk", flat=True):
        all_time = AllTime(using, generation, fence=no_fence)
        all_time.give_up_old_pass()
        while time.monotonic() < deadline:
            began = time.monotonic()
            count = all_time.delete_old()
            deleted += count
            rest(nice * (time.monotonic() - began), using)
            if not count:
                break
    return deleted


def to_sweep(using: str) -> list[int]:
    """Those that nobody needs: neither active nor kept, nor of the active run, nor of the last if it may be resumed."""
    old = Generation.objects.using(using).filter(is_active=None, kept_at=None, swept_at=None)
    last = BackfillRun.objects.using(using).order_by("-pk").first()
    if last is not None and last.status == BackfillRun.Status.FAILED:
        old = old.exclude(pk=last.generation_id, doomed_at=None)
    return list(old.exclude(runs__active_key=BackfillRun.ACTIVE).order_by("pk").values_list("pk", flat=True))


def _doom_if_free(using: str, generation: int) -> bool:
    """Doom a generation, or leave it to the next sweep if somebody holds a segment of it for so long."""
    database = database_for(using)
    try:
        return doom(using, generation)
    except DatabaseError as error:
        if database.trouble(error) is not Trouble.LOCKED:
            raise
        database.end_idle(BuildSegment._meta.db_table, conf.LEASE_SECONDS)
        return False


def doom(using: str, generation: int) -> bool:
    """Mark a generation as one whose aggregates are being deleted; False if it is needed after all."""
    with database_for(using).transaction(waits=Waits(LOCK_SECONDS, conf.LEASE_SECONDS)):
        found = Generation.objects.using(using).select_for_update().get(pk=generation)
        if found.doomed_at is not None:
            return True
        if found.is_active or found.kept_at is not None:
            return False
        if found.runs.using(using).filter(active_key=BackfillRun.ACTIVE).exists():
            return False
        # whoever is in the midst of a chunk of a segment ends it first, or finds the segment gone
        BuildSegment.objects.using(using).filter(run__generation=generation).delete()
        Generation.objects.using(using).filter(pk=generation).update(doomed_at=database_now(using))
    return True
