"""What anybody is told where the dashboard is public, and that none of it is of a few visitors."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats import folding
from django_pagestats.dashboard import told
from django_pagestats.dashboard.drawing import day_name
from django_pagestats.dashboard.numbers import FEW
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.dashboard.untold import places_told
from django_pagestats.exceptions import TailTooLongError
from django_pagestats.views import DashboardView
from tests.factories import Row, insert_page_views
from tests.stats_oracle import fold_naively

NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
MARCH = {"range": "free", "from": "2025-03-01", "to": "2025-03-31"}
AT = datetime(2025, 3, 20, 10, tzinfo=timezone.utc)
ARRIVAL = {"source": "search.example"}


def shown(query: dict[str, str] = MARCH, *, is_public: bool = True) -> dict[str, Any]:
    return page_of(query, using="default", now=NOW, is_public=is_public)


def figures(page: dict[str, Any]) -> dict[str, Any]:
    return {figure.name: figure for figure in page["totals"].figures}


def text_of_public(query: dict[str, str] = MARCH) -> str:
    request = RequestFactory().get("/open/", query)
    response = DashboardView.as_view(public=True)(request)
    response.render()  # type: ignore[attr-defined]
    return re.sub(r"\s+", " ", response.content.decode())


def visits(path: str, visitors: int, at: datetime, *, each: int = 1) -> Iterator[tuple[Any, ...]]:
    for number in range(visitors):
        for view in range(each):
            yield path, f"{path}{number}", at + timedelta(minutes=number), {} if view else ARRIVAL


pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_turn(2)]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def tables(page: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The name of a table -> value -> its visitors."""
    return {
        table.kind.name: {row.value: number(row.visitors) for row in table.rows} for table in page["crossed"].tables
    }


def days_told(page: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The name of a day -> its page views and visitors, where these are told."""
    return {name: (number(a), number(b)) for name, (a, b, *_) in page["chart"].rows if a != "-"}


# -- nothing can be subtracted

VALUES = {
    "pages": lambda row: row.path,
    "source": lambda row: row.attributes.get("source"),
    "entry": lambda row: row.path if "source" in row.attributes else None,
    "section": lambda row: next((it for it in row.path.split("/") if it), "/"),
    "device": lambda row: row.attributes.get("device"),
    "country": lambda row: row.attributes.get("country"),
}
LAST_WEEK = {"range": "7d"}
RANGES = [MARCH, LAST_WEEK]


def small_site(seed: int) -> list[Row]:
    """Some dozens of visitors, whom next to all or next to none share a page, a device, a country or a day."""
    draw = random.Random(seed)
    pages = ["/", "/docs/a/", "/docs/b/", "/cart/", "/thanks/", "/rare/"]
    views: list[tuple[Any, ...]] = []
    for n in range(draw.randrange(14, 70)):
        device = draw.choices(["desktop", "mobile", "tv"], [20, 6, 1])[0]
        always = {"device": device, "country": draw.choice(["DE", "DE", "FR", "AT"])}
        day = draw.choice([3, 10, 10, 10, 20, 20, 20, 21, 30, 31, 32, 33, 35])
        at = datetime(2025, 3, 1, 10, tzinfo=timezone.utc) + timedelta(days=day - 1, minutes=n)
        first = {**always, "source": draw.choices(["a.example", "b.example", "(direct)"], [12, 8, 2])[0]}
        seen = ["/", *draw.choices(pages, [9, 9, 6, 3, 2, 1], k=draw.randrange(4))][draw.random() < 0.1 :]
        views += [(path, f"key{n}", at + timedelta(days=k // 2), always if k else first) for k, path in enumerate(seen)]
    return insert_page_views(views)


def of_range(rows: Iterable[Row], query: Mapping[str, str]) -> list[Row]:
    first, last = (date(2025, 3, 1), date(2025, 3, 31)) if query is MARCH else (date(2025, 3, 30), date(2025, 4, 5))
    return [row for row in rows if first <= row.viewed_at.date() <= last]


def keys(rows: Iterable[Row]) -> frozenset[str]:
    return frozenset(row.session_key for row in rows)


def groups_told(page: dict[str, Any], rows: Collection[Row]) -> dict[tuple[str, str], frozenset[str]]:
    """All numbers of visitors that a page tells: what each is of -> who these are, by a naive count."""
    views = [row.session_key for row in rows]
    single = frozenset(it for it in views if views.count(it) == 1)
    totals = {name: figure.text for name, figure in figures(page).items()}
    told = {("visitors", ""): (frozenset(views), totals["visitors"])} if totals["visitors"] != f"<{FEW}" else {}
    told |= {("single", ""): (single, totals["single_page_visitors"])} if totals["single_page_visitors"] != "-" else {}
    for kind, values in tables(page).items():
        for value, count in values.items():
            told[kind, value] = keys(row for row in rows if VALUES[kind](row) == value), str(count)
    for name, (_, count) in days_told(page).items():
        told["day", name] = keys(row for row in rows if day_name(row.viewed_at.date()) in name), str(count)
    assert {name: str(len(who)) for name, (who, _) in told.items()} == {name: text for name, (_, text) in told.items()}
    return {name: who for name, (who, _) in told.items()}


@pytest.mark.parametrize("query", RANGES, ids=["month", "week"])
@pytest.mark.parametrize("seed", range(4))
def test_no_number_less_another_one_is_of_a_few(seed: int, query: dict[str, str]) -> None:
    """Of visitors, where the one group has all of the other, and of all rows or days; of page views of all days."""
    rows = of_range(small_site(seed), query)
    page = shown(query)
    told = groups_told(page, rows)
    assert [name for name, who in told.items() if len(who) < FEW] == []
    for some, who in told.items():
        # that all of one day were there on another one is chance, which nobody knows
        others = {it: all_of_it for it, all_of_it in told.items() if {some[0], it[0]} - {"day", "single"}}
        less = {it: all_of_it - who for it, all_of_it in others.items() if who < all_of_it}
        if some[0] == "single":
            less = {it: left for it, left in less.items() if it[0] == "visitors"}
        assert {it: len(left) for it, left in less.items() if len(left) < FEW} == {}, some
    for kind in tables(page):
        of_list = [who for it, who in told.items() if it[0] == kind]
        for it, of in told.items():
            if it[0] not in (kind, "single"):
                _check_rest(of_list, of)
    if told:
        _check_days(page, rows)
    else:
        assert not days_told(page) and figures(page)["page_views"].text == "-"


def _check_rest(rows: Iterable[frozenset[str]], of: frozenset[str]) -> None:
    """Of a group less all rows in it: those of none where nobody is in two, and those of two where all are in one."""
    within = [row for row in rows if row <= of]
    several = {key for row in within for key in row if sum(key in it for it in within) > 1}
    outside = of.difference(*within)
    if not several or not outside:
        assert not 0 < len(several | outside) < FEW


def _check_days(page: dict[str, Any], rows: Collection[Row]) -> None:
    told = days_told(page)
    assert {name: a for name, (a, _) in told.items()} == {
        name: sum(day_name(row.viewed_at.date()) in name for row in rows) for name in told
    }
    left = [row for row in rows if not any(day_name(row.viewed_at.date()) in name for name in told)]
    assert number(figures(page)["page_views"].text) - sum(a for a, _ in told.values()) == len(left)
    assert not left or len(keys(left)) >= FEW


ASKED = [
    {"path": "/docs/a/"},
    {"f": "device:mobile"},
    {"goal": "/cart/"},
    {"pages_q": "/docs/"},
    {"device_q": "m"},
    {"compare": "dates"},
    {"pages_p": "2", "device_p": "2", "pages_sort": "path", "device_sort": "-change"},
    {"interval": "week"},
    {"csv": "pages"},
]


def test_nothing_is_compared() -> None:
    """Days before are another range, and its numbers less these would be told on this page."""
    insert_page_views(row for days in (0, 28, 31, 60) for row in visits("/", 30, AT - timedelta(days=days)))
    for query in (MARCH, {"range": "28d"}, {"range": "28d", "compare": "dates"}, {"range": "today"}):
        page = shown(query)
        assert page["compared"] == "" and {figure.change for figure in figures(page).values()} == {None}
        assert len(page["chart"].heads) == 3
    assert figures(shown(is_public=False))["visitors"].change is not None


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: next(iter(asked)))
def test_a_range_has_one_answer_whatever_else_is_asked(asked: dict[str, str]) -> None:
    """So what the test above finds of a page is all that can be had of its range."""
    small_site(5)
    page, plain = shown({**MARCH, **asked}), shown()
    assert page["state"] == plain["state"] and page["state"].query() == f"?{urlencode(MARCH)}"
    assert (tables(page), figures(page), page["chart"]) == (tables(plain), figures(plain), plain["chart"])
    assert len(page["refused"]) == 1
    text = text_of_public({**MARCH, **asked})
    assert page["refused"][0] in text
    assert re.findall(r'type="(?:search|date)"|pagestats-open-goal|Choose|_sort=|_p=|csv=|compare=', text) == []


DAYS = [
    ({"range": "free", "from": "2025-03-05", "to": "2025-04-01"}, "28d"),
    ({"range": "free", "from": "2025-03-02", "to": "2025-03-31"}, "28d"),
    ({"range": "free", "from": "2025-03-01", "to": "2025-04-30"}, "28d"),
    ({"range": "free", "from": "2025-02-01", "to": "2025-02-28"}, "free"),
    ({"range": "7d"}, "7d"),
]


@pytest.mark.parametrize(("query", "wanted"), DAYS)
def test_days_that_are_chosen_are_a_calendar_month(query: dict[str, str], wanted: str) -> None:
    """Of two ranges that differ by a day the difference would be that day, of each row."""
    insert_page_views([*visits("/", 9, AT - timedelta(days=70)), *visits("/", 9, AT)])
    page = shown(query)
    assert page["state"].range.name == wanted
    assert page["refused"] == (
        []
        if wanted == query["range"]
        else [
            "The days that were chosen cannot be shown, so these are others.",
            "Days that are chosen are a calendar month here.",
        ]
    )


def test_no_link_leads_to_what_is_not_to_be_had() -> None:
    insert_page_views([*visits("/", 9, AT - timedelta(days=70)), *visits("/", 9, AT)])
    for name, (before, after) in {
        "yesterday": ("", ""),
        "12m": ("", ""),
        "month": ("2025-03-01", ""),
        "last_month": ("2025-02-01", "2025-04-01"),
    }.items():
        menus = shown({"range": name})["menus"]
        assert [dict(parse_qsl(it[1:])).get("from", "") for it in (menus.before, menus.after)] == [before, after], name
        assert (menus.comparisons, menus.intervals) == ([], []) and not {"C", "X", "I", "/"} & {
            key for key, _ in menus.keys
        }
        for query in {menus.before, menus.after, *(item.query for item in menus.ranges)} - {""}:
            with scope_of(dict(parse_qsl(query[1:])), using="default", now=NOW, is_public=True) as scope:
                assert scope.state.query() == query
    assert dict(parse_qsl(shown()["menus"].before[1:]))["to"] == "2025-02-28"


# -- what is told, and what is not


@pytest.mark.parametrize("few", [1, 4])
def test_nobody_and_a_few_look_the_same(few: int) -> None:
    """A 0 here, and nothing there, would say where somebody was: in the totals, the chart and the tables."""
    insert_page_views(visits("/", 9, AT - timedelta(days=70)))
    nobody = [text_of_public(query) for query in (MARCH, {"range": "yesterday"})]
    insert_page_views(row for at in (AT, NOW - timedelta(days=1)) for row in visits("/secret/", few, at, each=9))
    with_few = [text_of_public(query) for query in (MARCH, {"range": "yesterday"})]
    assert [re.sub(r"\d+:\d+|\d+ [ap]\.m\.", "", text) for text in with_few] == [
        re.sub(r"\d+:\d+|\d+ [ap]\.m\.", "", text) for text in nobody
    ]
    page = shown()
    assert {figure.text for figure in figures(page).values()} == {"<5", "-"} and days_told(page) == {}
    assert page["active"] == "<5" and "Fewer than 5 visitors: no more is told." in with_few[0]


def test_five_are_told() -> None:
    insert_page_views(visits("/secret/", 5, AT, each=2))
    page = shown()
    assert {name: figure.text for name, figure in figures(page).items()} == {
        "page_views": "10",
        "visitors": "5",
        "visits": "5",
        "views_per_visit": "2.0",
        "single_page_visitors": "-",
    }
    assert list(days_told(page).values()) == [(10, 5)] and tables(page)["pages"] == {"/secret/": 5}
    assert "pages" in figures(shown(is_public=False)), "of the public's totals the number of pages is none"


def test_all_visitors_but_a_few_are_not_told() -> None:
    """Else what is left of the totals is what those few have."""
    insert_page_views([*visits("/", 30, AT), *visits("/docs/", 2, AT, each=9)])
    page = shown()
    assert figures(page)["single_page_visitors"].text == "-" and "pages" not in tables(page)
    assert figures(shown(is_public=False))["single_page_visitors"].text == "30"
    insert_page_views(visits("/blog/", 3, AT, each=2))
    page = shown()
    assert figures(page)["single_page_visitors"].text == "30" and tables(page)["pages"] == {"/": 30}, "five others"


def test_page_views_that_are_next_to_all_visits_are_not_told_beside_them() -> None:
    insert_page_views([*visits("/", 30, AT), ("/a/", "/0", AT, {})])
    told = figures(shown())
    assert (told["page_views"].text, told["visits"].text, told["views_per_visit"].text) == ("31", "-", "-")
    insert_page_views(("/a/", f"/{n}", AT, {}) for n in range(4))
    told = figures(shown())
    assert (told["page_views"].text, told["visits"].text, told["views_per_visit"].text) == ("35", "30", "1.2")


def test_who_is_active_now_is_not_next_to_all_of_the_range() -> None:
    now = datetime.now(timezone.utc)
    insert_page_views([*(("/", f"/{n}", now, {}) for n in range(6)), *visits("/old/", 2, now - timedelta(days=2))])

    def active(name: str, *, is_public: bool = True) -> str:
        return str(page_of({"range": name}, using="default", now=now, is_public=is_public)["active"])

    assert (active("7d"), active("7d", is_public=False)) == ("-", "6")
    insert_page_views(visits("/older/", 3, now - timedelta(days=2)))
    assert active("7d") == "6"


def test_who_is_active_now_is_not_next_to_all_of_today(settings: Any) -> None:
    """The last place of a chart by days: those who were there earlier today would be what is left."""
    now = datetime.now(timezone.utc)
    settings.PAGESTATS_TIME_ZONE = f"Etc/GMT{now.hour - 12:+d}"  # where it is noon
    insert_page_views([*(("/", f"/{n}", now, {}) for n in range(6)), *visits("/old/", 9, now - timedelta(days=2))])
    for earlier, text in (0, "6"), (2, "-"), (3, "6"):
        insert_page_views(("/", f"{earlier} {n}", now - timedelta(minutes=8), {}) for n in range(earlier))
        assert page_of({"range": "7d"}, using="default", now=now, is_public=True)["active"] == text


@pytest.mark.parametrize(("folded", "path"), [(0, "/docs/b/"), (99, "/docs/b/"), (0, "/blog/")])
def test_a_row_less_another_one_that_is_part_of_it_is_not_of_a_few(folded: int, path: str) -> None:
    """A section and its page; who saw next to nothing else of it would be what is left."""
    views = [*visits("/docs/a/", 12, AT), *visits("/", 20, AT), *visits(path, 3, AT), *visits("/other/", 4, AT)]
    fold_naively(insert_page_views(views)[:folded])
    page = shown()
    assert tables(page)["pages"] == {"/": 20, "/docs/a/": 12}
    assert ("docs" in tables(page).get("section", {})) == (path == "/blog/")


def test_a_section_less_all_of_its_pages_is_not_of_a_few() -> None:
    """Of the pages none is next to all of it."""
    views = [*visits("/docs/a/", 12, AT), *visits("/docs/b/", 9, AT), *visits("/", 20, AT)]
    insert_page_views([*views, *(view for n in range(5) for view in visits(f"/{n}/", 1, AT))])
    assert tables(shown())["section"] == {"docs": 21, "/": 20}
    insert_page_views(visits("/docs/c/", 3, AT))
    assert tables(shown())["pages"] == {"/": 20, "/docs/a/": 12, "/docs/b/": 9}
    assert tables(shown())["section"] == {"/": 20}


def test_a_page_less_all_of_a_list_that_are_within_it_is_not_of_a_few() -> None:
    """Who saw it with none of the devices that are seen there only."""
    insert_page_views(visits("/", 20, AT))
    of = ["tv"] * 12 + ["kiosk"] * 9 + ["console"] * 5
    insert_page_views(("/hall/", f"key{n}", AT, {"device": device}) for n, device in enumerate(of))
    assert tables(shown())["device"] == {"tv": 12, "kiosk": 9, "console": 5}
    insert_page_views(("/hall/", f"few{n}", AT, {}) for n in range(3))
    assert tables(shown())["device"] == {"tv": 12, "kiosk": 9}


@pytest.mark.parametrize("folded", [0, 25, 99])
def test_a_page_of_one_day_less_that_day_is_not_of_a_few(folded: int) -> None:
    """A page that is new: who was there on its day, and did not see it."""
    views = [*visits("/", 20, AT), *visits("/news/", 12, AT + timedelta(days=1))]
    fold_naively(insert_page_views(views)[:folded])
    assert tables(shown())["pages"] == {"/": 20, "/news/": 12}
    insert_page_views(("/", f"/{n}", AT + timedelta(days=1), {}) for n in range(3))
    assert tables(shown())["pages"] == {"/": 20}


@pytest.mark.parametrize("folded", [0, 20, 999])
def test_what_a_few_have_is_not_the_total_less_the_rows(folded: int) -> None:
    """Who knows the values that there may be would know it: so what comes before it is not told either."""

    def devices(few: int, name: str = "few") -> list[tuple[Any, ...]]:
        counts = {"desktop": 30, "mobile": 8, name: few}
        of = [(value, n) for value, count in counts.items() for n in range(count)]
        return [("/", f"{value}{n}", AT, {"device": value, "browser": f"{value}{n}"}) for value, n in of]

    def told() -> list[str]:
        return list(tables(shown())["device"])

    fold_naively(insert_page_views(devices(2))[:folded])
    assert told() == ["desktop"]
    assert "browser" not in tables(shown()), "each of one visitor"
    text = text_of_public()
    assert (
        "Nothing is told of:" in text and "Browsers" in text and "At most 8 rows, each of 5 visitors or more." in text
    )
    insert_page_views(("/", f"few{n}", AT, {"device": "few"}) for n in range(2, 4))
    assert told() == ["desktop"], "four"
    insert_page_views([("/", "another", AT, {"device": "tv"})])
    assert told() == ["desktop", "mobile"], "five of others together"
    insert_page_views([("/", "few4", AT, {"device": "few"})])
    assert told() == ["desktop", "mobile"], "one of others: now it is the fifth that is the last row"


def test_who_has_two_of_a_list_is_not_the_rows_less_the_total() -> None:
    views = [("/", f"key{n}", AT, {"device": "desktop" if n < 20 else "mobile"}) for n in range(30)]
    insert_page_views(views)
    assert tables(shown())["device"] == {"desktop": 20, "mobile": 10}
    insert_page_views([("/", "key0", AT, {"device": "mobile"})])
    assert tables(shown())["device"] == {"desktop": 20}, "11 and 20 are 31 of 30"
    insert_page_views(("/", f"key{n}", AT, {"device": "mobile"}) for n in range(1, 5))
    assert tables(shown())["device"] == {"desktop": 20, "mobile": 15}


PLACES = [
    ([9, 8, None, 7], 24, 0, [9, 8, None, 7]),
    ([9, 8, 0, 7], 24, 0, [9, 8, None, 7]),
    # the total less the others, of which the empty ones have five at least, and no more than the least that is told
    ([30, 20, 3, 17], 70, 0, [30, 20, None, None]),
    ([30, 12, 3, 10], 55, 0, [30, None, None, None]),  # 10 to 12 less 13: one to three
    ([30, 20, 3, 5], 58, 0, [30, None, None, None]),  # 8 less five at least: three at most
    ([30, 20, 3, 17, 4], 74, 0, [30, None, None, None, None]),  # 24 less 20: four, or more in both
    ([30, 20, 3, 19, 4, 4], 80, 0, [30, 20, None, None, None, None]),  # 30 less 20 are ten of several places
    ([5, 3, 12, 5, 9], 34, 0, [None, None, 12, None, None]),
    ([9, 3], 12, 0, [None, None]),
    ([3, 4], 7, 0, [None, None]),
    # of all but a few
    ([9, 30], 32, 0, [9, None]),
    ([30, 30], 30, 0, [30, 30]),
    # of years before those of the chart
    ([19, 18, 10], 49, 2, [19, 18, None]),
    ([9, 8], 19, 2, [None, None]),
    ([9, 8], 22, 5, [9, 8]),
    ([], 2, 2, []),
]


@pytest.mark.parametrize(("visitors", "everybody", "beside", "told"), PLACES)
def test_which_places_of_a_chart_are_told(
    visitors: list[int | None], everybody: int, beside: int, told: list[int | None]
) -> None:
    are_told = places_told(visitors, everybody, beside=beside)
    assert [it if is_told else None for it, is_told in zip(visitors, are_told, strict=True)] == told


def test_the_chart_leaves_out_what_was_before_it_only_with_another_month() -> None:
    """It begins later than all time; "a few page views are of before" would be the total less its months."""
    early = datetime(2011, 1, 2, tzinfo=timezone.utc)
    insert_page_views([("/old/", "old", early), *visits("/a/", 60, AT), *visits("/b/", 50, AT - timedelta(days=40))])
    page = shown({"range": "all"})
    assert page["begins"] and list(days_told(page).values()) == [(60, 60)]
    insert_page_views(("/old/", f"old{n}", early) for n in range(4))
    page = shown({"range": "all"})
    assert page["begins"] and list(days_told(page).values()) == [(50, 50), (60, 60)]


@given(st.lists(st.integers(0, 30), min_size=2, max_size=8), st.integers(0, 30))
def test_no_chart_tells_what_a_single_place_of_a_few_has(visitors: list[int], beside: int) -> None:
    """Whoever knows how the others are chosen finds that it might have one, two, three or four."""
    everybody = sum(visitors) + beside  # as of the policy "daily", by which visitors of days add up
    are_told = places_told(visitors, everybody, beside=beside)
    empty = [it for it, is_told in zip([*visitors, beside], [*are_told, False], strict=True) if not is_told and it]
    few, others = [it for it in empty if it < FEW], [it for it in empty if it >= FEW]
    if len(few) != 1 or not any(are_told) or beside >= FEW:
        return
    together, least = sum(empty), min(it for it, is_told in zip(visitors, are_told, strict=True) if is_told)
    may_be = [it for it in range(1, FEW) if FEW * len(others) <= together - it <= least * len(others)]
    assert may_be == [1, 2, 3, 4]


# -- what else the public is not told


def test_statements_hardly_grow_with_rows() -> None:
    """Anybody may ask for it."""

    def asked() -> int:
        text_of_public()
        with CaptureQueriesContext(connection) as captured:
            text_of_public()
        return len(captured)

    def fold(views: Iterable[tuple[Any, ...]]) -> None:
        insert_page_views(views)
        folding.keep_up("default", seconds=60)

    fold(row for at in (AT - timedelta(days=28), AT) for n in range(12) for row in visits(f"/{n}/", 6, at))
    of_few = asked()
    fold((f"/{n % 400}/", f"key{n}", AT) for n in range(4_000))
    # two for each portion of pages whose visitors decide what comes first
    assert asked() <= of_few + 4 <= 75


def test_where_too_many_page_views_came_in_meanwhile_there_are_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise TailTooLongError("since")

    insert_page_views(visits("/", 9, AT))
    monkeypatch.setattr(told, "visitors_by_day", fail)
    page = shown()
    assert tables(page) == {} and figures(page)["visitors"].text == "9"


def test_the_public_is_not_told_how_to_run_the_site(settings: Any) -> None:
    fold_naively(insert_page_views(visits("/", 9, AT)), dimensions=None)
    insert_page_views(visits("/", 9, AT))
    texts = [text_of_public()]
    settings.PAGESTATS_TAIL_LIMIT = 3
    texts.append(text_of_public())
    for text in texts:
        assert re.findall("manage.py|fold|backfill|rebuild|to go", text) == []
    assert "Exact as of" in texts[0] and "The last page views are not counted yet." in texts[1]
    assert "Not counted in these days." in texts[0]
    # and of days without page views not when somebody was here last
    settings.PAGESTATS_TAIL_LIMIT = 1_000
    assert shown({"range": "today"})["empty"] is None
