"""A sequence that is behind its table, as after a restore of the rows alone: INSERTs then draw ids that are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError

from django_pagestats.exceptions import SequenceBehindError
from django_pagestats.merging import database_for


def sequence_behind(using: str, error: BaseException) -> str:
    """What there is to say and to do where an INSERT failed for that; empty: it failed for something else."""
    if not isinstance(error, IntegrityError) or not (table := database_for(using).taken_key(error)):
        return ""
    alias = "" if using == DEFAULT_DB_ALIAS else f" --database {using}"
    key = " ".join(str(error).split())
    return (
        f"The sequence of {table}.id is behind its table ({key}), as after a restore of the rows alone: "
        f"`manage.py sqlsequencereset django_pagestats{alias} | manage.py dbshell{alias}` sets it"
    )


@contextmanager
def sequence_told(using: str) -> Iterator[None]:
    """Around INSERTs: raises SequenceBehindError, which names the cure, in place of the database's own error."""
    try:
        yield
    except DatabaseError as error:
        if text := sequence_behind(using, error):
            raise SequenceBehindError(text) from error
        raise
