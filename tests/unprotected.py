"""The package without one of its protections, for the controls of tests: they show the faults that these prevent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import F
from django.utils import timezone

from django_pagestats import folding
from django_pagestats.backfill import claims, helping, rebuilding, starting
from django_pagestats.folding import chunks
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, BuildSegment, Generation


def claim_whatever_the_epoch(using: str, run_id: int, epoch: int, *, by: str, **changes: Any) -> BackfillRun | None:
    runs = BackfillRun.objects.using(using).filter(pk=run_id, active_key=BackfillRun.ACTIVE)
    runs.update(status="running", wait_until=None, taken_by=by, **changes)
    return runs.select_related("generation").first()


def update_whatever_the_epoch(claim: Any, **changes: Any) -> None:
    BackfillRun.objects.filter(pk=claim.run.pk).update(**changes)
    for name, value in changes.items():
        if not hasattr(value, "resolve_expression"):
            setattr(claim.run, name, value)


def without_epochs(set_attribute: Callable[[object, str, object], None]) -> None:
    """Takes the fence away: whoever comes gets the run, and nobody finds that it was taken over."""
    set_attribute(claims, "claim", claim_whatever_the_epoch)
    set_attribute(claims.Claim, "update", update_whatever_the_epoch)


def move_a_segment_from_any_cursor(place: folding.OfSegment, chunk: folding.Chunk, *, is_fenced: bool) -> bool:
    BuildSegment.objects.filter(pk=place.row.pk).update(cursor=chunk.upto)
    return True


def swap_a_segment_whatever_the_epoch(claim: Any, seen: dict[str, Any], **changes: Any) -> None:
    BuildSegment.objects.filter(pk=claim.segment.pk).update(**changes)


def without_fences_of_segments(set_attribute: Callable[[object, str, object], None]) -> None:
    """Whoever has read a chunk of a segment merges it, and finds it where he was."""
    set_attribute(folding.OfSegment, "moves", move_a_segment_from_any_cursor)
    set_attribute(helping.SegmentClaim, "swap", swap_a_segment_whatever_the_epoch)


def merge_in_two_transactions(
    using: str, chunk: folding.Chunk, *, fence: Any = None, **options: Any
) -> tuple[dict[Any, Any], float]:
    """The aggregates first, the cursor after them."""
    database = database_for(using)
    with database.chunk_transaction():
        database.merge(chunk.generation, database.prepare(chunk.tally.of_times()))
    with database.chunk_transaction():
        if fence is not None:
            fence(chunk)
        moved = Generation.objects.using(using).filter(pk=chunk.generation, cursor=chunk.after)
        if not moved.update(cursor=chunk.upto, revision=F("revision") + 1):
            raise folding.CursorMovedError
    return {}, 0.1


def merge_at_any_cursor(
    using: str, chunk: folding.Chunk, *, fence: Any = None, **options: Any
) -> tuple[dict[Any, Any], float]:
    """In one transaction, and without a look at where the cursor is."""
    database = database_for(using)
    with database.chunk_transaction():
        if fence is not None:
            fence(chunk)
        Generation.objects.using(using).filter(pk=chunk.generation).update(cursor=chunk.upto)
        database.merge(chunk.generation, database.prepare(chunk.tally.of_times()))
    return {}, 0.1


def switch_in_two_transactions(end: Any) -> None:
    """The old generation answers no more, and after that the new one does."""
    generations = Generation.objects.using(end.claim.using)
    generations.filter(is_active=True).update(is_active=None)
    generations.filter(pk=end.claim.run.generation_id).update(is_active=True)
    end.claim.succeed()


def take_ones_own_clock() -> None:
    """Of whoever looks whether a lease has run out."""
    starting.database_now = lambda using: timezone.now()


#: by name, for workers in other processes
WITHOUT: dict[str, Callable[[], None]] = {
    "cursor": lambda: setattr(chunks, "merge", merge_at_any_cursor),
    "epochs": lambda: without_epochs(setattr),
    "the database's clock": take_ones_own_clock,
    "one transaction of the switch": lambda: setattr(rebuilding.Rebuilding, "_switch", switch_in_two_transactions),
    "one transaction": lambda: setattr(chunks, "merge", merge_in_two_transactions),
}
