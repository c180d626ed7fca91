"""The end of a rebuild: catch up with the generation that answers, check what was built, and switch."""

from __future__ import annotations

from dataclasses import replace

from django_pagestats import folding, horizon
from django_pagestats.backfill.chain import lease
from django_pagestats.backfill.claims import Claim
from django_pagestats.backfill.switching import Check, lock, switch
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun


class Rebuilding:
    """Takes one step at a time, each in what the run's row says is still to be done; it keeps nothing of its own."""

    def __init__(self, claim: Claim, folder: folding.Folder) -> None:
        self.claim = claim
        self.folder = folder

    def step(self) -> None:
        """The next step after the target was reached, and no other one is missing."""
        claim, run = self.claim, self.claim.run
        check = Check(claim.using, run.generation_id, self.folder.cursor, run.check_state)
        if not check.step():
            claim.stay(check_state=check.state)
            if claim.is_time_up():
                claim.hand_over()
        elif difference := check.difference():
            self.give_up(f"The new generation was not switched to: {difference}")
        else:
            self._switch()

    def give_up(self, error: str) -> None:
        """End the run as failed, with the generation that it built: nobody may go on with it."""
        with database_for(self.claim.using).transaction():
            self.claim.end(BackfillRun.Status.FAILED, error=error)
            folding.doom(self.claim.using, self.claim.run.generation_id)

    def aim_at(self, target: int) -> None:
        """Fold on to a later target; its horizon is waited for: after a TRUNCATE ids come again that were passed."""
        settling = replace(horizon.fix_target(self.claim.using), target=target)
        self.claim.update(target=target, settling=settling.as_json())

    def missing_target(self) -> int | None:
        """The active generation's cursor while it is ahead."""
        using = self.claim.using
        active = folding.active_generation(using)
        if active is None or active.cursor <= self.folder.cursor:
            return None
        if (horizon.highest_id(using) or 0) < active.cursor:
            return None  # the table went back: this rebuild is the cure, and not bound to what was counted
        return active.cursor

    def _switch(self) -> None:
        """Make the new generation answer, in one transaction; does nothing if the old one has moved on meanwhile."""
        claim, run = self.claim, self.claim.run
        with database_for(claim.using).chunk_transaction():
            now = claim.clock.now()
            claim.update(lease_until=now + lease())
            locked = lock(claim.using, run.generation_id)
            if locked is None or self.missing_target():  # what was read before the lock is read again
                return
            run.refresh_from_db(using=claim.using, fields=["keep_old"])  # a later start may have asked for it
            switch(claim.using, run.generation_id, locked.values(), keep_old=run.keep_old, now=now)
            claim.succeed()
