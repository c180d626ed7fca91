"""A run's rate and chunk size over its time: some points of it, as few as there is room for in a row of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

#: a longer history loses every second point, and points come half as often from then on
MOST_POINTS = 120
#: between two points of a run that has just begun
FIRST_SECONDS = 1.0

#: how it is stored: seconds since the run's start (pauses not counted), page views folded by then, chunk size
Sample = tuple[float, int, int]


class Point(NamedTuple):
    """What a run did since the point before."""

    seconds: float  #: since the run's start, pauses not counted
    rows_per_second: float
    chunk_size: int


def longer(history: Sequence[Sample] | None, sample: Sample) -> list[Sample] | None:
    """The history with one more sample; None while it is too early for one."""
    history = list(history or [(0.0, 0, sample[2])])
    seconds = sample[0]
    if seconds < history[-1][0] + interval(history):
        return None
    # never rounded up: a sample that comes right after it would be of before
    history.append((math.floor(seconds * 100) / 100, *sample[1:]))
    return history[::2] if len(history) > MOST_POINTS else history


def interval(history: Sequence[Sample]) -> float:
    """Seconds between two samples: the more of a run is behind, the longer."""
    spacing = history[-1][0] / max(1, len(history) - 1)
    return max(FIRST_SECONDS, spacing if len(history) > MOST_POINTS // 2 else 0.0)


def points(history: Sequence[Sample] | None) -> list[Point]:
    """The rate between each two samples, and the chunk size at the second of them."""
    return [
        Point(after[0], (after[1] - before[1]) / max(after[0] - before[0], 0.001), after[2])
        for before, after in pairwise(history or [])
    ]
