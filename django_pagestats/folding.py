"""The fold: tally the next page views and merge them into the aggregates, with the cursor, in one transaction."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import F, Min

from django_pagestats import horizon
from django_pagestats.buckets import Calendar, epoch_seconds, instant
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import AutocommitOffError, TableWentBackError
from django_pagestats.ids import IdCache, are_there, subject_ids, visitor_ids
from django_pagestats.merging import Highest, RowsLockedError, database_for
from django_pagestats.models import BackfillRun, Generation, PageView
from django_pagestats.tally import Tally, tally

#: where a chunk size that adapts begins, if PAGESTATS_MAX_CHUNK_SIZE lets it
FIRST_CHUNK_SIZE = 500
#: paths and session keys that a chunk may bring into memory, whatever its size; it is read in portions of so many rows
CHUNK_CHARACTERS = 8_000_000
PORTION_ROWS = 2_500
#: between two collections of garbage, while there are chunks to fold
COLLECT_SECONDS = 1.0
#: how long a fold looks whether its horizon has come, before it gives its worker back
POLL_SECONDS = 1.5
POLL_STEP_SECONDS = 0.05


def first_chunk_size() -> int:
    return min(FIRST_CHUNK_SIZE, conf.MAX_CHUNK_SIZE)


#: of page views: ids, paths, session keys, whole seconds since the epoch
Columns = list[list[Any]]


class CursorMovedError(Exception):
    """Somebody else folded the same generation meanwhile; nothing was changed."""


@dataclass(frozen=True)
class Chunk:
    """The page views of one fold, tallied and not yet merged."""

    generation: int
    after: int
    upto: int  #: the cursor once it is merged
    target: int  #: how far it was allowed to go
    page_views: int
    tally: Tally
    #: id and whole seconds since the epoch of its last page view
    last: tuple[int, int] | None
    is_full: bool  #: as many page views as the chunk size asks for


@dataclass
class Stretch:
    """Page views in memory, with ids in place of their texts, from which chunks are cut one after another."""

    after: int
    target: int
    ids: Sequence[int]
    page_views: Sequence[tuple[int, int, int]]  #: subject, visitor, whole seconds since the epoch
    is_last: bool  #: no page views follow up to the target

    def upto(self, size: int) -> int:
        """The cursor after the first `size` page views."""
        is_end = self.is_last and len(self.ids) <= size
        return max(self.target, self.after) if is_end else self.ids[min(size, len(self.ids)) - 1]

    def last(self, size: int) -> tuple[int, int] | None:
        """Of the first `size` page views, the last one's id and second."""
        number = min(size, len(self.ids))
        return (self.ids[number - 1], self.page_views[number - 1][2]) if number else None

    def rest(self, size: int) -> Stretch | None:
        """What follows the first `size` page views, if there is anything."""
        if len(self.ids) <= size:
            return None
        return Stretch(self.upto(size), self.target, self.ids[size:], self.page_views[size:], self.is_last)


@dataclass
class Folder:
    """Folds chunks of one generation, one after another, and finds the size that suits the database.

    A context manager: at its end the thread that reads ahead ends, with its connection. Within it Python collects
    garbage once a second only: the page views of a chunk are no garbage, and looking at them over and over took a sixth
    of the time. A folder that is kept may be used so once more.
    """

    using: str
    generation: Generation
    chunk_size: int = field(default_factory=first_chunk_size)
    #: the chunk size that was asked for: it is left for a smaller one only after a failure, and comes back
    fixed_size: int | None = None
    subjects: IdCache = field(default_factory=IdCache)
    visitors: IdCache = field(default_factory=IdCache)

    def __post_init__(self) -> None:
        self.cursor = self.generation.cursor
        #: how long a chunk's transaction should last
        self.chunk_seconds = database_for(self.using).CHUNK_SECONDS
        #: the chunk that is being folded or was last, once it is read: after this primary key, up to that one
        self.trying: tuple[int, int] | None = None
        #: true as long as nobody else folds this generation: the cursor's compare-and-swap tells
        self._highest: Highest = {}
        self._stretch: Stretch | None = None
        self._within = ExitStack()
        self._collects = False
        self._collected_at = time.monotonic()
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: Future[Chunk] | None = None
        self._is_kept = False

    @cached_property
    def calendar(self) -> Calendar:
        return Calendar(self.generation.time_zone)

    def __enter__(self) -> Folder:
        self._within.enter_context(database_for(self.using).folding(conf.LEASE_SECONDS))
        self._collects = gc.isenabled()
        gc.disable()
        return self

    def __exit__(self, *error: object) -> None:
        if self._collects:
            gc.enable()
        if self._reader is not None:
            self._reader.submit(lambda: connections[self.using].close())  # the thread's own: nobody else can
            self._reader.shutdown(wait=not self._is_kept)
            self._reader = None
        self._within.close()

    def keep(self) -> None:
        """Be left for a later use: the end of this one does not wait for what is being read ahead."""
        self._is_kept = True

    def go_on(self, generation: Generation) -> None:
        """Be used once more, from where the generation stands by now; what was read ahead is used if it still fits."""
        self._is_kept = False
        self.generation = generation
        if not are_there(self.using, self.subjects, self.visitors):
            self.forget()
        if generation.cursor != self.cursor:
            self.reload()

    def forget(self) -> None:
        """Drop the ids that are remembered, and what was read ahead with them: the database may have lost some."""
        self.release()
        self.subjects, self.visitors = IdCache(), IdCache()

    def release(self) -> None:
        """Drop what was read ahead, once it is read."""
        if self._ahead is not None:
            wait([self._ahead])
        self._ahead = self._stretch = None

    def reload(self) -> None:
        """Read anew where the generation stands, after somebody else folded it or a chunk failed."""
        self.generation.refresh_from_db(using=self.using)
        self.cursor = self.generation.cursor
        self._highest = {}

    def fold(self, target: int, *, fence: Callable[[Chunk], None] | None = None, expected: float = 1) -> Chunk:
        """Fold the next chunk of the page views up to `target`, all of which must be visible.

        `fence` runs first in the transaction: it takes the lock of whoever folds, or raises. Raises CursorMovedError,
        having read the new cursor, if another fold was faster, and RowsLockedError while rows are not committed.
        `expected`: how many chunks the caller is about to fold, this one and those after it. Where the database gains
        by it, the page views of several are read at once, or the next one is read while this one is merged.
        """
        self.trying = None
        chunk = self._next_chunk(target, expected)
        self.trying = chunk.after, chunk.upto
        if expected > 1 and chunk.upto < target:
            self._read_ahead(chunk.upto, target)
        try:
            self._highest, seconds = merge(self.using, chunk, fence=fence, highest=self._highest)
        except CursorMovedError:
            self.reload()
            raise
        self.cursor = chunk.upto
        self.generation.last_page_view = chunk.last or self.generation.last_page_view
        self._adapt(chunk, seconds)
        if self._collects and time.monotonic() > self._collected_at + COLLECT_SECONDS:
            gc.collect(1)
            self._collected_at = time.monotonic()
        return chunk

    def _next_chunk(self, target: int, expected: float) -> Chunk:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            wait([ahead])  # in any case: two readers at once would share the caches of ids
            if ahead.exception() is not None:
                self.forget()
            elif (chunk := ahead.result()).after == self.cursor and chunk.target == target:
                return chunk
        return self.read(target, expected=expected)

    def _read_ahead(self, after: int, target: int) -> None:
        # inside an open transaction a thread would not see what it has done, and on SQLite there is one writer
        if connections[self.using].in_atomic_block or not database_for(self.using).READS_AHEAD:
            return
        if self._reader is None:
            self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pagestats-reader")
        self._ahead = self._reader.submit(self.read, target, after)

    def read(self, target: int, after: int | None = None, *, expected: float = 1) -> Chunk:
        """Read and tally the next chunk, or the one after a later id; it changes nothing but ids."""
        after = self.cursor if after is None else after
        size = self.chunk_size  # once: while a thread reads ahead, the merge of the last chunk may change it
        stretch = self._stretch
        if stretch is None or stretch.after != after or stretch.target != target:
            chunks = int(min(expected, database_for(self.using).CHUNKS_AT_ONCE))
            stretch = self._read_stretch(after, target, size * chunks)
        self._stretch = stretch.rest(size)
        tallied = tally(stretch.page_views[:size], self.calendar)
        count = tallied.page_views
        last = stretch.last(size)
        return Chunk(self.generation.pk, after, stretch.upto(size), target, count, tallied, last, is_full=count == size)

    def _read_stretch(self, after: int, target: int, size: int) -> Stretch:
        """Read page views, and give those paths and session keys ids that have none, in transactions of their own."""
        with database_for(self.using).reading():
            (ids, paths, session_keys, seconds), is_last = self._page_views(after, target, size)
        subjects = subject_ids(self.using, paths, self.subjects)
        visitors = visitor_ids(self.using, session_keys, self.visitors)
        columns = map(subjects.__getitem__, paths), map(visitors.__getitem__, session_keys), seconds
        return Stretch(after, target, ids, list(zip(*columns, strict=True)), is_last)

    def _page_views(self, after: int, target: int, size: int) -> tuple[Columns, bool]:
        """The columns of the next page views, and whether they are all up to the target."""
        database = database_for(self.using)
        columns: Columns = [[], [], [], []]
        ids, paths, session_keys, _ = columns
        characters = 0
        while len(ids) < size and characters < CHUNK_CHARACTERS:
            limit = min(PORTION_ROWS, size - len(ids))
            portion = database.read_page_views(ids[-1] if ids else after, target, limit)
            for column, values in zip(columns, zip(*portion, strict=True), strict=False):  # no row, no columns
                column += values
            if len(portion) < limit:
                return columns, True
            characters += sum(map(len, paths[-limit:])) + sum(map(len, session_keys[-limit:]))
        return columns, False

    def shrink(self) -> bool:
        """Make the chunk size a quarter of what it is, after a failure; False where it is the smallest."""
        if self.chunk_size == 1:
            return False
        self.chunk_size = max(1, self.chunk_size // 4)
        return True

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
        wanted = int(self.chunk_size * min(2.0, max(0.5, factor)))
        lowest = min(self.chunk_size, first_chunk_size())
        self.chunk_size = min(conf.MAX_CHUNK_SIZE, max(lowest, wanted))


def merge(
    using: str, chunk: Chunk, *, fence: Callable[[Chunk], None] | None = None, highest: Highest | None = None
) -> tuple[Highest, float]:
    """Merge a chunk and move the cursor, in one transaction; raises CursorMovedError if it is not where it was.

    Without a fence only the active generation is folded: once a rebuild has switched, the old rows are being deleted.
    Returns the highest buckets for the next merge, and how many seconds the transaction took.
    """
    database = database_for(using)
    prepared = database.prepare(chunk.tally)
    began = time.monotonic()
    with database.chunk_transaction():
        if fence is not None:
            fence(chunk)
        # the compare-and-swap takes the generation's row lock (on SQLite the write lock): one fold at a time
        moved = Generation.objects.using(using).filter(pk=chunk.generation, cursor=chunk.after)
        if fence is None:
            moved = moved.filter(is_active=True)
        last = {"last_page_view": chunk.last} if chunk.last else {}
        if not moved.update(cursor=chunk.upto, revision=F("revision") + 1, **last):
            raise CursorMovedError
        highest = database.merge(chunk.generation, prepared, highest)
    return highest, time.monotonic() - began


def active_generation(using: str) -> Generation | None:
    """The generation that answers, or None before the first fold."""
    return Generation.objects.using(using).filter(is_active=True).first()


def first_cursor(using: str) -> int:
    """Just before the lowest id there is; 0 for an empty table."""
    lowest: int | None = PageView.objects.using(using).aggregate(lowest=Min("id"))["lowest"]
    return 0 if lowest is None else lowest - 1


def new_generation(using: str, cursor: int, *, is_active: bool) -> Generation:
    """A generation without aggregates, in the zone of the settings; its cursor is below 0 only if that of ids is."""
    return Generation.objects.using(using).create(
        cursor=min(0, cursor),
        time_zone=conf.TIME_ZONE,
        is_active=True if is_active else None,
        created_at=database_now(using),
    )


def ensure_active_generation(using: str) -> Generation:
    """The generation that answers; the first start or fold makes it, and one of two at once."""
    if found := active_generation(using):
        return found
    cursor = first_cursor(using)
    try:
        with transaction.atomic(using=using):
            return new_generation(using, cursor, is_active=True)
    except IntegrityError:
        return Generation.objects.using(using).get(is_active=True)


def check_autocommit(using: str) -> None:
    """Raise AutocommitOffError where what is written outside transactions is never committed."""
    connection = connections[using]
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise AutocommitOffError(
            f"Autocommit is off on the database {using!r}, so that nothing would be stored: remove AUTOCOMMIT from"
            f" DATABASES[{using!r}], or call transaction.set_autocommit(True, using={using!r})."
        )


def check_not_back(using: str, generation: Generation) -> None:
    """Raise TableWentBackError if page views that the generation counts are gone from the end of the table.

    Or if another one stands in the place of the last: the table was emptied, its ids began anew and went on beyond.
    """
    highest = horizon.highest_id(using) or 0
    if highest < generation.cursor:
        raise TableWentBackError(
            f"The highest page view is {highest}, but the aggregates count page views up to {generation.cursor}: page"
            " views were taken away (a restore, a TRUNCATE). Run backfill_aggregates --rebuild to count anew."
        )
    check_not_replaced(using, generation)


def check_not_replaced(using: str, generation: Generation) -> None:
    """Raise TableWentBackError if another page view stands in the place of the last that the generation counts."""
    if generation.last_page_view is None:
        return
    pk, seconds = generation.last_page_view
    found = PageView.objects.using(using).filter(pk=pk).values_list("viewed_at", flat=True).first()
    if found is not None and epoch_seconds(found) != seconds:
        raise TableWentBackError(
            f"Page view {pk} is of {found:%Y-%m-%d %H:%M:%S} UTC, and the one that the aggregates count was of"
            f" {instant(seconds):%Y-%m-%d %H:%M:%S} UTC: others are in the place of those that were counted (a restore,"
            " a TRUNCATE). Run backfill_aggregates --rebuild to count anew."
        )


def deleted_page_views(using: str) -> str:
    """What there is to say if page views that the active generation counts are gone; empty where none seem to be.

    It compares numbers that cost nothing to know, so it sees that the oldest page views are gone, or all of them with
    others recorded since; those of the middle only verify_aggregates finds. What was pruned is meant to be gone.
    """
    found = database_for(using).counted_page_views()
    if found is None:
        return ""
    cursor, counted = found
    most = max(0, cursor - first_cursor(using))
    if counted <= most:
        return ""
    return (
        f"The aggregates count {counted:,} page views, and at most {most:,} of them are left: page views were deleted."
        " Answers go on counting them; backfill_aggregates --rebuild counts only those that are left."
    )


@dataclass(frozen=True)
class KeptUp:
    """What one tick of keeping up did."""

    page_views: int = 0
    #: why it stopped, if not because all was done
    reason: str = ""


def keep_up(using: str, *, seconds: float) -> KeptUp:
    """Fold the newest page views into the active generation, for so many seconds at the most.

    Leaves a tail that is longer than PAGESTATS_TAIL_LIMIT, and a generation that a run is at work on, to the run.
    """
    check_autocommit(using)
    deadline = time.monotonic() + seconds
    tail = tail_length(using, conf.TAIL_LIMIT)
    if tail == 0:
        return KeptUp()
    if tail > conf.TAIL_LIMIT:
        return KeptUp(reason=f"more than {conf.TAIL_LIMIT} page views wait: run backfill_aggregates")
    generation = ensure_active_generation(using)
    runs = BackfillRun.objects.using(using).filter(active_key=BackfillRun.ACTIVE, generation=generation)
    if runs.exclude(status=BackfillRun.Status.PAUSED).exists():
        return KeptUp(reason="a run is at work on this generation")
    settling = _settle(using, generation)
    if isinstance(settling, str):
        return KeptUp(reason=settling)
    with Folder(using, generation) as folder:
        return _fold_until(folder, settling.target, deadline)


def _fold_until(folder: Folder, target: int, deadline: float) -> KeptUp:
    folded = 0
    while folder.cursor < target and time.monotonic() < deadline:
        began = time.monotonic()
        try:
            folded += folder.fold(target).page_views
            if folder.cursor < target:
                rest(niceness(folder.using, is_cluster=True) * (time.monotonic() - began), folder.using)
        except CursorMovedError:
            if not folder.generation.is_active:
                return KeptUp(folded, "another generation answers by now")
        except RowsLockedError:
            return KeptUp(folded, f"waits for {horizon.rows_locked(database_now(folder.using))}")
    return KeptUp(folded)


def _settle(using: str, generation: Generation) -> horizon.Settling | str:
    """A target whose horizon has come; or what it waits for, with the target kept for the next tick."""
    kept = generation.settling
    settling = horizon.Settling.from_json(kept) if kept else horizon.fix_target(using)
    if settling.target <= generation.cursor:
        settling = horizon.fix_target(using)
    waiting = poll(using, settling)
    state = settling.as_json() if waiting else None
    if state != kept:
        Generation.objects.using(using).filter(pk=generation.pk).update(settling=state)
    return f"waits for {waiting[0]}" if waiting else settling


def poll(using: str, settling: horizon.Settling, seconds: float = POLL_SECONDS) -> list[horizon.Blocker]:
    """Look for a moment whether the horizon has come; what it still waits for, or an empty list."""
    deadline = time.monotonic() + seconds
    while (waiting := horizon.blockers(using, settling)) and time.monotonic() < deadline:
        time.sleep(POLL_STEP_SECONDS)
    return waiting


def tail_length(using: str, limit: int) -> int:
    """How many page views come after the active generation's cursor, counted no further than just above `limit`.

    Raises TableWentBackError if the table ends before the cursor.
    """
    generation = active_generation(using)
    cursor_at = generation.cursor if generation else 0
    if generation is not None:
        check_not_back(using, generation)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM {PageView._meta.db_table} WHERE id > %s LIMIT %s) AS tail",
            [cursor_at, limit + 1],
        )
        length: int = cursor.fetchone()[0]
    return length


def attention(using: str, tail: int) -> str:
    """What only a person can bring in order, in words; empty where keeping up sees to everything.

    `tail` is the `tail_length` up to PAGESTATS_TAIL_LIMIT.
    """
    generation = active_generation(using)
    if tail > conf.TAIL_LIMIT:
        told = (
            f"More than {conf.TAIL_LIMIT:,} page views are not folded yet, too many for keeping up: answers count them,"
            f" slowly. {_cure(using, generation)}"
        )
        return f"{told} {_other_zone(generation)}".rstrip()
    return _other_zone(generation)


def _cure(using: str, generation: Generation | None) -> str:
    run = BackfillRun.objects.using(using).filter(active_key=BackfillRun.ACTIVE).first()
    if run is None:
        return "Start a backfill."
    if run.status == BackfillRun.Status.PAUSED:
        return f"Run {run.pk} is paused: resume it."
    if generation is not None and run.generation_id == generation.pk:
        return "The active run counts them."
    return "The active run, a rebuild, counts them at its end."


def other_zone(using: str) -> str:
    """What there is to say if the aggregates are of another zone than that of the settings."""
    return _other_zone(active_generation(using))


def _other_zone(generation: Generation | None) -> str:
    if generation is None or generation.time_zone == conf.TIME_ZONE:
        return ""
    return (
        f"The aggregates are cut by the days and hours of {generation.time_zone}, and PAGESTATS_TIME_ZONE is"
        f" {conf.TIME_ZONE}: until backfill_aggregates --rebuild statistics stay in {generation.time_zone}."
    )


def sweep(using: str, *, seconds: float = math.inf, chunk_size: int = 10_000, nice: float = 0.0) -> int:
    """Delete the aggregates of generations that answer no more, in chunks; returns how many rows went.

    One that a run is still building is left alone, or may go on with, and so are the active one and those that are
    kept. After each chunk comes a rest of `nice` times as long as it took.
    """
    deadline = time.monotonic() + seconds
    database = database_for(using)
    deleted = 0
    for generation in _swept_generations(using):
        if time.monotonic() >= deadline or not doom(using, generation):
            continue
        while time.monotonic() < deadline:
            began = time.monotonic()
            count = database.delete_aggregates(generation, chunk_size)
            deleted += count
            rest(nice * (time.monotonic() - began), using)
            if not count:
                Generation.objects.using(using).filter(pk=generation).update(swept_at=database_now(using))
                break
    return deleted


def _swept_generations(using: str) -> list[int]:
    """Those that nobody needs: neither active nor kept, nor of the active run, nor of the last if it may be resumed."""
    old = Generation.objects.using(using).filter(is_active=None, kept_at=None, swept_at=None)
    last = BackfillRun.objects.using(using).order_by("-pk").first()
    if last is not None and last.status == BackfillRun.Status.FAILED:
        old = old.exclude(pk=last.generation_id, doomed_at=None)
    return list(old.exclude(runs__active_key=BackfillRun.ACTIVE).order_by("pk").values_list("pk", flat=True))


def doom(using: str, generation: int) -> bool:
    """Mark a generation as one whose aggregates are being deleted; False if it is needed after all."""
    with transaction.atomic(using=using):
        found = Generation.objects.using(using).select_for_update().get(pk=generation)
        if found.doomed_at is not None:
            return True
        if found.is_active or found.kept_at is not None:
            return False
        if found.runs.using(using).filter(active_key=BackfillRun.ACTIVE).exists():
            return False
        Generation.objects.using(using).filter(pk=generation).update(doomed_at=database_now(using))
    return True


def niceness(using: str, *, is_cluster: bool) -> float:
    """How long to rest after a chunk, in times of what the chunk took; in this process not unless the setting says."""
    if conf.NICE is not None:
        return conf.NICE
    return database_for(using).NICE if is_cluster else 0.0


def rest(seconds: float, using: str) -> None:
    """Leave the database to others for a while; never inside a transaction."""
    if seconds > 0 and not connections[using].in_atomic_block:
        time.sleep(seconds)
