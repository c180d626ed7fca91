"""The read API compared with `stats`, what it refuses, and what it costs; who may ask: tests/test_api_access.py."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from hypothesis import given, strategies
from hypothesis.extra.django import TestCase

from django_pagestats import stats
from django_pagestats.api.operations import OPERATIONS
from django_pagestats.models import Generation, PageView
from testproject.urls import urlpatterns as urls_of_site
from tests.factories import Row, fold, insert_page_views, make_page_views
from tests.stats_oracle import clean, fold_naively

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.test_api"), pytest.mark.in_turn(2)]

urlpatterns = [
    *urls_of_site,
    path("numbers/", include("django_pagestats.api.urls")),
    path("numbers/of-the-site", lambda request: HttpResponse("its own")),
]

API = "/numbers/"
MARCH = {"start": "2025-03-05", "end": "2025-04-01"}
BOUNDS = {"start": date(2025, 3, 5), "end": date(2025, 4, 1)}
HOSTILE = [
    '/"><script>alert(1)</script>',
    "/" + "x" * 2_047,
    "/😀/",
    "/\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "=cmd|' /C calc'!A0",
    "'quoted",
    '/a,b;c"d\n',
    "-1+1",
    "/%2e/?q=ä&b=1#c",
    "/ with spaces ",
]


@pytest.fixture
def rows(no_settling: None) -> list[Row]:
    """Most of them folded, the hostile ones not."""
    found = make_page_views(1_500, paths=40, visitors=150, with_attributes=True)
    fold()
    return found + insert_page_views(
        (path, f"key{n}", datetime(2025, 3, 20, tzinfo=timezone.utc)) for n, path in enumerate(HOSTILE * 2)
    )


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def body(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "application/json"
    return dict(response.json())


def table(response: Any) -> list[dict[str, str]]:
    assert response["Content-Type"] == "text/csv; charset=utf-8", response.content
    head, *found = csv.reader(io.StringIO(response.content.decode(), newline=""))
    return [dict(zip(head, row, strict=True)) for row in found]


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    found = dict(response.json())
    assert found["status"] == status and found["title"] and found["detail"]
    return found


def listed(client: Client, name: str, limit: int, **question: str) -> list[tuple[str, int, int]]:
    """All rows of a list, part by part, by the URLs of its Link headers."""
    found = []
    response = client.get(API + name, {**question, "limit": limit})
    while True:
        part = body(response)
        assert len(part["rows"]) <= limit
        found += [tuple(row.values()) for row in part["rows"]]
        if part["next"] is None:
            assert "Link" not in response
            return found
        url, _, relation = response["Link"].partition("; ")
        assert relation == 'rel="next"'
        response = client.get(url.strip("<>"))


# -- the answers


@pytest.mark.parametrize("bounds", [{}, MARCH], ids=["all", "march"])
def test_answers_are_those_of_stats(rows: list[Row], client: Client, bounds: dict[str, str]) -> None:
    of = BOUNDS if bounds else {}
    summary = stats.summary(**of)
    assert body(client.get(API + "summary", bounds)) == {
        "time_zone": "UTC",
        "page_views": summary.page_views,
        "visitors": summary.visitors,
        "visits": stats.count_visits(**of),
        "single_page_visitors": stats.count_single_page_visitors(**of),
        "paths": summary.paths,
        "first_viewed_at": summary.first_viewed_at.isoformat().replace("+00:00", "Z"),
        "pending": 2 * len(HOSTILE),
        "pending_is_exact": True,
    }
    asked = [rows[0].path, "/nobody/", *HOSTILE]
    pages = body(client.get(API + "pages", {**bounds, "path": asked}))["rows"]
    assert [tuple(row.values()) for row in pages] == [
        (it, stats.count_page_views(it, **of), stats.count_unique_visitors(it, **of), stats.count_visits(it, **of))
        for it in asked
    ]
    assert pages[0]["visits"] > 0 and pages[1]["page_views"] == 0 and pages[2]["page_views"] == 2
    top = [(it.path, it.page_views, it.visitors) for it in stats.top_pages(1_000, **of)]
    assert len(top) > 40
    assert listed(client, "top_pages", 1_000, **bounds) == top
    assert listed(client, "top_pages", 7, **bounds) == top
    assert listed(client, "top_pages", 7, order="value", **bounds) == sorted(top)
    for prefix in ("/docs/", "/d", "/", "=", HOSTILE[0], "/nobody", "/\N{SNOWMAN}"):
        some = [row for row in top if row[0].startswith(prefix)]
        assert listed(client, "top_pages", 3, prefix=prefix, **bounds) == some
        assert listed(client, "top_pages", 3, prefix=prefix, order="value", **bounds) == sorted(some)
    for dimension in stats.dimensions():
        values = [(it.value, it.page_views, it.visitors) for it in stats.top(dimension.name, 1_000, **of)]
        question = {"dimension": dimension.name, **bounds}
        assert listed(client, "top", 3, **question) == values
        assert listed(client, "top", 3, order="value", **question) == sorted(values)
    dimensions = body(client.get(API + "dimensions"))["rows"]
    assert [row["name"] for row in dimensions] == [it.name for it in stats.dimensions()]
    assert body(client.get(API + "visitor_policy", bounds))["rows"] == []


def test_a_series(rows: list[Row], client: Client) -> None:
    def points(**question: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in body(client.get(API + "time_series", {**MARCH, **question}))["rows"]]

    for question, of in (
        ({}, {}),
        ({"path": rows[0].path}, {"path": rows[0].path}),
        ({"where": "country:DE"}, {"where": {"country": "DE"}}),
    ):
        found = stats.time_series("day", *BOUNDS.values(), **of)  # type: ignore[arg-type]
        assert points(granularity="day", **question) == [
            (it.start.isoformat(), it.page_views, it.visitors) for it in found
        ]  # type: ignore[arg-type]
    hours = stats.time_series("hour", *BOUNDS.values())
    at = "%Y-%m-%dT%H:%M:%SZ"
    assert points(granularity="hour") == [(it.start.strftime(at), it.page_views, it.visitors) for it in hours]
    # of some hours only, in an offset of the caller's own
    some = {"granularity": "hour", "start": "2025-03-20T01:00:00+02:00", "end": "2025-03-20T03:00Z"}
    assert [start for start, *_ in points(**some)] == [
        f"2025-03-{at}:00:00Z" for at in ("19T23", "20T00", "20T01", "20T02")
    ]


def test_visitors_of_several_conditions(rows: list[Row], client: Client) -> None:
    paths = [it.path for it in stats.top_pages(2)]
    with stats.snapshot() as now:
        first, second = (now.visitors(it, **BOUNDS) for it in paths)
        country = now.visitors(where={"country": "DE"}, **BOUNDS)
        expected = [
            (None, None, len(first & second & country)),
            ("page", paths[0], len(first)),
            ("page", paths[1], len(second)),
            ("country", "DE", len(country)),
        ]
    found = body(client.get(API + "visitors", {**MARCH, "path": paths, "where": "country:DE"}))
    assert [tuple(row.values()) for row in found["rows"]] == expected
    assert 0 < found["visitors"] == expected[0][2] < min(row[2] for row in expected[1:])
    assert body(client.get(API + "visitors"))["visitors"] == stats.count_unique_visitors()


def test_who_is_there_now(client: Client) -> None:
    now = datetime.now(timezone.utc)
    insert_page_views(
        [("/a", "ada", now), ("/a", "bob", now), ("/b", "ada", now), ("/old", "eve", now - timedelta(hours=1))]
    )
    response = client.get(API + "active_visitors")
    assert body(response) == {"minutes": 5, "visitors": 2} and "ETag" not in response
    assert body(client.get(API + "active_visitors", {"minutes": 90}))["visitors"] == 3
    pages = body(client.get(API + "active_pages", {"limit": 1}))
    assert pages == {"minutes": 5, "rows": [{"path": "/a", "page_views": 2, "visitors": 2}]}


def test_csv_has_the_same_rows_and_is_no_formula(rows: list[Row], client: Client) -> None:
    questions: dict[str, dict[str, Any]] = {
        "pages": {"path": HOSTILE},
        "time_series": {"granularity": "day", **MARCH},
        "top": {"dimension": "source"},
        "top_pages": {"limit": 1_000},
        "visitors": {"path": HOSTILE},
    }
    for operation in OPERATIONS:
        question = questions.get(operation.name, {})
        found = body(client.get(API + operation.name, question))
        response = client.get(API + operation.name, {**question, "format": "csv"})
        names = [column.name for column in operation.columns]
        assert response["Content-Disposition"] == f'attachment; filename="{operation.name}.csv"'
        assert response.content.decode().partition("\r\n")[0] == ",".join(f'"{name}"' for name in names)
        expected = found["rows"] if operation.is_list else [{name: found[name] for name in names}]
        shown = table(response)
        assert len(shown) == len(expected)
        for row, of in zip(shown, expected, strict=True):
            for name, value in of.items():
                text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                is_guarded = isinstance(value, str) and text[:1] in ("=", "-", "'")
                assert row[name] == (f"'{text}" if is_guarded else text)
    csv_of_pages = client.get(API + "pages", {"path": HOSTILE, "format": "csv"}).content.decode()
    assert "\"'=cmd|' /C calc'!A0\"" in csv_of_pages and '"/a,b;c""d\n"' in csv_of_pages


def test_json_has_no_markup_whatever_a_path_is(rows: list[Row], client: Client) -> None:
    response = client.get(API + "pages", {"path": HOSTILE})
    assert b"<" not in response.content and response.content.isascii()
    assert [row["path"] for row in body(response)["rows"]] == HOSTILE
    assert response["X-Content-Type-Options"] == "nosniff"
    wrong = client.get(API + "summary", {"start": "<script>"})
    assert b"<" not in wrong.content and problem(wrong, 400)["value"] == "<script>"


# -- lists


def test_a_list_by_page_views_goes_on_only_while_its_range_is_the_same(rows: list[Row], client: Client) -> None:
    past, everything = {**MARCH, "limit": 5}, {"limit": 5}
    cursors = [body(client.get(API + "top_pages", it))["next"] for it in (past, everything)]
    insert_page_views([("/new/", "key", datetime(2025, 4, 20, tzinfo=timezone.utc))])
    # in the tail of the range there are page views, whose fold may change the order among equals
    following = client.get(API + "top_pages", {**past, "cursor": cursors[0], "limit": 9})
    assert [row["path"] for row in body(following)["rows"]] == [
        it.path for it in stats.top_pages(9, offset=5, **BOUNDS)
    ]
    found = problem(client.get(API + "top_pages", {**everything, "cursor": cursors[1]}), 409)
    assert "order=value" in found["detail"] and found["parameter"] == "cursor"
    fold()
    problem(client.get(API + "top_pages", {**past, "cursor": cursors[0]}), 409)
    # all of it is folded: what comes in of other days moves nothing
    cursor = body(client.get(API + "top_pages", past))["next"]
    insert_page_views([("/new/", "key", datetime(2025, 4, 20, tzinfo=timezone.utc))])
    fold()
    assert body(client.get(API + "top_pages", {**past, "cursor": cursor}))["rows"]
    insert_page_views([("/new/", "key", datetime(2025, 3, 20, tzinfo=timezone.utc))])
    problem(client.get(API + "top_pages", {**past, "cursor": cursor}), 409)


def test_a_list_by_value_goes_on_whatever_comes_in(rows: list[Row], client: Client) -> None:
    expected = {it.path for it in stats.top_pages(1_000)}
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        question = {"order": "value", "limit": 6, **({"cursor": cursor} if cursor else {})}
        part = body(client.get(API + "top_pages", question))
        found += [row["path"] for row in part["rows"]]
        cursor = part["next"]
        # the last page becomes the first, pages come before and behind the place, and all of it is folded or not
        at = datetime(2025, 3, 20, tzinfo=timezone.utc)
        insert_page_views(
            [(max(expected), f"key{n}", at) for n in range(9)] + [("!", "key", at), (f"~{len(found)}", "key", at)]
        )
        if len(found) % 4:
            fold()
    assert found == sorted(set(found))
    assert expected <= set(found) and "!" not in found and any(it.startswith("~") for it in found)


def test_a_list_by_value_goes_on_past_every_path_that_can_be_recorded(client: Client) -> None:
    paths = [f"/{it * 2_000}"[:2_046] + end for it in ('"', "\\", "é", "😀", "\x01") for end in ("/a", "/b")]
    paths = sorted([*paths, "\U0010ffff", "/" + "😀" * 2_047, "/blog/" + "😀" * 520 + "/"])
    at = datetime(2025, 3, 20, tzinfo=timezone.utc)
    insert_page_views((path, "key", at, {"source": "direct"}) for path in paths)
    entries = sorted((path, 1, 1) for path in paths)
    assert listed(client, "top_pages", 1, order="value") == entries
    assert listed(client, "top_pages", 1, order="value", prefix="/😀") == entries[-4:-1]
    assert listed(client, "top", 1, order="value", dimension="entry") == entries
    sections = [it.value for it in stats.top("section", 100)]
    assert [it[0] for it in listed(client, "top", 1, order="value", dimension="section")] == sorted(sections)


def test_cursors_are_taken_as_they_were_given(rows: list[Row], client: Client) -> None:
    question = {**MARCH, "limit": 3}
    cursor = body(client.get(API + "top_pages", question))["next"]
    for other in ({"end": "2025-03-30"}, {"order": "value"}, {"prefix": "/"}):
        assert (
            "another question"
            in problem(client.get(API + "top_pages", {**question, **other, "cursor": cursor}), 400)["detail"]
        )
    asked, _ = decoded(cursor)
    places = ([3, "\ud800"], None, {}, "=/", 3, [0, "a"])
    for forged in (
        *(encoded(asked, place) for place in places),
        *(encoded("", "é" * length) for length in (0, 8)),
        "x",
        "!!!",
        cursor[:-4],
        cursor + "AAAA",
        "W10",
        "bnVsbA",
        "Wzg4XQ",
        "[" * 5_000,
    ):
        found = problem(client.get(API + "top_pages", {**question, "cursor": forged}), 400)
        assert found["parameter"] == "cursor", forged


def decoded(cursor: str) -> tuple[str, Any]:
    """The question that a cursor belongs to, and its place in a list by page views."""
    text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    return text[:16], json.loads(text[16:])


def encoded(question: str, place: Any) -> str:
    return urlsafe_b64encode((question + json.dumps(place)).encode()).decode().rstrip("=")


def test_a_cursor_and_an_etag_tell_nothing_to_who_has_no_key(rows: list[Row], client: Client, settings: Any) -> None:
    question = {"limit": 5}
    response = client.get(API + "top_pages", question)
    cursor, etag = body(response)["next"], response["ETag"]
    _, (offset, digest) = decoded(cursor)
    assert offset == 5 and re.fullmatch("[0-9a-f]{32}", digest) and re.fullmatch('"[0-9a-f]{32}"', etag)
    # what they are digests of is as before: so they are of the key as well, and nobody else can try numbers out
    settings.SECRET_KEY, key = "another", settings.SECRET_KEY
    client.force_login(User.objects.get(username="root"))
    response = client.get(API + "top_pages", question)
    assert decoded(body(response)["next"])[1][1] != digest and response["ETag"] != etag
    problem(client.get(API + "top_pages", {**question, "cursor": cursor}), 409)
    settings.SECRET_KEY_FALLBACKS = ["older", key]
    following = body(client.get(API + "top_pages", {**question, "cursor": cursor}))
    assert [row["path"] for row in following["rows"]] == [it.path for it in stats.top_pages(5, offset=5)]


class Lists(TestCase):
    """With any page views, any part of them folded, and parts of any length."""

    @given(data=strategies.data())
    def test_are_whole_and_in_order(self, data: Any) -> None:
        clean()
        texts = strategies.sampled_from(["/", "/a", "/A", "/b/c", "é", "~", "😀", "/b", "\uffff"])
        days = strategies.integers(0, 5)
        views = data.draw(strategies.lists(strategies.tuples(texts, strategies.sampled_from("abc"), days), max_size=25))
        rows = insert_page_views(
            (it, key, datetime(2025, 3, 1 + day, 12, tzinfo=timezone.utc)) for it, key, day in views
        )
        if rows and (folded := data.draw(strategies.integers(0, len(rows)))):
            fold_naively(rows[:folded], all_time=data.draw(strategies.integers(0, folded)))
        first, last = sorted([data.draw(days), data.draw(days)])
        bounds = data.draw(
            strategies.sampled_from([{}, {"start": date(2025, 3, 1 + first), "end": date(2025, 3, 1 + last)}])
        )
        client = Client()
        client.force_login(User.objects.get_or_create(username="root", is_superuser=True)[0])
        query = {name: str(bound) for name, bound in bounds.items()}
        limit = data.draw(strategies.integers(1, 9))
        top = [(it.path, it.page_views, it.visitors) for it in stats.top_pages(1_000, **bounds)]
        assert listed(client, "top_pages", limit, **query) == top
        assert listed(client, "top_pages", limit, order="value", **query) == sorted(top)
        prefix = data.draw(texts)
        some = [row for row in top if row[0].startswith(prefix)]
        assert listed(client, "top_pages", limit, prefix=prefix, **query) == some
        assert listed(client, "top_pages", limit, prefix=prefix, order="value", **query) == sorted(some)
        sections = [(it.value, it.page_views, it.visitors) for it in stats.top("section", 1_000, **bounds)]
        assert listed(client, "top", limit, dimension="section", order="value", **query) == sorted(sections)
        asked = data.draw(strategies.lists(texts, min_size=1, max_size=4, unique=True))
        pages = body(client.get(API + "pages", {**query, "path": asked}))["rows"]
        assert [tuple(row.values()) for row in pages] == [
            (
                it,
                stats.count_page_views(it, **bounds),
                stats.count_unique_visitors(it, **bounds),
                stats.count_visits(it, **bounds),
            )
            for it in asked
        ]


# -- what is refused


REFUSED: list[tuple[str, Any, str, str]] = [
    ("summary", {"strat": "2025-03-01"}, "strat", "There is no parameter 'strat': start, end, format would do."),
    ("summary", {"start": "yesterday"}, "start", "start='yesterday': a date such as"),
    ("summary", {"start": "2025-02-30"}, "start", "start='2025-02-30': a date such as"),
    ("summary", {"start": "20250301"}, "start", "start='20250301': a date such as"),
    ("summary", {"start": "2025-03-01T10:00:00 01:00"}, "start", "%2B in a URL"),
    ("summary", {"start": "2025-03-01T10:00:00"}, "start", "a date such as"),
    ("summary", {"start": "2025-03-01T10:00:00Z"}, "start", "+00:00 is not the beginning of a day in UTC"),
    ("summary", {"end": "2025-03-01T10:00:00+02:30"}, "end", "end=2025-03-01T10:00:00+02:30 is not the beginning"),
    ("summary", {"start": "2025-03-02", "end": "2025-03-01"}, "start", "start=2025-03-02 is after end=2025-03-01"),
    ("summary", {"end": "0001-01-01T00:00:00Z"}, "end", "end=0001-01-01T00:00:00+00:00 is out of range: a date"),
    ("visitors", {"path": "/", "start": "2025-03-01T10:30:00Z"}, "start", "is not the beginning of a day in UTC"),
    ("visitors", {"start": "2025-03-01T10:30:00Z"}, "start", "is not the beginning of an hour in UTC"),
    ("summary", {"start": ["2025-03-01", "2025-03-02"]}, "start", "start comes 2 times: once would do."),
    ("summary", {"format": "xml"}, "format", 'format=\'xml\': "json" or "csv" would do.'),
    ("pages", {}, "path", "path is missing"),
    ("pages", {"path": ""}, "path", "path='': 1 to 2,048 characters would do."),
    ("pages", {"path": "/" + "x" * 2_048}, "path", "...': 1 to 2,048 characters would do."),
    ("pages", {"path": [f"/{n}" for n in range(101)]}, "path", "path comes 101 times: 100 times at the most"),
    ("time_series", {"granularity": "week", **MARCH}, "granularity", '"day" or "hour" would do.'),
    ("time_series", {"granularity": "day"}, "start", "start is missing"),
    (
        "time_series",
        {"granularity": "day", "path": "/", "where": "country:DE", **MARCH},
        "where",
        "where='country:DE' beside a path: one of them would do.",
    ),
    ("time_series", {"granularity": "hour", "path": "/", **MARCH}, "granularity", 'granularity="day"'),
    (
        "time_series",
        {"granularity": "hour", "start": "0001-01-01", "end": "2025-01-01"},
        "start",
        "start=0001-01-01 is out of range: a date from year 2 to 9997 would do.",
    ),
    ("time_series", {"granularity": "day", "start": "0002-01-02", "end": "9000-01-01"}, "end", "too far apart"),
    ("top_pages", {"limit": "0"}, "limit", "limit='0': a whole number from 1 to 1,000 would do."),
    ("top_pages", {"limit": "1001"}, "limit", "from 1 to 1,000"),
    ("top_pages", {"limit": "\N{FULLWIDTH DIGIT ONE}"}, "limit", "from 1 to 1,000"),
    ("top", {}, "dimension", "dimension is missing: 'source' would do."),
    ("top", {"dimension": "nothing"}, "dimension", "no dimension 'nothing'. There are: source, "),
    ("top", {"dimension": "page"}, "dimension", "no dimension 'page'"),
    ("visitors", {"where": "country"}, "where", "a dimension, a colon and a value"),
    ("visitors", {"where": ["section:a", "nothing:x"]}, "where", "no dimension 'nothing'"),
    ("time_series", {"granularity": "day", "where": "nothing:x", **MARCH}, "where", "no dimension 'nothing'"),
    ("active_visitors", {"minutes": "1441"}, "minutes", "from 1 to 1,440"),
    ("active_visitors", {"minutes": "0.5"}, "minutes", "minutes='0.5': a whole number from 1 to 1,440 would do."),
    ("openapi.json", {"a": "b"}, "a", "no parameters"),
]


def test_what_cannot_be_asked(client: Client) -> None:
    for name, question, parameter, told in REFUSED:
        found = problem(client.get(API + name, question), 400)
        assert told in found["detail"] and found["parameter"] == parameter, (name, question)
        asked = question.get(parameter)
        if isinstance(asked, str) and len(asked) < 200:
            assert found["value"] == asked, (name, question)
        assert "datetime" not in found["detail"] and "{" not in found["detail"], found


def test_with_very_many_page_views_not_folded(client: Client, settings: Any) -> None:
    make_page_views(60, with_attributes=True)
    settings.PAGESTATS_TAIL_LIMIT = 50
    response = client.get(API + "summary")
    assert body(response)["page_views"] == 60 and body(response)["visits"] is None
    assert "ETag" not in response  # nothing tells cheaply whether they are the same
    assert len(body(client.get(API + "top_pages", {"limit": 1_000}))["rows"]) == stats.count_paths()
    for name, question in (("top", {"dimension": "source"}), ("top_pages", {"order": "value"}), ("visitors", {})):
        response = client.get(API + name, question)
        assert "backfill_aggregates" in problem(response, 503)["detail"] and response["Retry-After"] == "5"


def test_a_function_that_fails_tells_nothing_of_the_page_view(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PAGESTATS_DIMENSIONS = {"own": "tests.test_api.fails"}
    insert_page_views([("/secret/", "key", datetime(2025, 3, 20, tzinfo=timezone.utc))])
    found = problem(client.get(API + "top", {"dimension": "own"}), 503)
    assert "secret" not in found["detail"] and "/secret/" in caplog.text


def test_of_a_page_view_that_is_not_as_it_should_be_the_totals_are_answered(rows: list[Row], client: Client) -> None:
    (row,) = insert_page_views([("/", "key", datetime(2025, 3, 20, tzinfo=timezone.utc), {"source": "direct"})])
    known = body(client.get(API + "summary"))
    PageView.objects.filter(pk=row.id).update(attributes={"source": 5})
    assert body(client.get(API + "summary")) == {**known, "visits": None}


def fails(path: str) -> str:
    raise KeyError(path)


# -- has it changed


def test_an_answer_is_not_computed_again_until_something_changed(rows: list[Row], client: Client) -> None:
    question = {"limit": 5}

    def asked(etag: str, **others: Any) -> Any:
        return client.get(API + "top_pages", {**question, **others}, headers={"If-None-Match": etag})

    first = client.get(API + "top_pages", question)
    etag = first["ETag"]
    assert first["Cache-Control"] == "private, no-cache" and first["Vary"] == "Authorization, Cookie"
    with CaptureQueriesContext(connection) as captured:
        again = asked(etag)
    assert again.status_code == 304 and again.content == b"" and again["ETag"] == etag
    assert again["Cache-Control"] == "private, no-cache" and again["Vary"] == "Authorization, Cookie"
    # of session and user two, the state, and how many are not folded up to which
    assert len(captured) == 4, captured.captured_queries
    other = client.get(API + "top_pages", question, headers={"If-Match": '"another"'})
    assert other.status_code == 412 and other.content == b""
    for others in ({"limit": 6}, {"start": "2025-03-05"}, {"format": "csv"}):
        assert asked(etag, **others).status_code == 200
    fold()
    etag = changed(asked(etag), etag)
    assert asked(etag).status_code == 304
    insert_page_views([("/new/", "key", datetime(2025, 3, 20, tzinfo=timezone.utc))])
    etag = changed(asked(etag), etag)
    # one with a lower id that was committed late
    last = PageView.objects.latest("pk").pk
    for pk in (last + 9, last + 5):
        PageView.objects.create(pk=pk, path="/late/", session_key="key", viewed_at=rows[0].viewed_at)
        etag = changed(asked(etag), etag)
    Generation.objects.update(revision=1_000)
    etag = changed(asked(etag), etag)
    assert body(client.get(API + "top_pages", {"limit": 5}))["rows"]


def changed(response: Any, etag: str) -> str:
    assert response.status_code == 200 and response["ETag"] != etag
    return str(response["ETag"])


def test_before_the_first_fold_the_settings_answer(client: Client, settings: Any) -> None:
    make_page_views(20)
    etag = client.get(API + "summary")["ETag"]
    settings.PAGESTATS_TIME_ZONE = "Pacific/Apia"
    response = client.get(API + "summary", headers={"If-None-Match": etag})
    assert body(response)["time_zone"] == "Pacific/Apia"
    etag = response["ETag"]
    settings.PAGESTATS_DIMENSIONS = {}
    assert body(client.get(API + "summary", headers={"If-None-Match": etag}))["visits"] is None


# -- what it costs


def test_statements_do_not_grow_with_rows(rows: list[Row], client: Client, settings: Any) -> None:
    settings.PAGESTATS_ANSWERS_MEGABYTES = 0  # what is asked again costs less
    fold()
    paths = [it.path for it in stats.top_pages(19, **BOUNDS)]

    def statements(name: str, question: Any) -> int:
        """Without those that begin and end a transaction, of which each database needs as many as it does."""
        with CaptureQueriesContext(connection) as captured:
            body(client.get(API + name, {**MARCH, **question}))
        return sum(not it["sql"].startswith(("BEGIN", "START", "SET", "COMMIT")) for it in captured)

    assert statements("pages", {"path": paths[:2]}) == statements("pages", {"path": paths}) <= 12
    assert statements("top_pages", {"limit": 2}) == statements("top_pages", {"limit": 19}) <= 11
    by_value = {"order": "value"}
    assert statements("top_pages", {"limit": 2, **by_value}) == statements("top_pages", {"limit": 19, **by_value}) <= 11
    assert statements("summary", {}) <= 12


# -- the document


def test_the_document_is_the_one_in_the_docs(client: Client) -> None:
    from tools.openapi import TARGET, text

    assert TARGET.read_text() == text(), "make openapi writes it anew"
    served = client.get(API + "openapi.json").json()
    assert served["servers"] == [{"url": "/numbers"}]
    assert {**served, "servers": []} == {**json.loads(text()), "servers": []}
    assert list(served["paths"]) == [f"/{it.name}" for it in OPERATIONS] + ["/openapi.json"]


def test_every_url_is_one_of_the_described(client: Client) -> None:
    from django_pagestats.api import urls

    assert [it.name for it in urls.urlpatterns] == ["openapi", *(it.name for it in OPERATIONS)]


def test_what_is_no_question_below_its_path_is_the_sites(client: Client) -> None:
    assert client.get(API + "of-the-site").content == b"its own"
    for name in ("nothing", "summary/", ""):
        response = client.get(API + name)
        assert response.status_code == 404 and response["Content-Type"].startswith("text/html"), name


def every_question() -> Iterator[tuple[str, dict[str, str]]]:
    """One for each URL."""
    needed = {"pages": {"path": "/"}, "time_series": {"granularity": "day", **MARCH}, "top": {"dimension": "source"}}
    for operation in OPERATIONS:
        yield operation.name, dict(needed.get(operation.name, {}))
    yield "openapi.json", {}
