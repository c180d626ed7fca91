"""The tables. What a machine writes is moved by conditional UPDATEs and raw SQL, never by `save()`."""

from __future__ import annotations

from django_pagestats.buckets import Dimension, Granularity
from django_pagestats.models.aggregates import (
    REVISION_STEP,
    Aggregate,
    Generation,
    Subject,
    Visitor,
    WorkedBy,
    raised_revision,
)
from django_pagestats.models.checks import Check
from django_pagestats.models.kept import keep_generation, keep_subject, keep_visitor  # noqa: F401 - connected by this
from django_pagestats.models.left_out import LeftOut, Reason
from django_pagestats.models.mailings import Mailing
from django_pagestats.models.notes import NOTE_MAX_LENGTH, Note
from django_pagestats.models.notices import Notice, NoticeName
from django_pagestats.models.page_views import PATH_MAX_LENGTH, SESSION_KEY_MAX_LENGTH, PageView
from django_pagestats.models.policies import Salt, VisitorPolicy
from django_pagestats.models.runs import BackfillRun, RunEvent
from django_pagestats.models.segments import BuildSegment, SharedDay
from django_pagestats.models.sources import ImportSource, SiteSecret
from django_pagestats.models.statistics import Statistics
from django_pagestats.models.tokens import Token

__all__ = [
    "NOTE_MAX_LENGTH",
    "PATH_MAX_LENGTH",
    "REVISION_STEP",
    "SESSION_KEY_MAX_LENGTH",
    "Aggregate",
    "BackfillRun",
    "BuildSegment",
    "Check",
    "Dimension",
    "Generation",
    "Granularity",
    "ImportSource",
    "LeftOut",
    "Mailing",
    "Note",
    "Notice",
    "NoticeName",
    "PageView",
    "Reason",
    "RunEvent",
    "Salt",
    "SharedDay",
    "SiteSecret",
    "Statistics",
    "Subject",
    "Token",
    "Visitor",
    "VisitorPolicy",
    "WorkedBy",
    "raised_revision",
]
