"""The groups of days shared between processes, all of which read one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import Connection

from django.db import connections

from django_pagestats.buckets import Calendar
from django_pagestats.exceptions import InsideTransactionError
from django_pagestats.merging.reading import export_snapshot, import_snapshot, one_instant, read_by_index
from django_pagestats.models import Generation
from django_pagestats.spawned import spawned
from django_pagestats.verify.comparing import Comparison
from django_pagestats.verify.counting import PageViews, Portion
from django_pagestats.verify.days import compare_days
from django_pagestats.verify.differences import Difference
from django_pagestats.verify.groups import Group

#: differences that a process sends at once
BATCH = 500
WORK = f"{__name__}.compare_share"


def shares_snapshots(using: str) -> bool:
    """Whether the database lets several connections read one snapshot: PostgreSQL does."""
    return bool(connections[using].vendor == "postgresql")


def refuse_inside_transaction(using: str) -> None:
    if connections[using].in_atomic_block:
        raise InsideTransactionError(
            "Other processes do not see what this transaction has changed: verify in one process, or outside of it."
        )


def compare_in_processes(comparison: Comparison, page_views: PageViews, shares: list[Group]) -> Iterator[Difference]:
    """What `compare_days` gives for each share, in their order; a process that is lost is an error."""
    snapshot = export_snapshot(comparison.using)
    generation = comparison.generation.pk
    is_of_all_time = bool(comparison.totals)
    arguments = [
        (snapshot, generation, page_views.cursor, page_views.portions, share, is_of_all_time) for share in shares
    ]
    with spawned(WORK, comparison.using, arguments) as processes:
        for process in processes:
            while differences := process.receive():
                yield from differences
            comparison.take(process.receive())


def compare_share(
    using: str,
    snapshot: str,
    generation: int,
    cursor: int,
    portions: list[Portion],
    share: Group,
    is_of_all_time: bool,
    *,
    pipe: Connection,
) -> None:
    """One process: sends batches of differences, an empty one, and what else has come out."""
    with one_instant(using):
        import_snapshot(using, snapshot)
        read_by_index(using)
        active = Generation.objects.using(using).get(pk=generation)
        comparison = Comparison(using, active, Calendar(active.time_zone), is_of_all_time=is_of_all_time)
        page_views = PageViews(using, cursor, comparison.calendar, portions, dimensions=comparison.dimensions)
        batch: list[Difference] = []
        for difference in compare_days(comparison, page_views, share):
            batch.append(difference)
            if len(batch) >= BATCH:
                pipe.send(batch)
                batch = []
        if batch:
            pipe.send(batch)
    pipe.send([])
    pipe.send(comparison.findings())
