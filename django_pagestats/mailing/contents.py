"""What a mail says: some panels of the dashboard, of one snapshot, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext, ngettext

from django_pagestats.conf import conf
from django_pagestats.dashboard.comparing import Against
from django_pagestats.dashboard.drawing import day_name, days_name
from django_pagestats.dashboard.figures import Figure, totals_of
from django_pagestats.dashboard.kinds import KIND_OF_PAGES, SOURCE
from django_pagestats.dashboard.numbers import NOTHING, Change, whole
from django_pagestats.dashboard.page import compared_text
from django_pagestats.dashboard.panels import panels_of
from django_pagestats.dashboard.ranges import FREE, Choice, Days
from django_pagestats.dashboard.scope import Scope, scope_of
from django_pagestats.dashboard.state import State
from django_pagestats.dashboard.tables import ListTable, table_of
from django_pagestats.dashboard.trust import ahead_of, trust_of
from django_pagestats.mailing.periods import period_before

#: characters of a path or source in a mail
MOST_CHARACTERS = 100


def contents_of(using: str, every: str, period: Days, now: datetime) -> dict[str, Any]:
    """What the templates need; all numbers are of one instant."""
    state = State(Choice(FREE, period), Against(FREE, period_before(every, period)))
    with scope_of(state.parameters(), using=using, now=now, is_public=False) as scope:
        totals, comparison = totals_of(scope), scope.compared
        address = dashboard_address()
        return {
            "site": site_name(address),
            "every": every,
            "days": days_name(period),
            "compared": "" if comparison is None else days_name(comparison.days),
            "why_not_compared": compared_text(scope) if comparison is None else "",
            "figures": [_figure(figure) for figure in totals.figures],
            "highlights": _highlights(scope),
            "tables": _tables(scope, totals),
            "trust": trust_of(scope, totals),
            "ahead": ahead_of(scope),
            "is_left_out": scope.is_left_out,
            "url": f"{address}{state.query()}" if address else "",
        }


def _figure(figure: Figure) -> dict[str, str]:
    told = figure.why if figure.change is None else change_text(figure.change)
    return {"label": str(figure.label), "text": figure.text, "told": told}


def change_text(change: Change) -> str:
    if change.text == NOTHING:
        return gettext("from %(before)s") % {"before": change.before}
    return gettext("%(change)s from %(before)s") % {"change": change.text, "before": change.before}


def _highlights(scope: Scope) -> list[str]:
    """The chart in words: the days with the most and the fewest page views."""
    points = scope.taken.time_series("day", scope.days.start, scope.days.end)
    known = [(point.page_views, point.start) for point in points if scope.since and point.start >= scope.since]
    if scope.is_left_out or not known:
        return []
    most, busiest = max(known, key=lambda it: it[0])
    least, quietest = min(known, key=lambda it: it[0])
    if most == least:
        return []
    return [
        _day_told(gettext("The busiest day was %(day)s: %(page_views)s."), busiest, most),
        _day_told(gettext("The quietest day was %(day)s: %(page_views)s."), quietest, least),
    ]


def _day_told(sentence: str, day: date, page_views: int) -> str:
    told = ngettext("%s page view", "%s page views", page_views) % whole(page_views)
    return sentence % {"day": day_name(day), "page_views": told}


def _tables(scope: Scope, totals: Any) -> list[dict[str, Any]]:
    sources = [kind for kind in scope.kinds if kind.source == SOURCE][:1]
    tables = [table_of(scope, KIND_OF_PAGES, totals), *panels_of(scope, totals, sources).tables]
    return [_table(table) for table in tables if table.rows]


def _table(table: ListTable) -> dict[str, Any]:
    heads = {head.name: head.label for head in table.heads}
    return {
        "title": table.kind.title,
        "column": table.kind.head,
        "of_page_views": heads["page_views"],
        "rows": [
            {
                "text": _short(row.name.text),
                "page_views": row.page_views,
                "visitors": row.visitors,
                "change": "" if row.change is None else change_text(row.change),
            }
            for row in table.rows
        ],
    }


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


# -- where the dashboard is


def dashboard_address() -> str:
    """Its URL with scheme and host, without a query; empty where that is not known.

    By PAGESTATS_DASHBOARD_URL, or in the admin on the host that django.contrib.sites knows.
    """
    if conf.DASHBOARD_URL is not None:
        return conf.DASHBOARD_URL
    site = _current_site()
    try:
        path = reverse("admin:django_pagestats_dashboard")
    except NoReverseMatch:
        return ""
    return "" if site is None else f"https://{site.domain}{path}"


def site_name(address: str) -> str:
    """As django.contrib.sites has it or, without that, the host of the dashboard; empty where neither is known."""
    site = _current_site()
    return urlsplit(address).netloc if site is None else str(site.name)


def _current_site() -> Any:
    """None: there is none, or it is the one that Django makes for want of a better one."""
    if not apps.is_installed("django.contrib.sites"):
        return None
    from django.contrib.sites.models import Site

    try:
        site = Site.objects.get_current()
    except (ImproperlyConfigured, ObjectDoesNotExist):  # no SITE_ID, or one that is not there
        return None
    return None if site.domain == "example.com" else site


def subject_of(contents: Mapping[str, Any]) -> str:
    """On one line, whatever the site's name is."""
    told = {"site": contents["site"], "days": contents["days"]}
    subject = gettext("Statistics of %(site)s: %(days)s") if told["site"] else gettext("Statistics: %(days)s")
    text = subject % told
    if contents["is_left_out"]:
        text = gettext("%(subject)s (not complete)") % {"subject": text}
    return " ".join(text.split())
