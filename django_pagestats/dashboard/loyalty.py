"""The page of loyalty: who came again, as far as the policy of visitor keys lets anybody know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, pgettext, pgettext_lazy

from django_pagestats import stats
from django_pagestats.dashboard.comparing import LEAST_BASE
from django_pagestats.dashboard.drawing import days_name
from django_pagestats.dashboard.menus import Item, day_query
from django_pagestats.dashboard.numbers import share, whole
from django_pagestats.dashboard.ranges import WEEK, Days, Piece, first_weekday, pieces
from django_pagestats.dashboard.recognised import Stretch, longest, said_of, stretches, why_nobody
from django_pagestats.dashboard.scope import Scope
from django_pagestats.dashboard.surroundings import scope_of_everybody, surroundings
from django_pagestats.exceptions import PageStatsError
from django_pagestats.stats.loyalty import DaysSeen, Loyalty, Week, loyalty_of

#: weeks of the table, the last ones of a longer range; and weeks through which the new visitors of one are followed
MOST_WEEKS = 53
FOLLOWED = 12
#: shades of the table's cells
SHADES = 5
DAYS_SEEN: tuple[tuple[str, Promise], ...] = (
    ("one", pgettext_lazy("days seen", "1 day")),
    ("two", pgettext_lazy("days seen", "2 days")),
    ("three_to_five", pgettext_lazy("days seen", "3 to 5 days")),
    ("six_or_more", pgettext_lazy("days seen", "6 days or more")),
)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the visitors."""

    label: str | Promise
    visitors: str
    share: str
    #: the length of its bar, as a number of per cent
    width: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Who of a week's new visitors came in a later one."""

    share: str
    visitors: str
    #: 0 to SHADES
    shade: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Cohort:
    """A row of the table: a week, and what became of those who were new in it."""

    name: str
    new: str
    cells: list[Cell]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a stretch of days."""

    days: str
    visitors: str
    kinds: list[Part]
    #: since when a returning visitor may have been here
    since: str
    days_seen: list[Part]
    cohorts: list[Cohort]
    #: the heads of the table: weeks after the first
    following: list[int]
    #: which weeks there are, and which are not whole
    weeks_told: list[str]


def loyalty_page_of(query: Mapping[str, Any], *, using: str, now: datetime) -> dict[str, Any]:
    """What the template needs; of any query, however hostile."""
    with scope_of_everybody(query, using=using, now=now) as scope:
        return {
            **surroundings(scope, query, hides_comparison=True),
            "title": gettext("Loyalty"),
            **_panels(scope),
        }


def _panels(scope: Scope) -> dict[str, Any]:
    days = _past(scope)
    if days is None:
        return {}
    policies = stats.visitor_policy(start=days.start, end=days.end, using=scope.using)
    found = stretches(days, policies, scope.calendar)
    stretch = longest(found)
    if stretch is None:
        return {"why": why_nobody(policies)}
    try:
        shown = _shown(scope, stretch)
    except PageStatsError as error:
        return {"why": str(error)}
    return {"loyalty": shown, "said": said_of(stretch, days), "others": _others(scope, found, stretch)}


def _past(scope: Scope) -> Days | None:
    """The days of the range that may have page views; None: there are none."""
    if scope.since is None:
        return None
    days = scope.days.until(scope.today + timedelta(days=1))
    days = Days(max(days.start, scope.since), days.end)
    return days if days.count > 0 else None


def _others(scope: Scope, found: Sequence[Stretch], shown: Stretch) -> list[Item]:
    """Links to the days of other policies, or months."""
    return [Item("", days_name(it.days), day_query(scope, it.days)) for it in found if it != shown][-MOST_WEEKS:]


def _shown(scope: Scope, stretch: Stretch) -> Shown:
    weeks = pieces(stretch.days, WEEK, first_weekday())
    found = loyalty_of(scope.taken, [(it.days.start, it.days.end) for it in weeks], followed=FOLLOWED)
    cohorts = _cohorts(weeks, found.weeks)
    return Shown(
        days_name(stretch.days),
        whole(found.visitors),
        [
            _part(pgettext("visitors", "New"), found.new, found.visitors),
            _part(pgettext("visitors", "Returning"), found.returning, found.visitors),
        ],
        _since(scope, stretch),
        _days_seen(found.days_seen, found),
        cohorts,
        list(range(1, max((len(cohort.cells) for cohort in cohorts), default=0) + 1)),
        _told_of_weeks(weeks),
    )


def _since(scope: Scope, stretch: Stretch) -> str:
    if scope.since is not None and stretch.days.start <= scope.since:
        return gettext("These days begin with the first page view: nobody can have been here before.")
    return gettext("Returning visitors were here before %s, on any day since the first page view.") % days_name(
        Days(stretch.days.start, stretch.days.start + timedelta(days=1))
    )


def _days_seen(seen: DaysSeen, found: Loyalty) -> list[Part]:
    return [_part(label, getattr(seen, name), found.visitors) for name, label in DAYS_SEEN]


def _part(label: str | Promise, visitors: int, of: int) -> Part:
    return Part(label, whole(visitors), share(visitors, of), f"{100 * visitors / of if of else 0:.1f}")


def _cohorts(weeks: Sequence[Piece], found: Sequence[Week]) -> list[Cohort]:
    rows = []
    for number, (week, counted) in enumerate(zip(weeks, found, strict=True)):
        later = weeks[number + 1 :]
        cells = [_cell(count, counted.new, piece) for count, piece in zip(counted.came_again, later, strict=False)]
        rows.append(Cohort(date_format(week.days.start, "DATE_FORMAT"), whole(counted.new), cells, week.is_cut))
    return rows[-MOST_WEEKS:]


def _cell(visitors: int, of: int, week: Piece) -> Cell:
    told = share(visitors, of) if of >= LEAST_BASE else ""
    shade = -(-SHADES * visitors // of) if of >= LEAST_BASE else 0
    return Cell(told, whole(visitors), shade, week.is_cut)


def _told_of_weeks(weeks: Sequence[Piece]) -> list[str]:
    told = []
    if len(weeks) > MOST_WEEKS:
        told.append(
            gettext("The last %(shown)s of %(all)s weeks are shown.") % {"shown": MOST_WEEKS, "all": len(weeks)}
        )
    cut = sum(week.is_cut for week in weeks)
    if cut:
        text = ngettext(
            "%(count)s week, in italics, has not all of its days in the range.",
            "%(count)s weeks, in italics, have not all of their days in the range.",
            cut,
        )
        told.append(text % {"count": whole(cut)})
    told.append(gettext("Of fewer than %s new visitors there is no percentage.") % LEAST_BASE)
    return told
