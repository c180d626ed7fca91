"""What the endpoint takes, what it leaves out, and how it answers: no body, however odd, is an error of ours."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import include, path, reverse, set_script_prefix
from django.utils.functional import lazy
from django.utils.translation import get_language
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from django_pagestats import ids, salts
from django_pagestats.beacon import limits, messages, origins
from django_pagestats.models import LeftOut, PageView, Subject
from django_pagestats.recording import left_out, new_paths, opting_out, suspending
from tests.beacon_site import BROWSER, page
from tests.test_recording import Refused

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.beacon_site")]

COLLECT, PIXEL = "/ps/note", "/ps/note.gif"
NEVER_STORED = {"no-store", "private", "no-cache", "max-age=0", "must-revalidate"}


@pytest.fixture(autouse=True)
def records(settings: Any) -> None:
    settings.PAGESTATS_ENABLED = True
    settings.PAGESTATS_RECORD_WITH = "beacon"


def post(body: bytes | str = "/a/\n\n", client: Client | None = None, **headers: str | None) -> Any:
    """As the script does; a header that is None is left out."""
    sent = browser_headers(**headers)
    return (client or Client()).post(COLLECT, body, content_type="text/plain;charset=UTF-8", headers=sent)


def get_pixel(query: str = "p=/a/", **headers: str | None) -> Any:
    sent = browser_headers(**{"origin": None, "sec_fetch_dest": "image", **headers})
    return Client().get(f"{PIXEL}?{query}", headers=sent)


def browser_headers(**headers: str | None) -> dict[str, str]:
    given = BROWSER | {name.replace("_", "-"): value for name, value in headers.items()}
    return {name: value for name, value in given.items() if value is not None}


def paths() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("path", flat=True))


def assert_answered(response: Any, status: int) -> None:
    """With this status, stored by nobody, and without a cookie."""
    assert response.status_code == status
    assert set(response["Cache-Control"].split(", ")) >= NEVER_STORED
    assert not response.cookies and "Cookie" not in response.get("Vary", "")


# -- what is counted


def test_a_page_view_is_recorded() -> None:
    response = post("/caf%C3%A9/\nutm_source=News&utm_medium=mail\nhttps://www.example.org")
    assert_answered(response, 204)
    view = PageView.objects.get()
    assert view.path == "/café/"
    assert view.attributes["source"] == "news" and view.attributes["medium"] == "mail"
    assert (view.attributes["browser"], view.attributes["language"]) == ("Firefox", "de")


@pytest.mark.parametrize(
    ("referrer", "source"),
    [("https://www.example.org", "example.org"), ("", "(direct)"), ("http://testserver", None)],
)
def test_where_somebody_came_from_is_what_the_script_says(referrer: str, source: str | None) -> None:
    """And never what the headers of its own request say, which always comes from this site."""
    post(f"/a/\n\n{referrer}", referer="http://testserver/b/")
    assert PageView.objects.get().attributes.get("source") == source


def test_the_query_is_not_stored() -> None:
    post("/a/\npage=2&token=sesame&utm_source=x@example.org\n")
    view = PageView.objects.get()
    assert view.path == "/a/"
    assert "sesame" not in str(view.attributes) and "example" not in str(view.attributes)


def test_a_parameter_that_makes_a_page(settings: Any) -> None:
    settings.PAGESTATS_QUERY = ["page"]
    post("/a/\npage=2&token=sesame\n")
    get_pixel("p=/a/&q=page%3D3")
    assert paths() == ["/a/?page=2", "/a/?page=3"]


def test_the_pixel_is_an_image_and_counts() -> None:
    response = get_pixel("p=/caf%C3%A9/")
    assert_answered(response, 200)
    assert response["Content-Type"] == "image/gif"
    assert response.content.startswith(b"GIF89a") and len(response.content) == 43
    view = PageView.objects.get()
    assert view.path == "/café/"
    assert "source" not in view.attributes  # it does not know: that is no arrival


def test_the_pixel_decodes_once() -> None:
    get_pixel("p=/wiki/100%2525")
    post("/wiki/50%25\n\n")
    assert paths() == ["/wiki/100%25", "/wiki/50%"]


# -- statuses


def test_other_methods_are_refused() -> None:
    for method in ("get", "head", "put", "delete", "options", "patch"):
        assert_answered(getattr(Client(), method)(COLLECT, headers=BROWSER), 405)
    assert_answered(Client().post(PIXEL, headers=BROWSER), 405)
    assert paths() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"/a/", b"/a/\n", b"/a/\n\n\n", b"a/\n\n", b"\n\n", b"https://testserver/a/\n\n", b"/a/\xff\n\n", b"{}"],
)
def test_a_body_of_another_form_is_malformed(body: bytes) -> None:
    assert_answered(post(body), 400)
    assert paths() == []


@pytest.mark.parametrize("query", ["", "p=", "p=a/", "q=page"])
def test_a_pixel_without_a_path_is_malformed(query: str) -> None:
    assert_answered(get_pixel(query), 400)


def test_a_body_is_read_up_to_its_limit() -> None:
    assert_answered(post(b"/a/\n\n".ljust(messages.MAX_BYTES, b"x")), 204)
    assert paths() == ["/a/"]
    assert_answered(post(b"/b/\n\n".ljust(messages.MAX_BYTES + 1, b"x")), 413)
    request = RequestFactory().post(COLLECT, b"/a/\n\n".ljust(1_000_000, b"x"), "text/plain", headers=BROWSER)
    from django_pagestats.views import collect

    stream = request._stream  # type: ignore[attr-defined]
    assert collect(request).status_code == 413
    assert len(stream.read()) == 1_000_000 - messages.MAX_BYTES - 1, "more was read than was looked at"


def test_a_body_that_breaks_off_is_malformed() -> None:
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise OSError("connection reset")

    request = RequestFactory().post(COLLECT, b"/a/\n\n", "text/plain", headers=BROWSER)
    request._stream = Broken()  # type: ignore[attr-defined]
    from django_pagestats.views import collect

    assert collect(request).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        # what the browser says of the site decides, whatever else is there
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "null"}, 204),
        # over plain HTTP, and in old browsers: the host of the origin
        ({"sec_fetch_site": None}, 204),
        ({"sec_fetch_site": None, "origin": "https://TestServer"}, 204),
        ({"sec_fetch_site": None, "origin": "http://testserver:8000"}, 403),
        ({"sec_fetch_site": None, "origin": "http://testserver.example.org"}, 403),
        ({"sec_fetch_site": None, "origin": "null"}, 403),
        ({"sec_fetch_site": None, "origin": "http://["}, 403),
        ({"sec_fetch_site": None, "origin": None}, 403),
        ({"sec_fetch_site": None, "origin": None, "referer": "http://testserver/a/?b"}, 204),
    ],
)
def test_only_pages_of_the_site_may_tell(headers: dict[str, str | None], status: int) -> None:
    refused = Refused()
    assert_answered(post(**headers), status)
    assert len(paths()) == (status == 204)
    assert refused.since() == ({} if status == 204 else {"cross_site": 1})


def test_a_host_that_is_none_is_no_origin() -> None:
    assert not origins.is_from_this_site(RequestFactory().post(COLLECT, HTTP_HOST="under_score..x"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": None, "referer": "http://testserver/a/"}, 200),
        ({"sec_fetch_site": None, "referer": "http://example.org/"}, 403),
        ({"sec_fetch_site": None}, 403),
    ],
)
def test_only_pages_of_the_site_may_have_the_pixel(headers: dict[str, str | None], status: int) -> None:
    assert_answered(get_pixel(**headers), status)


def test_the_pages_of_another_origin_that_is_named(settings: Any) -> None:
    """They are of another URLconf, so any path is one."""
    other = {"sec_fetch_site": "cross-site", "origin": "https://shop.example.org"}
    assert_answered(post("/cart/\n\n", **other), 403)
    settings.PAGESTATS_BEACON_ORIGINS = ["https://shop.example.org"]
    assert_answered(post("/cart/\n\n", **other), 204)
    assert paths() == ["/cart/"]
    assert_answered(post("/cart/\n\n", **(other | {"origin": "https://shop.example.org.evil.example"})), 403)
    assert_answered(post("/cart/\n\n", **(other | {"origin": "http://shop.example.org"})), 403)


def test_no_token_is_asked_for() -> None:
    assert_answered(post(client=Client(enforce_csrf_checks=True)), 204)
    assert paths() == ["/a/"]


def test_where_every_page_needs_a_login_this_one_does_not(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert Client().get("/a/").status_code == 302
    script = reverse("django_pagestats:script", args=["abc"])
    responses = [post(), get_pixel("p=/admin/"), Client().get(script), Client().get("/ps/choice")]
    assert [response.status_code for response in responses] == [204, 200, 200, 200]
    assert paths() == ["/a/"]


def test_no_cache_keeps_an_answer(settings: Any) -> None:
    """Django's per-site cache: the pixel is loaded twice, and counted twice."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "beacon"}}
    settings.PAGESTATS_DUPLICATE_SECONDS = 0
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    for _ in range(2):
        assert_answered(get_pixel(), 200)
    assert paths() == ["/a/", "/a/"]


# -- what is left out


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}, "robot"),
        ({"user_agent": None}, "robot"),
        ({"sec_gpc": "1"}, "gpc"),
        ({"dnt": "1"}, "dnt"),
        ({"sec_purpose": "prefetch;prerender"}, "prefetch"),
        ({"cookie": f"{opting_out.COOKIE_NAME}=1"}, "opted_out"),
    ],
)
def test_who_is_not_counted(headers: dict[str, str | None], reason: str) -> None:
    """Whoever asks is answered as if she was."""
    for ask, taken in ((post, 204), (get_pixel, 200)):
        refused = Refused()
        assert_answered(ask(**headers), taken)
        assert refused.since() == {reason: 1}
    assert paths() == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/", "unknown_path"),
        ("/a", "unknown_path"),
        ("/users/x/", "unknown_path"),
        ("//a/", "unknown_path"),
        ("/de/nowhere/", "unknown_path"),
        ("/secret/", "excluded_path"),
        ("/admin/", "excluded_path"),
        ("/admin/login/", "excluded_path"),
        ("/ps/note", "excluded_path"),
        ("/ps/choice", "excluded_path"),
        ("/wiki/%00", "invalid_path"),
        ("/wiki/a%0Ab", "invalid_path"),
        ("/wiki/" + "x" * 2_100, "invalid_path"),
        ("/wiki/private/1", "excluded_path"),
    ],
)
def test_which_pages_are_not_counted(path: str, reason: str, settings: Any) -> None:
    settings.PAGESTATS_EXCLUDE_PATHS = ["/private/"]
    refused = Refused()
    assert_answered(post(f"{path}\n\n"), 204)
    assert refused.since() == {reason: 1}
    assert paths() == []


def test_staff_is_not_counted(settings: Any) -> None:
    settings.PAGESTATS_EXCLUDE_STAFF = True
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    refused = Refused()
    assert post(client=client).status_code == 204
    assert refused.since() == {"staff": 1}


def test_a_second_look_within_half_an_hour_is_a_duplicate() -> None:
    refused = Refused()
    post()
    post()
    assert paths() == ["/a/"] and refused.since() == {"duplicate": 1}


@pytest.mark.parametrize("setting", [{"PAGESTATS_RECORD_WITH": "middleware"}, {"PAGESTATS_ENABLED": False}])
def test_where_the_beacon_does_not_record(setting: dict[str, Any]) -> None:
    with override_settings(**setting):
        assert_answered(post(), 204)
        assert_answered(get_pixel(), 200)
    assert paths() == []


# -- which paths are pages


@pytest.mark.parametrize("path", ["/de/about/", "/en/about/", "/users/17/", "/tags/x/", "/", "/app/%23/settings"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_paths_of_each_language_are_pages(path: str, language: str, settings: Any) -> None:
    """Whatever the language of the visitor's browser: the endpoint's own path has none."""
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]
    post(f"{path}\n\n", accept_language=language)
    assert len(paths()) == 1


#: of a site whose first language has no prefix, and whose beacon posts to an address of its page's language
urlpatterns = [
    *i18n_patterns(path("ps/", include("django_pagestats.urls")), path("shop/", page), prefix_default_language=False),
    # a route that is translated
    path(lazy(lambda: "laden/" if get_language() == "de" else "store/", str)(), page),
]


@pytest.mark.urls("tests.test_beacon_endpoint")
@pytest.mark.parametrize("path", ["/shop/", "/de/shop/"])
@pytest.mark.parametrize("endpoint", [COLLECT, f"/de{COLLECT}"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_language_without_a_prefix(path: str, endpoint: str, language: str, settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]
    headers = browser_headers(accept_language=language)
    assert_answered(Client().post(endpoint, f"{path}\n\n", content_type="text/plain", headers=headers), 204)
    assert paths() == [path]


@pytest.mark.urls("tests.test_beacon_endpoint")
@pytest.mark.parametrize(("site", "endpoint"), [("en", "/de/ps/note"), ("de", "/en/ps/note")])
def test_a_route_of_the_visitors_language_and_of_the_sites(site: str, endpoint: str, settings: Any) -> None:
    settings.LANGUAGE_CODE = site
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]
    for told in ("/laden/", "/nowhere/"):
        Client().post(endpoint, f"{told}\n\n", content_type="text/plain", headers=BROWSER)
    assert paths() == ["/laden/"]


def test_a_site_of_one_language(settings: Any) -> None:
    settings.USE_I18N = False
    post("/a/\n\n")
    post("/nowhere/\n\n")
    assert paths() == ["/a/"]


def test_a_site_below_a_prefix(settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/app"
    set_script_prefix("/app/")  # as a server's handler does
    try:
        for path in ("/app/a/", "/app/de/about/", "/a/", "/application/a/"):
            assert_answered(post(f"{path}\n\n"), 204)
    finally:
        set_script_prefix("/")
    assert paths() == ["/app/a/", "/app/de/about/"]


def test_so_many_new_paths_a_day(settings: Any) -> None:
    settings.PAGESTATS_NEW_PATHS_PER_DAY = 2
    refused = Refused()
    for name in ("a", "b", "c", "d"):
        post(f"/wiki/{name}\n\n")
    assert paths() == ["/wiki/a", "/wiki/b"]
    assert refused.since() == {"unknown_path": 2}
    post("/wiki/b\n\n", user_agent=BROWSER["user-agent"] + " Other/1")
    assert len(paths()) == 3, "a path that was recorded is known"


def test_a_path_of_the_aggregates_is_not_new(settings: Any) -> None:
    settings.PAGESTATS_NEW_PATHS_PER_DAY = 0
    post("/wiki/known\n\n")
    assert paths() == []
    Subject.objects.create(dimension=2, digest=ids.digest_of("/wiki/known"), value="/wiki/known")
    post("/wiki/known\n\n")
    assert paths() == ["/wiki/known"]


def test_pages_that_are_merged_are_one_new_path(settings: Any) -> None:
    settings.PAGESTATS_NEW_PATHS_PER_DAY = 1
    settings.PAGESTATS_PATH = "django_pagestats.recording.paths.route"
    for number in range(3):
        post(f"/users/{number}/\n\n", user_agent=BROWSER["user-agent"] + f" Other/{number}")
    assert paths() == ["/users/<number>/"] * 3


def test_new_paths_begin_anew_each_day_and_known_ones_are_bounded(settings: Any) -> None:
    settings.PAGESTATS_NEW_PATHS_PER_DAY = 1
    now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    assert not new_paths.is_one_too_many("/1", now=now)
    assert new_paths.is_one_too_many("/2", now=now)
    assert not new_paths.is_one_too_many("/2", now=now + timedelta(days=1))
    known = new_paths.KnownPaths(most=2)
    for digest in "abc":
        known.add(digest)
    assert [digest for digest in "abc" if known.has(digest)] == ["b", "c"]


def test_a_known_path_costs_no_query_and_another_one_by_an_index(django_assert_num_queries: Any) -> None:
    new_paths.is_one_too_many("/1")
    with django_assert_num_queries(0):
        assert not new_paths.is_one_too_many("/1")
    with django_assert_num_queries(1):
        new_paths.is_one_too_many("/2")
    if connection.vendor == "sqlite":  # the others look at the table, which is empty
        assert "digest=?" in Subject.objects.filter(dimension=2, digest=ids.digest_of("/2")).explain()


# -- the limit of requests


def test_one_client_has_a_limit_and_others_are_free(settings: Any) -> None:
    settings.PAGESTATS_RATE_LIMIT = "3/d"
    refused = Refused()
    assert [post().status_code for _ in range(5)] == [204] * 3 + [429] * 2
    assert_answered(get_pixel(), 429)
    assert refused.since() == {"duplicate": 2, "rate_limit": 3}
    # nothing that a client says of itself gets it another count
    for headers in ({"user_agent": "Mozilla/5.0 (X11) Other/1"}, {"x_forwarded_for": "192.0.2.7"}, {"cookie": "a=b"}):
        assert_answered(post(**headers), 429)
    other = Client(REMOTE_ADDR="192.0.2.1")
    assert post(client=other).status_code == 204


def test_one_network_of_ipv6_is_one_client(settings: Any) -> None:
    settings.PAGESTATS_RATE_LIMIT = "1/d"
    answers = [post(client=Client(REMOTE_ADDR=f"2001:db8::{n}")).status_code for n in (1, 2)]
    assert answers == [204, 429]


def asked(address: str) -> Any:
    return RequestFactory().post(COLLECT, REMOTE_ADDR=address)


def test_a_window_ends(settings: Any) -> None:
    settings.PAGESTATS_RATE_LIMIT = "1/m"
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    request = asked("192.0.2.1")
    seen = [limits.is_too_many(request, now=now + timedelta(seconds=n)) for n in (0, 59, 60, 61)]
    assert seen == [False, True, False, True]


def test_who_has_no_address_is_not_limited(settings: Any) -> None:
    settings.PAGESTATS_RATE_LIMIT = "1/m"
    assert not any(limits.is_too_many(asked("")) for _ in range(3))


def test_a_limit_that_is_none_limits_nobody(settings: Any) -> None:
    settings.PAGESTATS_RATE_LIMIT = "many"
    assert not limits.is_too_many(asked("192.0.2.1"))


def test_clients_that_are_remembered_are_bounded() -> None:
    counts = limits.Counts(most=2)
    assert [counts.next(client, "1") for client in "aabbcca"] == [1, 2, 1, 2, 1, 2, 1]


CACHE = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "limits"}}


def test_processes_share_a_limit_through_a_cache(settings: Any) -> None:
    settings.CACHES, settings.PAGESTATS_CACHE = CACHE, "default"
    settings.PAGESTATS_RATE_LIMIT = "2/d"
    caches["default"].clear()
    now = datetime.now(timezone.utc)
    seen = []
    for _ in range(3):
        limits.forget()  # another process
        salts.forget()
        seen.append(limits.is_too_many(asked("192.0.2.1"), now=now))
    assert seen == [False, False, True]
    kept = str(list(caches["default"]._cache))  # type: ignore[attr-defined]
    assert "rate" in kept and "192.0.2" not in kept


def test_a_cache_that_fails_limits_nobody(settings: Any, caplog: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.beacon_site.FailingCache"}}
    settings.PAGESTATS_CACHE = "default"
    settings.PAGESTATS_RATE_LIMIT = "1/d"
    assert [limits.is_too_many(asked("192.0.2.1")) for _ in range(3)] == [False] * 3
    assert [record.message for record in caplog.records if "PAGESTATS_RATE_LIMIT" in record.message] == [
        "PAGESTATS_RATE_LIMIT could not be looked at (ConnectionError): nobody is limited."
    ]


def test_a_count_that_a_cache_has_lost_begins_anew(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.beacon_site.ForgetfulCache"}}
    settings.PAGESTATS_CACHE = "default"
    settings.PAGESTATS_RATE_LIMIT = "1/d"
    assert [limits.is_too_many(asked("192.0.2.1")) for _ in range(3)] == [False] * 3


# -- a database in trouble, and a server without threads


def test_a_database_that_is_left_alone_is_not_asked(monkeypatch: Any, django_assert_num_queries: Any) -> None:
    monkeypatch.setattr(suspending, "_until", {"default": time.monotonic() + 30})
    refused = Refused()
    with django_assert_num_queries(0):
        assert_answered(post(), 204)
    assert refused.since() == {"database": 1}


class failing_table:  # noqa: N801 - read as a verb
    """Whatever asks a table of ours asks one that does not exist: the database's own error."""

    def __init__(self, name: str) -> None:
        self._name = f"django_pagestats_{name}"

    def __enter__(self) -> None:
        self._wrapper = connection.execute_wrapper(self._execute)
        self._wrapper.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._wrapper.__exit__(*error)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(sql.replace(self._name, "pagestats_nowhere"), params, many, context)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["salt", "subject", "pageview"])
def test_a_table_that_cannot_be_asked_is_no_error(table: str) -> None:
    refused = Refused()
    with failing_table(table):
        assert_answered(post(), 204)
    assert refused.since() == {"database": 1}
    post()
    assert paths() == ["/a/"], "what was not stored is no reason to take the next one for a duplicate"


def test_a_site_that_is_async() -> None:
    headers = browser_headers()

    async def ask(body: bytes) -> Any:
        return await AsyncClient().post(COLLECT, body, content_type="text/plain", headers=headers)

    assert_answered(async_to_sync(ask)(b"/a/\n\n"), 204)
    assert_answered(async_to_sync(ask)(b"/a/".ljust(9_999)), 413)
    assert paths() == ["/a/"]


# -- whatever comes


NOTES = st.binary(max_size=200) | st.builds(
    lambda path, query, referrer: "\n".join((path, query, referrer)).encode(errors="surrogatepass"),
    st.text(max_size=60).map("/".__add__),
    st.text(max_size=60),
    st.text(max_size=60),
)
NAMES = st.sampled_from(
    ["origin", "referer", "host", "user-agent", "cookie", "x-forwarded-for", "accept-language", "sec-fetch-site"]
)
#: as a server hands header values on: Latin-1, one line
VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=40)


@override_settings(PAGESTATS_ENABLED=True, PAGESTATS_RECORD_WITH="beacon", PAGESTATS_RATE_LIMIT="100000/s")
class HostileTests(TestCase):
    @given(NOTES)
    @example(b"/wiki/\xed\xa0\x80\n\n")
    @example(b"/%ED%A0%80\n\n")
    @example(b"/wiki/%FF%00\n%00=%00\nhttp://[")
    @example(b"/" * 4_096)
    @example(b"\n" * 4_096)
    def test_no_body_is_an_error(self, body: bytes) -> None:
        assert post(body).status_code in (204, 400)
        for stored in paths():
            assert re.fullmatch(r"/[^\x00-\x1f\x7f-\x9f]*", stored)

    @given(st.dictionaries(NAMES, VALUES))
    @example({"host": "\xff"})
    @example({"origin": "http://[::1"})
    @example({"referer": "//\\@[", "origin": ""})
    def test_no_header_is_an_error(self, headers: dict[str, str]) -> None:
        assert post(**headers).status_code in (204, 400, 403)
        assert get_pixel(**headers).status_code in (200, 400, 403)

    @given(st.text(max_size=80))
    @example("p=%FF%FE")
    @example("p=/%00&q=%00")
    def test_no_query_is_an_error(self, query: str) -> None:
        assert get_pixel(query.replace("#", "").encode(errors="replace").decode()).status_code in (200, 400)


def test_what_was_left_out_gets_its_row() -> None:
    post("/nowhere/\n\n")
    left_out.write()
    assert LeftOut.objects.get().reason == "unknown_path"


def test_no_path_has_a_word_that_blockers_look_for() -> None:
    named = [reverse(f"django_pagestats:{name}") for name in ("collect", "pixel", "opt_out")]
    named.append(reverse("django_pagestats:script", args=["abc"]))
    words = re.compile("stat|analy|beacon|track|collect|pixel|count|view|visit|hit|event|log|metric")
    assert [path for path in named if words.search(path)] == []
