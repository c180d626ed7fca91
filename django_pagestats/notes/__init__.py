"""Notes: what happened on a day, to be seen beside the page views of that day.

Which notes are there, written ones and changes that the admin's log has: `notes_of`. How one is written: `annotate`.
"""

from django_pagestats.notes.found import MOST_NOTES, Found, Marked, notes_of
from django_pagestats.notes.writing import FIRST_DAY, LAST_DAY, NoteError, annotate, check_note_path, check_text

__all__ = [
    "FIRST_DAY",
    "LAST_DAY",
    "MOST_NOTES",
    "Found",
    "Marked",
    "NoteError",
    "annotate",
    "check_note_path",
    "check_text",
    "notes_of",
]
