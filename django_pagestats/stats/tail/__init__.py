"""The tail of an answer: the page views after the cursor of the aggregates that were read.

Up to PAGESTATS_TAIL_LIMIT of them are read by one statement and tallied as the fold does it. A longer tail is counted
by the database, in bounded memory.
"""

from __future__ import annotations

from django_pagestats.conf import conf
from django_pagestats.merging import database_for
from django_pagestats.merging.reading import State
from django_pagestats.stats.tail.base import LATE_PAGE_VIEWS, Tail, TailTooLongError
from django_pagestats.stats.tail.long import LongTail
from django_pagestats.stats.tail.short import NoTail, ShortTail

__all__ = ["LATE_PAGE_VIEWS", "LongTail", "NoTail", "ShortTail", "Tail", "TailTooLongError", "read_tail"]


def read_tail(using: str, state: State, *, may_be_long: bool, is_isolated: bool) -> Tail:
    """The page views after the cursor of a state; raises TailTooLongError if they are many and may not be."""
    limit = conf.TAIL_LIMIT
    rows = database_for(using).read_page_views(state.cursor, None, limit + 1)
    if len(rows) <= limit:
        return ShortTail(using, state, rows)
    if not may_be_long:
        raise TailTooLongError
    return LongTail(using, state, is_isolated=is_isolated)
