"""What answers have in them, described once: for the OpenAPI document, and for rows to be held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
TEXT: Mapping[str, Any] = {"type": "string"}
FLAG: Mapping[str, Any] = {"type": "boolean"}
INSTANT: Mapping[str, Any] = {"type": "string", "format": "date-time"}
DATE_OR_INSTANT: Mapping[str, Any] = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}


@dataclass(frozen=True)
class Value:
    """A column of rows, or a member of an answer."""

    name: str
    of: Mapping[str, Any]
    description: str
    is_nullable: bool = False

    def schema(self) -> dict[str, Any]:
        found = {**self.of, "description": self.description}
        if self.is_nullable:
            found["type"] = [self.of["type"], "null"]
        return found
