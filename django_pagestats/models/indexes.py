"""Indexes that a database has as far as it can."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


class WherePossibleIndex(models.Index):
    """An index with a condition where the database has partial indexes, and over all rows where it has none."""

    def __init__(self, *expressions: Any, where: models.Q, **kwargs: Any) -> None:
        super().__init__(*expressions, **kwargs)
        self.where = where

    def _get_condition_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str | None:
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        partial = models.Index(fields=["pk"], name=self.name, condition=self.where)
        condition: str | None = partial._get_condition_sql(model, schema_editor)  # type: ignore[attr-defined]
        return condition

    def deconstruct(self) -> Any:
        path, expressions, kwargs = super().deconstruct()
        return path, expressions, {**kwargs, "where": self.where}
