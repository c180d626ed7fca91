"""The ways from a page of the dashboard to others: ranges, comparisons, intervals, and the keys that lead there.

Each is a query of the same page, so that it is the same on every site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from django_pagestats.dashboard.comparing import COMPARISONS, NONE, WEEKDAYS, Against
from django_pagestats.dashboard.drawing import days_name
from django_pagestats.dashboard.ranges import (
    DAY,
    FIRST_DAY,
    FREE,
    HOUR,
    INTERVALS,
    LAST_DAY,
    MONTH,
    RANGES,
    Choice,
    Days,
    interval_of,
    intervals_of,
    neighbour,
)
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.state import State

#: as who knows Plausible knows them
KEYS = {
    "today": "d",
    "yesterday": "e",
    "7d": "w",
    "28d": "f",
    "91d": "n",
    "month": "m",
    "last_month": "p",
    "12m": "l",
    "all": "a",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A link, and the key that does the same."""

    name: str
    label: str | Promise
    query: str
    is_current: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Menus:
    ranges: list[Item]
    comparisons: list[Item]
    intervals: list[Item]
    #: the range before and the one after, where there is one
    before: str
    after: str
    #: the days of the range, in words
    days: str
    #: those that it is compared with, as far as it is over
    compared: str
    #: what the forms of a free choice say beside their dates
    hidden: list[tuple[str, str]]
    hidden_compare: list[tuple[str, str]]
    keys: list[tuple[str, str | Promise]]


def menus_of(scope: Scope, *, has_panels: bool = True, has_comparison: bool = True) -> Menus:
    """`has_panels`: the page has the chart and the table of pages; `has_comparison`: it compares with other days."""
    state, days = scope.state, scope.days
    interval = shown_interval(state, scope.chart_days)
    compared = "" if scope.compared is None else days_name(scope.compared.named_days)
    return Menus(
        ranges=[
            Item(name, label, _at(state, range=Choice(name)), state.range.name == name, KEYS[name])
            for name, label in RANGES.items()
        ],
        comparisons=[
            Item(name, label, _at(state, against=Against(name)), state.against.name == name, "")
            for name, label in COMPARISONS.items()
            if not scope.is_public
        ],
        intervals=[
            Item(name, INTERVALS[name], replace(state, interval=name).query(), name == interval)
            for name in intervals_of(scope.chart_days)
            if (name != HOUR or not state.conditions) and not scope.is_public
        ],
        before=_moved(scope, -1),
        after=_moved(scope, 1),
        days=days_name(days),
        compared=compared,
        hidden=_hidden(state, {"range": FREE}, without=("from", "to")),
        hidden_compare=_hidden(state, {"compare": FREE}, without=("compare_from", "compare_to")),
        keys=_keys(scope, has_panels=has_panels, has_comparison=has_comparison),
    )


def _keys(scope: Scope, *, has_panels: bool, has_comparison: bool) -> list[tuple[str, str | Promise]]:
    """The list under "?", of what the page has."""
    lacking = {*(KEYS_OF_CHOICES if scope.is_public else ()), *("" if has_comparison else "X")}
    if has_panels:
        return [it for it in KEY_LIST if it[0] not in lacking]
    return [(key, OUTSIDE_CHARTS.get(key, what)) for key, what in KEY_LIST if key not in {*lacking, *KEYS_OF_PANELS}]


#: of the list under "?"; those of ranges come before them
KEY_LIST: list[tuple[str, str | Promise]] = [
    *((KEYS[name].upper(), label) for name, label in RANGES.items()),
    ("C", pgettext_lazy("key", "Choose days")),
    ("X", _("Compare, or not")),
    ("I", _("The next interval of the chart")),
    ("←", _("The range before; in the chart, the point before")),
    ("→", _("The range after; in the chart, the point after")),
    ("/", _("Search the pages")),
    ("?", pgettext_lazy("key", "This list")),
    ("Esc", pgettext_lazy("key", "Close it")),
]
#: of what the public has no choice of
KEYS_OF_CHOICES = frozenset("CXI/")
KEYS_OF_PANELS = frozenset("I/")
#: what keys do that do something else in a chart
OUTSIDE_CHARTS: dict[str, Promise] = {"←": _("The range before"), "→": _("The range after")}


def shown_interval(state: State, days: Days) -> str:
    """By what the chart is cut: hours are kept of the whole site only."""
    interval = interval_of(days, state.interval)
    if interval != HOUR or not state.conditions:
        return interval
    return DAY if days.count == 1 else interval_of(days)


def compare_query(scope: Scope) -> str:
    """What the key of comparing leads to: none, or the usual one."""
    is_none = scope.state.against.name == NONE
    return _at(scope.state, against=Against(WEEKDAYS if is_none else NONE))


def day_query(scope: Scope, days: Days) -> str:
    """The page of some days."""
    return _at(scope.state, range=Choice(FREE, days))


def _at(state: State, **changes: object) -> str:
    return state.at_first_pages(**changes).query()


def _moved(scope: Scope, by: int) -> str:
    """The range before or after as a free choice; empty where nothing is."""
    if scope.state.range.is_all_time or scope.since is None:
        return ""
    if scope.is_public and not scope.days.is_month:
        return ""
    days = neighbour(Choice(MONTH) if scope.is_public else scope.state.range, scope.days, by)
    is_outside = days.end <= scope.since or days.start > scope.today
    if is_outside or not (days.start >= FIRST_DAY and days.last <= LAST_DAY):
        return ""
    return day_query(scope, days)


def _hidden(state: State, changed: dict[str, str], *, without: tuple[str, ...]) -> list[tuple[str, str]]:
    said = {**state.at_first_pages().parameters(), **changed}
    pairs = [(name, value) for name, value in said.items() if name not in without]
    return [*pairs, *(("f", it.text) for it in state.filters)]
