"""Lists that are read in parts, as long as they may be, each answer bounded.

In the order of page views a value may rise past the place at which a list was left: then a part that followed would
lack it. So the cursor knows what the list was made of, as a digest, and an answer to it is refused (409) once that has
moved. Below a prefix it is of the pages there alone: a token of a section must not learn when others have page views.
In the order of values each has its place whatever comes in: such a list goes on, and has every value once that had page
views when it began; its numbers are those of the instant of each answer.
"""

from __future__ import annotations

import base64
import binascii
import json
from hashlib import sha256
from typing import Any

from django_pagestats.api.answering import Answer, Asked
from django_pagestats.api.digests import digest_of, is_digest_of
from django_pagestats.api.parameters import QUESTION_LENGTH
from django_pagestats.api.problems import BadRequestError, ListMovedError
from django_pagestats.stats import Snapshot
from django_pagestats.stats.listing import Wanted, list_values
from django_pagestats.stats.walking import place_of, values_after

MOST_OFFSET = 2**31
#: before a value in a cursor, which JSON never begins with
_VALUE = "="


def top_pages(asked: Asked) -> Answer:
    return _listed(asked, None, asked["prefix"] or "")


def top(asked: Asked) -> Answer:
    return _listed(asked, asked["dimension"])


def _listed(asked: Asked, dimension: str | None, prefix: str = "") -> Answer:
    after = None if asked["cursor"] is None else _decoded(asked)
    with asked.snapshot() as taken:
        fields = {"time_zone": taken.time_zone}
        if asked["order"] == "value":
            rows, place = _by_value(asked, taken, dimension, prefix, after)
        else:
            rows, place = _by_page_views(asked, taken, dimension, prefix, after)
        cursor = None if place is None else _encoded(asked, place)
        return Answer(rows, {**fields, "next": cursor}, cursor)


def _by_value(asked: Asked, taken: Snapshot, dimension: str | None, prefix: str, after: Any) -> tuple[list[Any], Any]:
    limit = asked["limit"]
    if after is not None and not isinstance(after, str):
        raise _no_cursor(asked)
    # one row more than is wanted tells whether the list goes on
    found = values_after(taken, dimension, prefix=prefix, after=after, limit=limit + 1, **asked.bounds)
    rows = [(value, page_views, visitors) for value, page_views, visitors in found[:limit]]
    return rows, rows[-1][0] if len(found) > limit else None


def _by_page_views(
    asked: Asked, taken: Snapshot, dimension: str | None, prefix: str, after: Any
) -> tuple[list[Any], Any]:
    limit = asked["limit"]
    offset = 0 if after is None else _offset(asked, after)
    rows: list[tuple[str, int, int]]
    place: list[Any]
    if prefix:
        listed = list_values(taken, Wanted(prefix=prefix, **asked.bounds), limit=limit + 1, offset=offset)
        place = [_question(asked), [(it.subject or it.value, it.page_views) for it in listed.ranking]]
        _check_unmoved(asked, after, place)
        rows = [(it.value, it.page_views, it.visitors) for it in listed.rows]
    else:
        place = [_question(asked), place_of(taken, **asked.bounds)]
        _check_unmoved(asked, after, place)
        rows = _top(asked, taken, dimension, limit=limit + 1, offset=offset)
    return rows[:limit], [offset + limit, digest_of(place)] if len(rows) > limit else None


def _top(
    asked: Asked, taken: Snapshot, dimension: str | None, *, limit: int, offset: int
) -> list[tuple[str, int, int]]:
    if dimension is None:
        pages = taken.top_pages(limit, offset=offset, **asked.bounds)
        return [(it.path, it.page_views, it.visitors) for it in pages]
    values = taken.top(dimension, limit, offset=offset, **asked.bounds)
    return [(it.value, it.page_views, it.visitors) for it in values]


def _check_unmoved(asked: Asked, after: Any, place: object) -> None:
    """Raise ListMovedError where the list is not made of what it was made of as the cursor was given."""
    if after is not None and not is_digest_of(after[1], place):
        raise ListMovedError(
            "Page views of this list came in, or were folded, since it was begun: its order may have moved, and the"
            " rows that follow may lack a page. Begin again without cursor; or take a larger limit, an end that is"
            " over, or order=value, which goes on whatever comes in.",
            "cursor",
            asked["cursor"],
        )


def _offset(asked: Asked, after: Any) -> int:
    if isinstance(after, list) and list(map(type, after)) == [int, str] and after[1].isascii():
        offset = int(after[0])
        if 0 < offset < MOST_OFFSET:
            return offset
    raise _no_cursor(asked)


def _question(asked: Asked) -> str:
    """What a cursor belongs to: the limit may differ from answer to answer, and so may the format."""
    parameters = asked.question.parameters
    told = {name: str(value) for name, value in parameters.items() if name not in ("cursor", "limit", "format")}
    return sha256(json.dumps([asked.question.name, told], sort_keys=True).encode()).hexdigest()[:QUESTION_LENGTH]


def _encoded(asked: Asked, place: Any) -> str:
    # a value as it is: escaped by JSON it would be up to three times as long, and stands in a URL
    told = _VALUE + place if isinstance(place, str) else json.dumps(place, separators=(",", ":"))
    return base64.urlsafe_b64encode((_question(asked) + told).encode()).decode().rstrip("=")


def _decoded(asked: Asked) -> Any:
    """The place of a cursor: a value, or what JSON gives; raises BadRequestError."""
    text = asked["cursor"]
    question = _question(asked)
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        told = found[len(question) :]
        place = told.removeprefix(_VALUE) if told.startswith(_VALUE) else json.loads(told)
    except (binascii.Error, ValueError, RecursionError):
        raise _no_cursor(asked) from None
    if place is None:
        raise _no_cursor(asked)
    if found[: len(question)] != question:
        raise BadRequestError(
            "This cursor is of another question: ask with the same parameters as before, but for limit and format.",
            "cursor",
            text,
        )
    return place


def _no_cursor(asked: Asked) -> BadRequestError:
    return BadRequestError(
        f"cursor={asked['cursor'][:200]!r}: `next` of the answer before would do, as it is.", "cursor", asked["cursor"]
    )
