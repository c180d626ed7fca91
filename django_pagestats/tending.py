"""Who keeps the statistics up: a cluster, or where there is none a process of the site that records page views.

A process that records has a thread for what is due each minute. There it looks whether somebody else has kept the
statistics up lately, and if nobody has, it folds for a moment. Which of all processes does so in a minute is settled by
one conditional UPDATE of the generation that answers, by the database's clock.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError
from django.db.models import Q

from django_pagestats import aliases, folding, horizon, salts
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import PageStatsError
from django_pagestats.merging import database_for
from django_pagestats.models import Generation, WorkedBy
from django_pagestats.recording import background

logger = logging.getLogger(__name__)

#: how long a process of the site works on it at a time
SECONDS = 0.2
#: a look at it in each process; a moment longer than between two times that it is done, so that none is just missed
LOOK_SECONDS = 61.0
EVERY = timedelta(minutes=1)
#: when nobody else has done it for so long, or has missed two ticks of its schedule, nobody does
IDLE = timedelta(minutes=5)
#: where nobody comes, no recording finds that the day of a salt is over
SALT_SECONDS = 600.0
#: rows of aggregates that one statement deletes: on SQLite nobody else writes meanwhile
SWEPT_ROWS = 1_000

#: what was said last of a database: not each minute again
_told: dict[str, str] = {}


def register() -> None:
    """Called when the app is ready: from the first page view that a process records on, its thread looks after it."""
    background.every(lambda: LOOK_SECONDS, tend_here, name="keeping the statistics up", is_flushed=False)
    background.every(lambda: SALT_SECONDS, delete_salts, name="deleting salts that are over", is_flushed=False)


def note_cluster(using: str) -> None:
    """A cluster keeps the statistics up: processes of the site leave it alone."""
    with database_for(using).one_statement():
        Generation.objects.using(using).filter(is_active=True).update(
            tended_at=database_now(using), tended_by=WorkedBy.CLUSTER
        )


def delete_salts() -> None:
    """Delete the keys by which visitors were told apart on days that are over, though nobody else comes."""
    salts.delete_expired()


def tend_here() -> None:
    """Keep the statistics up in this process for a moment, if nobody else does; errors are logged and not raised.

    Of the database that page views are written to, where nobody names another one.
    """
    if conf.KEEP_UP is False:
        return
    using = aliases.home()
    level = logging.INFO
    try:
        told = _tend(using)
    except (PageStatsError, DatabaseError, InterfaceError) as error:
        level, told = logging.WARNING, f"{type(error).__name__}: {error}"
    if told and _told.get(using) != told:
        logger.log(level, "keeping up on %s, in this process: %s", using, told)
    _told[using] = told


def _tend(using: str) -> str:
    """One look, and the work that there is; what there is to say of it, or nothing."""
    generation = _generation_to_tend(using)
    if generation is None or not claim(using, generation, database_now(using)):
        return ""
    deadline = time.monotonic() + SECONDS
    kept_up = folding.keep_up(using, seconds=SECONDS)
    left = deadline - time.monotonic()
    if left > 0:
        nice = folding.niceness(using, is_cluster=True)
        folding.sweep(using, seconds=left, chunk_size=SWEPT_ROWS, nice=nice)
    return kept_up.reason


def _generation_to_tend(using: str) -> Generation | None:
    """The generation that answers, if there is something to do and it is this process's to do; two or three queries."""
    generations = list(Generation.objects.using(using).filter(swept_at=None))
    generation = next((found for found in generations if found.is_active), None)
    highest = horizon.highest_id(using)
    if generation is None:
        if highest is not None:  # the first look makes it, and others begin to count from now
            folding.ensure_active_generation(using)
        return None
    is_settled = highest == generation.cursor == generation.all_cursor
    if is_settled and len(generations) == 1:
        return None
    now = database_now(using)
    if not is_due(generation, now):
        return None
    return generation if folding.is_behind(using, generation, highest, now) or folding.to_sweep(using) else None


def is_due(generation: Generation, now: datetime) -> bool:
    """Whether it is time that a process of the site keeps a generation up; `now` by the database's clock."""
    is_ours = conf.KEEP_UP is True or generation.tended_by == WorkedBy.SITE
    return (generation.tended_at or generation.created_at) + (EVERY if is_ours else _idle()) <= now


def _idle() -> timedelta:
    return max(IDLE, 2 * timedelta(minutes=conf.TEND_MINUTES))


def claim(using: str, generation: Generation, now: datetime) -> bool:
    """Take this minute; False if somebody else was faster, since the generation was seen."""
    seen = generation.tended_at
    # whoever was faster has moved it on
    unchanged = Q(tended_at=None) if seen is None else Q(tended_at__lte=seen)
    free = Generation.objects.using(using).filter(unchanged, pk=generation.pk, is_active=True)
    with database_for(using).one_statement():
        is_taken = bool(free.update(tended_at=now, tended_by=WorkedBy.SITE))
    if is_taken and generation.tended_by != WorkedBy.SITE:
        logger.info("keeping up on %s: a process of the site does it from now on, for no cluster does", using)
    return is_taken
