"""From where to where the numbers go: page views of the future and of long ago, leap days, and what is not compared."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats import folding
from django_pagestats.buckets import Calendar
from django_pagestats.dashboard.comparing import Against, compare
from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.ranges import DAY, FREE, Choice, Days, pieces
from tests.factories import insert_page_views

TODAY = datetime(2025, 4, 5, tzinfo=timezone.utc)
NOW = TODAY + timedelta(hours=15, minutes=20)
FEBRUARY = st.dates(date(2023, 1, 1), date(2025, 6, 1))


def viewed(at: datetime, count: int, path: str = "/a") -> None:
    insert_page_views((path, f"{at:%m-%d %H}, {n}", at + timedelta(minutes=n % 60)) for n in range(count))


def every_day(days: int, count: int = 20) -> None:
    for day in range(days, 0, -1):
        viewed(TODAY + timedelta(days=-day, hours=10), count)


def shown(is_public: bool = False, **query: str) -> dict[str, Any]:
    return page_of({"compare": "none", **query}, using="default", now=NOW, is_public=is_public)


def sums(page: dict[str, Any]) -> tuple[int, int, int]:
    """Of the totals, of the chart, and of the rows of the pages."""
    of_chart = sum(int(texts[0].replace(",", "")) for _, texts in page["chart"].rows if texts[0] != "-")
    of_rows = sum(int(row.page_views.replace(",", "")) for row in page["pages"].rows)
    return page["totals"].page_views, of_chart, of_rows


# -- of the future


@pytest.mark.django_db
@pytest.mark.parametrize("is_folded", [True, False])
def test_what_is_dated_after_today_is_in_no_panel_and_is_told(is_folded: bool) -> None:
    every_day(10)
    viewed(TODAY + timedelta(hours=9), 5)
    viewed(TODAY + timedelta(days=3), 7, "/later")
    viewed(datetime(2199, 12, 30, tzinfo=timezone.utc), 2, "/later")
    if is_folded:
        folding.keep_up("default", seconds=60)
    free = {"range": "free", "from": "2025-04-01", "to": "2025-04-30"}
    for query, wanted in (({"range": "all"}, 205), ({"range": "month"}, 85), (free, 85), ({"range": "12m"}, 205)):
        page = shown(**query)
        assert sums(page) == (wanted, wanted, wanted), query
        told = "9 page views are dated after today, up to Dec. 30, 2199: they are in no number here."
        assert told in render_to_string("django_pagestats/dashboard/trust.html", page)
        assert figure(page, "pages") == "1"
    assert "after today" in csv_head(range="all")
    assert shown(is_public=True, range="all")["ahead"] == "", "how the site is run"
    page = shown(**{"range": "free", "from": "2025-04-08", "to": "2025-04-08"})
    assert sums(page) == (0, 0, 0) and page["empty"] is not None


@pytest.mark.django_db
def test_what_is_dated_later_today_is_in_all_panels_and_is_told() -> None:
    every_day(3)
    viewed(TODAY + timedelta(hours=15), 6)  # up to 20 past; the rest of this hour is now
    page = shown(range="today")
    assert page["ahead"] == ""
    viewed(TODAY + timedelta(hours=22), 4)
    page = shown(range="today")
    assert sums(page) == (10, 10, 10)
    assert page["ahead"] == "4 page views are dated later today: they are counted."
    assert [texts[0] for _, texts in page["chart"].rows][-7:] == ["6", "-", "-", "-", "-", "-", "-", "4"][-7:]
    assert shown(range="7d")["ahead"] == page["ahead"]


def figure(page: dict[str, Any], name: str) -> str:
    return next(str(it.text) for it in page["totals"].figures if it.name == name)


def csv_head(**query: str) -> str:
    answer = table_csv(query, "pages", using="default", now=NOW)
    assert answer is not None
    with answer[1] as file:
        return file.read().decode("utf-8-sig")


# -- of long ago


@pytest.mark.django_db
def test_all_time_of_a_chart_begins_where_there_is_something_to_see() -> None:
    viewed(datetime(1970, 1, 2, tzinfo=timezone.utc), 1)
    viewed(datetime(2001, 5, 2, tzinfo=timezone.utc), 2)
    every_day(50)
    with CaptureQueriesContext(connection) as queries:
        page = shown(range="all")
    assert len(queries) < 75
    assert page["totals"].page_views == 1_003
    assert sums(page)[1] == 1_000
    assert page["chart"].rows[0][0].startswith("Saturday, Feb. 1, 2025")
    assert page["menus"].days == "Jan. 2, 1970 to April 5, 2025", "the range is what it is"
    told = "The chart begins with February 2025. Of before are 3 page views, from Jan. 2, 1970 on"
    assert page["begins"].startswith(told)
    assert [item.name for item in page["menus"].intervals] == ["day", "week", "month"]
    public = shown(is_public=True, range="all")["begins"]
    assert public == "The chart begins with February 2025. A few page views are of before."


@pytest.mark.django_db
def test_a_history_is_not_cut() -> None:
    for year in range(2019, 2025):
        viewed(datetime(year, 3, 3, tzinfo=timezone.utc), 20)
    page = shown(range="all")
    assert page["begins"] == "" and sums(page) == (120, 120, 120)
    assert page["chart"].rows[0][0].startswith("March 3, 2019")


@pytest.mark.django_db
def test_of_very_few_page_views_none_is_left_out() -> None:
    viewed(datetime(1970, 1, 2, tzinfo=timezone.utc), 1)
    every_day(1, 4)
    page = shown(range="all")
    assert page["begins"] == "" and sums(page) == (5, 5, 5)


@pytest.mark.django_db
def test_a_free_choice_is_shown_as_it_was_chosen() -> None:
    viewed(datetime(1970, 1, 2, tzinfo=timezone.utc), 1)
    every_day(50)
    page = shown(**{"range": "free", "from": "1970-01-01", "to": "2025-04-05"})
    assert page["begins"] == "" and sums(page)[:2] == (1_001, 1_001)


# -- leap days


@pytest.mark.parametrize("last", ["2024-02-29", "2024-03-01", "2024-03-28", "2024-12-31"])
def test_from_29_february_on_the_year_before_is_as_long(last: str) -> None:
    span = Days(date(2024, 2, 29), date.fromisoformat(last) + timedelta(days=1))
    found = compare(Choice(FREE, span), span, Against("year"), NOW, Calendar("UTC"))
    assert found is not None
    assert found.days.start == date(2023, 2, 28) and found.days.count == span.count
    beside = [found.part(piece.days, DAY) for piece in pieces(span, DAY, 1)]
    assert [days.start for days in beside if days] == [found.days.start + timedelta(days=n) for n in range(span.count)]


@given(FEBRUARY, FEBRUARY)
def test_the_year_before_has_no_day_more_and_at_most_the_leap_day_less(one: date, other: date) -> None:
    first, last = sorted((one, other))
    span = Days(first, last + timedelta(days=1))
    found = compare(Choice(FREE, span), span, Against("year"), NOW, Calendar("UTC"))
    assert found is not None
    leap_day = date(2024, 2, 29)
    assert span.count - found.days.count in {0, (leap_day in span) - (leap_day in found.days)}
    beside = [days for piece in pieces(span, DAY, 1) if (days := found.part(piece.days, DAY))]
    assert len({days.start for days in beside}) == len(beside)


# -- not compared


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    [
        {"range": "28d"},
        {"range": "free", "from": "2025-05-01", "to": "2025-05-02"},
        {"range": "7d", "compare": "free", "compare_from": "2025-04-01", "compare_to": "2025-04-30"},
    ],
)
def test_where_nothing_is_compared_no_heading_says_so(query: dict[str, str]) -> None:
    every_day(30)
    page = shown(**{"compare": "weekdays", **query})
    assert "Nothing is compared" in page["compared"]
    html = render_to_string("django_pagestats/dashboard/range.html", page)
    assert "compared with nothing" in html
    assert page["chart"].heads == ["Time", "Page views", "Visitors"] and "before" not in page["chart"].has
    assert "compared with nothing" not in render_to_string(
        "django_pagestats/dashboard/range.html", shown(range="7d", compare="weekdays")
    )
