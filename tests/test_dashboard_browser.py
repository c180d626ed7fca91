"""The dashboard in a headless Chromium, under a strict security policy, with real keys and clicks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.urls import path

from django_pagestats.views import DashboardView
from testproject.urls import urlpatterns as of_project
from tests.factories import insert_page_views
from tests.test_admin_browser import SCROLLS, Browser, browser, driver, window  # noqa: F401 - fixtures

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/django_pagestats/dashboard/"
urlpatterns = [path("statistics/", DashboardView.as_view()), *of_project]
#: writes numbers of seven digits
MANY = "(it) => { it.textContent = '1,234,567'; }"
#: drawings and controls that nobody who does not see them is told the name of
NAMELESS = """return [...document.querySelectorAll('a, button, input:not([type=hidden]), summary, svg[role=img]')]
    .filter((it) => it.checkVisibility() && it.closest('.pagestats')
        && !(it.innerText?.trim() || it.getAttribute('aria-label') || it.getAttribute('aria-labelledby')
            || it.labels?.length))
    .map((it) => it.outerHTML)
"""


@pytest.fixture
def shown(browser: Browser) -> Browser:  # noqa: F811
    """A site of some weeks, on the dashboard's first page."""
    now = datetime.now(timezone.utc)
    insert_page_views(
        (f"/{'blog' if n % 3 else 'docs'}/{n % 40}/", f"key{n % 90}", now - timedelta(hours=n % 700, minutes=1))
        for n in range(1_500)
    )
    hostile = ["/" + "x" * 2_047, '/"><img src=x onerror=alert(1)>', "/\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"]
    insert_page_views((path, "key", now) for path in hostile * 60)
    browser.open(PAGE)
    return browser


def press(shown: Browser, keys: str) -> None:
    shown.driver.switch_to.active_element.send_keys(keys)


def query(shown: Browser) -> str:
    return str(shown.run("return location.search"))


def go_by(shown: Browser, key: str, wanted: str) -> None:
    """A key that leads to another page."""
    press(shown, key)
    shown.wait(lambda: wanted in query(shown), wanted)


def test_keys_lead_to_ranges_and_can_be_switched_off(shown: Browser) -> None:
    go_by(shown, "w", "range=7d")
    go_by(shown, "x", "compare=none")
    go_by(shown, "\ue012", "range=free")  # arrow to the left
    go_by(shown, "d", "range=today")
    shown.driver.back()
    shown.wait(lambda: "range=free" in query(shown), "the page before")
    # off while somebody types
    press(shown, "/")
    press(shown, "wad")
    assert shown.find("[name=pages_q]").get_property("value") == "wad"
    assert "range=free" in query(shown)
    # and by the switch, which is remembered
    shown.run("document.activeElement.blur()")
    press(shown, "?")
    assert shown.run("return document.getElementById('pagestats-keys').open")
    shown.find("[data-pagestats-keys-switch]").click()
    press(shown, "\ue00c")  # Escape
    shown.open(PAGE)
    press(shown, "w")
    press(shown, "?")
    assert query(shown) == "" and not shown.find("[data-pagestats-keys-switch]").is_selected()
    shown.run("localStorage.clear()")


def test_arrows_move_a_cursor_in_the_chart_that_is_read_aloud(shown: Browser) -> None:
    shown.run("document.querySelector('.pagestats-chart').focus()")
    press(shown, "\ue012")
    today = shown.text(".pagestats-told")
    assert "(so far): Page views" in today and "Visitors" in today
    press(shown, "\ue012")
    assert shown.text(".pagestats-told") != today
    press(shown, "\ue011")  # to the first
    first = shown.run("return document.querySelector('.pagestats-figure tbody th').textContent")
    assert shown.text(".pagestats-told").startswith(first)
    assert shown.find(".pagestats-cursor").get_attribute("visibility") == "visible"
    assert shown.find(".pagestats-told").get_attribute("aria-live") == "polite"
    press(shown, "\ue00c")
    assert shown.text(".pagestats-told") == "" and query(shown) == ""


def test_a_note_is_written_in_the_admin_seen_and_read_aloud(shown: Browser) -> None:
    shown.open(f"{PAGE}?range=7d")
    shown.click(".pagestats-notes [href*='/add/']")
    shown.find("[name=text]").send_keys('deploy <img src=x onerror=alert(1)> "4.2"')
    shown.click("[name=_save]")
    assert query(shown) == "?range=7d"
    assert shown.run("return document.querySelectorAll('.pagestats-chart .pagestats-note').length") == 1
    shown.run("document.querySelector('.pagestats-chart').focus()")
    press(shown, "\ue012")
    assert shown.text(".pagestats-told").endswith('Notes deploy <img src=x onerror=alert(1)> "4.2"')
    press(shown, "\ue012")
    assert "Notes" not in shown.text(".pagestats-told"), "a day without one"
    for width in (360, 1_280):
        shown.show_at(width, "dark")
        shown.open(f"{PAGE}?range=7d")
        assert shown.run("return document.documentElement.scrollWidth") <= width and shown.run(NAMELESS) == []
    shown.click(".pagestats-notes [href*='/change/']")
    shown.click(".deletelink")
    shown.click("[type=submit]")
    shown.open(f"{PAGE}?range=7d")
    assert shown.run("return document.querySelectorAll('.pagestats-note').length") == 0


def test_search_sort_turn_and_download(shown: Browser) -> None:
    shown.find("[name=pages_q]").send_keys("/docs/")
    shown.click(".pagestats-find button")
    paths = "return [...document.querySelectorAll('#pagestats-pages tbody th bdi')].map((it) => it.innerText)"
    found = shown.run(paths)
    assert len(found) == 10 and all(path.startswith("/docs/") for path in found)
    shown.click("#pagestats-pages thead th a")
    assert shown.run(paths) == sorted(shown.run(paths))
    assert shown.find("#pagestats-pages thead th").get_attribute("aria-sort") == "ascending"
    shown.click("#pagestats-pages [rel=next]")
    assert "pages_q=%2Fdocs%2F" in query(shown) and "pages_p=2" in query(shown)
    answered = "return fetch(document.querySelector('#pagestats-pages [download]').href).then((it) => it.text())"
    lines = shown.run(answered).splitlines()
    assert len([line for line in lines if line.startswith('"/docs/')]) == int(
        shown.text("#pagestats-pages .pagestats-foot p").split(" of ")[1].split()[0]
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone_in_both_themes_and_in_both_directions(shown: Browser, theme: str) -> None:
    for width in (360, 1_280):
        for direction in ("ltr", "rtl"):
            shown.show_at(width, theme)
            shown.open(f"{PAGE}?range=7d")
            shown.run(
                f"document.documentElement.dir = '{direction}';"
                "document.querySelectorAll('details').forEach((it) => { it.open = true; })"
            )
            assert shown.run("return document.documentElement.scrollWidth") <= width
            scrolling = shown.run(f"return {SCROLLS}")
            assert [it for it in scrolling if "pagestats-scrolls" not in it and "pagestats-wide" not in it] == []
            assert shown.run(NAMELESS) == []
            colours = "const it = getComputedStyle(document.querySelector('.pagestats-big')); return it.color"
            assert (shown.run(colours) == "rgb(0, 0, 0)") == (theme == "light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_beside_it_fit_a_phone_and_keep_the_range(shown: Browser, settings: Any, theme: str) -> None:
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.BROKEN"
    for width in (360, 1_280):
        shown.show_at(width, theme)
        shown.open(f"{PAGE}?range=28d&compare=dates")
        for label, wanted in (("Loyalty", ".pagestats-retention"), ("Content audit", "#pagestats-unseen tbody th")):
            (link,) = [it for it in shown.driver.find_elements("css selector", "nav a") if it.text == label]
            link.click()
            shown.wait(lambda wanted=wanted: shown.driver.find_elements("css selector", wanted), label)
            assert "range=28d" in query(shown)
            for direction in ("ltr", "rtl"):
                shown.run(f"document.documentElement.dir = '{direction}'")
                assert shown.run("return document.documentElement.scrollWidth") <= width, (label, width, direction)
                scrolling = shown.run(f"return {SCROLLS}")
                assert [it for it in scrolling if "pagestats-scrolls" not in it] == []
                assert shown.run(NAMELESS) == []
    go_by(shown, "w", "range=7d")
    assert shown.text("h1") == "Content audit"
    shown.open(f"{PAGE}loyalty/?range=28d")
    bars = "return [...document.querySelectorAll('.pagestats-length rect:last-child')].map((it) => it.getBBox().width)"
    assert max(shown.run(bars)) > 50, "widths in per cent, without an inline style"


def test_a_new_site_says_when_the_first_page_view_has_come_in(browser: Browser) -> None:  # noqa: F811
    browser.open(PAGE)
    link = browser.find("[data-pagestats-first]")
    assert not link.is_displayed()
    insert_page_views([("/", "key", datetime.now(timezone.utc))])
    browser.wait(link.is_displayed, "a word about the first page view")
    browser.click("[data-pagestats-first]")
    assert browser.text("#pagestats-pages tbody th bdi") == "/"


def test_without_a_script_everything_is_there(shown: Browser) -> None:
    shown.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        shown.driver.get(shown.url + PAGE)
        source: Any = shown.driver.page_source
        assert 'class="pagestats-chart"' in source and "/blog/" in source
    finally:
        shown.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


#: the least room between two labels of the chart's time, in pixels
GAP = """const them = [...document.querySelectorAll('.pagestats-time')].filter((it) => it.checkVisibility())
    .map((it) => it.getBoundingClientRect());
return Math.min(...them.slice(1).map((it, n) => it.left - them[n].right), 9999)
"""


def test_labels_of_the_chart_never_touch(shown: Browser) -> None:
    for days in ("28d", "91d", "12m"):
        for width in (360, 560, 800, 900, 1_000, 1_100, 1_280):
            shown.show_at(width, "light")
            shown.open(f"{PAGE}?range={days}")
            assert shown.run(GAP) >= 4, (days, width)
            assert shown.run("return document.querySelectorAll('.pagestats-time').length") >= 6


def test_in_print_there_is_nothing_to_push_and_texts_are_black_in_any_theme(shown: Browser) -> None:
    shown.show_at(1_280, "dark")
    pushed = "return [...document.querySelectorAll('.pagestats-notes a, .pagestats-checks button, #nav-sidebar')]"
    pushed += ".map((it) => it.checkVisibility())"
    assert shown.run(pushed) == [True] * 3, "on a screen"
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    shown.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    menus = "return [...document.querySelectorAll('.pagestats-menu a, .pagestats-menu summary')]"
    assert not any(shown.run(f"{menus}.map((it) => it.checkVisibility())")) and shown.run(pushed) == [False] * 3
    texts = "return [...document.querySelectorAll('.pagestats-chart text')].map(getComputedStyle)"
    assert set(map(tuple, shown.run(f"{texts}.map((it) => [it.fill, it.stroke])"))) == {("rgb(0, 0, 0)", "none")}
    bars = "return getComputedStyle(document.querySelector('.pagestats-bar')).fill"
    assert shown.run(bars) == "rgb(121, 174, 200)", "as in the light theme"
    content = "return innerWidth - document.querySelector('#content-main').getBoundingClientRect().right"
    assert shown.run(content) < 80, "nor is there room for the sidebar"
    heads = "return getComputedStyle(document.querySelector('.pagestats-list thead')).backgroundColor"
    assert shown.run(heads) in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")
    shown.open(f"{PAGE}page/?path=/docs/0/")
    assert shown.text(".pagestats-pills").strip() == "Page: /docs/0/", "what the numbers are of is on the paper"


@pytest.mark.urls("tests.test_dashboard_browser")
def test_half_of_a_mounted_dashboard_has_room_for_a_table_with_its_lines(browser: Browser) -> None:  # noqa: F811
    now = datetime.now(timezone.utc)
    attributes = {"source": "news.example", "country": "DE"}
    insert_page_views((f"/{n}/", f"key{n}", now - timedelta(days=n % 70), attributes) for n in range(420))
    browser.show_at(1_440, "light")
    browser.open("/statistics/?range=28d")
    browser.run(f"document.querySelectorAll('.pagestats-grid td:is(:nth-child(2), :nth-child(3))').forEach({MANY})")
    wide = "[...document.querySelectorAll('.pagestats-grid .pagestats-scrolls')].filter((it) => it.clientWidth > 500)"
    assert len(browser.run(f"return {wide}.map((it) => it.id)")) >= 4, "two beside each other, each with a comparison"
    assert browser.run(f"return {wide}.filter((it) => it.scrollWidth > it.clientWidth).map((it) => it.innerText)") == []
    lines = "return [...document.querySelectorAll('.pagestats-grid td.pagestats-line')]"
    assert set(browser.run(f"{lines}.map((it) => it.checkVisibility())")) == {True}
    assert browser.run("return document.querySelectorAll('.pagestats-grid bdi + .pagestats-then').length") > 0


def test_a_phone_shows_that_a_table_goes_on(shown: Browser) -> None:
    shown.show_at(360, "light")
    shown.open(PAGE)
    table = "const it = document.querySelector('.pagestats-scrolls');"
    assert shown.run(f"{table} return it.scrollWidth > it.clientWidth")
    assert shown.run(f"{table} return getComputedStyle(it).backgroundAttachment") == "local, local, scroll, scroll"
