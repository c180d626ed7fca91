"""What is complained of: the checks run as Django runs them, their ids collected."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.checks import CheckMessage
from django.db import connection

from django_pagestats import checks


def only(vendor: str) -> Callable[[Any], Any]:
    """There is no such test on the other databases."""
    return lambda test: test if connection.vendor == vendor else None


@contextmanager
def running(command: str) -> Iterator[None]:
    """As if this process were that command of manage.py."""
    kept = sys.argv
    sys.argv = ["manage.py", command]
    try:
        yield
    finally:
        sys.argv = kept


def of_settings(command: str = "check") -> list[str]:
    """What is found before a command."""
    with running(command):
        return _of_settings()


def _of_settings() -> list[str]:
    return [
        *ids(checks.check_settings()),
        *ids(checks.check_attributes()),
        *ids(checks.check_dimensions()),
        *ids(checks.check_queue()),
        *ids(checks.check_database_settings()),
    ]


def of_database(command: str = "check") -> list[str]:
    with running(command):
        return ids(checks.check_databases(databases=["default"]))


def ids(messages: list[CheckMessage]) -> list[str]:
    for message in messages:
        assert message.hint, "a hint says what to do"
    return [str(message.id) for message in messages]
