"""Primary keys that others keep as text: the admin's log, or a table of another package."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connections, models


def keys_of(model: type[models.Model], texts: Iterable[str], *, using: str) -> dict[str, Any]:
    """The keys of a model that are written so, by their texts; without what is none, as of a time of other keys.

    Whether a row has the key is not asked.
    """
    column = key_column(model)
    found: dict[str, Any] = {}
    for text in texts:
        with suppress(ValidationError):
            key = column.to_python(text)
            if _is_in_range(column, key, using):
                found[text] = key
    return found


def key_column(model: type[models.Model]) -> Any:
    """The column of the primary key, also where that is a link to a parent."""
    field: Any = model._meta.pk
    while field.remote_field is not None:
        field = field.target_field
    return field


def _is_in_range(column: Any, key: object, using: str) -> bool:
    """Whether the database takes a number for a key: Django asks that of one key, and not of a list of them."""
    if not isinstance(column, models.IntegerField) or not isinstance(key, int):
        return True
    low, high = connections[using].ops.integer_field_range(column.get_internal_type())
    return (low is None or low <= key) and (high is None or key <= high)
