"""What the admin's log says of a page: that its object was added or changed on a day. Read when asked, never copied.

A log names objects, and a chart is of a path: so the objects are fetched, and asked for their `get_absolute_url()`. How
many is bounded. Who did it, and what the log says of the fields, is not shown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import DatabaseError, models, router, transaction
from django.utils.translation import gettext, ngettext

from django_pagestats.buckets import Calendar, day_date, day_number, epoch_seconds, instant
from django_pagestats.conf import conf
from django_pagestats.keys import keys_of
from django_pagestats.recording import page_of_url

logger = logging.getLogger(__name__)

#: the latest entries of the range that are looked at, and the objects that are fetched for them
MOST_ENTRIES, MOST_OBJECTS = 1_000, 200


class Entry(NamedTuple):
    """A row of the log."""

    #: "app_label.model", in small letters
    label: str
    object_id: str
    flag: int
    at: datetime


def changes_of(path: str, start: date, end: date, *, calendar: Calendar) -> list[tuple[date, str]]:
    """Days and texts of what the log says of a page, in the order of days; empty where the setting names no model.

    `[start, end)` are local dates. One statement for the log, and one for each model that it names. A log that cannot
    be read costs the notes and not the page; that is logged.
    """
    wanted = {label.lower() for label in conf.NOTES_FROM_LOG}
    if not wanted or not apps.is_installed("django.contrib.admin"):
        return []
    try:
        entries = _entries(wanted, start, end, calendar)
        of_page = _objects_at(path, entries)
    except Exception:  # a model's manager is the site's code, and a key may be one that no driver takes
        logger.exception("the admin's log, or an object that it names, cannot be read: its notes are left out")
        return []
    ours = (entry for entry in entries if (entry.label, entry.object_id) in of_page)
    counted = Counter((day_date(calendar.day(epoch_seconds(entry.at))), entry.flag) for entry in ours)
    return [(day, _text(flag, count)) for (day, flag), count in sorted(counted.items())]


def _entries(wanted: Iterable[str], start: date, end: date, calendar: Calendar) -> list[Entry]:
    from django.contrib.admin.models import ADDITION, CHANGE, LogEntry

    is_wanted = models.Q()
    for app_label, model in (label.split(".") for label in sorted(wanted)):
        is_wanted |= models.Q(content_type__app_label=app_label, content_type__model=model)
    since, until = (instant(calendar.day_start(day_number(day))) for day in (start, end))
    using = router.db_for_read(LogEntry)
    rows = (
        LogEntry.objects.using(using)
        .filter(is_wanted, action_flag__in=(ADDITION, CHANGE), action_time__gte=since, action_time__lt=until)
        .order_by("-action_time", "-pk")
        .values_list("content_type__app_label", "content_type__model", "object_id", "action_flag", "action_time")
    )
    with transaction.atomic(using=using):  # a failure would else be one of the caller's transaction
        found = list(rows[:MOST_ENTRIES])
    return [Entry(f"{app}.{model}", object_id or "", flag, at) for app, model, object_id, flag, at in found]


def _objects_at(path: str, entries: Iterable[Entry]) -> set[tuple[str, str]]:
    """Those objects, by label and id, whose page has the path."""
    ids: dict[str, list[str]] = {}
    for label, object_id in list(dict.fromkeys((entry.label, entry.object_id) for entry in entries))[:MOST_OBJECTS]:
        ids.setdefault(label, []).append(object_id)
    return {(label, found) for label, object_ids in ids.items() for found in _with_page(path, label, object_ids)}


def _with_page(path: str, label: str, object_ids: Iterable[str]) -> list[str]:
    """Those ids of a model's objects whose page has the path."""
    try:
        model = apps.get_model(label)
    except LookupError:  # its app is gone, and the log is not
        return []
    using = router.db_for_read(model)
    keys = keys_of(model, object_ids, using=using)
    with transaction.atomic(using=using):
        objects = model._default_manager.using(using).in_bulk(keys.values())
        return [text for text, key in keys.items() if key in objects and _page_of(objects[key]) == path]


def _page_of(item: Any) -> str | None:
    """The path of an object's page; None: it has none, or the site's code has failed, which is logged."""
    try:
        url = item.get_absolute_url()
        return None if url is None else page_of_url(str(url))
    except DatabaseError:  # the transaction is broken, and ends
        raise
    except Exception:
        logger.warning("%s %s gives no URL: its changes are no notes", item._meta.label, item.pk, exc_info=True)
        return None


def _text(flag: int, count: int) -> str:
    from django.contrib.admin.models import ADDITION

    if flag == ADDITION:
        return gettext("Added")
    if count == 1:
        return gettext("Changed")
    return ngettext("Changed %s time", "Changed %s times", count) % count
