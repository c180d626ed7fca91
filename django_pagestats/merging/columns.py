"""PostgreSQL's page views column by column: a whole portion comes as four values, at half of what rows cost Python."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any

from django_pagestats.dimensions import all_attributes_of
from django_pagestats.merging.page_views import PAGE_VIEW_TABLE, PageViewColumns
from django_pagestats.models.constraints import COUNTABLE_TIME

#: else the epoch of an infinity would be an error
COUNTABLE = COUNTABLE_TIME["postgresql"].format(column="viewed_at")
#: a time's whole seconds since the epoch; until 2242 a float tells microseconds apart, and extract() took twice as long
SECONDS = "floor(date_part('epoch', viewed_at))::bigint"
#: between two texts. A text that holds one itself is noticed: then there are more texts than ids
SEPARATOR = "\n"


#: what stands for an attribute that a page view has not
NOTHING = "\x01"
#: what `->>` gives for a number, a list, an object, true or false; or a text that looks like one of these
MAYBE_NO_TEXT = re.compile(r"^(?:-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$|[\[{]|(?:true|false)$)", re.MULTILINE)


def page_views(
    after: int, upto: int | None, limit: int, *, with_attributes: bool = False, names: Sequence[str] = ()
) -> str:
    """The SELECT of (id, path, session_key, seconds), and perhaps (attributes) or some of them, of the next ones."""
    bound = "" if upto is None else f" AND id <= {upto:d}"
    attributes = ", attributes::text AS attributes" if with_attributes else ""
    if names:
        attributes = ", jsonb_typeof(attributes) <> 'object' AS is_odd"
        attributes += "".join(f", attributes ->> {quoted(name)} AS a{number:d}" for number, name in enumerate(names))
    return (
        f"SELECT id, path, session_key, CASE WHEN {COUNTABLE} THEN {SECONDS} END AS seconds{attributes}"
        f" FROM {PAGE_VIEW_TABLE} WHERE id > {after:d}{bound} ORDER BY id LIMIT {limit:d}"
    )


def quoted(name: str) -> str:
    """An attribute's name as a literal: it comes out of the settings, and the statement has no parameters."""
    return "'" + name.replace("'", "''") + "'"


def read_columns(connection: Any, rows: str, *, with_attributes: bool) -> PageViewColumns | None:
    """The columns of what `page_views` selects.

    None where they do not fit together, because of a text with a line break or of a time that cannot be counted: then
    the rows are to be read one by one.
    """
    # JSON as text has no line break, and is never empty
    found = _aggregated(connection, rows, ["string_agg(coalesce(attributes, ''), chr(10))"] if with_attributes else [])
    if found is None:
        return PageViewColumns((), [], [], ())
    columns, texts = found
    columns += [text.split(SEPARATOR) for text in texts]
    return PageViewColumns(*columns) if len(set(map(len, columns))) == 1 else None


def read_named_columns(connection: Any, rows: str, names: Sequence[str]) -> PageViewColumns | None:
    """The same with attributes by name: at no more than what their text costs the server, and half of it Python.

    None also where an attribute may be something else than text.
    """
    numbers = range(len(names))
    aggregates = [f"string_agg(coalesce(a{number:d}, chr(1)), chr(10))" for number in numbers]
    counts = [f"count(a{number:d})" for number in numbers]
    found = _aggregated(connection, rows, ["coalesce(bool_or(is_odd), FALSE)", *counts, *aggregates])
    if found is None:
        return PageViewColumns((), [], [], (), named={name: [] for name in names})
    columns, (is_odd, *others) = found
    known, texts = others[: len(names)], others[len(names) :]
    if is_odd:
        return None
    named = [text.split(SEPARATOR) for text in texts]
    missing = [column.count(NOTHING) for column in named]
    if len(set(map(len, columns + named))) != 1 or [len(columns[0]) - count for count in missing] != known:
        return None
    # each text once: a chunk's values took 40 MB otherwise, and to look at each page view's a tenth of the fold's time
    seen: dict[str, str | None] = {NOTHING: None}
    values = [list(map(seen.setdefault, column, column)) for column in named]
    if MAYBE_NO_TEXT.search(SEPARATOR.join(seen)):
        return None
    return PageViewColumns(*columns)._replace(named=dict(zip(names, values, strict=True)))


def by_name(page_views: PageViewColumns, names: Sequence[str]) -> PageViewColumns:
    """Attributes by name, out of their texts; raises DimensionError where these are none."""
    attributes = all_attributes_of([text or "" for text in page_views.attributes])
    return page_views._replace(attributes=(), named={name: [them.get(name) for them in attributes] for name in names})


def _aggregated(connection: Any, rows: str, more: Sequence[str]) -> tuple[list[Any], Sequence[Any]] | None:
    """Ids, paths, session keys and seconds, and what else was asked for; None: there are no rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(int8send(id), ''), string_agg(path, chr(10)), string_agg(session_key, chr(10)),"
            f" string_agg(int8send(seconds), ''){''.join(f', {it}' for it in more)} FROM ({rows}) AS page_views"
        )
        ids, paths, session_keys, seconds, *others = cursor.fetchone()
    if ids is None:
        return None
    return [_numbers(ids), paths.split(SEPARATOR), session_keys.split(SEPARATOR), _numbers(seconds or b"")], others


def _numbers(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(raw) // 8}q", raw)
