"""Where an axis of counts ends, and what is written beside it."""

from __future__ import annotations

import math

#: of one chart: more would be no wider than a pixel, on a page of half a megabyte
MOST_POINTS = 750


def axis_end(most: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50, ... that is not below: so the axis stays as it is for a while."""
    if most <= 1:
        return 1.0
    power = float(10 ** math.floor(math.log10(most)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most)


def ticks(most: int, count: int = 4) -> list[int]:
    """From 0 on in equal steps of 1, 2 or 5 times a power of ten, at most so many, to the first that is not below."""
    if most <= 0:
        return [0, 1]
    step = int(axis_end(-(-most // count)))
    return list(range(0, most + step, step))
