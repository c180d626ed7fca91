"""PostgreSQL's page views column by column: a whole portion comes as four values, at half of what rows cost Python."""

from __future__ import annotations

import struct
from typing import Any

from django_pagestats.merging.page_views import PAGE_VIEW_TABLE, PageViewColumns
from django_pagestats.models.constraints import COUNTABLE_TIME

#: else the epoch of an infinity would be an error
COUNTABLE = COUNTABLE_TIME["postgresql"].format(column="viewed_at")
#: a time's whole seconds since the epoch; until 2242 a float tells microseconds apart, and extract() took twice as long
SECONDS = "floor(date_part('epoch', viewed_at))::bigint"
#: between two texts. A text that holds one itself is noticed: then there are more texts than ids
SEPARATOR = "\n"


def page_views(after: int, upto: int | None, limit: int, *, with_attributes: bool) -> str:
    """The SELECT of (id, path, session_key, seconds), and perhaps (attributes), of the next page views."""
    bound = "" if upto is None else f" AND id <= {upto:d}"
    attributes = ", attributes::text AS attributes" if with_attributes else ""
    return (
        f"SELECT id, path, session_key, CASE WHEN {COUNTABLE} THEN {SECONDS} END AS seconds{attributes}"
        f" FROM {PAGE_VIEW_TABLE} WHERE id > {after:d}{bound} ORDER BY id LIMIT {limit:d}"
    )


def read_columns(connection: Any, rows: str, *, with_attributes: bool) -> PageViewColumns | None:
    """The columns of what `page_views` selects.

    None where they do not fit together, because of a text with a line break or of a time that cannot be counted: then
    the rows are to be read one by one.
    """
    # JSON as text has no line break, and is never empty
    attributes = ", string_agg(coalesce(attributes, ''), chr(10))" if with_attributes else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(int8send(id), ''), string_agg(path, chr(10)), string_agg(session_key, chr(10)),"
            f" string_agg(int8send(seconds), ''){attributes} FROM ({rows}) AS page_views"
        )
        ids, paths, session_keys, seconds, *texts = cursor.fetchone()
    if ids is None:
        return PageViewColumns((), [], [], ())
    columns = [_numbers(ids), paths.split(SEPARATOR), session_keys.split(SEPARATOR), _numbers(seconds or b"")]
    columns += [text.split(SEPARATOR) for text in texts]
    return PageViewColumns(*columns) if len(set(map(len, columns))) == 1 else None


def _numbers(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(raw) // 8}q", raw)
