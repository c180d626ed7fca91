"""Which notes there are of some days, of the site or of one page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django_pagestats.buckets import Calendar
from django_pagestats.models import Note
from django_pagestats.notes import logged

#: of more notes those of the latest days are shown
MOST_NOTES = 200


@dataclass(frozen=True, slots=True)
class Marked:
    """A note as a chart shows it."""

    #: a local date
    day: date
    text: str
    #: the row that may be changed; None: it is of the admin's log
    pk: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Notes in the order of their days."""

    notes: list[Marked]
    #: there are more, of earlier days
    are_more: bool = False


def notes_of(
    using: str, start: date, end: date, *, path: str = "", calendar: Calendar, is_public: bool = False
) -> Found:
    """Those of local days, `start <= day < end`: of the whole site and, with a path, those of this page too.

    What the admin's log has of a page is among them where PAGESTATS_NOTES_FROM_LOG names its model, and never for the
    public, which sees the notes only that say so. Asks one statement, and of a page those of `logged.changes_of`.
    """
    if start >= end:
        return Found([])
    rows = Note.objects.using(using).filter(day__gte=start, day__lt=end, path__in=sorted({"", path}))
    if is_public:
        rows = rows.filter(is_public=True)
    written = list(rows.order_by("-day", "-pk").values_list("day", "text", "pk")[: MOST_NOTES + 1])
    notes = [Marked(*row) for row in reversed(written[:MOST_NOTES])]
    if path and not is_public:
        notes += [Marked(day, text) for day, text in logged.changes_of(path, start, end, calendar=calendar)]
    notes.sort(key=lambda note: note.day)
    return Found(notes[-MOST_NOTES:], len(written) > MOST_NOTES or len(notes) > MOST_NOTES)
