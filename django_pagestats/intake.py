"""What may become a page view: how a path is written, and the checks of its values.

`recording` and `importing` share it; site code takes `normalise_path` from `recording`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from operator import attrgetter
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from django.db import connections
from django.utils.encoding import repercent_broken_unicode

from django_pagestats.conf import conf
from django_pagestats.conf.complaints import ATTRIBUTE_NAME
from django_pagestats.merging import database_for
from django_pagestats.models import PATH_MAX_LENGTH, SESSION_KEY_MAX_LENGTH, PageView, Reason
from django_pagestats.sequences import sequence_told

FIRST_YEAR, LAST_YEAR = 1970, 2199
#: How much of a bad value is shown.
SHOWN_LENGTH = 200
#: One INSERT carries at most so many rows and about so many bytes of text. Not more rows: Django keeps the statements
#: of SQLite compiled, and the large ones of many different sizes took 150 MB.
BATCH_ROWS = 500
BATCH_BYTES = 2_000_000

#: An attribute's value has at most so many characters, and all of a page view, as JSON, at most so many bytes.
ATTRIBUTE_MAX_LENGTH = 255
ATTRIBUTES_MAX_BYTES = 4_096
#: Of a query with more parameters none is looked at.
MOST_PARAMETERS = 1_000
#: made once: a new one for each page view took as long as all checks of its attributes
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


class Row(NamedTuple):
    """A page view of checked values; `attributes` is their JSON, as `attributes_text` writes it, or None."""

    path: str
    session_key: str
    viewed_at: datetime
    attributes: str | None = None


T = TypeVar("T")

#: C0 and C1 control characters, and DEL
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SCHEME_AND_HOST = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://[^/]*")


class RefusedError(ValueError):
    """A value cannot be stored; the message names the value (cut to 200 characters) and the fix."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def shown(value: object) -> str:
    """The value for a message: text is cut to 200 characters and escaped, of other things only the type is told."""
    if isinstance(value, str):
        return repr(value[:SHOWN_LENGTH])
    if value is None or isinstance(value, (int, float)):
        return repr(value)[:SHOWN_LENGTH]
    return f"a value of type {type(value).__name__}"


def check_path(value: object) -> str:
    """The path, if it can be stored; raises RefusedError."""
    return _check_text(value, "path", PATH_MAX_LENGTH, Reason.INVALID_PATH)


def check_page(path: str) -> str:
    """The path of a page as Django has it (`request.path`): one that can be stored and has no control character.

    Raises RefusedError.
    """
    check_path(path)
    if found := _CONTROL.search(path):
        raise RefusedError(
            Reason.INVALID_PATH, f"the path {shown(path)} has a control character ({found[0]!r}): take it out"
        )
    return path


def check_session_key(value: object) -> str:
    """The session key, if it can be stored; raises RefusedError."""
    return _check_text(value, "session key", SESSION_KEY_MAX_LENGTH, Reason.INVALID_SESSION_KEY)


def _check_text(value: object, what: str, longest: int, reason: Reason) -> str:
    if not isinstance(value, str):
        raise RefusedError(reason, f"the {what} must be text, not {shown(value)}")
    if not value:
        raise RefusedError(reason, f"the {what} '' is empty: it needs at least one character")
    if len(value) > longest:
        raise RefusedError(
            reason, f"the {what} {shown(value)}... has {len(value)} characters: at most {longest} can be stored"
        )
    if "\x00" in value:
        raise RefusedError(reason, f"the {what} {shown(value)} has a NUL character: take it out")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RefusedError(
            reason, f"the {what} {shown(value)} has half a surrogate pair, which is no character: take it out"
        ) from error
    return value


def check_time(value: object) -> datetime:
    """The time in UTC, if it can be stored; raises RefusedError."""
    if not isinstance(value, datetime):
        raise RefusedError(Reason.INVALID_TIME, f"the time must be an aware datetime, not {shown(value)}")
    if value.utcoffset() is None:
        raise RefusedError(
            Reason.INVALID_TIME, f"the time {value.isoformat()} has no time zone: make it aware, e.g. in UTC"
        )
    try:
        utc = value.astimezone(timezone.utc)
    except OverflowError:
        utc = None
    if utc is None or not FIRST_YEAR <= utc.year <= LAST_YEAR:
        raise RefusedError(
            Reason.INVALID_TIME,
            f"the time {value.isoformat()} is outside the years {FIRST_YEAR} to {LAST_YEAR} (UTC)",
        )
    return utc


def check_attributes(value: object) -> dict[str, str] | None:
    """The attributes, sorted by name, if they can be stored, None for none; raises RefusedError."""
    return _checked_attributes(value)[0]


def _checked_attributes(value: object) -> tuple[dict[str, str] | None, str | None]:
    """The same, and their JSON, which is made once for both."""
    if value is None or value == {}:
        return None, None
    if not isinstance(value, Mapping):
        raise RefusedError(Reason.INVALID_ATTRIBUTE, f"the attributes must be a mapping, not {shown(value)}")
    for name, text in value.items():
        _check_attribute(name, text)
    found = {str(name): str(value[name]) for name in sorted(value)}
    text = _ENCODER.encode(found)
    size = len(text.encode())
    if size > ATTRIBUTES_MAX_BYTES:
        raise RefusedError(
            Reason.INVALID_ATTRIBUTE,
            f"the attributes {shown(', '.join(found))} have {size} bytes as JSON: at most {ATTRIBUTES_MAX_BYTES}"
            " can be stored",
        )
    return found, text


def _check_attribute(name: object, value: object) -> None:
    if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name):
        raise RefusedError(
            Reason.INVALID_ATTRIBUTE, f"the attribute {shown(name)} needs a name of 1 to 32 characters of a-z0-9_"
        )
    _check_text(value, f"attribute {name}", ATTRIBUTE_MAX_LENGTH, Reason.INVALID_ATTRIBUTE)


def attributes_text(attributes: Mapping[str, str] | None) -> str | None:
    """The JSON of checked attributes: the same text for the same attributes on every database; None for none."""
    if not attributes:
        return None
    return _ENCODER.encode(attributes)


def page_view(*, path: object, session_key: object, viewed_at: object = None, attributes: object = None) -> PageView:
    """An unsaved page view of checked values; `viewed_at` None is now. Raises RefusedError."""
    return PageView(
        path=check_path(path),
        session_key=check_session_key(session_key),
        viewed_at=datetime.now(timezone.utc) if viewed_at is None else check_time(viewed_at),
        attributes=check_attributes(attributes),
    )


def row(*, path: object, session_key: object, viewed_at: object = None, attributes: object = None) -> Row:
    """The same as a row that `insert` takes."""
    return Row(
        check_path(path),
        check_session_key(session_key),
        datetime.now(timezone.utc) if viewed_at is None else check_time(viewed_at),
        _checked_attributes(attributes)[1],
    )


def normalise_path(url: str) -> str:
    """The path of a URL or request target, as Django's `request.path_info` would have it.

    Scheme, host, query and fragment are dropped; percent-escapes are decoded, and octets that are no UTF-8 stay
    escaped. "//a/b" is a path, not a host. Raises ValueError for what is no text, does not begin with "/" or cannot be
    stored.
    """
    if not isinstance(url, str):
        raise RefusedError(Reason.INVALID_PATH, f"the path must be text, not {shown(url)}")
    try:
        return path_of_target(url.encode())
    except UnicodeEncodeError as error:
        raise RefusedError(
            Reason.INVALID_PATH, f"the path {shown(url)} has half a surrogate pair, which is no character: take it out"
        ) from error


def query_of_page(query: str) -> str:
    """Those parameters of PAGESTATS_QUERY that a query has, sorted, as "?page=2"; empty for none."""
    wanted = conf.QUERY
    if not wanted or not query:
        return ""
    try:
        given = parse_qsl(query, max_num_fields=MOST_PARAMETERS)
    except ValueError:  # more than any link has
        return ""
    kept = sorted((name, value) for name, value in given if name in wanted)
    return f"?{urlencode(kept)}" if kept else ""


def path_of_target(target: bytes) -> str:
    """`normalise_path` of the bytes that a browser sent."""
    rest = target.partition(b"#")[0].partition(b"?")[0]
    if not rest.startswith(b"/"):
        absolute = _SCHEME_AND_HOST.match(rest)
        if absolute is None or absolute[0].count(b"[") != absolute[0].count(b"]"):  # half an IPv6 address
            raise RefusedError(
                Reason.INVALID_PATH,
                f"the path {shown(target.decode(errors='replace'))} must begin with '/', or with a scheme and a host",
            )
        rest = rest[absolute.end() :] or b"/"
    decoded = unquote_to_bytes(rest)
    # checked before the slow repair of broken UTF-8: no character has more than 4 octets
    if len(decoded) <= 4 * PATH_MAX_LENGTH:
        decoded = repercent_broken_unicode(decoded)
    return check_page(decoded.decode(errors="replace"))


def batches(page_views: Iterable[T], path: Callable[[T], str]) -> Iterator[list[T]]:
    """Cut page views into lists that one INSERT may carry, bounded by rows and by bytes."""
    batch: list[T] = []
    size = 0
    for page_view in page_views:
        batch.append(page_view)
        size += 4 * len(path(page_view))
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def insert(rows: Iterable[Row], *, using: str) -> int:
    """Insert page views of checked values; gives their number. For imports: it takes a third of bulk_create's time."""
    connection = connections[using]
    database_for(using).refuse_garbling()
    adapted = connection.ops.adapt_datetimefield_value
    begin = f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at, attributes) VALUES "
    inserted = 0
    with sequence_told(using), connection.cursor() as cursor:
        for batch in batches(rows, attrgetter("path")):
            values = [value for row in batch for value in (row[0], row[1], adapted(row[2]), row[3])]
            cursor.execute(begin + ", ".join(["(%s, %s, %s, %s)"] * len(batch)), values)
            inserted += len(batch)
    return inserted
