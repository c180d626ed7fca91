"""Whether a connection to MariaDB or MySQL carries every character there is: text, both ways."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from django_pagestats.exceptions import GarbledTextError

CHARSET = "utf8mb4"
VARIABLES = ("character_set_client", "character_set_connection", "character_set_results")

#: connections of the driver that were asked and found right
_faithful: WeakSet[Any] = WeakSet()


def not_faithful(variables: dict[str, Any]) -> str:
    """Which of the session's character sets would garble text, in words; empty: none."""
    wrong = [f"{name} is {variables[name]}" for name in VARIABLES if variables[name] != CHARSET]
    return ", ".join(wrong)


def refuse_garbling(connection: Any) -> None:
    """Raise GarbledTextError unless the connection is found to carry every character; it is asked once.

    By the driver itself, since it is no question of the caller's, whose transaction may be a broken one.
    """
    connection.ensure_connection()
    session = connection.connection
    if session in _faithful:
        return
    with connection.wrap_database_errors, session.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'@@SESSION.{name}' for name in VARIABLES)}")
        variables = dict(zip(VARIABLES, cursor.fetchone(), strict=True))
    if wrong := not_faithful(variables):
        alias = connection.alias
        raise GarbledTextError(
            f"DATABASES[{alias!r}] does not carry every character ({wrong}): an emoji in a path would become '?', and"
            f' pages be taken for one. Write DATABASES[{alias!r}]["OPTIONS"]["charset"] = "{CHARSET}", and no other'
            " SET NAMES."
        )
    _faithful.add(session)
