"""What an answer asks of its tail, however long that is.

New visitors are those in no set of the folded part: the number of session keys less those whose visitor is in the set.
A session key that has no visitor id by the time it is looked up, which is after the aggregates were read, is in none of
their sets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db.models import F, Max, Min, Q
from pyroaring import BitMap

from django_pagestats.buckets import instant
from django_pagestats.conf import conf
from django_pagestats.dimensions import NamedDimension
from django_pagestats.exceptions import AnswerUnsettledError, TailTooLongError
from django_pagestats.merging import database_for
from django_pagestats.merging.reading import State
from django_pagestats.models import PageView
from django_pagestats.stats.folded import Folded, Ranked
from django_pagestats.stats.ranges import Interval, Span, calendar_of
from django_pagestats.stats.statements import BEFORE_ALL
from django_pagestats.stats.topics import Topic

#: the bucket where all is one group
ONE_GROUP = 0

LATE_PAGE_VIEWS = (
    "Page views of before the snapshot were committed and folded after it began: it cannot be kept inside a"
    " transaction that shows such changes. Take stats.snapshot() outside atomic(), or in a REPEATABLE READ transaction."
)
FOLDED_BEYOND = (
    "The fold went beyond the page views of the snapshot: it cannot be kept inside a transaction that shows such"
    " changes. Take stats.snapshot() outside atomic(), or in a REPEATABLE READ transaction."
)
FOLDED_MOVED = (
    "The aggregates moved under a snapshot of the folded part: it cannot be kept inside a transaction that shows such"
    " changes. Take stats.snapshot() outside atomic(), or in a REPEATABLE READ transaction."
)


class OneInstantNeededError(Exception):
    """The tail is longer than the limit: its answer takes several statements, which must see one instant."""


class Tail(ABC):
    """The page views after `state.cursor`."""

    pending_is_exact: bool

    def __init__(self, using: str, state: State) -> None:
        self.using = using
        self.state = state
        self.calendar = calendar_of(state.time_zone)

    @property
    @abstractmethod
    def pending(self) -> int:
        """How many page views it is, or may be."""

    @abstractmethod
    def page_views(self, span: Span, topic: Topic | None) -> int:
        """The page views of a span, of one topic or of the site."""

    @abstractmethod
    def page_views_by_value(self, span: Span, dimension: NamedDimension, values: Collection[str]) -> Mapping[str, int]:
        """value -> page views of a span, of those of the values that have any, and perhaps of others."""

    @abstractmethod
    def page_views_by_value_and_day(self, span: Span, dimension: NamedDimension) -> dict[str, dict[int, int]]:
        """value -> day -> page views of a span, of all values that have any."""

    @abstractmethod
    def values(self, span: Span, dimension: NamedDimension) -> Collection[str]:
        """The values that page views of a span have; raises TailTooLongError where these are not in memory."""

    @abstractmethod
    def page_views_by_bucket(self, span: Span, topic: Topic | None) -> dict[int, int]:
        """bucket -> page views, of those buckets of a closed span that have any."""

    @abstractmethod
    def new_visitors(self, span: Span, topic: Topic | None, folded: BitMap) -> int:
        """How many visitors of a span are not in `folded`."""

    @abstractmethod
    def new_visitors_by_bucket(self, span: Span, topic: Topic | None, folded: Mapping[int, BitMap]) -> dict[int, int]:
        """bucket -> how many of its visitors are not in its set, of the buckets in `folded`."""

    @abstractmethod
    def new_visitors_by_value(
        self, span: Span, dimension: NamedDimension, folded: Mapping[str, BitMap]
    ) -> dict[str, int]:
        """value -> how many of its visitors are not in its set, of the values in `folded`."""

    @abstractmethod
    def page_views_of_all(self, span: Span, dimension: NamedDimension) -> int:
        """The page views of a span that have a value of the dimension."""

    @abstractmethod
    def new_visitors_of_values(
        self, span: Span, dimension: NamedDimension, values: Collection[str], folded: BitMap
    ) -> int:
        """How many visitors of any of some values are not in `folded`."""

    @abstractmethod
    def count_values(self, folded: Folded, span: Span, dimension: NamedDimension, counted: int) -> int:
        """The values of the folded part, `counted` of them, and of the tail together."""

    @abstractmethod
    def top(
        self,
        folded: Folded,
        span: Span,
        dimension: NamedDimension,
        ranked: list[Ranked],
        *,
        limit: int,
        offset: int,
    ) -> list[Ranked]:
        """The top values of the folded part, whose first `offset + limit` are `ranked`, and of the tail together."""

    @abstractmethod
    def first_viewed_at(self, span: Span) -> datetime | None:
        """The earliest time of a page view of a span, folded or not."""

    @abstractmethod
    def after(self, state: State) -> Tail:
        """The same page views as seen from another state; raises AnswerUnsettledError where they are gone from it."""

    def is_unchanged(self) -> bool:
        """Whether the statements of an answer all saw these page views; those in memory cannot change."""
        return True


def too_long(what: str) -> TailTooLongError:
    """What is raised where a tail that is not in memory is asked for more than page views, visitors and paths."""
    return TailTooLongError(
        f"More than {conf.TAIL_LIMIT:,} page views (PAGESTATS_TAIL_LIMIT), or page views with very long texts, are not"
        f" folded yet: too many to count {what} among them. Fold them (manage.py backfill_aggregates), or ask for the"
        " folded part alone: stats.snapshot(exact=False)."
    )


def first_view(using: str, upto: int, parts: Sequence[Interval]) -> datetime | None:
    """The earliest time of the page views up to a primary key, through the index on the time."""
    # pk + 0: the primary key, which would have to be walked to the end, is no way to find the first time
    views = PageView.objects.using(using).annotate(number=F("pk") + 0).filter(number__lte=upto)
    times = views.order_by("viewed_at").values_list("viewed_at", flat=True)
    # one after another: with OR between them the index would be walked from its beginning
    found = (times.filter(within([part])).first() for part in parts)
    try:
        return next((first for first in found if first is not None), None)
    except Exception:  # whatever Django and the driver make of a time that was changed after it was counted
        database_for(using).check_countable(None, upto)
        raise


def within(parts: Sequence[Interval]) -> Q:
    """The page views of some intervals."""
    wanted = Q()
    # a date that the zone left out has no instants: an interval without any, since no condition is no limit
    for start, end in parts or [(0, 0)]:
        part = Q() if start is None else Q(viewed_at__gte=instant(start))
        wanted |= part if end is None else part & Q(viewed_at__lt=instant(end))
    return wanted


def pending_after(using: str, cursor: int, upto: int | None = None) -> tuple[int, bool]:
    """How many page views there are after the cursor, and whether that is so; beyond PAGESTATS_TAIL_LIMIT their ids."""
    views = PageView.objects.using(using).filter(pk__gt=cursor)
    if upto is not None:
        views = views.filter(pk__lte=upto)
    counted = views.order_by("pk")[: conf.TAIL_LIMIT + 1].count()
    if counted <= conf.TAIL_LIMIT:
        return counted, True
    ids = views.aggregate(lowest=Min("pk"), highest=Max("pk"))
    first: int = ids["lowest"] if cursor == BEFORE_ALL else cursor + 1
    return ids["highest"] - first + 1, False


def check_within(before: State, now: State, last: int) -> None:
    if not before.cursor <= now.cursor <= last or now.time_zone != before.time_zone:
        raise AnswerUnsettledError(FOLDED_BEYOND)
