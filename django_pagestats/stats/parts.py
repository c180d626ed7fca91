"""The visitors of each of many parts of a range, such as its weeks: the sets of its days are read once, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import groupby

from pyroaring import BitMap

from django_pagestats.buckets import Granularity, day_number
from django_pagestats.stats.conditions import Condition, may_exist, topic_of
from django_pagestats.stats.ranges import Span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot


def unique_visitors_of(
    taken: Snapshot,
    parts: Sequence[tuple[date, date]],
    path: str | None = None,
    where: Condition | None = None,
    *,
    only: Iterable[date],
) -> list[int]:
    """The distinct visitors of each part, `[start, end)`, of the site, of a path or of a value.

    Parts are in order and do not overlap; `only` are all days that have a page view. As many statements as the bytes of
    their sets want, 16 MB to each, however many parts they make; of a path the union of one is in memory at a time.
    """
    days = {day_number(day) for day in only}
    return taken._ask(lambda moment: _unique_visitors_of(moment, parts, path, where, days))


def _unique_visitors_of(
    moment: Moment,
    parts: Sequence[tuple[date, date]],
    path: str | None,
    where: Condition | None,
    only: Collection[int],
) -> list[int]:
    counts = [0] * len(parts)
    topic = topic_of(moment, path, where)
    if not parts or not may_exist(moment, topic):
        return counts
    spans = [Span(Granularity.DAY, day_number(start), day_number(end)) for start, end in parts]
    part_of = {
        day: part for part, span in enumerate(spans) for day in range(span.low or 0, span.high or 0) if day in only
    }
    whole = Span(Granularity.DAY, spans[0].low, spans[-1].high)
    tailed = {part_of[day] for day in moment.tail_of(whole).page_views_by_bucket(whole, topic) if day in part_of}
    if topic is None:
        known = moment.folded.read_site(spans)
        return [
            len(visitors) + (moment.tail_of(whole).new_visitors(span, None, visitors) if part in tailed else 0)
            for part, (span, visitors) in enumerate((span, known[span].visitors) for span in spans)
        ]
    folded = groupby(moment.folded.sets_in_order(whole, topic, part_of), key=lambda found: part_of[found[0]])
    for part, days in folded:
        merged = BitMap()
        for _, visitor_set in days:
            merged |= visitor_set
        new = moment.tail_of(whole).new_visitors(spans[part], topic, merged) if part in tailed else 0
        counts[part] = len(merged) + new
        tailed.discard(part)
    for part in tailed:
        counts[part] = moment.tail_of(whole).new_visitors(spans[part], topic, BitMap())
    return counts
