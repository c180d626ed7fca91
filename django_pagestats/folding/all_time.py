"""How do rows of all time follow the rows of days?

Each chunk would rewrite the ALL row of nearly every page, with its set, so that a chunk took the longer the more there
is. So a chunk writes hours and days only, and ALL rows follow with a cursor of their own (`Generation.all_cursor`, at
most the cursor): the page views between the two, the *gap*, are tallied by whoever asks for all time.

A gap is closed in one of two ways. A short one is tallied and merged into the ALL rows, as a chunk is. Otherwise a
*pass* makes them anew out of the rows of days: in steps by subject, under the other bucket number (0 or 1) beside those
that answer; then one transaction moves `all_bucket` and `all_cursor`, and the old rows are deleted in chunks.

Each step is a transaction that begins with a compare-and-swap of the generation's row on all that the step relies on,
so it may be repeated, come late, or never end: then nothing was changed. Rows of days must not change under a pass: it
is of one cursor, and where that has moved, the pass is given up and another one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from django_pagestats.buckets import Granularity
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.dimensions import of_generation
from django_pagestats.folding.reading import Reader
from django_pagestats.folding.resting import niceness, rest
from django_pagestats.merging import RowsLockedError, database_for
from django_pagestats.merging.days import Days, Merged
from django_pagestats.merging.repeats import Visits
from django_pagestats.merging.rows import AggregateRow
from django_pagestats.models import Aggregate, Generation, Subject, raised_revision
from django_pagestats.tally import SITE_ALL, SITE_SUBJECT, Level, levels_of

ALL = Granularity.ALL
#: a gap that is longer than PAGESTATS_TAIL_LIMIT is tallied where it is at most such a part of all page views
SHORT_PART = 50
#: keeping up closes the gap from so many page views on, or the square of how often all have so many, or after such a
#: time: from 100 on at 1,000,000, from 10,000 on at 10,000,000
WORTH_PAGE_VIEWS = 100
WORTH_PART = 100_000
WORTH_TIME = timedelta(hours=1)
#: rows of a version that answers no more, deleted by one transaction
DELETED_ROWS = 10_000


class MovedOnError(Exception):
    """What a step relies on is so no longer; nothing was changed."""


def all_time_page_views(generation: Generation) -> int:
    """How many page views the rows of all time count."""
    rows = Aggregate.objects.using(generation._state.db).filter(
        generation=generation.pk,
        dimension=int(SITE_ALL.dimension),
        granularity=int(SITE_ALL.granularity),
        bucket=generation.all_bucket,
        subject=SITE_SUBJECT,
    )
    return rows.values_list("page_views", flat=True).first() or 0


def is_far_behind(generation: Generation) -> bool:
    """Whether only a run brings the rows of all time to the cursor: there are none yet, or the gap is a long one."""
    gap = generation.cursor - generation.all_cursor
    return gap > 0 and (generation.all_moved_at is None or gap > conf.TAIL_LIMIT)


def is_in_pass(generation: Generation) -> bool:
    """Whether a pass is under way, of the cursor as it is."""
    return generation.pass_cursor is not None and generation.pass_cursor == generation.cursor


def pass_percent(generation: Generation, by_others: int = 0) -> float | None:
    """How far the pass is that is under way, by subject; None where there is none. `by_others`: done beyond that."""
    if generation.pass_cursor is None or generation.pass_subject is None:
        return None
    highest = Subject.objects.using(generation._state.db).order_by("-pk").values_list("pk", flat=True).first() or 1
    return min(100.0, 100.0 * (max(0, generation.pass_subject) + by_others) / highest)


def no_fence() -> None:
    """For whoever only tidies up, in any generation."""


class AllTime:
    """Brings the rows of all time of one generation to its cursor, step by step.

    All that counts is in the generation's row: whoever comes later goes on. `fence` runs first in each transaction: it
    takes the lock of whoever folds, or raises. Without one only the generation that answers is changed.
    """

    def __init__(self, using: str, generation: int, *, fence: Callable[[], None] | None = None) -> None:
        self.using = using
        self.database = database_for(using)
        #: as it was last seen
        self.generation = Generation.objects.using(using).get(pk=generation)
        #: subjects above this one are made by others; None: by nobody
        self.pass_upto: int | None = None
        #: of a gap that is tallied, page views of one step
        self.step_rows = self.database.STEP_ROWS
        self._fence = fence
        self._days: tuple[int, Days] | None = None
        self._reader = Reader(using, self.generation)

    def step(self) -> bool:
        """Take the next step; True if nothing is left to do: there is no gap, and no row that answers no more.

        Raises RowsLockedError where page views of the gap are locked by others.
        """
        generation = self.generation
        generation.refresh_from_db(using=self.using)
        if self._is_done():
            return True
        try:
            if generation.all_cursor >= generation.cursor:
                self._delete_old()
            elif self._is_short():
                self._tally_gap()
            elif generation.pass_cursor not in (None, generation.cursor):
                self._change(pass_cursor=None, pass_subject=None)
            elif generation.pass_cursor is not None or not self._delete_old():
                self._step_of_pass()
        except MovedOnError:
            return False  # the next step sees what is so by then
        generation.refresh_from_db(using=self.using)
        return self._is_done()

    def _is_done(self) -> bool:
        return self.generation.all_cursor >= self.generation.cursor and not self._old_level()

    def _is_short(self) -> bool:
        """Whether the gap is closed by its tally; the first rows are always made by a pass."""
        generation = self.generation
        if generation.all_moved_at is None:
            return False
        gap = generation.cursor - generation.all_cursor
        return gap <= conf.TAIL_LIMIT or gap * SHORT_PART <= all_time_page_views(generation)

    def _change(self, **changes: Any) -> None:
        with self.database.chunk_transaction():
            self._swap(Q(), **changes)

    def _swap(self, *conditions: Any, **changes: Any) -> None:
        """The compare-and-swap that each step begins with: on the gap and the pass as they were seen, and on more."""
        generation = self.generation
        if self._fence is not None:
            self._fence()
        # before the statement below, which may read other tables too
        self.database.wait_for_row(Generation._meta.db_table, generation.pk)
        seen = {name: getattr(generation, name) for name in ("all_cursor", "all_bucket", "pass_cursor", "pass_subject")}
        swapped = Generation.objects.using(self.using).filter(*conditions, pk=generation.pk, **seen)
        if self._fence is None:
            swapped = swapped.filter(is_active=True)
        if not swapped.update(**changes):
            raise MovedOnError

    def _moved_to(self, cursor: int) -> dict[str, Any]:
        """What a change of the rows that answer changes with them."""
        return {
            "all_cursor": cursor,
            "all_moved_at": database_now(self.using),
            "pass_cursor": None,
            "pass_subject": None,
            "revision": raised_revision(),
        }

    # -- a short gap

    def _tally_gap(self) -> None:
        generation, reader = self.generation, self._reader
        chunk = reader.next_chunk(generation.all_cursor, generation.cursor, self.step_rows)
        prepared = self.database.prepare(chunk.tally.of_all_time(generation.all_bucket))
        moved = self._moved_to(chunk.upto)
        try:
            with self.database.chunk_transaction():
                # more may be folded meanwhile: the gap up to here stays what it is
                self._swap(Q(cursor__gte=chunk.upto), chunk.witnesses.expression(), **moved)
                self.database.merge(generation.pk, prepared)
        except MovedOnError:
            reader.look_for_lost_ids()
            raise
        reader.confirm(chunk.witnesses)

    # -- the pass

    def _step_of_pass(self) -> None:
        """Make the rows of some subjects; those of the last ones come to answer with all the others."""
        generation = self.generation
        is_first = generation.pass_cursor is None
        after = None if is_first else generation.pass_subject
        made = self._days_of(generation.cursor).slice_after(after, upto=self.pass_upto)
        bucket = 1 - generation.all_bucket
        rows = list(rows_of_all_time(bucket, made.merged))
        if made.is_last:
            changes = self._moved_to(generation.cursor) | {"all_bucket": bucket}
        else:
            changes = {"pass_cursor": generation.cursor, "pass_subject": made.upto}
        with self.database.chunk_transaction():
            # where the cursor is still the same, no row of a day has changed since it was read
            self._swap(Q(cursor=generation.cursor), **changes)
            self.database.insert_rows(generation.pk, rows)

    @property
    def last_subject(self) -> int:
        """The last one that the pass which is under way has rows of."""
        return self._days_of(self.generation.cursor).highest

    def _days_of(self, cursor: int) -> Days:
        if self._days is None or self._days[0] != cursor:
            self._days = cursor, Days(self.using, self.generation)
        return self._days[1]

    # -- what answers no more

    def delete_old(self) -> int:
        """Delete some rows of the version that answers no more, if no pass is under way; how many."""
        self.generation.refresh_from_db(using=self.using)
        try:
            return self._delete_old()
        except MovedOnError:
            return 0

    def give_up_old_pass(self) -> None:
        """Give a pass up that nobody goes on with: its cursor is the generation's no more, or that answers no more."""
        generation = self.generation
        if generation.pass_cursor is None or (generation.is_active and generation.pass_cursor == generation.cursor):
            return
        with suppress(MovedOnError):
            self._change(pass_cursor=None, pass_subject=None)

    def _delete_old(self) -> int:
        generation, level = self.generation, self._old_level()
        if level is None:
            return 0
        with self.database.chunk_transaction():
            self._swap(Q(), all_bucket=generation.all_bucket)  # nothing but the lock
            return self.database.delete_aggregates(generation.pk, DELETED_ROWS, of=(level, 1 - generation.all_bucket))

    def _old_level(self) -> Level | None:
        """Of which there are rows under the number that does not answer, and of no pass that is under way."""
        generation = self.generation
        if generation.pass_cursor is not None:
            return None
        levels = [level for level in levels_of(of_generation(generation.dimensions)) if level.granularity == ALL]
        old = Aggregate.objects.using(self.using).filter(
            generation=generation.pk,
            dimension__in=[int(level.dimension) for level in levels],
            granularity=int(ALL),
            bucket=1 - generation.all_bucket,
        )
        return next((Level(dimension, ALL) for dimension in old.values_list("dimension", flat=True)[:1]), None)


def rows_of_all_time(bucket: int, merged: Iterable[Merged]) -> Iterator[AggregateRow]:
    """The rows of a slice of subjects, as a pass stores them under this bucket number."""
    for dimension, subject, page_views, visitors, repeats in merged:
        sets = Visits(page_views, visitors, repeats).sets()
        yield dimension, int(ALL), bucket, subject, page_views, *sets


# -- keeping up


def gap_is_worth_it(generation: Generation, now: datetime) -> bool:
    """Whether keeping up closes the gap now: its page views are read by each answer about all time until then."""
    gap = generation.cursor - generation.all_cursor
    if gap <= 0:
        return False
    if (
        generation.all_moved_at is None
        or generation.pass_cursor is not None
        or now - generation.all_moved_at >= WORTH_TIME
    ):
        return True
    # what it writes grows with all there is, and how often with what is recorded a day, which does so too
    worth = max(WORTH_PAGE_VIEWS, (all_time_page_views(generation) // WORTH_PART) ** 2)
    return gap >= min(worth, conf.TAIL_LIMIT // 2)


def close_gap(using: str, generation: int, *, deadline: float, part: float = 1.0) -> None:
    """Close the gap of the generation that answers, if that is worth it, and as far as there is time for it.

    `part`: steps of such a part of the usual page views, for whoever has less time than a step may take.
    """
    all_time = AllTime(using, generation)
    all_time.step_rows = max(1, int(all_time.step_rows * part))
    if not gap_is_worth_it(all_time.generation, database_now(using)):
        return
    is_done = False
    while not is_done and all_time.generation.is_active and time.monotonic() < deadline:
        began = time.monotonic()
        try:
            is_done = all_time.step()
        except RowsLockedError:  # the next tick
            return
        if not is_done:
            rest(niceness(using, is_cluster=True) * (time.monotonic() - began), using)
