"""Rows that stay, since stored sets and counts name their ids: who deletes one is told what to do instead.

A signal sees every way of Django's: `delete()` of a row, of a queryset, a cascade, the admin. SQL it does not see:
verify_aggregates finds what that has taken.
"""

from __future__ import annotations

from typing import Any

from django.db.models import ProtectedError
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from django_pagestats.models.aggregates import Generation, Subject, Visitor

VISITOR_STAYS = (
    "Visitor %s stays: stored visitor sets have this id, and who comes back would be counted as somebody else. To"
    " forget a person, give this row and the page views of its session key another, random session key: see"
    " 'Forget somebody' in docs/operations.md."
)
SUBJECT_STAYS = (
    "Subject %s stays: aggregates have this id, and the same path would be counted as another one. Delete the page"
    " views of the path instead, and run backfill_aggregates --rebuild."
)
GENERATION_STAYS = (
    "Generation %s stays: its aggregates would be left behind for ever. One that answers no more is emptied by itself;"
    " to count anew, run backfill_aggregates --rebuild."
)


@receiver(pre_delete, sender=Visitor)
def keep_visitor(instance: Visitor, **kwargs: Any) -> None:
    raise ProtectedError(VISITOR_STAYS % instance.pk, {instance})


@receiver(pre_delete, sender=Subject)
def keep_subject(instance: Subject, **kwargs: Any) -> None:
    raise ProtectedError(SUBJECT_STAYS % instance.pk, {instance})


@receiver(pre_delete, sender=Generation)
def keep_generation(instance: Generation, **kwargs: Any) -> None:
    if instance.swept_at is None:
        raise ProtectedError(GENERATION_STAYS % instance.pk, {instance})
