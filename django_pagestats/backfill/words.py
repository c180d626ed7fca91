"""What each door calls that which can be done next, so that a message names the option or the button at hand."""

from __future__ import annotations

from django_pagestats.models import RunEvent

#: what the buttons of the admin are called, and what the page of a run looks like; every other door has the command's
ADMIN = {
    "resume": "“Resume” on its page",
    "cancel": "“Cancel run”",
    "look": "load its page again",
    "activate": "“Activate” on its page makes it answer again, “Delete aggregates” deletes it",
    "backfill": "“Backfill aggregates”",
}
COMMAND = {
    "resume": "--resume",
    "cancel": "--cancel",
    "look": "see --status",
    "activate": "'manage.py backfill_aggregates --activate {pk}' makes it answer again, '--discard {pk}' deletes it",
    "backfill": "'manage.py backfill_aggregates'",
}


def words(via: str) -> dict[str, str]:
    """The words of the door by which a message is read."""
    return ADMIN if via == RunEvent.Via.ADMIN else COMMAND
