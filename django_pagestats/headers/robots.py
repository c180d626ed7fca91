"""Whether a user agent is a robot's: one answer for the middleware, the beacon and imports.

First by how the text is built, which costs microseconds, knows three of four people of today as such, and finds nearly
all robots, those of tomorrow too. What is left is looked up in the list of is-bot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed

from django_pagestats.conf import Conf, conf

if TYPE_CHECKING:
    from is_bot import Bots

#: A longer user agent is a robot's; nothing is matched on it.
AGENT_MAX_LENGTH = 512
#: Agents whose answer is remembered in a process: a new one costs a fraction of a millisecond.
REMEMBERED_AGENTS = 4_096

#: What every browser has somewhere in its agent: the name of an engine, or, of the few others, a beginning.
_BROWSERS = re.compile(r"mozilla/\d|applewebkit/|hbbtv/|browser/|^(?:lynx|w3m|e?links|opera)\b", re.IGNORECASE)
#: Browsers of text. They name no engine, which is what the list takes for a robot.
_TEXT_BROWSERS = re.compile(r"(?:lynx|w3m|e?links)\b", re.IGNORECASE)
#: The whole of what the usual browsers send, since they keep it as it is: no robot of any list is built so.
_USUAL_BROWSERS = re.compile(
    r"Mozilla/5\.0 \((?:Windows NT [\d.]+; Win64; x64|Macintosh; Intel Mac OS X [\d_.]+"
    r"|X11; (?:Ubuntu; |Fedora; )?(?:Linux|CrOS) \w+(?: [\d.]+)?"
    r"|i(?:Phone|Pad); CPU (?:iPhone )?OS [\d_]+ like Mac OS X"
    r"|(?:Linux; )?Android [\d.]+; [^;()@+]*)(?:; rv:[\d.]+|; wv)?\)"
    r" (?:AppleWebKit/[\d.]+ \(KHTML, like Gecko\)|Gecko/[\d.]+)"
    r"(?: (?:Chrome|CriOS|EdgA?|EdgiOS|Firefox|FxiOS|GSA|Mobile|OPR|Safari|SamsungBrowser|Version)/[\w.]+| Mobile)*"
)
#: What no browser writes: an address to complain to, what it does, or that it is compatible with one.
_ROBOTS_WORDS = re.compile(
    r"\+http|@[a-z][\w-]*\.|headless|crawl|spider|powershell|lighthouse|synthetic|monitor|-user/|preview/"
    r"|(?<!cu)bot\b|\(compatible; (?!msie|konqueror|ibrowse|u;)",
    re.IGNORECASE,
)
#: Parts of people's agents in which a robot's word says nothing: the name of an Android device, which may be
#: "Spider 8", "Discovery" or "CUBOT" (but one monitor hides there), what televisions have, and Sogou's browser.
_PEOPLES_WORDS = re.compile(
    r"(?<=; )android [\d.]+;(?: [a-z]{2}[-_][a-z]{2};)?(?! catchpoint)[^;)]*|manager|google ?tv|\.catcher"
    r"|sogou(?:mse|mobilebrowser)",
    re.IGNORECASE,
)


def is_robot_request(meta: Mapping[str, object]) -> bool:
    """Whether a robot asks: by its user agent, or since it signs what it asks for, as no browser does."""
    return bool(meta.get("HTTP_SIGNATURE_AGENT")) or is_robot(str(meta.get("HTTP_USER_AGENT") or ""))


def is_robot(agent: str) -> bool:
    """Whether a user agent is a robot's. A missing or empty one, and one of over 512 characters, is.

    Of the others, one with a text of PAGESTATS_ROBOTS_REMOVE is a person's, whatever else is in it, and then one with a
    text of PAGESTATS_ROBOTS_ADD is a robot's. Answers are remembered, until one of these settings changes.
    """
    return len(agent) > AGENT_MAX_LENGTH or _is_robot(agent)


@lru_cache(maxsize=REMEMBERED_AGENTS)
def _is_robot(agent: str) -> bool:
    lower = agent.lower()
    if any(text.lower() in lower for text in conf.ROBOTS_REMOVE):
        return False
    if any(text.lower() in lower for text in conf.ROBOTS_ADD):
        return True
    if _USUAL_BROWSERS.fullmatch(agent):
        return False
    return is_built_as_robots(agent) or is_listed(agent)


def is_built_as_robots(agent: str) -> bool:
    """Whether a text names no browser, as one that is missing does not, or says itself that it is a robot's."""
    return not _BROWSERS.search(agent) or bool(_ROBOTS_WORDS.search(_PEOPLES_WORDS.sub("", agent)))


def is_listed(agent: str) -> bool:
    """Whether is-bot's list knows a text, apart from what it takes people for."""
    return not _TEXT_BROWSERS.match(agent) and bool(_list().is_bot(_PEOPLES_WORDS.sub("", agent)))


@cache
def _list() -> Bots:
    """Loaded with the first agent that needs it: that takes longer than all else at the start of a process."""
    from is_bot import Bots

    return Bots()


def _forget(*, setting: str, **kwargs: Any) -> None:
    """What was said under other settings; Django tells of their change in tests, where alone they may."""
    if setting in (Conf.ROBOTS_ADD.name, Conf.ROBOTS_REMOVE.name):
        _is_robot.cache_clear()


setting_changed.connect(_forget)
