"""The queue: the tasks that a cluster runs, and how they get there. Nothing else imports django_q.

A cluster imports this module by its name, for what is left in its queue, also where the app is not installed any more.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connections
from django.utils.connection import ConnectionDoesNotExist

from django_pagestats.conf import conf
from django_pagestats.exceptions import PageStatsError, RunLockedError
from django_pagestats.tasks.giving import give, on_commit
from django_pagestats.tasks.names import A_CLUSTER, GROUP, HOW_TO_HAVE_A_CLUSTER, LINK, TEND

IS_INSTALLED = apps.is_installed("django_pagestats")
if IS_INSTALLED:  # models cannot be imported without their app
    from django_pagestats import aliases, backfill, folding, mailing, salts, tending
    from django_pagestats.backfill import failing
    from django_pagestats.models import BackfillRun
    from django_pagestats.tasks.checking import enqueue_check, start_check
    from django_pagestats.tasks.removal import forget
    from django_pagestats.tasks.schedules import (
        ensure_schedule,
        queue_is_installed,
        remove_schedule,
        remove_strays,
        skip_missed_ticks,
    )
    from django_pagestats.verify import remembering

__all__ = [
    "A_CLUSTER",
    "HOW_TO_HAVE_A_CLUSTER",
    "LINK",
    "TEND",
    "check",
    "enqueue",
    "ensure_schedule",
    "forget",
    "link",
    "queue_is_installed",
    "remove_strays",
    "resume_backfill",
    "revive",
    "start_backfill",
    "start_check",
    "tend",
]

logger = logging.getLogger(__name__)

#: alias, run, and epoch of a link; of a link of a segment, whose epoch it is then, the segment too
Link = tuple[str, int, int] | tuple[str, int, int, int]


# -- the tasks


def link(using: str, run_id: int, epoch: int, segment: int | None = None) -> None:
    """One link of a run's chain, or of one of its segments; harmless if it comes twice, late, or never."""
    if not _app_is_there(f"run {run_id} on {using}"):
        return
    try:
        if segment is None:
            backfill.work(using, run_id, epoch, enqueue=enqueue, seconds=conf.LINK_SECONDS)
        else:
            backfill.help_build(using, segment, epoch, enqueue=enqueue, seconds=conf.LINK_SECONDS)
    except RunLockedError as error:  # the run is revived when its lease is over; no row of a failure is left for it
        logger.warning("run %s: a link came and went: %s", run_id, error)
    except (DatabaseError, ConnectionDoesNotExist) as error:
        sentence = aliases.not_ours(using)
        if not sentence and failing.is_lasting(using, error):
            sentence = failing.describe(using, error)
        if not sentence:
            raise
        logger.warning("run %s: a link came for nothing: %s", run_id, sentence)


def tend(using: str) -> None:
    """What the schedule does every minute: revive a run, keep up, sweep old generations, delete old salts, mail.

    Processes of the site leave these to the cluster as long as it does so.

    Errors are logged and not raised: django-q2 would keep a row of each for ever, one a minute. The next tick is the
    next try, and what fails in one step does not hold up the others.
    """
    if not _app_is_there(f"tending {using}") or not _can_be_tended(using):
        return
    backfill.release_kept(older_than=conf.LEASE_SECONDS)
    for step in (tending.note_cluster, skip_missed_ticks, _revive, _keep_up, _sweep, _delete_salts, _mail):
        try:
            step(using)
        except PageStatsError as error:  # only a person can decide on the cure
            logger.error("tending %s: %s", using, error)
        except Exception as error:
            if failing.is_lasting(using, error):
                logger.error("tending %s: %s", using, failing.describe(using, error))
            else:
                logger.exception("tending %s: %s failed, and is tried again at the next tick", using, step.__name__)


def check(using: str, check_id: int, epoch: int) -> None:
    """Some days of a check of a range; harmless if it comes twice, late, or never."""
    if not _app_is_there(f"check {check_id} on {using}"):
        return
    if sentence := aliases.not_ours(using):
        logger.warning("check %s came for nothing: %s", check_id, sentence)
        return
    remembering.work(using, check_id, epoch, seconds=conf.LINK_SECONDS, enqueue=enqueue_check)


def _delete_salts(using: str) -> None:
    salts.delete_expired(using=using)


def _mail(using: str) -> None:
    """The last step, since a mail server may keep it waiting; of one database, where several have tables."""
    if conf.MAIL_TO and using == aliases.home():
        outcome = mailing.mail_last_period(using, now=datetime.now(timezone.utc))
        logger.log(logging.INFO if outcome.is_sent else logging.DEBUG, "%s", outcome.told)


def _app_is_there(what: str) -> bool:
    """Whether this process has the app: one that has not may belong to another release, and changes nothing."""
    if not IS_INSTALLED:
        logger.warning(
            "%s: nothing is done, for django_pagestats is not in INSTALLED_APPS; delete what django-q2 has scheduled of"
            " it",
            what,
        )
    return IS_INSTALLED


def _can_be_tended(using: str) -> bool:
    """Whether our tables are there; if not, the schedule goes, and `migrate` makes it again."""
    try:
        sentence = aliases.not_ours(using)
    except Exception:
        logger.exception("tending %s: the database cannot be asked, and is tried again at the next tick", using)
        return False
    if sentence:
        remove_schedule(using)
        logger.warning("tending %s: %s Its schedule is removed.", using, sentence)
    return not sentence


def _revive(using: str) -> None:
    """Where this runs a cluster does: a run goes on there that its page has worked on."""
    backfill.revive(using, enqueue=enqueue, takes_from_page=True)


def _keep_up(using: str) -> None:
    kept_up = folding.keep_up(using, seconds=conf.LINK_SECONDS)
    if kept_up.reason:
        logger.info("keeping up on %s: %s", using, kept_up.reason)


def _sweep(using: str) -> None:
    folding.sweep(using, seconds=conf.LINK_SECONDS, nice=folding.niceness(using, is_cluster=True))


# -- starting and reviving with the real queue


def start_backfill(
    using: str,
    *,
    kind: str | None = None,
    actor: str = "",
    via: str,
    chunk_size: int | None = None,
    nice: float | None = None,
    keep_old: bool = False,
) -> backfill.Started:
    """`backfill.start` with the real queue; where there is none, the work is left to the page of the run."""
    ensure_schedule(using)
    wanted: dict[str, Any] = {
        "kind": kind or BackfillRun.Kind.BACKFILL,
        "actor": actor,
        "via": via,
        "chunk_size": chunk_size,
        "nice": nice,
    }
    return backfill.start(using, **wanted, keep_old=keep_old, enqueue=_enqueue())


def revive(using: str) -> BackfillRun | None:
    """`backfill.revive` with the real queue."""
    return backfill.revive(using, enqueue=enqueue)


def resume_backfill(using: str, *, run_id: int | None = None, actor: str = "", via: str) -> backfill.Answer:
    """`backfill.resume` with the real queue, or as `start_backfill` without one."""
    ensure_schedule(using)
    return backfill.resume(using, run_id=run_id, actor=actor, via=via, enqueue=_enqueue())


def _enqueue() -> backfill.Enqueue:
    return enqueue if queue_is_installed() else backfill.leave_to_page


# -- enqueueing


def enqueue(using: str, run_id: int, epoch: int, *, at: datetime | None = None, segment: int | None = None) -> None:
    """Give a link to the cluster when the current transaction commits; with `at`, by a one-off schedule."""
    from django_q.conf import Conf

    arguments = (using, run_id, epoch) if segment is None else (using, run_id, epoch, segment)
    if at is not None:
        on_commit(using, lambda: _schedule_link(arguments, at))
    elif Conf.SYNC:
        # a chain would call itself until the stack ends: fold to the end in one loop instead
        on_commit(using, lambda: backfill.work(using, run_id, epoch, enqueue=enqueue, seconds=None))
    elif using == Conf.ORM and connections[using].in_atomic_block:
        # the queue's table is in this very database: the task is there if, and only if, the transaction commits
        _async_link(*arguments)
    else:
        # inside the transaction, django-q2 would close its connection, and roll it back without a word
        on_commit(using, lambda: _async_link(*arguments))


def _async_link(*arguments: Any) -> None:
    otherwise = (
        "The run stays, and goes on when the queue is back: by the schedule, by whoever follows it, or by another"
        " start; 'manage.py backfill_aggregates --sync' goes on with it at once."
    )
    give(LINK, *arguments, of=f"run {arguments[1]}", otherwise=otherwise)


def _schedule_link(arguments: Link, at: datetime) -> None:
    from django_q.models import Schedule

    using, run_id, _, *segment = arguments
    part = f", segment {segment[0]}," if segment else ""
    name = f"{GROUP}: run {run_id}{part} on {using} goes on"
    Schedule.objects.filter(name=name).delete()
    Schedule.objects.create(
        name=name,
        func=LINK,
        args=repr(arguments),
        kwargs=repr({"q_options": {"save": False}}),
        schedule_type=Schedule.ONCE,
        next_run=at,
        cluster=conf.CLUSTER,
    )
