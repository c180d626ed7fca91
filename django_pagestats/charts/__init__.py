"""Charts as SVG made by the server: text, with no library, no request and no style of its own within the markup.

What is drawn has presentation attributes, so that it looks right without a style sheet, and classes, by which a style
sheet changes it. Lines are in a drawing of their own that is stretched to the room there is, their strokes are not;
bars and texts stand at per cents of it, so that neither is distorted. Time runs from left to right in any language.
"""

from django_pagestats.charts.axes import MOST_POINTS, axis_end, ticks
from django_pagestats.charts.columns import Drawing, columns
from django_pagestats.charts.slots import Slot
from django_pagestats.charts.small import small_line
from django_pagestats.charts.steps import Steps, steps

__all__ = ["MOST_POINTS", "Drawing", "Slot", "Steps", "axis_end", "columns", "small_line", "steps", "ticks"]
