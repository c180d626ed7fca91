"""The database's clock: leases are by it, since workers' clocks differ."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from django.db import connections

NOW = {
    "mysql": "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)",
    "postgresql": "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
    "sqlite": "SELECT strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
}


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
