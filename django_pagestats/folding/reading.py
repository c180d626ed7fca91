"""Which page views does the next chunk have: they are read ahead, given ids in place of texts, and cut into chunks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cached_property
from typing import Any

from django.db import connections

from django_pagestats.buckets import Calendar
from django_pagestats.dimensions import of_generation
from django_pagestats.exceptions import DimensionError
from django_pagestats.folding.failing import located
from django_pagestats.folding.remembered import RememberedIds
from django_pagestats.folding.stretches import Chunk, Cut, Stretch
from django_pagestats.ids import Witnesses
from django_pagestats.merging import PageViewColumns, database_for
from django_pagestats.models import Generation
from django_pagestats.tally import tally

logger = logging.getLogger(__name__)

#: of texts that a chunk may bring into memory, whatever its size; it is read in portions of so many rows
CHUNK_CHARACTERS = 8_000_000
PORTION_ROWS = 2_500

#: a chunk of so many page views may end with a day: of smaller ones each day has many in any case
CUT_FROM = 2_000
#: in a row, of ids that were given out
MOST_LOSSES = 5


class Reader:
    """Reads the page views of one generation in order, and hands them out as chunks; it changes nothing but ids.

    Where the database gains by it, the page views of several chunks are read at once, or a thread reads the next chunk
    while the last one is merged. The size of a chunk may be another each time.
    """

    def __init__(self, using: str, generation: Generation, *, ends_with_days: bool = False) -> None:
        self.using = using
        self.generation = generation
        #: a chunk ends with a day where that is near
        self.ends_with_days = ends_with_days
        self._losses = 0
        self.dimensions = of_generation(generation.dimensions)
        self.ids = RememberedIds(using, self.dimensions)
        self._stretch: Stretch | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: Future[Cut] | None = None

    @cached_property
    def calendar(self) -> Calendar:
        return Calendar(self.generation.time_zone)

    def next_chunk(self, after: int, target: int, size: int, *, expected: float = 1) -> Chunk:
        """The next chunk after that id: what was read ahead if it fits, else it is read now.

        Where another one is expected, that is being read meanwhile, if the database gains by it.
        """
        cut = self._was_read_ahead(after, target) or self.read(after, target, size, expected=expected)
        if expected > 1 and (upto := cut.stretch.upto(cut.size)) < target:
            self.read_ahead(upto, target, size)
        return self._tallied(cut)

    def _was_read_ahead(self, after: int, target: int) -> Cut | None:
        """What was read ahead, if it fits."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        wait([ahead])  # in any case: two readers at once would share the caches of ids
        if ahead.exception() is not None:
            self.forget()
            return None
        cut = ahead.result()
        return cut if (cut.stretch.after, cut.stretch.target) == (after, target) else None

    def read(self, after: int, target: int, size: int, *, expected: float = 1) -> Cut:
        """Read the chunk after that id, out of a stretch of as many chunks as are expected."""
        is_cut = self.ends_with_days and size >= CUT_FROM
        chunks = int(min(expected, database_for(self.using).CHUNKS_AT_ONCE))
        stretch = self._stretch_after(after, target, size * chunks, least=size if is_cut else 1)
        cut = Cut(
            stretch,
            stretch.size_to_a_days_end(size, self.calendar) if is_cut else size,
            is_full=len(stretch.ids) >= size,
        )
        self._stretch = stretch.rest(cut.size)
        return cut

    def _tallied(self, cut: Cut) -> Chunk:
        """Not by the thread that reads ahead: that has more to do already than whoever merges."""
        stretch, size, is_full = cut
        tallied = tally(stretch.page_views(size), self.calendar, stretch.spread_of(size))
        return Chunk(
            generation=self.generation.pk,
            after=stretch.after,
            upto=stretch.upto(size),
            target=stretch.target,
            page_views=tallied.page_views,
            tally=tallied,
            last=stretch.last(size),
            is_full=is_full,
            witnesses=stretch.witnesses,
        )

    def _stretch_after(self, after: int, target: int, size: int, *, least: int) -> Stretch:
        """What is left of the last stretch, filled up if it is less than so many page views; or another one."""
        left = self._stretch
        if left is None or left.after != after or left.target != target:
            return self._read_stretch(after, target, size)
        if left.is_last or len(left.ids) >= least:
            return left
        return left.followed_by(self._read_stretch(left.ids[-1], target, size - len(left.ids)))

    def _read_stretch(self, after: int, target: int, size: int) -> Stretch:
        """Read page views, and give those paths and session keys ids that have none, in transactions of their own."""
        with database_for(self.using).reading():
            page_views, is_last = self._page_views(after, target, size)
        subjects, visitors, spread = self.ids.of(page_views)
        witnesses = self.ids.witnesses()
        return Stretch(
            after, target, page_views.ids, subjects, visitors, page_views.seconds, is_last, witnesses, spread
        )

    def _page_views(self, after: int, target: int, size: int) -> tuple[PageViewColumns, bool]:
        """The next page views, and whether they are all up to the target."""
        database = database_for(self.using)
        columns: tuple[Any, ...] = ([], [], [], [], [])
        named: dict[str, list[Any]] = {}
        names = self.ids.names
        with_attributes = bool(self.dimensions) and names != []
        ids, characters = columns[0], 0
        is_last = False
        while len(ids) < size and characters < CHUNK_CHARACTERS and not is_last:
            limit = min(PORTION_ROWS, size - len(ids))
            last = ids[-1] if ids else after
            try:
                portion = database.read_columns(last, target, limit, with_attributes=with_attributes, names=names)
            except DimensionError as error:
                told = located(self.using, error, self.dimensions, after=last, upto=target, limit=limit)
                raise told from error.__cause__
            for place, column in enumerate(columns):
                column += portion[place]
            for name, values in (portion.named or {}).items():
                named.setdefault(name, []).extend(values)
            is_last = len(portion.ids) < limit
            characters += sum(map(len, portion.paths)) + sum(map(len, portion.session_keys))
            characters += _characters(portion.attributes)
            for values in (portion.named or {}).values():
                characters += _characters(values, once=True)
        return PageViewColumns(*columns)._replace(named=None if portion.named is None else named), is_last

    def read_ahead(self, after: int, target: int, size: int) -> None:
        """Let a thread read the chunk after that id, where the database gains by it."""
        # inside an open transaction a thread would not see what it has done, and on SQLite there is one writer
        if connections[self.using].in_atomic_block or not database_for(self.using).READS_AHEAD:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pagestats-reader")
        self._ahead = self._thread.submit(self.read, after, target, size)

    def confirm(self, witnesses: Witnesses) -> None:
        """They were seen in the database, for example by a merge of their chunk."""
        self.ids.confirm(witnesses)
        self._losses = 0

    def look_for_lost_ids(self) -> None:
        """A chunk that may not be merged may have ids that were lost; raises LookupError if that goes on."""
        self._losses = self._losses + 1 if self.forget_lost_ids() else 0
        if self._losses >= MOST_LOSSES:
            raise LookupError(
                f"{self._losses} times in a row ids of visitors or paths were gone from {self.using!r} right after they"
                " had been given out: see that all statements go to one primary server, and none to a replica."
            )

    def forget_lost_ids(self) -> bool:
        """Forget all ids if the database has lost the newest of them; whether it has."""
        witnesses = self.ids.witnesses()
        if witnesses.are_there(self.using):
            self.confirm(witnesses)
            return False
        logger.warning("ids that were given out are gone from %r, as after a failover: all are looked up", self.using)
        self.forget()
        return True

    def forget(self) -> None:
        """Drop the ids that are remembered, and what was read ahead with them: the database may have lost some."""
        self.release()
        self.ids = RememberedIds(self.using, self.dimensions)

    def release(self) -> None:
        """Drop what was read ahead, once it is read."""
        if self._ahead is not None:
            wait([self._ahead])
        self._ahead = self._stretch = None

    def close(self, *, waits: bool) -> None:
        """End the thread with its connection; what it is reading is waited for, or left for a later use."""
        if self._thread is not None:
            self._thread.submit(lambda: connections[self.using].close())  # the thread's own: nobody else can
            self._thread.shutdown(wait=waits)
            self._thread = None


def _characters(values: Sequence[Any], *, once: bool = False) -> int:
    """Of the texts that are in memory; `once`: equal ones are one."""
    try:
        return sum(map(len, filter(None, set(values) if once else values)))
    except TypeError:  # one is no text: it is refused soon
        return 0
