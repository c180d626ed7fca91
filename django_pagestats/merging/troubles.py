"""What an error of the database means, and what a person can do about it."""

from __future__ import annotations

from enum import Enum


class RowsLockedError(Exception):
    """Page views of a chunk are locked by a transaction that has not ended."""


class Trouble(Enum):
    """What an error of the database means, where a person can do something about it."""

    LOCKED = "locked"  #: somebody else holds a lock for longer than it was waited for
    CONFLICT = "conflict"  #: somebody else was faster: a deadlock, or a row that changed after the transaction began
    FORBIDDEN = "forbidden"  #: the database's user lacks a privilege
    MISSING = "missing"  #: there is no such table or column
    BINARY_LOG = "binary log"  #: the server's binary log cannot take what a READ COMMITTED transaction writes
    DISK_FULL = "disk full"  #: there is no room to write
    READ_ONLY = "read-only"  #: nothing may be written, as on a replica
    IDLE = "idle"  #: the server ended a transaction whose client did not move
    LOST = "lost"  #: the connection is gone: the server ended it or stopped, or the network did


BINARY_LOG_TOLD = (
    "The server's binary log has the format STATEMENT, in which nothing of ours can be written: set binlog_format ="
    " MIXED or ROW in its configuration, and restart it."
)
#: what does not pass by itself
LASTING = frozenset({Trouble.BINARY_LOG, Trouble.FORBIDDEN, Trouble.MISSING})
