"""One page, filters and goals, compared with a naive count in Python; their links, and what nobody should be told."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path as url_path
from django.urls import reverse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_pagestats import folding
from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.page import page_of
from django_pagestats.headers.channels import channel_of
from django_pagestats.models import PageView
from django_pagestats.stats import audiences
from django_pagestats.views import DashboardView
from testproject.urls import urlpatterns
from tests.clients import client_with
from tests.factories import Row, insert_page_views, make_page_views
from tests.stats_oracle import clean, fold_naively

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_turn(1)]

ADMIN, PAGE = "/admin/django_pagestats/dashboard/", "/admin/django_pagestats/dashboard/page/"
SITE, PUBLIC = "/numbers/", "/open/"
NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
AT = datetime(2025, 3, 20, 10, tzinfo=timezone.utc)
MARCH = {"range": "free", "from": "2025-03-05", "to": "2025-04-01"}
EXAMPLES = max(4, (settings.default.max_examples if settings.default else 100) // 2)
HOSTILE = [
    '/"><script>alert(1)</script>',
    "/" + "x" * 2_047,
    "/😀/",
    "/\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "=cmd|' /C calc'!A0",
    "//elsewhere.example/",
    "javascript:alert(1)",
    "/a:b&f=c#d?e=%2F",
]


def page(query: dict[str, Any], *, is_public: bool = False, now: datetime = NOW) -> dict[str, Any]:
    return page_of({**MARCH, **query}, using="default", now=now, is_public=is_public)


def number(text: str) -> int:
    return int(text.replace(",", ""))


def figures(found: dict[str, Any]) -> dict[str, Any]:
    return {figure.name: figure for figure in found["totals"].figures}


def tables(found: dict[str, Any]) -> dict[str, Any]:
    return {table.kind.name: table for table in found["crossed"].tables}


# -- a naive count

VALUES: dict[str, Callable[[Row], str | None]] = {
    "pages": lambda row: row.path,
    "source": lambda row: (row.attributes or {}).get("source"),
    "channels": lambda row: channel_of(source) if (source := (row.attributes or {}).get("source")) else None,
    "country": lambda row: (row.attributes or {}).get("country"),
    "entry": lambda row: row.path if (row.attributes or {}).get("source") else None,
}
PATHS = ["/", "/pricing/", "/thanks/", "/Thanks/"]
FILTERS = [
    ("pages", "/pricing/"),
    ("pages", "/"),
    ("source", "news.example"),
    ("country", "DE"),
    ("entry", "/"),
    ("source", "nobody.example"),
    ("channels", "search"),
    ("channels", "link"),
    ("channels", "ai"),
]


def keys(rows: Iterable[Row], kind: str, value: str) -> set[str]:
    return {row.session_key for row in rows if VALUES[kind](row) == value}


def came_later(rows: Sequence[Row], filters: Sequence[tuple[str, str]], goal: str) -> set[str]:
    """Who saw the goal on a day on which, or before which, each of the filters had her; a loop over days."""
    found = set()
    for key in {row.session_key for row in rows}:
        of_her = [row for row in rows if row.session_key == key]
        days = {row.viewed_at.date() for row in of_her if row.path == goal}
        for day in days:
            until = [row for row in of_her if row.viewed_at.date() <= day]
            if all(keys(until, *it) for it in filters):
                found.add(key)
    return found


#: two of one channel
SOURCES = [
    {"source": "news.example", "country": "DE"},
    {"source": "(direct)"},
    {"source": "google.de"},
    {"source": "bing", "country": "DE"},
]
VIEWS = st.lists(
    st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from("abcdefgh"),
        st.integers(0, 40 * 24 - 1).map(lambda hour: datetime(2025, 3, 1, tzinfo=timezone.utc) + timedelta(hours=hour)),
        st.sampled_from([None, {"country": "DE"}, *SOURCES]),
    ),
    min_size=1,
    max_size=40,
)


RANDOM = random.Random(12)
#: so that each part of an answer matters in every run, however few examples that has
RICH = [
    (
        RANDOM.choice(PATHS),
        RANDOM.choice("abcdefghijkl"),
        datetime(2025, 3, 8, tzinfo=timezone.utc) + timedelta(hours=RANDOM.randrange(8 * 24)),
        RANDOM.choice([{"country": "DE"}, *SOURCES]),
    )
    for _ in range(40)
]


@example(RICH, 20, [("pages", "/pricing/"), ("country", "DE")], "/thanks/", MARCH, True)
@example(RICH, 20, [("source", "news.example")], "/thanks/", {"range": "all"}, False)
@example(RICH, 20, [("channels", "search")], "/thanks/", MARCH, False)
@example(RICH, 20, [("channels", "search"), ("pages", "/")], "/thanks/", {"range": "all"}, False)
@example(RICH, 20, [], "/thanks/", {"range": "free", "from": "2025-03-10", "to": "2025-03-12"}, False)
@given(
    VIEWS,
    st.integers(0, 40),
    st.lists(st.sampled_from(FILTERS), max_size=3, unique=True),
    st.sampled_from(["", "/thanks/", "/nobody/"]),
    st.sampled_from([MARCH, {"range": "all"}, {"range": "free", "from": "2025-03-10", "to": "2025-03-12"}]),
    st.booleans(),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_all_numbers_are_those_of_a_naive_count(
    views: list[Any],
    folded: int,
    filters: list[tuple[str, str]],
    goal: str,
    days: dict[str, str],
    is_page: bool,
) -> None:
    """Whatever is folded; times are in no order, so that what is late is in days that were folded."""
    clean()
    rows = insert_page_views(views)
    fold_naively(rows[:folded])
    first, *others = [*filters, ("", "")]
    is_page = is_page and first[0] == "pages"
    query: dict[str, Any] = {**days, "goal": goal}
    query |= {"path": first[1], "f": [":".join(it) for it in others if it[0]]} if is_page else {}
    query |= {} if is_page else {"f": [":".join(it) for it in filters]}
    found = page(query, now=datetime(2025, 4, 20, tzinfo=timezone.utc))
    start, end = (date.fromisoformat(days.get(name, "2025-01-01")) for name in ("from", "to"))
    within = [row for row in rows if days["range"] == "all" or start <= row.viewed_at.date() <= end]
    audience = {row.session_key for row in within}
    for it in filters:
        audience &= keys(within, *it)
    told = figures(found)
    assert number(told["visitors"].text) == len(audience)
    if len(filters) == 1:
        views_of_it = [row for row in within if VALUES[filters[0][0]](row) == filters[0][1]]
        assert number(told["page_views"].text) == len(views_of_it)
        by_chart = sum(number(texts[0]) for _, texts in found["chart"].rows if texts[0] != "-")
        assert by_chart == len(views_of_it)
        if filters[0][0] == "pages":
            assert number(told["landings"].text) == sum(VALUES["source"](row) is not None for row in views_of_it)
    elif filters:
        assert list(told) == ["visitors"] and found["chart"] is None and "in no aggregate" in found["audience"].why
    if filters or goal:
        _check_tables(found, within, audience, filters, goal)
    else:
        assert "crossed" not in found


def _check_tables(
    found: dict[str, Any], within: Sequence[Row], audience: set[str], filters: Sequence[tuple[str, str]], goal: str
) -> None:
    reached = audience & keys(within, "pages", goal)
    later = came_later(within, filters, goal)
    if goal and audience:
        (first, *others) = found["audience"].reached
        assert f"{len(reached)} saw {goal} (" in first
        assert not filters or others[0].startswith(f"{len(later)} of them did so on the day on which")
    for kind, value_of in VALUES.items():
        wanted = {}
        for value in {value_of(row) for row in within if row.session_key in audience} - {None}:
            if value is not None and (kind, value) not in filters:
                wanted[value] = len(audience & keys(within, kind, value))
        table = tables(found).get(kind)
        assert {row.value: number(row.visitors) for row in (table.rows if table else ())} == wanted
        assert not table or [row.visitors for row in table.rows] == sorted(map(str, wanted.values()), reverse=True)
        for row in table.rows if table and goal else ():
            assert number(row.reached.count) == len(reached & keys(within, kind, row.value))
            assert number(row.reached.later) == len(came_later(within, [*filters, (kind, row.value)], goal))


# -- comparison, lists and CSV


@pytest.fixture
def rows() -> list[Row]:
    """Two thirds of them are folded."""
    begin = datetime(2025, 2, 3, tzinfo=timezone.utc)
    found = insert_page_views([("/old", "key", begin)])
    for seed in (1, 2, 3):
        if seed == 3:
            folding.keep_up("default", seconds=60)
        found += make_page_views(700, seed=seed, paths=40, visitors=90, days=56, start=begin, with_attributes=True)
    return found


def within(rows: Iterable[Row], start: date, end: date) -> list[Row]:
    return [row for row in rows if start <= row.viewed_at.date() <= end]


def test_it_is_compared_with_the_days_before_by_whole_days(rows: list[Row]) -> None:
    now, before = (within(rows, date(2025, m, 5), d) for m, d in ((3, date(2025, 4, 1)), (2, date(2025, 3, 4))))
    path = max({row.path for row in now}, key=lambda path: len(keys(now, "pages", path)))
    told = figures(page({"path": path}))
    assert number(told["page_views"].change.before) == sum(row.path == path for row in before)
    assert number(told["visitors"].change.before) == len(keys(before, "pages", path))
    assert number(told["landings"].change.before) == sum(
        row.path == path and VALUES["source"](row) is not None for row in before
    )
    told = figures(page({"path": path, "f": ["country:DE"]}))
    both = keys(before, "pages", path) & keys(before, "country", "DE")
    assert number(told["visitors"].change.before) == len(both)
    today = page_of({"range": "today", "path": path}, using="default", now=NOW)
    assert figures(today)["visitors"].change is None and "hours are kept of the whole site only" in today["compared"]
    assert len(today["chart"].rows) == 1, "a day, since there are no hours"
    week = page_of({"range": "7d", "path": path}, using="default", now=NOW)
    assert "whole days are compared, and today is not over" in week["compared"]


def test_lists_are_turned_and_searched(rows: list[Row]) -> None:
    now = within(rows, date(2025, 3, 5), date(2025, 4, 1))
    audience = keys(now, "country", "DE")
    wanted = {path: len(audience & keys(now, "pages", path)) for path in {row.path for row in now}}
    wanted = {path: count for path, count in wanted.items() if count}
    seen: dict[str, int] = {}
    for turned in range(1, 9):
        table = (
            tables(page({"f": ["country:DE"], "pages_p": str(turned)}))["pages"] if len(seen) < len(wanted) else None
        )
        seen |= {row.value: number(row.visitors) for row in (table.rows if table else ())}
        assert table is None or bool(table.older) == (len(seen) < len(wanted))
    assert seen == wanted and list(seen.values()) == sorted(seen.values(), reverse=True)
    prefix = max(wanted)[:6]
    table = tables(page({"f": ["country:DE"], "pages_q": prefix}))["pages"]
    assert {row.value for row in table.rows} <= {path for path in wanted if path.startswith(prefix)} and table.rows
    assert ("f", "country:DE") in table.hidden
    assert "begins with" not in table.note


def test_the_csv_has_all_rows_of_the_filters(rows: list[Row]) -> None:
    now = within(rows, date(2025, 3, 5), date(2025, 4, 1))
    insert_page_views([("=cmd", row.session_key, AT) for row in now[:1]])
    goal = now[5].path
    query = {**MARCH, "f": ["country:DE", "source:news.example"], "goal": goal}
    made = table_csv(query, "pages", using="default", now=NOW)
    assert made is not None
    with made[1] as file:
        lines = list(csv.reader(io.StringIO(file.read().decode("utf-8-sig"), newline="")))
    head = [line[0] for line in lines if line[0].startswith("# ")]
    assert {"# country:DE", "# source:news.example"} <= set(head)
    assert lines[len(head)] == ["path", "visitors", "reached_goal"]
    audience = keys(now, "country", "DE") & keys(now, "source", "news.example")
    for path, visitors, reached in lines[len(head) + 1 :]:
        mine = audience & keys(now, "pages", path)
        if path != "'=cmd":
            assert (int(visitors), int(reached)) == (len(mine), len(mine & keys(now, "pages", goal)))
    told = {line[0] for line in lines[len(head) + 1 :]} - {"'=cmd"}
    assert told == {row.path for row in now if row.session_key in audience}
    assert not any(line.startswith("# Without") for line in head)


def test_the_csv_is_without_the_value_that_is_filtered_by_and_says_so(rows: list[Row]) -> None:
    made = table_csv({**MARCH, "f": ["source:news.example"]}, "source", using="default", now=NOW)
    assert made is not None
    with made[1] as file:
        text = file.read().decode()
    assert '"# Without each value of source that stands there, which all of them have"' in text
    assert '\n"search.example",' in text and '\n"news.example",' not in text


def test_where_there_are_too_many_values_to_look_at_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    views = [(f"/{n}/", f"key{n % 7}", AT) for n in range(30)]
    insert_page_views([*views, ("/rare/", "alone", AT), ("/rare/", "alone2", AT)] + [("/0/", "many", AT)] * 50)
    monkeypatch.setattr(audiences, "MOST_LOOKED_AT", 8)
    monkeypatch.setattr(audiences, "VALUES_AT_A_TIME", 4)
    table = tables(page({"goal": "/1/"}))["pages"]
    assert "The most among the 8 with the most page views of all" in table.note
    assert len(table.rows) == 8
    monkeypatch.setattr(audiences, "MOST_LOOKED_AT", 128)
    assert tables(page({"goal": "/1/"}))["pages"].note == ""


# -- links, and what a URL asks for


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []
        self.inputs: list[tuple[str | None, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.handlers += [name for name in found if name.startswith("on")]
        if tag == "a":
            self.hrefs.append(found.get("href") or "")
        if tag == "script":
            self.scripts.append(found.get("src"))
        if tag == "input":
            self.inputs.append((found.get("name"), found.get("value")))


@pytest.fixture
def mounted(settings: Any) -> None:
    module = ModuleType("mounted")
    module.urlpatterns = [  # type: ignore[attr-defined]
        *urlpatterns,
        url_path(SITE[1:], DashboardView.as_view()),
        url_path(PUBLIC[1:], DashboardView.as_view(public=True)),
    ]
    settings.ROOT_URLCONF = module
    settings.LOGIN_URL = "/login-of-the-site/"


def asked(href: str) -> tuple[str, QueryDict]:
    place, _, query = href.partition("?")
    return place, QueryDict(query)


def test_who_may_see_one_page(mounted: None) -> None:
    assert reverse("admin:django_pagestats_page") == PAGE
    for query in ("?path=/a/", "?path=/a/&f=source:x&csv=pages"):
        assert Client().get(PAGE + query)["Location"].startswith("/admin/login/")
        assert Client().get(SITE + query)["Location"].startswith("/login-of-the-site/")
        client = client_with("view_pageview")
        assert {client.get(url + query).status_code for url in (PAGE, SITE)} == {403}
        User.objects.all().delete()
        client = client_with("view_statistics")
        for url in (PAGE, SITE):
            response = client.get(url + query)
            assert response.status_code == 200
            response.close()
        User.objects.all().delete()
        response = Client().get(PUBLIC + query)
        assert response.status_code == 200 and not response.streaming, "no CSV for everybody"


def test_rows_lead_to_the_page_and_to_those_whom_they_are_of(mounted: None) -> None:
    insert_page_views([("/a b/", "key", AT, {"source": "x.example"}), ("/c/", "key", AT, {})])
    client = client_with("view_statistics")
    march = "?range=free&from=2025-03-05&to=2025-04-01"
    hrefs = Links(client.get(ADMIN + march).content.decode()).hrefs
    (of_page,) = [href for href in hrefs if href.startswith(PAGE) and asked(href)[1]["path"] == "/a b/"]
    assert "/a%20b/" in hrefs, "the page itself"
    assert any(asked(href)[1].getlist("f") == ["source:x.example"] and href.startswith("?") for href in hrefs)
    hrefs = Links(client.get(of_page).content.decode()).hrefs
    both = [asked(href) for href in hrefs if "source" in href and "f=" in href]
    assert both[0] == ("", QueryDict(f"{march[1:]}&path=/a b/&f=source:x.example"))
    assert any(href.startswith(f"{ADMIN}?") and "path" not in href for href in hrefs), "back to the site"
    others = [asked(href)[1] for href in hrefs if "f=pages" in href]
    assert [it.getlist("f") for it in others] == [["pages:/c/"]], "another page that they saw"
    # on the site itself it is the same view
    hrefs = Links(client.get(SITE + march).content.decode()).hrefs
    assert any(asked(href) == ("", QueryDict(f"{march[1:]}&path=/a b/")) for href in hrefs)


def test_filters_are_kept_by_every_way_and_taken_away_one_by_one(mounted: None) -> None:
    insert_page_views([("/a/", "key", AT, {"source": "x.example", "country": "DE"})])
    query = "?range=free&from=2025-03-05&to=2025-04-01&f=source:x.example&f=country:DE&goal=/a/"
    content = client_with("view_statistics").get(SITE + query).content.decode()
    found = Links(content)
    lists = [asked(href)[1].getlist("f") for href in found.hrefs if href.startswith("?")]
    both = ["source:x.example", "country:DE"]
    assert lists.count(both[1:]) == lists.count(both[:1]) == 1, "a pill for each"
    assert all(it[:2] == both for it in lists if it not in (both[1:], both[:1]))
    forms = content.count('<form method="get"')
    assert found.inputs.count(("f", "source:x.example")) == forms > 2
    assert "Of 1 visitor 1 saw /a/ (100.0 %)" in content


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_are_text(mounted: None, value: str) -> None:
    insert_page_views([(value, f"key{n}", AT, {"source": value[:255]}) for n in range(3)])
    client = client_with("view_statistics")
    for query in (
        {"path": value},
        {"f": [f"source:{value[:255]}", f"pages:{value}"], "goal": value},
        {"f": [f"entry:{value}"], "pages_q": value},
    ):
        response = client.get(PAGE, {**MARCH, **query})
        content = response.content.decode()
        assert response.context["refused"] == []
        assert number(figures(response.context)["visitors"].text) == 3
        found = Links(content)
        assert None not in found.scripts and not found.handlers and "style=" not in content
        outside = [href for href in found.hrefs if not href.startswith(("?", ADMIN))]
        assert not [href for href in outside if "javascript" in href or "elsewhere" in href or "cmd" in href]
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in re.sub(r'(title|value|href)="[^"]*"', "", content)


@pytest.mark.parametrize(
    "query",
    [
        {"path": "/\0"},
        {"path": "/\ud800"},
        {"path": "x" * 2_049},
        {"goal": "/\0"},
        {"f": ["source"]},
        {"f": [":/a/"]},
        {"f": ["nothing:/a/"]},
        {"f": ["channels:zz"]},
        {"f": ["pages:"]},
        {"f": ["source:\0"]},
        {"f": [f"pages:/{n}/" for n in range(6)]},
        {"path": "/a/", "f": [f"pages:/{n}/" for n in range(5)]},
    ],
)
def test_what_cannot_be_had_is_said(query: dict[str, Any]) -> None:
    insert_page_views([("/a/", "key", AT)])
    found = page(query)
    (told,) = found["refused"]
    assert re.search("left out|whole site", told)
    assert len(found["state"].conditions) in (0, 5)


def test_a_function_that_fails_says_why_there_are_no_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_pagestats.exceptions import DimensionError

    insert_page_views([("/a/", "key", AT, {"source": "x"})])

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise DimensionError("section of '/a/': no such thing")

    monkeypatch.setattr("django_pagestats.dashboard.audience.visitors_of", fail)
    found = page({"f": ["source:x"]})
    assert "so they are left out. section of '/a/'" in found["refused"][0] and "crossed" not in found
    assert table_csv({**MARCH, "f": ["source:x"]}, "pages", using="default", now=NOW) is None


def test_a_page_that_nobody_saw_says_so(mounted: None) -> None:
    insert_page_views([("/a/", "key", AT), ("/b/", "other", AT)])
    content = client_with("view_statistics").get(PAGE, {**MARCH, "path": "/nothing/"}).content.decode()
    assert "Nobody saw this page in these days." in content and "range=all" in content
    found = page({"path": "/a/", "f": ["pages:/b/"]})
    assert found["nobody"] == "No visitor of these days has all of these filters."
    PageView.objects.all().delete()
    assert page({"path": "/a/"})["empty"].is_new


def test_statements_do_not_grow_with_rows(rows: list[Row]) -> None:
    def statements(query: dict[str, Any]) -> int:
        with CaptureQueriesContext(connection) as captured:
            page(query)
        return len(captured)

    query = {"path": rows[9].path, "f": ["country:DE"], "goal": rows[5].path}
    before = statements(query)
    assert before < 130
    now = within(rows, date(2025, 3, 5), date(2025, 4, 1))
    insert_page_views((row.path, f"{row.session_key}{n}", row.viewed_at, row.attributes) for row in now for n in "ab")
    folding.keep_up("default", seconds=60)
    assert statements(query) <= before
