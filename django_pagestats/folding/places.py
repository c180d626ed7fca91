"""Where does a fold keep its cursor: in the generation's row, or, of a part of a build, in that of its segment?"""

from __future__ import annotations

from typing import Any, Protocol

from django.db.models import F

from django_pagestats.folding.stretches import Chunk
from django_pagestats.merging import database_for
from django_pagestats.models import BuildSegment, Generation, raised_revision


class Place(Protocol):
    """One row with a cursor, and what goes with it; `row` is as it was last seen."""

    #: whether others may fold the same days into the same generation at the same time
    is_shared: bool

    @property
    def row(self) -> Generation | BuildSegment: ...

    def reload(self) -> None:
        """See where the cursor is by now; never whose the row is."""
        ...

    def moves(self, chunk: Chunk, *, is_fenced: bool) -> bool:
        """Move the cursor past a chunk, in the caller's transaction; False if it is not where the chunk begins.

        A compare-and-swap, which takes the row's lock (on SQLite the write lock). What is compared is also whether the
        chunk's ids are still there, and costs no other statement.
        """
        ...


class OfGeneration:
    """The cursor of all that a generation counts."""

    is_shared = False

    def __init__(self, using: str, generation: Generation | int) -> None:
        self.using = using
        self._generation = generation

    @property
    def row(self) -> Generation:
        if isinstance(self._generation, int):
            self._generation = Generation.objects.using(self.using).get(pk=self._generation)
        return self._generation

    def reload(self) -> None:
        self.row.refresh_from_db(using=self.using)

    def moves(self, chunk: Chunk, *, is_fenced: bool) -> bool:
        pk = chunk.generation
        database_for(self.using).wait_for_row(Generation._meta.db_table, pk)
        rows = Generation.objects.using(self.using).filter(pk=pk, cursor=chunk.after)
        if not is_fenced:
            rows = rows.filter(is_active=True)
        rows = rows.filter(chunk.witnesses.expression())
        return bool(rows.update(cursor=chunk.upto, revision=raised_revision(), **kept_of(chunk)))


class OfSegment:
    """The cursor of a segment: its page views are counted by rows of a generation that does not answer yet."""

    is_shared = True

    def __init__(self, using: str, segment: BuildSegment) -> None:
        self.using = using
        self.row = segment

    def reload(self) -> None:
        fields = ["after", "upto", "cursor", "rows_folded", "last_page_view", "zone_rules"]
        self.row.refresh_from_db(using=self.using, fields=fields)

    def moves(self, chunk: Chunk, *, is_fenced: bool) -> bool:
        database_for(self.using).wait_for_row(BuildSegment._meta.db_table, self.row.pk)
        rows = BuildSegment.objects.using(self.using).filter(pk=self.row.pk, cursor=chunk.after, upto__gte=chunk.upto)
        rows = rows.filter(chunk.witnesses.expression())
        return bool(rows.update(cursor=chunk.upto, rows_folded=F("rows_folded") + chunk.page_views, **kept_of(chunk)))


def kept_of(chunk: Chunk) -> dict[str, Any]:
    """What is kept of a chunk beside its counts."""
    kept = {"last_page_view": chunk.last, "zone_rules": chunk.zone_rules}
    return {name: value for name, value in kept.items() if value}
