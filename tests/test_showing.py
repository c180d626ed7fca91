"""The tags of numbers: what they show, how long they keep it, and that they break no page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import DatabaseError, InterfaceError, connection, connections, transaction
from django.template import Context, Template
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_pagestats import harmless, showing
from django_pagestats.charted import chart_days
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.models import Aggregate, Generation, PageView
from tests.factories import insert_page_views
from tests.stats_oracle import fold_naively
from tests.test_objects import Article

pytestmark = pytest.mark.django_db

TODAY = date(2025, 3, 10)
NOON = datetime(2025, 3, 10, 12, tzinfo=timezone.utc)
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "showing"}}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is remembered, and today is a day in March."""
    it_is(TODAY, monkeypatch)
    showing._kept.clear()
    harmless._told.clear()
    caches["default"].clear()
    yield
    showing._kept.clear()


def it_is(day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_today", lambda: day)
    monkeypatch.setattr(showing, "local_today", lambda now, using: day)


def render(text: str, **context: Any) -> str:
    return Template("{% load django_pagestats %}" + text).render(Context(context))


def view(*paths: str, days_ago: int = 0, key: str = "") -> None:
    at = NOON - timedelta(days=days_ago)
    insert_page_views([(path, key or f"key{n}", at) for n, path in enumerate(paths)])


def statements(text: str, **context: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        render(text, **context)
    return len([query for query in captured if "SAVEPOINT" not in query["sql"]])


# -- what they show


def test_numbers_of_the_site_and_of_a_page() -> None:
    view("/a", "/a", "/b", key="one")
    view("/a", key="two")
    assert render("{% page_views %} {% unique_visitors %}") == "4 2"
    assert render("{% page_views path='/a' %} {% unique_visitors path='/a' %} {% page_views '/c' %}") == "3 2 0"
    assert render("{% page_views path=article as v %}[{{ v }}]", article=Article("https://example.com/b")) == "[1]"
    assert render("{% page_views path=article %}", article=Article(None)) == "0"
    empty = "{% page_views path=nothing_of_that_name %}{% page_views path=none %}{% unique_visitors none days=7 %}"
    assert render(empty, none=None) == "000", "not the site's"


def test_top_pages_of_a_template() -> None:
    view("/a", "/a", "/b", "/b", "/b", "/c", key="one")
    shown = "{% for page in pages %}{{ page.path }} {{ page.page_views }} {{ page.visitors }};{% endfor %}"
    assert render("{% top_pages 2 as pages %}" + shown) == "/b 3 1;/a 2 1;"
    assert render("{% top_pages limit=1 days=1 as pages %}" + shown) == "/b 3 1;"


def test_days_are_the_last_local_days_with_today() -> None:
    for days_ago in range(10):
        view("/a", days_ago=days_ago, key=f"key{days_ago}")
    view("/a", days_ago=-1)  # tomorrow, as an import may bring
    assert render("{% page_views days=1 %} {% page_views days=7 %} {% unique_visitors '/a' days=7 %}") == "1 7 7"
    assert render("{% page_views days=n %}", n=800_000) == "10", "more days than there are dates"
    assert render("{% page_views start='2025-03-09' %} {% page_views start=day end=day2 %}", day=TODAY, day2=TODAY) == (
        "3 0"
    )
    assert render("{% page_views end='2025-03-02' %}") == "1"


def test_today_is_that_of_the_statistics_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        with override_settings(PAGESTATS_TIME_ZONE=zone):
            offset = 14 if zone == "Pacific/Kiritimati" else -12
            assert showing._today() == (datetime.now(timezone.utc) + timedelta(hours=offset)).date()


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("page_views days=0", "days=0: a whole number, 1 or more, would do"),
        ("page_views days='week'", "days='week': a whole number"),
        ("page_views days=2 start='2025-03-01'", "either of them would do"),
        ("unique_visitors start='1 March'", "start='1 March': a date such as 2026-01-31 would do"),
        ("top_pages -1", "limit=-1: a whole number, 0 or more, would do"),
    ],
)
def test_what_is_wrong_in_the_tag_is_told(tag: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render("{% " + tag + " %}")


# -- how long they keep it


TAGS = "{% page_views %}{% unique_visitors days=7 %}{% top_pages 5 as pages %}{% page_views '/a' %}"


@pytest.mark.parametrize("cache", [None, "default"])
def test_what_was_asked_is_not_asked_again(cache: str | None) -> None:
    view("/a")
    with override_settings(PAGESTATS_CACHE=cache, CACHES=CACHES):
        assert statements(TAGS) > 0
        assert statements(TAGS) == 0
        view("/a")
        assert render("{% page_views %} {% page_views '/b' %} {% page_views days=1 %}") == "1 0 2", (
            "what is new is asked"
        )


def test_they_are_kept_for_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("django_pagestats.expiring.time.monotonic", lambda: now[0])
    view("/a")
    with override_settings(PAGESTATS_TAG_SECONDS=30):
        assert render("{% page_views %}") == "1"
        view("/a")
        now[0] += 29.9
        assert render("{% page_views %}") == "1"
        now[0] += 0.2
        assert render("{% page_views %}") == "2"


def test_the_seconds_are_those_of_the_cache_too(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {}
    monkeypatch.setattr(LocMemCache, "set", lambda self, key, value, timeout: kept.update({key: (value, timeout)}))
    with override_settings(PAGESTATS_CACHE="default", CACHES=CACHES, PAGESTATS_TAG_SECONDS=30):
        render("{% page_views path=path %}", path="/" + "long" * 300)
    [(key, found)] = kept.items()
    assert found == (0, 30) and len(key) < 200 and key.isascii(), "a key that memcached takes"


def test_without_seconds_nothing_is_kept() -> None:
    with override_settings(PAGESTATS_TAG_SECONDS=0):
        for count in range(3):
            assert render("{% page_views %}") == str(count)
            view("/a")


def test_midnight_makes_it_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    view("/a")
    view("/a", days_ago=-1)
    assert render("{% page_views days=1 %}") == "1"
    it_is(TODAY + timedelta(days=1), monkeypatch)
    assert render("{% page_views days=2 %} {% page_views days=1 %}") == "2 1"


def test_each_tenant_has_its_own() -> None:
    """As a connection of django-tenants has a schema's name."""

    def render_for(schema: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connections["default"], "schema_name", schema, raising=False)
            return render("{% page_views %}")

    assert render_for("one") == "0"
    view("/a")
    assert [render_for("two"), render_for("one")] == ["1", "0"]


def test_many_questions_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_asked", lambda *args: 1)
    for number in range(5_000):
        showing.page_views(f"/{number}")
    assert 0 < len(showing._kept) <= showing.MOST_ANSWERS


# -- no trouble of the page's


class broken:  # noqa: N801 - read as an adjective
    """Every statement that reads ours goes to a table that does not exist: the database's own error."""

    def __enter__(self) -> None:
        self._wrapper = connection.execute_wrapper(self._execute)
        self._wrapper.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._wrapper.__exit__(*error)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "django_pagestats_" in sql:
            return execute("SELECT * FROM pagestats_nowhere", (), many, context)
        return execute(sql, params, many, context)


ALL_TAGS = "[{% page_views %}{% unique_visitors '/a' as v %}{{ v }}{% top_pages as p %}{% for x in p %}.{% endfor %}]"


def test_an_error_of_the_database_is_an_empty_text(caplog: pytest.LogCaptureFixture) -> None:
    with broken(), caplog.at_level(logging.ERROR, "django_pagestats.harmless"):
        assert render(ALL_TAGS) == "[]"
        assert render(ALL_TAGS) == "[]"
    [record] = caplog.records
    assert "A number of page statistics is missing on a page: " in record.getMessage(), "once a minute"
    view("/a")
    assert render("{% page_views %}") == "1", "an error is not kept"


@pytest.mark.django_db(transaction=True)
def test_the_pages_transaction_goes_on_after_an_error() -> None:
    """On PostgreSQL an error without a savepoint would end it."""
    with transaction.atomic():
        view("/before")
        with broken():
            assert render(ALL_TAGS) == "[]"
        view("/after")
        assert render("{% page_views %}") == "2"
    assert sorted(PageView.objects.values_list("path", flat=True)) == ["/after", "/before"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_by_hand_goes_on_too() -> None:
    transaction.set_autocommit(False)
    try:
        view("/before")
        with broken():
            assert render(ALL_TAGS) == "[]"
        view("/after")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert PageView.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_broken_stays_so_and_the_page_is_rendered() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        try:
            with transaction.atomic(savepoint=False):
                raise KeyError
        except KeyError:
            pass
        assert connection.needs_rollback
        assert render(ALL_TAGS) == "[]"
        assert connection.needs_rollback
        1 / 0  # noqa: B018 - leaves the block


@pytest.mark.parametrize("error", [DatabaseError("gone"), InterfaceError("closed"), AnswerUnsettledError("moves")])
def test_whatever_the_database_says(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(showing, "_asked", fail)
    assert render(ALL_TAGS) == "[]"


@pytest.mark.django_db(transaction=True)
def test_in_a_running_event_loop_there_is_no_number() -> None:
    async def rendered() -> str:
        return render(ALL_TAGS)

    assert asyncio.run(rendered()) == "[]"


def test_a_cache_that_fails_is_not_missed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no cache")

    view("/a")
    monkeypatch.setattr(LocMemCache, "get", fail)
    monkeypatch.setattr(LocMemCache, "set", fail)
    with override_settings(PAGESTATS_CACHE="default", CACHES=CACHES):
        assert render("{% page_views %}{% page_views '/a' %}") == "11"
    with override_settings(PAGESTATS_CACHE="no such alias", CACHES=CACHES):
        assert render("{% page_views %}{% page_views '/a' %}") == "11"
    assert [record.name for record in caplog.records] == ["django_pagestats.harmless"]


def test_days_are_those_of_the_aggregates_until_a_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a zone that was changed, where it may be tomorrow already."""
    monkeypatch.undo()
    now = datetime.now(timezone.utc)
    fold_naively(insert_page_views([("/a", "k", now - timedelta(hours=30)), ("/a", "k", now)]), "Etc/GMT+12")
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        with override_settings(PAGESTATS_TIME_ZONE=zone, PAGESTATS_TAG_SECONDS=0):
            assert render("{% page_views days=1 %} {% page_views '/a' days=3 %}") == "1 2"
            assert [day for *_, day in chart_days(path=None, days=2, using="default")] == [False, True]


def test_a_page_costs_nothing_else(django_assert_num_queries: Any) -> None:
    """Not even a look at who is signed in."""
    fold_naively([])
    assert Generation.objects.exists() and not Aggregate.objects.exists()
    with django_assert_num_queries(2 + 2):  # and a savepoint, in a test's transaction
        render("{% page_views %}")
    with django_assert_num_queries(0):
        render("{% page_views %}")
