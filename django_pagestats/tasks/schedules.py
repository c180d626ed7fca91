"""The schedules that call `tend`: one for each database with our tables, and none for any other."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.utils import timezone

from django_pagestats import aliases
from django_pagestats.conf import conf
from django_pagestats.merging import database_for
from django_pagestats.tasks.names import GROUP, LINK, TEND

logger = logging.getLogger(__name__)


def queue_is_installed() -> bool:
    """Whether django_q is in INSTALLED_APPS; without it runs work in this process only (`--sync`)."""
    return apps.is_installed("django_q")


def ensure_schedule(using: str) -> None:
    """Make, change or remove the schedule that calls `tend`; safe to run again.

    There is one where PAGESTATS_TEND_MINUTES is above 0 and the database has our tables, as the router wants it; it is
    made where they can be written. Does nothing where django_q is not installed, or its tables are not made yet.
    """
    if not _can_be_asked():
        return
    from django_q.models import Schedule

    schedules = _schedules(using)
    if not conf.TEND_MINUTES or aliases.not_ours(using):
        schedules.delete()
        return
    wanted = {
        "func": TEND,
        "args": repr((using,)),
        "kwargs": repr({"q_options": {"save": False}}),
        "schedule_type": Schedule.MINUTES,
        "minutes": conf.TEND_MINUTES,
        "cluster": conf.CLUSTER,
    }
    first = schedules.order_by("pk").first()
    if first is None:
        if reason := aliases.why_not_written(using):
            logger.warning("nothing will keep the statistics on %s up, for they cannot be written: %s", using, reason)
            return
        Schedule.objects.create(name=_name(using), repeats=-1, next_run=timezone.now(), **wanted)
        return
    schedules.exclude(pk=first.pk).delete()  # names are not unique: two migrates at once may have made two
    if any(getattr(first, name) != value for name, value in wanted.items()):
        with _transaction():
            schedules.update(**wanted)


def remove_schedule(using: str) -> None:
    """Nothing calls `tend` for this database any more."""
    _schedules(using).delete()


def remove_strays() -> None:
    """Remove the schedules of databases that are gone, or that the router does not want our tables in."""
    if not _can_be_asked():
        return
    from django_q.models import Schedule

    ours = {_name(using) for using in aliases.possible()}
    strays = Schedule.objects.filter(func=TEND, name__startswith=_name("")).exclude(name__in=ours)
    for name in strays.values_list("name", flat=True):
        logger.warning("the schedule %r is removed: the statistics are on another database", name)
    strays.delete()


def remove_all(using: str) -> None:
    """Remove whatever is scheduled for a database: the tending, and links for later."""
    if not _can_be_asked():
        return
    from django_q.models import Schedule

    _schedules(using).delete()
    Schedule.objects.filter(func=LINK, args__startswith=f"({using!r}, ").delete()


def skip_missed_ticks(using: str) -> None:
    """With django-q2's `catch_up` a schedule that missed an hour runs sixty times: once is enough here."""
    now = timezone.now()
    late = _schedules(using).filter(next_run__lt=now)
    with _transaction():
        late.update(next_run=now + timedelta(minutes=max(conf.TEND_MINUTES, 1)))


def _transaction() -> AbstractContextManager[None]:
    """Around a change of a schedule, which django-q2's scheduler may be changing too: see `Database.transaction`."""
    from django_q.models import Schedule

    return database_for(router.db_for_write(Schedule)).transaction()


def _can_be_asked() -> bool:
    if not queue_is_installed():
        return False
    from django_q.models import Schedule

    connection = connections[router.db_for_write(Schedule)]
    return Schedule._meta.db_table in connection.introspection.table_names()


def _name(using: str) -> str:
    return f"{GROUP}: tend {using}"


def _schedules(using: str) -> Any:
    from django_q.models import Schedule

    return Schedule.objects.filter(name=_name(using))
