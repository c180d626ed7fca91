"""The admin in a headless Chromium, with a real server and a real cluster; the site sends a strict security policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_q.models import OrmQ

from django_pagestats import tasks
from django_pagestats.backfill import pages
from django_pagestats.clock import database_now
from django_pagestats.models import BackfillRun, BuildSegment, Generation
from testproject.security import POLICY
from tests import servers
from tests.chains import assert_all_counted
from tests.cluster import Site, wait_until
from tests.factories import make_page_views
from tests.patching import replace
from tests.test_admin import RUNS, make_run

pytestmark = pytest.mark.django_db(transaction=True)

#: kept by a page until it is loaded again; and what it plans to do, and when
MARK = """
    window.isTheSame = true;
    window.delays = [];
    const later = window.setTimeout;
    window.setTimeout = (call, delay) => { window.delays.push(delay); return later(call, delay); };
"""

#: what must be scrolled sideways, other than the table of a list
SCROLLS = """[...document.querySelectorAll('*')].filter((it) => it.scrollWidth > it.clientWidth
    && ['auto', 'scroll'].includes(getComputedStyle(it).overflowX) && !it.matches('.results')).map((it) => it.outerHTML)
"""


class Browser:
    """A window that says what a person sees in it."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def text(self, selector: str) -> str:
        """Read in one step: the page's script may replace an element between two."""
        return str(self.run(f"return document.querySelector({selector!r})?.innerText ?? ''"))

    def state(self) -> str:
        return self.text('[data-pagestats-text="state"]')

    def percent(self) -> float:
        return float(self.text("#pagestats-percent"))

    def buttons(self) -> list[str]:
        script = "return [...document.querySelectorAll('[data-pagestats-verb]')].filter((it) => it.checkVisibility())"
        return list(self.run(f"{script}.map((it) => it.dataset.pagestatsVerb)"))

    def click(self, selector: str) -> None:
        """Push what leads to another page, and be there."""
        self.run("window.isBefore = true")
        self.find(selector).click()
        there = "return !window.isBefore && document.readyState === 'complete'"
        wait_until(lambda: self.run(there), f"the page behind {selector}", timeout=20)

    def push(self, verb: str) -> None:
        self.click(f'[data-pagestats-verb="{verb}"] :is(a, button)')

    def mark(self) -> None:
        self.run(MARK)

    def assert_the_same(self) -> None:
        assert self.run("return window.isTheSame") is True, "the page was loaded again"

    def wait(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, f"{what} (it says {self.state()!r}, {self.text('#pagestats-percent')} %)", timeout=20)

    def show_at(self, width: int, theme: str) -> None:
        """As on a screen of this width, with the light or the dark theme."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def complaints(self) -> list[str]:
        """What the console got since it was asked last; the icon that each site is asked for is none of ours."""
        return [entry["message"] for entry in self.driver.get_log("browser") if "/favicon.ico" not in entry["message"]]


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    servers.require("chromium")
    from selenium import webdriver

    browser_path, driver_path = servers.find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser_path
    # root has no sandbox, and a container little shared memory
    for argument in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage":
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    yield driver
    driver.quit()


@pytest.fixture
def window(driver: Any, live_server: Any) -> Iterator[Browser]:
    """Nobody has logged in yet; nothing must have been complained of in the end."""
    browser = Browser(driver, live_server.url)
    browser.show_at(1_100, "light")
    browser.open("/admin/login/")
    yield browser
    browser.driver.get("about:blank")  # a script that goes on asking would do so while tables are emptied
    assert browser.complaints() == []


@pytest.fixture
def browser(window: Browser) -> Browser:
    """Somebody who may do everything has logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    window.driver.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})
    return window


def test_start_watch_pause_resume_cancel(window: Browser, tmp_path: Path, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the others take a second each
    make_page_views(150_000)  # more than are folded while all this is done, on a slow machine as well
    log_in_by_hand(window)
    # it rests after each chunk, so that there is something to see for some seconds
    site = Site(tmp_path, PAGESTATS_LINK_SECONDS="1", PAGESTATS_NICE="12")
    with site.cluster():
        window.open(RUNS)
        window.click(f'form[action="{RUNS}backfill/"] button')
        assert window.text(".messagelist").startswith("Backfill started")
        window.click(".messagelist a")
        window.mark()
        watch_it_move(window)
        pause(window)
        change_its_rest(window)
        resume(window)
        cancel(window)
    assert BackfillRun.objects.get().status == "cancelled"
    changes = window.run(
        "return [...document.querySelectorAll('#pagestats-events tr > td:nth-child(2)')].map((it) => it.innerText)"
    )
    assert (changes[0], changes[-2:]) == ("Running → Cancelled", ["Queued → Running", "Queued"])


def log_in_by_hand(window: Browser) -> None:
    User.objects.create_superuser("root", password="secret")
    window.find("[name=username]").send_keys("root")
    window.find("[name=password]").send_keys("secret")
    window.click("[type=submit]")
    assert window.text("#user-tools").startswith("WELCOME, ROOT")


def watch_it_move(browser: Browser) -> None:
    for _ in range(2):
        before = browser.percent(), browser.text('[data-pagestats-text="page_views"]')
        browser.wait(lambda before=before: browser.percent() > before[0], "further on")
        assert browser.text('[data-pagestats-text="page_views"]') != before[1]
        assert float(browser.find("progress").get_property("value")) > before[0]
    browser.wait(lambda: browser.find("#pagestats-chart").is_displayed(), "a chart")
    assert browser.find("#pagestats-chart polyline").get_attribute("points").count(",") >= 4
    assert browser.text("#pagestats-announcement").endswith("Running")
    assert "Queued → Running" in browser.text("#pagestats-events")
    assert browser.buttons() == ["pause", "cancel"]
    browser.assert_the_same()


def pause(browser: Browser) -> None:
    browser.push("pause")
    browser.mark()
    browser.wait(lambda: browser.state() == "Paused", "paused")
    browser.wait(lambda: browser.buttons() == ["resume", "cancel"], "the buttons of a paused run")
    assert browser.percent() < 100
    browser.assert_the_same()


def change_its_rest(browser: Browser) -> None:
    browser.find("#pagestats-nice [name=nice]").send_keys("15.5")
    browser.click("#pagestats-nice [type=submit]")
    assert browser.text('[data-pagestats-text="nice"]') == "15.5 x what the chunk took"


def resume(browser: Browser) -> None:
    at = browser.percent()
    browser.push("resume")
    browser.mark()
    browser.wait(lambda: browser.percent() > at, "further on than where it was paused")
    browser.assert_the_same()


def cancel(browser: Browser) -> None:
    browser.push("cancel")
    assert browser.state() == "" and BackfillRun.objects.get().is_going, "it was not asked for a confirmation"
    browser.click("#content [type=submit]")
    browser.mark()
    browser.wait(lambda: browser.state() == "Cancelled", "cancelled")
    assert browser.buttons() == []
    assert not browser.find("#pagestats-nice").is_displayed()
    browser.assert_the_same()


def test_a_page_that_is_left_open_does_the_work_where_there_is_no_cluster(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(20_000)
    replace(monkeypatch.setattr, tasks.queue_is_installed, lambda: False)
    monkeypatch.setattr(pages, "SECONDS", 0.05)  # a few requests, so that there is something to see
    browser.open(RUNS)
    browser.click(f'form[action="{RUNS}backfill/"] button')
    assert browser.driver.current_url.endswith("/change/"), "the start leads to the run's page"
    browser.mark()
    assert browser.text("#pagestats-problems").startswith("This page is doing the work: keep it open")
    browser.wait(lambda: browser.state() == "Succeeded", "succeeded")
    assert not browser.find("#pagestats-problems").is_displayed()
    assert browser.text("#pagestats-percent") == "100.0"
    browser.assert_the_same()
    asked = "return performance.getEntriesByType('resource').filter((it) => it.name.includes('/fold/')).length"
    assert browser.run(asked) > 1
    assert not OrmQ.objects.exists()
    assert_all_counted()


def test_a_page_that_is_left_open_does_the_work_of_a_cluster_that_is_down(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(2_000)
    monkeypatch.setattr(pages, "QUEUED_SECONDS", 2)
    browser.open(RUNS)
    browser.click(f'form[action="{RUNS}backfill/"] button')
    browser.click(".messagelist a")
    browser.mark()
    browser.wait(lambda: browser.state() == "Succeeded", "succeeded")
    browser.assert_the_same()
    assert OrmQ.objects.count() == 1, "each request has sent a task"
    assert_all_counted()


def test_a_page_that_is_hidden_goes_on_and_one_whose_request_fails_asks_first(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(30)
    replace(monkeypatch.setattr, tasks.queue_is_installed, lambda: False)
    monkeypatch.setattr(pages, "work", lambda *args, **options: None)  # nobody gets on
    run = tasks.start_backfill("default", via="admin").run
    assert run is not None
    browser.open(f"{RUNS}{run.pk}/change/")
    browser.mark()
    browser.run(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.wait(lambda: browser.run("return window.delays.filter((it) => it === 100).length") > 2, "requests")
    browser.run(
        "Object.defineProperty(document, 'hidden', {value: false});"
        "window.urls = []; window.fetchOf = window.fetch;"
        "window.fetch = (url, options) => { window.urls.push([url.includes('/fold/'), options.method]);"
        " return Promise.reject(new TypeError('gone')); }"
    )
    browser.wait(lambda: browser.run("return window.urls.length") > 2, "requests that fail")
    first, *others = browser.run("return window.urls")
    assert first == [True, "POST"] and {tuple(other) for other in others} == {(False, None)}
    browser.run("window.fetch = window.fetchOf")


def waiting_run(**columns: Any) -> BackfillRun:
    """One that nobody works on, and nobody need revive."""
    later = database_now("default") + timedelta(days=1)
    answers = Generation.objects.create(time_zone="UTC", is_active=True, created_at=later)
    wanted = {
        "generation": answers,
        "status": "running",
        "active_key": "active",
        "lease_until": later,
        "wait_until": later,
        "rows_folded": 1,
    }
    return make_run(**{**wanted, **columns}, history=[[0.0, 0, 500], [60.0, 40_000, 500], [90.0, 70_000, 2_000]])


def asks(browser: Browser) -> int:
    """How often the page has asked since it was marked."""
    return int(
        browser.run(
            "return performance.getEntriesByType('resource').filter((it) => it.name.includes('progress/')).length"
        )
    )


def test_the_script_backs_off_and_stops(browser: Browser) -> None:
    run = waiting_run()
    browser.open(f"{RUNS}{run.pk}/change/")
    browser.mark()
    browser.wait(lambda: browser.run("return window.delays.length") >= 1, "a question")
    assert browser.run("return window.delays[0]") == 1_000
    # nobody looks
    browser.run(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert browser.run("return window.delays.at(-1)") >= 10_000
    # the server is gone; whoever looks again makes it ask at once
    browser.run(
        "window.fetchOf = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'));"
        "window.delays = [];"
        "Object.defineProperty(document, 'hidden', {value: false});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.wait(lambda: browser.find("#pagestats-no-answer").is_displayed(), "a word about the silence")
    assert browser.run("return window.delays") == [2_000, 4_000]
    browser.run("window.fetch = window.fetchOf; document.dispatchEvent(new Event('visibilitychange'))")
    browser.wait(lambda: not browser.find("#pagestats-no-answer").is_displayed(), "an answer")
    # it ends: as many questions as were planned, and none after the last
    browser.run("window.delays = []; performance.clearResourceTimings()")
    BackfillRun.objects.update(status="failed", active_key=None, error="<b>boom</b>", traceback="File <x>")
    browser.wait(lambda: browser.state() == "Failed", "failed")
    assert asks(browser) == browser.run("return window.delays.length") + 1
    assert browser.text("#pagestats-error pre") == "<b>boom</b>"
    assert browser.find("#pagestats-error details").is_displayed()
    assert browser.buttons() == ["resume"]
    browser.assert_the_same()


def test_the_parts_of_other_workers_come_move_and_go(browser: Browser) -> None:
    run = waiting_run(kind="rebuild", is_build=True)
    browser.open(f"{RUNS}{run.pk}/change/")
    browser.mark()
    assert not browser.find("#pagestats-segments").is_displayed()
    now = database_now("default")
    for after in (30_000, 60_000):
        BuildSegment.objects.create(
            run=run,
            kind="fold",
            after=after,
            upto=after + 30_000,
            cursor=after,
            epoch=1,
            chunk_size=500,
            lease_until=now + timedelta(hours=1),
        )
    browser.wait(lambda: browser.find("#pagestats-segments").is_displayed(), "the parts")
    BuildSegment.objects.filter(after=30_000).update(cursor=37_500)
    cells = "[...it.cells].map((cell) => cell.innerText.replace(/\\s+/g, ' ').trim()).join('|')"
    rows = f"return [...document.querySelectorAll('#pagestats-segments tbody tr')].map((it) => {cells})"
    moved = "Page views 30,001 to 60,000|25.0 %|is at work"
    browser.wait(lambda: moved in browser.run(rows), "a part that moves")
    bars = browser.driver.find_elements("css selector", "#pagestats-segments progress")
    assert [bar.accessible_name for bar in bars] == ["Page views 30,001 to 60,000", "Page views 60,001 to 90,000"]
    for width, theme in ((1_100, "light"), (360, "dark")):
        browser.show_at(width, theme)
        assert browser.run("return document.documentElement.scrollWidth") <= width
    BuildSegment.objects.filter(after=30_000).delete()
    browser.wait(lambda: len(browser.run(rows)) == 1, "one part")
    BuildSegment.objects.all().delete()
    browser.wait(lambda: not browser.find("#pagestats-segments").is_displayed(), "no part")
    browser.assert_the_same()


def test_who_was_logged_out_is_told(browser: Browser) -> None:
    run = waiting_run()
    browser.open(f"{RUNS}{run.pk}/change/")
    browser.driver.delete_all_cookies()
    browser.wait(lambda: browser.find("#pagestats-no-access").is_displayed(), "a word about the log-out")


def test_a_button_that_goes_hands_the_focus_on(browser: Browser) -> None:
    """And what has the focus can be seen."""
    run = waiting_run()
    browser.open(f"{RUNS}{run.pk}/change/")
    for _ in range(60):
        browser.driver.switch_to.active_element.send_keys("\t")
        if browser.run("return document.activeElement.innerText") == "PAUSE":
            break
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    BackfillRun.objects.update(status="paused")
    browser.wait(lambda: browser.buttons() == ["resume", "cancel"], "other buttons")
    assert browser.run("return document.activeElement.innerText") == "RESUME"


def test_a_screen_reader_is_told_of_states_and_not_of_figures(browser: Browser) -> None:
    run = waiting_run(error="DeadlockDetected")
    browser.open(f"{RUNS}{run.pk}/change/")
    bar = browser.find("progress")
    assert (bar.aria_role, bar.accessible_name) == ("progressbar", "How far it is")
    assert browser.find("#pagestats-announcement").aria_role == "status"
    svg = browser.find('[data-pagestats-plot="rate"] svg')
    assert (svg.aria_role, svg.accessible_name) == ("image", "Page views a second")
    browser.run(
        "window.told = [];"
        "new MutationObserver(() => told.push(document.getElementById('pagestats-announcement').innerText)).observe("
        "document.getElementById('pagestats-announcement'), {childList: true, characterData: true, subtree: true})"
    )
    BackfillRun.objects.update(rows_folded=500, wait_reason="throttled: lag 3 s")
    browser.wait(lambda: browser.text('[data-pagestats-text="page_views"]') == "500", "another figure")
    BackfillRun.objects.update(rows_folded=600, wait_reason="throttled: lag 4 s")
    browser.wait(lambda: browser.text('[data-pagestats-text="page_views"]') == "600", "another figure")
    assert browser.run("return told") == [f"Run {run.pk}: Running, waits"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_a_phone_in_both_themes(browser: Browser, theme: str) -> None:
    run = waiting_run(error="x" * 500, traceback="y" * 500, wait_reason="z" * 200, actor="w" * 100)
    browser.show_at(375, theme)
    for url in RUNS, f"{RUNS}{run.pk}/change/", f"{RUNS}{run.pk}/cancel/":
        browser.open(url)
        browser.run("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
        assert browser.run("return document.documentElement.scrollWidth") == 375, url
        assert browser.run(f"return {SCROLLS}") == [], url
        background, colour = browser.run(
            "return [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('dd, #content p, td')).color]"
        )
        assert (background == "rgb(255, 255, 255)") == (theme == "light")
        assert colour != background


def test_the_policy_is_sent_and_the_console_tells_of_what_it_stops(browser: Browser) -> None:
    """Else the other tests would see nothing to complain of, whatever the pages did."""
    assert Client().get("/admin/login/").headers["Content-Security-Policy"] == POLICY
    browser.run("document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))")
    (complaint,) = browser.complaints()
    assert "Content Security Policy" in complaint
