"""The questions, each asked of one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from pyroaring import BitMap

from django_pagestats.dimensions import NamedDimension
from django_pagestats.exceptions import ArgumentError
from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import can_hold
from django_pagestats.stats.answers import PageStats, Point, Summary
from django_pagestats.stats.conditions import Condition, may_exist, span_of, topic_of
from django_pagestats.stats.folded import Ranked
from django_pagestats.stats.ranges import ALL_DAYS, Bound, Span, existing_buckets, page_span, series_span, shown
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.topics import PAGES, Topic

#: buckets, or pages, whose visitor sets are compared with the tail's visitors at a time
SETS_AT_A_TIME = 64
VALUES_PER_STATEMENT = 500
#: points of one series: eleven years of hours
MOST_POINTS = 100_000
#: more pages than there can be
MOST_PAGES = 2**31

#: a path or another value, its page views and its visitors
Counted = tuple[str, int, int]


def count_page_views(moment: Moment, path: str | None, where: Condition | None, start: Bound, end: Bound) -> int:
    return count_page_views_of_topic(moment, topic_of(moment, path, where), start, end)


def count_page_views_of_topic(moment: Moment, topic: Topic | None, start: Bound, end: Bound) -> int:
    span = span_of(moment, topic, start, end)
    if not may_exist(moment, topic) or span.is_empty:
        return 0
    return moment.folded.page_views(span, topic) + moment.tail_of(span).page_views(span, topic)


def count_page_views_of(
    moment: Moment, values: Collection[str], start: Bound, end: Bound, dimension: NamedDimension = PAGES
) -> dict[str, int]:
    found = dict.fromkeys(values, 0)
    span = moment.span_of_days(start, end)
    if span.is_empty:
        return found
    for portion in portions((value for value in found if can_hold(moment.using, value)), VALUES_PER_STATEMENT):
        folded = moment.folded.page_views_by_value(span, dimension, portion)
        tail = moment.tail_of(span).page_views_by_value(span, dimension, portion)
        found.update((value, folded.get(value, 0) + tail.get(value, 0)) for value in portion)
    return found


def count_unique_visitors(moment: Moment, path: str | None, where: Condition | None, start: Bound, end: Bound) -> int:
    topic = topic_of(moment, path, where)
    span = span_of(moment, topic, start, end)
    if not may_exist(moment, topic) or span.is_empty:
        return 0
    folded = moment.folded.visitors(span, topic)
    return len(folded) + moment.tail_of(span).new_visitors(span, topic, folded)


def count_paths(moment: Moment, start: Bound, end: Bound) -> int:
    return count_values_of(moment, PAGES, start, end)


def count_values_of(moment: Moment, dimension: NamedDimension, start: Bound, end: Bound) -> int:
    """The distinct values of a dimension."""
    span = moment.span_of_days(start, end)
    if span.is_empty:
        return 0
    counted = moment.folded.count_values(span, dimension)
    return moment.tail_of(span).count_values(moment.folded, span, dimension, counted)


def top_pages(moment: Moment, limit: int, offset: int, start: Bound, end: Bound) -> list[PageStats]:
    return [PageStats(*found) for found in top_of(moment, PAGES, limit, offset, start, end)]


def top_of(
    moment: Moment, dimension: NamedDimension, limit: int, offset: int, start: Bound, end: Bound
) -> Iterator[Counted]:
    """The values of a dimension with the most page views."""
    span = moment.span_of_days(start, end)
    if span.is_empty or not limit or offset >= MOST_PAGES:
        return
    limit = min(limit, MOST_PAGES)
    ranked = moment.folded.top(span, dimension, offset + limit)
    found = moment.tail_of(span).top(moment.folded, span, dimension, ranked, limit=limit, offset=offset)
    for portion in portions(found, SETS_AT_A_TIME):
        yield from with_visitors(moment, span, dimension, portion)


def check_numbers(**numbers: object) -> None:
    """Raise ValueError for what is no number of rows."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"{name}={number!r}: a whole number, 0 or more, would do.")


def with_visitors(
    moment: Moment, span: Span, dimension: NamedDimension, ranked: Sequence[Ranked], *, are_small: bool = False
) -> Iterator[Counted]:
    """Some of the top values, with their texts and their visitors; `are_small` as of `Folded.subject_sets`."""
    texts = moment.folded.texts(it.subject for it in ranked if it.value is None and it.subject is not None)
    subjects = {texts[it.subject or 0] if it.value is None else it.value: it.subject for it in ranked}
    moment.folded.remember(dimension, subjects)
    unsure = {value: subjects[value] for value, it in zip(subjects, ranked, strict=True) if it.visitors is None}
    wanted = {it for it in unsure.values() if it is not None}
    page_views = sum(it.page_views for it in ranked if it.visitors is None)
    sets = moment.folded.subject_sets(span, dimension, wanted, are_small=are_small, page_views=page_views)
    known = {value: sets.get(subject or 0, BitMap()) for value, subject in unsure.items()}
    new = moment.tail_of(span).new_visitors_by_value(span, dimension, known) if known else {}
    for value, it in zip(subjects, ranked, strict=True):
        yield value, it.page_views, len(known[value]) + new[value] if it.visitors is None else it.visitors


def time_series(
    moment: Moment, granularity: str, start: Bound, end: Bound, path: str | None, where: Condition | None
) -> list[Point]:
    topic = topic_of(moment, path, where)
    span = _series_span(moment, granularity, start, end, topic)
    if span.is_empty:
        return []
    if span.buckets(MOST_POINTS) is None:
        raise ArgumentError(
            f"start={shown(start)} and end={shown(end)} are too far apart for one series: {MOST_POINTS:,} points would"
            f" do, that is {MOST_POINTS // 365 if granularity == 'day' else MOST_POINTS // 8_766} years of"
            f" {granularity}s.",
            "end",
        )
    found = _buckets(moment, span, topic) if may_exist(moment, topic) else {}
    return [Point(begins, *found.get(bucket, (0, 0))) for bucket, begins in existing_buckets(span, moment.calendar)]


def _buckets(moment: Moment, span: Span, topic: Topic | None) -> dict[int, tuple[int, int]]:
    """bucket -> its page views and visitors, of those that have any."""
    totals = moment.folded.series(span, topic)
    tail = moment.tail_of(span).page_views_by_bucket(span, topic)
    found: dict[int, tuple[int, int]] = {bucket: (of.page_views, of.visitors) for bucket, of in totals.items()}
    for buckets in portions(sorted(tail), SETS_AT_A_TIME):
        sets = moment.folded.visitor_sets(span, topic, [bucket for bucket in buckets if bucket in totals])
        known = {bucket: sets.get(bucket, BitMap()) for bucket in buckets}
        for bucket, new in moment.tail_of(span).new_visitors_by_bucket(span, topic, known).items():
            page_views, visitors = found.get(bucket, (0, 0))
            found[bucket] = page_views + tail[bucket], visitors + new
    return found


def _series_span(moment: Moment, granularity: str, start: Bound, end: Bound, topic: Topic | None) -> Span:
    if granularity not in ("day", "hour"):
        raise ValueError(f'granularity={granularity!r}: "day" or "hour" would do.')
    if start is None or end is None:
        raise ValueError("A time series needs both start and end: dates or aware datetimes would do.")
    if granularity == "day":
        return page_span(start, end, lambda: moment.calendar)
    if topic is not None:
        raise ArgumentError(
            f'granularity={granularity!r}: hours are kept of the whole site; granularity="day", or no path and no'
            " where, would do.",
            "granularity",
        )
    return series_span(start, end, lambda: moment.calendar)


def summary(moment: Moment, start: Bound, end: Bound) -> Summary:
    span = moment.span_of_days(start, end)
    page_views, visitors, paths, first_viewed_at = (0, 0, 0, None) if span.is_empty else _totals(moment, span)
    tail = moment.tail_of(ALL_DAYS)
    return Summary(
        page_views=page_views,
        visitors=visitors,
        paths=paths,
        first_viewed_at=first_viewed_at,
        pending=tail.pending,
        pending_is_exact=tail.pending_is_exact,
        is_exact=moment.is_exact or tail.pending == 0,
    )


def _totals(moment: Moment, span: Span) -> tuple[int, int, int, datetime | None]:
    """The page views, visitors and paths of a span, and its first time."""
    folded = moment.folded.site(span)
    counted = moment.folded.count_values(span, PAGES)
    tail = moment.tail_of(span)
    return (
        folded.page_views + tail.page_views(span, None),
        len(folded.visitors) + tail.new_visitors(span, None, folded.visitors),
        tail.count_values(moment.folded, span, PAGES, counted),
        tail.first_viewed_at(span),
    )


def listed(paths: Iterable[str]) -> list[str]:
    """Paths to be asked for, however many tries that takes; raises ValueError for what is no list of texts."""
    if isinstance(paths, str):
        raise ValueError(f"paths={paths!r}: a list of paths would do.")
    found = list(paths)
    for path in found:
        if not isinstance(path, str):
            raise ValueError(f"paths has {path!r}: text would do.")
    return found
