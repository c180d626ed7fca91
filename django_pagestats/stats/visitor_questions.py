"""The questions about who came, each asked of one moment: sets of visitors, and those who were seen once."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Hashable, Iterable
from hashlib import sha256
from typing import NamedTuple

from pyroaring import BitMap

from django_pagestats.exceptions import UnknownDimensionError
from django_pagestats.merging.reading import State
from django_pagestats.stats.conditions import Condition, may_exist, span_of, topic_of
from django_pagestats.stats.newcomers import Newcomers
from django_pagestats.stats.ranges import Bound, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.tail import ShortTail
from django_pagestats.stats.tail.base import too_long
from django_pagestats.stats.visitor_sets import VisitorSet

NO_REPEAT_SETS = (
    "Which visitors came back is not known: the aggregates are of before repeat sets were kept. manage.py"
    " backfill_aggregates --rebuild brings them, without downtime."
)


class Instant(NamedTuple):
    """What two answers have in common between which nothing was recorded, folded or given an id."""

    using: str
    state: State
    #: of the ids of the page views that no aggregate counts, and of the session keys among them that have no id
    digest: bytes


def visitors(
    moment: Moment,
    path: str | None,
    where: Condition | None,
    start: Bound,
    end: Bound,
    *,
    origin: Hashable = None,
) -> VisitorSet:
    """The visitors of a range; `origin` is what the sets of one snapshot have in common, None: those of equal state."""
    topic = topic_of(moment, path, where)
    span = span_of(moment, topic, start, end)
    if not may_exist(moment, topic) or span.is_empty:
        return Sets(moment, span, origin).of(BitMap())
    _refuse_at_once(moment, span)
    folded = moment.folded.visitors(span, topic)
    sets = Sets(moment, span, origin)
    return sets.of(folded, sets.tail.page_views_by_session_key(span, topic))


def count_single_page_visitors(moment: Moment, start: Bound, end: Bound) -> int:
    """All but those with two page views in one bucket, in two buckets, in the tail, or in a bucket and the tail."""
    span = span_of(moment, None, start, end)
    if span.is_empty:
        return 0
    _refuse_at_once(moment, span)
    seen = moment.folded.site(span)
    if seen.repeats is None:
        raise UnknownDimensionError(NO_REPEAT_SETS)
    sets = Sets(moment, span, origin=0)
    page_views = sets.tail.page_views_by_session_key(span, None)
    folded, tail = sets.of(seen.visitors), sets.of(BitMap(), page_views)
    more_than_once = sets.of(seen.repeats, (key for key, count in page_views.items() if count > 1)) | (folded & tail)
    return len((folded | tail) - more_than_once)


def _refuse_at_once(moment: Moment, span: Span) -> None:
    """Where the tail was read at first, sets need not be read in vain."""
    if moment.is_kept:
        _short_tail_of(moment, span)


def _short_tail_of(moment: Moment, span: Span) -> ShortTail:
    tail = moment.tail_of(span)
    if not isinstance(tail, ShortTail):
        raise too_long("sets of visitors")
    return tail


class Sets:
    """Makes the sets of one answer; to be begun after the aggregates were read."""

    def __init__(self, moment: Moment, span: Span, origin: Hashable) -> None:
        self.tail = _short_tail_of(moment, span)
        # an answer of its own takes no notice of what the tries before it saw
        self._newcomers = moment.newcomers if moment.is_kept else Newcomers(moment.using)
        # in a transaction that sees one instant nobody gets an id meanwhile
        known = self.tail.known_visitors if moment.is_isolated else None
        self._newcomers.look(self.tail.session_keys, moment.folded.state, known)
        self._origin = self._instant(moment) if origin is None else origin

    def of(self, folded: BitMap, session_keys: Iterable[str] = ()) -> VisitorSet:
        """The visitors of a set of the aggregates, and of some session keys of the tail."""
        return VisitorSet(*self._newcomers.parted(folded, session_keys), self._origin)

    def _instant(self, moment: Moment) -> Instant:
        # the tail of all time may begin earlier: what lies between is folded into days, so that its visitors have ids
        state = moment.folded.state
        ids = self.tail.ids[bisect_right(self.tail.ids, state.cursor) :]
        digest = sha256(array("q", ids).tobytes())
        for session_key in self._newcomers.session_keys:
            digest.update(sha256(session_key.encode()).digest())
        return Instant(moment.using, state, digest.digest())
