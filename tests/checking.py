"""What is complained of: the checks run as Django runs them, their ids collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.checks import CheckMessage
from django.db import connection

from django_pagestats import checks


def only(vendor: str) -> Callable[[Any], Any]:
    """There is no such test on the other databases."""
    return lambda test: test if connection.vendor == vendor else None


def of_settings() -> list[str]:
    return [*ids(checks.check_settings()), *ids(checks.check_queue()), *ids(checks.check_database_settings())]


def of_database() -> list[str]:
    return ids(checks.check_databases(databases=["default"]))


def ids(messages: list[CheckMessage]) -> list[str]:
    for message in messages:
        assert message.hint, "a hint says what to do"
    return [str(message.id) for message in messages]
