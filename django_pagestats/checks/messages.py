"""How a check says what it found: with a stable id, which docs/checks.md has a line for."""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import AppConfig
from django.core.checks import CheckMessage
from django.core.checks import Error as _Error
from django.core.checks import Warning as _Warning

#: the apps that a check is asked about; None for all
Apps = Sequence[AppConfig] | None


def error(number: int, message: str, hint: str) -> CheckMessage:
    return _Error(message, hint=hint, id=f"pagestats.E{number:03}")


def warning(number: int, message: str, hint: str) -> CheckMessage:
    return _Warning(message, hint=hint, id=f"pagestats.W{number:03}")
