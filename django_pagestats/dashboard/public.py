"""What anybody may ask of the dashboard, where it is public: little of which two answers differ by one visitor."""

from __future__ import annotations

from dataclasses import replace

from django_pagestats.dashboard.comparing import Against
from django_pagestats.dashboard.filters import MOST_PUBLIC_FILTERS
from django_pagestats.dashboard.kinds import KIND_OF_PAGES
from django_pagestats.dashboard.ranges import Choice
from django_pagestats.dashboard.state import State

#: of a free choice: from two ranges that overlap one could else tell any day
LEAST_DAYS = 7


def for_everybody(state: State, default: str) -> State:
    """Without days of one's own to compare with, a free choice of a few days, an order of rows, and a search of values.

    `default` is the range that stands for one that is too short. A search could find the row that is left out because
    of the others.
    """
    free = state.range.free
    filters = state.filters[: MOST_PUBLIC_FILTERS - bool(state.path)]
    return replace(
        state,
        range=Choice(default) if free is not None and free.count < LEAST_DAYS else state.range,
        against=Against() if state.against.free is not None else state.against,
        tables={
            name: replace(table, sort="", search=table.search if name == KIND_OF_PAGES.name else "")
            for name, table in state.tables.items()
        },
        filters=filters,
    )
