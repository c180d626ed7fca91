"""Clocks: the database's, by which leases are, since workers' clocks differ; and the site's local days."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from django.db import connections

from django_pagestats.conf import conf

NOW = {
    "mysql": "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)",
    "postgresql": "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
    "sqlite": "SELECT strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
}


def local_day(at: datetime) -> date:
    """The date of an aware instant in PAGESTATS_TIME_ZONE."""
    return at.astimezone(ZoneInfo(conf.TIME_ZONE)).date()


def database_now(using: str) -> datetime:
    """The instant by the clock of the database's server, in UTC."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(NOW[connection.vendor], [])
        return datetime.fromisoformat(str(cursor.fetchone()[0])).replace(tzinfo=timezone.utc)


class DatabaseClock:
    """The database's clock, asked once and carried on by this process's monotonic one."""

    def __init__(self, using: str) -> None:
        self._answer = database_now(using)
        self._asked_at = time.monotonic()  # after the answer: never ahead of the database

    def now(self) -> datetime:
        return self._answer + timedelta(seconds=time.monotonic() - self._asked_at)
