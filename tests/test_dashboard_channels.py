"""Channels as filters: the exact union of their sources, compared with a naive count; links, CSV, and cost."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from html import unescape
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path as url_path

from django_pagestats import stats
from django_pagestats.dashboard.audience import audience_of
from django_pagestats.dashboard.audience_figures import audience_totals
from django_pagestats.dashboard.audience_page import audience_chart
from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.ranges import Days, first_weekday, pieces
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.exceptions import UnknownDimensionError
from django_pagestats.headers.channels import channel_of
from django_pagestats.models import Generation
from django_pagestats.notes import Found
from django_pagestats.stats import group_rows
from django_pagestats.stats.conditions import InGroup
from django_pagestats.stats.kept_answers import kept_answers
from django_pagestats.views import DashboardView
from testproject.urls import urlpatterns
from tests.clients import client_with
from tests.factories import Row, fold, insert_page_views

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_turn(1)]

ADMIN, SITE = "/admin/django_pagestats/dashboard/", "/stats/"
NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
AT = datetime(2025, 3, 20, 10, tzinfo=timezone.utc)
BEGIN = datetime(2025, 2, 5, tzinfo=timezone.utc)
START, END = date(2025, 3, 5), date(2025, 4, 2)
MARCH = {"range": "free", "from": "2025-03-05", "to": "2025-04-01"}
SEARCH = ["google.com", "google.de", "bing", "duckduckgo.com"]
SOURCES = [
    *SEARCH,
    *SEARCH,
    *SEARCH,
    "t.co",
    "(direct)",
    "newsletter",
    "spring",
    *(f"site-{n}.example" for n in range(10)),
]


def some_views(count: int, seed: int, sources: list[str] = SOURCES) -> list[Row]:
    """Of visitors who come by several sources, in the range and before it; half of them are of no source."""
    rng = random.Random(seed)
    return insert_page_views(
        (
            rng.choice(["/", "/pricing/", "/thanks/"]),
            f"key{rng.randrange(40)}",
            BEGIN + timedelta(hours=rng.randrange(56 * 24)),
            {"country": "DE", **({"source": rng.choice(sources)} if rng.random() < 0.5 else {})},
        )
        for _ in range(count)
    )


def page(query: dict[str, Any]) -> dict[str, Any]:
    return page_of({**MARCH, **query}, using="default", now=NOW)


def number(text: str) -> int:
    return 0 if text == "-" else int(text.replace(",", ""))


def is_of(row: Row, channel: str) -> bool:
    source = (row.attributes or {}).get("source")
    return source is not None and channel_of(source) == channel


def keys(rows: Iterable[Row]) -> set[str]:
    return {row.session_key for row in rows}


def within(rows: Iterable[Row], start: date, end: date) -> list[Row]:
    return [row for row in rows if start <= row.viewed_at.date() < end]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Most of them are folded, and read in several portions."""
    monkeypatch.setattr(group_rows, "FIRST_SETS_PER_STATEMENT", 7)
    monkeypatch.setattr(group_rows, "FEWEST_SETS_PER_STATEMENT", 5)
    monkeypatch.setattr(group_rows, "BYTES_PER_STATEMENT", 300)
    found = insert_page_views([("/", "old", datetime(2025, 2, 1, tzinfo=timezone.utc))]) + some_views(400, 1)
    found += insert_page_views([("/thanks/", "early", AT), ("/", "early", AT + timedelta(days=1), {"source": "bing"})])
    fold()
    return found + some_views(100, 2)


# -- the numbers


class Told:
    """What is told of some filters, but for the tables."""

    def __init__(self, query: dict[str, Any]) -> None:
        with scope_of({**MARCH, **query}, using="default", now=NOW, is_public=False) as scope:
            audience = audience_of(scope)
            assert audience is not None
            totals = audience_totals(scope, audience)
            self.counts = {it.name: it.number for it in totals.figures if it.number is not None}
            self.before = {
                it.name: number(it.change.before) for it in totals.figures if it.change and it.number is not None
            }
            chart = audience_chart(scope, audience, Found([]))
            self.chart = [] if chart is None else [tuple(map(number, texts[:2])) for _, texts in chart.rows]
            goal = audience.goal
            self.reached = (0, 0) if goal is None else (len(goal.reached), len(goal.later))


def each_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same page views with a tail, folded, and after a rebuild; by rows of the channel's values, or of all."""
    for step, most in ((None, 500), (None, 0), (fold, 500), (rebuild, 0)):
        if step is not None:
            step()
        kept_answers.clear()
        monkeypatch.setattr(group_rows, "MOST_NAMED_SUBJECTS", most)
        yield f"{step}, {most}"


def rebuild() -> None:
    before = Generation.objects.get(is_active=True).pk
    call_command("backfill_aggregates", "--rebuild", "--sync", stdout=StringIO())
    assert Generation.objects.get(is_active=True).pk != before


def test_a_channel_is_told_as_one_value_is(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    """Page views are added up, and visitors united, each day, week and month of them, too; of "ai" there is nobody."""
    search = [row for row in rows if is_of(row, "search")]
    now, then = within(search, START, END), within(search, BEGIN.date(), START)
    assert len(keys(now)) < len({(row.session_key, row.viewed_at.date()) for row in now})
    days = {"range": "free", "from": "2025-02-05", "to": "2025-04-01"}
    for way in each_way(monkeypatch):
        told = Told({"f": ["channels:search"]})
        assert (told.counts["page_views"], told.counts["visitors"]) == (len(now), len(keys(now))), way
        assert (told.before["page_views"], told.before["visitors"]) == (len(then), len(keys(then))), way
        for interval in ("day", "week", "month"):
            cut = pieces(Days(BEGIN.date(), END), interval, first_weekday())
            counts = [(len(of), len(keys(of))) for of in (within(search, it.days.start, it.days.end) for it in cut)]
            shown = Told({**days, "f": ["channels:search"], "interval": interval}).chart
            assert shown + counts[len(shown) :] == counts and set(counts[len(shown) :]) <= {(0, 0)}, (way, interval)
    assert Told({"f": ["channels:ai"]}).counts == {"page_views": 0, "visitors": 0}


@pytest.mark.parametrize("days", [MARCH, {"range": "all"}], ids=["days", "all time"])
def test_with_others_and_in_a_goal_it_is_a_filter_like_them(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch, days: dict[str, str]
) -> None:
    now = rows if days["range"] == "all" else within(rows, START, END)
    search = [row for row in now if is_of(row, "search")]
    goal = [row for row in now if row.path == "/thanks/"]
    both = keys(search) & keys(row for row in now if is_of(row, "link"))
    first = {key: min(row.viewed_at.date() for row in search if row.session_key == key) for key in keys(search)}
    later = {row.session_key for row in goal if row.viewed_at.date() >= first.get(row.session_key, date.max)}
    assert both and keys(search) & keys(goal) > later
    for way in each_way(monkeypatch):
        told = Told({**days, "f": ["channels:search", "channels:link"]})
        assert (told.counts, told.chart) == ({"visitors": len(both)}, []), way
        assert Told({**days, "f": ["channels:search"], "goal": "/thanks/"}).reached == (
            len(keys(search) & keys(goal)),
            len(later),
        ), way


def test_the_channels_of_an_audience_are_exact_in_the_table_and_the_csv(rows: list[Row]) -> None:
    now = within(rows, START, END)
    audience = keys(row for row in now if row.path == "/pricing/")
    channels = {channel_of(row.attributes["source"]) for row in now if row.attributes and "source" in row.attributes}
    wanted = {it: len(audience & keys(row for row in now if is_of(row, it))) for it in channels}
    found = page({"f": ["pages:/pricing/"]})["crossed"]
    (table,) = (table for table in found.tables if table.kind.are_channels)
    assert {row.value: number(row.visitors) for row in table.rows} == wanted
    assert [number(row.visitors) for row in table.rows] == sorted(wanted.values(), reverse=True)
    lines = csv_of({"f": ["pages:/pricing/"]}, "channels")
    assert {value: int(visitors) for value, visitors in lines} == wanted
    assert csv_of({"f": ["pages:/pricing/"], "channels_q": "se"}, "channels") == [["search", str(wanted["search"])]]


def csv_of(query: dict[str, Any], name: str) -> list[list[str]]:
    made = table_csv({**MARCH, **query}, name, using="default", now=NOW)
    assert made is not None
    with made[1] as file:
        lines = list(csv.reader(io.StringIO(file.read().decode("utf-8-sig"), newline="")))
    assert {f"# {it}" for it in query["f"]} <= {line[0] for line in lines}
    return [line for line in lines if not line[0].startswith("# ")][1:]


def test_the_csv_of_another_table_is_of_those_whom_a_channel_has(rows: list[Row]) -> None:
    now = within(rows, START, END)
    audience = keys(row for row in now if is_of(row, "search"))
    found = {path: int(visitors) for path, visitors in csv_of({"f": ["channels:search"]}, "pages")}
    assert found == {path: len(audience & keys(row for row in now if row.path == path)) for path in found}
    assert set(found) == {row.path for row in now if row.session_key in audience}


# -- links, and what a URL asks for


@pytest.mark.parametrize("url", [ADMIN, SITE])
def test_a_row_of_the_table_of_channels_filters_by_it(settings: Any, url: str) -> None:
    module = ModuleType("mounted")
    module.urlpatterns = [*urlpatterns, url_path(SITE[1:], DashboardView.as_view())]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = module
    insert_page_views([("/", "key", AT, {"source": "bing"}), ("/", "other", AT, {"source": "chatgpt.com"})])
    client = client_with("view_statistics")
    asked = [query.getlist("f") for query in queries(client, url, MARCH)]
    assert ["channels:search"] in asked and ["channels:ai"] in asked
    filtered = {**MARCH, "f": "channels:search"}
    asked = [query.getlist("f") for query in queries(client, url, filtered)]
    assert ["channels:search", "source:bing"] in asked and [] in asked, "one more, and none"
    assert ["channels:search", "channels:search"] not in asked
    content = client.get(url, filtered).content.decode()
    assert re.search(r"Channel:?\s*<[^>]*>\s*(<bdi>)?Search", content), "a pill"
    assert "Page views and visitors of Search" in content


def queries(client: Client, url: str, query: dict[str, str]) -> list[QueryDict]:
    """Those of all links to the same page."""
    hrefs = re.findall('href="([?][^"]*)"', client.get(url, query).content.decode())
    return [QueryDict(unescape(href)[1:]) for href in hrefs]


def test_its_name_may_be_written_as_it_is_shown() -> None:
    insert_page_views([("/", "key", AT, {"source": "bing"})])
    found = page({"f": ["channels:Search", "channels:search"]})
    assert [it.text for it in found["state"].filters] == ["channels:search"] and found["refused"] == []


@pytest.mark.parametrize("text", ["channels:zz", "channels:", "channels:google.com", "channels:search "])
def test_a_channel_that_there_is_not_is_told(text: str) -> None:
    insert_page_views([("/", "key", AT, {"source": "bing"})])
    found = page({"f": [text]})
    assert found["refused"] == ["A filter that was asked for cannot be had: it is left out."]
    assert found["state"].filters == () and "panels" in found


def test_where_there_are_no_sources_there_is_no_channel(settings: Any) -> None:
    """A dimension of the site's own that is called so is another one."""
    settings.PAGESTATS_DIMENSIONS = {"channels": "country"}
    insert_page_views([("/", "key", AT, {"country": "search"}), ("/", "other", AT, {"source": "bing"})])
    found = page({"f": ["channels:search", "-channels:search"]})
    assert [it.text for it in found["state"].filters] == ["-channels:search"] and len(found["refused"]) == 1
    assert number(found["totals"].figures[1].text) == 1


# -- what it is made of


def test_a_group_is_asked_for_as_a_value_is_and_with_no_other_condition() -> None:
    insert_page_views([("/", "key", AT, {"source": "bing"}), ("/", "key", AT, {"source": "google.de"})])
    search = InGroup("source", channel_of, "search")
    with stats.snapshot() as taken:
        assert (taken.count_page_views(where=search), taken.count_unique_visitors(where=search)) == (2, 1)
        with pytest.raises(ValueError, match="where"):
            taken.visitors("/", where=search)
        with pytest.raises(UnknownDimensionError):
            taken.visitors(where=InGroup("nothing", channel_of, "search"))


def test_no_more_statements_for_more_sources() -> None:
    def statements(query: dict[str, Any]) -> int:
        kept_answers.clear()
        with CaptureQueriesContext(connection) as captured:
            assert Told(query).counts["page_views"]
        return len(captured)

    some_views(300, 1)
    fold()
    query = {"f": ["channels:search"], "interval": "week", "goal": "/thanks/", "range": "all"}
    before = statements(query)
    some_views(600, 2, [*SOURCES, *(f"more-{n}.example" for n in range(300))])
    fold()
    assert statements(query) <= before < 30
