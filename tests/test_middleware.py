"""The middleware: what it counts, what not, and that the site does not notice it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_pagestats import recording, salts
from django_pagestats.middleware import PageViewMiddleware
from django_pagestats.models import PageView
from django_pagestats.recording import left_out, proxies, suspending
from django_pagestats.recording.requests import record_request
from testproject import settings as project
from tests.recorders import as_a_site
from tests.recording_site import BROWSER, FIREFOX, MIDDLEWARE

OTHERS = [name for name in project.MIDDLEWARE if not name.startswith("testproject.")]
#: an upgrade of these is by the site's own script, which asks for a page as if it were followed
HTMX = {"HTTP_SEC_FETCH_DEST": "empty", "HTTP_HX_REQUEST": "true"}
TURBO = {"HTTP_SEC_FETCH_DEST": "empty", "HTTP_X_TURBO_REQUEST_ID": "1"}


@pytest.fixture
def site(settings: Any, recorded_anew: None) -> Any:
    """Django's settings of a site that records."""
    settings.ROOT_URLCONF = "tests.recording_site"
    settings.MIDDLEWARE = [MIDDLEWARE, *OTHERS]
    settings.PAGESTATS_ENABLED = True
    return settings


@pytest.fixture
def browser(site: Any) -> Client:
    return Client(**BROWSER)


def paths() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("path", flat=True))


pytestmark = pytest.mark.django_db


class TestWhatCounts:
    def test_a_page(self, browser: Client) -> None:
        assert browser.get("/users/7/?page=2#top").status_code == 200
        (view,) = PageView.objects.all()
        assert view.path == "/users/7/"
        assert len(view.session_key) == 22
        assert left_out.counted() == {}

    @pytest.mark.parametrize("kind", ["xhtml", "same", "public", "stream"])
    def test_a_page_of_another_kind(self, browser: Client, kind: str) -> None:
        browser.get(f"/kind/{kind}/")
        assert paths() == [f"/kind/{kind}/"]

    @pytest.mark.parametrize("kind", ["json", "text", "none", "created", "partial", "lost", "moved", "file"])
    def test_what_is_no_page(self, browser: Client, kind: str) -> None:
        browser.get(f"/kind/{kind}/")
        assert paths() == []
        assert left_out.counted() == {}

    def test_not_modified_by_what_was_wanted(self, browser: Client) -> None:
        browser.get("/kind/same/", HTTP_ACCEPT="image/png", HTTP_SEC_FETCH_DEST="document")
        assert paths() == []

    @pytest.mark.parametrize("method", ["head", "post", "options", "put", "delete"])
    def test_other_methods(self, browser: Client, method: str) -> None:
        getattr(browser, method)("/")
        assert paths() == []

    @pytest.mark.parametrize(
        "headers",
        [
            {"HTTP_SEC_FETCH_DEST": "iframe"},
            {"HTTP_SEC_FETCH_DEST": "empty"},
            HTMX,
            {**TURBO, "HTTP_TURBO_FRAME": "list"},
        ],
    )
    def test_parts_of_pages(self, browser: Client, headers: dict[str, str]) -> None:
        browser.get("/", **headers)
        assert paths() == []
        assert left_out.counted() == {}

    @pytest.mark.parametrize(
        "headers",
        [{**HTMX, "HTTP_HX_BOOSTED": "true"}, {**HTMX, "HTTP_HX_HISTORY_RESTORE_REQUEST": "true"}, TURBO],
    )
    def test_visits_by_a_script(self, browser: Client, headers: dict[str, str]) -> None:
        browser.get("/", **headers)
        assert paths() == ["/"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"HTTP_SEC_PURPOSE": "prefetch"},
            {"HTTP_SEC_PURPOSE": "prefetch;prerender"},
            {"HTTP_PURPOSE": "prefetch"},
            {"HTTP_X_MOZ": "prefetch"},
            {"HTTP_X_PURPOSE": "preview"},
            {**TURBO, "HTTP_X_SEC_PURPOSE": "prefetch"},
            {**HTMX, "HTTP_HX_BOOSTED": "true", "HTTP_HX_PRELOADED": "true"},
        ],
    )
    def test_what_is_fetched_ahead(self, browser: Client, headers: dict[str, str]) -> None:
        browser.get("/", **headers)
        assert paths() == []
        assert left_out.counted() == {"prefetch": 1}

    def test_a_browser_without_fetch_headers(self, site: Any) -> None:
        client = Client(HTTP_USER_AGENT=FIREFOX, HTTP_ACCEPT="text/html")
        client.get("/")
        client.get("/users/1/", HTTP_X_REQUESTED_WITH="XMLHttpRequest")
        client.get("/users/2/", HTTP_ACCEPT="*/*")
        assert paths() == ["/"]


class TestWhatIsLeftOut:
    @pytest.mark.parametrize(
        ("headers", "reason"),
        [
            ({"HTTP_USER_AGENT": "curl/8.0"}, "robot"),
            ({"HTTP_USER_AGENT": ""}, "robot"),
            ({"HTTP_SIGNATURE_AGENT": '"https://chatgpt.com"'}, "robot"),
            ({"HTTP_SEC_GPC": "1"}, "gpc"),
            ({"HTTP_DNT": "1"}, "dnt"),
            ({"REMOTE_ADDR": ""}, "no_visitor"),
            ({"HTTP_COOKIE": "pagestats_opt_out=1"}, "opted_out"),
        ],
    )
    def test_by_the_request(self, browser: Client, headers: dict[str, str], reason: str) -> None:
        browser.get("/", **headers)
        assert paths() == []
        assert left_out.counted() == {reason: 1}

    def test_signals_that_are_not_honoured(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_HONOUR_GPC = site.PAGESTATS_HONOUR_DNT = False
        browser.get("/", HTTP_SEC_GPC="1", HTTP_DNT="1")
        assert paths() == ["/"]

    @pytest.mark.parametrize("path", ["/not-counted/", "/not-counted/class/", "/admin/login/"])
    def test_views(self, browser: Client, path: str) -> None:
        assert browser.get(path).status_code == 200
        assert paths() == []
        assert left_out.counted() == {"excluded_path": 1}

    def test_paths(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_EXCLUDE_PATHS = ["^/users/", "7"]
        browser.get("/users/1/")
        browser.get("/blog/a7/")
        browser.get("/blog/a/")
        assert paths() == ["/blog/a/"]
        assert left_out.counted() == {"excluded_path": 2}

    def test_files_by_prefixes_that_are_longer_than_the_sites(self, browser: Client, site: Any) -> None:
        site.MEDIA_URL = "/"
        site.STATIC_URL = "/users/"
        browser.get("/users/1/")
        browser.get("/blog/a/")
        assert paths() == ["/blog/a/"]

    def test_staff(self, browser: Client, site: Any) -> None:
        reader = get_user_model().objects.create_user("reader", password="x")
        editor = get_user_model().objects.create_user("editor", password="x", is_staff=True)
        browser.force_login(editor)
        browser.get("/")
        assert left_out.counted() == {"staff": 1}
        browser.force_login(reader)
        browser.get("/")
        site.PAGESTATS_EXCLUDE_STAFF = False
        browser.force_login(editor)
        browser.get("/users/1/")
        assert paths() == ["/", "/users/1/"]

    def test_without_consent(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_CONSENT = "tests.recording_site.consents"
        browser.get("/")
        assert left_out.counted() == {"no_consent": 1}
        browser.get("/", HTTP_COOKIE="consent=yes")
        assert paths() == ["/"]

    def test_a_second_view_within_half_an_hour(self, browser: Client, site: Any) -> None:
        browser.get("/")
        browser.get("/")
        browser.get("/", REMOTE_ADDR="192.0.2.200")
        browser.get("/blog/a/")
        assert paths() == ["/", "/", "/blog/a/"]
        assert left_out.counted() == {"duplicate": 1}
        site.PAGESTATS_DUPLICATE_SECONDS = 0
        browser.get("/")
        assert len(paths()) == 4


class TestPaths:
    def test_are_as_django_decodes_them(self, browser: Client) -> None:
        browser.get("/kind/xhtml/")
        browser.get("/blog/caf%C3%A9/")  # no slug: 404
        assert paths() == ["/kind/xhtml/"]

    def test_a_query_that_makes_a_page(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_QUERY = ["page", "q"]
        browser.get("/?q=a%20b&secret=1&page=2")
        browser.get("/?secret=1")
        browser.get("/users/1/?" + "&".join(["page=1"] * 1_001))
        assert paths() == ["/?page=2&q=a+b", "/", "/users/1/"]

    def test_a_callable_merges_and_drops(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_PATH = "tests.recording_site.without_number"
        browser.get("/users/7/")
        browser.get("/users/0/")
        assert paths() == ["/users/"]
        assert left_out.counted() == {"excluded_path": 1}

    def test_a_callable_that_raises_costs_the_view_and_not_the_page(
        self, browser: Client, site: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        site.PAGESTATS_PATH = "tests.recording_site.raises"
        assert browser.get("/").status_code == 200
        assert left_out.counted() == {"unexpected": 1}
        assert "a fault of the site" in caplog.text

    def test_without_language(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_PATH = "django_pagestats.recording.paths.without_language"
        site.MIDDLEWARE = [*site.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
        for path in ("/de/about/", "/users/7/"):
            browser.get(path, REMOTE_ADDR="192.0.2.1")
        browser.get("/fr/about/", REMOTE_ADDR="192.0.2.2")
        assert paths() == ["/about/", "/users/7/", "/about/"]

    def test_routes(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_PATH = "django_pagestats.recording.paths.route"
        for path in ("/users/7/", "/users/8/", "/users/7/", "/tags/red/", "/blog/a-b/", "/"):
            browser.get(path)
        assert paths() == ["/users/<number>/", "/users/<number>/", "/tags/<name>/", "/blog/<slug>/", "/"]
        assert left_out.counted() == {"duplicate": 1}


class TestTheSiteDoesNotNotice:
    def test_no_header_no_session_no_vary(self, browser: Client, site: Any) -> None:
        with_it = browser.get("/")
        site.MIDDLEWARE = OTHERS
        assert dict(with_it.headers) == dict(browser.get("/").headers)
        assert with_it.cookies == {}

    def test_a_fault_of_the_site_stays_its_own(self, browser: Client) -> None:
        with pytest.raises(RuntimeError, match="a fault of the site"):
            browser.get("/failing/")
        assert paths() == []

    def test_off_while_a_test_environment_is_set_up(
        self, browser: Client, site: Any, django_assert_num_queries: Any
    ) -> None:
        del site.PAGESTATS_ENABLED
        with django_assert_num_queries(0):
            browser.get("/")
        assert paths() == []
        assert left_out.counted() == {}

    def test_off_by_the_setting(self, browser: Client, site: Any, caplog: pytest.LogCaptureFixture) -> None:
        site.PAGESTATS_ENABLED = False
        with caplog.at_level("INFO"):
            browser.get("/")
            browser.get("/")
        assert caplog.messages == ["Page views are not recorded: PAGESTATS_ENABLED is False."]
        assert paths() == []

    def test_the_beacon_records_alone(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_RECORD_WITH = "beacon"
        browser.get("/")
        assert paths() == []

    def test_under_debug_all_is_counted(self, browser: Client, site: Any) -> None:
        site.DEBUG = True
        browser.force_login(get_user_model().objects.create_user("editor", password="x", is_staff=True))
        browser.get("/")
        assert paths() == ["/"]

    def test_what_a_per_site_cache_answers_is_counted(self, site: Any) -> None:
        cache.clear()
        site.MIDDLEWARE = [
            MIDDLEWARE,
            "django.middleware.cache.UpdateCacheMiddleware",
            *OTHERS,
            "django.middleware.cache.FetchFromCacheMiddleware",
        ]
        for number in range(5):
            response = Client(**BROWSER, REMOTE_ADDR=f"192.0.2.{number}").get("/users/1/")
            Client(**BROWSER, REMOTE_ADDR=f"192.0.2.{number}").get("/not-counted/")
        assert "Cookie" not in response.headers.get("Vary", "")
        assert paths() == ["/users/1/"] * 5
        assert PageView.objects.values("session_key").distinct().count() == 5
        assert left_out.counted() == {"excluded_path": 5}

    def test_conditional_requests(self, site: Any) -> None:
        site.MIDDLEWARE = [MIDDLEWARE, "django.middleware.http.ConditionalGetMiddleware", *OTHERS]
        first = Client(**BROWSER).get("/")
        again = Client(**BROWSER, REMOTE_ADDR="192.0.2.2").get("/", HTTP_IF_NONE_MATCH=first.headers["ETag"])
        assert again.status_code == 304
        assert paths() == ["/", "/"]

    def test_compression(self, site: Any) -> None:
        site.MIDDLEWARE = [MIDDLEWARE, "django.middleware.gzip.GZipMiddleware", *OTHERS]
        Client(**BROWSER).get("/", HTTP_ACCEPT_ENCODING="gzip")
        assert paths() == ["/"]


@pytest.mark.django_db(transaction=True)
class TestCost:
    def test_one_insert_once_a_process_knows_its_salt_and_policy(
        self, browser: Client, django_assert_num_queries: Any
    ) -> None:
        browser.get("/")
        with django_assert_num_queries(1):
            browser.get("/users/1/")
        with django_assert_num_queries(0):
            browser.get("/users/1/")

    def test_the_session_is_read_only_where_the_request_has_its_cookie(
        self, browser: Client, django_assert_num_queries: Any
    ) -> None:
        browser.get("/")
        user = get_user_model().objects.create_user("reader", password="x")
        browser.force_login(user)
        with django_assert_num_queries(3):  # session, user, INSERT
            browser.get("/users/1/")


@pytest.mark.django_db(transaction=True)
class TestAsync:
    def test_is_a_coroutine_function_where_the_site_is_async(self) -> None:
        async def inner(request: HttpRequest) -> HttpResponse:
            return HttpResponse("")

        assert iscoroutinefunction(PageViewMiddleware(inner))
        assert not iscoroutinefunction(PageViewMiddleware(lambda request: HttpResponse("")))

    @pytest.mark.parametrize("is_buffered", [False, True])
    def test_counts_pages(self, site: Any, is_buffered: bool) -> None:
        site.PAGESTATS_BUFFER = is_buffered

        async def visit() -> None:
            client = AsyncClient()
            headers = {name.removeprefix("HTTP_").replace("_", "-"): value for name, value in BROWSER.items()}
            for path in ("/async/", "/users/1/", "/not-counted/async/"):
                response = await client.get(path, headers=headers)
                assert response.status_code == 200

        asyncio.run(visit())
        recording.flush()
        assert sorted(paths()) == ["/async/", "/users/1/"]
        assert connection.is_usable()


def test_a_request_that_nobody_expects_is_no_fault_of_the_site(site: Any) -> None:
    request = RequestFactory().get("/", **BROWSER)
    request.META = {}
    reason = record_request(request, HttpResponse(""), path="/", query="", referrer=None, seen_by="middleware")
    assert reason == "robot"


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_down_is_asked_once_in_half_a_minute(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there is a salt, too: else each request would wait for a connection."""
    asked = []

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if "django_pagestats_" in sql:
            asked.append(sql)
            raise OperationalError("the server is not there")
        return execute(sql, *args)

    with as_a_site(monkeypatch), connection.execute_wrapper(refuse):
        for path in ("/", "/users/1/", "/users/2/"):
            assert browser.get(path).status_code == 200
        assert len(asked) == 1
        assert left_out.counted() == {"database": 3}


class TestBoth:
    """The middleware counts a page, and the beacon of the same page tells of it: one page view."""

    def tell(self, client: Client, path: str) -> None:
        assert (
            client.post("/ps/note", f"{path}\n\n", "text/plain", HTTP_SEC_FETCH_SITE="same-origin").status_code == 204
        )

    @pytest.fixture(autouse=True)
    def both(self, site: Any) -> None:
        site.PAGESTATS_RECORD_WITH = "both"

    @pytest.mark.parametrize("policy", ["daily", "session", "cookie", "user"])
    def test_is_counted_once_under_each_policy(self, browser: Client, site: Any, policy: str) -> None:
        site.PAGESTATS_VISITOR_KEY = policy
        for path in ("/session/", "/users/1/"):
            browser.get(path)
            self.tell(browser, path)
        assert paths() == ["/session/", "/users/1/"]

    def test_a_client_that_keeps_no_cookie(self, site: Any) -> None:
        site.PAGESTATS_VISITOR_KEY = "cookie"
        Client(**BROWSER).get("/")
        self.tell(Client(**BROWSER), "/")
        assert paths() == ["/"]

    def test_a_page_before_midnight_and_its_beacon_after_it(
        self, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser.get("/")
        monkeypatch.setattr(salts, "day_of", lambda at: "2100-01-02")
        self.tell(browser, "/")
        assert paths() == ["/"]

    def test_where_each_view_counts(self, browser: Client, site: Any) -> None:
        site.PAGESTATS_DUPLICATE_SECONDS = 0
        for _ in range(2):
            browser.get("/")
        for _ in range(3):
            self.tell(browser, "/")
        assert paths() == ["/", "/", "/"]


def test_a_page_view_that_is_not_recorded_uses_up_no_new_value(browser: Client, site: Any) -> None:
    site.PAGESTATS_NEW_VALUES_PER_DAY = 3
    for number in range(10):
        browser.get(f"/?utm_source=made-up-{number}")
    browser.get("/users/1/?utm_source=newsletter")
    sources = [view.attributes["source"] for view in PageView.objects.order_by("pk")]
    assert sources == ["made-up-0", "newsletter"]


def test_a_socket_without_an_address_is_noticed(
    browser: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "_watch", proxies.Watch())  # a process tells it once
    browser.get("/", REMOTE_ADDR="", HTTP_X_FORWARDED_FOR="203.0.113.7")
    assert left_out.counted() == {"no_visitor": 1}
    assert "PAGESTATS_TRUSTED_PROXIES" in caplog.text


def test_a_time_zone_that_is_none_breaks_no_page(browser: Client, site: Any) -> None:
    site.PAGESTATS_TIME_ZONE = "Nowhere/Land"
    assert browser.get("/").status_code == 200
    assert browser.get("/", HTTP_DNT="1").status_code == 200
    assert browser.get("/", HTTP_SEC_PURPOSE="prefetch").status_code == 200
    assert browser.get("/not-counted/").status_code == 200


def test_a_callable_that_asks_the_database_in_a_loop_breaks_no_page(browser: Client, site: Any) -> None:
    site.PAGESTATS_CONSENT = "tests.recording_site.asks_in_a_loop"
    assert browser.get("/").status_code == 200
    assert left_out.counted() == {"unexpected": 1}


@pytest.mark.django_db(transaction=True)
def test_a_session_is_not_asked_for_of_a_database_that_is_left_alone(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.get("/")
    browser.cookies["sessionid"] = "a" * 32
    with as_a_site(monkeypatch):
        suspending.suspend("default", "a test")
        with CaptureQueriesContext(connection) as queries:
            browser.get("/users/1/")
    assert len(queries) == 0
