"""The last step of a run's folding: bring the rows of all time to where the rows of days are."""

from __future__ import annotations

from django_pagestats import folding
from django_pagestats.backfill.chain import lease
from django_pagestats.backfill.claims import Claim


class Closing:
    """Takes one step at a time; what is done is in the generation's row, so that whoever comes next goes on."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.all_time = folding.AllTime(claim.using, claim.run.generation_id, fence=self._fence)

    def step(self) -> bool:
        """Take the next step, and hand over where the time is up; True if nothing is left to do.

        Raises RowsLockedError where page views are locked by others.
        """
        claim = self.claim
        is_done = self.all_time.step()
        seen = self.all_time.generation
        for name in ("all_cursor", "all_bucket", "all_moved_at", "pass_cursor", "pass_subject"):
            setattr(claim.run.generation, name, getattr(seen, name))
        if not is_done and claim.is_time_up():
            claim.hand_over()
        return is_done

    def is_in_pass(self) -> bool:
        """Whether the rows of all time are being made anew, of the days as they are."""
        seen = self.all_time.generation
        return seen.pass_cursor is not None and seen.pass_cursor == seen.cursor

    def _fence(self) -> None:
        now = self.claim.clock.now()
        self.claim.update(
            lease_until=now + lease(), progressed_at=now, failure_count=0, stalled_count=0, wait_reason=""
        )
