"""Which databases hold our tables: by the router and the settings, and by what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, router, transaction

from django_pagestats.models import Generation, PageView


def home() -> str:
    """The database that page views are written to, where nobody names another."""
    return router.db_for_write(PageView)


def possible() -> Iterator[str]:
    """The databases that may hold our tables."""
    for alias in connections:
        if connections[alias].vendor != "unknown" and router.allow_migrate_model(alias, PageView):
            yield alias


def sure() -> list[str]:
    """Those that hold our tables by the settings alone: without a router any database may, and the default one does."""
    used = home()
    return [alias for alias in possible() if router.routers or alias == used]


def unknown(using: str) -> str:
    """A sentence about an alias that the settings do not have; empty: they have it."""
    if using in connections:
        return ""
    return f"There is no database {using!r}; DATABASES has {', '.join(sorted(connections))}."


def has_tables(using: str) -> bool:
    """Whether our tables are there; asks the database."""
    connection = connections[using]
    with connection.cursor() as cursor:
        return PageView._meta.db_table in connection.introspection.table_names(cursor)


def without_tables(using: str) -> str:
    """A sentence about a database without our tables, with the cure; empty: they are there. Asks the database."""
    if has_tables(using):
        return ""
    begin = f"The database {using!r} has no tables of page statistics"
    if others := sorted(_having_tables({home(), *sure()} - {using})):
        return f"{begin}: they are in {', '.join(map(repr, others))}. Write --database {others[0]}."
    where = using if router.allow_migrate_model(using, PageView) else home()
    return f"{begin}: run {migrate_command(where)}."


def migrate_command(using: str) -> str:
    """What makes our tables in a database."""
    return "manage.py migrate" if using == DEFAULT_DB_ALIAS else f"manage.py migrate --database {using}"


def _having_tables(aliases: Iterable[str]) -> Iterator[str]:
    for alias in aliases:
        try:
            if has_tables(alias):
                yield alias
        except (DatabaseError, InterfaceError):  # it cannot be reached, and is asked only to be recommended
            continue


def not_ours(using: str) -> str:
    """Why nothing of ours is to be kept up on a database; empty: it has our tables, and they belong there.

    As `migrate` decides it: by the settings and the router; then the database is asked.
    """
    if sentence := unknown(using):
        return sentence
    if not router.allow_migrate_model(using, PageView):
        return f"The database router keeps page statistics out of {using!r}: they are in {home()!r}."
    return without_tables(using)


def why_not_written(using: str) -> str:
    """Why nothing can be written there, in the database's words; empty: it can, as an UPDATE of no row has shown."""
    try:
        with transaction.atomic(using=using):
            Generation.objects.using(using).filter(pk=0).update(revision=0)
    except DatabaseError as error:  # a replica, or a role that may only read
        return str(error).strip()
    return ""
