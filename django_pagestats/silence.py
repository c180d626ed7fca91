"""Whether page views come in: when the last one was, and what there is to say if that is long ago."""

from __future__ import annotations

from datetime import datetime, timedelta

from django_pagestats.conf import conf
from django_pagestats.models import PageView


def last_viewed_at(using: str, now: datetime) -> datetime | None:
    """The greatest time of a page view, by the index of the times; one of the future, as of a wrong clock, is none."""
    views = PageView.objects.using(using).filter(viewed_at__lte=now)
    return views.order_by("-viewed_at").values_list("viewed_at", flat=True).first()


def silence(last: datetime | None, now: datetime) -> str:
    """What there is to say if no page view came in for PAGESTATS_SILENCE_HOURS; empty: some did, or nobody asked."""
    hours = conf.SILENCE_HOURS
    if not hours or (last is not None and now - last < timedelta(hours=hours)):
        return ""
    since = "was ever recorded" if last is None else f"came in since {last:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"No page view {since}, and PAGESTATS_SILENCE_HOURS is {hours:g}: look whether the middleware or the beacon is"
        " still there, and at what is left out (manage.py show_left_out)."
    )
