"""Whose turn it is to send a mail: one conditional UPDATE says so, before anything is sent.

What was claimed and never told as sent may have been sent, by a process that was killed: it is not sent again by
itself.
What failed, as the mail server or this process has said, is tried again, more and more seldom.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.db.models import F

from django_pagestats.merging import database_for
from django_pagestats.models import Mailing

#: it is tried so often, the last time some 34 hours after the first
MOST_FAILURES = 12


def find(using: str, every: str, start: date) -> Mailing:
    """The row of a mail, or one that is not stored yet."""
    found = Mailing.objects.using(using).filter(every=every, start=start).first()
    return found or Mailing(every=every, start=start)


def tried_again_at(mailing: Mailing, due_at: datetime) -> datetime:
    """Not before this: as long after a mail was due as it took the tries before to fail, each twice as far off."""
    return due_at + timedelta(minutes=2**mailing.failures - 1)


def claim(using: str, seen: Mailing, now: datetime, *, is_again: bool = False) -> Mailing | None:
    """The row, which is this process's to send now; None: another one was faster.

    `seen` is as it was found. `is_again` takes what was sent or claimed before, too.
    """
    mailings = Mailing.objects.using(using)
    row, _ = mailings.get_or_create(every=seen.every, start=seen.start)
    free = mailings.filter(pk=row.pk, failures=seen.failures)
    if is_again:
        free = free.filter(claimed_at=seen.claimed_at, sent_at=seen.sent_at)
    else:
        free = free.filter(claimed_at=None, sent_at=None)
    # REPEATABLE READ would refuse what another one has changed, in place of finding nothing
    with database_for(using).one_statement():
        return row if free.update(claimed_at=now, sent_at=None) else None


def note_sent(using: str, mailing: Mailing, now: datetime) -> None:
    Mailing.objects.using(using).filter(pk=mailing.pk).update(sent_at=now)


def note_failure(using: str, mailing: Mailing) -> None:
    """Who has claimed it could not send it: it is free again."""
    Mailing.objects.using(using).filter(pk=mailing.pk).update(claimed_at=None, failures=F("failures") + 1)


def note_not_made(using: str, seen: Mailing) -> None:
    """It could not be made, so nobody has claimed it."""
    mailings = Mailing.objects.using(using)
    row, _ = mailings.get_or_create(every=seen.every, start=seen.start)
    mailings.filter(pk=row.pk, claimed_at=None, sent_at=None).update(failures=F("failures") + 1)
