"""Where a page view belongs: a database, and in it a schema, on sites that have one for each of their tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections

from django_pagestats.exceptions import PageStatsError


class UnknownSchemaError(PageStatsError):
    """In an event loop nothing tells whose schema a request has: its connection is that of another thread."""


class Place(NamedTuple):
    """A database's alias, and the schema in it; None: the connection knows no schemas."""

    alias: str
    schema: str | None = None


def place_of(alias: str) -> Place:
    """Where this thread's connection is now; asks no database. Raises UnknownSchemaError."""
    connection: Any = connections[alias]
    schema = getattr(connection, "schema_name", None)  # as django-tenants has it
    if schema is None:
        return Place(alias)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return Place(alias, schema)
    raise UnknownSchemaError(
        f"the database {alias!r} has a schema for each tenant, and in an event loop it is not known which: write"
        " PAGESTATS_BUFFER = False, so that page views are stored in the thread that has the tenant"
    )


@contextmanager
def at(place: Place) -> Iterator[None]:
    """This thread's connection is in the schema of a place, for the length of a block."""
    if place.schema is None:
        yield
        return
    connection: Any = connections[place.alias]
    before = getattr(connection, "tenant", None)
    connection.set_schema(place.schema)
    try:
        yield
    finally:
        if before is None:
            connection.set_schema_to_public()
        else:
            connection.set_tenant(before)
