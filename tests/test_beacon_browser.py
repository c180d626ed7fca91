"""The beacon in a headless Chromium, as a visitor's browser does it: an ordinary agent, and its back/forward cache."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test.testcases import LiveServerThread

from django_pagestats.models import PageView
from django_pagestats.recording import left_out
from tests import servers
from tests.beacon_site import site
from tests.cluster import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.beacon_site")]

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
#: package -> its file, and the name that pages ask for it by; the versions that sites have
LIBRARIES = {
    "htmx.org@2.0.11": ("package/dist/htmx.min.js", "htmx2.js"),
    "htmx.org@4.0.1": ("package/dist/htmx.min.js", "htmx4.js"),
    "@hotwired/turbo@8.0.23": ("package/dist/turbo.es2017-umd.js", "turbo.js"),
}


#: keeps what the script sends
SENT = """
    window.sent = []; const send = navigator.sendBeacon;
    navigator.sendBeacon = function (url, body) { sent.push(body); return send.call(this, url, body); }
"""


class Tab:
    """A tab of its own, whose pages are of the site."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url
        driver.switch_to.new_window("tab")

    def before_each_page(self, script: str) -> None:
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def click(self, name: str) -> None:
        """Follow a link of the page, and be there."""
        before = self.run("return location.pathname")
        self.driver.find_element("id", name).click()
        there = "return location.pathname != arguments[0] && document.readyState == 'complete'"
        wait_until(lambda: self.driver.execute_script(there, before), f"the page {name}", timeout=10)
        wait_until(lambda: self.title() == name, f"the title {name}", timeout=10)

    def told(self) -> list[str]:
        """The paths that the script has told of, in order, since the page was loaded; see SENT."""
        return [body.partition("\n")[0] for body in self.run("return sent")]

    def title(self) -> str:
        return str(self.run("return document.querySelector('h1').innerText"))

    def back(self, name: str) -> None:
        self.run("history.back()")
        wait_until(lambda: self.run("return location.pathname").endswith(f"/{name}/"), f"back at {name}", timeout=10)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


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
    options.add_argument(f"--user-agent={AGENT}")  # HeadlessChrome is a robot
    options.add_experimental_option("excludeSwitches", ["disable-back-forward-cache"])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of npm's registry; none is in the package."""
    servers.require("npm")
    folder = tmp_path_factory.mktemp("libraries")
    for package, (inside, name) in LIBRARIES.items():
        done = subprocess.run(
            [str(shutil.which("npm")), "pack", "--silent", package],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            servers.missing(f"npm pack {package}: {' '.join(done.stderr.split())[:200]}")
        with tarfile.open(folder / done.stdout.strip()) as archive:
            found = archive.extractfile(inside)
            assert isinstance(found, io.BufferedReader), f"{package} has no {inside}"
            (folder / name).write_bytes(found.read())
    return folder


@pytest.fixture
def start(settings: Any) -> Iterator[Callable[..., str]]:
    """Start the site with these settings, and give its address; a second one is another origin."""
    threads: list[LiveServerThread] = []
    defaults = {
        "PAGESTATS_ENABLED": True,
        "PAGESTATS_RECORD_WITH": "beacon",
        "PAGESTATS_DUPLICATE_SECONDS": 0,
        "MIDDLEWARE": ["django.middleware.common.CommonMiddleware"],
    }

    def started(**given: Any) -> str:
        for name, value in {**defaults, **given}.items():
            setattr(settings, name, value)
        thread = LiveServerThread("127.0.0.1", lambda handler: handler)
        thread.daemon = True
        thread.start()
        thread.is_ready.wait()
        assert thread.error is None
        threads.append(thread)
        return f"http://127.0.0.1:{thread.port}"

    site.__init__()  # type: ignore[misc] - nothing was asked for yet
    yield started
    for thread in threads:
        thread.terminate()


@pytest.fixture
def tab(driver: Any, start: Callable[..., str]) -> Iterator[Tab]:
    first = driver.current_window_handle
    driver.get_log("browser")
    yield Tab(driver, start())
    for handle in driver.window_handles:
        if handle != first:
            driver.switch_to.window(handle)
            driver.close()
    driver.switch_to.window(first)


def paths() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("path", flat=True))


def expect(*wanted: str) -> None:
    """These page views, in this order, and no other so far."""
    try:
        wait_until(lambda: len(paths()) >= len(wanted), "page views", timeout=10)
    except AssertionError:
        raise AssertionError(f"{paths()} in place of {list(wanted)}") from None
    assert paths() == list(wanted)


def sources() -> list[str | None]:
    return [(view.attributes or {}).get("source") for view in PageView.objects.order_by("pk")]


def test_the_first_page_and_those_that_links_lead_to(tab: Tab) -> None:
    tab.open("/plain/a/?utm_source=News&utm_medium=mail&token=sesame")
    expect("/plain/a/")
    tab.click("b")
    expect("/plain/a/", "/plain/b/")
    assert sources() == ["news", None]
    first = PageView.objects.order_by("pk")[0].attributes
    assert (first["medium"], first["browser"]) == ("mail", "Chrome")
    assert tab.complaints() == []


def test_what_is_sent_is_that_and_no_more(tab: Tab, settings: Any) -> None:
    settings.PAGESTATS_QUERY = ["page"]
    tab.before_each_page(SENT)
    tab.open("/plain/c/")
    tab.run("location = '/plain/a/?token=sesame&utm_source=News+of+today&page=2&utm_id=7&ref=&page=3#top'")
    expect("/plain/c/", "/plain/a/?page=2&page=3")
    tab.run("history.pushState({}, '', '/plain/b/?ref=' + 'x'.repeat(300))")
    expect("/plain/c/", "/plain/a/?page=2&page=3", "/plain/b/")
    # another query is another page by such a parameter only
    tab.run("history.pushState({}, '', '?page=2')")
    expect("/plain/c/", "/plain/a/?page=2&page=3", "/plain/b/", "/plain/b/?page=2")
    tab.run("history.pushState({}, '', '?tab=1&page=2#more'); history.pushState({}, '', '/plain/d/')")
    expect("/plain/c/", "/plain/a/?page=2&page=3", "/plain/b/", "/plain/b/?page=2", "/plain/d/")
    site = tab.url  # of the referrer the scheme and host
    assert tab.run("return sent") == [
        f"/plain/a/\nutm_source=News+of+today&page=2&page=3\n{site}",
        f"/plain/b/\nref={'x' * 200}\n{site}",
        f"/plain/b/\npage=2\n{site}",
        f"/plain/d/\n\n{site}",
    ]


def test_who_comes_from_another_site(tab: Tab, start: Callable[..., str]) -> None:
    other = start().replace("127.0.0.1", "localhost")
    tab.driver.get(other + "/button/a/")
    tab.run(f"location = '{tab.url}/plain/a/'")
    expect("/plain/a/")
    assert sources() == ["localhost"]


# -- single-page applications


WITHOUT_NAVIGATION = "Object.defineProperty(window, 'navigation', {value: undefined})"


@pytest.mark.parametrize("before", ["", WITHOUT_NAVIGATION], ids=["navigation", "history"])
def test_the_pages_of_an_application(tab: Tab, before: str) -> None:
    tab.before_each_page(SENT + before)
    tab.open("/plain/a/")
    assert tab.run("return Boolean(window.navigation)") is not bool(before)
    expect("/plain/a/")
    # the same page with another query, or in another state, is no page view; nor is one that is replaced
    tab.run("history.pushState({}, '', '?tab=2'); history.pushState({}, '', '#below')")
    tab.run("history.pushState({}, '', '#/no/route')")
    tab.run("history.replaceState({}, '', '/plain/c/')")
    tab.run("history.pushState({}, '', '/plain/b/')")
    expect("/plain/a/", "/plain/b/")
    tab.back("c")
    expect("/plain/a/", "/plain/b/", "/plain/c/")
    tab.run("history.forward()")
    expect("/plain/a/", "/plain/b/", "/plain/c/", "/plain/b/")
    assert tab.told() == ["/plain/a/", "/plain/b/", "/plain/c/", "/plain/b/"]
    assert sources() == ["(direct)", None, None, None]


def test_a_page_that_was_replaced_is_not_left_for_another_one(tab: Tab) -> None:
    """It has another path by now, and what is pushed has the same."""
    tab.before_each_page(SENT)
    tab.open("/plain/a/")
    expect("/plain/a/")
    tab.run("history.replaceState({}, '', '/plain/b/'); history.pushState({}, '', '/plain/b/?more')")
    tab.run("history.pushState({}, '', '/plain/c/')")
    expect("/plain/a/", "/plain/c/")
    assert tab.told() == ["/plain/a/", "/plain/c/"]


@pytest.mark.parametrize("kind", ["htmx2", "htmx4", "turbo", "turbo-body"])
def test_pages_that_a_library_swaps_in(tab: Tab, libraries: Path, kind: str) -> None:
    site.libraries = libraries
    tab.open(f"/{kind}/a/")
    tab.run("window.isTheSame = true")
    expect(f"/{kind}/a/")
    tab.click("b")
    expect(f"/{kind}/a/", f"/{kind}/b/")
    tab.click("c")
    expect(*(f"/{kind}/{name}/" for name in "abc"))
    tab.back("b")
    expect(*(f"/{kind}/{name}/" for name in "abcb"))
    assert tab.run("return window.isTheSame"), "the library did not swap anything"


def test_a_visit_that_turbo_is_redirected_on(tab: Tab, libraries: Path) -> None:
    """It goes to the address that was asked for, and replaces it by the other one later: a replaced page is no view."""
    site.libraries = libraries
    tab.open("/turbo/a/")
    tab.run("const link = document.getElementById('b'); link.href = '/moved/?to=/turbo/b/'; link.click()")
    wait_until(lambda: tab.run("return location.pathname") == "/turbo/b/", "where it leads to", timeout=10)
    tab.click("c")
    expect("/turbo/a/", "/moved/", "/turbo/c/")


def test_routes_in_the_fragment(tab: Tab) -> None:
    tab.before_each_page(SENT)
    tab.open("/hash/a/")
    expect("/hash/a/")
    tab.run("location.hash = '#top'")
    tab.run("location.hash = '#/settings?token=sesame'")
    expect("/hash/a/", "/hash/a/#/settings")
    tab.run("location.hash = '#/users'")
    expect("/hash/a/", "/hash/a/#/settings", "/hash/a/#/users")
    tab.run("history.back()")
    expect("/hash/a/", "/hash/a/#/settings", "/hash/a/#/users", "/hash/a/#/settings")
    assert "sesame" not in str(tab.run("return sent"))


# -- pages that are there before somebody sees them, or again


def test_a_page_out_of_the_back_forward_cache(tab: Tab) -> None:
    tab.open("/plain/a/")
    tab.run("window.isTheSame = true")
    expect("/plain/a/")
    tab.click("b")
    expect("/plain/a/", "/plain/b/")
    tab.back("a")
    expect("/plain/a/", "/plain/b/", "/plain/a/")
    assert tab.run("return window.isTheSame"), "the browser did not keep the page"
    assert [path for path, _ in site.asked] == ["/plain/a/", "/plain/b/"]
    assert sources() == ["(direct)", None, None]


def test_a_page_out_of_the_browsers_cache(tab: Tab) -> None:
    tab.open("/cached/a/")
    expect("/cached/a/")
    tab.click("b")
    expect("/cached/a/", "/cached/b/")
    tab.click("a")
    expect("/cached/a/", "/cached/b/", "/cached/a/")
    assert [path for path, _ in site.asked] == ["/cached/a/", "/cached/b/"]


def test_a_page_that_is_drawn_ahead_counts_when_it_is_looked_at(tab: Tab) -> None:
    tab.open("/prerender/a/")
    expect("/prerender/a/")
    wait_until(lambda: ("/prerender/b/", True) in site.asked, "a page drawn ahead", timeout=10)
    # of its own accord it would have told by now: the script of another page has, which came after it
    other = Tab(tab.driver, tab.url)
    other.open("/plain/c/")
    expect("/prerender/a/", "/plain/c/")
    tab.driver.switch_to.window(tab.driver.window_handles[-2])
    tab.click("b")
    expect("/prerender/a/", "/plain/c/", "/prerender/b/")
    started = "return performance.getEntriesByType('navigation')[0].activationStart"
    assert tab.run(started) > 0, "the browser has asked for the page again"


def test_a_tab_in_the_background_counts_when_it_is_looked_at(tab: Tab) -> None:
    tab.open("/plain/a/")
    expect("/plain/a/")
    front = tab.driver.current_window_handle
    opened = tab.driver.execute_cdp_cmd("Target.createTarget", {"url": f"{tab.url}/plain/b/", "background": True})[
        "targetId"
    ]
    wait_until(lambda: ("/plain/b/", False) in site.asked, "the page in the background", timeout=10)
    tab.run("history.pushState({}, '', '/plain/c/')")
    expect("/plain/a/", "/plain/c/")
    tab.driver.switch_to.window(opened)
    tab.driver.execute_cdp_cmd("Page.bringToFront", {})
    expect("/plain/a/", "/plain/c/", "/plain/b/")
    assert front != opened


# -- who does not want to be counted, and what stands in the way


@pytest.mark.parametrize(
    "signal",
    [
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})",
        "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})",
    ],
    ids=["gpc", "dnt"],
)
def test_under_a_signal_nothing_is_sent(tab: Tab, signal: str, settings: Any) -> None:
    tab.before_each_page(signal)
    tab.open("/plain/a/")
    tab.run("pagestats('/plain/b/')")
    settings.PAGESTATS_HONOUR_GPC = settings.PAGESTATS_HONOUR_DNT = False
    tab.open("/plain/c/")  # a site that does not honour it says so to the script
    expect("/plain/c/")


def test_nothing_is_sent_before_consent(tab: Tab) -> None:
    tab.open("/consent/a/")
    tab.run("pagestats('/plain/c/'); history.pushState({}, '', '/consent/b/')")
    tab.run("pagestats.allow()")
    expect("/consent/b/")
    tab.run("pagestats.allow(); history.pushState({}, '', '/consent/c/')")
    expect("/consent/b/", "/consent/c/")


def test_only_what_is_told_by_hand(tab: Tab) -> None:
    tab.open("/later/a/")
    tab.run("history.pushState({}, '', '/later/b/')")
    tab.run("pagestats()")
    expect("/later/b/")
    tab.run("pagestats('../c/?token=sesame#x')")
    expect("/later/b/", "/later/c/")
    tab.run("pagestats('/caf\\u00e9/')")
    expect("/later/b/", "/later/c/", "/café/")


def test_pages_that_are_excluded(tab: Tab) -> None:
    tab.open("/exclude/a/")
    expect("/exclude/a/")
    tab.click("b")
    tab.click("c")
    expect("/exclude/a/", "/exclude/c/")


def test_a_frame_is_a_part_of_its_page(tab: Tab) -> None:
    tab.open("/frame/a/")
    wait_until(lambda: len(site.asked) == 2, "the frame", timeout=10)
    expect("/frame/a/")
    tab.click("c")
    expect("/frame/a/", "/frame/c/")


@pytest.mark.parametrize("kind", ["csp", "nonce"])
def test_under_a_strict_policy(tab: Tab, kind: str) -> None:
    tab.open(f"/{kind}/a/")
    expect(f"/{kind}/a/")
    assert tab.complaints() == []


def test_what_a_blocker_blocks_is_no_trouble(tab: Tab) -> None:
    tab.driver.execute_cdp_cmd("Network.enable", {})
    tab.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/ps/note*"]})
    tab.before_each_page(
        "window.errors = []; addEventListener('error', (it) => errors.push(it.message));"
        "addEventListener('unhandledrejection', (it) => errors.push(String(it.reason)))"
    )
    tab.open("/plain/a/")
    tab.run("navigator.sendBeacon = () => false; history.pushState({}, '', '/plain/b/')")
    assert tab.title() == "a"
    blocked = "return performance.getEntriesByType('resource').filter((it) => it.responseStatus === 0).length"
    wait_until(lambda: tab.run(blocked) >= 2, "what is blocked", timeout=10)
    assert tab.run("return errors") == []
    tab.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    tab.run("history.pushState({}, '', '/plain/c/')")
    expect("/plain/c/")


@pytest.mark.parametrize("has", ["no beacon", "a full queue"])
def test_a_browser_that_sends_no_beacon_fetches(tab: Tab, has: str) -> None:
    answer = "undefined" if has == "no beacon" else "() => false"
    tab.before_each_page(f"Object.defineProperty(Navigator.prototype, 'sendBeacon', {{value: {answer}}})")
    tab.open("/plain/a/")
    expect("/plain/a/")
    assert tab.complaints() == []


def test_an_endpoint_of_another_origin(tab: Tab, start: Callable[..., str], settings: Any) -> None:
    """By a request that names its origin whatever the page's policy for referrers is, and expects no answer.

    Under Django's policy, "same-origin", a beacon names none by the standard; Chromium does all the same, so what is
    asked of the browser is looked at.
    """
    site.other = f"{start().replace('127.0.0.1', 'localhost')}/ps/note"
    settings.PAGESTATS_BEACON_ORIGINS = [tab.url]
    tab.before_each_page(SENT)
    tab.before_each_page(
        "window.fetched = []; const ask = fetch;"
        "window.fetch = (url, options) => { fetched.push([String(url), options]); return ask(url, options); }"
    )
    tab.open("/elsewhere/a/")
    expect("/elsewhere/a/")
    assert tab.complaints() == []
    assert tab.run("return sent") == []
    ((url, options),) = tab.run("return fetched")
    assert url == site.other
    assert options == {
        "method": "POST",
        "body": "/elsewhere/a/\n\n",
        "keepalive": True,
        "mode": "no-cors",
        "credentials": "include",
        "referrerPolicy": "strict-origin",
    }


def test_the_middleware_and_the_beacon_count_one_view_once(tab: Tab, start: Callable[..., str]) -> None:
    tab.url = start(
        PAGESTATS_RECORD_WITH="both",
        MIDDLEWARE=["django_pagestats.middleware.PageViewMiddleware", "django.middleware.common.CommonMiddleware"],
    )
    tab.open("/cached/a/")
    wait_until(lambda: left_out.counted().get("duplicate", 0) == 1, "the beacon of the first page", timeout=10)
    expect("/cached/a/")
    tab.run("history.pushState({}, '', '/cached/c/')")  # the site is not asked for it
    expect("/cached/a/", "/cached/c/")
    tab.click("b")
    wait_until(lambda: left_out.counted().get("duplicate", 0) == 2, "the beacon of the second page", timeout=10)
    tab.click("a")  # out of the browser's cache
    expect("/cached/a/", "/cached/c/", "/cached/b/", "/cached/a/")
    assert Counter(path for path, _ in site.asked) == {"/cached/a/": 1, "/cached/b/": 1}


# -- without scripts


def test_a_browser_without_scripts_loads_the_pixel(tab: Tab) -> None:
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    tab.open("/pixel/a/")
    expect("/pixel/a/")
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    tab.open("/pixel/b/")
    tab.open("/plain/c/")
    expect("/pixel/a/", "/plain/c/")


def test_the_button_takes_this_browser_out_and_back(tab: Tab) -> None:
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    tab.open("/button/a/")
    tab.driver.find_element("css selector", "button").click()
    wait_until(lambda: "not counted" in tab.driver.page_source, "what it did", timeout=10)
    assert tab.driver.find_element("link text", "Back").get_attribute("href") == f"{tab.url}/button/a/"
    tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    tab.open("/plain/a/")
    wait_until(lambda: left_out.counted().get("opted_out", 0) == 1, "a view that is left out", timeout=10)
    tab.open("/ps/choice")
    assert "not counted" in tab.driver.page_source
    tab.driver.find_element("css selector", "button").click()
    wait_until(lambda: "are counted" in tab.driver.page_source, "what it did", timeout=10)
    tab.open("/plain/b/")
    expect("/plain/b/")
