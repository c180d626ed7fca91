"""Sites that have a schema for each of their tenants: in each of them there are tables of ours of its own."""

from __future__ import annotations

from django.db import connections


def schema_of(alias: str) -> str | None:
    """The schema that this thread's connection is in; asks no database. None also for an alias that is none."""
    if alias not in connections:
        return None
    schema: str | None = getattr(connections[alias], "schema_name", None)
    return schema
