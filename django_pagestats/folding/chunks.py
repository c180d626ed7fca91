"""How is one chunk folded: tallied page views are merged into the aggregates, with the cursor, in one transaction."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from django_pagestats.conf import conf
from django_pagestats.folding.places import OfGeneration, Place
from django_pagestats.folding.reading import Reader
from django_pagestats.folding.stretches import Chunk
from django_pagestats.folding.zones import rules_with
from django_pagestats.merging import Highest, database_for
from django_pagestats.models import Generation

#: where a chunk size that adapts begins, if PAGESTATS_MAX_CHUNK_SIZE lets it
FIRST_CHUNK_SIZE = 500
#: between two collections of garbage, while there are chunks to fold
COLLECT_SECONDS = 1.0


def first_chunk_size() -> int:
    return min(FIRST_CHUNK_SIZE, conf.MAX_CHUNK_SIZE)


class CursorMovedError(Exception):
    """Somebody else folded the same generation meanwhile, or ids of the chunk were lost; nothing was changed."""


@dataclass
class Folder:
    """Folds chunks into one generation, one after another, and finds the size that suits the database.

    Its cursor is the generation's, or that of another `place`.

    A context manager: at its end the thread that reads ahead ends, with its connection. Within it Python collects
    garbage once a second only: the page views of a chunk are no garbage, and looking at them over and over took a sixth
    of the time. A folder that is kept may be used so once more.
    """

    using: str
    generation: Generation
    chunk_size: int = field(default_factory=first_chunk_size)
    #: the chunk size that was asked for: it is left for a smaller one only after a failure, and comes back
    fixed_size: int | None = None
    place: Place | None = None

    def __post_init__(self) -> None:
        self.reader = Reader(self.using, self.generation, ends_with_days=self.fixed_size is None)
        self._place = self.place or OfGeneration(self.using, self.generation)
        self.cursor = self._place.row.cursor
        #: others fold the same generation: days are locked, and looked for in the database
        self.is_shared = self._place.is_shared
        #: how long a chunk's transaction should last
        self.chunk_seconds = database_for(self.using).CHUNK_SECONDS
        #: the chunk that is being folded or was last, once it is read: after this primary key, up to that one
        self.trying: tuple[int, int] | None = None
        #: true as long as nobody else folds this generation: the cursor's compare-and-swap tells; not if it is shared
        self._highest: Highest = {}
        self._within = ExitStack()
        self._collects = False
        self._collected_at = time.monotonic()
        self._is_kept = False

    def __enter__(self) -> Folder:
        self._within.enter_context(database_for(self.using).folding(conf.LEASE_SECONDS))
        self._collects = gc.isenabled()
        if self._collects:
            self._within.callback(gc.enable)
            gc.disable()
        return self

    def __exit__(self, *error: object) -> None:
        with self._within:  # what was changed is put back, whatever becomes of the reader
            self.reader.close(waits=not self._is_kept)

    def fold(self, target: int, *, fence: Callable[[Chunk], None] | None = None, expected: float = 1) -> Chunk:
        """Fold the next chunk of the page views up to `target`, all of which must be visible.

        `fence` runs first in the transaction: it takes the lock of whoever folds, or raises. Raises CursorMovedError,
        having read the new cursor, if another fold was faster, and RowsLockedError while rows are not committed.
        `expected`: how many chunks the caller is about to fold, this one and those after it. Where the database gains
        by it, the page views of several are read at once, or the next one is read while this one is merged.
        """
        self.trying = None
        self._collect_garbage()
        chunk = self.reader.next_chunk(self.cursor, target, self.chunk_size, expected=expected)
        self.trying = chunk.after, chunk.upto
        row = self._place.row
        chunk = replace(chunk, zone_rules=rules_with(row.zone_rules, chunk.tally, self.reader.calendar))
        try:
            self._highest, seconds = merge(
                self.using, chunk, fence=fence, highest=self._highest, place=self._place, is_shared=self.is_shared
            )
        except CursorMovedError:
            self.reader.look_for_lost_ids()
            self.reload()
            raise
        self.reader.confirm(chunk.witnesses)
        self.cursor = chunk.upto
        row.last_page_view = chunk.last or row.last_page_view
        row.zone_rules = chunk.zone_rules
        self._adapt(chunk, seconds)
        return chunk

    def _collect_garbage(self) -> None:
        """Between two chunks: looking at the lists of one that is tallied took four times as long."""
        if self._collects and time.monotonic() > self._collected_at + COLLECT_SECONDS:
            gc.collect(1)
            self._collected_at = time.monotonic()

    def _adapt(self, chunk: Chunk, seconds: float) -> None:
        """Steer towards the time that a chunk's transaction should last, at most doubling or halving.

        Not below the first size: a busy machine makes small chunks slow too, and they cost more in all.
        """
        if self.fixed_size is not None:
            self.chunk_size = min(self.fixed_size, self.chunk_size * 2)
            return
        factor = self.chunk_seconds / max(seconds, 0.001)
        if not (chunk.is_full or factor < 1):
            return
        count = chunk.page_views if chunk.is_full else self.chunk_size  # one that ends with a day may have fewer
        wanted = min(2 * self.chunk_size, max(self.chunk_size // 2, int(count * factor)))
        lowest = min(self.chunk_size, first_chunk_size())
        self.chunk_size = min(conf.MAX_CHUNK_SIZE, max(lowest, wanted))

    def shrink(self, *, by: int = 4) -> bool:
        """Make the chunk size a quarter of what it is, or so, after a failure; False where it is the smallest."""
        if self.chunk_size == 1:
            return False
        self.chunk_size = max(1, self.chunk_size // by)
        return True

    def reload(self) -> None:
        """Read anew where the cursor is, after somebody else folded it or a chunk failed."""
        self._place.reload()
        self.cursor = self._place.row.cursor
        self._highest = {}

    def forget(self) -> None:
        """Drop the ids that are remembered, and what was read ahead with them: the database may have lost some."""
        self.reader.forget()

    def release(self) -> None:
        """Drop what was read ahead, once it is read."""
        self.reader.release()

    def keep(self) -> None:
        """Be left for a later use: the end of this one does not wait for what is being read ahead."""
        self._is_kept = True

    def go_on(self, generation: Generation, place: Place | None = None) -> None:
        """Be used once more, from where its cursor is by now; what was read ahead is used if it still fits."""
        self._is_kept = False
        self.generation = generation
        self._place = place or OfGeneration(self.using, generation)
        self.is_shared = self._place.is_shared
        self.reader.forget_lost_ids()
        if self._place.row.cursor != self.cursor:
            self.reload()


def merge(
    using: str,
    chunk: Chunk,
    *,
    fence: Callable[[Chunk], None] | None = None,
    highest: Highest | None = None,
    place: Place | None = None,
    is_shared: bool = False,
) -> tuple[Highest, float]:
    """Merge a chunk and move the cursor, in one transaction.

    Raises CursorMovedError if the cursor is not where it was, or if the database has lost ids of the chunk.

    Without a fence only the active generation is folded: once a rebuild has switched, the old rows are being deleted.
    `is_shared`: others may fold the same days at the same time, and each day is one's until he commits. Returns the
    highest buckets for the next merge, and how many seconds the transaction took.
    """
    database = database_for(using)
    place = place or OfGeneration(using, chunk.generation)
    prepared = database.prepare(chunk.tally.of_times())
    began = time.monotonic()
    with database.chunk_transaction():
        if fence is not None:
            fence(chunk)
        if not place.moves(chunk, is_fenced=fence is not None):  # takes the row's lock: one fold of it at a time
            raise CursorMovedError
        if is_shared:
            database.lock_days({day for day, _ in chunk.tally.site_hours})
        highest = database.merge(chunk.generation, prepared, highest, is_shared=is_shared)
    return highest, time.monotonic() - began
