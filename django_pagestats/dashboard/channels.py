"""The table of channels: the sources in groups, by the tables of hosts and names as they are today."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from django.utils.safestring import SafeString

from django_pagestats.dashboard.drawing import line_of
from django_pagestats.dashboard.figures import Totals, compared_days
from django_pagestats.dashboard.kinds import Kind
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.tables import ListTable, days_of_lines, made_table, wanted_of
from django_pagestats.headers.channels import Channel, channel_of
from django_pagestats.stats.answers import ValueStats
from django_pagestats.stats.audiences import ValueVisitors, groups_of
from django_pagestats.stats.grouping import Group, Grouped, group_values
from django_pagestats.stats.listing import Listed

ORDER: tuple[str, ...] = get_args(Channel)


def channel_table(scope: Scope, kind: Kind, totals: Totals) -> ListTable:
    """All channels that have a visit in the range, with what table_of raises."""
    grouped = channels_of(scope, kind)
    rows = rows_of_channels(scope, kind, grouped)
    is_compared = compared_days(scope) is not None
    before = {row.value: grouped.groups[row.value].before for row in rows} if is_compared else {}
    days, lines = days_of_lines(scope), dict[str, SafeString]()
    if days is not None and not scope.state.range.is_all_time:
        lines = {row.value: line_of(grouped.groups[row.value].by_day, days) for row in rows}
    return made_table(scope, kind, totals, Listed(rows, len(rows), grouped.people), before, lines)


def visitors_of_channels(scope: Scope, kind: Kind) -> list[ValueVisitors]:
    """Of all channels that have a visit in the range and are searched for, in the order of `ORDER`."""
    prefix = scope.state.table(kind.name).search
    found = groups_of(scope.taken, kind.dimension, channel_of, **scope.bounds)
    return [ValueVisitors(name, found[name]) for name in ORDER if name in found and name.startswith(prefix)]


def channels_of(scope: Scope, kind: Kind) -> Grouped:
    """Of all sources."""
    comparison = compared_days(scope)
    before = None if comparison is None else (comparison.days_before.start, comparison.days_before.end)
    return group_values(scope.taken, kind.dimension, channel_of, before=before, **scope.bounds)


def rows_of_channels(scope: Scope, kind: Kind, grouped: Grouped) -> list[ValueStats]:
    """In the order that the URL asks for."""
    wanted = wanted_of(scope, kind)
    of: dict[str, tuple[int, Group]] = {
        name: (ORDER.index(name), group) for name, group in grouped.groups.items() if name.startswith(wanted.prefix)
    }
    keys: dict[str, Callable[[str], tuple[int, ...]]] = {
        "value": lambda name: (of[name][0],),
        "page_views": lambda name: (-of[name][1].page_views, of[name][0]),
        "visitors": lambda name: (-of[name][1].visitors, -of[name][1].page_views, of[name][0]),
        "change": lambda name: (of[name][1].before - of[name][1].page_views, -of[name][1].page_views, of[name][0]),
    }
    names = sorted(of, key=keys[wanted.order], reverse=wanted.is_reversed)
    return [ValueStats(name, of[name][1].page_views, of[name][1].visitors) for name in names]
