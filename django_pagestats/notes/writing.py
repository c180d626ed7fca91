"""How a note is written, by whoever writes it: a form, or a script at the end of a deployment."""

from __future__ import annotations

from datetime import date

from django_pagestats import intake, stats
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import NOTE_MAX_LENGTH, Note
from django_pagestats.recording import page_of_url

#: page views are of these years
FIRST_DAY, LAST_DAY = date(intake.FIRST_YEAR, 1, 1), date(intake.LAST_YEAR, 12, 31)


class NoteError(PageStatsError):
    """A note cannot be written so; the message names the value and the fix."""


def annotate(text: str, *, day: date, path: str = "", is_public: bool = False, using: str) -> tuple[Note, bool]:
    """The note, and whether it is new: the same text of the same day and path is there once, however often it is told.

    `day` is a local date of the statistics' zone. A note that is there stays public or not, as it was; of several that
    are the same it is one that is as public as asked for. Two processes that write the same at the same moment may both
    write it. Raises NoteError for a text, path or day that no chart could show.
    """
    text = check_text(text)
    path = check_note_path(path, using=using)
    if not FIRST_DAY <= day <= LAST_DAY:
        raise NoteError(f"{day}: a note is of a day from {FIRST_DAY} to {LAST_DAY}, as page views are.")
    notes = Note.objects.using(using)
    # the text is compared here: the databases' collations for prose take "Deploy" for "deploy"
    same = [note for note in notes.filter(day=day, path=path) if note.text == text]
    if same:
        return next((note for note in same if note.is_public == is_public), same[0]), False
    return notes.create(day=day, path=path, text=text, is_public=is_public), True


def check_text(text: str) -> str:
    """The text on one line, without spaces around it; raises NoteError."""
    text = " ".join(text.split())
    if not text:
        raise NoteError("The text of a note is empty: say what happened on that day.")
    if len(text) > NOTE_MAX_LENGTH:
        raise NoteError(f"The text has {len(text)} characters: a note has at most {NOTE_MAX_LENGTH}.")
    try:
        intake.check_path(text)  # what no database keeps, is kept as nothing here
    except intake.RefusedError as error:
        raise NoteError(f"The text {intake.shown(text)} has a character that cannot be stored: take it out.") from error
    return text


def check_note_path(path: str, *, using: str | None = None) -> str:
    """The path as page views of its page have it, empty for the whole site; raises NoteError where there is no page.

    What has page views is taken as it is. Else a URL gives its page's path, and so does a path with escapes or a query.
    """
    try:
        if not path or _is_plain(intake.check_page(path)) or stats.count_page_views(path, using=using):
            return path
    except intake.RefusedError as error:
        raise NoteError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    page = _page_of(path)
    if page is None:
        raise NoteError(
            f"No page has the path {intake.shown(path)}: a path such as '/pricing/', as the dashboard names it, or the"
            " URL of a page would do."
        )
    return page


def _is_plain(path: str) -> bool:
    """Whether it is its own path, whatever page views there are: no URL, no escapes and no query."""
    return path.startswith("/") and not set("%?#") & set(path)


def _page_of(url: str) -> str | None:
    try:
        return page_of_url(url)
    except Exception as error:  # PAGESTATS_PATH is the site's code
        raise NoteError(
            f"The page of {intake.shown(url)} cannot be told, for PAGESTATS_PATH fails: {error!r}."
        ) from error
