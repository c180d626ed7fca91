"""The tail of an answer: the page views after the cursor of the aggregates that were read.

Up to PAGESTATS_TAIL_LIMIT of them are read by one statement and tallied as the fold does it. A tail that is longer, or
has so many characters that it would not fit the memory, is counted by the database.
"""

from __future__ import annotations

from django.db.models import Count, Sum
from django.db.models.functions import Length

from django_pagestats.conf import conf
from django_pagestats.merging import PageViewRow, database_for
from django_pagestats.merging.reading import State
from django_pagestats.models import PATH_MAX_LENGTH, SESSION_KEY_MAX_LENGTH, PageView
from django_pagestats.stats.tail.base import LATE_PAGE_VIEWS, OneInstantNeededError, Tail
from django_pagestats.stats.tail.folded_only import GapTail, NoTail
from django_pagestats.stats.tail.long import LongTail
from django_pagestats.stats.tail.short import ShortTail

__all__ = [
    "LATE_PAGE_VIEWS",
    "LongTail",
    "NoTail",
    "OneInstantNeededError",
    "ShortTail",
    "Tail",
    "read_all_time_tail",
    "read_tail",
]

#: characters of the paths and session keys of a tail in memory, as of a chunk; or, of a limit that is set higher than
#: usual, so many a page view
MOST_CHARACTERS = 8_000_000
CHARACTERS_PER_ROW = 160
#: page views that never have more, however long they are
FEW_ROWS = MOST_CHARACTERS // (PATH_MAX_LENGTH + SESSION_KEY_MAX_LENGTH)


def read_tail(using: str, state: State, *, may_be_long: bool, is_isolated: bool) -> Tail:
    """The page views after the cursor of a state; raises OneInstantNeededError if they are many and may not be."""
    rows = _read_short(using, state.cursor)
    if rows is not None:
        return ShortTail(using, state, rows)
    if not may_be_long:
        raise OneInstantNeededError
    return LongTail(using, state, is_isolated=is_isolated)


def read_all_time_tail(using: str, state: State, *, is_exact: bool) -> Tail:
    """The page views after the rows of all time; not `is_exact`: those of them that are folded into days only.

    Raises OneInstantNeededError if they are many.
    """
    rows = _read_short(using, state.all_cursor)
    if rows is None:
        raise OneInstantNeededError
    if is_exact:
        return ShortTail(using, state.of_all_time(), rows, upto=state.cursor)
    return GapTail(using, state.of_all_time(), [row for row in rows if row[0] <= state.cursor])


def _read_short(using: str, cursor: int) -> list[PageViewRow] | None:
    """All page views after a cursor, by one statement; None where they, or their characters, are too many for that.

    One statement, since it sees one instant: between two, a page view with a lower id may be committed. So a tail that
    may be too large is measured first, and then read from its beginning; it is no matter if it has grown meanwhile.
    """
    limit, read = conf.TAIL_LIMIT, database_for(using).read_page_views
    few = min(limit, FEW_ROWS)
    if len(rows := read(cursor, None, few + 1)) <= few:
        return rows
    del rows
    if limit == few:
        return None
    count, characters = _measure(using, cursor, limit + 1)
    if count > limit or characters > max(MOST_CHARACTERS, limit * CHARACTERS_PER_ROW):
        return None
    most = min(limit, count + FEW_ROWS)
    return rows if len(rows := read(cursor, None, most + 1)) <= most else None


def _measure(using: str, cursor: int, limit: int) -> tuple[int, int]:
    """How many page views come after a cursor, and how many characters they have; of `limit` of them at the most."""
    views = PageView.objects.using(using).filter(pk__gt=cursor).order_by("pk")
    measured = views.annotate(characters=Length("path") + Length("session_key"))[:limit]
    found = measured.aggregate(count=Count("pk"), total=Sum("characters"))
    return found["count"], int(found["total"] or 0)
