"""How a check says what it found: with a stable id, which docs/checks.md has a line for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

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


class Choice(_Warning):
    """A warning of what a site may have chosen: told where somebody asks, and not before every command."""


def choice(number: int, message: str, hint: str) -> CheckMessage:
    name = f"pagestats.W{number:03}"
    return Choice(message, hint=f'{hint} If it is meant so, write SILENCED_SYSTEM_CHECKS = ["{name}"].', id=name)


#: commands that are run to be told, or to change what is told of
ASKING_COMMANDS = ("check", "migrate", "qcluster")


def command() -> str:
    """The command of manage.py that this process runs, as Django itself finds it; empty in a program without one."""
    return next(iter(sys.argv[1:2]), "")


def told(messages: Iterable[CheckMessage]) -> list[CheckMessage]:
    """Those that the command at hand should show."""
    return [message for message in messages if not isinstance(message, Choice) or command() in ASKING_COMMANDS]
