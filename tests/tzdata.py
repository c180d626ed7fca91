"""Time zone databases of a test's own: what an update of tzdata, or another machine's, makes of a zone."""

from __future__ import annotations

import struct
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from django_pagestats import buckets
from django_pagestats.folding import zones

ZONE = "Europe/Dublin"
HOUR = 3_600
#: when clocks change, and to how many seconds ahead of UTC
Rules = list[tuple[datetime, int]]


@contextmanager
def rules(folder: Path, changes: Rules) -> Iterator[None]:
    """As on a machine whose time zone database has these changes of ZONE, and no more."""
    root = folder / str(abs(hash(tuple(changes))))
    path = root / ZONE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_tzif(changes))
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[str(root), *before])
    _forget()
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(to=before)
        _forget()


def _forget() -> None:
    """As a process that has just begun."""
    zoneinfo.ZoneInfo.clear_cache()
    for remembered in (zones._calendar, buckets._calendar, buckets._day_intervals):
        remembered.cache_clear()


def _tzif(changes: Rules) -> bytes:
    """The file of a zone that begins in UTC, in the format of RFC 8536, version 2, without a footer's rule."""
    offsets = [0, *(offset for _, offset in changes)]
    header = b"TZif2" + bytes(15)
    body = b"".join(struct.pack(">q", round(at.timestamp())) for at, _ in changes)
    body += bytes(range(1, len(offsets)))
    body += b"".join(struct.pack(">iBB", offset, 0, 0) for offset in offsets) + b"LOC\0"
    empty = header + struct.pack(">6I", 0, 0, 0, 0, 1, 4) + struct.pack(">iBB", 0, 0, 0) + b"LOC\0"
    return empty + header + struct.pack(">6I", 0, 0, 0, len(changes), len(offsets), 4) + body + b"\n\n"
