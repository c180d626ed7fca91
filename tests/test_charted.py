"""The chart of a template: what it draws, what it leaves empty for the public, and that it breaks no page."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.template import TemplateSyntaxError
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.formats import date_format

from django_pagestats import folding, harmless, showing
from django_pagestats.dashboard.drawing import day_name
from tests.factories import insert_page_views
from tests.test_objects import Article
from tests.test_showing import broken, render

pytestmark = [pytest.mark.django_db, pytest.mark.in_turn]

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    showing._kept.clear()
    harmless._told.clear()
    yield
    showing._kept.clear()


def view(path: str, visitors: int, *, days_ago: int = 0, times: int = 1) -> None:
    at = datetime.now(timezone.utc) - timedelta(days=days_ago)
    insert_page_views([(path, f"key{n % visitors}", at) for n in range(visitors * times)])


def titles(svg: str) -> dict[int, str]:
    """Days ago -> what is told of that day."""
    told = [unescape(title) for title in re.findall(r"<title>(.*?)</title>", svg)]
    today = datetime.now(timezone.utc).date()
    names = {day_name(today - timedelta(days=n)): n for n in range(400)}
    return {names[re.sub(r" \(so far\)", "", title.split(": ")[0])]: title.split(": ", 1)[1] for title in told}


def test_the_last_days_of_a_page_and_of_the_site() -> None:
    view("/a", 6, days_ago=2)
    view("/a", 5, times=2)
    view("/b", 9, days_ago=2)
    folding.keep_up("default", seconds=60)
    view("/a", 7, days_ago=1)
    svg = render("{% pagestats_chart path='/a' days=3 %}")
    assert titles(svg) == {
        2: "page views 6, visitors 6",
        1: "page views 7, visitors 7",
        0: "page views 10, visitors 5",
    }
    root = ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert root.get("role") == "img" and root.get("aria-label") == "Page views and visitors of /a in the last 3 days"
    assert root.get("tabindex") is None, "there is no script that keys would be of use to"
    (described,) = root.iter(f"{SVG}desc")
    assert described in list(root) and "from 6 to 10" in str(described.text), "so that it describes the drawing"
    assert not re.search(r"\s(id|aria-describedby)=|url\(", svg), "a page may have the same chart twice"
    assert not re.search(r"style=|<style|<script|\son\w+=|href=", svg), "as the strictest policy has it"
    assert "pagestats-bar-running" in svg, "today is not over"
    assert titles(render("{% pagestats_chart days=3 %}"))[2] == "page views 15, visitors 9"
    assert "of the site in the last 28 days" in render("{% pagestats_chart %}")
    assert "of /a today" in render("{% pagestats_chart article days=1 %}", article=Article("https://x.example/a"))
    assert ' aria-label="&lt;Mine" ' in render("{% pagestats_chart title=mine as it %}[{{ it }}]", mine="<Mine")
    # what a template itself has as a text, which Django takes for HTML
    assert ' aria-label="a &quot;b&quot; &lt;c" ' in render("""{% pagestats_chart title='a "b" <c' %}""")


def test_the_public_sees_no_day_of_a_few_visitors_and_no_day_of_before() -> None:
    view("/a", 5, days_ago=4)
    view("/a", 4, days_ago=3, times=9)
    view("/a", 1, days_ago=1)
    told = titles(render("{% pagestats_chart path='/a' days=7 %}"))
    assert told == {4: "page views 5, visitors 5"}, "nor of a day of nobody, or the gaps would be the days of a few"
    told = titles(render("{% pagestats_chart path='/a' days=7 public=False %}"))
    assert set(told) == {4, 3, 2, 1, 0}, "nothing of before the first page view of the site, which is not 0"
    assert told[3] == "page views 36, visitors 4"


def test_days_that_are_not_folded_are_left_empty_where_these_are_too_many(settings: Any) -> None:
    view("/a", 5, days_ago=3)
    folding.keep_up("default", seconds=60)
    view("/a", 6, days_ago=1)
    settings.PAGESTATS_TAIL_LIMIT = 3
    assert set(titles(render("{% pagestats_chart days=5 public=False %}"))) == {3, 2}


@pytest.mark.parametrize(
    "path", ['/"><script>alert(1)</script>', "/😀/", "/\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "/" + "x" * 2_047, "/a&b"]
)
def test_a_hostile_path(path: str) -> None:
    view(path, 6)
    svg = render("{% pagestats_chart path=path days=2 %}", path=path)
    ElementTree.fromstring(svg)
    assert "<script" not in svg and "\N{RIGHT-TO-LEFT OVERRIDE}" not in svg and len(svg) < 6_000
    assert titles(svg)[0] == "page views 6, visitors 6"


def test_what_has_no_page_has_no_chart() -> None:
    charts = "[{% pagestats_chart article %}{% pagestats_chart path=nothing %}{% pagestats_chart path=none days=3 %}]"
    assert render(charts, article=Article(None), none=None) == "[]"


@pytest.mark.parametrize("days", ["0", "367", "'week'", "True", "2.5"])
def test_days_that_cannot_be_drawn_are_told(days: str) -> None:
    with pytest.raises(ValueError, match="a whole number, 1 to 366, would do"):
        render("{% pagestats_chart days=" + days + " %}")


def test_what_the_tag_does_not_take_is_told() -> None:
    with pytest.raises(TemplateSyntaxError, match="unexpected keyword argument 'day'"):
        render("{% pagestats_chart day=3 %}")
    with pytest.raises(TypeError, match=r"int has no get_absolute_url\(\)"):
        render("{% pagestats_chart path=7 %}")


def test_an_error_of_the_database_is_an_empty_text_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with broken(), caplog.at_level(logging.ERROR, "django_pagestats.harmless"):
        assert render("[{% pagestats_chart %}]") == "[]"
    assert len(caplog.records) == 1
    assert "<svg" in render("{% pagestats_chart %}"), "of an empty site, too"


@pytest.mark.parametrize("cache", [None, "default"])
def test_it_is_asked_once_in_a_while_and_drawn_in_the_readers_language(cache: str | None) -> None:
    view("/a", 6)
    backend = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "charted"}}
    with override_settings(PAGESTATS_CACHE=cache, CACHES=backend):
        render("{% pagestats_chart path='/a' %}")
        with CaptureQueriesContext(connection) as captured, translation.override("de"):
            german = render("{% pagestats_chart path='/a' %}")
        assert len(captured) == 0
    with translation.override("de"):
        assert date_format(datetime.now(timezone.utc), "MONTH_DAY_FORMAT") in german
