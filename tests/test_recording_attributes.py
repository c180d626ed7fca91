"""What is known of a page view: which attributes there are, and that none of them costs the page view."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from django_pagestats import intake
from django_pagestats.models import PageView
from django_pagestats.recording import attributes, left_out
from django_pagestats.recording.attributes import OTHER, Known, attributes_of
from tests.checking import of_settings
from tests.recording_site import BROWSER as FIREFOX
from tests.recording_site import MIDDLEWARE

BROWSER = {
    "HTTP_HOST": "www.Example.org:8000",
    "HTTP_USER_AGENT": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0",
    "HTTP_ACCEPT_LANGUAGE": "de-AT,de;q=0.9,en;q=0.8",
}
CAMPAIGN = "utm_source=Letter&utm_medium=Mail&utm_campaign=Spring&utm_term=Shoes&utm_content=Top"
SEEN_WITH = {"browser": "Edge", "system": "Windows", "device": "desktop", "language": "de"}


@pytest.fixture(autouse=True)
def anew(recorded_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "_logged_at", {})


def known(query: str = "", said: str | None = None, response: HttpResponseBase | None = None, **headers: str) -> Known:
    request = RequestFactory().get("/", **{**BROWSER, **headers})
    return attributes_of(request, response, query=query, referrer=said)


def values(*args: Any, **kwargs: Any) -> dict[str, str]:
    return known(*args, **kwargs).values


# -- which there are


def test_an_arrival_by_a_campaign() -> None:
    assert known(CAMPAIGN, HTTP_REFERER="https://www.google.com/") == Known(
        {
            "source": "letter",
            "medium": "mail",
            "campaign": "spring",
            "term": "shoes",
            "content": "top",
            **SEEN_WITH,
        },
        is_spam=False,
    )
    assert left_out.counted() == {}


def test_a_page_after_another_has_no_source() -> None:
    assert values(HTTP_REFERER="http://example.org/before/") == SEEN_WITH
    assert values(CAMPAIGN, HTTP_SEC_FETCH_SITE="same-origin") == SEEN_WITH
    assert values() == {"source": "(direct)", **SEEN_WITH}


def test_what_a_script_says_of_the_referrer() -> None:
    own = {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_REFERER": "http://example.org/"}
    assert values(said="https://news.example/", **own)["source"] == "news.example"
    assert values(said="", **own)["source"] == "(direct)"
    assert values(said="http://example.org/", **own) == SEEN_WITH


def test_spam_has_no_attributes() -> None:
    assert known(HTTP_REFERER="https://semalt.com/") == Known({}, is_spam=True)


def test_only_those_that_are_named(settings: Any) -> None:
    settings.PAGESTATS_ATTRIBUTES = ["campaign", "device"]
    assert values(CAMPAIGN) == {"campaign": "spring", "device": "desktop"}
    settings.PAGESTATS_ATTRIBUTES = []
    assert values(CAMPAIGN) == {}
    assert known(HTTP_REFERER="https://semalt.com/").is_spam


def test_the_country_where_it_is_set_up(settings: Any) -> None:
    cdn = {"REMOTE_ADDR": "10.0.0.1", "HTTP_CF_IPCOUNTRY": "AT"}
    assert "country" not in values(**cdn)
    settings.PAGESTATS_COUNTRY = "CF-IPCountry"
    settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.1"]
    assert values(**cdn)["country"] == "AT"
    settings.PAGESTATS_ATTRIBUTES = ["browser"]
    assert values(**cdn) == {"browser": "Edge"}


def test_the_host_where_it_is_recorded(settings: Any) -> None:
    assert "host" not in values()
    settings.PAGESTATS_RECORD_HOST = True
    assert values()["host"] == "www.example.org"
    assert values(HTTP_HOST="[2001:DB8::1]:8000")["host"] == "[2001:db8::1]"
    assert "host" not in values(HTTP_HOST="a" * 300)
    settings.ALLOWED_HOSTS = ["example.com"]
    assert "host" not in values()
    settings.PAGESTATS_ATTRIBUTES = ["source"]
    assert values(HTTP_HOST="example.com") == {"source": "(direct)"}


def test_a_host_that_is_not_allowed_makes_no_page_ones_own(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["example.com"]
    assert values(HTTP_REFERER="https://www.example.org/")["source"] == "example.org"
    assert left_out.counted() == {}


# -- those of the site's own


def plan(request: HttpRequest, response: HttpResponseBase | None) -> str | None:
    return request.META.get("HTTP_X_PLAN")


def author(request: HttpRequest, response: HttpResponseBase | None) -> str | None:
    return response["X-Author"] if response is not None else None


def failing(request: HttpRequest, response: HttpResponseBase | None) -> str | None:
    raise LookupError("no such author")


def hundred(request: HttpRequest, response: HttpResponseBase | None) -> str | None:
    return "\U0001f600" * 250


thousand = ten_thousand = many = lots = hundred


async def awaited(request: HttpRequest, response: HttpResponseBase | None) -> str | None:
    return "x"


wrong: Any = None
NAME = __name__


def returns_wrong(request: HttpRequest, response: HttpResponseBase | None) -> Any:
    return wrong


def own(settings: Any, *names: str) -> None:
    settings.PAGESTATS_ATTRIBUTES = ["device", *(f"{NAME}.{name}" for name in names)]


def test_a_callable_of_the_sites_own(settings: Any) -> None:
    own(settings, "plan", "author")
    response = HttpResponse(headers={"X-Author": "Ann"})
    assert values(response=response, HTTP_X_PLAN="free") == {"device": "desktop", "plan": "free", "author": "Ann"}
    assert values() == {"device": "desktop"}  # both said None
    assert values(HTTP_X_PLAN="") == {"device": "desktop"}
    assert left_out.counted() == {}


def test_whether_the_site_is_asked(settings: Any) -> None:
    """What is, may ask the database, for which an event loop needs a thread."""
    assert not attributes.ask_the_site()
    settings.PAGESTATS_COUNTRY = "CF-IPCountry"
    assert not attributes.ask_the_site()
    settings.PAGESTATS_COUNTRY = f"{NAME}.plan"
    assert attributes.ask_the_site()
    settings.PAGESTATS_COUNTRY = None
    own(settings, "plan")
    assert attributes.ask_the_site()


def test_one_that_raises_costs_that_attribute(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    own(settings, "failing", "plan")
    assert known(HTTP_X_PLAN="free") == Known({"device": "desktop", "plan": "free"}, is_spam=False)
    assert left_out.counted() == {"attribute": 1}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "The attribute failing was left out of a page view: no such author"
    assert record.exc_info


@pytest.mark.parametrize("value", [7, True, b"x", ["x"], {}, 0, False, "x" * 256, "a\x00b", "\ud800"])
def test_one_that_gives_what_cannot_be_stored_costs_that_attribute(
    settings: Any, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    own(settings, "returns_wrong", "plan")
    monkeypatch.setitem(globals(), "wrong", value)
    assert values(HTTP_X_PLAN="free") == {"device": "desktop", "plan": "free"}
    assert left_out.counted() == {"attribute": 1}


def test_one_that_nobody_awaits_costs_that_attribute(settings: Any) -> None:
    own(settings, "awaited")
    assert values() == {"device": "desktop"}
    assert left_out.counted() == {"attribute": 1}


@pytest.mark.parametrize("path", ["no.such.module", f"{NAME}.no_such_name", f"{NAME}.wrong"])
def test_one_that_cannot_be_called_costs_that_attribute(settings: Any, path: str) -> None:
    settings.PAGESTATS_ATTRIBUTES = [path, "device"]
    assert values() == {"device": "desktop"}
    assert left_out.counted() == {"attribute": 1}


def test_what_fails_is_logged_once_a_minute_and_always_counted(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(attributes, "monotonic", lambda: clock[0])
    own(settings, "failing", "awaited")
    for _ in range(10):
        values()
        clock[0] += 7
    assert [record.getMessage().split()[2] for record in caplog.records] == ["failing", "awaited"] * 2
    assert left_out.counted() == {"attribute": 20}


def test_a_log_that_raises_costs_nothing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own(settings, "failing")

    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(attributes.logger, "error", broken)
    assert values() == {"device": "desktop"}


def test_a_country_that_fails_costs_the_country(settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = "no.such.callable"
    assert "country" not in values()
    assert values()["browser"] == "Edge"
    assert left_out.counted() == {"attribute": 2}


def test_whatever_else_fails_costs_the_attributes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(meta: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(attributes, "families", broken)
    assert known() == Known({}, is_spam=False)
    assert left_out.counted() == {"attribute": 1}
    assert "broken" in caplog.text


def test_own_ones_go_first_where_it_is_too_much(settings: Any) -> None:
    """Five of 1,000 bytes: the last ones go, until the rest can be stored."""
    settings.PAGESTATS_ATTRIBUTES = [
        *attributes.ATTRIBUTES,
        *(f"{NAME}.{name}" for name in ("hundred", "thousand", "ten_thousand", "plan", "many", "lots")),
    ]
    long = "&".join(f"{name}={'%F0%9F%98%80' * 100}" for name in ("utm_source", "utm_medium"))
    found = values(long, HTTP_X_PLAN="free")
    assert set(found) == {"source", "medium", *SEEN_WITH, "hundred", "thousand", "ten_thousand", "plan"}
    assert intake.check_attributes(found) == found
    assert left_out.counted() == {"attribute": 2}


def test_the_built_in_ones_alone_always_fit(settings: Any) -> None:
    settings.PAGESTATS_RECORD_HOST = True
    names = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
    for worst in ("%F0%9F%98%80", '"', "%5C"):
        found = values("&".join(f"{name}={worst * 100}" for name in names)[:4_096], HTTP_HOST="a" * 253)
        assert len(found) > len(SEEN_WITH) + 1
        assert intake.check_attributes(found) == found


# -- new values


def test_a_flood_of_sources_leaves_its_values_out_and_keeps_the_arrivals(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 3
    settings.PAGESTATS_ATTRIBUTES = ["source", "campaign"]
    found = [values(f"utm_source=s{number}&utm_campaign=c{number // 4}") for number in range(8)]
    assert [view["source"] for view in found] == ["s0", "s1", "s2", *[OTHER] * 5]
    assert [view.get("campaign") for view in found] == ["c0"] * 4 + ["c1"] * 4
    assert left_out.counted() == {"new_value": 5}
    assert [view["source"] for view in (values("utm_source=s1"), values())] == ["s1", OTHER]
    assert len(caplog.records) == 1


def test_none_new_at_all(settings: Any) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 0
    own(settings, "plan")
    assert values(HTTP_X_PLAN="free") == {"device": "desktop"}, "the device comes from a table of ours"
    assert left_out.counted() == {"new_value": 1}


# -- whatever is sent


TEXTS = st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda octets: octets.decode("latin-1")))
HEADERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            "HTTP_HOST",
            "HTTP_REFERER",
            "HTTP_USER_AGENT",
            "HTTP_ACCEPT_LANGUAGE",
            "HTTP_SEC_CH_UA",
            "HTTP_SEC_CH_UA_PLATFORM",
            "HTTP_SEC_CH_UA_MOBILE",
            "HTTP_SEC_FETCH_SITE",
            "HTTP_CF_IPCOUNTRY",
            "HTTP_X_FORWARDED_FOR",
            "REMOTE_ADDR",
        ),
        TEXTS,
    ),
)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=TEXTS, said=st.one_of(st.none(), TEXTS), headers=HEADERS)
def test_whatever_is_sent_can_be_stored(settings: Any, query: str, said: str | None, headers: dict[str, str]) -> None:
    settings.PAGESTATS_COUNTRY = "CF-IPCountry"
    settings.PAGESTATS_RECORD_HOST = True
    settings.PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1", "unix"]
    left_out.forget()
    request = RequestFactory().get("/")
    request.META.update(headers)
    found = attributes_of(request, None, query=f"utm_source={query}&utm_term={query}", referrer=said)
    assert intake.check_attributes(found.values) == (found.values or None)
    assert "attribute" not in left_out.counted()


def test_nothing_of_the_query_address_or_agent_is_in_it() -> None:
    found = json.dumps(
        values(
            f"token=sesame&{CAMPAIGN}&email=joe%40example.org",
            HTTP_REFERER="https://joe:sesame@mail.example/inbox/sesame?q=sesame",
            REMOTE_ADDR="192.0.2.7",
            HTTP_X_FORWARDED_FOR="192.0.2.8",
            HTTP_COOKIE="sessionid=sesame",
        )
    )
    for secret in ("sesame", "joe", "192.0.2", "143.0", "Windows NT", "de-AT"):
        assert secret not in found


# -- through the middleware


def lookup(request: HttpRequest, response: HttpResponseBase | None) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM django_pagestats_pageview")
    return "never"


@pytest.fixture
def browser(settings: Any) -> Client:
    settings.ROOT_URLCONF = "tests.recording_site"
    settings.MIDDLEWARE = [MIDDLEWARE]
    settings.PAGESTATS_ENABLED = True
    settings.PAGESTATS_DUPLICATE_SECONDS = 0
    return Client(**{**FIREFOX, "HTTP_SEC_FETCH_SITE": "cross-site"})


@pytest.mark.django_db
def test_visits_are_a_plain_count(browser: Client) -> None:
    browser.get("/?utm_source=Letter&utm_campaign=Spring&token=sesame", HTTP_REFERER="https://www.google.com/")
    browser.get("/", HTTP_SEC_FETCH_SITE="same-origin", HTTP_REFERER="http://testserver/?token=sesame")
    browser.get("/", HTTP_REFERER="http://testserver/")
    browser.get("/")
    seen_with = {"browser": "Firefox", "system": "Linux", "device": "desktop", "language": "de"}
    assert list(PageView.objects.order_by("pk").values_list("attributes", flat=True)) == [
        {"source": "letter", "campaign": "spring", **seen_with},
        seen_with,
        seen_with,
        {"source": "(direct)", **seen_with},
    ]
    assert PageView.objects.filter(attributes__has_key="source").count() == 2


@pytest.mark.django_db
def test_referrer_spam_is_left_out(browser: Client) -> None:
    browser.get("/", HTTP_REFERER="https://www.semalt.com/crawl")
    assert not PageView.objects.exists()
    assert left_out.counted() == {"referrer_spam": 1}


@pytest.mark.django_db(transaction=True)
def test_an_own_attribute_that_fails_in_the_database_costs_no_page_view(browser: Client, settings: Any) -> None:
    own(settings, "lookup")
    browser.get("/")
    assert PageView.objects.get().attributes == {"device": "desktop"}
    assert left_out.counted() == {"attribute": 1}


# -- the checks


def test_the_checks_of_own_attributes(settings: Any) -> None:
    own(settings, "plan", "author")
    assert of_settings() == []
    own(settings, "no_such_name")
    assert of_settings() == ["pagestats.E055"]
    own(settings, "wrong")
    assert of_settings() == ["pagestats.E055"]
    own(settings, "awaited")
    assert of_settings() == ["pagestats.E055"]
    own(settings, "plan", "plan")
    assert of_settings() == ["pagestats.E001"]
    settings.PAGESTATS_ATTRIBUTES = ["source", "shop.analytics.source"]
    assert of_settings() == ["pagestats.E001"]


@pytest.mark.parametrize("host", ["https://example.com", "example.com:8000", "example.com/", "", "*", "exa mple.com"])
def test_an_own_host_is_a_host(settings: Any, host: str) -> None:
    settings.PAGESTATS_OWN_HOSTS = [host]
    assert of_settings() == ["pagestats.E001"]
    settings.PAGESTATS_OWN_HOSTS = ["example.com", ".example.net", "192.0.2.1", "[2001:db8::1]", "xn--mnchen-3ya.de"]
    assert of_settings() == []
