"""The same visitor on the same path twice within PAGESTATS_DUPLICATE_SECONDS, by the times of the views: one page view.

What counts is what is stored: a view is a duplicate if there is one of the same visitor and path less than so many
seconds before it, or after it where lines are out of order. So an import that is stopped and goes on, or that comes to
the next of several logs, decides as one in a single go does, and needs no memory beyond the table. What is held of that
in the process is only kept from being read twice: the spans of time around the views that are read.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta, timezone

from django.db.models import Max, Min

from django_pagestats.intake import Row
from django_pagestats.models import PageView

#: So many views are held at the most, beside those of the block that is read; an earlier one is read again if need be.
HELD_VIEWS = 200_000

#: how long the spans are in which views are held and read, unless the window is longer
SPAN_SECONDS = 600.0

#: visitor and path -> the times of their views in one span: mostly one
_Span = dict[int, list[float]]


class Duplicates:
    """Remembers the views of one import, and reads those that are stored already."""

    def __init__(self, seconds: float, using: str) -> None:
        self._seconds = seconds
        self._length = max(seconds, SPAN_SECONDS)
        self._using = using
        self._spans: OrderedDict[int, _Span] = OrderedDict()
        self._held = 0
        #: of the block that is read, not stored yet
        self._new: dict[int, _Span] = {}
        self._stored_from, self._stored_to = self._stored() if seconds > 0 else (0.0, 0.0)

    def is_first(self, row: Row) -> bool:
        """Whether a page view is none that was there before; from now on it is."""
        if self._seconds <= 0:
            return True
        key, at = hash((row.session_key, row.path)), row.viewed_at.timestamp()
        number = int(at // self._length)
        for near in (number, number - 1, number + 1):
            for span in (self._span(near), self._new.get(near)):
                if span and key in span and any(abs(at - time) < self._seconds for time in span[key]):
                    return False
        self._new.setdefault(number, {}).setdefault(key, []).append(at)
        return True

    def stored(self) -> None:
        """What was new is in the table now."""
        for number, new in self._new.items():
            self._stored_from = min(self._stored_from, number * self._length)
            self._stored_to = max(self._stored_to, (number + 1) * self._length)
            if (span := self._spans.get(number)) is not None:
                for key, times in new.items():
                    span.setdefault(key, []).extend(times)
                    self._held += len(times)
        self._new = {}
        self._let_go()

    def _span(self, number: int) -> _Span:
        span = self._spans.get(number)
        if span is not None:
            self._spans.move_to_end(number)
            return span
        span = self._read(number)
        self._spans[number] = span
        self._held += _size(span)
        self._let_go()
        return span

    def _let_go(self) -> None:
        while self._held > HELD_VIEWS and len(self._spans) > 3:
            self._held -= _size(self._spans.popitem(last=False)[1])

    def _read(self, number: int) -> _Span:
        start, end = number * self._length, (number + 1) * self._length
        span: _Span = {}
        if end <= self._stored_from or start > self._stored_to:
            return span
        stored = PageView.objects.using(self._using).filter(viewed_at__gte=_instant(start), viewed_at__lt=_instant(end))
        rows = stored.order_by().values_list("session_key", "path", "viewed_at")
        for session_key, path, viewed_at in rows.iterator():
            span.setdefault(hash((session_key, path)), []).append(viewed_at.timestamp())
        return span

    def _stored(self) -> tuple[float, float]:
        """Between which times there may be views in the table; it saves a look for each half hour of a new site."""
        ends = PageView.objects.using(self._using).aggregate(first=Min("viewed_at"), last=Max("viewed_at"))
        if ends["first"] is None:
            return float("inf"), float("-inf")
        return ends["first"].timestamp(), ends["last"].timestamp()


def _size(span: _Span) -> int:
    return sum(map(len, span.values()))


def _instant(seconds: float) -> datetime:
    """Not fromtimestamp(), which knows fewer years on some systems."""
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
