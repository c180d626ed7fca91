"""Many ranges of the site that are about to be asked for: their sets are read together, each bucket once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from django_pagestats.exceptions import UnknownDimensionError
from django_pagestats.stats.conditions import span_of
from django_pagestats.stats.ranges import ALL_DAYS, Bound
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.values import visits_of


def read_together(taken: Snapshot, ranges: Iterable[tuple[Bound, Bound]]) -> None:
    """Read what a snapshot will be asked about the site in these ranges, `[start, end)` as its questions take it.

    Page views, visitors, and visitors with one page view of each of them need no more statements of aggregates then.
    It takes one statement for each 16 MB of sets, or two, however many ranges and days there are.
    """

    def read(moment: Moment) -> None:
        spans = dict.fromkeys(span_of(moment, None, start, end) for start, end in ranges)
        moment.folded.read_site([span for span in spans if not span.is_empty])

    ranges = list(ranges)
    taken._ask(read)


def read_visits_together(taken: Snapshot, ranges: Iterable[tuple[Bound, Bound]]) -> None:
    """Read the visits of the site in several ranges of days by one statement, where it can."""

    def read(moment: Moment) -> None:
        with suppress(UnknownDimensionError):  # who asks for them is told
            dimension = visits_of(moment)
            spans = dict.fromkeys(moment.span_of_days(start, end) for start, end in ranges)
            moment.folded.read_page_views_of_all([span for span in spans if not span.is_empty], dimension)

    ranges = list(ranges)
    taken._ask(read)


def pending_of(taken: Snapshot) -> tuple[int, bool]:
    """The page views that no aggregate counts yet, and whether there are so many exactly: as `summary()` tells them."""

    def counted(moment: Moment) -> tuple[int, bool]:
        tail = moment.tail_of(ALL_DAYS)
        return tail.pending, tail.pending_is_exact

    return taken._ask(counted)
