"""What anybody is told where the dashboard is public, and that none of it is of a few visitors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from django_pagestats import folding
from django_pagestats.dashboard.page import page_of
from django_pagestats.views import DashboardView
from tests.factories import insert_page_views
from tests.stats_oracle import fold_naively

NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
MARCH = {"range": "free", "from": "2025-03-05", "to": "2025-04-01"}
AT = datetime(2025, 3, 20, 10, tzinfo=timezone.utc)
BEFORE = AT - timedelta(days=28)
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


@pytest.fixture(autouse=True)
def recorded_long_ago(transactional_db: None) -> None:
    """So that the days before were recorded, too: else nothing is compared."""
    insert_page_views([("/old/", "old", BEFORE - timedelta(days=60))])


def test_a_page_that_one_visitor_saw_before_has_no_change() -> None:
    """However many page views she made of it."""
    insert_page_views([*visits("/doc/", 8, AT), *visits("/doc/", 1, BEFORE, each=12), *visits("/", 9, BEFORE)])
    (row,) = shown()["pages"].rows
    assert (row.value, row.visitors, row.change, row.line) == ("/doc/", "8", None, "")
    (row,) = [row for row in shown(is_public=False)["pages"].rows if row.value == "/doc/"]
    assert row.change.before == "12" and "polyline" in row.line


def test_many_visits_of_a_few_visitors_before_are_not_told() -> None:
    insert_page_views([*visits("/", 30, AT), *visits("/", 2, BEFORE)])
    insert_page_views(("/", "/0", BEFORE + timedelta(minutes=n), ARRIVAL) for n in range(20))
    told = figures(shown())
    assert {name for name, figure in told.items() if figure.change is not None} == set()
    assert (told["visits"].text, told["pages"].text) == ("30", "1")
    assert figures(shown(is_public=False))["visits"].change.before == "22"


def test_nothing_is_told_of_a_day_of_one_visitor() -> None:
    insert_page_views((f"/{name}/", "alone", AT, ARRIVAL) for name in "abcdab")
    day = {"range": "yesterday"}
    page = page_of(day, using="default", now=AT + timedelta(days=1), is_public=True)
    told = {name: figure.text for name, figure in figures(page).items()}
    assert told.pop("visitors") == "<5" and set(told.values()) == {"-"}
    assert page["pages"].rows == []
    text = text_of_public()
    assert "Only pages that 5 visitors or more saw are listed." in text and "/a/" not in text
    assert "Where fewer than 5 visitors were, nothing is shown" in text
    page = page_of(day, using="default", now=AT + timedelta(days=1))
    assert len(page["pages"].rows) == 4 and figures(page)["visits"].text == "6"


def test_all_visitors_but_a_few_are_not_told() -> None:
    """Else what is left of the totals is what those few have."""
    insert_page_views([*visits("/", 30, AT), *visits("/docs/", 2, AT, each=9)])
    assert figures(shown())["single_page_visitors"].text == "-"
    assert figures(shown(is_public=False))["single_page_visitors"].text == "30"


def test_the_list_has_all_pages_of_many_visitors_and_no_other() -> None:
    views = [(f"/{n}/", f"key{k}", AT) for n in range(40) for k in range(1 + n % 23)]
    fold_naively(insert_page_views([*views, *[("/few/", "alone", AT)] * 99])[:300])
    wanted = sorted((1 + n % 23 for n in range(40) if n % 23 >= 4), reverse=True)
    pages = [shown({**MARCH, "pages_p": str(number)})["pages"] for number in (1, 2, 3, 4, 5)]
    assert [int(row.visitors) for page in pages[:4] for row in page.rows] == wanted
    assert len({row.value for page in pages[:4] for row in page.rows}) == len(wanted)
    assert [bool(page.older) for page in pages[:4]] == [True, True, True, False]
    assert pages[4].page == 1, "a page that is not there"
    assert shown({**MARCH, "pages_q": "/few/"})["pages"].rows == []
    assert text_of_public({**MARCH, "pages_q": "/few/"}).count("/few/") == text_of_public(
        {**MARCH, "pages_q": "/nil/"}
    ).count("/nil/"), "nor whether there is such a page"


@pytest.mark.parametrize("folded", [0, 20, 999])
def test_what_a_few_have_is_not_the_total_less_the_rows(folded: int) -> None:
    """Who knows the values that there may be would know it: so what comes before it is not told either."""

    def devices(few: int, name: str = "few") -> list[tuple[Any, ...]]:
        counts = {"desktop": 30, "mobile": 8, name: few}
        of = [(value, n) for value, count in counts.items() for n in range(count)]
        return [("/", f"{value}{n}", AT, {"device": value, "browser": f"{value}{n}"}) for value, n in of]

    def told(**query: str) -> dict[str, list[str]]:
        return {
            table.kind.name: [row.value for row in table.rows] for table in shown({**MARCH, **query})["panels"].tables
        }

    fold_naively(insert_page_views(devices(2))[:folded])
    assert told()["device"] == ["desktop"] == told(device_q="m", device_sort="value")["device"]
    assert told(device_p="2")["device"] == ["desktop"]
    assert len({row.value for row in _table("device", is_public=False).rows}) == 3
    assert "Nothing that 5 visitors or more have: Channels, Sources" in text_of_public()
    insert_page_views(("/", f"few{n}", AT, {"device": "few"}) for n in range(2, 4))
    assert told()["device"] == ["desktop"], "four"
    insert_page_views([("/", "another", AT, {"device": "tv"})])
    assert told()["device"] == ["desktop", "mobile"], "five of others together"
    insert_page_views([("/", "few4", AT, {"device": "few"})])
    assert told()["device"] == ["desktop", "mobile"], "one of others: now it is the fifth that is the last row"
    assert "browser" not in told(), "each of one visitor"


def _table(name: str, *, is_public: bool = True) -> Any:
    (found,) = [table for table in shown(is_public=is_public)["panels"].tables if table.kind.name == name]
    return found


@pytest.mark.parametrize("folded", [0, 20, 999])
def test_a_channel_of_the_public_tells_nothing_but_what_its_sources_do(folded: int) -> None:
    counts = {"google.com": 20, "bing.com": 9, "yandex.ru": 3, "t.co": 8, "x.com": 4, "chatgpt.com": 2, "a.example": 6}
    of = [(source, n) for source, count in counts.items() for n in range(count)]
    views = [("/", f"{source}{n}", AT, {"source": source}) for source, n in of]
    views += [("/", "google.com1", AT, {"source": "bing.com"})]
    fold_naively(insert_page_views(views)[:folded])
    table, sources = _table("channels"), _table("source")
    assert [(row.value, row.page_views, row.visitors) for row in table.rows] == [
        ("search", "30", "29"),
        ("social", "8", "8"),
        ("link", "6", "6"),
    ]
    assert sum(int(row.page_views) for row in table.rows) == sum(int(row.page_views) for row in sources.rows)
    assert table.change is None and {row.line for row in table.rows} == {""} and not table.csv
    assert [row.page_views for row in _table("channels", is_public=False).rows] == ["33", "12", "6", "2"]


QUERIES = [
    ({"range": "free", "from": "2025-03-20", "to": "2025-03-25"}, "?range=28d"),
    ({"range": "free", "from": "2025-03-20", "to": "2025-03-26"}, "?range=free&from=2025-03-20&to=2025-03-26"),
    ({"range": "7d", "compare": "free", "compare_from": "2025-03-20", "compare_to": "2025-03-20"}, "?range=7d"),
    ({"range": "7d", "compare": "year", "pages_sort": "path"}, "?range=7d&compare=year"),
]


@pytest.mark.parametrize(("query", "wanted"), QUERIES)
def test_ranges_of_a_few_days_cannot_be_chosen(query: dict[str, str], wanted: str) -> None:
    insert_page_views([*visits("/", 9, BEFORE), *visits("/", 9, AT)])
    page = shown(query)
    assert page["state"].query() == wanted
    assert bool(page["refused"]) == (
        query["range"] not in wanted or not {"compare_from", "pages_sort"}.isdisjoint(query)
    )
    assert shown(query, is_public=False)["state"].query().startswith("?range=" + query["range"])
    queries = {page["menus"].before, page["menus"].after, *(item.query for item in page["menus"].ranges)}
    assert {shown(dict(part.split("=") for part in it[1:].split("&")))["state"].query() for it in queries if it} == {
        it for it in queries if it
    }, "no link leads to what is not to be had"
    assert "compare_from" not in text_of_public(query)


def test_a_search_of_values_is_said_to_be_left_out() -> None:
    fold_naively(insert_page_views([("/", "key", AT, {"source": "bing.com"})]))
    for query, told in (({"source_q": "b"}, ["Only pages can be searched for here"]), ({"pages_q": "/a"}, [])):
        assert [it.partition(":")[0] for it in shown({"range": "7d", **query})["refused"]] == told


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

    fold(row for at in (BEFORE, AT) for n in range(12) for row in visits(f"/{n}/", 6, at))
    of_few = asked()
    fold((f"/{n % 400}/", f"key{n}", AT) for n in range(4_000))
    # two for each portion of pages whose visitors decide what comes first
    assert asked() <= of_few + 4 <= 75


def test_yesterday_leads_to_no_other_day() -> None:
    insert_page_views([*visits("/", 9, BEFORE), *visits("/", 9, AT)])
    menus = shown({"range": "yesterday"})["menus"]
    assert (menus.before, menus.after) == ("", "")


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
    assert shown({"range": "today"})["empty"].day == ""
