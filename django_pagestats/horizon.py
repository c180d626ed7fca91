"""The horizon: the highest primary key at or below which no page view can still appear.

Ids are drawn before commit, so a lower id can appear after a higher one. A target is fixed at the highest id there is;
what could still appear below it is then waited for, without a lock, and without holding up any writer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections

from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.models import PageView

#: the locks that a transaction which writes page views holds, from before it draws its first id to its end
WRITE_LOCKS = "('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
#: a table with its partitions, theirs, and what inherits from it: who inserts straight into one locks that one only
TREE = """
    WITH RECURSIVE tree (relation) AS (
        SELECT %s::regclass::oid
        UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN tree ON i.inhparent = tree.relation
    ) SELECT relation FROM tree
"""
#: ShareUpdateExclusiveLock on a partitioned table: a partition that is being attached, with all its page views
LOCKERS = f"""
    FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND l.granted
      AND (l.mode IN {WRITE_LOCKS} OR (l.mode = 'ShareUpdateExclusiveLock' AND c.relkind = 'p'))
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN ({TREE}) AND l.pid IS DISTINCT FROM pg_backend_pid()
"""


@dataclass(frozen=True)
class Settling:
    """A target, and the writers that were at work when it was fixed."""

    target: int
    fixed_at: datetime
    #: PostgreSQL: the virtual transactions that held a write lock on the page views
    writers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"target": self.target, "fixed_at": self.fixed_at.isoformat(), "writers": list(self.writers)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Settling:
        return cls(state["target"], datetime.fromisoformat(state["fixed_at"]), tuple(state["writers"]))


@dataclass(frozen=True)
class Blocker:
    """What a target still waits for."""

    kind: str
    since: datetime | None = None
    pid: int | None = None
    application_name: str = ""

    def __str__(self) -> str:
        text = self.kind
        if self.pid is not None:
            text += f" of process {self.pid}"
        if self.application_name:
            text += f" ({self.application_name})"
        if self.since is not None:
            text += f" since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        return text


def highest_id(using: str) -> int | None:
    """The highest id of a page view that is committed, or None where there is none."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT MAX(id) FROM {PageView._meta.db_table}")
        highest: int | None = cursor.fetchone()[0]
    return highest


def fix_target(using: str) -> Settling:
    """A new target, the highest id there is (0 for an empty table), with what may still appear below it.

    The order matters: whoever draws a lower id later than this has not begun to write by now.
    """
    target = highest_id(using) or 0
    fixed_at = database_now(using)
    return Settling(target, fixed_at, _writers(using) if connections[using].vendor == "postgresql" else ())


def _writers(using: str) -> tuple[str, ...]:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT l.virtualtransaction {LOCKERS}", [PageView._meta.db_table])
        return tuple(sorted(row[0] for row in cursor.fetchall()))


def blockers(using: str, settling: Settling) -> list[Blocker]:
    """What the target still waits for; empty once every page view up to it can be read.

    MariaDB and MySQL tell more only when a chunk is read: see `merging.RowsLockedError`.
    """
    vendor = connections[using].vendor
    if vendor == "postgresql":
        return _transactions(using, settling)
    if vendor == "mysql" and database_now(using) < settling.fixed_at + timedelta(seconds=conf.SETTLE_SECONDS):
        return [Blocker("the settle time (PAGESTATS_SETTLE_SECONDS)", settling.fixed_at)]
    return []


def _transactions(using: str, settling: Settling) -> list[Blocker]:
    with connections[using].cursor() as cursor:
        # a prepared transaction has another virtual transaction than before it was prepared, and no process
        cursor.execute(
            f"""
            WITH held AS (SELECT DISTINCT l.pid, l.virtualtransaction {LOCKERS})
            SELECT held.pid, a.xact_start AT TIME ZONE 'UTC', a.application_name
            FROM held LEFT JOIN pg_stat_activity a ON a.pid = held.pid
            WHERE held.virtualtransaction = ANY(%s) OR held.pid IS NULL
            ORDER BY 2, 1
            """,
            [PageView._meta.db_table, list(settling.writers)],
        )
        rows = cursor.fetchall()
    return [
        Blocker("a transaction that writes page views", since, pid, application_name or "")
        if pid is not None
        else Blocker("a prepared transaction that wrote page views", settling.fixed_at)
        for pid, since, application_name in rows
    ]


def rows_locked(since: datetime) -> Blocker:
    """The blocker behind a `merging.RowsLockedError`."""
    return Blocker("a transaction that inserted or changed page views and has not ended", since)
