"""The last step of a run's folding: bring the rows of all time to where the rows of days are."""

from __future__ import annotations

from django_pagestats import folding
from django_pagestats.backfill.chain import lease
from django_pagestats.backfill.claims import Claim
from django_pagestats.backfill.parts import PartsOfPass


class Closing:
    """Takes one step at a time; what is done is in the generation's row, so that whoever comes next goes on."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.all_time = folding.AllTime(claim.using, claim.run.generation_id, fence=self._fence)
        self.parts = PartsOfPass(claim)

    def step(self) -> bool:
        """Take the next step, and hand over where the time is up; True if nothing is left to do.

        Raises RowsLockedError where page views are locked by others.
        """
        claim = self.claim
        is_done = not self._meets_others() and self.all_time.step()
        seen = self.all_time.generation
        for name in ("all_cursor", "all_bucket", "all_moved_at", "pass_cursor", "pass_subject"):
            setattr(claim.run.generation, name, getattr(seen, name))
        if not is_done and claim.is_time_up():
            claim.hand_over()
        return is_done

    def _meets_others(self) -> bool:
        """Let others do parts of a pass that is under way; whether the next part is one of theirs."""
        seen, parts = self.all_time.generation, self.parts
        self.all_time.pass_upto = None
        if not self.is_in_pass() or seen.pass_subject is None:
            parts.drop()  # of a pass that was given up
            return False
        last = self.all_time.last_subject
        parts.share(seen.pass_subject, last)
        if not parts.segments:
            return False
        self.all_time.pass_upto = parts.limit(last)
        if seen.pass_subject < self.all_time.pass_upto:
            return False
        parts.meet()
        seen.refresh_from_db(using=self.claim.using)
        return True

    def is_in_pass(self) -> bool:
        """Whether the rows of all time are being made anew, of the days as they are."""
        return folding.is_in_pass(self.all_time.generation)

    def _fence(self) -> None:
        now = self.claim.clock.now()
        self.claim.update(
            lease_until=now + lease(), progressed_at=now, failure_count=0, stalled_count=0, wait_reason=""
        )
