"""Which aggregate rows answer: of a span, and of the site, of one topic, or of the values of a dimension."""

from __future__ import annotations

from collections.abc import Sequence

from django_pagestats.buckets import Dimension
from django_pagestats.dimensions import NamedDimension
from django_pagestats.ids import digest_of
from django_pagestats.merging.reading import Where
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.topics import Topic
from django_pagestats.tally import SITE_SUBJECT


def topic_where(span: Span, topic: Topic | None, *, buckets: Sequence[int] | None = None) -> Where:
    """The rows of the site, or of one topic."""
    low, high = (span.low, span.high) if buckets is None else (None, None)
    if topic is None:
        return Where(Dimension.SITE, span.granularity, low, high, buckets, subjects=[SITE_SUBJECT])
    value = (digest_of(topic.value), topic.value)
    return Where(topic.dimension.id, span.granularity, low, high, buckets, value=value)


def values_where(
    span: Span,
    dimension: NamedDimension,
    *,
    buckets: Sequence[int] | None = None,
    subjects: Sequence[int] | None = None,
) -> Where:
    """The rows of all values of a dimension, or of some."""
    low, high = (span.low, span.high) if buckets is None else (None, None)
    return Where(dimension.id, span.granularity, low, high, buckets, subjects)
