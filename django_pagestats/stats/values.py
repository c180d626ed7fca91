"""The questions about named dimensions, each asked of one moment."""

from __future__ import annotations

from django_pagestats.dimensions import ENTRY, NamedDimension, is_current
from django_pagestats.stats.answers import DimensionInfo, ValueStats
from django_pagestats.stats.conditions import dimension_of, dimension_of_source, topic_of
from django_pagestats.stats.questions import count_page_views_of_topic, count_values_of, top_of
from django_pagestats.stats.ranges import Bound
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.topics import Topic

#: the attribute that a page view has if it did not come from a page of the site
SOURCE = "source"


def top(moment: Moment, dimension: str, limit: int, offset: int, start: Bound, end: Bound) -> list[ValueStats]:
    wanted = dimension_of(moment, dimension)
    return [ValueStats(*found) for found in top_of(moment, wanted, limit, offset, start, end)]


def count_values(moment: Moment, dimension: str, start: Bound, end: Bound) -> int:
    return count_values_of(moment, dimension_of(moment, dimension), start, end)


def count_visits(moment: Moment, path: str | None, start: Bound, end: Bound) -> int:
    page = topic_of(moment, path, None)
    if page is not None:
        return count_page_views_of_topic(moment, Topic(dimension_of_source(moment, ENTRY), page.value), start, end)
    return _page_views_of_all(moment, visits_of(moment), start, end)


def visits_of(moment: Moment) -> NamedDimension:
    """The dimension whose page views are the visits; raises UnknownDimensionError."""
    return dimension_of_source(moment, SOURCE, ENTRY)


def _page_views_of_all(moment: Moment, dimension: NamedDimension, start: Bound, end: Bound) -> int:
    """Of all values together: each page view counts at most once in a dimension."""
    span = moment.span_of_days(start, end)
    if span.is_empty:
        return 0
    return moment.folded.page_views_of_all(span, dimension) + moment.tail_of(span).page_views_of_all(span, dimension)


def dimensions(moment: Moment) -> list[DimensionInfo]:
    return [DimensionInfo(it.name, it.source, is_current(it)) for it in moment.folded.dimensions]
