"""Where a number would be wrong: what is not folded, not over, not recorded, or deleted; the page says so instead."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext

from django_pagestats.buckets import Calendar
from django_pagestats.dashboard.comparing import Against, compare
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.ranges import FREE, Choice, Days
from django_pagestats.models import PageView, VisitorPolicy
from tests.factories import Row, fold, insert_page_views

pytestmark = [pytest.mark.django_db, pytest.mark.in_turn]

TODAY = datetime(2025, 4, 5, tzinfo=timezone.utc)
NOW = TODAY + timedelta(hours=15, minutes=20)


def viewed(at: datetime, count: int, path: str = "/a") -> list[Row]:
    return insert_page_views((path, f"{at:%m-%d %H}, {n}", at + timedelta(minutes=n % 60)) for n in range(count))


def every_day(days: int, count: int = 20, hour: int = 10) -> None:
    for day in range(days, 0, -1):
        viewed(TODAY + timedelta(days=-day, hours=hour), count)


def shown(now: datetime = NOW, is_public: bool = False, **query: str) -> dict[str, Any]:
    return page_of(query, using="default", now=now, is_public=is_public)


def figures(page: dict[str, Any]) -> dict[str, Any]:
    return {figure.name: figure for figure in page["totals"].figures}


def changes(page: dict[str, Any]) -> list[Any]:
    """All that the page says of changes."""
    return [it.change for it in (*page["totals"].figures, *page["pages"].rows) if it.change is not None]


def points(page: dict[str, Any]) -> list[str]:
    return [texts[0] for _, texts in page["chart"].rows]


# -- not folded


@pytest.fixture
def today_not_folded(settings: Any) -> None:
    every_day(20)
    fold()
    viewed(TODAY + timedelta(hours=8, minutes=30), 30)
    viewed(TODAY + timedelta(hours=14), 30)
    settings.PAGESTATS_TAIL_LIMIT = 10


def test_what_is_not_folded_is_no_number_and_not_compared(today_not_folded: None) -> None:
    page = shown(range="today")
    assert {figure.text for figure in page["totals"].figures} == {"-"} and changes(page) == []
    assert page["empty"] is None, "there are page views"
    assert points(page)[:8] == ["0"] * 8 and set(points(page)[8:]) <= {"-"}
    assert page["is_left_out"] and page["pages"].rows == []


def test_a_range_is_compared_up_to_where_it_is_folded(today_not_folded: None) -> None:
    page = shown(range="7d")
    told = figures(page)
    assert told["page_views"].text == "120" and told["page_views"].change.before == "120"
    assert "up to April 5, 2025, 8 a.m." in page["compared"] and "All else is not compared." in page["compared"]
    assert points(page) == ["20"] * 6 + ["-"]
    assert told["visits"].change is None and page["pages"].rows[0].change is None
    assert "not compared" in page["pages"].compared
    assert len(changes(shown(range="yesterday"))) >= 3, "all of it is folded"
    assert "slowly" not in page["trust"].attention and "leave them out" in page["trust"].attention


def test_folded_up_to_is_where_nothing_older_is_left_out(today_not_folded: None) -> None:
    assert shown()["trust"].instant.startswith("Folded up to April 5, 2025, 8:30 a.m., about 60 to go.")
    viewed(TODAY + timedelta(days=-3, hours=9), 5, "/imported")
    page = shown(range="7d")
    assert page["trust"].instant.startswith("Folded up to April 2, 2025, 9 a.m., about 65 to go.")
    assert sum(int(text) for text in points(page) if text != "-") == page["totals"].page_views
    assert "so far" in str(page["chart"].rows[3]), "a day that may lack some"


# -- not over


def test_the_days_that_are_really_compared_are_named() -> None:
    every_day(30)
    chosen = {"range": "7d", "compare": "free", "compare_from": "2025-03-10", "compare_to": "2025-03-23"}
    page = shown(**chosen)
    assert page["menus"].compared == "March 10, 2025 to March 16, 2025"
    assert "up to April 5, 2025, 3 p.m., with those up to March 16, 2025, 3 p.m., in whole hours." in page["compared"]
    assert figures(page)["page_views"].change.before == figures(page)["visitors"].change.before == "140"
    whole = shown(**{**chosen, "range": "free", "from": "2025-03-29", "to": "2025-04-04"})
    assert whole["menus"].compared == "March 10, 2025 to March 23, 2025" and whole["compared"] == ""
    assert figures(whole)["page_views"].change.before == "280"


@pytest.mark.parametrize("hour", [0, 9])
def test_in_the_first_hour_of_the_day_it_is_left_out_of_both_sides_and_said(hour: int) -> None:
    every_day(20)
    viewed(TODAY, 7)
    now = TODAY + timedelta(hours=hour, minutes=40)
    today, week = shown(now, range="today"), shown(now, range="7d")
    clock = "midnight" if hour == 0 else "9 a.m."
    assert f"compared up to April 5, 2025, {clock}" in week["compared"]
    assert "All else is compared by whole days, though today is not over." in week["compared"]
    assert "today is not over" in week["pages"].compared
    views = figures(week)["page_views"]
    assert (views.text, views.change.before) == ("127", "120")
    # what is compared is told where it is not what is shown
    assert views.change.counted == ("120" if hour == 0 else "")
    told = render_to_string("django_pagestats/dashboard/totals.html", week)
    assert ("120 up to midnight:" in told) == (hour == 0)
    if hour == 0:
        assert changes(today) == [] and "nothing is over yet" in today["compared"]
    else:
        assert "All else is not compared." in today["compared"] and figures(today)["visits"].change is None


# -- not recorded, to come


RECORDED = (
    {"range": "7d"},
    {"range": "yesterday", "compare": "free", "compare_from": "2025-03-25", "compare_to": "2025-03-26"},
)
NOT_RECORDED = [
    {"range": "28d"},
    {"range": "12m"},
    {"range": "7d", "compare": "year"},
    {
        "range": "free",
        "from": "2025-03-10",
        "to": "2025-03-20",
        "compare": "free",
        "compare_from": "2025-03-21",
        "compare_to": "2025-03-30",
    },
]
TO_COME = [
    {"range": "7d", "compare": "free", "compare_from": "2025-05-01", "compare_to": "2025-05-07"},
    {"range": "yesterday", "compare": "free", "compare_from": "2025-04-05", "compare_to": "2025-04-05"},
]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        *((query, "") for query in RECORDED),
        *((query, "before the first page view, of March 16, 2025") for query in NOT_RECORDED),
        *((query, "the days to compare with are not over") for query in TO_COME),
        ({"range": "free", "from": "2025-05-01", "to": "2025-05-02"}, "nothing is over yet"),
    ],
)
def test_nothing_is_compared_with_what_was_not_recorded_or_is_to_come(query: dict[str, str], told: str) -> None:
    every_day(20)
    page = shown(**query)
    assert bool(changes(page)) == (not told)
    assert told in page["compared"]


def test_29_february_is_compared_with_the_28th() -> None:
    span = Days(date(2024, 2, 29), date(2024, 3, 1))
    found = compare(Choice(FREE, span), span, Against("year"), NOW, Calendar("UTC"))
    assert found is not None
    assert found.days == found.part(span, "day") == Days(date(2023, 2, 28), date(2023, 3, 1))


def test_a_page_view_of_1970_costs_little_and_is_compared_with_nothing_of_before() -> None:
    viewed(datetime(1970, 1, 2, tzinfo=timezone.utc), 1)
    every_day(20)
    fold()
    with CaptureQueriesContext(connection) as captured:
        page = shown(range="all")
    assert page["totals"].page_views == 401 and len(captured) < 60
    assert shown(**{"range": "free", "from": "1970-01-01", "to": "2025-04-05"})["menus"].compared == ""


# -- deleted, and not known


def test_page_views_that_were_deleted_stay_in_all_panels() -> None:
    every_day(20)
    fold()

    def told() -> tuple[object, ...]:
        page = shown(range="all")
        return page["menus"].days, page["totals"].page_views, sum(int(text) for text in points(page))

    before = told()
    PageView.objects.filter(viewed_at__lt=TODAY - timedelta(days=5)).delete()
    assert told() == before == ("March 16, 2025 to April 5, 2025", 400, 400)
    assert "page views were deleted" in shown()["trust"].attention
    PageView.objects.all().delete()
    assert told() == before
    assert "gone: the numbers are those of the aggregates" in shown()["trust"].instant


def policies(*rows: tuple[str, datetime]) -> Iterable[VisitorPolicy]:
    return VisitorPolicy.objects.bulk_create(VisitorPolicy(policy=name, since=since) for name, since in rows)


def test_of_page_views_before_the_first_policy_it_is_said_that_nobody_knows() -> None:
    every_day(10)
    policies(("daily", TODAY + timedelta(hours=9)))
    unknown = "Before April 5, 2025 it is not known how they were told apart."
    assert shown(range="7d")["trust"].visitors.endswith(unknown)
    assert unknown not in shown(range="today")["trust"].visitors
    assert unknown in shown(range="all")["trust"].visitors
    PageView.objects.filter(viewed_at__lt=TODAY).delete()
    viewed(TODAY + timedelta(hours=10), 1)
    assert unknown not in shown(range="7d")["trust"].visitors, "nothing was recorded before"


def test_where_a_day_begins_within_an_hour_today_is_left_out_and_that_is_said(settings: Any) -> None:
    """In Pyongyang 23:30 of 4 May 2018 was followed by 0:00."""
    settings.PAGESTATS_TIME_ZONE = "Asia/Pyongyang"
    now = datetime(2018, 5, 5, 5, tzinfo=timezone.utc)
    for day in range(20):
        viewed(now - timedelta(days=day, hours=1), 20)
    page = shown(now, range="7d")
    assert "compared without the last day, which is not over" in page["compared"]
    assert figures(page)["page_views"].change.before == "120"
