"""Columns that are the same on every database: text is compared byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class ExactCharField(_CharField):
    """Text compared byte by byte on every database: "/A" is not "/a", and "/x " is not "/x"."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": self._exact_collation(connection)}

    @staticmethod
    def _exact_collation(connection: Any) -> str | None:
        if connection.vendor == "postgresql":
            return "C"
        if connection.vendor == "mysql":
            # *_bin pads: it takes '/x ' for '/x'
            return "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        return None  # SQLite compares bytes
