"""Who is among some visitors, and among those of each of many values, too: the sets of all are read together."""

from __future__ import annotations

from collections.abc import Sequence

from pyroaring import BitMap

from django_pagestats.merging.portions import portions
from django_pagestats.merging.reading import can_hold
from django_pagestats.stats.conditions import dimension_of
from django_pagestats.stats.ranges import Bound
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.snapshots import Snapshot
from django_pagestats.stats.topics import Topic
from django_pagestats.stats.visitor_questions import Sets
from django_pagestats.stats.visitor_sets import VisitorSet

#: values whose sets are in memory at a time
VALUES_AT_A_TIME = 64


def count_shared_visitors(
    taken: Snapshot, among: VisitorSet, dimension: str, values: Sequence[str], *, start: Bound, end: Bound
) -> dict[str, int]:
    """value -> its visitors in a range of days who are in `among`, too, which is of the same snapshot.

    Raises what `visitors(where=...)` does. The number of statements is that of 64 values, for each 64 of them.
    """

    def counted(moment: Moment) -> dict[str, int]:
        of = dimension_of(moment, dimension)
        span = moment.span_of_days(start, end)
        found = dict.fromkeys(values, 0)
        if span.is_empty:
            return found
        for portion in portions((value for value in found if can_hold(moment.using, value)), VALUES_AT_A_TIME):
            subjects = moment.folded.subject_ids(of, portion)
            folded = moment.folded.subject_sets(span, of, set(subjects.values()))
            sets = Sets(moment, span, taken._origin)
            for value in portion:
                tail = sets.tail.page_views_by_session_key(span, Topic(of, value))
                mine = sets.of(folded.get(subjects.get(value, 0), BitMap()), tail)
                found[value] = len(mine & among)
        return found

    return taken._ask(counted)
