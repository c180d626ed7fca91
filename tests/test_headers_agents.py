"""Browsers, systems and devices, by strings of the shapes that browsers send, and by the hints that come unasked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.headers import agents
from django_pagestats.headers.agents import Families, families

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
X11 = "Mozilla/5.0 (X11; Linux x86_64)"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPAD = "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
CHROME = f"{WEBKIT} Chrome/143.0.0.0 Safari/537.36"
CHROME_MOBILE = f"{WEBKIT} Chrome/143.0.0.0 Mobile Safari/537.36"

# fmt: off
AGENTS = [
    # on a desk
    (f"{WINDOWS} {CHROME}", "Chrome", "Windows", "desktop"),
    (f"{MAC} {CHROME}", "Chrome", "macOS", "desktop"),
    (f"{X11} {CHROME}", "Chrome", "Linux", "desktop"),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME}", "Chrome", "Chrome OS", "desktop"),
    (f"{WINDOWS} {CHROME} Edg/143.0.0.0", "Edge", "Windows", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763", "Edge", "Windows", "desktop"),
    (f"{WINDOWS} {CHROME} OPR/128.0.0.0", "Opera", "Windows", "desktop"),
    ("Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", "Opera", "Windows", "desktop"),
    (f"{WINDOWS} {CHROME} Vivaldi/7.7.3851.52", "Vivaldi", "Windows", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/142.0.0.0 YaBrowser/25.12.0.0 Safari/537.36", "Yandex Browser", "Windows", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/134.0.0.0 Whale/4.31.304.16 Safari/537.36", "Whale", "Windows", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/116.0.0.0 Safari/537.36 QQBrowser/19.5", "QQ Browser", "Windows", "desktop"),
    (f"{MAC} {WEBKIT} desk/4.1 Chrome/138.0.0.0 Electron/37.2.0 Safari/537.36", "Electron", "macOS", "desktop"),
    (f"{X11} {WEBKIT} Ubuntu Chromium/112.0.0.0 Chrome/112.0.0.0 Safari/537.36", "Chromium", "Linux", "desktop"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
     "Firefox", "Windows", "desktop"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0",
     "Firefox", "macOS", "desktop"),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox", "Linux", "desktop"),
    ("Mozilla/5.0 (X11; FreeBSD amd64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox", "FreeBSD", "desktop"),
    ("Mozilla/5.0 (X11; OpenBSD amd64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox", "OpenBSD", "desktop"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0 SeaMonkey/2.53.21",
     "SeaMonkey", "Linux", "desktop"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Goanna/6.8 Firefox/128.0 PaleMoon/33.9",
     "Pale Moon", "Linux", "desktop"),
    ("Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0 Waterfox/6.6",
     "Waterfox", "Windows", "desktop"),
    (f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.2 Safari/605.1.15", "Safari", "macOS", "desktop"),
    (f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.2 Safari/605.1.15 Ddg/26.2",
     "DuckDuckGo", "macOS", "desktop"),
    (f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko)", "WebView", "macOS", "desktop"),
    (f"{X11} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15 Epiphany/605.1.15",
     "GNOME Web", "Linux", "desktop"),
    ("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; Touch; rv:11.0) like Gecko",
     "Internet Explorer", "Windows", "desktop"),
    ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)",
     "Internet Explorer", "Windows", "desktop"),
    ("Mozilla/5.0 (compatible; Konqueror/4.14; Linux) KHTML/4.14.2 (like Gecko)", "Konqueror", "Linux", "desktop"),
    ("Lynx/2.9.2 libwww-FM/2.14 SSL-MM/1.4.1", "Lynx", "", ""),
    ("Links (2.30; Linux 6.12.0 x86_64; GNU C 14.2; text)", "Links", "Linux", "desktop"),
    ("ELinks/0.18.0 (textmode; Linux 6.12.0 x86_64; 80x24-2)", "ELinks", "Linux", "desktop"),
    ("w3m/0.5.3+git20230121", "w3m", "", ""),
    # in a hand
    (f"{ANDROID} {CHROME_MOBILE}", "Chrome", "Android", "mobile"),
    (f"{ANDROID} {CHROME_MOBILE} EdgA/143.0.0.0", "Edge", "Android", "mobile"),
    (f"{ANDROID} {CHROME_MOBILE} OPR/92.0.0.0", "Opera", "Android", "mobile"),
    (f"{ANDROID} {WEBKIT} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
     "Samsung Internet", "Android", "mobile"),
    (f"{ANDROID} {WEBKIT} Version/4.0 Chrome/143.0.0.0 Mobile DuckDuckGo/5 Safari/537.36",
     "DuckDuckGo", "Android", "mobile"),
    ("Mozilla/5.0 (Linux; U; Android 14; en-US; 2201) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
     "Chrome/123.0.0.0 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.30", "Mi Browser", "Android", "mobile"),
    ("Mozilla/5.0 (Linux; U; Android 13; en-US) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
     "Chrome/123.0.0.0 UCBrowser/15.5 Mobile Safari/537.36", "UC Browser", "Android", "mobile"),
    ("Mozilla/5.0 (Linux; Android 12; NOH-NX9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 "
     "HuaweiBrowser/15.0 Mobile Safari/537.36", "Huawei Browser", "Android", "mobile"),
    ("Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 "
     "ArkWeb/4.1 Mobile", "Huawei Browser", "HarmonyOS", "mobile"),
    ("Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox", "Android", "mobile"),
    ("Mozilla/5.0 (Linux; U; Android 4.0.3; de-de) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile "
     "Safari/534.30", "Android Browser", "Android", "mobile"),
    ("Mozilla/5.0 (Linux; Android 15; Pixel 9; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
     "Chrome/143.0.0.0 Mobile Safari/537.36", "WebView", "Android", "mobile"),
    (f"{ANDROID} {CHROME_MOBILE} [FB_IAB/FB4A;FBAV/540.0.0.0;]", "Facebook", "Android", "mobile"),
    (f"{ANDROID} {CHROME_MOBILE} Instagram 400.0.0.0 Android", "Instagram", "Android", "mobile"),
    (f"{ANDROID} {CHROME_MOBILE} BytedanceWebview/d8a21c6", "TikTok", "Android", "mobile"),
    (f"{ANDROID} {CHROME_MOBILE} MicroMessenger/8.0.60", "WeChat", "Android", "mobile"),
    (f"{IPHONE} Version/26.2 Mobile/15E148 Safari/604.1", "Safari", "iOS", "mobile"),
    (f"{IPHONE} CriOS/143.0.7499.0 Mobile/15E148 Safari/604.1", "Chrome", "iOS", "mobile"),
    (f"{IPHONE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15", "Firefox", "iOS", "mobile"),
    (f"{IPHONE} Version/18.0 EdgiOS/143.0.0.0 Mobile/15E148 Safari/604.1", "Edge", "iOS", "mobile"),
    (f"{IPHONE} Version/18.0 OPT/6.1.0 Mobile/15E148 Safari/604.1", "Opera", "iOS", "mobile"),
    (f"{IPHONE} GSA/395.0 Mobile/15E148 Safari/604.1", "Google app", "iOS", "mobile"),
    (f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/540.0.0.0]", "Facebook", "iOS", "mobile"),
    (f"{IPHONE} Mobile/15E148 [LinkedInApp]/9.31", "LinkedIn", "iOS", "mobile"),
    (f"{IPHONE} Mobile/15E148 Safari Line/15.19.0", "LINE", "iOS", "mobile"),
    (f"{IPHONE} Mobile/15E148", "WebView", "iOS", "mobile"),
    ("Opera/9.80 (J2ME/MIDP; Opera Mini/9.80/191.308; U; en) Presto/2.12", "Opera", "", "mobile"),
    ("Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", "Firefox", "KaiOS", "mobile"),
    ("Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/52.0.2743.116 Mobile Safari/537.36 Edge/15.15063", "Edge", "Windows Phone", "mobile"),
    ("Mozilla/5.0 (BB10; Touch) AppleWebKit/537.35 (KHTML, like Gecko) Version/10.3.3 Mobile Safari/537.35",
     "", "BlackBerry", "mobile"),
    # tablets
    (f"{ANDROID} {CHROME}", "Chrome", "Android", "tablet"),
    ("Mozilla/5.0 (Android 15; Tablet; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox", "Android", "tablet"),
    (f"{IPAD} Version/18.6 Mobile/15E148 Safari/604.1", "Safari", "iOS", "tablet"),
    (f"{IPAD} CriOS/143.0.7499.0 Mobile/15E148 Safari/604.1", "Chrome", "iOS", "tablet"),
    ("Mozilla/5.0 (Linux; Android 11; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/138.3 like Chrome/138.0.0.0 "
     "Safari/537.36", "Silk", "Android", "tablet"),
    # on a wall
    (f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 9.0) {WEBKIT} 120.0.6099.5/9.0 TV Safari/537.36", "", "Tizen", "tv"),
    ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
     "Chrome", "webOS", "tv"),
    ("Mozilla/5.0 (Linux; Android 9; AFTMM) AppleWebKit/537.36 (KHTML, like Gecko) Silk/138.3 like Chrome/138.0.0.0 "
     "Safari/537.36", "Silk", "Android", "tv"),
    ("Mozilla/5.0 (Linux; Android 12; BRAVIA 4K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
     "Chrome", "Android", "tv"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0", "Edge", "Xbox", "tv"),
    ("Mozilla/5.0 (PlayStation; PlayStation 5/9.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.0 Safari/605.1",
     "", "PlayStation", "tv"),
    ("Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4 (KHTML, like Gecko) NF/6.0.2 NX/3.0",
     "", "Nintendo", "tv"),
    # nothing to go by
    ("", "", "", ""),
    ("Mozilla/5.0", "", "", ""),
    ("\x00\ud800", "", "", ""),
]
# fmt: on


@pytest.mark.parametrize(("agent", "browser", "system", "device"), AGENTS)
def test_by_the_user_agent(agent: str, browser: str, system: str, device: str) -> None:
    assert families({"HTTP_USER_AGENT": agent}) == Families(browser, system, device)


def test_there_are_some_sixty() -> None:
    assert len({agent for agent, *_ in AGENTS}) == len(AGENTS) >= 60


def hinted(agent: str, brands: str = "", platform: str = "", mobile: str = "") -> Families:
    meta = {"HTTP_USER_AGENT": agent, "HTTP_SEC_CH_UA": brands}
    meta |= {"HTTP_SEC_CH_UA_PLATFORM": platform, "HTTP_SEC_CH_UA_MOBILE": mobile}
    return families(meta)


def brands(*names: str) -> str:
    return ", ".join(f'"{name}";v="143"' for name in ("Not?A_Brand", "Chromium", *names))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Google Chrome", "Chrome"),
        ("Brave", "Brave"),
        ("Microsoft Edge", "Edge"),
        ("Opera", "Opera"),
        ("Opera GX", "Opera"),
        ("Vivaldi", "Vivaldi"),
        ("Samsung Internet", "Samsung Internet"),
        ("DuckDuckGo", "DuckDuckGo"),
        ("YaBrowser", "Yandex Browser"),
        ("HuaweiBrowser", "Huawei Browser"),
        ("Some Browser", "Chrome"),
    ],
)
def test_brands_name_those_who_say_that_they_are_chrome(name: str, expected: str) -> None:
    assert hinted(f"{WINDOWS} {CHROME}", brands(name), '"Windows"', "?0") == (expected, "Windows", "desktop")


def test_an_agent_that_says_nothing_is_chromium_by_its_brands() -> None:
    assert hinted("Mozilla/5.0", brands()).browser == "Chromium"


@pytest.mark.parametrize(
    ("platform", "mobile", "system", "device"),
    [
        ('"Windows"', "?0", "Windows", "desktop"),
        ('"macOS"', "?0", "macOS", "desktop"),
        ('"Linux"', "?0", "Linux", "desktop"),
        ('"Chrome OS"', "?0", "Chrome OS", "desktop"),
        ('"Chromium OS"', "?0", "Chrome OS", "desktop"),
        ('"Android"', "?1", "Android", "mobile"),
        ('"Android"', "?0", "Android", "tablet"),
        ("Android", "?1", "Android", "mobile"),
        ('"Unknown"', "?0", "Linux", "desktop"),
        ('"Made up"', "", "Linux", "desktop"),
        ("", "?1", "Linux", "mobile"),
    ],
)
def test_platform_and_mobile_come_before_the_user_agent(platform: str, mobile: str, system: str, device: str) -> None:
    assert hinted(f"{X11} {CHROME}", brands(), platform, mobile) == ("Chrome", system, device)


def test_a_television_and_a_console_are_known_in_spite_of_their_hints() -> None:
    xbox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One)"
    assert hinted(f"{xbox} {CHROME} Edg/138.0.0.0", brands("Microsoft Edge"), '"Windows"', "?0") == (
        "Edge",
        "Xbox",
        "tv",
    )
    assert hinted(f"Mozilla/5.0 (Linux; Android 12; BRAVIA) {CHROME}", "", '"Android"', "?0").device == "tv"


def test_an_ipad_says_that_it_is_a_mac() -> None:
    """Which the documentation says, too: no header tells them apart."""
    ipad = f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.2 Safari/605.1.15"
    assert families({"HTTP_USER_AGENT": ipad}) == Families("Safari", "macOS", "desktop")


def test_no_headers() -> None:
    assert families({}) == Families("", "", "")


def test_the_memory_of_agents_is_bounded() -> None:
    """In their number, and each in its length."""
    agents._families.cache_clear()
    for number in range(5_000):
        families({"HTTP_USER_AGENT": f"Mozilla/5.0 {number}"})
    remembered = agents._families.cache_info()
    assert remembered.currsize == remembered.maxsize == 4_096
    long = {"HTTP_USER_AGENT": "a" * 512, "HTTP_SEC_CH_UA": "b" * 256}
    families(long)
    hits = agents._families.cache_info().hits
    families({name: value + "c" * 100_000 for name, value in long.items()})
    assert agents._families.cache_info().hits == hits + 1


@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=10), st.sampled_from(["", "?0", "?1", "\x00"]))
def test_whatever_is_sent_gives_what_is_in_the_tables(agent: str, names: str, platform: str, mobile: str) -> None:
    found = hinted(agent, names, platform, mobile)
    assert found.device in ("", "desktop", "mobile", "tablet", "tv")
    tables: dict[str, Any] = {"browser": (*agents._BROWSERS, *agents._BRANDS), "system": agents._SYSTEMS}
    browsers = {family for _, family in tables["browser"]} | {"Safari", "WebView", "Android Browser", ""}
    assert found.browser in browsers
    assert found.system in {family for _, family in tables["system"]} | set(agents._PLATFORMS.values()) | {""}
