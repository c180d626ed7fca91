"""Tokens: made, found by what a request shows, and revoked.

A secret has 256 random bits. Nobody can try out so many, so its SHA-256 needs no salt and nothing slow, unlike a
password's; and whoever reads the table has nothing to show. It is looked up by that digest: the time that the look-up
takes tells of the digest of a guess only, which says nothing about any other digest.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import Q

from django_pagestats.clock import local_day
from django_pagestats.exceptions import TokenRefusedError
from django_pagestats.models import PATH_MAX_LENGTH, Token

logger = logging.getLogger(__name__)

#: by which people, and scanners for secrets that were published, know one
PREFIX = "pagestats_"
RANDOM_BYTES = 32
NAME_MAX_LENGTH = 100


def create_token(
    name: str,
    *,
    now: datetime,
    paths: Sequence[str] = (),
    sections: Sequence[str] = (),
    expires_at: datetime | None = None,
    using: str | None = None,
) -> tuple[Token, str]:
    """A new token and its secret, which nothing can show again; raises TokenRefusedError."""
    using = using or home()
    _check(name, paths, sections)
    if expires_at is not None and expires_at <= now:
        raise TokenRefusedError(f"It would have expired at {expires_at.isoformat()}: a later day would do.")
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    token = Token(
        name=name,
        digest=_digest_of(secret),
        paths=list(dict.fromkeys(paths)),
        sections=list(dict.fromkeys(sections)),
        created_at=now,
        expires_at=expires_at,
    )
    try:
        with transaction.atomic(using=using):
            token.save(using=using, force_insert=True)
    except IntegrityError:
        if Token.objects.using(using).filter(name=name).exists():
            raise TokenRefusedError(
                f"There is a token {name!r}, or there was one that was revoked: take another name, or delete that one"
                " in the admin."
            ) from None
        raise
    return token, secret


def revoke_token(token: Token, *, now: datetime, using: str | None = None) -> bool:
    """From now on it answers nobody; False where that was so before."""
    rows = Token.objects.using(using or home())
    return rows.filter(pk=token.pk, revoked_at=None).update(revoked_at=now) == 1


def find_token(secret: str, *, now: datetime, using: str | None = None) -> Token | None:
    """The token of a secret, if it is in force."""
    in_force = Q(expires_at=None) | Q(expires_at__gt=now)
    rows = Token.objects.using(using or home()).filter(in_force, revoked_at=None)
    return rows.filter(digest=_digest_of(secret)).first()


def note_use(token: Token, *, now: datetime, using: str | None = None) -> None:
    """Keep the day of it: one UPDATE for the first answer of a day, whoever else is answering at the time."""
    using, today = using or home(), local_day(now)
    if token.last_used_on == today:
        return
    rows = Token.objects.using(using).filter(Q(last_used_on=None) | Q(last_used_on__lt=today), pk=token.pk)
    try:
        with transaction.atomic(using=using):
            rows.update(last_used_on=today)
    except DatabaseError:  # a database that only reads for a while, or a lock that is held: the answer is worth more
        logger.exception("The day on which the token %s was used could not be kept.", token.pk)


def state_of(token: Token, now: datetime) -> str:
    """ "in force", "expired" or "revoked"."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "in force"


def home() -> str:
    """Where tokens are: where they are written, since a replica may not know yet that one is revoked."""
    return router.db_for_write(Token)


def _digest_of(secret: str) -> str:
    return sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _check(name: str, paths: Sequence[str], sections: Sequence[str]) -> None:
    if not name.strip() or len(name) > NAME_MAX_LENGTH or not name.isprintable():
        raise TokenRefusedError(f"name={name!r}: 1 to {NAME_MAX_LENGTH} printable characters would do.")
    for path in paths:
        if not path.startswith("/") or len(path) > PATH_MAX_LENGTH or "\0" in path:
            raise TokenRefusedError(
                f'path={path!r}: a path as it is counted would do: "/" first, and {PATH_MAX_LENGTH:,} characters at'
                " the most."
            )
    for section in sections:
        if not section or ("/" in section and section != "/") or "\0" in section:
            raise TokenRefusedError(
                f'section={section!r}: the first segment of paths, without a slash, would do: "blog" of'
                ' "/blog/2026/"; "/" is the home page.'
            )
