"""What can be wrong with what the dashboard shows beside the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage

from django_pagestats import tasks
from django_pagestats.checks.messages import Apps, choice, error, told, warning
from django_pagestats.conf import Conf, conf


def check_dashboard(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return told([*_check_notes(), *_check_mail()])


def _check_notes() -> Iterator[CheckMessage]:
    if Conf.NOTES_FROM_LOG.complaint() or not conf.NOTES_FROM_LOG:
        return
    if not apps.is_installed("django.contrib.admin"):
        yield log_missing()
    for label in conf.NOTES_FROM_LOG:
        if reason := _why_without_page(label):
            yield model_without_page(label, reason)


def _check_mail() -> Iterator[CheckMessage]:
    is_wanted = not Conf.MAIL_TO.complaint() and conf.MAIL_TO
    if is_wanted and not (tasks.queue_is_installed() and conf.TEND_MINUTES):
        yield nobody_mails()


def _why_without_page(label: str) -> str:
    try:
        model = apps.get_model(label)
    except LookupError as reason:
        return f"is not there ({reason})"
    return "" if callable(getattr(model, "get_absolute_url", None)) else "has no get_absolute_url()"


def model_without_page(label: str, reason: str) -> CheckMessage:
    return error(
        110,
        f"PAGESTATS_NOTES_FROM_LOG names {label!r}, which {reason}: no page has a note of it.",
        "Correct it, take it out, or give the model the URL of its page.",
    )


def log_missing() -> CheckMessage:
    return warning(
        111,
        "PAGESTATS_NOTES_FROM_LOG is set, and django.contrib.admin is not in INSTALLED_APPS: there is no log to read.",
        "Remove the setting, or install the admin.",
    )


def nobody_mails() -> CheckMessage:
    return choice(
        112,
        "PAGESTATS_MAIL_TO is set, and no cluster keeps the statistics up: nothing sends the mail by itself.",
        "Let cron call manage.py mail_statistics once a day, or have a cluster.",
    )
