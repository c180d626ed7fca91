"""The channel of a source: the vendored list, what is of our own, subdomains, countries, names, and any text."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.headers import channels
from django_pagestats.headers.channels import NAMES, OURS, Channel, channel_of

CHANNELS = {
    "search": """google.com google.de google.co.uk google.com.au uk.google.com m.google.fr bing.com cn.bing.com
        duckduckgo.com html.duckduckgo.com ecosia.org search.brave.com de.search.yahoo.com yandex.ru ya.ru baidu.com
        m.baidu.com qwant.com startpage.com kagi.com com.google.android.googlequicksearchbox google bing yahoo""",
    "social": """facebook.com m.facebook.com l.facebook.com lm.facebook.com t.co x.com linkedin.com lnkd.in
        old.reddit.com out.reddit.com bsky.app go.bsky.app mastodon.social news.ycombinator.com
        youtube.com m.youtube.com t.me instagram.com pinterest.de com.linkedin.android facebook fb linkedin""",
    "ai": """chatgpt.com chat.openai.com openai.com perplexity.ai www2.perplexity.ai claude.ai gemini.google.com
        copilot.microsoft.com chat.mistral.ai com.openai.chatgpt chatgpt perplexity""",
    "email": """mail.google.com mail.yahoo.com webmail.example.org outlook.live.com com.google.android.gm newsletter
        newsletter-march spring_newsletter e-mail mail email mailchimp newsletter.example.com mail.proton.me""",
    "campaign": "spring partner-42 leaflet überall qr localhost",
    "link": """example.org docs.google.com notgoogle.com google.example.com google.com.evil.example facebook.com.example
        cnn.com edition.cnn.com blog.x.com.example heise.de chatgpt.example hotmail.example xn--bcher-kva.example""",
    "direct": "(direct)",
    "other": "(other)",
}
#: of hosts and of texts with spaces
MORE = [("a dot. and spaces", "campaign"), ("google ads", "campaign"), ("news letter", "campaign"), ("", "campaign")]


@pytest.mark.parametrize(("channel", "sources"), CHANNELS.items())
def test_the_channel_of_a_source(channel: str, sources: str) -> None:
    assert {source: channel_of(source) for source in sources.split()} == dict.fromkeys(sources.split(), channel)
    assert all(channel_of(source) == it for source, it in MORE)


@given(st.one_of(st.text(max_size=100), st.from_regex(r"[a-z.]{1,100}", fullmatch=True)))
def test_any_text_has_one(source: str) -> None:
    assert channel_of(source) in get_args(Channel)


def test_the_list_names_its_version_and_its_licence_and_every_host_of_it_is_found() -> None:
    text = (files("django_pagestats.headers") / "channels.txt").read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert re.search(r"Version: commit [0-9a-f]{40} of \d{4}-\d\d-\d\d", head[2]) and "CC0 1.0" in head[3]
    listed = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert len(listed) > 800 and [it for it in listed if len(it) != 2 or it[0] not in get_args(Channel)] == []
    ours = {host for hosts in OURS.values() for host in hosts.split()}
    for channel, host in listed:
        if host not in ours:
            shown = re.sub(r"^\{\}", "fr", re.sub(r"\{\}$", "at", host))
            assert channel_of(shown) == channel, host


def test_nothing_is_in_two_tables() -> None:
    for texts in (OURS, NAMES):
        words = [word for listed in texts.values() for word in listed.split()]
        assert len(words) == len(set(words))
    assert channels._hosts()["google.{}"] == "search"
