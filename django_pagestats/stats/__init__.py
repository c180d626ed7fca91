"""Statistics, exact at every moment: the aggregates, and the page views that no aggregate counts yet.

A range is `[start, end)`, and a bound left out is open. A bound is a date or an aware datetime at a local midnight, in
the zone in which the aggregates were made (PAGESTATS_TIME_ZONE); for page views, visitors and hourly series of the
whole site also a whole local hour. Any other range raises ValueError, which says what would do, and so does a path that
is no text, and more than one condition: one path, or one value of a named dimension.

A named dimension that the aggregates do not have raises UnknownDimensionError. What is asked about one raises
TailTooLongError where very many page views are not folded yet, and DimensionError where its function fails for one of
them; `stats.snapshot(exact=False)` answers without them.

`using` is the database alias, `router.db_for_read(Aggregate)` by default; it is chosen once per answer. Inside a
transaction that shows the commits of others an answer may raise AnswerUnsettledError, if these never cease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone

from django_pagestats.stats import active, below, policies, questions, values, visitor_questions
from django_pagestats.stats.answers import DimensionInfo, PageStats, Point, Policy, Summary, ValueStats
from django_pagestats.stats.conditions import Condition
from django_pagestats.stats.pages import page_at, page_at_percentile, paths, rank
from django_pagestats.stats.reading import alias_of, answer
from django_pagestats.stats.snapshots import Snapshot, snapshot_of
from django_pagestats.stats.visitor_sets import VisitorSet

__all__ = [
    "DimensionInfo",
    "PageStats",
    "Point",
    "Policy",
    "Snapshot",
    "Summary",
    "ValueStats",
    "VisitorSet",
    "active_pages",
    "active_visitors",
    "count_page_views",
    "count_page_views_of",
    "count_paths",
    "count_single_page_visitors",
    "count_unique_visitors",
    "count_values",
    "count_visits",
    "dimensions",
    "page_at",
    "page_at_percentile",
    "paths",
    "rank",
    "snapshot",
    "summary",
    "time_series",
    "top",
    "top_pages",
    "visitor_policy",
    "visitors",
]


def count_page_views(
    path: str | None = None,
    *,
    where: Condition | None = None,
    prefix: str | None = None,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> int:
    """The page views of a path, of a value of a named dimension (`where={"country": "DE"}`), or of the whole site.

    `prefix`: of all pages together whose paths begin so; ranges of days only.
    """
    if prefix is not None:
        below.check_prefix(prefix, path=path, where=where)
        text = prefix
        return answer(alias_of(using), lambda moment: below.page_views(moment, text, start, end))
    return answer(alias_of(using), lambda moment: questions.count_page_views(moment, path, where, start, end))


def count_page_views_of(
    paths: Iterable[str],
    *,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> dict[str, int]:
    """path -> page views of each of many paths, 0 where there are none: a few statements for each 500 of them.

    Ranges of days only.
    """
    asked = questions.listed(paths)
    return answer(alias_of(using), lambda moment: questions.count_page_views_of(moment, asked, start, end))


def count_unique_visitors(
    path: str | None = None,
    *,
    where: Condition | None = None,
    prefix: str | None = None,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> int:
    """The distinct session keys of a path, of a value, or of the whole site: exact for any range.

    `prefix`: of all pages together whose paths begin so, each visitor once; ranges of days only.
    """
    if prefix is not None:
        below.check_prefix(prefix, path=path, where=where)
        text = prefix
        return answer(alias_of(using), lambda moment: below.unique_visitors(moment, text, start, end))
    return answer(alias_of(using), lambda moment: questions.count_unique_visitors(moment, path, where, start, end))


def count_single_page_visitors(
    *, start: date | datetime | None = None, end: date | datetime | None = None, using: str | None = None
) -> int:
    """The visitors of the site with exactly one page view in a range.

    Raises TailTooLongError, as `visitors()` does, and UnknownDimensionError where the aggregates are of before repeat
    sets were kept.
    """
    return answer(alias_of(using), lambda moment: visitor_questions.count_single_page_visitors(moment, start, end))


def visitors(
    path: str | None = None,
    *,
    where: Condition | None = None,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> VisitorSet:
    """The visitors of a path, of a value, or of the whole site, as a set; `count_unique_visitors()` is its `len()`.

    Sets that are to be compared are best taken from one `snapshot()`. Raises TailTooLongError where more page views
    are not folded yet than PAGESTATS_TAIL_LIMIT.
    """
    return answer(alias_of(using), lambda moment: visitor_questions.visitors(moment, path, where, start, end))


def count_paths(
    *, start: date | datetime | None = None, end: date | datetime | None = None, using: str | None = None
) -> int:
    """The distinct paths that were viewed; ranges of days only."""
    return answer(alias_of(using), lambda moment: questions.count_paths(moment, start, end))


def top_pages(
    limit: int = 10,
    *,
    offset: int = 0,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> list[PageStats]:
    """The most viewed paths; of equal page views the one that was known first. Ranges of days only."""
    questions.check_numbers(limit=limit, offset=offset)
    return answer(alias_of(using), lambda moment: questions.top_pages(moment, limit, offset, start, end))


def top(
    dimension: str,
    limit: int = 10,
    *,
    offset: int = 0,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> list[ValueStats]:
    """The values of a named dimension with the most page views; of equal ones the one that was known first.

    Ranges of days only.
    """
    questions.check_numbers(limit=limit, offset=offset)
    return answer(alias_of(using), lambda moment: values.top(moment, dimension, limit, offset, start, end))


def count_values(
    dimension: str,
    *,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> int:
    """The distinct values of a named dimension; ranges of days only."""
    return answer(alias_of(using), lambda moment: values.count_values(moment, dimension, start, end))


def count_visits(
    path: str | None = None,
    *,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> int:
    """The arrivals: page views that did not come from a page of the site. Of a path: those that landed there.

    Ranges of days only.
    """
    return answer(alias_of(using), lambda moment: values.count_visits(moment, path, start, end))


def dimensions(using: str | None = None) -> list[DimensionInfo]:
    """The named dimensions of the aggregates that answer; before there are any, those of PAGESTATS_DIMENSIONS."""
    return answer(alias_of(using), values.dimensions)


def time_series(
    granularity: str,
    start: date | datetime,
    end: date | datetime,
    *,
    path: str | None = None,
    where: Condition | None = None,
    using: str | None = None,
) -> list[Point]:
    """A point for each "day" or, of the whole site, "hour" of a range, those without page views too.

    A date or an hour that the zone left out (Samoa had no 30 December 2011) has no point.
    """
    return answer(alias_of(using), lambda moment: questions.time_series(moment, granularity, start, end, path, where))


def summary(
    *, start: date | datetime | None = None, end: date | datetime | None = None, using: str | None = None
) -> Summary:
    """The whole site, and how many page views no aggregate counts yet. Ranges of days only."""
    return answer(alias_of(using), lambda moment: questions.summary(moment, start, end))


def active_visitors(minutes: float = 5, *, using: str | None = None) -> int:
    """The distinct session keys of the last minutes, a day of them at the most."""
    return active.count_visitors(alias_of(using), minutes, datetime.now(timezone.utc))


def active_pages(minutes: float = 5, limit: int = 10, *, using: str | None = None) -> list[PageStats]:
    """The most viewed paths of the last minutes, a day of them at the most."""
    questions.check_numbers(limit=limit)
    return active.most_viewed(alias_of(using), minutes, limit, datetime.now(timezone.utc))


def visitor_policy(
    *, start: date | datetime | None = None, end: date | datetime | None = None, using: str | None = None
) -> list[Policy]:
    """How the visitors of a range were told apart: the policies that were in force in any part of it."""
    return policies.in_force(alias_of(using), start, end)


@contextmanager
def snapshot(exact: bool = True, *, using: str | None = None) -> Iterator[Snapshot]:
    """The same functions, but those of now and of policies; all answers are of one instant, the tail is tallied once.

    `exact=False` leaves the tail out: the folded part at once, however long the tail. Outside a transaction the block
    is one, read-only and REPEATABLE READ: write nothing in it. Inside `atomic()` it is that transaction; if that shows
    the commits of others, and the fold goes beyond what the snapshot holds, an answer raises AnswerUnsettledError.
    """
    with snapshot_of(alias_of(using), is_exact=exact) as taken:
        yield taken
