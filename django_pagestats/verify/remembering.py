"""Verifications that are remembered: what was found last, and checks of a range of days, done piece by piece.

A check is a chain of tasks, each of which may come twice, late, or never. A task claims the check by its epoch,
compares some days, each piece in a snapshot of its own and stored at once, and hands over to the next one. It is
bounded in time, since a queue kills a task that lasts. Whoever asks again, after the lease of a chain that broke,
begins anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

from django.db import DatabaseError
from django.db.models import F, Q, Subquery

from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import PageStatsError
from django_pagestats.merging import database_for
from django_pagestats.models import Check
from django_pagestats.verify.verification import Verification

logger = logging.getLogger(__name__)

#: differences that are kept of a verification, and characters of each
MOST_TOLD, MOST_CHARACTERS = 100, 1_000
#: verifications that are remembered
MOST_KEPT = 100
#: of a task's time, what a piece may take before the next one has no more days
PATIENCE = 0.25
COMMAND, DASHBOARD = "command", "dashboard"

#: gives the next task to the queue: alias, check, epoch
Enqueue = Callable[[str, int, int], None]


def remember(verification: Verification, told: Iterable[str]) -> None:
    """Keep what a verification by hand has found, after it has ended; raises what the database says if it may not."""
    using = verification.using
    now = database_now(using)
    with database_for(using).transaction():
        Check.objects.using(using).create(
            start=verification.start,
            end=verification.end,
            via=COMMAND,
            asked_at=now,
            ended_at=now,
            page_views=verification.page_views,
            aggregates=verification.aggregates,
            difference_count=verification.differences,
            differences=[_short(line) for line in told],
        )
        _forget_old(using)


def ask(using: str, *, start: date, end: date, actor: str, enqueue: Enqueue) -> Check:
    """Let a range of days be checked; while another check goes on, that one. Raises QueueUnreachableError."""
    now = database_now(using)
    with database_for(using).transaction():
        active = Check.objects.using(using).filter(ended_at=None, lease_until__gt=now).order_by("-pk").first()
        if active is not None:
            return active
        asked = Check.objects.using(using).create(
            start=start, end=end, via=DASHBOARD, actor=actor[:255], asked_at=now, lease_until=now + _lease()
        )
        _forget_old(using)
    enqueue(using, asked.pk, 0)
    return asked


def work(using: str, check_id: int, epoch: int, *, seconds: float | None, enqueue: Enqueue) -> None:
    """One task of a check: some days, for so long, None: to its end. Does nothing if another one has the check."""
    if not _claim(using, check_id, epoch):
        return
    check = Check.objects.using(using).get(pk=check_id)
    try:
        is_ours = _compare(check, using, time.monotonic(), seconds)
    except (PageStatsError, DatabaseError) as error:
        logger.warning("check %s on %s came to nothing: %s", check_id, using, error)
        _move(check, using, error=str(error), ended_at=database_now(using))
        return
    if is_ours and check.ended_at is None:
        enqueue(using, check_id, check.epoch)


def last_checks(using: str) -> tuple[Check | None, Check | None]:
    """The last verification of everything that has ended, and the last one of a range of days, ended or not."""
    checks = Check.objects.using(using).order_by("-pk")
    of_all = checks.filter(start=None, end=None).exclude(ended_at=None).values("pk")[:1]
    of_range = checks.exclude(start=None, end=None).values("pk")[:1]
    found = checks.filter(Q(pk=Subquery(of_all)) | Q(pk=Subquery(of_range)))
    by_kind = {check.start is None and check.end is None: check for check in found}
    return by_kind.get(True), by_kind.get(False)


def _claim(using: str, check_id: int, epoch: int) -> bool:
    found = Check.objects.using(using).filter(pk=check_id, epoch=epoch, ended_at=None)
    with database_for(using).one_statement():
        return found.update(epoch=epoch + 1, lease_until=database_now(using) + _lease()) == 1


def _compare(check: Check, using: str, began: float, seconds: float | None) -> bool:
    """Compare days until the time is over; False: another task has taken the check over."""
    assert check.end is not None  # noqa: S101 - `ask` has set both
    day, days = check.upto or check.start, 1
    while day is not None and day < check.end:
        before = time.monotonic()
        verification = Verification(using, start=day, end=min(day + timedelta(days=days), check.end))
        told: list[str] = []
        for difference in verification:
            if len(check.differences) + len(told) < MOST_TOLD:
                told.append(_short(str(difference)))
        # with a neighbour that could not be told apart by time
        day = max(verification.days[1] or check.end, day)
        ended_at = database_now(using) if day >= check.end else None
        if not _move(check, using, verification=verification, told=told, upto=day, ended_at=ended_at):
            return False
        if seconds is not None:
            if time.monotonic() - began > seconds:
                return True
            days = 2 * days if time.monotonic() - before < PATIENCE * seconds else max(1, days // 2)
    return True


def _move(
    check: Check,
    using: str,
    *,
    ended_at: datetime | None,
    verification: Verification | None = None,
    told: Iterable[str] = (),
    upto: date | None = None,
    error: str = "",
) -> bool:
    """Store how far it is, unless another task has the check."""
    check.differences = [*check.differences, *told]
    check.upto, check.ended_at = upto or check.upto, ended_at
    values = {"differences": check.differences, "upto": check.upto, "ended_at": ended_at, "error": error}
    if verification is not None:
        values |= {
            "page_views": F("page_views") + verification.page_views,
            "aggregates": F("aggregates") + verification.aggregates,
            "difference_count": F("difference_count") + verification.differences,
        }
    ours = Check.objects.using(using).filter(pk=check.pk, epoch=check.epoch, ended_at=None)
    with database_for(using).one_statement():
        return ours.update(**values, lease_until=database_now(using) + _lease()) == 1


def _lease() -> timedelta:
    return timedelta(seconds=conf.LEASE_SECONDS)


def _short(line: str) -> str:
    """As it can be kept on every database: PostgreSQL has no NUL in JSON."""
    return line.replace("\0", "\\0").encode(errors="replace").decode()[:MOST_CHARACTERS]


def _forget_old(using: str) -> None:
    newest = list(Check.objects.using(using).order_by("-pk").values_list("pk", flat=True)[:MOST_KEPT])
    if len(newest) == MOST_KEPT:
        Check.objects.using(using).filter(Q(pk__lt=newest[-1])).delete()
