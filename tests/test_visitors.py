"""Who a visitor is under each policy, and that nothing personal is kept under any of them."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import caches
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from django_pagestats import salts
from django_pagestats.models import PageView, Salt, VisitorPolicy
from django_pagestats.recording import left_out, policies, visitors
from testproject import settings as project
from tests.recording_site import BROWSER, FIREFOX, MIDDLEWARE

OTHERS = [name for name in project.MIDDLEWARE if not name.startswith("testproject.")]
NOON = datetime(2100, 6, 30, 12, tzinfo=timezone.utc)
POLICIES = ["daily", "monthly", "session", "user", "cookie", "tests.recording_site.by_header"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(settings: Any) -> Any:
    settings.ROOT_URLCONF = "tests.recording_site"
    settings.MIDDLEWARE = [MIDDLEWARE, *OTHERS]
    settings.PAGESTATS_ENABLED = True
    settings.PAGESTATS_DUPLICATE_SECONDS = 0
    return settings


def browser(**headers: Any) -> Client:
    return Client(**{**BROWSER, **headers})


def keys() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("session_key", flat=True))


def key_of(request: HttpRequest, *, address: str | None = "192.0.2.1", at: datetime = NOON) -> str | None:
    visitor = visitors.visitor_of(request, None, address=address, at=at)
    return visitor and visitor.session_key


def request_of(**headers: Any) -> HttpRequest:
    return RequestFactory().get("/", **{**BROWSER, **headers})


@pytest.mark.parametrize("policy", POLICIES)
def test_every_key_is_22_characters(site: Any, policy: str) -> None:
    site.PAGESTATS_VISITOR_KEY = policy
    browser(HTTP_X_READER="me").get("/")
    assert [re.fullmatch("[A-Za-z0-9_-]{22}", key) is not None for key in keys()] == [True]


class TestDaily:
    def test_by_address_and_agent(self) -> None:
        key = key_of(request_of())
        assert key_of(request_of()) == key
        assert key_of(request_of(), address="192.0.2.2") != key
        assert key_of(request_of(HTTP_USER_AGENT="Mozilla/5.0 (another)")) != key
        assert key_of(request_of(), address=None) is None

    def test_by_the_local_day(self, site: Any) -> None:
        site.PAGESTATS_TIME_ZONE = "Asia/Tokyo"
        midnight = NOON + timedelta(hours=3)
        assert key_of(request_of(), at=NOON) == key_of(request_of(), at=midnight - timedelta(seconds=1))
        assert key_of(request_of(), at=NOON) != key_of(request_of(), at=midnight)

    def test_an_ipv6_client_is_its_network(self) -> None:
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"):
            browser(REMOTE_ADDR=address).get("/")
        first, second, third = keys()
        assert first == second != third


class TestMonthly:
    def test_by_the_local_month(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "monthly"
        assert key_of(request_of(), at=NOON) == key_of(request_of(), at=NOON - timedelta(days=29))
        assert key_of(request_of(), at=NOON) != key_of(request_of(), at=NOON + timedelta(days=1))
        assert set(Salt.objects.values_list("period", flat=True)) == {"2100-06", "2100-07"}


class TestSession:
    @pytest.fixture(autouse=True)
    def policy(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "session"

    def test_an_existing_session_whatever_the_address(self) -> None:
        client = browser()
        client.get("/session/")
        client.get("/")
        client.get("/", REMOTE_ADDR="192.0.2.7")
        first, second, third = keys()
        assert first != second == third  # the first page had no session yet: the key of the day
        assert client.cookies["sessionid"].value not in keys()

    def test_none_is_made(self) -> None:
        response = browser().get("/")
        assert response.cookies == {}
        assert len(keys()) == 1

    def test_a_made_up_session_is_none(self) -> None:
        browser(HTTP_COOKIE="sessionid=" + "a" * 32).get("/")
        browser(HTTP_COOKIE="sessionid=" + "b" * 32).get("/")
        browser().get("/")
        assert len(set(keys())) == 1

    def test_a_session_that_the_view_did_not_read_makes_no_vary(self) -> None:
        session = SessionStore()
        session["a"] = 1
        session.save()
        response = browser(HTTP_COOKIE=f"sessionid={session.session_key}").get("/")
        assert "Vary" not in response.headers


class TestUser:
    @pytest.fixture(autouse=True)
    def policy(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "user"

    def test_the_same_person_on_two_devices(self) -> None:
        user = get_user_model().objects.create_user("reader", password="x")
        devices = (("192.0.2.1", FIREFOX), ("192.0.2.2", FIREFOX.replace("X11; Linux x86_64", "Windows NT 10.0")))
        for address, agent in devices:
            client = browser(REMOTE_ADDR=address, HTTP_USER_AGENT=agent)
            client.force_login(user)
            client.get("/")
            browser(REMOTE_ADDR=address, HTTP_USER_AGENT=agent).get("/")
        one, by_day, again, by_day_too = keys()
        assert one == again
        assert len({one, by_day, by_day_too}) == 3


class TestCookie:
    @pytest.fixture(autouse=True)
    def policy(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "cookie"

    def test_is_set_once_and_tells_the_browser_again(self) -> None:
        client = browser()
        response = client.get("/")
        cookie = response.cookies[visitors.COOKIE_NAME]
        assert re.fullmatch("[A-Za-z0-9_-]{22}", cookie.value)
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", "")
        assert cookie["max-age"] == 365 * 86_400
        assert response.headers["Vary"] == "Cookie"
        again = client.get("/", REMOTE_ADDR="192.0.2.7")
        assert again.cookies == {}
        assert "Vary" not in again.headers
        assert len(set(keys())) == 1
        assert cookie.value not in keys()

    def test_is_secure_on_https(self) -> None:
        assert browser().get("/", secure=True).cookies[visitors.COOKIE_NAME]["secure"] is True

    def test_is_not_set_where_nothing_is_counted(self, site: Any) -> None:
        for path, headers in (("/", {"HTTP_DNT": "1"}), ("/kind/json/", {}), ("/not-counted/", {})):
            assert browser().get(path, **headers).cookies == {}
        site.PAGESTATS_DUPLICATE_SECONDS = 1_800
        assert visitors.COOKIE_NAME in browser().get("/").cookies

    def test_is_not_set_on_what_all_may_keep(self) -> None:
        response = browser().get("/kind/public/")
        assert response.cookies == {}
        assert len(keys()) == 1

    def test_a_value_that_is_none_of_ours_is_replaced(self) -> None:
        response = browser(HTTP_COOKIE=f"{visitors.COOKIE_NAME}=../../etc").get("/")
        assert visitors.COOKIE_NAME in response.cookies

    def test_no_cache_hands_one_visitors_cookie_to_the_next(self, site: Any) -> None:
        caches["default"].clear()
        site.MIDDLEWARE = [
            MIDDLEWARE,
            "django.middleware.cache.UpdateCacheMiddleware",
            *OTHERS,
            "django.middleware.cache.FetchFromCacheMiddleware",
        ]
        clients = [browser() for _ in range(5)]
        cookies = {client.get("/users/1/").cookies[visitors.COOKIE_NAME].value for client in clients}
        for client in clients:
            assert client.get("/users/1/").cookies == {}
        assert len(cookies) == 5
        assert len(set(keys())) == 5


class TestOwn:
    @pytest.fixture(autouse=True)
    def policy(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "tests.recording_site.by_header"

    def test_is_hashed_and_none_is_not_counted(self) -> None:
        browser(HTTP_X_READER="reader-7").get("/")
        browser(HTTP_X_READER="reader-7", REMOTE_ADDR="192.0.2.7").get("/")
        browser().get("/")
        assert len(set(keys())) == 1
        assert len(keys()) == 2
        assert "reader-7" not in keys()
        assert left_out.counted() == {"no_visitor": 1}

    @pytest.mark.parametrize("name", ["wrong_type", "raises"])
    def test_what_fails_costs_the_view_and_not_the_page(self, site: Any, name: str) -> None:
        site.PAGESTATS_VISITOR_KEY = f"tests.recording_site.{name}"
        assert browser().get("/").status_code == 200
        assert keys() == []
        assert left_out.counted() == {"unexpected": 1}


class TestPermanentKeys:
    def test_outlive_the_secret_key(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "tests.recording_site.by_header"
        request = request_of(HTTP_X_READER="me")
        before = key_of(request)
        site.SECRET_KEY = "rotated"
        salts.forget()
        assert key_of(request) == before

    def test_of_two_policies_differ(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "cookie"
        value = "a" * 22
        by_cookie = key_of(request_of(HTTP_COOKIE=f"{visitors.COOKIE_NAME}={value}"))
        site.PAGESTATS_VISITOR_KEY = "tests.recording_site.by_header"
        assert key_of(request_of(HTTP_X_READER=value)) != by_cookie


class TestPolicies:
    def test_each_change_is_a_row(self, site: Any) -> None:
        for policy in ("daily", "daily", "cookie", "daily"):
            site.PAGESTATS_VISITOR_KEY = policy
            policies.forget()
            browser().get("/")
        rows = VisitorPolicy.objects.order_by("pk")
        assert [(row.policy, row.origin, row.until) for row in rows] == [
            ("daily", "recorded", None),
            ("cookie", "recorded", None),
            ("daily", "recorded", None),
        ]
        first = PageView.objects.order_by("pk").values_list("viewed_at", flat=True)[0]
        assert rows[0].since <= first

    def test_an_import_is_no_change(self) -> None:
        VisitorPolicy.objects.create(policy="import", origin="imported", since=NOON, until=NOON)
        policies.note("daily", at=NOON)
        policies.forget()
        policies.note("daily", at=NOON)
        assert VisitorPolicy.objects.filter(origin="recorded").count() == 1


PERSONAL = {
    "address": "198.51.100.77",
    "forwarded": "203.0.113.99",
    "agent": "Mozilla/5.0 (X11; Linux x86_64) Conspicuous/77.1",
    "own": "reader-conspicuous",
    "query": "secret-conspicuous",
}


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_personal_is_kept(
    site: Any, policy: str, caplog: pytest.LogCaptureFixture, locmem: dict[str, Any]
) -> None:
    """Neither in the database, nor in a cache, nor in the log: address, agent, user, session, cookie, query."""
    site.PAGESTATS_VISITOR_KEY = policy
    site.PAGESTATS_CACHE = "shared"
    site.PAGESTATS_DUPLICATE_SECONDS = 1_800
    site.PAGESTATS_TRUSTED_PROXIES = ["198.51.100.77"]
    user = get_user_model().objects.create_user("conspicuous", password="x", pk=7_777_777)
    client = browser(
        REMOTE_ADDR=PERSONAL["address"],
        HTTP_X_FORWARDED_FOR=PERSONAL["forwarded"],
        HTTP_USER_AGENT=PERSONAL["agent"],
        HTTP_X_READER=PERSONAL["own"],
    )
    client.force_login(user)
    with caplog.at_level(logging.DEBUG):
        for headers in ({}, {"HTTP_DNT": "1"}, {"HTTP_USER_AGENT": PERSONAL["agent"] + "bot"}):
            client.get(f"/?utm_source=letter&token={PERSONAL['query']}", **headers)
            client.get(f"/users/1/?token={PERSONAL['query']}", **headers)
        left_out.write()
    secrets = [
        *PERSONAL.values(),
        client.cookies["sessionid"].value,
        *([client.cookies[visitors.COOKIE_NAME].value] if policy == "cookie" else []),
        str(user.pk),
    ]
    assert len(keys()) >= 2
    places = {"database": everything_stored(), "cache": repr(locmem), "log": caplog.text}
    assert places["cache"] != "{}"
    assert {(place, secret) for place, text in places.items() for secret in secrets if secret in text} == set()


def everything_stored() -> str:
    """Each row of each table of ours, as text."""
    text = []
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names(cursor):
            if name.startswith("django_pagestats_"):
                cursor.execute(f"SELECT * FROM {name}")
                text += [repr(row) for row in cursor.fetchall()]
    assert any("letter" in row for row in text)
    return "\n".join(text)


@pytest.fixture
def locmem(settings: Any) -> Any:
    """The content of a cache in memory that page views are remembered in."""
    from django.core.cache.backends import locmem

    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend}, "shared": {"BACKEND": backend, "LOCATION": "shared"}}
    caches["shared"].clear()
    return locmem._caches["shared"]


def test_a_cookie_needs_no_session_middleware(site: Any) -> None:
    site.PAGESTATS_VISITOR_KEY = "cookie"
    site.MIDDLEWARE = [MIDDLEWARE]
    response: HttpResponse = browser().get("/")  # type: ignore[assignment]
    assert visitors.COOKIE_NAME in response.cookies
