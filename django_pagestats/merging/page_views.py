"""Page views as they are read, row by row or column by column, and those that no answer can count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django_pagestats.models import PageView

PAGE_VIEW_TABLE = PageView._meta.db_table
#: whole seconds since the epoch of the times that can be counted; one more on each side, where SQLite has rounded
COUNTABLE_SECONDS = range(-1, 7_258_118_401)


class PageViewRow(NamedTuple):
    id: int
    path: str
    session_key: str
    seconds: int  #: whole seconds since the epoch, UTC
    attributes: str | None = None  #: as the database writes them, where they were asked for


class PageViewColumns(NamedTuple):
    """The same of many page views, column by column."""

    ids: Sequence[int]
    paths: Sequence[str]
    session_keys: Sequence[str]
    seconds: Sequence[int]
    attributes: Sequence[str | None] = ()  #: empty where they were not asked for
    #: of attributes that were asked for by name, their values, in place of the texts; where the database gives them so
    named: Mapping[str, Sequence[Any]] | None = None


class Uncountable(NamedTuple):
    """A page view that no answer can count, and why: the value of one of its columns, as the database writes it."""

    id: int
    column: str
    value: str
    #: SQLite: the same time as Django writes it, where it is a time that is written otherwise
    written: str | None = None

    def __str__(self) -> str:
        wanted = "text" if self.column in ("path", "session_key") else "a time from 1970 to 2199 (UTC)"
        value = "..."
        if self.written is not None:
            wanted, value = "how Django writes a time, so that SQLite takes it for another one", f"'{self.written}'"
        return (
            f"Page view {self.id} cannot be counted: its {self.column} is {self.value}, which is not {wanted}. Correct"
            f" it (UPDATE {PAGE_VIEW_TABLE} SET {self.column} = {value} WHERE id = {self.id}) or delete it (DELETE FROM"
            f" {PAGE_VIEW_TABLE} WHERE id = {self.id})."
        )
