"""A quantity over time as steps: each value says what was so since the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django_pagestats.charts.axes import axis_end

#: units of the drawing, which is stretched to the room there is
WIDTH, HEIGHT = 600, 120


class Steps(NamedTuple):
    """The drawing of one quantity."""

    line: str  #: the points of a polyline that goes once around the area below the steps
    top: float  #: what the upper edge stands for; the lower one is 0
    end: float  #: what the right edge stands for; the left one is 0


def steps(times: Sequence[float], values: Sequence[float]) -> Steps:
    """Of one value at least; `times` never go back."""
    end, top = times[-1] or 1.0, axis_end(max(values))
    corners, before = [(0.0, 0.0)], 0.0
    for at, value in zip(times, values, strict=True):
        corners += [(before, value), (at, value)]
        before = at
    corners.append((before, 0.0))
    line = " ".join(f"{WIDTH * x / end:.1f},{HEIGHT * (1 - y / top):.1f}" for x, y in corners)
    return Steps(line, top, end)
