"""The notes of a range, at the places of its chart and as a list below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from django.utils.formats import date_format
from django.utils.translation import gettext

from django_pagestats import notes
from django_pagestats.dashboard.drawing import day_name
from django_pagestats.dashboard.naming import visible
from django_pagestats.dashboard.numbers import whole
from django_pagestats.dashboard.ranges import DAY, HOUR
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.series import Point
from django_pagestats.notes import Found, Marked

#: of one place of a chart; further ones are counted there, and are in the list
MOST_OF_PLACE = 5


@dataclass(frozen=True, slots=True)
class Item:
    """A note in the list below a chart; `pk` is that of a row which may be changed, else None."""

    day: str
    text: str
    pk: int | None


@dataclass(frozen=True, slots=True)
class NoteList:
    """The notes of a chart, in the order of their days."""

    items: list[Item]
    #: that there are more
    more: str = ""


def notes_of(scope: Scope, path: str = "") -> Found:
    """Those of the range: of the whole site and, with a path, of this page too."""
    start, end = scope.chart_days.start, scope.days.end
    return notes.notes_of(scope.using, start, end, path=path, calendar=scope.calendar, is_public=scope.is_public)


def list_of(found: Found) -> NoteList:
    """As the template shows them."""
    items = [Item(day_name(note.day), visible(note.text), note.pk) for note in found.notes]
    more = gettext("The last %s notes of the range are shown.") % whole(len(items)) if found.are_more else ""
    return NoteList(items, more)


def note_day(scope: Scope) -> date:
    """The day of a new note: today or, where the range has no today in it, its last day."""
    return scope.today if scope.has_today else scope.days.last


def texts_at(points: Sequence[Point], found: Found, interval: str) -> list[tuple[str, ...]]:
    """The texts at each point: of an hour those of its day, at the first hour; of a week or month with their days."""
    texts: list[tuple[str, ...]] = []
    seen: set[int] = set()
    for point in points:
        here = [(n, note) for n, note in enumerate(found.notes) if note.day in point.days and n not in seen]
        seen |= {n for n, _ in here}
        texts.append(tuple(_texts((note for _, note in here), has_days=interval not in (HOUR, DAY))))
    return texts


def _texts(of_place: Iterable[Marked], *, has_days: bool) -> list[str]:
    here = list(of_place)
    told = [_text(note, has_day=has_days) for note in here[:MOST_OF_PLACE]]
    more = len(here) - len(told)
    return [*told, gettext("and %s more") % whole(more)] if more else told


def _text(note: Marked, *, has_day: bool) -> str:
    text = visible(note.text)
    if not has_day:
        return text
    return gettext("%(day)s: %(note)s") % {"day": date_format(note.day, "MONTH_DAY_FORMAT"), "note": text}
