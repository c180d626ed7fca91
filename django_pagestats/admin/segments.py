"""What the page of a run says of the parts of a build that other workers do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_pagestats import backfill
from django_pagestats.admin.readonly import thousands
from django_pagestats.models import BackfillRun, BuildSegment

SEGMENT_HEADS = (_("Part"), _("Done"), _("Its worker"))


def segment_texts(run: BackfillRun, now: datetime) -> list[dict[str, Any]]:
    """Each as its name, its percent with the one digit that is shown, and how its worker is."""
    return [
        {
            "name": _name(segment),
            "percent": round(100.0 * (segment.cursor - segment.after) / max(1, segment.upto - segment.after), 1),
            "worker": _worker(segment, now),
        }
        for segment in backfill.segments_of(run)
    ]


def _name(segment: BuildSegment) -> str:
    if segment.kind == BuildSegment.Kind.FOLD:
        name = gettext("Page views %(first)s to %(last)s")
    else:
        name = gettext("Rows of all time of subjects %(first)s to %(last)s")
    return name % {"first": thousands(segment.after + 1), "last": thousands(segment.upto)}


def _worker(segment: BuildSegment, now: datetime) -> str:
    if segment.is_done:
        return gettext("has done it")
    if segment.error:
        error: str = segment.error
        return gettext("gave up (%s); the run's own worker does it") % error
    if segment.epoch == 0:
        return gettext("has not come yet")
    if segment.lease_until <= now:
        return gettext("shows no sign of life")
    wait: str = segment.wait_reason
    return wait or gettext("is at work")
