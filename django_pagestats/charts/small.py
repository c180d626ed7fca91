"""Small lines, as beside the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

HEIGHT = 20
#: above the highest point and below the lowest one: half a stroke
MARGIN = 1


def small_line(values: Sequence[int | None], label: str = "", *, top: int | None = None) -> SafeString:
    """A line through some values; None: there is no value, and the line has a gap.

    `label` is read in its place; without one nothing is. `top` is what the upper edge stands for, by default the
    highest value: small lines of different rows do not compare.
    """
    highest = max((value for value in values if value is not None), default=0) if top is None else top
    height = (HEIGHT - 2 * MARGIN) / max(highest, 1)
    parts = [
        " ".join(f"{place},{HEIGHT - MARGIN - height * value:.1f}" for place, value in part)
        for part in unbroken(values)
    ]
    told = format_html('role="img" aria-label="{}"', label) if label else SafeString('aria-hidden="true"')
    return format_html(
        '<svg class="pagestats-small-line" width="96" height="{}" viewBox="-0.5 0 {} {}" preserveAspectRatio="none" {}>'
        "{}</svg>",
        HEIGHT,
        max(len(values), 1),
        HEIGHT,
        told,
        format_html_join("", LINE, ((points,) for points in parts)),
    )


LINE = (
    '<polyline points="{}" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"'
    ' stroke-linejoin="round" vector-effect="non-scaling-stroke"/>'
)


def unbroken(values: Sequence[int | None]) -> list[list[tuple[float, int]]]:
    """The lines through values, with the place of each; a value alone has a short one, so that it is seen."""
    parts: list[list[tuple[float, int]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            parts.append([])
        else:
            parts[-1].append((float(place), value))
    return [part if len(part) > 1 else _dash(*part[0]) for part in parts if part]


def _dash(place: float, value: int) -> list[tuple[float, int]]:
    return [(place - 0.2, value), (place + 0.2, value)]
