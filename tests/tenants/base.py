from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django.db.backends.postgresql import base

PUBLIC = "public"


class DatabaseWrapper(base.DatabaseWrapper):
    """Each cursor works in the schema of the tenant that was set last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_schema_to_public()

    def set_tenant(self, tenant: Any) -> None:
        self.tenant = tenant
        self.schema_name = tenant.schema_name

    def set_schema(self, schema_name: str) -> None:
        self.set_tenant(SimpleNamespace(schema_name=schema_name))

    def set_schema_to_public(self) -> None:
        self.set_schema(PUBLIC)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = super().create_cursor(name=name)
        cursor.execute(f'SET search_path = "{self.schema_name}"')
        return cursor
