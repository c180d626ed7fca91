"""Which parts of a build do other workers do? The run's own worker cuts them, and takes in what is done of them.

He does what comes first himself, so that the build is whole up to his cursor. Each part that others do is a segment,
further on, with a cursor of its own. Where his cursor comes to a segment, it goes on to where that one is done, in one
transaction; what is left of it then he does himself, half or all. So nobody waits for a worker that was lost, and no
segment needs to come to its end.

Only he changes which segments there are, fenced by the run's epoch; how far one is, its worker, fenced by that of the
segment. Both is compared in each transaction of either, so that nothing is done by two.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar

from django.db.models import F, QuerySet

from django_pagestats import folding
from django_pagestats.backfill.chain import lease
from django_pagestats.backfill.claims import Claim
from django_pagestats.conf import conf
from django_pagestats.merging import database_for
from django_pagestats.models import BuildSegment, Generation, raised_revision

#: between two looks at how far the others are
LOOK_SECONDS = 1.0
#: how long a worker that has nearly done its part is waited for; longer only a worker that is lost would take
PATIENCE_SECONDS = 3.0
POLL_SECONDS = 0.05
#: of a size that was asked for, a part has so many at the least
CHUNKS = 10


def workers_of(using: str, wanted: int | None = None) -> int:
    """How many may build a generation at once; None: as many as PAGESTATS_WORKERS lets a cluster."""
    return (conf.WORKERS if wanted is None else wanted) if database_for(using).SHARES_BUILDS else 1


def is_worth_sharing(page_views: int, fixed_chunk_size: int | None) -> bool:
    """Whether so many, by their keys, are enough for two workers."""
    return page_views >= 2 * least_part(fixed_chunk_size)


def least_part(fixed_chunk_size: int | None) -> int:
    """Page views, by their keys, that a part of a fold has at the least: ten chunks, if their size was asked for."""
    least = PartsOfFold.LEAST
    return least if fixed_chunk_size is None else min(least, CHUNKS * fixed_chunk_size)


class Parts(ABC):
    """The segments of one run, of one kind, in their order."""

    KIND: ClassVar[BuildSegment.Kind]
    #: keys that a part has at the least: less is not worth a worker
    LEAST: ClassVar[int]

    @property
    def least(self) -> int:
        return self.LEAST

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self._known: list[BuildSegment] | None = None
        self._looks_again_at = 0.0
        #: the segment that the run's own worker has come to, where it was, and since when
        self._met: tuple[int, int, float] | None = None

    @property
    def segments(self) -> list[BuildSegment]:
        if self._known is None:
            self._known = list(self._stored().order_by("after"))
        return self._known

    def forget(self) -> None:
        """Look anew, after a failure or a change."""
        self._known = None

    def limit(self, end: int) -> int:
        """How far the run's own worker may go."""
        return min(self.segments[0].after, end) if self.segments else end

    def _stored(self) -> QuerySet[BuildSegment]:
        return BuildSegment.objects.using(self.claim.using).filter(run=self.claim.run, kind=self.KIND)

    # -- giving parts to others

    def share(self, reached: int, end: int) -> None:
        """See how far the others are, and let as many be at work as the claim may have workers."""
        if not self.claim.run.builds or (self.claim.workers < 2 and not self.segments):
            return
        if time.monotonic() < self._looks_again_at:
            return
        self._looks_again_at = time.monotonic() + LOOK_SECONDS
        self.forget()
        missing = self.claim.workers - 1 - sum(segment.is_open for segment in self.segments)
        if self.claim.deadline is not None:
            self._revive(max(0, self.claim.workers - 1))
        if missing > 0:
            self._cut(missing, reached, end)

    def _revive(self, most: int) -> None:
        """Give those a link again whose workers show no sign of life; where workers look for segments there is none."""
        now = self.claim.clock.now()
        for segment in [segment for segment in self.segments if segment.is_open][:most]:
            if segment.lease_until > now:
                continue
            with database_for(self.claim.using).transaction():
                self.claim.stay()
                lost = self._stored().filter(pk=segment.pk, epoch=segment.epoch, lease_until__lte=now)
                if lost.update(epoch=F("epoch") + 1, lease_until=now + lease()):
                    segment.epoch += 1
                    self.claim.enqueue_segment(segment)
            self.forget()

    def _cut(self, count: int, reached: int, end: int) -> None:
        """Cut the widest part there is into pieces: the first stays whose it is, the others are for workers to come."""
        owners = [(self.limit(end) - reached, None), *((s.upto - s.cursor, s) for s in self.segments if s.is_open)]
        width, owner = max(owners, key=lambda found: found[0])
        pieces = min(count + 1, width // self.least)
        if pieces < 2:
            return
        start, stop = (reached, self.limit(end)) if owner is None else (owner.cursor, owner.upto)
        bounds = [start + width * number // pieces for number in range(1, pieces)] + [stop]
        with database_for(self.claim.using).transaction():
            self.claim.stay()
            if owner is not None and not self._stored().filter(
                pk=owner.pk, upto=stop, cursor__gte=start, cursor__lt=bounds[0]
            ).update(upto=bounds[0]):
                return
            for after, upto in pairwise(bounds):
                self.claim.enqueue_segment(self._create(after, upto))
        self.forget()

    def _create(self, after: int, upto: int) -> BuildSegment:
        return BuildSegment.objects.using(self.claim.using).create(
            run=self.claim.run,
            kind=self.KIND,
            after=after,
            upto=upto,
            cursor=after,
            lease_until=self.claim.clock.now() + lease(),
            chunk_size=self.claim.run.fixed_chunk_size or self.claim.run.chunk_size,
            zone_rules=[],
        )

    # -- coming to a part of others

    def meet(self) -> None:
        """Take in what is done of the first segment; if that is nothing, do what is left of it, or a half."""
        self.forget()
        if not self.segments:
            return
        first = self.segments[0]
        if first.cursor > first.after or first.is_done:
            self._take_in(first)
        elif self._is_wide(first) or not self._is_expected(first):
            self._take_over(first)
        else:
            folding.rest(POLL_SECONDS, self.claim.using)
        self.forget()

    def _is_wide(self, segment: BuildSegment) -> bool:
        return segment.upto - segment.cursor >= 2 * self.least

    def _is_expected(self, segment: BuildSegment) -> bool:
        """Whether its worker will soon have done it."""
        if self._met is None or self._met[:2] != (segment.pk, segment.cursor):
            self._met = segment.pk, segment.cursor, time.monotonic()
        is_alive = segment.is_open and segment.epoch > 0 and segment.lease_until > self.claim.clock.now()
        return is_alive and time.monotonic() < self._met[2] + PATIENCE_SECONDS

    def _take_in(self, segment: BuildSegment) -> None:
        """Let the generation count what the segment has done, and nothing else than that."""
        with database_for(self.claim.using).chunk_transaction():
            self.claim.stay()
            generation = self._locked_generation()
            found = self._stored().select_for_update().get(pk=segment.pk)
            if not self._count(generation, found):
                return
            if found.is_done:
                self._stored().filter(pk=found.pk).delete()
            else:
                self._stored().filter(pk=found.pk).update(after=found.cursor, rows_folded=0)

    def _locked_generation(self) -> Generation:
        generations = Generation.objects.using(self.claim.using)
        return generations.select_for_update().get(pk=self.claim.run.generation_id)

    @abstractmethod
    def _count(self, generation: Generation, segment: BuildSegment) -> bool:
        """Move the generation to where the segment is done, if that begins where the generation is."""

    def _take_over(self, segment: BuildSegment) -> None:
        """Its worker's chunk is in vain then, and its next one begins behind what is done here."""
        with database_for(self.claim.using).transaction():
            self.claim.stay()
            unchanged = self._stored().filter(pk=segment.pk, cursor=segment.cursor)
            if self._is_wide(segment) and segment.is_open:
                middle = (segment.cursor + segment.upto) // 2
                unchanged.update(after=middle, cursor=middle)
            else:
                unchanged.delete()

    def drop(self) -> None:
        """Nobody is to do any of them: what they did is to be done anew."""
        if self.segments:
            with database_for(self.claim.using).transaction():
                self.claim.stay()
                self._stored().delete()
            self.forget()


class PartsOfFold(Parts):
    """Page views by their primary keys."""

    KIND = BuildSegment.Kind.FOLD
    LEAST = 50_000

    def __init__(self, claim: Claim, folder: folding.Folder) -> None:
        super().__init__(claim)
        self.folder = folder

    @property
    def least(self) -> int:
        return least_part(self.claim.run.fixed_chunk_size)

    @property
    def page_views(self) -> int:
        """How many others have folded that the run does not count yet, as far as is known."""
        return sum(segment.rows_folded for segment in self.segments)

    def _count(self, generation: Generation, segment: BuildSegment) -> bool:
        if generation.cursor != segment.after:
            return False
        rules = folding.rules_of_both(generation.zone_rules, segment.zone_rules, self.folder.reader.calendar)
        self.claim.update(rows_folded=F("rows_folded") + segment.rows_folded)
        Generation.objects.using(self.claim.using).filter(pk=generation.pk).update(
            cursor=segment.cursor,
            revision=raised_revision(),
            last_page_view=segment.last_page_view or generation.last_page_view,
            zone_rules=rules,
        )
        return True


class PartsOfPass(Parts):
    """Subjects by their ids, whose rows of all time are made."""

    KIND = BuildSegment.Kind.ALL_TIME
    LEAST = 2_000

    def _count(self, generation: Generation, segment: BuildSegment) -> bool:
        if generation.pass_cursor != generation.cursor or generation.pass_subject != segment.after:
            return False
        Generation.objects.using(self.claim.using).filter(pk=generation.pk).update(pass_subject=segment.cursor)
        return True
