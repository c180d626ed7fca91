"""A run's rate and chunk size over its time: what its page draws, and the same as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import thousands
from django_pagestats.admin.wording import NOTHING, duration
from django_pagestats.backfill.history import Point, Sample, points

#: units of the drawing, which is stretched to the room there is
WIDTH, HEIGHT = 600, 120
TITLES: dict[str, Promise] = {"rate": _("Page views a second"), "chunk_size": _("Page views a chunk")}


@dataclass(frozen=True)
class Plot:
    """One quantity over the run's time, as steps: each sample says what was so since the one before."""

    line: str  #: the points of a polyline that goes once around the area below the steps
    top: str  #: what the upper edge stands for; the lower one is 0
    end: str  #: what the right edge stands for; the left one is the run's start
    description: str  #: in a sentence, for those who do not see it


@dataclass(frozen=True)
class Chart:
    """All of it; without samples the plots are empty lines."""

    plots: dict[str, Plot]
    rows: list[tuple[str, str, str]]  #: time since the start, rate, chunk size

    @property
    def drawn(self) -> list[tuple[str, Promise, Plot]]:
        return [(name, TITLES[name], plot) for name, plot in self.plots.items()]

    def as_json(self) -> dict[str, Any]:
        return {"plots": {name: vars(plot) for name, plot in self.plots.items()}, "rows": self.rows}


def chart(history: Sequence[Sample] | None) -> Chart:
    found = points(history)
    rates = [point.rows_per_second for point in found]
    sizes = [float(point.chunk_size) for point in found]
    return Chart(
        {"rate": _plot(found, rates), "chunk_size": _plot(found, sizes)},
        [
            (duration(point.seconds), thousands(round(point.rows_per_second)), thousands(point.chunk_size))
            for point in found
        ],
    )


def _plot(found: Sequence[Point], values: Sequence[float]) -> Plot:
    if not found:
        return Plot("", NOTHING, NOTHING, "")
    end, top = found[-1].seconds or 1.0, axis_end(max(values))
    corners, before = [(0.0, 0.0)], 0.0
    for point, value in zip(found, values, strict=True):
        corners += [(before, value), (point.seconds, value)]
        before = point.seconds
    corners.append((before, 0.0))
    line = " ".join(f"{WIDTH * x / end:.1f},{HEIGHT * (1 - y / top):.1f}" for x, y in corners)
    description = gettext("In %(time)s between %(least)s and %(most)s, at the end %(last)s") % {
        "time": duration(end),
        "least": thousands(round(min(values))),
        "most": thousands(round(max(values))),
        "last": thousands(round(values[-1])),
    }
    return Plot(line, thousands(round(top)), duration(end), description)


def axis_end(most: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50, ... that is not below: so the axis stays as it is for a while."""
    if most <= 1:
        return 1.0
    power = float(10 ** math.floor(math.log10(most)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most)
