"""Which generation answers, and how does another one begin: the rows that all folding starts from."""

from __future__ import annotations

from django.db import IntegrityError
from django.db.models import Min

from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.dimensions import of_settings, stored
from django_pagestats.folding.zones import NONE_YET
from django_pagestats.merging import database_for
from django_pagestats.models import Generation, PageView
from django_pagestats.sequences import sequence_told


def active_generation(using: str) -> Generation | None:
    """The generation that answers, or None before the first fold."""
    return Generation.objects.using(using).filter(is_active=True).first()


def first_cursor(using: str) -> int:
    """Just before the lowest id there is; 0 for an empty table."""
    lowest: int | None = PageView.objects.using(using).aggregate(lowest=Min("id"))["lowest"]
    return 0 if lowest is None else lowest - 1


def new_generation(using: str, cursor: int, *, is_active: bool) -> Generation:
    """A generation without aggregates, in the zone and with the dimensions of the settings.

    Its cursor is below 0 only if that of ids is.
    """
    generations = Generation.objects.using(using)
    wanted = of_settings(generations.order_by("pk").values_list("dimensions", flat=True))
    with sequence_told(using):
        return generations.create(
            cursor=min(0, cursor),
            all_cursor=min(0, cursor),
            time_zone=conf.TIME_ZONE,
            zone_rules=NONE_YET,
            dimensions=stored(wanted),
            is_active=True if is_active else None,
            created_at=database_now(using),
        )


def ensure_active_generation(using: str) -> Generation:
    """The generation that answers; the first start or fold makes it, and one of two at once."""
    if found := active_generation(using):
        return found
    cursor = first_cursor(using)
    try:
        with database_for(using).transaction():
            return new_generation(using, cursor, is_active=True)
    except IntegrityError:
        return Generation.objects.using(using).get(is_active=True)
