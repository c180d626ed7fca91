"""Compares the aggregates with a plain count of the page views up to the cursor, all at one instant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import date

from django.db import connections
from django.db.models import Max

from django_pagestats.buckets import Calendar, day_number
from django_pagestats.dimensions import of_generation
from django_pagestats.merging import database_for
from django_pagestats.merging.reading import one_instant, read_by_index
from django_pagestats.models import Aggregate, Generation, Granularity, PageView
from django_pagestats.tally import levels_of
from django_pagestats.verify.all_time import compare_all_time
from django_pagestats.verify.comparing import IDS_PER_STATEMENT, Comparison
from django_pagestats.verify.counting import PageViews
from django_pagestats.verify.days import compare_days, compare_frozen
from django_pagestats.verify.differences import Difference, What
from django_pagestats.verify.groups import clean_boundary_from
from django_pagestats.verify.sharing import compare_in_processes, refuse_inside_transaction, shares_snapshots
from django_pagestats.verify.within import Keys, dates, days_of, keys_of


class Verification:
    """One comparison of the active generation with its page views; iterate over it to run it.

    With `start` or `end` it is one of the rows of the hours and days of a range, `[start, end)`, in local dates of the
    generation's zone. Where clocks are set back over midnight the neighbour that cannot be told apart comes with it;
    afterwards `days` says which were compared.

    Yields every `Difference`; afterwards `page_views` and `aggregates` say how many were compared, and `differences`
    how many were found. Everything is read from one snapshot, in a read-only transaction of its own (inside the
    caller's `atomic()`, in that one), which lasts as long as the iteration: it waits for no writer or fold, and none
    waits for it. `generation` is None if there is none yet: then there is nothing to compare. Local days before the
    generation's `pruned_before` are frozen: of their rows only the set against the number of visitors is looked at.

    With `processes` the days are shared between so many, which read the same snapshot; differences come in the order of
    days all the same. Only PostgreSQL has that, elsewhere it is one process. Raises ProcessFailedError if one is lost,
    and InsideTransactionError inside a transaction of the caller's. Raises DimensionError where the function of a named
    dimension fails: what its rows should be nobody knows then.
    """

    def __init__(self, using: str, *, processes: int = 1, start: date | None = None, end: date | None = None) -> None:
        if start is not None and end is not None and start > end:
            raise ValueError(f"start={start} is after end={end}: a range is [start, end).")
        self.using = using
        self.processes = processes if shares_snapshots(using) else 1
        self.generation: Generation | None = None
        self.page_views = 0
        self.differences = 0
        self.start, self.end = start, end
        #: local days [first, second) that were compared; None: without bound
        self.days = start, end
        self._is_own_transaction = False
        self._comparison: Comparison | None = None

    @property
    def aggregates(self) -> int:
        return 0 if self._comparison is None else self._comparison.aggregates

    def __iter__(self) -> Iterator[Difference]:
        if self.processes > 1:
            refuse_inside_transaction(self.using)
        database_for(self.using).refuse_garbling()
        with self._snapshot():
            self.generation = Generation.objects.using(self.using).filter(is_active=True).first()
            if self.generation is None:
                return
            for difference in self._compare(self.generation):
                self.differences += 1
                yield difference

    def _snapshot(self) -> AbstractContextManager[None]:
        connection = connections[self.using]
        if connection.in_atomic_block:
            return nullcontext()
        connection.ensure_connection()  # connecting sets SQLite's transaction mode, which the snapshot changes
        self._is_own_transaction = True
        return one_instant(self.using)

    def _compare(self, generation: Generation) -> Iterator[Difference]:
        yield from self._cursor(generation)
        is_of_all_time = self.start is None and self.end is None
        if is_of_all_time:
            yield from self._unknown_kinds(generation)
        calendar = Calendar(generation.time_zone)
        days = days_of(calendar, self.start, self.end)
        keys = keys_of(self.using, generation.cursor, calendar, days)
        if not days.is_empty:
            self.days = dates(days)
        uncountable = False
        for difference in self._uncountable(keys):
            uncountable = True
            yield difference
        if uncountable:  # there is no count to compare with before they are corrected
            return
        if self._is_own_transaction:
            read_by_index(self.using)
        comparison = Comparison(self.using, generation, calendar, is_of_all_time=is_of_all_time)
        self._comparison = comparison
        if generation.pruned_before is not None:
            # a day that cannot be told from its neighbour by time counts as frozen with it
            frozen, days = days.cut(clean_boundary_from(calendar, day_number(generation.pruned_before)))
            yield from compare_frozen(comparison, frozen)
        page_views = PageViews(self.using, generation.cursor, calendar, dimensions=comparison.dimensions, keys=keys)
        self.page_views = page_views.count
        shares = [] if days.is_empty else page_views.shares(days.first, self.processes, days.end)
        if len(shares) > 1:
            yield from compare_in_processes(comparison, page_views, shares)
        else:
            for share in shares:
                yield from compare_days(comparison, page_views, share)
        for day_level in list(comparison.totals):
            all_level = day_level._replace(granularity=Granularity.ALL)
            yield from compare_all_time(comparison, day_level, all_level)
        yield from comparison.ids_of_nobody()

    def _cursor(self, generation: Generation) -> Iterator[Difference]:
        """Page views that are counted and gone from the end: a restore, a TRUNCATE; ids may come again."""
        highest = PageView.objects.using(self.using).aggregate(highest=Max("pk"))["highest"] or 0
        # after pruning the highest ones may rightly be gone; the days that are not frozen are compared anyway
        if highest < generation.cursor and generation.pruned_before is None:
            yield Difference(What.CURSOR, stored=generation.cursor, counted=highest, detail="the highest page view")

    def _unknown_kinds(self, generation: Generation) -> Iterator[Difference]:
        """From one (dimension, granularity) to the next along the primary key."""
        rows = Aggregate.objects.using(self.using).filter(generation=generation.pk)
        kinds = rows.order_by("dimension", "granularity").values_list("dimension", "granularity")
        known = levels_of(of_generation(generation.dimensions))
        kind = kinds.first()
        while kind is not None:
            if kind not in known:
                count = rows.filter(dimension=kind[0], granularity=kind[1]).count()
                yield Difference(What.UNKNOWN_KIND, str(kind[0]), str(kind[1]), stored=count, detail="number of rows")
            following = kinds.filter(dimension=kind[0], granularity__gt=kind[1]).first()
            kind = following or kinds.filter(dimension__gt=kind[0]).first()

    def _uncountable(self, keys: Keys) -> Iterator[Difference]:
        after = keys.after
        database = database_for(self.using)
        while found := database.uncountable(after, keys.upto, IDS_PER_STATEMENT):
            for page_view in found:
                yield Difference(What.UNCOUNTABLE, subject=f"page view {page_view.id}", detail=str(page_view))
            after = found[-1].id
