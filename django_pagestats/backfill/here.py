"""A run in this process: start it, or take it over, and work on it to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from django_pagestats.backfill import claims, wishes
from django_pagestats.backfill.chain import check_outside, enqueue_nothing
from django_pagestats.backfill.looking import active_run
from django_pagestats.backfill.parts import workers_of
from django_pagestats.backfill.starting import Started, start
from django_pagestats.backfill.working import Worker
from django_pagestats.exceptions import DifferentRunError, PausedError, ProcessFailedError, TakenOverError
from django_pagestats.models import BackfillRun, WorkedBy
from django_pagestats.spawned import can_spawn, spawned

logger = logging.getLogger(__name__)

Kind = BackfillRun.Kind
Status = BackfillRun.Status

HELP = "django_pagestats.backfill.helping.help_here"
#: how long the end of the chunk is waited for that another process is at
END_SECONDS = 30.0


def run_here(
    using: str,
    *,
    kind: str = Kind.BACKFILL,
    actor: str = "",
    via: str,
    chunk_size: int | None = None,
    nice: float | None = None,
    keep_old: bool = False,
    workers: int = 1,
    watch: Callable[[BackfillRun], bool] | None = None,
) -> Started:
    """Start a run and work on it in this process to its end; an active run of the same kind is taken over.

    `watch` is called with the run after each chunk, and stops the work by returning True; the run then stays where it
    is, and the next call goes on. `workers`: how many are to build a generation at once, this process and others that
    it starts. A run that somebody pauses or cancels meanwhile is returned as it is then. Raises
    DifferentRunError if a run of another kind is active, PausedError if the run is paused, TakenOverError if another
    worker took it over meanwhile, and InsideTransactionError, before anything is done, within a transaction.
    """
    check_outside(using)
    run = active_run(using)
    if run is not None and run.status == Status.PAUSED:
        raise PausedError(f"{wishes.paused(run, via)}.")
    if run is not None and run.kind != kind:
        raise DifferentRunError(
            f"Run {run.pk} ({run.kind}) is active: let it end first ({run.command} --wait), or take it over"
            f" ({run.command} --sync)."
        )
    if run is not None:
        started = Started("active", run, f"Run {run.pk} taken over")
    else:
        wanted: dict[str, Any] = {"kind": kind, "actor": actor, "via": via, "chunk_size": chunk_size, "nice": nice}
        started = start(using, **wanted, keep_old=keep_old, workers=workers, enqueue=enqueue_nothing)
    if started.run is None:
        return started
    changes: dict[str, Any] = {} if chunk_size is None else {"fixed_chunk_size": chunk_size, "chunk_size": chunk_size}
    changes |= {} if nice is None else {"nice": nice}
    changes |= {"keep_old": True} if keep_old else {}
    claimed = claims.claim(using, started.run.pk, started.run.epoch, by=WorkedBy.COMMAND, **changes)
    if claimed is not None:
        workers = workers_of(using, workers) if claimed.builds else 1
        claim = claims.Claim(using, claimed, enqueue=enqueue_nothing, seconds=None, workers=workers)
        with _helpers(using, claimed.pk, workers - 1):
            is_ours = Worker(claim, watch=watch).work()
        claimed.refresh_from_db(using=using)
        if is_ours or claimed.status in (Status.PAUSED, Status.CANCELLED):
            return Started(started.outcome, claimed, started.message)
    raise TakenOverError(f"Run {started.run.pk} was taken over by another worker, which goes on with it: see --status.")


@contextmanager
def _helpers(using: str, run_id: int, count: int) -> Iterator[None]:
    """Other processes that do segments; none inside a transaction, in which they would not see what they are to do.

    Nor in a process that may have none. One that fails or is lost is told of in the log, and what it had begun is done
    here.
    """
    if count < 1 or connections[using].in_atomic_block or not can_spawn():
        yield
        return
    with spawned(HELP, using, [(run_id,)] * count) as processes:
        yield
        for process in processes:
            try:
                process.dismiss(END_SECONDS)
            except ProcessFailedError as error:
                logger.warning("run %s: %s", run_id, error)
