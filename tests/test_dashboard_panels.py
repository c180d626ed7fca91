"""The panels of dimensions, compared with a naive count: rows, shares, changes, people, and CSV."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.figures import totals_of
from django_pagestats.dashboard.left_out import WORDS
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.panels import panels_of
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.dimensions import section
from django_pagestats.headers.channels import channel_of
from django_pagestats.models import LeftOut, Reason
from django_pagestats.stats import group_rows
from django_pagestats.views import DashboardView
from tests.factories import Row, fold, insert_page_views, make_page_views
from tests.stats_oracle import fold_naively

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_turn(1)]

NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
AT = datetime(2025, 3, 20, 10, tzinfo=timezone.utc)
MARCH = {"range": "free", "from": "2025-03-05", "to": "2025-04-01"}
START, END = date(2025, 3, 5), date(2025, 4, 2)
BEFORE = date(2025, 2, 5)
HOSTILE = [
    '"><script>alert(1)</script>',
    "x" * 255,
    "😀",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "=cmd|' /C calc'!A0",
    "//elsewhere.example/",
    "javascript:alert(1)",
]


def attribute(name: str) -> Callable[[Row], str | None]:
    return lambda row: (row.attributes or {}).get(name)


def entry(row: Row) -> str | None:
    return row.path if attribute("source")(row) else None


VALUES: dict[str, Callable[[Row], str | None]] = {
    **{name: attribute(name) for name in ("source", "campaign", "country", "browser", "device")},
    "channels": lambda row: channel_of(source) if (source := attribute("source")(row)) else None,
    "entry": entry,
    "section": lambda row: section(row.path),
}
OF_VISITS = {"channels", "source", "campaign", "entry"}


def shown(query: dict[str, str] | None = None, *, is_public: bool = False) -> dict[str, Any]:
    return page_of({**MARCH, **(query or {})}, using="default", now=NOW, is_public=is_public)


def panels(query: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    return {table.kind.name: table for table in shown(query, **options)["panels"].tables}


def rendered(query: dict[str, str]) -> str:
    return render_to_string("django_pagestats/dashboard/panels.html", shown(query))


def number(text: str) -> int:
    return int(text.replace(",", ""))


def within(row: Row, start: date, end: date) -> bool:
    return start <= row.viewed_at.date() < end


@pytest.fixture
def rows(db: None) -> list[Row]:
    """Two thirds of them are folded; one is of before what these are compared with."""
    begin = datetime(2025, 2, 3, tzinfo=timezone.utc)
    found = insert_page_views([("/old", "key", begin)])
    for seed in (1, 2, 3):
        if seed == 3:
            fold()
        found += make_page_views(700, seed=seed, paths=40, visitors=90, days=56, start=begin, with_attributes=True)
    return found


# -- the numbers


def test_each_panel_agrees_with_the_page_views(rows: list[Row]) -> None:
    now = [row for row in rows if within(row, START, END)]
    then = [row for row in rows if within(row, BEFORE, START)]
    visits = sum("source" in (row.attributes or {}) for row in now)
    found = panels()
    assert list(found) == ["channels", "source", "campaign", "entry", "section", "country", "browser", "device"]
    for name, value_of in VALUES.items():
        table, base = found[name], visits if name in OF_VISITS else len(now)
        views, before = Counter(map(value_of, now)), Counter(map(value_of, then))
        for counted in (views, before):
            counted.pop(None, None)
        assert [number(row.page_views) for row in table.rows] == sorted(views.values(), reverse=True)[:8]
        people = {row.session_key for row in now if value_of(row) in {it.value for it in table.rows}}
        for row in table.rows:
            keys = {it.session_key for it in now if value_of(it) == row.value}
            assert (number(row.page_views), number(row.visitors)) == (views[row.value], len(keys))
            assert row.share == f"{100 * views[row.value] / base:.1f} %"
            assert number(row.change.before) == before[row.value] and "polyline" in row.line
        seen = sum(number(row.visitors) for row in table.rows)
        more = (
            f"Rows {seen:,}, people {len(people):,}: {seen - len(people):,} more because they are in several of these."
        )
        assert table.people == (more if seen > len(people) else "")
    assert sum(number(row.page_views) for row in found["source"].rows) == visits
    heads = {name: str(table.heads[1].label) for name, table in found.items()}
    assert {name for name, label in heads.items() if label == "Visits"} == OF_VISITS


def test_sorted_by_change_searched_and_turned_it_is_the_same_list(rows: list[Row]) -> None:
    now = Counter(entry(row) for row in rows if within(row, START, END))
    then = Counter(entry(row) for row in rows if within(row, BEFORE, START))
    del now[None]
    most = sorted(((now[it] - then[it], now[it]) for it in now), reverse=True)
    for sort, wanted in (("-change", most), ("change", most[::-1])):
        pages = [panels({"entry_sort": sort, "entry_p": str(page)})["entry"] for page in range(1, 99) if page <= 4]
        seen = [row.value for page in pages for row in page.rows][: len(most)]
        assert [(now[it] - then[it], now[it]) for it in seen] == wanted[: len(seen)] and len(seen) > 20
        assert pages[0].change.sorted == ("descending" if sort == "-change" else "ascending")
    found = panels({"entry_q": "/b", "entry_sort": "value", "source_q": "none"})
    assert [row.value for row in found["entry"].rows] == sorted(it for it in now if it and it.startswith("/b"))[:8]
    assert found["source"].rows == [] and "Nothing in these days begins with “none”." in rendered({"source_q": "none"})


def test_the_csv_of_a_dimension_has_all_its_values(rows: list[Row]) -> None:
    now = Counter(row.path for row in rows if within(row, START, END) and entry(row))
    made = table_csv({**MARCH, "entry_sort": "-change"}, "entry", using="default", now=NOW)
    assert made is not None and made[0] == "entry-2025-03-05-2025-04-01.csv"
    with made[1] as file:
        lines = list(csv.reader(io.StringIO(file.read().decode("utf-8-sig"), newline="")))
    head = " ".join(line[0] for line in lines if line[0].startswith("# "))
    assert "Entry pages from 2025-03-05" in head and "visits, page views that did not come" in head
    columns, *found = (line for line in lines if not line[0].startswith("# "))
    assert columns == ["value", "page_views", "visitors", "page_views_before"]
    assert {row[0]: int(row[1]) for row in found} == now
    gains = [int(row[1]) - int(row[3]) for row in found]
    assert gains == sorted(gains, reverse=True)
    assert table_csv(MARCH, "nothing", using="default", now=NOW) is None


SOURCES = ["google.com", "google.de", "bing", "t.co", "(direct)", "(other)", "newsletter", "spring", "chatgpt.com"]
SOURCES += [f"site-{n}.example" for n in range(30)]


def channel_views(count: int, seed: int) -> list[Row]:
    """Of visitors who come by several sources, in the range and before it."""
    rng = random.Random(seed)
    begin = datetime(2025, 2, 5, tzinfo=timezone.utc)
    return insert_page_views(
        (
            "/",
            f"key{rng.randrange(60)}",
            begin + timedelta(hours=rng.randrange(56 * 24)),
            {"source": rng.choice(SOURCES)},
        )
        for _ in range(count)
    )


@pytest.mark.parametrize("is_all_time", [False, True])
def test_channels_are_the_exact_union_of_their_sources(monkeypatch: pytest.MonkeyPatch, is_all_time: bool) -> None:
    """Read in several portions, with a tail."""
    monkeypatch.setattr(group_rows, "FIRST_SETS_PER_STATEMENT", 7)
    monkeypatch.setattr(group_rows, "FEWEST_SETS_PER_STATEMENT", 5)
    monkeypatch.setattr(group_rows, "BYTES_PER_STATEMENT", 300)
    rows = insert_page_views([("/", "old", datetime(2025, 2, 1, tzinfo=timezone.utc))]) + channel_views(400, 1)
    fold()
    rows += channel_views(80, 2)
    query = {"range": "all"} if is_all_time else {}
    table = panels(query)["channels"]
    keys: dict[str, list[str]] = {}
    before: Counter[str] = Counter()
    for row in rows:
        if (source := attribute("source")(row)) is None:
            continue
        if is_all_time or within(row, START, END):
            keys.setdefault(channel_of(source), []).append(row.session_key)
        elif within(row, BEFORE, START):
            before[channel_of(source)] += 1
    assert len(keys) == 8
    found = {row.value: (number(row.page_views), number(row.visitors)) for row in table.rows}
    assert found == {channel: (len(them), len(set(them))) for channel, them in keys.items()}
    assert [number(row.page_views) for row in table.rows] == sorted(map(len, keys.values()), reverse=True)
    people, seen = len({key for them in keys.values() for key in them}), sum(len(set(them)) for them in keys.values())
    assert table.people.startswith(f"Rows {seen}, people {people}:") and str(table.heads[1].label) == "Visits"
    assert {row.name.text for row in table.rows} >= {"Search", "AI assistants", "E-mail", "Direct"}
    if not is_all_time:
        assert {row.value: number(row.change.before) for row in table.rows} == {it: before[it] for it in keys}
        gains = {channel: len(them) - before[channel] for channel, them in keys.items()}
        order = [row.value for row in panels({"channels_sort": "-change"})["channels"].rows]
        assert [gains[channel] for channel in order] == sorted(gains.values(), reverse=True)
    made = table_csv({**MARCH, **query, "channels_sort": "-visitors"}, "channels", using="default", now=NOW)
    assert made is not None
    with made[1] as file:
        lines = [line for line in csv.reader(io.StringIO(file.read().decode("utf-8-sig"))) if line[0] in keys]
    assert {line[0]: (int(line[1]), int(line[2])) for line in lines} == found
    assert [int(line[2]) for line in lines] == sorted((it[1] for it in found.values()), reverse=True)


# -- names and values


def twice(path: str) -> str:
    return path * 2


def test_names_of_dimensions_are_no_other_parameters(settings: Any) -> None:
    """Nor is what is shown that of another table."""
    names = ["pages", "channels", "from", "range", "compare", "csv", "pages_p", "a_sort"]
    settings.PAGESTATS_DIMENSIONS = dict.fromkeys(names, f"{__name__}.twice")
    insert_page_views((f"/{n}", f"key{n}", AT) for n in range(30))
    query = {"pages_p": "2", "-pages_p": "3", "from_sort": "value", "pages_p_q": "/1", "interval": "week"}
    page = shown(query)
    found = {table.kind.dimension: table for table in page["panels"].tables}
    assert sorted(found) == sorted(names)
    assert (page["pages"].page, found["pages"].page, found["channels"].page) == (2, 3, 1)
    assert found["pages"].rows[0].value == found["pages"].rows[0].value[:3] * 2
    assert found["pages_p"].search == "/1" and len(found["pages_p"].rows) == 8
    assert page["state"].range.name == "free" and page["state"].interval == "week"
    assert {**MARCH, **query} == page["state"].parameters()
    assert str(found["a_sort"].kind.title) == "A sort"


def test_hostile_values_are_text() -> None:
    insert_page_views(
        (f"/{n}", f"key{n}", AT, {"source": value, "country": value[:2]}) for n, value in enumerate(HOSTILE)
    )
    text = rendered({})
    assert "<script" not in text and "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe</span>" not in text and "[U+202E]gpj" in text
    assert 'href="javascript' not in text and 'href="//' not in text and "style=" not in text
    assert {row.value for row in panels()["source"].rows} == set(HOSTILE)
    made = table_csv(MARCH, "source", using="default", now=NOW)
    assert made is not None
    with made[1] as file:
        cells = [line[0] for line in csv.reader(io.StringIO(file.read().decode("utf-8-sig"), newline=""))]
    assert "'=cmd|' /C calc'!A0" in cells and not [cell for cell in cells if cell.startswith("=")]


def test_values_have_the_names_that_readers_know(settings: Any) -> None:
    attributes = {"source": "(direct)", "device": "mobile", "language": "de", "country": "AT"}
    odd = {"source": "direct", "device": "watch", "language": "gsw", "country": "EUR"}
    insert_page_views([("/", "a", AT, attributes), ("/x/?y=1", "b", AT, odd)])
    found = {name: {row.value: row.name for row in table.rows} for name, table in panels().items()}
    assert [found[name][value].text for name, value in attributes.items()] == [
        "Direct, or not known",
        "Phone",
        "German",
        "AT",
    ]
    assert [found[name][value].text for name, value in odd.items()] == ["direct", "watch", "gsw", "EUR"]
    codes = {value: name.code for them in found.values() for value, name in them.items() if name.code}
    assert codes == {"AT": "region", "gsw": "language"}
    assert {name.href for name in found["entry"].values()} == {"/", "/x/?y=1"}
    assert {name.href for name in found["section"].values()} == {""}


# -- what there is not


def test_what_has_nothing_and_what_is_not_counted_yet_is_told_once(settings: Any) -> None:
    fold_naively(insert_page_views([("/", "key", AT, {"browser": "Firefox"})]))
    text = rendered({})
    assert (
        "Nothing in these days: Channels, Sources, Campaigns, Entry pages, Countries, Systems, Devices, Languages."
        in text
    )
    settings.PAGESTATS_DIMENSIONS = {"browser": "browser", "author": f"{__name__}.twice", "signed_in": "signed_in"}
    text = rendered({})
    assert text.count("Not counted in these aggregates yet: Author, Signed in.") == 1
    assert "--rebuild" not in render_to_string("django_pagestats/dashboard/panels.html", shown(is_public=True))


def test_aggregates_of_before_there_were_dimensions_have_no_panels_and_say_so_once() -> None:
    fold_naively(insert_page_views([("/", "key", AT, {"browser": "Firefox"})]), dimensions=None)
    text = rendered({})
    assert "<table" not in text and text.count("Not counted in these aggregates yet: Sources, Campaigns,") == 1


def failing(path: str) -> str:
    raise LookupError(path)


def test_a_function_that_fails_spoils_its_own_panel_only(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"bad": f"{__name__}.failing", "section": "django_pagestats.dimensions.section"}
    insert_page_views([("/blog/", f"key{n}", AT) for n in range(9)])
    assert list(panels()) == ["section"] and "Bad cannot be shown: The dimension bad:" in rendered({})
    response = DashboardView.as_view(public=True)(RequestFactory().get("/open/", MARCH))
    response.render()  # type: ignore[attr-defined]
    assert "LookupError" not in response.content.decode() and "section" in response.content.decode()


def test_what_was_left_out_is_told_in_words_with_the_counts_of_the_range() -> None:
    insert_page_views([("/", "key", AT)] * 3)
    days = [date(2025, 3, 4), date(2025, 3, 5), date(2025, 4, 1), date(2025, 4, 2)]
    LeftOut.objects.bulk_create(LeftOut(day=day, reason="robot", count=10**place) for place, day in enumerate(days))
    more = [("staff", 7), ("new_value", 3), ("of_a_newer_release<b>", 2), ("dnt", 0)]
    LeftOut.objects.bulk_create(LeftOut(day=days[1], reason=reason, count=count) for reason, count in more)
    panel = shown()["left_out"]
    assert panel.page_views == [
        ("Robots, which say so or ask as only robots do", "110"),
        ("Staff that is signed in", "7"),
        ("of_a_newer_release<b>", "2"),
    ]
    assert panel.attributes == [("Values that were one too many that day", "3")]
    assert panel.sum == "Page views left out: 119. Page views counted: 3."
    assert shown({"range": "all"})["left_out"].page_views[0][1] == "1,111"
    assert "left_out" not in shown(is_public=True) and shown({"range": "today"})["left_out"] is None
    assert "of_a_newer_release&lt;b&gt;" in rendered({}), "as text"
    assert set(WORDS) == set(Reason.values), "each reason has words"
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    query = "&".join(f"{name}={value}" for name, value in MARCH.items())
    text = client.get(f"/admin/django_pagestats/dashboard/?{query}").content.decode()
    assert 'href="/admin/django_pagestats/leftout/"' in text.partition('id="pagestats-left-out"')[2]


# -- how much it asks


def test_a_panel_asks_at_most_12_statements_and_no_more_for_more_rows() -> None:
    def asked(query: Iterable[tuple[str, str]] = ()) -> dict[str, int]:
        """Statements of each panel, with a tail."""
        found = {}
        with scope_of({**MARCH, **dict(query)}, using="default", now=NOW, is_public=False) as scope:
            totals = totals_of(scope)
            for kind in scope.kinds:
                with CaptureQueriesContext(connection) as captured:
                    panels_of(scope, totals, [kind])
                found[kind.name] = len(captured)
        return found

    def views(count: int) -> list[tuple[Any, ...]]:
        source = [{"source": f"s{n}", "campaign": f"c{n}", "country": f"{n}"} for n in range(count)]
        return [(f"/{n}/", f"key{n}", AT - timedelta(days=28 * (n % 2)), source[n]) for n in range(count)]

    insert_page_views([("/old", "key", AT - timedelta(days=90)), *views(24)])
    fold()
    insert_page_views(views(3))
    few, sorted_few = asked(), asked([("source_sort", "-change"), ("entry_q", "/1")])
    insert_page_views(views(900))
    fold()
    insert_page_views(views(30))
    many, sorted_many = asked(), asked([("source_sort", "-change"), ("entry_q", "/1")])
    assert {name for name in few if many[name] > few[name] or sorted_many[name] > sorted_few[name]} == set()
    assert max([*many.values(), *sorted_many.values()]) <= 12
