"""The dashboard's page and its CSV, compared with a naive count; who may see it; and what nobody should."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from urllib.parse import unquote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import translation
from hypothesis import given, settings, strategies
from hypothesis.extra.django import TestCase

from django_pagestats import dashboard, tasks
from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.page import page_of
from django_pagestats.models import PageView, Statistics, VisitorPolicy
from django_pagestats.views import DashboardView
from testproject.urls import urlpatterns
from tests.clients import client_with
from tests.factories import Row, count_naively, fold, insert_page_views, make_page_views
from tests.stats_oracle import fold_naively

ADMIN, SITE, PUBLIC = "/admin/django_pagestats/dashboard/", "/numbers/", "/open/"
FREE = "?range=free&from=2025-03-05&to=2025-04-01"
START, END = date(2025, 3, 5), date(2025, 4, 2)
NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
HOSTILE = [
    '/"><script>alert(1)</script>',
    "/" + "x" * 2_047,
    "/😀/",
    "/\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "=cmd|' /C calc'!A0",
    "'quoted",
    "javascript:alert(1)",
    "//elsewhere.example/",
    '/a,b;c"d\n',
    "-1+1",
    "@sum",
    "/%2e/?q=ä&b=1#c",
]


@pytest.fixture(autouse=True)
def mounted(settings: Any) -> None:
    module = ModuleType("mounted")
    module.urlpatterns = [  # type: ignore[attr-defined]
        *urlpatterns,
        path(SITE[1:], DashboardView.as_view()),
        path(PUBLIC[1:], DashboardView.as_view(public=True)),
    ]
    settings.ROOT_URLCONF = module
    settings.LOGIN_URL = "/login-of-the-site/"


@pytest.fixture
def rows(db: None) -> list[Row]:
    """Most of them folded, in the days from 1 March 2025; one is of before what these are compared with."""
    before = insert_page_views([("/old", "key", datetime(2025, 2, 1, tzinfo=timezone.utc))])
    found = before + make_page_views(2_999, paths=60, visitors=200, with_attributes=True)
    fold()
    return found + insert_page_views(
        (path, f"key{n}", datetime(2025, 3, 20, tzinfo=timezone.utc)) for n, path in enumerate(HOSTILE * 2)
    )


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def file_of(query: dict[str, str], table: str = "pages") -> IO[bytes]:
    made = table_csv(query, table, using="default", now=NOW)
    assert made is not None
    return made[1]


def csv_of(response: Any) -> tuple[list[str], list[dict[str, str]]]:
    """Its head, and its rows."""
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    lines = list(csv.reader(io.StringIO(b"".join(response).decode("utf-8-sig"), newline="")))
    head = [line[0] for line in lines if line[0].startswith("# ")]
    columns, *found = lines[len(head) :]
    return head, [dict(zip(columns, row, strict=True)) for row in found]


# -- who may


@pytest.mark.parametrize("query", ["", "?csv=pages"])
@pytest.mark.parametrize(("url", "login"), [(ADMIN, "/admin/login/"), (SITE, "/login-of-the-site/")])
def test_who_may_see_it(db: None, url: str, login: str, query: str) -> None:
    assert Client().get(url + query)["Location"].startswith(login)
    assert client_with("view_pageview").get(url + query).status_code == 403
    User.objects.all().delete()
    response = client_with("view_statistics").get(url + query)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"] or "no-cache" in response["Cache-Control"]
    assert response.streaming == bool(query)
    response.close()


def test_whoever_is_no_staff_sees_it_on_the_site_and_not_in_the_admin(db: None) -> None:
    client = client_with("view_statistics", is_staff=False)
    assert client.get(SITE).status_code == 200
    assert client.get(ADMIN)["Location"].startswith("/admin/login/")


def test_it_is_read_only(db: None) -> None:
    client = client_with("view_statistics")
    assert [client.post(url).status_code for url in (ADMIN, SITE, PUBLIC)] == [405, 403, 405], "not her buttons"
    assert client.head(ADMIN).status_code == 200


def test_it_is_the_first_of_the_app_and_linked_from_each_list(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    for url in ("/admin/", "/admin/django_pagestats/"):
        apps = client.get(url).context["app_list"]
        (ours,) = [app for app in apps if app["app_label"] == "django_pagestats"]
        assert ours["models"][0]["object_name"] == "Statistics"
        assert ours["models"][0]["admin_url"] == ADMIN
    for name in ("pageview", "backfillrun", "generation", "importsource", "leftout"):
        assert f'<li><a href="{ADMIN}">Statistics</a></li>' in text_of(client.get(f"/admin/django_pagestats/{name}/"))
    User.objects.all().delete()
    assert ADMIN not in text_of(client_with("view_pageview").get("/admin/django_pagestats/pageview/"))


def test_a_site_without_it_is_as_before() -> None:
    site = admin.AdminSite(name="own")
    before = str(site.get_urls())
    site.register(Statistics, admin.site._registry[Statistics].__class__)
    assert "django_pagestats/dashboard/" in str(site.get_urls())
    site.unregister(Statistics)
    assert str(site.get_urls()) == before


# -- the numbers


def shown(query: str = FREE, **options: Any) -> dict[str, Any]:
    parameters = dict(part.split("=") for part in query[1:].split("&"))
    return page_of(parameters, using="default", now=options.pop("now", NOW), **options)


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.django_db(transaction=True)
def test_all_panels_agree_with_the_page_views(rows: list[Row]) -> None:
    expected = count_naively(rows, start=START, end=END)
    before = count_naively(rows, start=START - timedelta(days=28), end=START)
    page = shown()
    figures = {figure.name: figure for figure in page["totals"].figures}
    assert number(figures["page_views"].text) == expected.page_views
    assert number(figures["visitors"].text) == expected.visitors
    assert number(figures["pages"].text) == expected.paths
    assert number(figures["page_views"].change.before) == before.page_views
    assert number(figures["visitors"].change.before) == before.visitors
    assert sum(number(texts[0]) for _, texts in page["chart"].rows) == expected.page_views
    top = sorted(expected.pages.values(), key=lambda of: -of.page_views)[:10]
    assert [number(row.page_views) for row in page["pages"].rows] == [of.page_views for of in top]
    for row in page["pages"].rows:
        of, then = expected.pages[row.value], before.pages.get(row.value)
        assert (number(row.page_views), number(row.visitors)) == (of.page_views, of.visitors)
        assert row.share == f"{100 * of.page_views / expected.page_views:.1f} %"
        assert number(row.change.before) == (then.page_views if then else 0)
        assert (row.change.text == "-") == (then is None or then.page_views < 10)
    people = set().union(*(expected.pages[row.value].session_keys for row in page["pages"].rows))
    seen = sum(number(row.visitors) for row in page["pages"].rows)
    assert page["pages"].people == (
        f"Rows {seen:,}, people {len(people):,}: {seen - len(people):,} more because they saw several of these."
    )


@pytest.mark.django_db(transaction=True)
def test_visits_and_visitors_who_saw_one_page_only(rows: list[Row]) -> None:
    shown_rows = [row for row in rows if START <= row.viewed_at.date() < END]
    visits = sum("source" in (row.attributes or {}) for row in shown_rows)
    views = Counter(row.session_key for row in shown_rows)
    figures = {figure.name: figure for figure in shown()["totals"].figures}
    assert number(figures["visits"].text) == visits > 100
    per_visit = figures["views_per_visit"]
    assert per_visit.text == f"{len(shown_rows) / visits:.2f}" != per_visit.change.before, "which begins with 3.8, too"
    assert number(figures["single_page_visitors"].text) == list(views.values()).count(1)


def test_what_older_aggregates_do_not_have_is_no_number_and_the_page_says_why(db: None) -> None:
    fold_naively(make_page_views(300), dimensions=None)
    figures = {figure.name: figure for figure in shown()["totals"].figures}
    for name in ("visits", "single_page_visitors"):
        assert figures[name].text == "-" and "backfill_aggregates --rebuild" in figures[name].why
    assert figures["views_per_visit"].text == "-" and figures["page_views"].text != "-"


@pytest.mark.django_db(transaction=True)
def test_the_csv_has_all_rows_with_the_zone_and_the_definitions(rows: list[Row]) -> None:
    expected = count_naively(rows, start=START, end=END)
    response = client_with("view_statistics").get(f"{SITE}{FREE}&csv=pages&pages_sort=path")
    head, found = csv_of(response)
    assert 'filename="pages-2025-03-05-2025-04-01.csv"' in response["Content-Disposition"]
    assert any("Time zone: UTC" in line for line in head) and any("distinct visitors" in line for line in head)
    assert any("from 2025-02-05 to 2025-03-04" in line for line in head)
    told = {row["path"]: (int(row["page_views"]), int(row["visitors"])) for row in found}
    assert len(told) == len(found) == expected.paths
    # a guard is taken off again by its own rule, and no path of a URL has one
    assert {guard.removeprefix("'"): counts for guard, counts in told.items()} == {
        path: (of.page_views, of.visitors) for path, of in expected.pages.items()
    }
    assert [guard for guard in told if guard.startswith(("=", "+", "-", "@"))] == []
    assert {guard for guard in told if guard.startswith("'")} == {f"'{it}" for it in HOSTILE if it[0] in "='-@"}
    assert sum(of[0] for of in told.values()) == expected.page_views


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_path_is_one_cell_of_the_csv_whatever_separates_lists(separator: str) -> None:
    at = datetime(2025, 3, 20, tzinfo=timezone.utc)
    insert_page_views((hostile, "key", at) for hostile in ("/x;=cmd|' /C calc'!A0", "/x\t=1+1", "/x,=1+1"))
    query = {"range": "free", "from": "2025-03-20", "to": "2025-03-20", "pages_q": "/x"}
    with file_of(query) as file:
        text = file.read().decode("utf-8-sig")
    cells = [cell for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in line]
    assert len([cell for cell in cells if cell.startswith("/x")]) == 3
    assert [cell for cell in cells if cell.startswith("=")] == []


@pytest.mark.django_db(transaction=True)
def test_searched_and_turned_it_is_the_same_list(rows: list[Row]) -> None:
    expected = count_naively(rows, start=START, end=END)
    wanted = sorted(path for path in expected.pages if path.startswith("/docs/"))
    pages = [shown(f"{FREE}&pages_q=/docs/&pages_sort=path&pages_p={turned}")["pages"] for turned in (1, 99)]
    assert [row.value for row in pages[0].rows] == wanted[:10]
    assert pages[1].page == pages[1].pages == 1, "a page that is not there is the last one"
    assert pages[0].count == f"1 to {min(10, len(wanted))} of {len(wanted)} pages"
    most = shown(f"{FREE}&pages_sort=-visitors")["pages"].rows
    assert [number(row.visitors) for row in most] == sorted(of.visitors for of in expected.pages.values())[:-11:-1]


def test_a_range_with_today_is_compared_up_to_the_same_hour(db: None) -> None:
    day = datetime(2025, 4, 5, tzinfo=timezone.utc)
    insert_page_views([("/a", f"now{n}", day + timedelta(hours=14, minutes=n)) for n in range(20)])
    insert_page_views([("/a", "running", day + timedelta(hours=15, minutes=1))])
    insert_page_views([("/a", f"then{n}", day + timedelta(days=-7, hours=14, minutes=n)) for n in range(10)])
    insert_page_views([("/a", f"later{n}", day + timedelta(days=-7, hours=16)) for n in range(70)])
    page = shown("?range=today")
    views = page["totals"].figures[0]
    assert (views.text, views.change.text, views.change.before) == ("21", "+100 %", "10")
    assert "April 5, 2025, 3 p.m." in page["compared"]
    assert page["pages"].rows[0].change is None, "a day that is not over is compared with a whole one"
    insert_page_views([("/old", "key", day - timedelta(days=30))])  # else the days before were not recorded
    week = shown("?range=7d")
    assert "by whole days" in week["pages"].compared and week["pages"].rows[0].change.before == "80"
    assert "not compared" in page["pages"].compared


# -- hostile values


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", [ADMIN, SITE])
def test_hostile_paths_are_text(url: str) -> None:
    views = ((path, f"key{n}", datetime(2025, 3, 20, tzinfo=timezone.utc)) for n, path in enumerate(HOSTILE))
    insert_page_views(views)
    client = client_with("view_statistics")
    content = "".join(client.get(f"{url}{FREE}&pages_p={page}").content.decode() for page in (1, 2))
    tags = Links(content).found
    assert [attributes for tag, attributes in tags if tag == "script" and "src" not in attributes] == []
    assert [attributes for _, attributes in tags if any(name.startswith("on") for name in attributes)] == []
    hrefs = [attributes.get("href") or "" for tag, attributes in tags if tag == "a"]
    queries = ("?", f"{ADMIN}page/?")  # with a path as a value
    outside = [href for href in hrefs if not href.startswith(queries)]
    assert [href for href in outside if "javascript" in href or "elsewhere" in href or "cmd" in href] == []
    titles = {attributes["title"] for _, attributes in tags if attributes.get("title")}
    assert titles >= set(HOSTILE), "a path is there as a whole"
    assert "style=" not in content, "a policy would refuse it"


ASKED = ["/p%20q/", "/p q/", "/100%", "/ä?b=1#c", "/\N{RIGHT-TO-LEFT OVERRIDE}txt.exe/", "/a,b;c+d/"]


@pytest.mark.parametrize("path", ASKED)
def test_a_path_links_to_the_page_it_is_of_and_shows_what_turns_it(db: None, path: str) -> None:
    """Paths are stored decoded, as a request has them."""
    insert_page_views([(path, "key", datetime(2025, 3, 20, tzinfo=timezone.utc))])
    (row,) = shown()["pages"].rows
    asked, _, query = row.name.href.partition("?")
    assert unquote(asked) + ("?" + unquote(query) if query else "") == row.value == path
    assert row.name.text == path.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "[U+202E]")


QUERIES = [
    "?range=<script>&interval=%00&compare='",
    "?range=free&from=0001-01-01&to=9999-12-31",
    "?range=free&from=2025-13-01&to=x",
    "?range=free&from=1970-01-01&to=1970-01-01&compare=dates",
    "?range=free&from=2199-12-31&to=2199-12-31&compare=year",
    "?range=12m&interval=hour&pages_p=99999999999999999999&pages_sort=-x",
    "?pages_q=%00&pages_q=%ff%fe&pages_p=-1",
    "?pages_q=" + "%F0%9F%98%80" * 2_048,
    '?pages_q="><script>alert(1)</script>',
    "?csv=pages&range=all&pages_q=%25_",
    "?csv=other",
    "?range=today&range=all&compare=free&compare_from=2025-02-30",
]


@pytest.mark.parametrize("query", QUERIES)
def test_hostile_queries_get_a_page(rows: list[Row], query: str) -> None:
    response = client_with("view_statistics").get(SITE + query)
    assert response.status_code == 200
    if not response.streaming:
        assert "<script>alert" not in response.content.decode()
    response.close()


class AnyPage(TestCase):
    @settings(max_examples=10, deadline=None)
    @given(
        strategies.integers(0, 1_000),
        strategies.dates(date(2025, 2, 20), date(2025, 4, 5)),
        strategies.integers(0, 40),
        strategies.sampled_from(["hour", "day", "week", "month"]),
    )
    def test_sums_of_panels_are_the_totals(self, seed: int, first: date, days: int, interval: str) -> None:
        made = make_page_views(150, seed=seed, paths=25, days=30)  # none of after now
        fold_naively(made[: seed % 151])
        query = {"range": "free", "from": str(first), "to": str(first + timedelta(days=days)), "interval": interval}
        page = page_of(query, using="default", now=NOW)
        with file_of(query) as file:
            table = [row for row in csv.reader(io.StringIO(file.read().decode())) if row[0].startswith("/")]
        expected = count_naively(made, start=first, end=first + timedelta(days=days + 1))
        assert page["totals"].page_views == expected.page_views
        assert page["totals"].visitors == expected.visitors
        counts = [number(texts[0]) for _, texts in page["chart"].rows if texts[0] != "-"]
        assert sum(counts) == sum(int(row[1]) for row in table) == expected.page_views
        assert len(table) == page["totals"].pages == expected.paths


class AnyQuery(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        strategies.dictionaries(
            strategies.sampled_from(
                ["range", "from", "to", "compare", "compare_from", "interval", "pages_q", "pages_p"]
            ),
            strategies.one_of(
                strategies.text(max_size=20),
                strategies.dates().map(str),
                strategies.sampled_from(["free", "today", "month", "12m", "all", "year", "hour", "week", "/"]),
            ),
        )
    )
    def test_any_query_gets_a_page(self, query: dict[str, str]) -> None:
        page = page_of(query, using="default", now=NOW)
        assert page["empty"].is_new


# -- how much it asks


def test_statements_do_not_grow_with_rows(db: None) -> None:
    client = client_with("view_statistics")

    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(SITE + FREE).status_code == 200
        return len(captured)

    at = datetime(2025, 3, 20, tzinfo=timezone.utc)
    insert_page_views((f"/{n}", f"key{n}", at) for n in range(12))
    fold()
    asked()
    few = asked()
    insert_page_views((f"/{n % 700}", f"key{n}", at + timedelta(minutes=n % 9_000)) for n in range(3_000))
    fold()
    assert asked() == few
    assert few <= 63


# -- what it is worth, and where there is nothing


def test_a_new_site_says_what_to_do(db: None) -> None:
    told = text_of(client_with("view_statistics").get(SITE))
    assert "No page view was recorded yet" in told and "PageViewMiddleware" in told
    assert 'aria-current="true" data-pagestats-key="d"' in told, "it opens on today"
    assert "PageViewMiddleware" not in text_of(Client().get(PUBLIC))


def test_days_without_page_views_lead_to_the_last_that_has_some(rows: list[Row]) -> None:
    last = max(row.viewed_at for row in rows).date()
    page = shown("?range=free&from=2025-05-01&to=2025-05-02", now=NOW + timedelta(days=60))
    assert page["empty"].query == f"?range=free&from={last}&to={last}"
    followed = shown(page["empty"].query, now=NOW + timedelta(days=60))
    assert followed["empty"] is None and followed["totals"].page_views > 0


def test_page_views_that_are_not_folded_yet_are_counted_and_told(rows: list[Row]) -> None:
    assert shown()["trust"].instant == (
        "Exact as of April 5, 2025, 3:20 p.m., 24 page views not folded yet: they are counted, too."
    )
    fold()
    assert shown()["trust"].instant.endswith("every page view is folded.")


def test_a_table_that_lost_page_views_is_told_and_answers(rows: list[Row]) -> None:
    last = rows[999].id
    PageView.objects.filter(pk__gt=last).delete()
    page = shown()
    assert f"The highest page view is {last}" in page["trust"].attention and page["totals"].page_views > 0
    assert shown(is_public=True)["trust"].attention == ""


def test_too_many_page_views_to_count_are_left_out_and_told(rows: list[Row], settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 10
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    told = text_of(client.get(ADMIN + FREE))
    assert "Folded up to" in told and "to go." in told and "Start a backfill." not in told, "that says the button"
    assert 'action="/admin/django_pagestats/backfillrun/backfill/"' in told
    assert shown()["totals"].page_views == count_naively(rows[:3_000], start=START, end=END).page_views
    run = tasks.start_backfill("default", via="test").run
    assert run is not None
    told = text_of(client.get(ADMIN + FREE))
    assert f'<a href="/admin/django_pagestats/backfillrun/{run.pk}/change/">Run {run.pk}</a>' in told
    assert '<progress max="100"' in told and "backfillrun/backfill/" not in told


POLICIES = [
    ([], "Visitors are distinct session keys, of the whole range."),
    (["daily"], "Visitors are daily visitors, added up: who came on two days counts twice."),
    (["mysite.key"], "Visitors are told apart by the site's own policy."),
    (["daily", "cookie"], "Visitors were told apart by several policies in this range: daily (daily visitors, added"),
]


@pytest.mark.parametrize(("names", "told"), POLICIES)
def test_what_a_visitor_is(rows: list[Row], names: list[str], told: str) -> None:
    for day, name in enumerate(names, start=1):
        VisitorPolicy.objects.create(policy=name, since=datetime(2025, 3, day, tzinfo=timezone.utc) + timedelta(days=5))
    if names:
        VisitorPolicy.objects.filter(policy=names[0]).update(since=datetime(2025, 3, 1, tzinfo=timezone.utc))
    assert shown()["trust"].visitors.startswith(told)


def test_it_is_not_counted_itself() -> None:
    assert DashboardView.as_view().pagestats_not_counted  # type: ignore[attr-defined]


# -- what is asked for and cannot be had


REFUSED = [
    ("?range=free&from=2025-04-01&to=2025-03-05", ["cannot be shown", "not after the last"]),
    ("?range=free&from=1970-01-01&to=2199-12-31", ["cannot be shown", "at most 61 years"]),
    ("?range=free", ["cannot be shown", "1970 to 2199"]),
    (f"{FREE}&compare=free&compare_from=2025-02-30&compare_to=2025-03-01", ["to compare with", "not after"]),
    (f"{FREE}&pages_q=%00", ["it is left out"]),
    (f"{FREE}&compare=free&compare_from=2025-02-03&compare_to=2025-03-01&pages_q=/a", []),
    ("?range=28d&from=x", []),
    ("?range=zz", ["no such range"]),
    (f"{FREE}&compare=zz", ["no such comparison"]),
    (f"{FREE}&interval=zz", ["no such interval"]),
    (f"{FREE}&pages_sort=-zz", ["order that was asked for"]),
    (f"{FREE}&pages_p=0", ["no such page of a list"]),
    (f"{FREE}&csv=zz", ["no such CSV"]),
    (f"{FREE}&compare=year&interval=week&pages_sort=-change&pages_p=2", []),
]


@pytest.mark.parametrize(("query", "told"), REFUSED)
def test_what_cannot_be_shown_is_said(db: None, query: str, told: list[str]) -> None:
    insert_page_views([("/a", "key", datetime(2025, 3, 20, tzinfo=timezone.utc))])
    text = text_of(client_with("view_statistics").get(SITE + query))
    found = re.findall('<p class="pagestats-attention" role="status">(.*?)</p>', text)
    assert len(found) == bool(told) and [it for it in told if it not in "".join(found)] == []


OF_DAYS = ["no such range", "no such comparison", "no such interval", "no such CSV"]
OF_ROWS = ["order that was asked for", "no such page of a list"]
ON_PAGES = [
    (SITE, [*OF_DAYS, *OF_ROWS]),
    (ADMIN, [*OF_DAYS, *OF_ROWS]),
    (f"{ADMIN}page/", [*OF_DAYS, *OF_ROWS]),
    (PUBLIC, ["no such range", "no such interval", "no such CSV", *OF_ROWS]),
    (f"{ADMIN}loyalty/", [*OF_DAYS, "This page is of the whole site"]),
    (f"{ADMIN}audit/", [*OF_DAYS, "This page is of the whole site", "no such page of a list"]),
]


@pytest.mark.parametrize(("url", "told"), ON_PAGES)
def test_it_is_said_on_every_page(db: None, url: str, told: list[str]) -> None:
    insert_page_views([("/a", "key", datetime(2025, 3, 20, tzinfo=timezone.utc))])
    query = "?range=zz&compare=zz&interval=zz&pages_sort=zz&pages_p=zz&unseen_p=zz&csv=zz&path=/a"
    text = text_of(client_with("view_statistics").get(url + query))
    (found,) = re.findall('<p class="pagestats-attention" role="status">(.*?)</p>', text)
    assert [it for it in (*OF_DAYS, *OF_ROWS, "This page is of the whole site") if it in found] == [
        it for it in (*OF_DAYS, *OF_ROWS, "This page is of the whole site") if it in told
    ]


def test_the_head_of_a_csv_says_it(rows: list[Row]) -> None:
    with file_of({"range": "zz", "pages_sort": "zz", "csv": "pages"}) as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    head = [line for line in lines if line.startswith('"# ')]
    assert sum("no such range" in line for line in head) == sum("order that was asked" in line for line in head) == 1
    assert "no such CSV" not in "".join(head)


# -- languages


def test_no_word_is_translated_as_that_of_another_app() -> None:
    """Catalogues of all apps are one: Django's admin has "Change" as a verb. Short words have a context of ours."""
    ours = Path(dashboard.__file__).parent.parent
    files = [
        *ours.glob("dashboard/*.py"),
        *ours.glob("charts/*.py"),
        *ours.glob("templates/django_pagestats/**/*.html"),
    ]
    said = re.compile(r'(?:\b_|\bn?gettext(?:_lazy)?)\(\s*"(.*?)"|translate "([^"]*)" %}')
    words = {"".join(found) for file in files for found in said.findall(file.read_text())}
    assert len(words) > 50
    for language in ("fr", "ru", "nl"):
        with translation.override(language):
            assert {word for word in words if translation.gettext(word) != word} == set()


def test_a_language_without_a_catalogue_has_its_own_dates_and_numbers(db: None) -> None:
    insert_page_views([("/", "key", datetime(2025, 3, 20, tzinfo=timezone.utc))] * 1_200)
    insert_page_views([("/", "key", datetime(2025, 2, 1, tzinfo=timezone.utc))])  # so that all of it is compared
    with translation.override("nl"):
        page = shown()
        assert page["totals"].figures[0].text == "1.200" and page["menus"].days == "5 maart 2025 to 1 april 2025"
        text = render_to_string("django_pagestats/dashboard/pages.html", page)
    assert re.search(r">Change\s*</a></th>", text)
