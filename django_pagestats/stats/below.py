"""The pages whose paths begin with a text, such as those of a section: as one thing, not one by one.

A few of them are looked up by their ids. Of many the page views are added up by the database, and their sets of
visitors come in portions of bounded size; where all pages there are begin so, they are the site.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from django.db.models import QuerySet
from pyroaring import BitMap

from django_pagestats.merging.ordering import read_paths
from django_pagestats.merging.portions import portions
from django_pagestats.merging.prefixes import begins
from django_pagestats.merging.reading import Where, can_hold
from django_pagestats.merging.rows import deserialized
from django_pagestats.models import Subject
from django_pagestats.stats.conditions import Condition
from django_pagestats.stats.folded import ROWS_PER_STATEMENT, SUBJECTS_PER_STATEMENT, Folded
from django_pagestats.stats.questions import count_page_views_of_topic, count_unique_visitors
from django_pagestats.stats.ranges import Bound, Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.statements import SETS_PER_STATEMENT
from django_pagestats.stats.tail import LongTail, ShortTail
from django_pagestats.stats.topics import PAGES
from django_pagestats.stats.wheres import values_where

#: sets of more visitors do not come along with those of many pages: they are read a few at a time
INLINE_VISITORS = 400


def check_prefix(prefix: object, *, path: str | None = None, where: Condition | None = None) -> None:
    """Raise ValueError for what is no prefix, or is one beside another condition."""
    if not isinstance(prefix, str):
        raise ValueError(f"prefix={prefix!r}: text would do.")
    if path is not None or where:
        raise ValueError(f"prefix={prefix!r} beside path={path!r} and where={where!r}: one condition in all would do.")


def paths(moment: Moment, prefix: str, start: Bound, end: Bound) -> list[str]:
    """By code points, each once."""
    span = moment.span_of_days(start, end)
    if span.is_empty or not can_hold(moment.using, prefix):
        return []
    found = set(moment.folded.seen(read_paths(moment.using, _where(span, prefix))))
    tail = moment.tail_of(span)
    if isinstance(tail, LongTail):
        found.update(tail.rows_below(span, prefix).order_by().values_list("path", flat=True).distinct())
    else:
        found.update(_tailed(moment, span, prefix))
    return sorted(found)


def page_views(moment: Moment, prefix: str, start: Bound, end: Bound) -> int:
    span = moment.span_of_days(start, end)
    if span.is_empty or not can_hold(moment.using, prefix):
        return 0
    few = _few_subjects(moment, prefix)
    if few is not None:
        folded = sum(moment.folded.subject_totals(span, PAGES, few).values())
    elif is_the_site(moment, span, prefix):
        return count_page_views_of_topic(moment, None, start, end)
    else:
        ((total,),) = moment.folded.rows(["SUM(a.page_views)"], _where(span, prefix))
        folded = int(total or 0)
    tail = moment.tail_of(span)
    if isinstance(tail, LongTail):
        return folded + tail.rows_below(span, prefix).count()
    return folded + sum(_tailed(moment, span, prefix).values())


def unique_visitors(moment: Moment, prefix: str, start: Bound, end: Bound) -> int:
    span = moment.span_of_days(start, end)
    if span.is_empty or not can_hold(moment.using, prefix):
        return 0
    subjects: Iterable[int] | None = _few_subjects(moment, prefix)
    if subjects is None:
        if is_the_site(moment, span, prefix):
            return count_unique_visitors(moment, None, None, start, end)
        subjects = BitMap(_subjects(moment, prefix).iterator())
    folded = visitors_of_pages(moment.folded, span, subjects)
    tail = moment.tail_of(span)
    if isinstance(tail, LongTail):
        return len(folded) + tail.new_visitors_below(span, prefix, folded)
    below = _tailed(moment, span, prefix)
    return len(folded) + tail.new_visitors_of_values(span, PAGES, below, folded)


def _where(span: Span, prefix: str) -> Where:
    return replace(values_where(span, PAGES), prefix=prefix)


# -- which pages


def _subjects(moment: Moment, prefix: str) -> QuerySet[Subject, int]:
    moment.folded.begin()  # before the ids are looked up: a page that these aggregates count has its id by then
    pages = Subject.objects.using(moment.using).filter(dimension=PAGES.id)
    return pages.filter(begins("value", prefix)).values_list("pk", flat=True)


def _few_subjects(moment: Moment, prefix: str) -> list[int] | None:
    """The ids of the pages, if they are few."""
    found = list(_subjects(moment, prefix)[: SUBJECTS_PER_STATEMENT + 1])
    return found if len(found) <= SUBJECTS_PER_STATEMENT else None


def is_the_site(moment: Moment, span: Span, prefix: str) -> bool:
    """Whether no other page is known, as where the text is "/": the site's own rows tell the same, and much faster."""
    tail = moment.tail_of(span)
    if not isinstance(tail, ShortTail) or not all(path.startswith(prefix) for path in tail.paths):
        return False
    pages = Subject.objects.using(moment.using).filter(dimension=PAGES.id)
    return not pages.exclude(begins("value", prefix)).exists()


def _tailed(moment: Moment, span: Span, prefix: str) -> dict[str, int]:
    """The pages of a tail in memory, with their page views of the span there."""
    tail = moment.tail_of(span)
    assert isinstance(tail, ShortTail)  # noqa: S101 - callers ask a long one
    below = [path for path in tail.paths if path.startswith(prefix)]
    counts = tail.page_views_by_value(span, PAGES, below)
    return {path: counts[path] for path in below if counts.get(path)}


# -- their visitors


def visitors_of_pages(folded: Folded, span: Span, subjects: Iterable[int]) -> BitMap:
    """The ids of all visitors of the pages; of their sets some are in memory at a time, and of large ones few."""
    merged = BitMap()
    for visitor_set in _sets(folded, span, subjects):
        merged |= deserialized(visitor_set)
    return merged


def _sets(folded: Folded, span: Span, subjects: Iterable[int]) -> Iterator[bytes]:
    inline = f"CASE WHEN a.visitors <= {INLINE_VISITORS:d} THEN a.visitor_set END"
    days = folded.buckets(span, None)
    for portion in portions(subjects, max(SUBJECTS_PER_STATEMENT, ROWS_PER_STATEMENT // max(1, len(days)))):
        for buckets in portions(days, max(1, ROWS_PER_STATEMENT // len(portion))):
            where = values_where(span, PAGES, buckets=buckets, subjects=portion)
            large: dict[int, list[int]] = {}
            for bucket, subject, visitor_set in folded.rows(["a.bucket", "a.subject", inline], where):
                if visitor_set is None:
                    large.setdefault(bucket, []).append(subject)
                else:
                    yield visitor_set
            for bucket, several in large.items():
                for some in portions(several, SETS_PER_STATEMENT):
                    where = values_where(span, PAGES, buckets=[bucket], subjects=some)
                    yield from (visitor_set for (visitor_set,) in folded.rows(["a.visitor_set"], where))
