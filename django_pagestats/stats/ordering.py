"""The pages in their order: most page views first, of equal ones by the code points of their paths.

The aggregates are ordered by the database, of which a count or a few rows come here. The pages of a short tail, which
have more page views than it knows of, are taken out and put in again where they belong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import NamedTuple

from django_pagestats.merging.ordering import count_before, read_places
from django_pagestats.merging.reading import Where
from django_pagestats.stats.questions import MOST_PAGES, count_page_views_of_topic, count_paths
from django_pagestats.stats.ranges import Bound, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.tail import LongTail, ShortTail
from django_pagestats.stats.topics import PAGES, Topic
from django_pagestats.stats.wheres import values_where

#: the place of a page: pages are sorted by it
Key = tuple[int, str]


class Tailed(NamedTuple):
    """A page of the tail, with its page views in the folded part and in both together."""

    path: str
    folded: int
    page_views: int


def rank(moment: Moment, path: str, start: Bound, end: Bound) -> int | None:
    page_views = count_page_views_of_topic(moment, Topic(PAGES, path), start, end)
    if not page_views:
        return None
    span = moment.span_of_days(start, end)
    tail = moment.tail_of(span)
    if isinstance(tail, LongTail):
        return 1 + tail.count_before(span, page_views, path)
    folded = moment.folded
    before = folded.seen(count_before(moment.using, _where(span), page_views, path))
    tailed, key = _tailed(moment, span), _key(page_views, path)
    before -= _folded_before(key, tailed)
    return 1 + before + sum(_key(it.page_views, it.path) < key for it in tailed)


def page_at(moment: Moment, n: int, start: Bound, end: Bound) -> str | None:
    span = moment.span_of_days(start, end)
    if span.is_empty or n > MOST_PAGES:
        return None
    tail = moment.tail_of(span)
    if isinstance(tail, LongTail):
        return tail.page_at(span, n)
    tailed = _tailed(moment, span)
    # a page of the folded part that the tail has not got is at most so many places from its own there
    first, last = max(0, n - 1 - len(tailed)), n + len(tailed)
    window = moment.folded.seen(read_places(moment.using, _where(span), offset=first, limit=last - first))
    if first and not window:
        return None
    in_tail = {it.path for it in tailed}
    found = [_key(it.page_views, it.path) for it in window if it.path not in in_tail]
    found += [_key(it.page_views, it.path) for it in tailed]
    before = first - (_folded_before(_key(window[0].page_views, window[0].path), tailed) if first else 0)
    index = n - 1 - before
    return sorted(found)[index][1] if index < len(found) else None


def page_at_percentile(moment: Moment, q: float, start: Bound, end: Bound) -> str | None:
    pages = count_paths(moment, start, end)
    # the product of a float may be rounded up
    return page_at(moment, pages - min(floor(q * pages), pages - 1), start, end) if pages else None


def check_path(path: object) -> None:
    """Raise ValueError for what is no path."""
    if not isinstance(path, str):
        raise ValueError(f"path={path!r}: text would do.")


def check_number(n: object) -> None:
    """Raise ValueError for what is no number of a page."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n={n!r}: a whole number, 1 or more, would do.")


def check_part(q: object) -> None:
    """Raise ValueError for what is no part of all pages."""
    if not isinstance(q, (int, float, Fraction)) or isinstance(q, bool) or not 0 <= q < 1:
        raise ValueError(f"q={q!r}: a number from 0 on and below 1, such as 0.95, would do.")


def _where(span: Span) -> Where:
    return replace(values_where(span, PAGES), is_ranked=span.is_all_time)


def _tailed(moment: Moment, span: Span) -> list[Tailed]:
    """The pages of a tail in memory that have page views of the span there."""
    tail = moment.tail_of(span)
    assert isinstance(tail, ShortTail)  # noqa: S101 - callers ask a long one
    counts = tail.page_views_by_value(span, PAGES, tail.paths)
    folded = moment.folded.page_views_by_value(span, PAGES, counts) if counts else {}
    return [Tailed(path, folded.get(path, 0), folded.get(path, 0) + count) for path, count in counts.items()]


def _folded_before(key: Key, tailed: Iterable[Tailed]) -> int:
    """How many pages of the tail come before a place by what is folded of them."""
    return sum(it.folded > 0 and _key(it.folded, it.path) < key for it in tailed)


def _key(page_views: int, path: str) -> Key:
    return -page_views, path
