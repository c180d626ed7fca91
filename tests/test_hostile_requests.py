"""Ten thousand requests that no browser sends: each is answered as without us, and no row breaks a page of ours."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.test.client import ClientHandler, FakePayload
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats import stats
from django_pagestats.middleware import PageViewMiddleware
from django_pagestats.models import PageView
from django_pagestats.recording import left_out
from testproject import settings as project
from tests.recording_site import BROWSER, MIDDLEWARE

REQUESTS = 10_002
OTHERS = [name for name in project.MIDDLEWARE if not name.startswith("testproject.")]
PIECES = [
    "/",
    "//",
    "/..",
    "/a",
    "/%2e%2e/",
    "\\",
    "\x00",
    "\n",
    "\r\n",
    "\x7f",
    "\x85",
    "\u202e".encode().decode("latin-1"),
    "é",
    "\xff\xfe",
    "%00",
    "%",
    "%zz",
    "%25",
    "?",
    "#",
    "&",
    "=",
    ";",
    ",",
    ":",
    "@",
    "[::1]",
    "[",
    "]",
    "'",
    '"',
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "{{ 7*7 }}",
    "' OR 1=1 --",
    "${jndi:ldap://x}",
    "\t",
    " ",
    "😀".encode().decode("latin-1"),
    "\xed\xa0\x80",
    "utm_source=",
    "ref=",
    "page=",
    "x" * 300,
    "/" * 3_000,
    "a@example.com",
    "198.51.100.1",
    "198.51.100.1, 10.0.0.1",
    "unknown",
    "_hidden",
    "127.0.0.1:99999",
    "::ffff:192.0.2.1",
    "fe80::1%eth0",
    "https://example.com/",
    "http://[::1",
    "android-app://com.example/",
    "https://user:password@example.com:99999999/",
    "text/html",
    "document",
    "prefetch",
    "1",
    "true",
    "bytes=0-1",
    "de-DE,de;q=0.5",
    "*",
    "Mozilla/5.0 ",
    BROWSER["HTTP_USER_AGENT"],
    "bot",
    "+http",
    "pagestats_visitor=",
    "sessionid=",
]
HEADERS = [
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_USER_AGENT",
    "HTTP_REFERER",
    "HTTP_COOKIE",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
    "HTTP_CF_CONNECTING_IP",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_PURPOSE",
    "HTTP_PURPOSE",
    "HTTP_X_MOZ",
    "HTTP_HX_BOOSTED",
    "HTTP_X_TURBO_REQUEST_ID",
    "HTTP_SEC_CH_UA",
    "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_SEC_CH_UA_PLATFORM",
    "HTTP_SEC_GPC",
    "HTTP_DNT",
    "HTTP_SIGNATURE_AGENT",
    "HTTP_X_REQUESTED_WITH",
    "HTTP_ORIGIN",
    "HTTP_RANGE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_X_READER",
    "CONTENT_TYPE",
    "REMOTE_ADDR",
]
PAGES = ["/", "/users/1/", "/kind/same/", "/kind/public/", "/session/", "/de/about/", "/nowhere/", "/admin/"]
POLICIES = ["daily", "monthly", "session", "user", "cookie", "tests.recording_site.by_header"]


def environ_of(
    path: str, query: str, headers: dict[str, str], *, method: str = "GET", body: bytes = b""
) -> dict[str, Any]:
    return {
        **BROWSER,
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": FakePayload(b""),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }


def hostile(rng: random.Random) -> Iterator[dict[str, Any]]:
    def text() -> str:
        if rng.random() < 0.1:
            return bytes(rng.randrange(256) for _ in range(rng.randrange(40))).decode("latin-1")
        return "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 1, 2, 5])))

    while True:
        path = rng.choice(PAGES) + (text() if rng.random() < 0.3 else "")
        headers = {name: text() for name in rng.sample(HEADERS, rng.choice([0, 1, 2, 4, 12]))}
        method = rng.choice(["GET"] * 9 + ["HEAD", "POST", "OPTIONS", "PROPFIND", ""])
        yield environ_of(path, text(), headers, method=method)


def status(handler: ClientHandler, environ: dict[str, Any]) -> int:
    return int(handler({**environ, "wsgi.input": FakePayload(b"")}).status_code)


@pytest.fixture
def site(settings: Any) -> Any:
    settings.ROOT_URLCONF = "tests.recording_site"
    settings.PAGESTATS_ENABLED = True
    settings.PAGESTATS_QUERY = ["page"]
    settings.PAGESTATS_RECORD_HOST = True
    settings.PAGESTATS_TRUSTED_PROXIES = ["192.0.2.1", "unix"]
    settings.MIDDLEWARE = [MIDDLEWARE, *OTHERS]
    return settings


def handlers(site: Any) -> tuple[ClientHandler, ClientHandler]:
    """The site with us and without, their middleware loaded."""
    found = []
    for names in ([MIDDLEWARE, *OTHERS], OTHERS):
        site.MIDDLEWARE = names
        found.append(ClientHandler(enforce_csrf_checks=False))
        found[-1].load_middleware()
    return found[0], found[1]


def storable(row: PageView) -> bool:
    values = (row.attributes or {}).values()
    return 1 <= len(row.path) <= 2_048 and len(row.session_key) == 22 and all(0 < len(value) <= 255 for value in values)


@pytest.mark.once
@pytest.mark.in_turn(1)
@pytest.mark.django_db
def test_ten_thousand(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(20261129)
    requests = hostile(rng)
    ours, without = handlers(site)
    for policy in POLICIES:
        site.PAGESTATS_VISITOR_KEY = policy
        for environ in islice(requests, REQUESTS // len(POLICIES)):
            expected = status(without, environ)
            assert status(ours, environ) == expected < 500, environ
    assert PageView.objects.count() > REQUESTS / 50
    assert [row.pk for row in PageView.objects.all() if not storable(row)] == []
    assert {reason for reason in left_out.counted() if reason in ("unexpected", "database")} == set()
    # a warning of a forgotten proxy is one that any of these may bring about
    named = [record for record in caplog.records if record.name.startswith("django_pagestats")]
    assert [record.message for record in named if not record.name.endswith(".proxies")] == []
    the_pages_of_ours_work()


def the_pages_of_ours_work() -> None:
    assert stats.count_page_views() == PageView.objects.count()
    assert sum(page.page_views for page in stats.top_pages(limit=100_000)) == PageView.objects.count()
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    for page in ("/admin/django_pagestats/pageview/", "/admin/django_pagestats/backfillrun/"):
        assert client.get(page).status_code == 200


def latin(longest: int) -> st.SearchStrategy[str]:
    """What a server makes of octets."""
    return st.text(st.characters(max_codepoint=0xFF), max_size=longest)


@pytest.mark.django_db
@given(latin(40), latin(60), st.dictionaries(st.sampled_from(HEADERS), latin(60), max_size=6))
def test_any_request(path: str, query: str, headers: dict[str, str]) -> None:
    with override_settings(ROOT_URLCONF="tests.recording_site", PAGESTATS_ENABLED=True, ALLOWED_HOSTS=["testserver"]):
        request = WSGIRequest(environ_of("/" + path, query, headers))  # type: ignore[arg-type]
        response = PageViewMiddleware(lambda request: HttpResponse("<p>a page</p>"))(request)
        assert response.status_code == 200  # type: ignore[union-attr]
    assert {reason for reason in left_out.counted() if reason in ("unexpected", "database")} == set()


def test_the_site_is_answered_though_storing_fails(site: Any) -> None:
    """A database that is not allowed in this test is as good as one that is not there."""
    assert status(handlers(site)[0], environ_of("/", "", {})) == 200
    assert set(left_out.counted()) <= {"database", "unexpected"}
    assert sum(left_out.counted().values()) == 1
