"""How a message is told, by the door at which it is read: with its button, or its option, for what can be done next.

At the admin's door it is in the reader's language, which is known when it is shown: until then it is a lazy text. At
every other one, of the command and of a log, it is English. What is stored is `english`, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.models import BackfillRun, RunEvent
from django_pagestats.texts import Text, english

Kind = BackfillRun.Kind
Status = BackfillRun.Status

#: what the buttons of the admin are called, and what the page of a run looks like; every other door has the command's
ADMIN: Mapping[str, Text] = {
    "resume": _("“Resume” on its page"),
    "cancel": _("“Cancel run”"),
    "look": _("load its page again"),
    "activate": _("“Activate” on its page makes it answer again, “Delete aggregates” deletes it"),
    "backfill": _("“Backfill aggregates”"),
}
COMMAND: Mapping[str, Text] = {
    "resume": "--resume",
    "cancel": "--cancel",
    "look": "see --status",
    "activate": "'manage.py backfill_aggregates --activate {pk}' makes it answer again, '--discard {pk}' deletes it",
    "backfill": "'manage.py backfill_aggregates'",
}
#: within a sentence
KINDS: Mapping[str, Text] = {
    Kind.BACKFILL: pgettext_lazy("kind of run, in a sentence", "backfill"),
    Kind.REBUILD: pgettext_lazy("kind of run, in a sentence", "rebuild"),
}
STATES: Mapping[str, Text] = {
    Status.QUEUED: pgettext_lazy("Run 7 ...", "is queued"),
    Status.RUNNING: pgettext_lazy("Run 7 ...", "is running"),
    Status.PAUSED: pgettext_lazy("Run 7 ...", "is paused"),
    Status.SUCCEEDED: pgettext_lazy("Run 7 ...", "has succeeded"),
    Status.FAILED: pgettext_lazy("Run 7 ...", "has failed"),
    Status.CANCELLED: pgettext_lazy("Run 7 ...", "was cancelled"),
}


def words(via: str) -> Mapping[str, Text]:
    """The words of the door by which a message is read."""
    return ADMIN if via == RunEvent.Via.ADMIN else COMMAND


def said(via: str, text: Text, *parts: object, **values: object) -> Text:
    """A text with its values in place of `{}` and `{name}`, for whoever reads it at a door."""
    told: Text = format_lazy(text, *parts, **values)  # type: ignore[arg-type]
    return told if via == RunEvent.Via.ADMIN else english(told)


def joined(via: str, separator: str, *texts: Text) -> Text:
    return said(via, separator.join(["{}"] * len(texts)), *texts)


def from_where(via: str) -> Text:
    """The door by which a run was started; what is no `Via` as it is stored."""
    return RunEvent.Via(via).label if via in RunEvent.Via.values else via
