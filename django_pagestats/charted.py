"""A chart for the site's own pages: the last days of the site, of a URL or of an object, as SVG.

Of a day that few visitors saw nothing is drawn, as nothing is told of it on a public dashboard. Like the numbers of
`showing` it is asked once in a while, and can break no page.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import cast

from django.utils.formats import date_format
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import ngettext

from django_pagestats import showing, stats
from django_pagestats.charts import Slot, columns
from django_pagestats.dashboard.drawing import day_name
from django_pagestats.dashboard.naming import visible
from django_pagestats.dashboard.numbers import is_hidden
from django_pagestats.dashboard.ranges import FREE, today_of
from django_pagestats.dashboard.scope import Scope, local_today, scope_of
from django_pagestats.objects import path_of
from django_pagestats.showing import ChartDay

#: a year, of which each day is drawn
MOST_DAYS = 366
#: characters of a path that are read aloud
MOST_CHARACTERS = 120


def pagestats_chart(
    path: object = showing.WHOLE_SITE, days: int = 28, public: bool = True, title: str | None = None
) -> SafeString | showing.Nothing:
    """Page views as bars and visitors as a line, day by day, today included; '' for what has no page.

    `public`: a day with fewer than five visitors, or none, is left empty. `title` is its accessible name. Raises
    ValueError for days that a chart cannot have.
    """
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= MOST_DAYS:
        raise ValueError(f"days={days!r}: a whole number, 1 to {MOST_DAYS}, would do.")
    page = None
    if path is not showing.WHOLE_SITE and (page := path_of(path)) is None:
        return ""
    found = showing.answered(chart_days, path=page, days=days)
    if found == "":
        return ""
    slots = [_slot(*day, is_public=public) for day in cast("list[ChartDay]", found)]
    # what a template writes as a text counts as safe there, and is no HTML
    told = _title(page, days) if title is None else escape(title)
    return columns(slots, title=told, name="", is_focusable=False).svg


def chart_days(*, path: str | None, days: int, using: str) -> list[ChartDay]:
    """Each of the last days, with what is known of it."""
    now = datetime.now(timezone.utc)
    today = local_today(now, using)
    query = {"range": FREE, "from": str(today - timedelta(days=days - 1)), "to": str(today), "compare": "none"}
    with scope_of(query, using=using, now=now, is_public=False) as scope:
        points = scope.taken.time_series("day", scope.days.start, scope.days.end, path=path)
        return [_day(point, scope) for point in points]


def _day(point: stats.Point, scope: Scope) -> ChartDay:
    day = point.start
    if not _is_known(day, scope):
        return day, None, None, day == scope.today
    return day, point.page_views, point.visitors, day == scope.today


def _is_known(day: date, scope: Scope) -> bool:
    """Whether page views were recorded by then, and all of them are counted."""
    if scope.since is None or day < scope.since or day > scope.today:
        return False
    return scope.folded_until is None or day < today_of(scope.folded_until, scope.calendar)


def _slot(day: date, page_views: int | None, visitors: int | None, is_running: bool, *, is_public: bool) -> Slot:
    if visitors is not None and is_hidden(visitors, is_public=is_public):
        page_views = visitors = None
    label, name = date_format(day, "MONTH_DAY_FORMAT"), day_name(day)
    return Slot(label, name, page_views, visitors, is_running=is_running)


def _title(page: str | None, days: int) -> str:
    if page is None:
        told = ngettext(
            "Page views and visitors of the site today",
            "Page views and visitors of the site in the last %(days)s days",
            days,
        )
    else:
        told = ngettext(
            "Page views and visitors of %(page)s today",
            "Page views and visitors of %(page)s in the last %(days)s days",
            days,
        )
    return told % {"page": Truncator(visible(page or "")).chars(MOST_CHARACTERS), "days": days}
