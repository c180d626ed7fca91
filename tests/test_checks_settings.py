"""Each check of our own settings, by what brings it about."""

from __future__ import annotations

from typing import Any

from django_pagestats import checks
from tests.checking import ids, of_settings


def test_an_invalid_setting(settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = "many"
    (message,) = checks.check_settings()
    assert message.id == "pagestats.E001"
    assert "PAGESTATS_TAIL_LIMIT" in message.msg
    assert "'many'" in message.msg


def test_an_unknown_setting(settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMITS = 5
    assert of_settings() == ["pagestats.W003"]


def test_use_tz_off(settings: Any) -> None:
    settings.USE_TZ = False
    assert ids(checks.check_settings()) == ["pagestats.E002"]
