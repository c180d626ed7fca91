"""Answers as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone
from typing import Any

from django_pagestats.dashboard.exporting import guarded

#: so that no text of a visitor's is markup, wherever somebody puts it; to a reader of JSON it is the same
ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


def dumped(value: Any) -> str:
    """JSON of ASCII; dates and instants in ISO 8601, instants in UTC."""
    return json.dumps(value, default=written, separators=(",", ":")).translate(ESCAPES)


def written(value: object) -> str:
    """A date as "2025-03-01", an aware instant as "2025-03-01T10:00:00Z"."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} is nothing that answers have.")


def csv_text(names: Sequence[str] | None, rows: Iterable[Sequence[Any]]) -> str:
    """With a head, if there are names; an apostrophe is before what a spreadsheet might run, and null is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    if names is not None:
        writer.writerow(names)
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def cell(value: Any) -> str | int:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value
    return guarded(value) if isinstance(value, str) else written(value)
