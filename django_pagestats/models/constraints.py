"""What a page view must be to be countable: checked by the database itself, for whoever writes by raw SQL.

Each database has its own words for it. A CHECK lets pass what it cannot tell (NULL), so none of them may give NULL.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

FIRST_TIME = datetime(1970, 1, 1, tzinfo=timezone.utc)
END_OF_TIME = datetime(2200, 1, 1, tzinfo=timezone.utc)

#: of a page view's time: from 1970 to 2199 (UTC), and the same to every reader
COUNTABLE_TIME = {
    # infinities and years BC are outside the range
    "postgresql": "{column} >= '1970-01-01 00:00:00+00' AND {column} < '2200-01-01 00:00:00+00'",
    # without a strict sql_mode there are months and days 0, and 30 February
    "mysql": (
        "{column} >= '1970-01-01 00:00:00' AND {column} < '2200-01-01 00:00:00'"
        " AND COALESCE(DAYOFMONTH({column}) BETWEEN 1 AND DAYOFMONTH(LAST_DAY({column})), 0)"
    ),
    # in days since 4714 BC; it rounds to a thousandth of a second, and 2199 must not end before its last one;
    # '2200' alone would be taken for a number
    "sqlite": "{shape} AND coalesce(julianday({column}) BETWEEN 2440587.5 AND 2524593.5,0) AND {column} < '2200-'",
}
#: SQLite keeps times as text, and compares them so: the order is that of the times if all are written as Django does,
#: in UTC. With a "T" or an offset an index, a filter of the site's or of the admin's would take it for another time
WRITTEN = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
#: its functions take 30 February for 2 March; GLOB and length() end at a NUL
SQLITE_SHAPE = (
    f"typeof({{column}}) = 'text' AND {{column}} GLOB '{WRITTEN}*' AND instr({{column}},char(0)) = 0"
    " AND (length({column}) = 19 OR (length({column}) BETWEEN 21 AND 26 AND substr({column},20,1) = '.'"
    " AND substr({column},21) NOT GLOB '*[^0-9]*'))"
    " AND (substr({column},9,2) < '29' OR date(substr({column},1,10),'+0 days') IS substr({column},1,10))"
    " AND substr({column},12,2) < '24'"
)
#: not empty, no NUL, and text. SQLite: no ", ", at which Django cuts a table's statement when it looks for columns
STORABLE_TEXT = {
    "postgresql": "{column} <> ''",  # it has no text with a NUL
    # a NUL with a collation: that of the connection makes an illegal mix with a column that is not compared by bytes
    "mysql": "CHAR_LENGTH({column}) > 0 AND LOCATE(CHAR(0 USING utf8mb4) COLLATE utf8mb4_bin, {column}) = 0",
    "sqlite": "typeof({column}) = 'text' AND {column} <> '' AND instr({column},char(0)) = 0",
}


def words(by_vendor: dict[str, str], vendor: str, column: str) -> str:
    """A condition about a column, in the words of a database."""
    return by_vendor[vendor].format(column=column, shape=SQLITE_SHAPE.format(column=column))


class VendorCheck(models.CheckConstraint):
    """A CHECK of one column in the words of each database; `condition` is what a form can ask beforehand."""

    WORDS: dict[str, str]

    def __init__(self, *, field: str, name: str, condition: models.Q, message: str) -> None:
        super().__init__(condition=condition, name=name, violation_error_message=message)
        self.field = field

    def _get_check_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:
        column = schema_editor.quote_name(str(model._meta.get_field(self.field).column))  # type: ignore[union-attr]
        return words(self.WORDS, schema_editor.connection.vendor, column)

    def deconstruct(self) -> Any:
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, (), {"field": self.field, "name": self.name}


class CountableTime(VendorCheck):
    """A time from 1970 to 2199 (UTC)."""

    WORDS = COUNTABLE_TIME

    def __init__(self, *, field: str, name: str) -> None:
        within = {f"{field}__gte": FIRST_TIME, f"{field}__lt": END_OF_TIME}
        message = f"{field} must be a time from 1970 to 2199 (UTC)."
        super().__init__(field=field, name=name, condition=models.Q(**within), message=message)


class StorableText(VendorCheck):
    """Text of at least one character, without NUL."""

    WORDS = STORABLE_TEXT

    def __init__(self, *, field: str, name: str) -> None:
        message = f"{field} must have at least one character, and no NUL character."
        super().__init__(field=field, name=name, condition=~models.Q(**{field: ""}), message=message)
