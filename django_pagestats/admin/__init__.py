"""What the Django admin shows: notes alone are written by hand; a backfill is started by a button or an action."""

from django_pagestats.admin.beside import PageStatisticsMixin
from django_pagestats.admin.dashboard import StatisticsAdmin
from django_pagestats.admin.generations import GenerationAdmin
from django_pagestats.admin.left_out import LeftOutAdmin
from django_pagestats.admin.notes import NoteAdmin
from django_pagestats.admin.page_views import PageViewAdmin
from django_pagestats.admin.records import ImportSourceAdmin
from django_pagestats.admin.runs import BackfillRunAdmin
from django_pagestats.admin.tokens import TokenAdmin

__all__ = [
    "BackfillRunAdmin",
    "GenerationAdmin",
    "ImportSourceAdmin",
    "LeftOutAdmin",
    "NoteAdmin",
    "PageStatisticsMixin",
    "PageViewAdmin",
    "StatisticsAdmin",
    "TokenAdmin",
]
