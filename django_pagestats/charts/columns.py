"""Page views as bars and visitors as a line over them, by hour, day, week or month; and the same as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_pagestats.charts.axes import MOST_POINTS, ticks
from django_pagestats.charts.slots import Slot, count_text, heads_of, notes_text, rows_of, told
from django_pagestats.charts.small import unbroken

#: in pixels: of the area of the bars, above it for a label, and below it for those of time
HEIGHT, ABOVE, BELOW = 200, 18, 24
BASE = ABOVE + HEIGHT
#: a bar's part of its place, and its width at the very most, in per cent
BAR, WIDEST_BAR = 0.72, 12.0
#: labels of time: of a wide chart, and so many of them of a narrow one; one between has every second
MOST_LABELS, FEW = 7, 2
#: in per cent: there, half of a label has no room
NEAR_THE_END = 90
#: a note's mark: from the top, and half its width
NOTE_AT, NOTE_RADIUS = 7, 5
#: with more bars than that, what one says is in the table only
MOST_TITLES = 120


@dataclass(frozen=True, slots=True)
class Drawing:
    """The chart, and the same numbers as a table, a row for each slot from the first one on."""

    #: with which the ids of its parts begin
    name: str
    title: str
    svg: SafeString
    heads: list[str]
    #: the name of the slot, and its texts
    rows: list[tuple[str, list[str]]]
    #: what is drawn, for its legend: "before", "running", "cut", "notes"
    has: frozenset[str]


def columns(slots: Sequence[Slot], *, title: str, name: str = "pagestats-chart", is_focusable: bool = True) -> Drawing:
    """Raises ValueError for more slots than a chart can show; the ids of its parts begin with `name`.

    `name=""`: it has no ids, and may stand on a page as often as it is wanted; what is cut is not hatched then.
    `is_focusable`: keys reach it, for a script that moves its cursor; without one they would stop at it for nothing.
    """
    if len(slots) > MOST_POINTS:
        raise ValueError(f"{len(slots):,} points: a chart has at most {MOST_POINTS}.")
    shown = [slot for slot in slots if not slot.is_empty]
    has = {
        "before": any(slot.page_views_before is not None for slot in shown),
        "running": any(slot.is_running for slot in shown),
        "cut": any(slot.is_cut for slot in shown),
        "notes": any(slot.notes for slot in slots),
    }
    return Drawing(
        name,
        title,
        _Plot(slots, name, title).svg(is_focusable=is_focusable),
        heads_of(has_before=has["before"], has_notes=has["notes"]),
        list(rows_of(slots, has_before=has["before"], has_notes=has["notes"])),
        frozenset(what for what, is_there in has.items() if is_there),
    )


# -- the drawing


class _Plot:
    """The parts of one drawing."""

    def __init__(self, slots: Sequence[Slot], name: str, title: str) -> None:
        self.slots, self.name, self.title = slots, name, title
        self.ticks = ticks(max((max(_numbers(slot), default=0) for slot in slots), default=0))
        self.width = 100 / max(len(slots), 1)

    def svg(self, *, is_focusable: bool) -> SafeString:
        parts = [
            self._grid(),
            self._bars(),
            self._lines(),
            self._tick_labels(),
            self._labels(),
            self._targets(),
            self._notes(),
            CURSOR,
        ]
        return format_html(
            '<svg class="pagestats-chart"{id} width="100%" height="{height}" role="img"{focus}'
            ' direction="ltr" font-size="11" aria-label="{title}"{described} data-pagestats-slots="{count}">'
            "<desc{id_of_told}>{told}</desc>{hatched}{parts}</svg>",
            id=self._id(),
            id_of_told=self._id("-told"),
            # where there are no ids its <desc>, a child, describes it
            described=format_html(' aria-describedby="{}-told"', self.name) if self.name else "",
            hatched=self._hatched(),
            height=BASE + BELOW,
            focus=SafeString(' tabindex="0"') if is_focusable else "",
            count=len(self.slots),
            title=self.title,
            told=self._description(),
            parts=format_html_join("", "{}", ((part,) for part in parts)),
        )

    def _id(self, part: str = "") -> SafeString:
        return format_html(' id="{}{}"', self.name, part) if self.name else SafeString("")

    def _hatched(self) -> SafeString:
        """What bars that are cut are filled with."""
        if not self.name:
            return SafeString("")
        return format_html(
            '<defs><pattern{} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<rect class="pagestats-hatch" width="3" height="6" fill="#79aec8"/></pattern></defs>',
            self._id("-hatched"),
        )

    def _description(self) -> str:
        known = [slot for slot in self.slots if slot.page_views is not None]
        if not known:
            return gettext("There is nothing to show.")
        most = max(known, key=lambda slot: slot.page_views or 0)
        return gettext("Page views from %(least)s to %(most)s; the most: %(name)s.") % {
            "least": count_text(min(slot.page_views or 0 for slot in known)),
            "most": count_text(most.page_views),
            "name": most.name,
        }

    def _y(self, number: int) -> float:
        return HEIGHT * (1 - number / self.ticks[-1])

    def _grid(self) -> SafeString:
        return format_html_join(
            "",
            '<line class="pagestats-grid" x1="0" x2="100%" y1="{0}" y2="{0}" stroke="#999" stroke-opacity="{1}"/>',
            ((f"{ABOVE + self._y(tick):.1f}", 0.3 if tick else 1) for tick in self.ticks),
        )

    def _bars(self) -> SafeString:
        width = min(BAR * self.width, WIDEST_BAR)
        return format_html_join(
            "",
            '<rect class="{}" x="{}%" width="{}%" y="{}" height="{}" fill="{}"{}/>',
            (
                (
                    "pagestats-bar" + (" pagestats-bar-running" if slot.is_running else ""),
                    f"{(place + 0.5) * self.width - width / 2:.3f}",
                    f"{width:.3f}",
                    f"{BASE - self._bar_height(slot.page_views):.1f}",
                    f"{self._bar_height(slot.page_views):.1f}",
                    f"url(#{self.name}-hatched)" if slot.is_cut and self.name else "#79aec8",
                    DASHED if slot.is_running else "",
                )
                for place, slot in enumerate(self.slots)
                if slot.page_views
            ),
        )

    def _bar_height(self, page_views: int) -> float:
        return max(1.0, HEIGHT - self._y(page_views))

    def _lines(self) -> SafeString:
        """Those of visitors and of page views before; what is running is dashed of the first, never of the second."""
        over = [None if slot.is_running else slot.visitors for slot in self.slots]
        before = [slot.page_views_before for slot in self.slots]
        lines = [("pagestats-before", "#888", "", part) for part in unbroken(before)]
        lines += [("pagestats-visitors", "#b35900", "", part) for part in unbroken(over)]
        lines += [("pagestats-visitors", "#b35900", ' stroke-dasharray="3 3"', part) for part in self._running()]
        return format_html(
            '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none"'
            ' overflow="visible">{}</svg>',
            ABOVE,
            HEIGHT,
            max(len(self.slots), 1),
            HEIGHT,
            format_html_join(
                "",
                '<polyline class="{}" points="{}" fill="none" stroke="{}" stroke-width="2" stroke-linejoin="round"'
                ' stroke-linecap="round" vector-effect="non-scaling-stroke"{}/>',
                (
                    (name, " ".join(f"{x + 0.5:.2f},{self._y(y):.1f}" for x, y in part), colour, SafeString(dashes))
                    for name, colour, dashes, part in lines
                ),
            ),
        )

    def _running(self) -> Iterator[list[tuple[float, int]]]:
        """The line to a slot that is not over, from the one before it."""
        for place, slot in enumerate(self.slots):
            if slot.is_running and slot.visitors is not None:
                earlier = self.slots[place - 1].visitors if place else None
                start = (place - 0.2, slot.visitors) if earlier is None else (place - 1.0, earlier)
                yield [start, (place + (0.2 if earlier is None else 0.0), slot.visitors)]

    def _tick_labels(self) -> SafeString:
        """Above their lines: so no room is kept at the side for numbers of whatever length."""
        return format_html_join(
            "",
            '<text class="pagestats-tick" x="0" y="{}" fill="currentColor" stroke="Canvas" stroke-width="3"'
            ' stroke-linejoin="round" paint-order="stroke" aria-hidden="true">{}</text>',
            ((f"{ABOVE + self._y(tick) - 4:.1f}", count_text(tick)) for tick in self.ticks[1:]),
        )

    def _labels(self) -> SafeString:
        """Under the axis, evenly; those that a chart of some width has no room for have classes of their own."""
        places = range(0, len(self.slots), max(1, -(-len(self.slots) // MOST_LABELS)))
        kept = -(-len(places) // FEW)
        return format_html_join(
            "",
            '<text class="{}" x="{}%" y="{}" text-anchor="{}" fill="currentColor" aria-hidden="true">{}</text>',
            (
                (
                    "pagestats-time"
                    + (" pagestats-time-not-narrow" if number % kept else "")
                    + (" pagestats-time-not-middle" if number % 2 else ""),
                    f"{self.width * (place + part):.3f}",
                    BASE + 16,
                    anchor,
                    self.slots[place].label,
                )
                for number, place in enumerate(places)
                for part, anchor in [self._anchor(place)]
            ),
        )

    def _anchor(self, place: int) -> tuple[float, str]:
        """Which part of a place its label has, and of which side: those at the ends would else be cut off."""
        if len(self.slots) > 1 and place == 0:
            return 0.0, "start"
        return (1.0, "end") if self.width * (place + 0.5) > NEAR_THE_END else (0.5, "middle")

    def _targets(self) -> SafeString:
        if len(self.slots) > MOST_TITLES:
            return SafeString("")
        return format_html_join(
            "",
            '<rect class="pagestats-target" x="{}%" width="{}%" y="{}" height="{}" fill="none" pointer-events="all">'
            "<title>{}</title></rect>",
            (
                (f"{place * self.width:.3f}", f"{self.width:.3f}", ABOVE, HEIGHT, told(slot))
                for place, slot in enumerate(self.slots)
                if not slot.is_empty
            ),
        )

    def _notes(self) -> SafeString:
        """Above their places, over what a pointer finds there: each says its notes."""
        return format_html_join(
            "",
            '<g class="pagestats-note"><line x1="{0}%" x2="{0}%" y1="{1}" y2="{2}" stroke="#6b4ea0"'
            ' stroke-dasharray="2 3" pointer-events="none"/><circle cx="{0}%" cy="{3}" r="{4}" fill="#6b4ea0">'
            "<title>{5}</title></circle></g>",
            (
                (f"{(place + 0.5) * self.width:.3f}", NOTE_AT + NOTE_RADIUS, BASE, NOTE_AT, NOTE_RADIUS, told)
                for place, slot in enumerate(self.slots)
                if slot.notes
                for told in [gettext("%(name)s: %(note)s") % {"name": slot.name, "note": notes_text(slot)}]
            ),
        )


DASHED = SafeString(' fill-opacity="0.35" stroke="#417690" stroke-dasharray="4 3"')
CURSOR = SafeString(
    f'<line class="pagestats-cursor" x1="0" x2="0" y1="{ABOVE}" y2="{BASE}" stroke="currentColor"'
    ' visibility="hidden" aria-hidden="true"/>'
)


def _numbers(slot: Slot) -> Iterator[int]:
    """Those that are drawn."""
    drawn = (slot.page_views, slot.visitors, slot.page_views_before)
    return (number for number in drawn if number is not None)
