"""Columns of text that are the same in every database, whatever character set and collation it has for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
    _TextField = models.TextField[Any, Any]
else:
    _CharField = models.CharField
    _TextField = models.TextField


def exact_collation(connection: Any) -> str | None:
    """The collation that compares byte by byte; None where nothing else is known."""
    if connection.vendor == "postgresql":
        return "C"
    if connection.vendor == "mysql":
        # *_bin pads: it takes '/x ' for '/x'
        return "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
    return None  # SQLite compares bytes


def prose_collation(connection: Any) -> str | None:
    """One with every character, where the database's own may have few: MariaDB's was latin1 for years."""
    return "utf8mb4_unicode_ci" if connection.vendor == "mysql" else None


class ExactCharField(_CharField):
    """Text compared byte by byte on every database: "/A" is not "/a", and "/x " is not "/x"."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": exact_collation(connection)}


class ProseCharField(_CharField):
    """A short text for people, of any characters."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": prose_collation(connection)}


class ProseTextField(_TextField):
    """A text for people, of any characters and any length."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": prose_collation(connection)}
