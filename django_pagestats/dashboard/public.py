"""What anybody may ask of the dashboard, where it is public: a range of days, and no more.

Each thing that could be asked for besides is a number more to subtract from another one: of a page or a filter, of a
goal, of another interval, of the other rows of a list, of days to compare with. So one URL tells all of a range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_pagestats.dashboard.comparing import NONE
from django_pagestats.dashboard.ranges import Choice
from django_pagestats.dashboard.state import State


def for_everybody(state: State, default: str) -> State:
    """The range alone; days of one's own choice are a calendar month, else it is `default`.

    Two ranges that differ by a day would tell that day, of each row.
    """
    free = state.range.free
    is_range = free is None or free.is_month
    return State(range=state.range if is_range else Choice(default))


def is_asked_in_vain(query: Mapping[str, Any], names: list[str]) -> bool:
    """Whether a query asks for more than days; `names` are those of the tables."""
    asked = any(query.get(name) for name in ("path", "goal", "f", *(f"{name}_q" for name in names)))
    return asked or query.get("compare") not in (None, "", NONE)
