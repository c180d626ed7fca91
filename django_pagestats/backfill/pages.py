"""A run's page does the run's work while it is open, where no cluster takes it: each request is a short link.

The page has no claim of its own. Each of its requests claims the run as any worker does, by its epoch, and leaves it
free for the next one. So two pages share the work, a cluster that comes back takes it from them, and a page that is
closed leaves nothing behind but a run that waits.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django_pagestats.backfill.chain import leave_to_page
from django_pagestats.backfill.looking import QUEUED_SECONDS
from django_pagestats.backfill.starting import revive
from django_pagestats.backfill.working import work
from django_pagestats.models import BackfillRun, WorkedBy

#: how long a request works: other requests of the site may have to wait for its end
SECONDS = 1.0


def is_left_to_page(run: BackfillRun, now: datetime, *, has_queue: bool) -> bool:
    """Whether the next request of the run's page may work on it; `now` by the database's clock.

    `has_queue`: there may be a cluster, which gets the time to take a link, and what it has begun.
    """
    if not run.is_going:
        return False
    if run.enqueued_at is not None:
        return not has_queue or run.enqueued_at + timedelta(seconds=QUEUED_SECONDS) <= now
    if has_queue and run.taken_by != WorkedBy.PAGE:
        return False  # whoever looks after it sends a link first
    is_between_requests = run.wait_until is not None and not run.wait_reason
    return is_between_requests or run.lease_until <= now


def work_for_page(using: str, run: BackfillRun, now: datetime, *, has_queue: bool) -> None:
    """Work on a run for as long as a request may last, if that is left to its page."""
    if not is_left_to_page(run, now, has_queue=has_queue):
        return
    if run.lease_until <= now:  # as for any worker: what was wished comes true, and one that dies each time is given up
        revived = revive(using, enqueue=leave_to_page)
        if revived is None or not revived.is_going:
            return
        run = revived
    work(using, run.pk, run.epoch, enqueue=leave_to_page, seconds=SECONDS, by=WorkedBy.PAGE)
