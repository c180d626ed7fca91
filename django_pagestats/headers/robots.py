"""Whether a user agent is a robot's: one answer for the middleware, the beacon and imports.

First by how the text is built, which costs microseconds and knows the robots of tomorrow; then by the list of is-bot.
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

#: Browsers, of text and of old, that do not begin as all others do.
_OTHER_BROWSERS = re.compile(r"(?:lynx|w3m|e?links|opera)\b", re.IGNORECASE)
#: What no browser writes into an agent that begins as a browser's: an address to complain to, or what it does.
_ROBOTS_WORDS = re.compile(
    r"\+http|@|headless|crawl|spider|powershell|lighthouse|synthetic|monitor|-user/|preview/|(?<!cu)bot\b"
    r"|\(compatible; (?!msie|konqueror)",
    re.IGNORECASE,
)
#: Parts of people's agents that the list would take for a robot's: LG's televisions, and boxes with Google TV.
_PEOPLES_WORDS = re.compile(r"\w*manager\w*|google ?tv", re.IGNORECASE)


def is_robot_request(meta: Mapping[str, object]) -> bool:
    """Whether a robot asks: by its user agent, or since it signs what it asks for, as no browser does."""
    return bool(meta.get("HTTP_SIGNATURE_AGENT")) or is_robot(str(meta.get("HTTP_USER_AGENT") or ""))


def is_robot(agent: str) -> bool:
    """Whether a user agent is a robot's. A missing or empty one, and one of over 512 characters, is.

    PAGESTATS_ROBOTS_ADD are texts that make one a robot's, PAGESTATS_ROBOTS_REMOVE such as make one a person's,
    whatever else is in it. Answers are remembered; another value of these settings is looked at anew.
    """
    return len(agent) > AGENT_MAX_LENGTH or _is_robot(agent)


@lru_cache(maxsize=REMEMBERED_AGENTS)
def _is_robot(agent: str) -> bool:
    agent = agent.strip()
    if agent in ("", "-"):  # the latter is what logs have for none
        return True
    lower = agent.lower()
    if any(text.lower() in lower for text in conf.ROBOTS_REMOVE):
        return False
    return any(text.lower() in lower for text in conf.ROBOTS_ADD) or _is_built_as_robots(agent) or _is_listed(agent)


def _is_built_as_robots(agent: str) -> bool:
    if not agent.startswith("Mozilla/"):
        return _OTHER_BROWSERS.match(agent) is None
    return _ROBOTS_WORDS.search(agent) is not None


def _is_listed(agent: str) -> bool:
    if _OTHER_BROWSERS.match(agent):
        return False
    return bool(_list().is_bot(_PEOPLES_WORDS.sub("", agent)))


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
