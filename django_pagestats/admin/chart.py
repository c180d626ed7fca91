"""A run's rate and chunk size over its time: what its page draws, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import thousands
from django_pagestats.admin.wording import NOTHING, duration
from django_pagestats.backfill.history import Point, Sample, points
from django_pagestats.charts import steps

TITLES: dict[str, Promise] = {"rate": _("Page views a second"), "chunk_size": _("Page views a chunk")}


@dataclass(frozen=True)
class Plot:
    """One quantity over the run's time, as steps: each sample says what was so since the one before."""

    line: str  #: the points of a polyline
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
    drawn = steps([point.seconds for point in found], values)
    description = gettext("In %(time)s between %(least)s and %(most)s, at the end %(last)s") % {
        "time": duration(drawn.end),
        "least": thousands(round(min(values))),
        "most": thousands(round(max(values))),
        "last": thousands(round(values[-1])),
    }
    return Plot(drawn.line, thousands(round(drawn.top)), duration(drawn.end), description)
