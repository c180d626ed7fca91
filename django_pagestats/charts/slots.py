"""One place of a chart, and what is told of it in words: in the chart's table, and where a pointer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import gettext, pgettext

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one hour, day, week or month. None: there is nothing to say, which is not 0."""

    #: what stands under the axis, and the whole of it
    label: str
    name: str
    page_views: int | None
    visitors: int | None
    #: the hour, day, week or month that it is compared with
    name_before: str = ""
    page_views_before: int | None = None
    visitors_before: int | None = None
    #: it is not over
    is_running: bool = False
    #: a week or month of which the range has a part
    is_cut: bool = False
    #: what happened then; shown at the place also where there is no number
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.page_views is None and self.page_views_before is None

    @property
    def remark(self) -> str:
        if self.is_running:
            return gettext("so far")
        return gettext("in part") if self.is_cut else ""


def heads_of(*, has_before: bool, has_notes: bool) -> list[str]:
    heads = [pgettext("heading", "Time"), pgettext("figure", "Page views"), pgettext("figure", "Visitors")]
    before = [pgettext("heading", "Compared with"), gettext("Page views then"), pgettext("heading", "Visitors then")]
    notes = [pgettext("heading", "Notes")]
    return heads + (before if has_before else []) + (notes if has_notes else [])


def rows_of(slots: Sequence[Slot], *, has_before: bool, has_notes: bool) -> Iterator[tuple[str, list[str]]]:
    last = max((place for place, slot in enumerate(slots) if slot.notes or not slot.is_empty), default=-1)
    for slot in slots[: last + 1]:
        name = f"{slot.name} ({slot.remark})" if slot.remark else slot.name
        texts = [count_text(slot.page_views), count_text(slot.visitors)]
        if has_before:
            texts += [slot.name_before or NOTHING, count_text(slot.page_views_before), count_text(slot.visitors_before)]
        if has_notes:
            texts.append(notes_text(slot))
        yield name, texts


def notes_text(slot: Slot) -> str:
    """All notes of a slot in one line, which may be empty."""
    return "; ".join(slot.notes)


def count_text(number: int | None) -> str:
    return NOTHING if number is None else number_format(number, force_grouping=True)


def told(slot: Slot) -> str:
    """A slot in words, none of which depends on a number."""
    said = gettext("%(name)s: page views %(page_views)s, visitors %(visitors)s") % {
        "name": f"{slot.name} ({slot.remark})" if slot.remark else slot.name,
        "page_views": count_text(slot.page_views),
        "visitors": count_text(slot.visitors),
    }
    if slot.page_views_before is None:
        return said
    before = gettext("%(name)s: page views %(page_views)s") % {
        "name": slot.name_before,
        "page_views": count_text(slot.page_views_before),
    }
    return f"{said}. {before}"
