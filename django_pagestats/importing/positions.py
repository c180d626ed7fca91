"""Where the import of a log or table has come to: moved in the transaction that adds its page views."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from django.db import IntegrityError
from django.db.models import F

from django_pagestats import intake
from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.policies import ImportedPolicy
from django_pagestats.merging import database_for
from django_pagestats.models import ImportSource
from django_pagestats.sequences import sequence_told


def advance(
    source: ImportSource,
    page_views: Sequence[intake.Row],
    *,
    policy: ImportedPolicy,
    position: str,
    digest: str = "",
    using: str,
) -> int:
    """Store page views and move the source's position from where it stands, in one durable transaction.

    The policy's row is made or moved in the same one.

    Gives the number of page views. An unsaved source is created. Raises ImportFailedError, having changed
    nothing, if another process has moved or created it meanwhile.
    """
    with database_for(using).transaction(durable=True):
        _claim(source, position, digest, using)
        imported = intake.insert(page_views, using=using)
        policy.cover(page_views)
        ImportSource.objects.using(using).filter(pk=source.pk).update(rows_imported=F("rows_imported") + imported)
    source.position, source.digest = position, digest
    return imported


def _claim(source: ImportSource, position: str, digest: str, using: str) -> None:
    """Move the position before the page views are added: the row's lock, or unique key, keeps others out."""
    now = datetime.now(timezone.utc)
    sources = ImportSource.objects.using(using)
    if not source._state.adding:
        moved = sources.filter(pk=source.pk, position=source.position).update(
            position=position, digest=digest, name=source.name, updated_at=now
        )
    else:
        try:
            with database_for(using).transaction(), sequence_told(using):
                created = sources.create(
                    key=source.key, name=source.name, position=position, digest=digest, updated_at=now
                )
            source.pk, source._state.adding, moved = created.pk, False, 1
        except IntegrityError:
            moved = 0
    if not moved:
        raise ImportFailedError(
            f"{source.name} is being imported by another process: wait until that one has ended, then run this again"
        )
