"""The questions, each asked of one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime

from pyroaring import BitMap

from django_pagestats.merging.reading import can_hold
from django_pagestats.models import Subject
from django_pagestats.stats.answers import PageStats, Point, Summary
from django_pagestats.stats.folded import RankedPage, portions
from django_pagestats.stats.ranges import ALL_DAYS, Bound, Span, existing_buckets, page_span, series_span, site_span
from django_pagestats.stats.reading import Moment

#: buckets, or pages, whose visitor sets are compared with the tail's visitors at a time
SETS_AT_A_TIME = 64
PATHS_PER_STATEMENT = 500
#: points of one series: eleven years of hours
MOST_POINTS = 100_000
#: more pages than there can be
MOST_PAGES = 2**31


def count_page_views(moment: Moment, path: str | None, start: Bound, end: Bound) -> int:
    span = _span(moment, path, start, end)
    if not _may_exist(moment, path) or span.is_empty:
        return 0
    folded = moment.folded.page_views(span, path)
    return folded + moment.tail_of(span).page_views(span, path)


def count_page_views_of(moment: Moment, paths: Collection[str], start: Bound, end: Bound) -> dict[str, int]:
    found = dict.fromkeys(paths, 0)
    span = moment.span(page_span(start, end, lambda: moment.calendar))
    if span.is_empty:
        return found
    for portion in portions((path for path in found if can_hold(moment.using, path)), PATHS_PER_STATEMENT):
        folded = moment.folded.page_views_by_path(span, portion)
        tail = moment.tail_of(span).page_views_by_path(span, portion)
        found.update((path, folded.get(path, 0) + tail.get(path, 0)) for path in portion)
    return found


def count_unique_visitors(moment: Moment, path: str | None, start: Bound, end: Bound) -> int:
    span = _span(moment, path, start, end)
    if not _may_exist(moment, path) or span.is_empty:
        return 0
    folded = moment.folded.visitors(span, path)
    return len(folded) + moment.tail_of(span).new_visitors(span, path, folded)


def count_paths(moment: Moment, start: Bound, end: Bound) -> int:
    span = moment.span(page_span(start, end, lambda: moment.calendar))
    if span.is_empty:
        return 0
    counted = moment.folded.count_pages(span)
    return moment.tail_of(span).count_paths(moment.folded, span, counted)


def top_pages(moment: Moment, limit: int, offset: int, start: Bound, end: Bound) -> list[PageStats]:
    check_numbers(limit=limit, offset=offset)
    span = moment.span(page_span(start, end, lambda: moment.calendar))
    if span.is_empty or not limit or offset >= MOST_PAGES:
        return []
    limit = min(limit, MOST_PAGES)
    ranked = moment.folded.top(span, offset + limit)
    pages = moment.tail_of(span).top(moment.folded, span, ranked, limit=limit, offset=offset)
    return [page for portion in portions(pages, SETS_AT_A_TIME) for page in _page_stats(moment, span, portion)]


def check_numbers(**numbers: object) -> None:
    """Raise ValueError for what is no number of rows."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"{name}={number!r}: a whole number, 0 or more, would do.")


def _page_stats(moment: Moment, span: Span, pages: Sequence[RankedPage]) -> list[PageStats]:
    """Pages with their paths and their visitors."""
    paths = _paths_of(moment.using, (page.subject for page in pages if page.path is None and page.subject is not None))
    subjects = {paths[page.subject or 0] if page.path is None else page.path: page.subject for page in pages}
    unsure = {path: subjects[path] for path, page in zip(subjects, pages, strict=True) if page.visitors is None}
    sets = moment.folded.page_sets(span, None, {subject for subject in unsure.values() if subject is not None})
    known = {path: sets.get(subject or 0, BitMap()) for path, subject in unsure.items()}
    new = moment.tail_of(span).new_visitors_by_path(span, known) if known else {}
    return [
        PageStats(path, page.page_views, len(known[path]) + new[path] if page.visitors is None else page.visitors)
        for path, page in zip(subjects, pages, strict=True)
    ]


def _paths_of(using: str, subjects: Iterable[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for portion in portions(subjects, PATHS_PER_STATEMENT):
        found.update(Subject.objects.using(using).filter(pk__in=portion).values_list("pk", "value"))
    return found


def time_series(moment: Moment, granularity: str, start: Bound, end: Bound, path: str | None) -> list[Point]:
    span = _series_span(moment, granularity, start, end, path)
    may_exist = _may_exist(moment, path)
    if span.is_empty:
        return []
    if span.buckets(MOST_POINTS) is None:
        raise ValueError(
            f"start={start} and end={end} are too far apart for one series: {MOST_POINTS:,} points would do, that is"
            f" {MOST_POINTS // 365 if granularity == 'day' else MOST_POINTS // 8_766} years of {granularity}s."
        )
    found = _buckets(moment, span, path) if may_exist else {}
    return [Point(begins, *found.get(bucket, (0, 0))) for bucket, begins in existing_buckets(span, moment.calendar)]


def _buckets(moment: Moment, span: Span, path: str | None) -> dict[int, tuple[int, int]]:
    """bucket -> its page views and visitors, of those that have any."""
    totals = moment.folded.series(span, path)
    tail = moment.tail_of(span).page_views_by_bucket(span, path)
    found: dict[int, tuple[int, int]] = {bucket: (of.page_views, of.visitors) for bucket, of in totals.items()}
    for buckets in portions(sorted(tail), SETS_AT_A_TIME):
        sets = moment.folded.visitor_sets(span, path, [bucket for bucket in buckets if bucket in totals])
        known = {bucket: sets.get(bucket, BitMap()) for bucket in buckets}
        for bucket, new in moment.tail_of(span).new_visitors_by_bucket(span, path, known).items():
            page_views, visitors = found.get(bucket, (0, 0))
            found[bucket] = page_views + tail[bucket], visitors + new
    return found


def _series_span(moment: Moment, granularity: str, start: Bound, end: Bound, path: str | None) -> Span:
    if granularity not in ("day", "hour"):
        raise ValueError(f'granularity={granularity!r}: "day" or "hour" would do.')
    if start is None or end is None:
        raise ValueError("A time series needs both start and end: dates or aware datetimes would do.")
    if granularity == "day":
        return page_span(start, end, lambda: moment.calendar)
    if path is not None:
        raise ValueError('Hours are kept of the whole site: granularity="day", or no path, would do.')
    return series_span(start, end, lambda: moment.calendar)


def summary(moment: Moment, start: Bound, end: Bound) -> Summary:
    span = moment.span(page_span(start, end, lambda: moment.calendar))
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
    page_views, folded = moment.folded.site_totals(span)
    counted = moment.folded.count_pages(span)
    tail = moment.tail_of(span)
    return (
        page_views + tail.page_views(span, None),
        len(folded) + tail.new_visitors(span, None, folded),
        tail.count_paths(moment.folded, span, counted),
        tail.first_viewed_at(span),
    )


def _span(moment: Moment, path: str | None, start: date | datetime | None, end: date | datetime | None) -> Span:
    if path is None:
        return moment.span(site_span(start, end, lambda: moment.calendar))
    return moment.span(page_span(start, end, lambda: moment.calendar))


def _may_exist(moment: Moment, path: str | None) -> bool:
    """Whether a page view can have this path; if not, all that is to be said of it is 0."""
    if path is None:
        return True
    if not isinstance(path, str):
        raise ValueError(f"path={path!r}: text, or None for the whole site, would do.")
    return can_hold(moment.using, path)


def listed(paths: Iterable[str]) -> list[str]:
    """Paths to be asked for, however many tries that takes; raises ValueError for what is no list of texts."""
    if isinstance(paths, str):
        raise ValueError(f"paths={paths!r}: a list of paths would do.")
    found = list(paths)
    for path in found:
        if not isinstance(path, str):
            raise ValueError(f"paths has {path!r}: text would do.")
    return found
