"""Where visitors come from: arrivals, their sources and campaigns, and the list of referrer spam."""

from __future__ import annotations

import re
import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.headers import sources
from django_pagestats.headers.sources import DIRECT, VALUE_MAX_LENGTH, Origin, host_of, is_spam, origin_of

OWN = ("www.example.org:8000",)
INSIDE = Origin(is_arrival=False, is_spam=False, attributes={})


def origin(
    referrer: str | None = None, *, site: str | None = None, query: str = "", said: str | None = None, own: Any = OWN
) -> Origin:
    """Of a request with a Referer and a Sec-Fetch-Site; `said` is what a script says."""
    meta = {"HTTP_REFERER": referrer, "HTTP_SEC_FETCH_SITE": site}
    meta = {name: value for name, value in meta.items() if value is not None}
    return origin_of(meta, query=query, own_hosts=own, referrer=said)


def source(*args: Any, **kwargs: Any) -> str | None:
    found = origin(*args, **kwargs)
    assert found.is_arrival == ("source" in found.attributes or found.is_spam)
    return found.attributes.get("source")


# -- arrivals


@pytest.mark.parametrize("site", [None, "none", "same-site", "cross-site", "same-origin, same-origin", ""])
def test_without_a_referrer_it_is_a_direct_arrival(site: str | None) -> None:
    assert origin(site=site) == Origin(is_arrival=True, is_spam=False, attributes={"source": DIRECT})
    assert origin("", site=site).attributes == {"source": DIRECT}


def test_a_page_of_this_site_that_sends_no_referrer_is_known_by_sec_fetch_site() -> None:
    """Referrer-Policy: no-referrer."""
    assert origin(site="same-origin") == INSIDE


def test_a_reload_by_script_repeats_the_referrer_of_another_site() -> None:
    assert origin("https://news.example/", site="same-origin") == INSIDE


@pytest.mark.parametrize("site", [None, "none", "same-site", "cross-site"])
def test_a_referrer_of_ones_own_is_no_arrival(site: str | None) -> None:
    """Cross-site: by way of another site, such as a redirect of one's own that counts clicks."""
    assert origin("https://www.example.org/a/?b=c", site=site) == INSIDE


@pytest.mark.parametrize(
    "referrer",
    [
        "https://example.org",
        "http://www.example.org:80/",
        "https://WWW.Example.ORG./",
        "https://user:password@example.org/",
        "https://example.org\\@evil.example/",
        "https://example.org#top",
        "https://example.org?q",
    ],
)
def test_www_port_case_and_the_dot_at_the_end_make_no_difference(referrer: str) -> None:
    assert origin(referrer) == INSIDE
    assert origin(referrer, own=("EXAMPLE.org.",)) == INSIDE


def test_a_subdomain_is_another_site_unless_it_is_named(settings: Any) -> None:
    assert source("https://blog.example.org/", site="same-site") == "blog.example.org"
    settings.PAGESTATS_OWN_HOSTS = ["blog.example.org", ".example.net"]
    assert origin("https://blog.example.org/", site="same-site") == INSIDE
    assert origin("https://www.blog.example.org/") == INSIDE
    assert origin("https://example.net/") == origin("https://a.b.Example.net/") == INSIDE
    assert source("https://badexample.net/") == "badexample.net"
    assert source("https://example.org.evil.example/") == "example.org.evil.example"


def test_own_hosts_that_are_looked_up_late() -> None:
    """Nobody is asked for the own host of a page view to which it makes no difference."""

    def asked() -> Any:
        raise AssertionError("asked")
        yield ""

    assert origin(site="same-origin", own=asked()) == INSIDE
    assert source(own=asked()) == DIRECT
    with pytest.raises(AssertionError, match="asked"):
        origin("https://example.com/", own=asked())


def test_an_apps_id_is_no_host() -> None:
    assert source("android-app://semalt.com/") == "semalt.com"
    assert source("android-app://org.example/", own=("org.example",)) == "org.example"


def test_an_own_host_may_be_an_address() -> None:
    assert origin("http://127.0.0.1:8000/", own=("127.0.0.1:8000",)) == INSIDE
    assert origin("http://[::1]:8000/", own=("[::1]:8000",)) == INSIDE
    assert source("http://[::1]:8000/", own=("[::2]:8000",)) == DIRECT


def test_what_a_script_says_stands_for_the_page() -> None:
    """The script's own request comes from this site always, with the page as its referrer."""
    own = {"referrer": "https://www.example.org/landing/", "site": "same-origin"}
    assert source(**own, said="https://news.example/") == "news.example"
    assert source(**own, said="") == DIRECT
    assert origin(**own, said="https://example.org/") == INSIDE
    assert origin(**own) == INSIDE


# -- sources


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("https://www.google.com/", "google.com"),
        ("https://WWW.Google.com:443/search?q=secret", "google.com"),
        ("https://m.facebook.com", "m.facebook.com"),
        ("https://xn--mnchen-3ya.de/", "xn--mnchen-3ya.de"),
        ("https://example.com:99999/", "example.com"),
        ("https://example.com:port/", "example.com"),
        ("https://example.com./", "example.com"),
        ("https://joe:secret@example.com/", "example.com"),
        ("https://joe:p@ss@example.com/", "example.com"),
        ("http://localhost:3000/", "localhost"),
        ("https://www.com/", "www.com"),
        ("https://a_b.example.com/", "a_b.example.com"),
        ("android-app://com.google.android.gm/", "com.google.android.gm"),
        ("android-app://com.Slack", "com.slack"),
    ],
)
def test_the_source_is_the_referrers_host_without_www(referrer: str, expected: str) -> None:
    assert source(referrer) == expected


@pytest.mark.parametrize(
    "referrer",
    [
        "about:client",
        "null",
        "example.com/without/scheme",
        "//example.com/",
        "file:///C:/secret.html",
        "data:text/html,x",
        "javascript:alert(1)",
        "moz-extension://7c1a3f6e-5f0d-4b7e-8d46-0a6c1d0ad1c3/page.html",
        "chrome-extension://cfhdojbkjhnklbpkdaibdccddilifddb/",
        "https:///path",
        "https://",
        "https://@/",
        "https://:80/",
        "https://./",
        "https://-a.example/",
        "https://exa mple.com/",
        "https://exam\x00ple.com/",
        "https://m\u00fcnchen.de/",
        "https://<script>/",
        "https://%65xample.com/",
        "https://[::1/",
        "https://" + "a" * 254,
        "\ud800",
    ],
)
def test_a_referrer_that_names_no_site_is_a_direct_arrival(referrer: str) -> None:
    assert source(referrer) == DIRECT


@pytest.mark.parametrize("host", ["192.0.2.7", "[2001:db8::7]", "[fe80::1%25eth0]", "0x7f.1", "127.1", "2130706433"])
def test_an_address_is_nobodys_name(host: str) -> None:
    """It may be the visitor's own, and no address is stored."""
    assert source(f"https://{host}:8443/") == DIRECT
    assert source(query=f"ref={quote(f'http://{host}/')}") == DIRECT


def test_eight_kilobytes_of_referrer() -> None:
    assert source("https://example.com/" + "a" * 8_192) == "example.com"
    assert source("https://" + "a" * 8_192 + "@example.com/") == DIRECT
    assert source("https://" + "a." * 4_096 + "com/") == DIRECT
    assert source("a" * 8_192 + "://example.com/") == DIRECT


def test_the_host_of_a_url() -> None:
    assert host_of("https://User@WWW.Example.com.:8000/a?b#c") == "www.example.com"
    assert host_of("http://[2001:DB8::7]:80/") == "[2001:db8::7]"
    assert host_of("android-app://com.google.android.gm/x") == "com.google.android.gm"
    assert host_of("ftp://example.com/") == host_of("") == ""


# -- campaigns


def test_the_five_parameters_of_a_campaign() -> None:
    query = "page=2&utm_source=News+Letter&utm_medium=E%2DMail&utm_campaign=Fr%C3%BChling&utm_term=a&utm_content=B&x=y"
    assert origin("https://google.com/", query=query) == Origin(
        is_arrival=True,
        is_spam=False,
        attributes={
            "source": "news letter",
            "medium": "e-mail",
            "campaign": "fr\u00fchling",
            "term": "a",
            "content": "b",
        },
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("utm_source=a&ref=b&source=c", "a"),
        ("source=c&ref=b", "b"),
        ("source=c", "c"),
        ("utm_source=&ref=b", "b"),
        ("utm_source=joe%40example.org&ref=b", "b"),
        ("utm_source=%00%07&source=c", "c"),
        ("utm_source=a&utm_source=b", "a"),
        ("utm_source=&utm_source=b", "b"),
        ("a=b&amp;utm_source=c", "c"),
        ("UTM_Source=A", "a"),
        ("ref=https%3A%2F%2Fwww.Example.com%2Fa%3Ftoken%3Dsecret", "example.com"),
        ("ref=ftp%3A%2F%2Fexample.com", "google.com"),
        ("utm_source", "google.com"),
        ("utm_sources=a&xref=b&utm_id=1&gclid=2", "google.com"),
        ("utm_source=%", "%"),
        ("utm_source=%FF", "\ufffd"),
        ("&&=&=a&utm_source=b=c", "b=c"),
        ("", "google.com"),
    ],
)
def test_the_query_comes_before_the_referrer(query: str, expected: str) -> None:
    assert source("https://www.google.com/", query=query) == expected


def test_a_campaign_inside_the_site_is_no_arrivals() -> None:
    """Links that keep the query would make a campaign of each further page."""
    assert origin("https://example.org/", query="utm_source=banner&utm_campaign=a") == INSIDE
    assert origin(site="same-origin", query="utm_source=banner&utm_campaign=a") == INSIDE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  Spring \t Sale ", "spring sale"),
        ("news\x00let\x1fter\x7f\x9f", "newsletter"),
        ("a\r\nb", "ab"),
        ("a\u202eb\u200bc\ufeff", "abc"),
        ("\ud800x\udfff", "x"),
        ("x" * 101, "x" * 100),
        ("x" * 99 + " y", "x" * 99),
        ("\u0130" * 100, ("i\u0307" * 100)[:100]),
        ("joe@example.org", ""),
        ("joe%40example.org", ""),
        ("J\u00f6 JOE%2540", "j\u00f6 joe%2540"),
        ("m\u00fcller\uff20example.org", ""),
        ("m\u00fcller@example.org", ""),
        ("x" * 200 + "@example.org", ""),
        ("\x00", ""),
        ("", ""),
    ],
)
def test_what_becomes_of_a_value(value: str, expected: str) -> None:
    assert sources.clean(value) == expected


def test_a_mail_address_that_was_escaped_twice_is_dropped_too() -> None:
    assert origin(query="utm_term=joe%2540example.org&utm_campaign=joe%40example.org").attributes == {"source": DIRECT}


def test_only_so_much_of_a_query_is_read() -> None:
    assert source(query="a=" + "b" * 5_000 + "&utm_source=x") == DIRECT
    assert source(query="utm_source=" + "x" * 8_000) == "x" * VALUE_MAX_LENGTH


@given(
    query=st.text(max_size=60).map(
        lambda text: f"utm_source={text}&utm_term={quote(text, errors='replace')}&ref={text}"
    ),
    referrer=st.one_of(st.none(), st.text(max_size=60), st.text(max_size=60).map(lambda text: f"https://{text}")),
)
def test_whatever_is_sent_can_be_stored_and_names_nobody(query: str, referrer: str | None) -> None:
    found = origin(referrer, query=query).attributes
    assert set(found) <= {"source", "medium", "campaign", "term", "content"}
    for value in found.values():
        assert 1 <= len(value) <= VALUE_MAX_LENGTH
        value.encode()  # no half of a surrogate pair
        assert "@" not in value
        assert not re.search("[\x00-\x1f\x7f-\x9f]", value)
        assert value == value.strip()


# -- spam


def listed() -> list[str]:
    return sorted(sources._spammers())


def test_a_referrer_of_the_list_is_spam() -> None:
    assert origin("https://semalt.com/x") == Origin(is_arrival=True, is_spam=True, attributes={})
    assert origin("http://deep.below.Semalt.com.:8080/").is_spam
    assert not origin("https://notsemalt.com/").is_spam
    assert not origin("https://com/").is_spam
    assert origin("https://example.com/", said="https://semalt.com/").is_spam
    assert not origin("https://semalt.com/", said="").is_spam


def test_ones_own_host_and_ones_own_pages_are_no_spam() -> None:
    assert origin("https://semalt.com/", own=("semalt.com",)) == INSIDE
    assert origin("https://semalt.com/", site="same-origin") == INSIDE


def test_a_part_of_a_host_that_may_be_anybodys_is_no_spam() -> None:
    """The list has single subdomains of hosters: the hoster, and its other customers, are not meant."""
    below = [host for host in listed() if host.count(".") > 1 and host.partition(".")[2] not in sources._spammers()]
    assert below
    for host in below:
        assert is_spam(host)
        assert not is_spam(host.partition(".")[2])


def test_the_list_names_its_version_and_licence() -> None:
    text = (sources.files("django_pagestats.headers") / "referrer_spam.txt").read_text(encoding="utf-8")
    notes = [line for line in text.splitlines() if line.startswith("#")]
    assert re.search(r"Version: commit [0-9a-f]{40} of \d{4}-\d\d-\d\d", "\n".join(notes))
    assert "public domain (CC0 1.0)" in "\n".join(notes)
    assert len(listed()) > 2_000
    assert text.splitlines()[len(notes) :] == listed()  # in order, each once
    allowed = set(string.ascii_lowercase + string.digits + ".-_")
    assert [host for host in listed() if not set(host) <= allowed] == []
