"""What a page was seen with: the family of the browser, of the system, and the class of the device, without versions.

Versions are left out because browsers no longer tell them: Android is always 10, macOS always 10.15.7. An iPad says
that it is a Mac, unless its user asks for the pages of phones: it counts as macOS on a desktop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

#: so much of each header is looked at
AGENT_LOOKED_AT_LENGTH = 512
HINT_LOOKED_AT_LENGTH = 256

DESKTOP, MOBILE, TABLET, TV = "desktop", "mobile", "tablet", "tv"


class Families(NamedTuple):
    """Each is '' where it is not known; the device is desktop, mobile, tablet or tv."""

    browser: str
    system: str
    device: str


#: Of Sec-CH-UA: browsers that name themselves there, and in the user agent say that they are Chrome.
_BRANDS = (
    ("Brave", "Brave"),
    ("Microsoft Edge", "Edge"),
    ("Opera", "Opera"),
    ("Vivaldi", "Vivaldi"),
    ("YaBrowser", "Yandex Browser"),
    ("Yandex", "Yandex Browser"),
    ("Samsung Internet", "Samsung Internet"),
    ("DuckDuckGo", "DuckDuckGo"),
    ("HuaweiBrowser", "Huawei Browser"),
)
#: Of the user agent, the first that is found: who builds on another names both, and stands before it.
_BROWSERS = (
    # apps that show pages in a window of their own
    ("FBAN/", "Facebook"),
    ("FBAV/", "Facebook"),
    ("FB_IAB/", "Facebook"),
    ("Instagram ", "Instagram"),
    ("MicroMessenger/", "WeChat"),
    ("BytedanceWebview", "TikTok"),
    ("musical_ly", "TikTok"),
    ("Snapchat", "Snapchat"),
    ("LinkedInApp", "LinkedIn"),
    ("Pinterest/", "Pinterest"),
    (" Line/", "LINE"),
    ("GSA/", "Google app"),
    # browsers built on Chrome or Safari
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("OPX/", "Opera"),
    ("OPiOS/", "Opera"),
    ("Opera", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("YaSearchBrowser/", "Yandex Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Brave", "Brave"),
    ("UCBrowser/", "UC Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("ArkWeb/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("QQBrowser/", "QQ Browser"),
    ("Whale/", "Whale"),
    ("Silk/", "Silk"),
    ("Electron/", "Electron"),
    ("CriOS/", "Chrome"),
    ("FxiOS/", "Firefox"),
    ("Focus/", "Firefox"),
    ("Klar/", "Firefox"),
    # built on Firefox
    ("SeaMonkey/", "SeaMonkey"),
    ("PaleMoon/", "Pale Moon"),
    ("Waterfox/", "Waterfox"),
    ("Firefox/", "Firefox"),
    ("Trident/", "Internet Explorer"),
    ("MSIE ", "Internet Explorer"),
    ("Chromium/", "Chromium"),
    ("; wv)", "WebView"),
    ("Epiphany/", "GNOME Web"),
    ("Chrome/", "Chrome"),
    ("Konqueror", "Konqueror"),
    ("Lynx/", "Lynx"),
    ("ELinks/", "ELinks"),
    ("Links (", "Links"),
    ("w3m/", "w3m"),
)
#: What says that it is Safari is Safari on these only.
_APPLE = ("Macintosh", "iPhone", "iPad", "iPod")

#: Of Sec-CH-UA-Platform, where its own name is not the family's.
_PLATFORMS = {
    "Windows": "Windows",
    "macOS": "macOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
    "Android": "Android",
    "iOS": "iOS",
    "Chrome OS": "Chrome OS",
    "Chromium OS": "Chrome OS",
    "HarmonyOS": "HarmonyOS",
    "OpenHarmony": "HarmonyOS",
    "Tizen": "Tizen",
    "webOS": "webOS",
    "Fuchsia": "Fuchsia",
}
#: Of the user agent, the first that is found.
_SYSTEMS = (
    ("Xbox", "Xbox"),
    ("PlayStation", "PlayStation"),
    ("PLAYSTATION", "PlayStation"),
    ("Nintendo", "Nintendo"),
    ("Windows Phone", "Windows Phone"),
    ("Windows", "Windows"),
    ("OpenHarmony", "HarmonyOS"),
    ("HarmonyOS", "HarmonyOS"),
    ("KAIOS", "KaiOS"),
    ("Tizen", "Tizen"),
    ("Web0S", "webOS"),
    ("webOS", "webOS"),
    ("Roku", "Roku"),
    ("Android", "Android"),
    ("Apple TV", "tvOS"),
    ("AppleTV", "tvOS"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("CrOS", "Chrome OS"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("BlackBerry", "BlackBerry"),
    ("BB10", "BlackBerry"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
)
#: Of the user agent in lower case, for consoles too.
_TVS = (
    "smart-tv",
    "smarttv",
    "smart tv",
    "googletv",
    "google tv",
    "android tv",
    "apple tv",
    "appletv",
    "hbbtv",
    "netcast",
    "web0s",
    "bravia",
    "viera",
    "crkey",
    "roku",
    "; aft",
    "xbox",
    "playstation 3",
    "playstation 4",
    "playstation 5",
    "nintendo wii",
    "nintendo switch",
)
#: A tablet of Microsoft's is any Windows with a pen.
_TABLETS = ("ipad", "tablet;", "kindle", "playbook", "sm-t", "sm-x")
_MOBILES = ("mobi", "iphone", "ipod", "windows phone", "opera mini", "blackberry", "kaios", "nintendo 3ds")
_DESKTOPS = frozenset(("Windows", "macOS", "Linux", "Chrome OS", "FreeBSD", "OpenBSD"))


def families(meta: Mapping[str, Any]) -> Families:
    """The families of one request, by its user agent and by the client hints that come unasked."""
    return _families(
        meta.get("HTTP_USER_AGENT", "")[:AGENT_LOOKED_AT_LENGTH],
        meta.get("HTTP_SEC_CH_UA", "")[:HINT_LOOKED_AT_LENGTH],
        meta.get("HTTP_SEC_CH_UA_PLATFORM", "")[:HINT_LOOKED_AT_LENGTH],
        meta.get("HTTP_SEC_CH_UA_MOBILE", "")[:HINT_LOOKED_AT_LENGTH],
    )


@lru_cache(maxsize=4_096)
def _families(agent: str, brands: str, platform: str, mobile: str) -> Families:
    system = _PLATFORMS.get(platform.strip('" '), "")
    if not system or "Xbox" in agent:  # whose browser says that it runs on Windows
        system = _first(_SYSTEMS, agent)
    return Families(_browser(agent, brands), system, _device(agent.lower(), system, mobile))


def _browser(agent: str, brands: str) -> str:
    if family := (brands and _first(_BRANDS, brands)) or _first(_BROWSERS, agent):
        return family
    if "AppleWebKit/" in agent:
        if _has_one_of(_APPLE, agent):  # without a version it is a window in an app
            return "Safari" if "Version/" in agent and "Safari/" in agent else "WebView"
        if "Android" in agent:
            return "Android Browser"
    return "Chromium" if '"Chromium"' in brands else ""


def _first(table: Iterable[tuple[str, str]], text: str) -> str:
    for token, family in table:
        if token in text:
            return family
    return ""


def _has_one_of(tokens: Iterable[str], text: str) -> bool:
    for token in tokens:  # noqa: SIM110  any() takes three times as long here
        if token in text:
            return True
    return False


def _device(agent: str, system: str, mobile: str) -> str:
    if _has_one_of(_TVS, agent) or (system == "Tizen" and "tv" in agent):
        return TV
    if mobile == "?1":
        return MOBILE
    if _has_one_of(_TABLETS, agent):
        return TABLET
    if mobile == "?0":
        return TABLET if system in ("Android", "HarmonyOS") else DESKTOP
    if _has_one_of(_MOBILES, agent):
        return MOBILE
    if system == "Android":
        return TABLET
    return DESKTOP if system in _DESKTOPS else ""
