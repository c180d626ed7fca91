"""Each check of what the dashboard shows beside the numbers, by what brings it about."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User

from django_pagestats import checks
from tests.checking import ids


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ([], []),
        (["auth.user"], []),
        (["auth.Group"], ["pagestats.E110"]),
        (["auth.Nothing", "nothing.User"], ["pagestats.E110"] * 2),
        ("auth.User", []),  # pagestats.E001 tells of it
    ],
)
def test_models_whose_log_is_read(
    settings: Any, monkeypatch: pytest.MonkeyPatch, labels: Any, wanted: list[str]
) -> None:
    monkeypatch.setattr(User, "get_absolute_url", lambda self: "/", raising=False)
    settings.PAGESTATS_NOTES_FROM_LOG = labels
    assert ids(checks.check_dashboard()) == wanted


def test_there_is_no_log_without_the_admin(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "get_absolute_url", lambda self: "/", raising=False)
    settings.PAGESTATS_NOTES_FROM_LOG = ["auth.User"]
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "django.contrib.admin" and installed(name))
    assert ids(checks.check_dashboard()) == ["pagestats.W111"]


def test_somebody_has_to_send_the_mail(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    settings.PAGESTATS_MAIL_TO = ["owner@example.com"]
    assert ids(checks.check_dashboard()) == []
    settings.PAGESTATS_TEND_MINUTES = 0
    assert ids(checks.check_dashboard()) == ["pagestats.W112"]
    settings.PAGESTATS_TEND_MINUTES = 1
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids(checks.check_dashboard()) == ["pagestats.W112"]
    settings.PAGESTATS_MAIL_TO = []
    assert ids(checks.check_dashboard()) == []
