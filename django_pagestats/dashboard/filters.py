"""Whom a page of the dashboard is about: filters by a path or a value, as its URL has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, get_args

from django_pagestats.headers.channels import Channel

#: the table whose rows are the site's pages, of which a filter may be, too
PAGES = "pages"
#: tables whose rows are made of those of another one when they are read, and their values
GROUPS: Mapping[str, Collection[str]] = {"channels": get_args(Channel)}
#: filters at a time; each takes statements of its own
MOST_FILTERS = 5
#: characters of a path, or of another value
MOST_CHARACTERS = 2_048


class Filter(NamedTuple):
    """The visitors of one value: of a path, of a named dimension, or of one in groups."""

    #: the name of a table
    kind: str
    value: str

    @property
    def text(self) -> str:
        """As it stands in a URL, before that is quoted."""
        return f"{self.kind}:{self.value}"

    @property
    def is_of_page(self) -> bool:
        return self.kind == PAGES


def filters_in(query: Mapping[str, Any], kinds: Collection[str]) -> tuple[Filter, ...]:
    """The filters of a query that can be had, each once, the first ones of too many."""
    found = (filter_of(text, kinds) for text in asked_filters(query))
    return tuple(dict.fromkeys(it for it in found if it is not None))[:MOST_FILTERS]


def asked_filters(query: Mapping[str, Any]) -> list[str]:
    """What a query has as `f`, whatever it is."""
    found = query.getlist("f") if hasattr(query, "getlist") else query.get("f", [])
    return [str(it) for it in ([found] if isinstance(found, str) else found) if it]


def filter_of(text: str, kinds: Collection[str]) -> Filter | None:
    kind, colon, value = text.partition(":")
    if kind in GROUPS:  # their names are ours: however they are written
        value = value.lower()
    is_one = colon and kind in kinds and may_be_value(value) and value in GROUPS.get(kind, [value])
    return Filter(kind, value) if is_one else None


def value_in(query: Mapping[str, Any], name: str) -> str:
    """The path that a parameter has; empty: it has none, or none that a page can have."""
    value = query.get(name)
    return value if isinstance(value, str) and may_be_value(value) else ""


def may_be_value(text: str) -> bool:
    """Whether a page view can have it: no database keeps a NUL, and none a half of a surrogate pair."""
    return 0 < len(text) <= MOST_CHARACTERS and "\0" not in text and not re.search("[\ud800-\udfff]", text)
