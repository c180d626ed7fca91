"""Where a page view belongs: a database, and in it a schema, on sites that have one for each of their tenants.

Such connections are known by what django-tenants gives them: `schema_name`, `set_schema()`, `set_schema_to_public()`,
`tenant` and `set_tenant()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections

from django_pagestats.exceptions import UnknownSchemaError
from django_pagestats.schemas import schema_of


class Place(NamedTuple):
    """A database's alias, and the schema in it; None: the connection knows no schemas."""

    alias: str
    schema: str | None = None


def place_of(alias: str) -> Place:
    """Where this thread's connection is; asks no database. Raises UnknownSchemaError."""
    schema = schema_of(alias)
    if schema is not None and in_event_loop():
        raise UnknownSchemaError(
            f"The database {alias!r} has a schema for each tenant, and an event loop does not know which a request has:"
            " record its page view by sync_to_async, in the thread that knows it."
        )
    return Place(alias, schema)


def in_event_loop() -> bool:
    """Whether this thread runs one, which nothing may hold up, and from which Django asks no database."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def at(place: Place) -> Iterator[None]:
    """This thread's connection is in the schema of a place, for the length of a block."""
    connection: Any = connections[place.alias]
    if place.schema is None or place.schema == connection.schema_name:
        yield
        return
    tenant = getattr(connection, "tenant", None)
    connection.set_schema(place.schema)
    try:
        yield
    finally:
        if tenant is None:
            connection.set_schema_to_public()
        else:
            connection.set_tenant(tenant)
