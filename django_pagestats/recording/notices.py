"""Notices of what the owner of the site should bring in order: noted in a request, written by the thread, shown later.

A request only notes it in memory, so that no visitor waits and no transaction of the site's is touched.
"""

from __future__ import annotations

import threading
from datetime import datetime, timezone

from django.db import router, transaction

from django_pagestats.models import Notice, NoticeName
from django_pagestats.recording import background

#: how often what was noted is written
WRITE_SECONDS = 10.0

#: (name, alias; None: what the router says) -> digest of the settings, and when it was noticed
_noted: dict[tuple[str, str | None], tuple[str, datetime]] = {}
_lock = threading.Lock()


def note(name: NoticeName, *, settings_digest: str, using: str | None = None) -> None:
    """Have a notice shown, from the next time on that the thread writes; one that was dismissed stays so."""
    with _lock:
        _noted.setdefault((name.value, using), (settings_digest, datetime.now(timezone.utc)))
    background.start()


def write() -> None:
    """Make rows of what was noted since the last time; what cannot be written is kept."""
    with _lock:
        taken = dict(_noted)
    for (name, using), (digest, since) in taken.items():
        _write_one(using or router.db_for_write(Notice), name, digest, since)
        with _lock:
            _noted.pop((name, using), None)


def shown(using: str, settings_digest: str) -> list[Notice]:
    """What was noticed under the settings of now, and not dismissed; the oldest first."""
    notices = Notice.objects.using(using).filter(settings_digest=settings_digest, dismissed_at=None)
    return list(notices.order_by("since", "id"))


def dismiss(using: str, name: str) -> bool:
    """It is meant so: not to be shown again, until it is noticed under other settings. Whether there was one."""
    notices = Notice.objects.using(using).filter(name=name, dismissed_at=None)
    return bool(notices.update(dismissed_at=datetime.now(timezone.utc)))


def _write_one(using: str, name: str, digest: str, since: datetime) -> None:
    notices = Notice.objects.using(using)
    with transaction.atomic(using=using):
        # by several processes at once: whoever comes second finds the row as it is to be
        notices.bulk_create([Notice(name=name, since=since, settings_digest=digest)], ignore_conflicts=True)
        other = notices.filter(name=name).exclude(settings_digest=digest)
        other.update(since=since, settings_digest=digest, dismissed_at=None)


background.every(lambda: WRITE_SECONDS, write, name="writing what was noticed", is_flushed=True)
