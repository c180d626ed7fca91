"""The fold: tally the next page views and merge them into the aggregates, with the cursor, in one transaction.

One room for each question; what others use of them is here. The walk of a chunk: `Folder.fold` (chunks) asks
`Reader.next_chunk` (reading) for it, and `merge` (chunks) brings it into the hours and days. Rows of all time follow
by `AllTime.step` (all_time).
"""

from django_pagestats.folding.all_time import AllTime, is_far_behind, is_in_pass, pass_percent, rows_of_all_time
from django_pagestats.folding.by_hand import (
    attention,
    check_autocommit,
    check_not_back,
    check_not_replaced,
    deleted_page_views,
    other_settings,
    other_zone,
)
from django_pagestats.folding.chunks import CursorMovedError, Folder, first_chunk_size
from django_pagestats.folding.generations import (
    active_generation,
    ensure_active_generation,
    first_cursor,
    new_generation,
)
from django_pagestats.folding.keeping_up import KeptUp, is_behind, keep_up, tail_length
from django_pagestats.folding.places import OfSegment, Place
from django_pagestats.folding.resting import niceness, poll, rest
from django_pagestats.folding.stretches import Chunk
from django_pagestats.folding.sweeping import doom, sweep, to_sweep
from django_pagestats.folding.zones import has_other_rules, rules_of_both

__all__ = [
    "AllTime",
    "Chunk",
    "CursorMovedError",
    "Folder",
    "KeptUp",
    "OfSegment",
    "Place",
    "active_generation",
    "attention",
    "check_autocommit",
    "check_not_back",
    "check_not_replaced",
    "deleted_page_views",
    "doom",
    "ensure_active_generation",
    "first_chunk_size",
    "first_cursor",
    "has_other_rules",
    "is_behind",
    "is_far_behind",
    "is_in_pass",
    "keep_up",
    "new_generation",
    "niceness",
    "other_settings",
    "other_zone",
    "pass_percent",
    "poll",
    "rest",
    "rows_of_all_time",
    "rules_of_both",
    "sweep",
    "tail_length",
    "to_sweep",
]
