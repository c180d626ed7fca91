"""Who came to a goal on the day of something else or later: by the sets of days, in their order.

Within a day the order is not known: aggregates are of days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby

from pyroaring import BitMap

from django_pagestats.buckets import Granularity, day_date
from django_pagestats.merging.reading import can_hold
from django_pagestats.stats.conditions import Condition, may_exist, topic_of
from django_pagestats.stats.listing import any_dimension
from django_pagestats.stats.ranges import ALL_DAYS, Bound, Span, page_span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import GroupOf
from django_pagestats.stats.visitor_questions import Sets
from django_pagestats.stats.visitor_sets import VisitorSet

#: a path, or None and a value of a dimension
Of = tuple[str | None, Condition | None]


def visitors_by_day(
    taken: Snapshot, path: str | None = None, *, where: Condition | None = None, start: Bound, end: Bound
) -> dict[date, VisitorSet]:
    """day -> the visitors of the site, a path or a value on it, of days that have any; a statement for 128 of them."""

    def asked(moment: Moment) -> dict[date, VisitorSet]:
        topic = topic_of(moment, path, where)
        span = _days(moment, start, end)
        if span.is_empty or not may_exist(moment, topic):
            return {}
        folded = dict(moment.folded.sets_by_bucket(span, topic))
        maker = Sets(moment, span, taken._origin)
        keys = maker.tail.session_keys_by_bucket(span, topic)
        return {
            day_date(day): maker.of(folded.get(day, BitMap()), keys.get(day, ()))
            for day in sorted(folded.keys() | keys.keys())
        }

    return taken._ask(asked)


def reached_by_day(taken: Snapshot, of: Sequence[Of], goal: str, *, start: Bound, end: Bound) -> dict[date, VisitorSet]:
    """day -> who came to the goal on it, and had done each of some things on that day or before, in the range."""
    reached = visitors_by_day(taken, goal, start=start, end=end)
    done = [visitors_by_day(taken, path, where=where, start=start, end=end) for path, where in of]
    nobody = taken.visitors(start=date(2000, 1, 1), end=date(2000, 1, 1))
    so_far = [nobody] * len(done)
    found: dict[date, VisitorSet] = {}
    for day in sorted(reached.keys() | {day for days in done for day in days}):
        so_far = [seen | days.get(day, nobody) for seen, days in zip(so_far, done, strict=True)]
        came = reached.get(day, nobody)
        for seen in so_far:
            came &= seen
        if came:
            found[day] = came
    return found


def reached_by_value(
    taken: Snapshot,
    dimension: str,
    values: Collection[str],
    reached: Mapping[date, VisitorSet],
    *,
    start: Bound,
    end: Bound,
    group_of: GroupOf | None = None,
) -> dict[str, VisitorSet]:
    """value -> those of `reached` who had the value on the same day or before; as many statements for each of a few.

    `group_of`: the values are names of groups, whose values are as one.
    """
    nobody = taken.visitors(start=date(2000, 1, 1), end=date(2000, 1, 1))
    so_far = dict.fromkeys(values, nobody)
    found = dict.fromkeys(values, nobody)
    if not reached or not found:
        return found

    def asked(moment: Moment) -> list[tuple[date, str, VisitorSet]]:
        span = _days(moment, start, end)
        if group_of is None:
            return list(_by_day(moment, taken, dimension, list(found), span))
        return list(_by_day_and_group(moment, taken, dimension, found, group_of, span))

    by_day = {day: list(rows) for day, rows in groupby(taken._ask(asked), key=lambda row: row[0])}
    for day in sorted(by_day.keys() | reached.keys()):
        for _, value, visitors in by_day.get(day, ()):
            so_far[value] |= visitors
        if (came := reached.get(day)) is not None:
            for value, seen in so_far.items():
                found[value] |= seen & came
    return found


def _by_day(
    moment: Moment, taken: Snapshot, name: str, values: Sequence[str], span: Span
) -> Iterator[tuple[date, str, VisitorSet]]:
    """(day, value, its visitors on it), in the order of days."""
    dimension = any_dimension(moment, name)
    held = [] if span.is_empty else [value for value in values if can_hold(moment.using, value)]
    subjects = moment.folded.subject_ids(dimension, held)
    value_of = {subject: value for value, subject in subjects.items()}
    folded = {
        (day, value_of[subject]): ids
        for day, subject, ids in moment.folded.subject_sets_by_bucket(span, dimension, list(value_of))
    }
    maker = Sets(moment, span, taken._origin)
    keys = maker.tail.session_keys_by_value_and_day(span, dimension, held)
    for day, value in sorted(folded.keys() | keys.keys()):
        yield day_date(day), value, maker.of(folded.get((day, value), BitMap()), keys.get((day, value), ()))


def _by_day_and_group(
    moment: Moment, taken: Snapshot, name: str, groups: Collection[str], group_of: GroupOf, span: Span
) -> Iterator[tuple[date, str, VisitorSet]]:
    """(day, group, its visitors on it), in the order of days."""
    if span.is_empty:
        return
    dimension = any_dimension(moment, name)
    rows = moment.folded.rows_by_group(span, dimension, group_of)
    folded = {(day, group): ids for day, group, _, ids in rows if group in groups}
    maker = Sets(moment, span, taken._origin)
    values = [value for value in maker.tail.values(span, dimension) if group_of(value) in groups]
    keys: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for (day, value), of_value in maker.tail.session_keys_by_value_and_day(span, dimension, values).items():
        keys[day, group_of(value)] += of_value
    for day, group in sorted(folded.keys() | keys.keys()):
        yield day_date(day), group, maker.of(folded.get((day, group), BitMap()), keys.get((day, group), ()))


def _days(moment: Moment, start: Bound, end: Bound) -> Span:
    """The days of a range: those of all time, too, since the rows of all time have no days."""
    span = page_span(start, end, lambda: moment.calendar)
    return ALL_DAYS if span.granularity == Granularity.ALL else span
