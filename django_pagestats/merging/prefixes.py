"""Texts that begin with another one, as a range of texts: the same on every database, without LIKE.

LIKE has wildcards, ignores the case on SQLite, and its escapes depend on a setting of the server.
"""

from __future__ import annotations

from django.db.models import Q

LAST = "\U0010ffff"
BEFORE_SURROGATES, AFTER_SURROGATES = "\ud7ff", "\ue000"


def end_of_prefix(prefix: str) -> str | None:
    """The first text, by code points, after all that begin with `prefix`; None where none comes after them.

    >>> end_of_prefix("/blog/")
    '/blog0'
    """
    rest = prefix.rstrip(LAST)
    if not rest:
        return None
    last = rest[-1]
    # no text that a database holds has half a surrogate pair
    return rest[:-1] + (AFTER_SURROGATES if last == BEFORE_SURROGATES else chr(ord(last) + 1))


def begins(field: str, prefix: str) -> Q:
    """The condition that the text of a byte-exact field begins so."""
    end = end_of_prefix(prefix)
    of_prefix = Q((f"{field}__gte", prefix))
    return of_prefix if end is None else of_prefix & Q((f"{field}__lt", end))


def begins_with(column: str, prefix: str) -> tuple[str, list[str]]:
    """The same in SQL, with its parameters."""
    end = end_of_prefix(prefix)
    if end is None:
        return f"{column} >= %s", [prefix]
    return f"{column} >= %s AND {column} < %s", [prefix, end]
