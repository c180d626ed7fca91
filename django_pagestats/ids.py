"""Small integer ids of session keys, paths and values, made in a transaction of their own before the chunk's.

Whoever needs one that is missing inserts it; in sorted order, so that two who insert the same ones wait for each other
instead of dead-locking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import DatabaseError, OperationalError, connections
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from django_pagestats.exceptions import PageStatsError, SubjectIdsExhaustedError, VisitorIdsExhaustedError
from django_pagestats.merging import database_for
from django_pagestats.models import Dimension, Subject, Visitor
from django_pagestats.sequences import sequence_told

#: ids that a visitor set can hold; the last million is left for provisional ids of visitors in a tail
MOST_VISITORS = 2**32 - 1_000_001
#: ids that the aggregates' column can hold
MOST_SUBJECTS = 2**31 - 1
DEADLOCK_TRIES = 10
#: where so many or more were all new, the next ones most likely are too: they are inserted without a look at first
MANY_NEW = 1_000


class Witnesses(NamedTuple):
    """Some values with their ids: as long as the database has them, it has all ids that were given out before.

    It loses its last commits first. A server that crashed without having synced each commit, or a replica that took
    over, may have lost some; behind a proxy nobody else notices.
    """

    subjects: tuple[tuple[str, int], ...]
    visitors: tuple[tuple[str, int], ...]

    def condition(self) -> tuple[str, list[Any]]:
        """That all are there, in SQL with its parameters: once a chunk, and by the ORM it took three times as long."""
        rows = [(f"{Subject._meta.db_table} WHERE digest", digest_of(path), pk) for path, pk in self.subjects]
        rows += [(f"{Visitor._meta.db_table} WHERE session_key", session_key, pk) for session_key, pk in self.visitors]
        exists = (f"EXISTS (SELECT 1 FROM {table_and_key} = %s AND id = %s)" for table_and_key, *_ in rows)
        return " AND ".join(exists) or "1 = 1", [value for row in rows for value in row[1:]]

    def expression(self) -> RawSQL:
        """The same as a part of a queryset's condition."""
        return RawSQL(*self.condition(), output_field=BooleanField())  # noqa: S611 - no texts in it

    def are_there(self, using: str) -> bool:
        condition, values = self.condition()
        with connections[using].cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM (SELECT 1 AS one) AS one WHERE {condition}", values)
            return cursor.fetchone() is not None


class IdCache:
    """Ids that were found committed, bounded in number and in bytes: when one half is full, the older half goes.

    It lives as long as one link or run, or is handed to the run's very next link, never longer: a restored or flushed
    database has other ids. Nor does it outlive an error of the database, which may have lost its last commits, nor the
    loss of one of its witnesses.
    """

    #: of all values in one half; paths may be 2,048 characters long
    MOST_CHARACTERS = 5_000_000

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit // 2
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._characters = 0
        #: the last ones that were fetched were many, and all of them new: a first backfill
        self.are_new = False
        #: the value with the highest id of each fetch, and that id
        self._witnesses: list[tuple[str, int]] = []

    def resolve(self, values: Iterable[str], fetch: Callable[[set[str]], dict[str, int]]) -> dict[str, int]:
        """value -> id for all of the values, and for others too; `fetch` gets those that are not remembered."""
        if len(self._young) > self._limit or self._characters > self.MOST_CHARACTERS:
            self._old, self._young, self._characters = self._young, {}, 0
        missing = set(values).difference(self._young)
        self._characters += sum(map(len, missing))
        # not by intersection(): it would go through all of the old half
        again = {value: self._old[value] for value in missing if value in self._old}
        self._young.update(again)
        missing.difference_update(again)
        if missing:
            found = fetch(missing)
            self._young.update(found)
            if found and (newest := max(found.items(), key=itemgetter(1))) not in self._witnesses:
                self._witnesses.append(newest)
        return self._young

    def witnesses(self) -> tuple[tuple[str, int], ...]:
        """The newest of all, and those of fetches that are not confirmed; one is not enough.

        Once ids are lost the next fetch may give out higher ones, perhaps some of the lost ones to others.
        """
        return tuple(self._witnesses)

    def confirm(self, witnesses: tuple[tuple[str, int], ...]) -> None:
        """They were seen in the database: of these the newest is enough from now on. Another thread may fetch now."""
        for witness in sorted(witnesses, key=itemgetter(1))[:-1]:
            if witness in self._witnesses:
                self._witnesses.remove(witness)


def digest_of(value: str) -> str:
    """What a subject's value is unique by: SHA-256 of its UTF-8, in hex."""
    return sha256(value.encode()).hexdigest()


def known_visitor_ids(using: str, session_keys: Iterable[str]) -> dict[str, int]:
    """session key -> visitor id, of those that have one that a visitor set can hold: no set has any other."""
    found = _stored_visitor_ids(using, session_keys)
    if found and (max(found.values()) > MOST_VISITORS or min(found.values()) < 0):
        return {session_key: visitor for session_key, visitor in found.items() if 0 <= visitor <= MOST_VISITORS}
    return found


def _stored_visitor_ids(using: str, session_keys: Iterable[str]) -> dict[str, int]:
    return database_for(using).select_ids(Visitor._meta.db_table, "session_key", sorted(set(session_keys)))


def known_subject_ids(using: str, values: Iterable[str], dimension: int = Dimension.PAGE) -> dict[str, int]:
    """value of a dimension, such as a path -> subject id, of those that have one."""
    by_digest = {digest_of(value): value for value in values}
    where = f" AND dimension = {dimension:d}"
    found = database_for(using).select_ids(Subject._meta.db_table, "digest", sorted(by_digest), where)
    return {by_digest[digest]: subject for digest, subject in found.items()}


def visitor_ids(using: str, session_keys: Iterable[str], cache: IdCache | None = None) -> dict[str, int]:
    """session key -> visitor id of all of them; those that are new are inserted and committed.

    With a cache the dictionary may hold more than was asked for. Raises VisitorIdsExhaustedError, having stored
    nothing, where an id does not fit a visitor set, and SequenceBehindError.
    """
    limit = _Limit(using, Visitor, MOST_VISITORS, "a visitor set", VisitorIdsExhaustedError)
    cache = cache or IdCache()
    told = 0

    def insert(missing: set[str]) -> dict[str, int]:
        nonlocal told
        rows = [(session_key,) for session_key in sorted(missing)]
        with limit.told():
            inserted = database_for(using).insert_values(
                Visitor._meta.db_table, ["session_key"], rows, unique=["session_key"], key="session_key"
            )
        told = len(inserted)
        if others := missing.difference(inserted):
            inserted.update(_stored_visitor_ids(using, others))
        limit.check(inserted)
        return inserted

    def fetch(missing: set[str]) -> dict[str, int]:
        found = _fetch(using, missing, known=known_visitor_ids, insert=insert, are_new=cache.are_new)
        # those that are there already cost an id each, so it is not taken for granted twice
        cache.are_new = MANY_NEW <= len(missing) == told
        return found

    return cache.resolve(session_keys, fetch)


def subject_ids(
    using: str, values: Iterable[str], cache: IdCache | None = None, dimension: int = Dimension.PAGE
) -> dict[str, int]:
    """value of a dimension, such as a path -> subject id of all of them; those that are new are inserted and committed.

    With a cache the dictionary may hold more than was asked for. Raises SubjectIdsExhaustedError, having stored
    nothing, where an id does not fit the aggregates, and SequenceBehindError.
    """
    limit = _Limit(using, Subject, MOST_SUBJECTS, "an aggregate", SubjectIdsExhaustedError)

    def insert(missing: set[str]) -> dict[str, int]:
        rows = sorted((int(dimension), digest_of(value), value) for value in missing)
        columns = ["dimension", "digest", "value"]
        with limit.told():
            inserted = database_for(using).insert_values(
                Subject._meta.db_table, columns, rows, unique=["dimension", "digest"], key="value"
            )
        limit.check(inserted)
        return inserted

    def fetch(missing: set[str]) -> dict[str, int]:
        found = _fetch(using, missing, known=known, insert=insert)
        limit.check(found)
        return found

    def known(using: str, missing: Iterable[str]) -> dict[str, int]:
        return known_subject_ids(using, missing, dimension)

    return (cache or IdCache()).resolve(values, fetch)


class _Limit(NamedTuple):
    """Refuses ids that are too high, inside the transaction that would store them."""

    using: str
    model: type[Visitor | Subject]
    most: int
    holder: str
    error: type[PageStatsError]

    @contextmanager
    def told(self) -> Iterator[None]:
        """Around an INSERT: raises what names the cure, where the database has no id for it."""
        try:
            with sequence_told(self.using):
                yield
        except DatabaseError as error:
            if database_for(self.using).is_out_of_ids(error):
                raise self._refused(self.most + 1) from error
            raise

    def check(self, ids: dict[str, int]) -> None:
        """Raise if one of them does not fit."""
        for found in (max(ids.values(), default=0), min(ids.values(), default=0)):
            if not 0 <= found <= self.most:
                raise self._refused(found)

    def _refused(self, found: int) -> PageStatsError:
        table = self.model._meta.db_table
        reset = database_for(self.using).counter_reset(table)
        return self.error(
            f"{self.model._meta.object_name} id {found} is {f'above {self.most}' if found > self.most else 'below 0'}: "
            f"{self.holder} cannot hold it, so none has it. Delete such rows, and let new ids follow the highest one "
            f"that is left: DELETE FROM {table} WHERE id < 0 OR id > {self.most}; {reset};"
        )


def _fetch(
    using: str,
    missing: set[str],
    *,
    known: Callable[[str, Iterable[str]], dict[str, int]],
    insert: Callable[[set[str]], dict[str, int]],
    are_new: bool = False,
) -> dict[str, int]:
    """value -> id of those that are missing in a cache; `are_new`: most likely the database has none of them."""
    found = {} if are_new else known(using, missing)
    if new := missing.difference(found):
        found.update(_insert(using, insert, new))
        if others := new.difference(found):
            found.update(known(using, others))
    if len(found) != len(missing):
        raise LookupError(
            f"{len(missing) - len(found)} of {len(missing)} values have no id although they were inserted."
        )
    return found


def _insert(using: str, insert: Callable[[set[str]], dict[str, int]], missing: set[str]) -> dict[str, int]:
    """Insert in one transaction, again after a deadlock with others who insert the same."""
    tries = 0
    while True:
        tries += 1
        try:
            with database_for(using).transaction():
                return insert(missing)
        except OperationalError:
            # inside a caller's transaction the database may have undone all of it
            if tries >= DEADLOCK_TRIES or connections[using].in_atomic_block:
                raise
            time.sleep(0.01 * tries)
