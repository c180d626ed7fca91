"""What the tags write into a page, where they write nothing, and what their addresses give."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import django
import pytest
from django.http import HttpRequest
from django.template import TemplateSyntaxError
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.views.defaults import page_not_found, server_error

from django_pagestats.beacon import markup, script
from django_pagestats.recording import opting_out
from tests.beacon_site import rendered

pytestmark = pytest.mark.urls("tests.beacon_site")
SOURCE = f"/ps/{script.digest()}.js"
SCRIPT = f'<script defer src="{SOURCE}"></script>'


@pytest.fixture(autouse=True)
def records(settings: Any) -> None:
    settings.PAGESTATS_ENABLED = True
    settings.PAGESTATS_RECORD_WITH = "beacon"


def request(path: str = "/a/") -> HttpRequest:
    return RequestFactory().get(path)


# -- the script


@pytest.mark.parametrize(("record_with", "html"), [("beacon", SCRIPT), ("both", SCRIPT), ("middleware", "")])
def test_where_the_middleware_records_there_is_no_script(record_with: str, html: str, settings: Any) -> None:
    settings.PAGESTATS_RECORD_WITH = record_with
    assert rendered("{% pagestats_beacon %}", request()) == html


def test_where_nothing_is_recorded_there_is_no_script(settings: Any) -> None:
    settings.PAGESTATS_ENABLED = False
    assert rendered("{% pagestats_beacon %}{% pagestats_pixel %}", request()) == ""


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ("auto=False", ' data-auto="false"'),
        ("auto=True hash=False consent=False", ""),
        ("hash=True consent=True", " data-hash data-consent"),
        ("endpoint='https://example.org/x?a&b'", ' data-endpoint="https://example.org/x?a&amp;b"'),
        ("exclude='^/\"a'", ' data-exclude="^/&quot;a"'),
        ("nonce='abc' hash=True", ' nonce="abc" data-hash'),
    ],
)
def test_its_attributes(arguments: str, written: str) -> None:
    html = rendered(f"{{% pagestats_beacon {arguments} %}}", request())
    assert html == f'<script defer src="{SOURCE}"{written}></script>'


def test_settings_that_it_has_to_know(settings: Any) -> None:
    settings.PAGESTATS_QUERY = ["page", "q"]
    settings.PAGESTATS_HONOUR_GPC = settings.PAGESTATS_HONOUR_DNT = False
    html = rendered("{% pagestats_beacon %}", request())
    assert html == f'<script defer src="{SOURCE}" data-query="page q" data-gpc="false" data-dnt="false"></script>'


def test_an_argument_that_there_is_not() -> None:
    with pytest.raises(TemplateSyntaxError, match="defer"):
        rendered("{% pagestats_beacon defer=True %}", request())


class Nonce(SimpleLazyObject):
    """As Django's and django-csp's: made when it is read, and false before that."""

    def __init__(self, text: str) -> None:
        super().__init__(lambda: text)

    def __bool__(self) -> bool:
        return False


def test_the_nonce_is_the_arguments_the_templates_or_the_requests() -> None:
    asked = request()
    asked.csp_nonce = Nonce("of-request")  # type: ignore[attr-defined]
    assert ' nonce="of-request"' in rendered("{% pagestats_beacon %}", asked)
    context = {"csp_nonce": Nonce("of-template"), "mine": Nonce("of-argument")}
    assert ' nonce="of-template"' in rendered("{% pagestats_beacon %}", asked, context)
    assert ' nonce="of-argument"' in rendered("{% pagestats_beacon nonce=mine %}", asked, context)


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has a policy of its own from 6.0 on")
def test_the_nonce_of_djangos_own_policy(settings: Any) -> None:
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.csp"]},
        }
    ]
    settings.MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware"]
    settings.SECURE_CSP = {"script-src": ["<CSP_NONCE_SENTINEL>"]}
    response = Client().get("/plain/a/")
    nonce = response["Content-Security-Policy"].partition("nonce-")[2].rstrip("'")
    assert len(nonce) > 10 and f' nonce="{nonce}"' in response.content.decode()


def test_a_nonce_that_nobody_needs_is_not_made(settings: Any) -> None:
    def made() -> str:
        raise AssertionError

    settings.PAGESTATS_RECORD_WITH = "middleware"
    assert rendered("{% pagestats_beacon %}", request(), {"csp_nonce": SimpleLazyObject(made)}) == ""


# -- pages that are none


ERROR_PAGE = "{% load django_pagestats %}<h1>sorry</h1>{% pagestats_beacon %}{% pagestats_pixel %}"


@pytest.fixture
def error_pages(settings: Any) -> None:
    loaders = [("django.template.loaders.locmem.Loader", {"404.html": ERROR_PAGE, "500.html": ERROR_PAGE})]
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": loaders}}
    ]


def test_on_a_page_for_what_is_not_found_there_is_no_script(error_pages: None) -> None:
    assert page_not_found(request(), Exception()).content == b"<h1>sorry</h1>"
    assert server_error(request()).content == b"<h1>sorry</h1>"


def test_a_context_that_knows_one_of_the_two_is_a_page() -> None:
    for context in ({"exception": "x"}, {"request_path": "x"}):
        assert rendered("{% pagestats_beacon %}", request(), context) == SCRIPT


def test_without_a_request_there_is_no_page() -> None:
    assert rendered("{% pagestats_beacon %}{% pagestats_pixel %}", None) == ""


@pytest.mark.urls("tests.test_beacon_tags")
def test_without_the_urls_there_is_no_script_and_a_line_in_the_log(caplog: Any) -> None:
    markup._tell_of_missing_urls.cache_clear()
    source = "{% pagestats_beacon %}{% pagestats_pixel %}{% pagestats_opt_out %}"
    assert rendered(source, request()) == ""
    assert 'path("ps/", include("django_pagestats.urls"))' in caplog.text
    assert len(caplog.records) == 1, "once in a process, and not with each page"


urlpatterns: list[Any] = []


# -- the script's address


def test_the_script_is_kept_for_ever_by_its_name() -> None:
    response = Client().get(SOURCE)
    assert response.content == script.body()
    assert response["Content-Type"] == "text/javascript; charset=utf-8"
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert not response.cookies and "Vary" not in response
    assert Client().post(SOURCE).status_code == 405


def test_the_script_of_another_release_is_the_one_of_now_and_kept_for_an_hour() -> None:
    response = Client().get(reverse("django_pagestats:script", args=["0123456789ab"]))
    assert response.content == script.body()
    assert response["Cache-Control"] == "public, max-age=3600"


# -- the pixel


def test_the_pixel_says_of_which_page_it_is(settings: Any) -> None:
    settings.PAGESTATS_QUERY = ["page"]
    html = rendered("{% pagestats_pixel %}", request("/caf%C3%A9/100%25/?token=sesame&page=2&page=3"))
    assert html == (
        '<noscript><img src="/ps/note.gif?p=%2Fcaf%C3%A9%2F100%25%2F&amp;q=page%3D2%26page%3D3"'
        ' alt="" width="1" height="1"></noscript>'
    )


def test_a_page_without_parameters_of_its_own_has_none() -> None:
    html = rendered("{% pagestats_pixel %}", request("/a/?token=sesame"))
    assert html == '<noscript><img src="/ps/note.gif?p=%2Fa%2F" alt="" width="1" height="1"></noscript>'


# -- the button


def test_the_button_is_the_same_for_everybody() -> None:
    """So a cache may keep its page: it asks for nothing of the request."""
    html = rendered("{% pagestats_opt_out %}", None)
    assert '<form method="post" action="/ps/choice"' in html and "Do not count my visits" in html
    assert "Off &lt;b&gt;" in rendered("{% pagestats_opt_out label %}", None, {"label": "Off <b>"})


CHOICE = "/ps/choice"
OWN = {"sec-fetch-site": "same-origin"}


@pytest.mark.parametrize("is_secure", [True, False])
def test_a_post_sets_the_cookie_and_another_takes_it(is_secure: bool) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post(CHOICE, {"counted": "no"}, headers=OWN, secure=is_secure)
    assert (response.status_code, response["Location"]) == (303, CHOICE)
    cookie = response.cookies[opting_out.COOKIE_NAME]
    assert (cookie.value, cookie["path"], cookie["samesite"], cookie["httponly"]) == ("1", "/", "Lax", True)
    assert cookie["secure"] == (is_secure or "") and cookie["max-age"] == 400 * 86_400
    assert "no-store" in response["Cache-Control"]
    told = client.get(CHOICE, secure=is_secure)
    assert b"are not counted" in told.content and "no-store" in told["Cache-Control"]
    assert client.get(CHOICE, secure=is_secure).status_code == 200  # to look changes nothing
    client.post(CHOICE, {"counted": "yes"}, headers=OWN, secure=is_secure)
    assert client.cookies[opting_out.COOKIE_NAME].value == ""
    assert b"are counted" in client.get(CHOICE, secure=is_secure).content


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/x-www-form-urlencoded", 303),
        (b"counted=maybe&counted", "application/x-www-form-urlencoded", 303),
        (b"counted=%FF%00", "application/x-www-form-urlencoded", 303),
        (b"\xff", "text/plain", 303),
        (b"--x", "multipart/form-data; boundary=x", 303),
        (b"--x", "multipart/form-data", 400),
    ],
)
def test_whatever_is_posted_is_no_error(body: bytes, content_type: str, status: int) -> None:
    """Only a clear yes counts a browser again."""
    response = Client().post(CHOICE, body, content_type=content_type, headers=OWN)
    assert response.status_code == status
    if status == 303:
        assert response.cookies[opting_out.COOKIE_NAME].value == "1"


def test_another_site_cannot_take_a_visitor_out_nor_put_her_back() -> None:
    client = Client()
    client.cookies = SimpleCookie({opting_out.COOKIE_NAME: "1"})
    response = client.post(CHOICE, {"counted": "yes"}, headers={"sec-fetch-site": "cross-site"})
    assert response.status_code == 403 and not response.cookies


@pytest.mark.parametrize(
    ("referrer", "is_shown"),
    [
        ("http://testserver/a/?b", True),
        ("http://testserver/ps/choice", False),
        ("https://example.org/", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_the_way_back_leads_to_this_site(referrer: str, is_shown: bool) -> None:
    html = Client().get(CHOICE, headers={"referer": referrer}).content.decode()
    assert ('<a href="http://testserver/a/?b">' in html) is is_shown
    assert is_shown or "<a " not in html
