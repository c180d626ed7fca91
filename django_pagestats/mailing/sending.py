"""Sending the mail of the last period, once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation

from django_pagestats.buckets import Calendar, day_number, instant
from django_pagestats.conf import conf
from django_pagestats.dashboard.ranges import Days, first_weekday, today_of
from django_pagestats.dashboard.scope import calendar_in_use, first_and_last, has_long_tail
from django_pagestats.exceptions import PageStatsError
from django_pagestats.mailing import claims
from django_pagestats.mailing.contents import contents_of, subject_of
from django_pagestats.mailing.periods import last_period
from django_pagestats.models import Mailing

logger = logging.getLogger(__name__)

#: so long a mail waits for page views that are not folded; then it is sent, and says so
PATIENCE = timedelta(days=1)


class MailError(PageStatsError):
    """A mail was not sent; the message says why, and when it is tried again."""


class Written(NamedTuple):
    """A mail: one line, and the same text twice."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a mail was sent by this call, and what there is to say of it."""

    is_sent: bool
    told: str


@dataclass(frozen=True, slots=True)
class _Due:
    """The mail that there is to be, in the zone of the statistics."""

    using: str
    every: str
    period: Days
    calendar: Calendar
    #: the instant at which the period ended
    due_at: datetime


def mail_last_period(using: str, *, now: datetime, is_again: bool = False) -> Outcome:
    """Send the mail of the last week or month, if that is this process's to do; safe to call as often as one likes.

    Claimed before it is sent, in a statement of its own: do not call it inside a transaction. `is_again` sends it
    though it was sent. Raises MailError where it was tried and failed: then it is free to be tried again.
    """
    if not conf.MAIL_TO:
        return Outcome(False, "PAGESTATS_MAIL_TO names nobody, so no mail is sent.")
    with translation.override(settings.LANGUAGE_CODE):
        due = _due(using, now)
        seen = claims.find(using, due.every, due.period.start)
        reason = "" if is_again else _why_not(due, seen, now)
        if reason:
            return Outcome(False, reason)
        # made before it is claimed: what fails in the database meanwhile costs a try and not the mail
        mail = _made(due, seen, now)
        mailing = claims.claim(using, seen, now, is_again=is_again)
        if mailing is None:
            return Outcome(False, f"The mail of {_named(due)} is being sent by another process.")
        _send(due, mailing, mail)
        claims.note_sent(using, mailing, now)
    return Outcome(True, f"The mail of {_named(due)} was sent; addresses: {len(conf.MAIL_TO)}.")


def written(using: str, *, now: datetime) -> Written:
    """The mail of the last period, which is not sent."""
    with translation.override(settings.LANGUAGE_CODE):
        return _written(_due(using, now), now)


def _due(using: str, now: datetime) -> _Due:
    calendar = calendar_in_use(using)
    period = last_period(conf.MAIL_EVERY, today_of(now, calendar), first_weekday())
    return _Due(using, conf.MAIL_EVERY, period, calendar, instant(calendar.day_start(day_number(period.end))))


def _why_not(due: _Due, seen: Mailing, now: datetime) -> str:
    """Why a mail is not to be sent now; empty: it is."""
    if seen.sent_at is not None:
        return f"The mail of {_named(due)} was sent at {_time(seen.sent_at)}."
    if seen.claimed_at is not None:
        return (
            f"The mail of {_named(due)} was begun at {_time(seen.claimed_at)}: it is being sent or, if that process was"
            " killed, may have been sent. 'manage.py mail_statistics --again' sends it again."
        )
    if seen.failures >= claims.MOST_FAILURES:
        return (
            f"The mail of {_named(due)} failed {seen.failures} times, and is not tried again by itself:"
            " 'manage.py mail_statistics --again' does."
        )
    again_at = claims.tried_again_at(seen, due.due_at)
    if now < again_at:
        return (
            f"The mail of {_named(due)} failed, and is tried again from {_time(again_at)} on, by a cluster or by"
            " 'manage.py mail_statistics'; with --again it is tried at once."
        )
    _, since, _ = first_and_last(due.using, due.calendar)
    if since is None or since >= due.period.end:
        return f"There is no mail of {_named(due)}: no page view was recorded by then."
    if now < due.due_at + PATIENCE and has_long_tail(due.using):
        return f"The mail of {_named(due)} waits for page views that are not folded yet."
    return ""


def _made(due: _Due, seen: Mailing, now: datetime) -> Written:
    try:
        return _written(due, now)
    except Exception as error:
        claims.note_not_made(due.using, seen)
        if not isinstance(error, PageStatsError):
            logger.exception("the mail of %s could not be made", _named(due))
        raise _failed(due, error) from error


def _send(due: _Due, mailing: Mailing, mail: Written) -> None:
    message = EmailMultiAlternatives(mail.subject, mail.text, to=list(conf.MAIL_TO))
    message.attach_alternative(mail.html, "text/html")
    try:
        message.send()
    except Exception as error:  # each backend has its own
        claims.note_failure(due.using, mailing)
        raise _failed(due, error) from error


def _failed(due: _Due, error: Exception) -> MailError:
    return MailError(
        f"The mail of {_named(due)} was not sent ({type(error).__name__}: {error}). A cluster tries it again by"
        " itself, and so does the next 'manage.py mail_statistics'; with --again it is tried at once."
    )


def _written(due: _Due, now: datetime) -> Written:
    contents = contents_of(due.using, due.every, due.period, now)
    contents = {**contents, "subject": subject_of(contents), "language": translation.get_language()}
    return Written(
        contents["subject"],
        render_to_string("django_pagestats/mail/statistics.txt", contents).strip() + "\n",
        render_to_string("django_pagestats/mail/statistics.html", contents),
    )


def _named(due: _Due) -> str:
    return f"the {due.every} from {due.period.start} to {due.period.last}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
