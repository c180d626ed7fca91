"""Random keys for keyed hashes, one for each period: with its salt gone, nobody can try out an address again."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from datetime import date, datetime, timedelta, timezone

from django.db import connections, router

from django_pagestats.clock import local_day
from django_pagestats.models import Salt
from django_pagestats.schemas import schema_of

SALT_BYTES = 32
#: a session key is the base64 of so many bytes: 22 characters
KEY_BYTES = 16
#: the period of the salt that is never deleted
PERMANENT = "permanent"
#: how long after its period a salt is kept: for servers whose clocks are slow
GRACE = timedelta(hours=2)
#: alias, schema, period -> the salt
_known: dict[tuple[str, str | None, str], bytes] = {}
_lock = threading.Lock()


def keyed_hash(salt: bytes, *parts: str) -> str:
    """22 characters of URL-safe base64: BLAKE2b (RFC 7693) of 16 bytes, keyed by the salt, of the parts.

    NULs separate the parts: these have none, so two lists of parts never make one text.
    """
    digest = hashlib.blake2b("\0".join(parts).encode(), key=salt, digest_size=KEY_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def day_of(at: datetime) -> str:
    """The period of a local day of PAGESTATS_TIME_ZONE, such as "2026-11-29"."""
    return local_day(at).isoformat()


def month_of(at: datetime) -> str:
    """The period of a local calendar month, such as "2026-11"."""
    return day_of(at)[:7]


def salt(period: str, *, using: str | None = None) -> bytes:
    """The salt of a period: made by whoever asks first, of any process; then remembered by the process.

    Raises the database's errors.
    """
    alias = using or router.db_for_write(Salt)
    known = remembered(period, using=alias)
    return _asked(period, alias) if known is None else known


def remembered(period: str, *, using: str) -> bytes | None:
    """The salt of a period if this process knows it; asks no database."""
    return _known.get((using, schema_of(using), period))


def _asked(period: str, alias: str) -> bytes:
    found = _stored(period, alias)
    # what a transaction has made may be rolled back: only what is there for all is remembered
    if not connections[alias].in_atomic_block:
        with _lock:
            _known[alias, schema_of(alias), period] = found
    delete_expired(using=alias)  # with a new day one of the last days is over
    return found


def _stored(period: str, alias: str) -> bytes:
    salts = Salt.objects.using(alias)
    found, is_new = salts.get_or_create(period=period, defaults={"value": secrets.token_bytes(SALT_BYTES)})
    if is_new and not connections[alias].in_atomic_block:
        found = salts.get(period=period)  # as the database has it
    return bytes(found.value)


def delete_expired(*, using: str | None = None, now: datetime | None = None) -> int:
    """Delete the salts whose period ended more than two hours ago, here and in the database; gives their number.

    Called with each new period, by the thread of a process that records, and by keeping up.
    """
    at = now or datetime.now(timezone.utc)
    alias = using or router.db_for_write(Salt)
    with _lock:
        for known in [key for key in _known if is_over(key[2], at)]:
            del _known[known]
    salts = Salt.objects.using(alias)
    over = [period for period in salts.values_list("period", flat=True) if is_over(period, at)]
    return salts.filter(period__in=over).delete()[0] if over else 0


def is_over(period: str, now: datetime) -> bool:
    """Whether a period ended more than two hours ago, by the local time of PAGESTATS_TIME_ZONE."""
    if period == PERMANENT:
        return False
    return _last_day(period) < local_day(now - GRACE)


def _last_day(period: str) -> date:
    if len(period) > len("2026-11"):
        return date.fromisoformat(period)
    first = date.fromisoformat(f"{period}-01")
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def forget() -> None:
    """Forget what this process remembers; for tests, and after a restore."""
    with _lock:
        _known.clear()
