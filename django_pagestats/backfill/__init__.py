"""Runs: one attempt to bring a generation to a target, by a chain of links or in this process.

Who may work on a run is fenced by its epoch. A link claims its run by raising the epoch that it was given; from then on
every statement of its chunks names the new one. So a task that comes twice, late, or after somebody else took the run
over changes nothing, and a run whose worker died is revived by raising the epoch and enqueueing a link.
"""

from django_pagestats.backfill.chain import RESTS, Enqueue, check_outside, enqueue_nothing, leave_to_page
from django_pagestats.backfill.generations import State, activate, count_rows, discard, kept, state_of
from django_pagestats.backfill.helping import help_build
from django_pagestats.backfill.here import run_here
from django_pagestats.backfill.keeping import release_kept
from django_pagestats.backfill.looking import (
    Progress,
    Step,
    active_run,
    current_run,
    is_stuck,
    missing_cluster,
    page_views,
    problem,
    progress,
    segments_of,
    status,
    step,
    step_percent,
    worked_seconds,
)
from django_pagestats.backfill.pages import is_left_to_page, work_for_page
from django_pagestats.backfill.starting import Started, revive, start
from django_pagestats.backfill.wishes import Answer, cancel, change_nice, pause, paused, possible, resume
from django_pagestats.backfill.working import work
from django_pagestats.texts import Text, english

__all__ = [
    "RESTS",
    "Answer",
    "Enqueue",
    "Progress",
    "Started",
    "State",
    "Step",
    "Text",
    "activate",
    "active_run",
    "cancel",
    "change_nice",
    "check_outside",
    "count_rows",
    "current_run",
    "discard",
    "english",
    "enqueue_nothing",
    "help_build",
    "is_left_to_page",
    "is_stuck",
    "kept",
    "leave_to_page",
    "missing_cluster",
    "page_views",
    "pause",
    "paused",
    "possible",
    "problem",
    "progress",
    "release_kept",
    "resume",
    "revive",
    "run_here",
    "segments_of",
    "start",
    "state_of",
    "status",
    "step",
    "step_percent",
    "work",
    "work_for_page",
    "worked_seconds",
]
