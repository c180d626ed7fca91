"""By which kind of way a visitor came: the channel of a source, told when statistics are read.

So history is told anew whenever the tables grow. Of a source only its text is known: a host, an app's id, what a link
said by `utm_source`, or that nothing is known. What paid for a link is in no aggregate, so no channel is of
advertisements.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from django_pagestats.headers.sources import DIRECT as NOT_KNOWN

Channel = Literal["search", "social", "ai", "email", "campaign", "link", "direct", "other"]
SEARCH: Channel = "search"
SOCIAL: Channel = "social"
AI: Channel = "ai"
EMAIL: Channel = "email"
#: a link of the site's own that named its source by a word that is in no table
CAMPAIGN: Channel = "campaign"
#: a link on any other site, or in any other app
LINK: Channel = "link"
DIRECT: Channel = "direct"
#: sources that were too many to be told apart
OTHER: Channel = "other"

#: beside the vendored list: what it does not have, and hosts of it that are more than it says
OURS: dict[Channel, str] = {
    SEARCH: "com.duckduckgo.mobile.android com.microsoft.bing",
    SOCIAL: """com.facebook.katana com.facebook.lite com.google.android.youtube com.instagram.android
        com.linkedin.android com.pinterest com.twitter.android com.whatsapp com.zhiliaoapp.musically lemmy.world
        lobste.rs quora.com t.me wa.me whatsapp.com""",
    AI: """ai.perplexity.app.android com.anthropic.claude com.google.android.apps.bard com.microsoft.copilot
        com.openai.chatgpt copilot.cloud.microsoft deepseek.com doubao.com kimi.com openai.com phind.com poe.com""",
    EMAIL: """app.fastmail.com app.tuta.com com.google.android.gm com.microsoft.office.outlook deref-gmx.net
        deref-mail.com deref-web.de list-manage.com mailchi.mp outlook.com outlook.live.com outlook.office.com
        outlook.office365.com""",
    LINK: "cnn.com msnbc.msn.com",
}
#: what links call themselves by `utm_source`
NAMES: dict[Channel, str] = {
    SEARCH: "baidu bing brave duckduckgo ecosia google kagi naver qwant seznam startpage yahoo yandex",
    SOCIAL: """bluesky discord facebook fb hackernews ig insta instagram linkedin mastodon meta pinterest quora reddit
        snapchat telegram threads tiktok tumblr twitter vk whatsapp x xing youtube""",
    AI: "chatgpt claude copilot deepseek gemini grok mistral openai perplexity",
    EMAIL: "brevo convertkit hubspot klaviyo mailchimp mailjet sendgrid sendinblue",
}
#: words of a name, or the first label of a host, by which it is mail
MAIL_WORDS = frozenset(("email", "emailing", "mail", "mailing", "newsletter", "newsletters", "webmail"))
#: what stands before the host of a search engine when it is still one: docs.google.com is none
SEARCHING = re.compile(r"[a-z]{2}|www\d*|search|image|images|news|video|videos|maps|mobile|html|lite|safe|[mrl]")
#: a country stands after these, too: google.co.uk
COMBINED = frozenset(("co", "com", "edu", "it", "net", "org"))
_HOST = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)+")


@lru_cache(maxsize=20_000)
def channel_of(source: str) -> Channel:
    """The channel of a source, as it is recorded: any text gets one."""
    if source == NOT_KNOWN:
        return DIRECT
    if source == "(other)":
        return OTHER
    return _of_host(source) if _HOST.fullmatch(source) else _of_name(source)


def _of_host(host: str) -> Channel:
    """Of the longest part of it that a table has."""
    labels = host.split(".")
    for place in range(len(labels) - 1):
        found = _listed(labels[place:])
        if found == SEARCH and not all(map(SEARCHING.fullmatch, labels[:place])):
            break
        if found is not None:
            return found
    return EMAIL if labels[0] in MAIL_WORDS else LINK


def _listed(labels: list[str]) -> Channel | None:
    hosts = _hosts()
    found = hosts.get(".".join(labels))
    if found is None and len(labels[-1]) == 2:
        site = labels[: -2 if labels[-2] in COMBINED and len(labels) > 2 else -1]
        found = hosts.get(".".join([*site, "{}"]))
    return found


def _of_name(name: str) -> Channel:
    found = _names().get(name)
    if found is not None:
        return found
    return CAMPAIGN if MAIL_WORDS.isdisjoint(re.split("[^a-z0-9]+", name.replace("e-mail", "email"))) else EMAIL


@lru_cache(maxsize=1)
def _hosts() -> dict[str, Channel]:
    """host -> channel; {} at the end of one is any country."""
    text = (files(__package__) / "channels.txt").read_text(encoding="utf-8")
    pairs = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    # a country before a host is one of what may stand there (SEARCHING)
    listed: dict[str, Channel] = {host.removeprefix("{}."): channel for channel, host in pairs}  # type: ignore[misc]
    return listed | _by_text(OURS)


@lru_cache(maxsize=1)
def _names() -> dict[str, Channel]:
    return _by_text(NAMES)


def _by_text(texts: dict[Channel, str]) -> dict[str, Channel]:
    return {text: channel for channel, listed in texts.items() for text in listed.split()}
