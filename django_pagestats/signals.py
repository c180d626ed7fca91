"""Signals of a run, for a site's own alerts: sent after the commit of what they tell.

Receivers get `sender` (BackfillRun), `run` (as it is then) and `using` (the database alias). They run in the process
that made the change: a worker, a command, a request. An error of theirs is logged by Django, and changes nothing.
"""

from __future__ import annotations

from django.dispatch import Signal

#: a run, of either kind, is queued for the first time
backfill_started = Signal()
#: it has succeeded, or was cancelled: `run.status`
backfill_finished = Signal()
#: it gave up: `run.error`; somebody may resume it
backfill_failed = Signal()
