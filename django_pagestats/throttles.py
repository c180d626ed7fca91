"""Reasons for a run to wait before its next chunk: PAGESTATS_THROTTLE names those that hold; a site may add its own.

A throttle is a callable of the database alias that returns None, a reason in words, or a `Wait`. It is asked about once
a second, outside any transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import connections
from django.utils.module_loading import import_string

from django_pagestats.clock import database_now
from django_pagestats.conf import conf

logger = logging.getLogger(__name__)

#: the primary sees how far each replica is; what a role may not see is null, and then the replica has no state
REPLICAS = """
    SELECT COALESCE(NULLIF(application_name, ''), client_addr::text, 'unknown'), EXTRACT(EPOCH FROM replay_lag),
        state IS NULL, current_user
    FROM pg_stat_replication WHERE replay_lag IS NOT NULL OR state IS NULL
    ORDER BY state IS NULL DESC, replay_lag DESC LIMIT 1
"""
ACTIVE = {
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ),
    # the one that asks is running too
    "mysql": (
        "SELECT CAST(VARIABLE_VALUE AS SIGNED) - 1 FROM information_schema.GLOBAL_STATUS"
        " WHERE VARIABLE_NAME = 'THREADS_RUNNING'"
    ),
}


@dataclass(frozen=True)
class Wait:
    """Why a run waits, and when to look again; without a time in some seconds."""

    reason: str
    until: datetime | None = None


def reason_to_wait(using: str) -> Wait | None:
    """What the first of the throttles says that has something to say; one that fails is a reason to wait as well."""
    for path in conf.THROTTLE:
        try:
            throttle: Callable[[str], str | Wait | None] = import_string(path)
            found = throttle(using)
            if isinstance(found, Wait) and found.until is not None and found.until.tzinfo is None:
                raise ValueError(f"Wait.until must be an aware datetime, not {found.until!r}")
        except Exception as error:
            logger.warning("the throttle %s failed: %s", path, error, exc_info=error)
            found = f"the throttle {path} failed: {type(error).__name__}: {error}"
        if found:
            return found if isinstance(found, Wait) else Wait(str(found))
    return None


def replica_lag(using: str) -> str | None:
    """PostgreSQL: wait while a streaming replica is more than PAGESTATS_MAX_REPLICA_LAG seconds behind.

    The role of the site needs pg_monitor (or pg_read_all_stats) to see it: without it a run with a replica waits, and
    says so. Elsewhere there is nothing to wait for.
    """
    if connections[using].vendor != "postgresql":
        return None
    with connections[using].cursor() as cursor:
        cursor.execute(REPLICAS)
        row = cursor.fetchone()
    if row is None:
        return None
    name, seconds, is_hidden, role = row
    if is_hidden:
        return f"how far a replica is, is not shown to the role {role}: run GRANT pg_monitor TO {role}"
    if seconds <= conf.MAX_REPLICA_LAG:
        return None
    return f"the replica {name} is {seconds:.1f} s behind, more than {conf.MAX_REPLICA_LAG:g} s"


def active_connections(using: str) -> str | None:
    """PostgreSQL, MariaDB: wait while more than PAGESTATS_MAX_ACTIVE_CONNECTIONS others are executing statements.

    On PostgreSQL those of the same database (those of other roles only with pg_monitor), on MariaDB those of the whole
    server. SQLite has none.
    """
    statement = ACTIVE.get(connections[using].vendor)
    if statement is None:
        return None
    with connections[using].cursor() as cursor:
        cursor.execute(statement)
        (count,) = cursor.fetchone()
    if count <= conf.MAX_ACTIVE_CONNECTIONS:
        return None
    return f"{count} connections are active, more than {conf.MAX_ACTIVE_CONNECTIONS}"


def hours(using: str) -> Wait | None:
    """Wait outside PAGESTATS_HOURS, a part of each day in PAGESTATS_TIME_ZONE by the database's clock."""
    return outside_hours(database_now(using))


def outside_hours(now: datetime) -> Wait | None:
    """What `hours` says at an instant."""
    if conf.HOURS is None:
        return None
    begin, end = (time.fromisoformat(part) for part in conf.HOURS.split("-"))
    local = now.astimezone(ZoneInfo(conf.TIME_ZONE))
    clock = local.time()
    is_inside = begin <= clock < end if begin < end else clock >= begin or clock < end
    if is_inside:
        return None
    opens = local.replace(hour=begin.hour, minute=begin.minute, second=0, microsecond=0, fold=0)
    if opens <= local:
        opens += timedelta(days=1)
    return Wait(f"it is not {conf.HOURS} ({conf.TIME_ZONE})", opens.astimezone(now.tzinfo))
