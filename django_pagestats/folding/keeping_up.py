"""How are the newest page views kept up: each tick folds for a moment, without a run, into what answers.

Hours and days each time, and rows of all time when that is worth it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from django_pagestats import horizon
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.folding.all_time import close_gap, gap_is_worth_it, is_in_pass
from django_pagestats.folding.by_hand import check_autocommit, check_not_back
from django_pagestats.folding.chunks import CursorMovedError, Folder
from django_pagestats.folding.generations import active_generation, ensure_active_generation
from django_pagestats.folding.resting import niceness, poll, rest
from django_pagestats.merging import RowsLockedError, database_for
from django_pagestats.models import BackfillRun, Generation, PageView

#: there is time for so many chunks at the least, if their size has come to fit
CHUNKS = 2


@dataclass(frozen=True)
class KeptUp:
    """What one tick of keeping up did."""

    page_views: int = 0
    #: why it stopped, if not because all was done
    reason: str = ""


def keep_up(using: str, *, seconds: float) -> KeptUp:
    """Fold the newest page views into the active generation, for so many seconds at the most.

    What is waited for before the first chunk is not counted: nothing is held meanwhile. Leaves a tail that is longer
    than PAGESTATS_TAIL_LIMIT, and a generation that a run is at work on, to the run.
    """
    check_autocommit(using)
    tail = tail_length(using, conf.TAIL_LIMIT)
    generation = active_generation(using) if tail == 0 else ensure_active_generation(using)
    if generation is None:
        return KeptUp()
    if tail > conf.TAIL_LIMIT:
        return KeptUp(reason=f"more than {conf.TAIL_LIMIT} page views wait: run backfill_aggregates")
    runs = BackfillRun.objects.using(using).filter(active_key=BackfillRun.ACTIVE, generation=generation)
    if runs.exclude(status=BackfillRun.Status.PAUSED).exists():
        return KeptUp(reason="a run is at work on this generation") if tail else KeptUp()
    settling = _settle(using, generation) if tail else None
    deadline, part = time.monotonic() + seconds, min(1.0, seconds)
    if is_in_pass(generation):  # it is of this cursor: a chunk now would have it begin anew, each time
        close_gap(using, generation.pk, deadline=deadline, part=part)
    if isinstance(settling, horizon.Settling):
        with Folder(using, generation) as folder:
            folder.chunk_seconds = min(folder.chunk_seconds, seconds / CHUNKS)
            kept_up = _fold_until(folder, settling.target, deadline)
    else:
        kept_up = KeptUp(reason=settling or "")
    close_gap(using, generation.pk, deadline=deadline, part=part)
    return kept_up


def _fold_until(folder: Folder, target: int, deadline: float) -> KeptUp:
    """Fold as long as there is time, as far as the last chunk tells, for another one like it."""
    folded, took = 0, 0.0
    while folder.cursor < target and time.monotonic() + took < deadline:
        began = time.monotonic()
        try:
            folded += folder.fold(target).page_views
            took = time.monotonic() - began
            if folder.cursor < target:
                rest(niceness(folder.using, is_cluster=True) * took, folder.using)
        except CursorMovedError:
            if not folder.generation.is_active:
                return KeptUp(folded, "another generation answers by now")
        except RowsLockedError:
            return KeptUp(folded, f"waits for {horizon.rows_locked(database_now(folder.using))}")
    return KeptUp(folded)


def _settle(using: str, generation: Generation) -> horizon.Settling | str:
    """A target whose horizon has come; or what it waits for, with the target kept for the next tick."""
    kept = generation.settling
    settling = horizon.Settling.from_json(kept) if kept else horizon.fix_target(using)
    if settling.target <= generation.cursor:
        settling = horizon.fix_target(using)
    waiting = poll(using, settling)
    state = settling.as_json() if waiting else None
    if state != kept:
        with database_for(using).one_statement():
            Generation.objects.using(using).filter(pk=generation.pk).update(settling=state)
    return f"waits for {waiting[0]}" if waiting else settling


def is_behind(using: str, generation: Generation, highest: int | None, now: datetime) -> bool:
    """Whether keeping up would do something; `highest` is the highest id, `now` by the database's clock.

    Costs nothing where every page view is in the rows of all time.
    """
    return (highest or 0) > generation.cursor or gap_is_worth_it(generation, now)


def tail_length(using: str, limit: int) -> int:
    """How many page views come after the active generation's cursor, counted no further than just above `limit`.

    Raises TableWentBackError if the table ends before the cursor.
    """
    generation = active_generation(using)
    cursor_at = generation.cursor if generation else 0
    if generation is not None:
        check_not_back(using, generation)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM {PageView._meta.db_table} WHERE id > %s LIMIT %s) AS tail",
            [cursor_at, limit + 1],
        )
        length: int = cursor.fetchone()[0]
    return length
