"""Who may ask the read API what: users, tokens, and tokens of a part; how tokens are made, listed and revoked."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_pagestats.api import tokens, urls
from django_pagestats.api.tokens import create_token, find_token
from django_pagestats.exceptions import TokenRefusedError
from django_pagestats.models import PageView, Token
from tests.factories import fold, insert_page_views
from tests.test_api import API, every_question, problem

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.test_api"), pytest.mark.in_turn(2)]

NOW = datetime.now(timezone.utc)
QUESTIONS = list(every_question())
ADMIN = "/admin/django_pagestats/token/"


def secret_of(**options: Any) -> str:
    return create_token(options.pop("name", "grafana"), now=NOW, **options)[1]


def bearing(secret: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {secret}"})


def signed_in(*permissions: str, is_staff: bool = True) -> Client:
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def statuses(client: Client) -> dict[str, int]:
    return {name: client.get(API + name, question).status_code for name, question in QUESTIONS}


def all_of(status: int) -> dict[str, int]:
    return {name: status for name, _ in QUESTIONS}


@pytest.fixture
def page_views() -> None:
    at = datetime(2025, 3, 20, tzinfo=timezone.utc)
    views = [("/blog/a/", "ada"), ("/blog/b/", "bob"), ("/blog/a/", "bob"), ("/docs/", "ada"), ("/", "eve")]
    insert_page_views((path, key, at, {"source": "direct"}) for path, key in views)


# -- every URL


def test_every_url_by_every_door(settings: Any) -> None:
    middleware = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    settings.MIDDLEWARE = middleware
    revoked, expired = secret_of(name="revoked"), secret_of(name="expired", expires_at=NOW + timedelta(days=1))
    tokens.revoke_token(Token.objects.get(name="revoked"), now=NOW)
    Token.objects.filter(name="expired").update(expires_at=NOW - timedelta(seconds=1))
    restricted = secret_of(name="restricted", paths=["/nothing/"])
    inactive = signed_in("view_statistics")
    User.objects.update(is_active=False)
    assert statuses(Client()) == all_of(401)
    for wrong in (revoked, expired, "pagestats_nobody", "", "\N{SNOWMAN}".encode().decode("latin-1"), f"{restricted}x"):
        assert statuses(bearing(wrong)) == all_of(401), wrong
    assert statuses(inactive) == all_of(401)
    assert statuses(signed_in("view_pageview", "view_token", "revoke_token")) == all_of(403)
    assert statuses(bearing(restricted)) == all_of(403) | {"openapi.json": 200}
    assert statuses(signed_in("view_statistics", is_staff=False)) == all_of(200)
    assert statuses(bearing(secret_of())) == all_of(200)
    # a token that is shown counts alone, whoever is signed in
    client = signed_in("view_statistics")
    assert client.get(f"{API}summary", headers={"Authorization": "Bearer wrong"}).status_code == 401
    # what a proxy before the site asks for is none of ours
    assert client.get(f"{API}summary", headers={"Authorization": "Basic dTpw"}).status_code == 200


def test_refusals_are_json_and_kept_by_nobody() -> None:
    response = Client().get(f"{API}summary", headers={"Accept": "text/html"})
    assert "Authorization: Bearer" in problem(response, 401)["detail"]
    assert response["WWW-Authenticate"] == 'Bearer realm="statistics"'
    assert response["Vary"] == "Authorization, Cookie"
    assert "invalid_token" in bearing("wrong").get(f"{API}summary")["WWW-Authenticate"]
    assert "view_statistics" in problem(signed_in().get(f"{API}summary"), 403)["detail"]


def test_it_only_reads() -> None:
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {secret_of()}"})
    for name, question in QUESTIONS:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            response = client.generic(method, API + name)
            assert problem(response, 405) and response["Allow"] == "GET, HEAD"
        response = client.head(API + name, question)
        assert response.status_code == 200 and response.content == b""


def test_it_is_not_counted_and_needs_no_accounts(settings: Any) -> None:
    settings.MIDDLEWARE = ["django_pagestats.middleware.PageViewMiddleware"]
    settings.PAGESTATS_ENABLED = True
    assert statuses(Client()) == all_of(401)
    assert statuses(bearing(secret_of())) == all_of(200)
    assert not PageView.objects.exists()
    # of JSON and CSV the middleware counts nothing anyway
    assert all(it.callback.pagestats_not_counted for it in urls.urlpatterns)  # type: ignore[union-attr]


# -- a part only


@pytest.mark.usefixtures("page_views")
def test_a_token_of_a_part_is_refused_everything_else() -> None:
    client = bearing(secret_of(paths=["/docs/"], sections=["blog", "/"]))

    def status(name: str, **question: Any) -> int:
        return client.get(API + name, question).status_code

    march = {"granularity": "day", "start": "2025-03-01", "end": "2025-04-01"}
    for path in ("/docs/", "/blog/a/", "/blog/", "/blog", "/blog?q=1", "/", "/blog/nobody/"):
        assert (status("pages", path=path), status("visitors", path=path)) == (200, 200), path
        assert status("time_series", path=path, **march) == 200
    for path in ("/docs", "/docs/more/", "/blogs/", "/x/blog/", "/Blog/", "docs/"):
        found = problem(client.get(f"{API}pages", {"path": ["/docs/", path]}), 403)
        assert found["value"] == path and "path '/docs/', section '/', section 'blog' only" in found["detail"]
        assert (status("visitors", path=path), status("time_series", path=path, **march)) == (403, 403), path
        assert status("visitors", path=["/docs/", path]) == 403
    assert status("visitors", where="section:blog") == status("time_series", where="section:blog", **march) == 200
    assert status("visitors", where="section:/", path="/docs/") == 200
    for where in ("section:docs", "source:direct", "entry:/docs/", "nothing:blog"):
        assert status("visitors", where=where) == status("time_series", where=where, **march) == 403, where
        assert status("visitors", where=["section:blog", where]) == 403
        assert status("visitors", where=where, path="/docs/") == 403
    # lists of pages, those of a section only
    rows = client.get(f"{API}top_pages", {"prefix": "/blog/"}).json()["rows"]
    assert {row["path"] for row in rows} == {"/blog/a/", "/blog/b/"}
    assert status("top_pages", prefix="/blog/a", order="value") == 200
    for prefix in ("/", "/blog", "/docs/", "//", "blog/", "/x/blog/"):
        assert problem(client.get(f"{API}top_pages", {"prefix": prefix}), 403)["value"] == prefix
    # the whole site, in whatever way
    assert status("time_series", **march) == status("visitors") == status("summary") == status("top_pages") == 403
    assert status("top", dimension="section") == status("active_pages") == status("dimensions") == 403
    # a wrong question is told apart from a forbidden one only where it may be asked
    assert status("pages", path="/docs/", start="x") == 400


def told_of_the_blog(client: Client, **others: str) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and text of all that a token of the blog may ask."""
    march = {"granularity": "day", "start": "2025-03-01", "end": "2025-04-01"}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("pages", {"path": ["/blog/a/", "/blog/nobody/"]}),
        ("pages", {"path": "/blog/a/", "format": "csv"}),
        ("time_series", {"path": "/blog/a/", **march}),
        ("time_series", {"where": "section:blog", **march}),
        ("visitors", {"path": ["/blog/a/", "/blog/b/"], "where": "section:blog"}),
        ("top_pages", {"prefix": "/blog/", "limit": "1", **others}),
        ("top_pages", {"prefix": "/blog/", "limit": "1", "end": "2025-04-01", "format": "csv"}),
        ("top_pages", {"prefix": "/blog/", "limit": "1", "order": "value"}),
    ]
    responses = [client.get(API + name, question) for name, question in asked]
    return [(it.status_code, dict(it.headers), it.content) for it in responses]


@pytest.mark.usefixtures("page_views", "no_settling")
def test_a_token_of_a_part_does_not_learn_that_others_have_page_views() -> None:
    """Neither by what an answer has in it, nor by whether it has changed, nor by whether a list goes on."""
    client = bearing(secret_of(sections=["blog"]))
    fold()
    before = told_of_the_blog(client)
    cursor = json.loads(before[5][2])["next"]
    goes_on = told_of_the_blog(client, cursor=cursor)
    assert cursor and {status for status, _, _ in before + goes_on} == {200}
    assert all("ETag" in headers for _, headers, _ in before)
    at = datetime(2025, 3, 20, tzinfo=timezone.utc)
    for is_folded in (False, True):
        insert_page_views([("/docs/", "ada", at), ("/other/", "somebody", at)])
        if is_folded:
            fold()
        assert told_of_the_blog(client) == before, is_folded
        assert told_of_the_blog(client, cursor=cursor) == goes_on, is_folded
    # and each of its own it learns
    question, etag = {"path": ["/blog/a/", "/blog/nobody/"]}, before[0][1]["ETag"]
    unchanged = client.get(f"{API}pages", question, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", etag)
    assert unchanged["Cache-Control"] == "private, no-cache"
    insert_page_views([("/blog/a/", "eve", at)])
    assert client.get(f"{API}pages", question, headers={"If-None-Match": etag}).status_code == 200
    after = told_of_the_blog(client)
    assert all(one[1]["ETag"] != other[1]["ETag"] for one, other in zip(before, after, strict=True))
    assert problem(client.get(f"{API}top_pages", {"prefix": "/blog/", "limit": "1", "cursor": cursor}), 409)


@pytest.mark.usefixtures("page_views")
def test_a_token_of_a_part_is_told_nothing_of_what_is_wrong_elsewhere(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 3
    question = {"path": "/blog/a/"}
    found = problem(bearing(secret_of(paths=["/blog/a/"])).get(f"{API}visitors", question), 503)
    assert found["detail"] == "It cannot be answered now: the site's log says why."
    assert "PAGESTATS_TAIL_LIMIT" in caplog.text
    told_all = problem(bearing(secret_of(name="all")).get(f"{API}visitors", question), 503)
    assert "PAGESTATS_TAIL_LIMIT" in told_all["detail"]


@pytest.mark.usefixtures("page_views")
def test_an_answer_that_is_the_same_takes_three_statements() -> None:
    """The token, the state of the aggregates, and how many page views are not folded up to which."""
    client = bearing(secret_of())
    etag = client.get(f"{API}summary")["ETag"]
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"{API}summary", headers={"If-None-Match": etag}).status_code == 304
    assert len(captured) == 3, captured.captured_queries


@pytest.mark.usefixtures("page_views")
def test_a_dimension_of_the_sites_own_is_no_section_of_a_token(settings: Any) -> None:
    client = bearing(secret_of(sections=["blog"]))
    settings.PAGESTATS_DIMENSIONS = {"section": "source", "part": "django_pagestats.dimensions.section"}
    assert client.get(f"{API}visitors", {"where": "section:blog"}).status_code == 403
    assert client.get(f"{API}visitors", {"where": "part:blog"}).json()["visitors"] == 2


# -- tokens


def test_the_secret_is_shown_once_and_stored_nowhere() -> None:
    token, secret = create_token("grafana", now=NOW)
    assert len(secret) == len("pagestats_") + 43 and secret != create_token("other", now=NOW)[1]
    stored = Token.objects.filter(pk=token.pk).values().get()
    assert secret not in str(stored) and secret.removeprefix("pagestats_") not in str(stored)
    assert find_token(secret, now=NOW) == token
    assert find_token(secret.lower(), now=NOW) is None and find_token(token.digest, now=NOW) is None


def test_it_is_found_by_its_digest_alone() -> None:
    """One statement by an index, in which nothing of the secret is."""
    secret = secret_of()
    with CaptureQueriesContext(connection) as captured:
        assert find_token(secret, now=NOW)
    assert len(captured) == 1 and secret[10:] not in captured[0]["sql"] and "digest" in captured[0]["sql"]


def test_the_day_of_the_last_use_is_kept_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    client = bearing(secret_of())

    def writes() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"{API}summary").status_code == 200
        return sum(query["sql"].startswith("UPDATE") for query in captured)

    assert [writes() for _ in range(3)] == [1, 0, 0]
    assert Token.objects.get().last_used_on == NOW.date()
    Token.objects.update(last_used_on=NOW.date() - timedelta(days=1))
    assert [writes() for _ in range(2)] == [1, 0]
    # an answer is worth more
    Token.objects.update(last_used_on=None)
    with connection.execute_wrapper(only_reads):
        assert client.get(f"{API}summary").status_code == 200
    assert "could not be kept" in caplog.text


def only_reads(execute: Any, sql: str, *arguments: Any) -> Any:
    """As of a database that is a replica for a while."""
    if sql.startswith("UPDATE"):
        raise DatabaseError("read only")
    return execute(sql, *arguments)


def told(*arguments: str) -> str:
    out, error = StringIO(), StringIO()
    call_command("pagestats_token", *arguments, stdout=out, stderr=error)
    return out.getvalue() + error.getvalue()


@pytest.mark.usefixtures("page_views")
def test_the_command() -> None:
    out, error = StringIO(), StringIO()
    arguments = ["create", "blog", "--section", "blog", "--path", "/😀/", "--path", "/😀/", "--expires", "2199-01-31"]
    call_command("pagestats_token", *arguments, stdout=out, stderr=error)
    secret = out.getvalue().strip()  # alone, for a variable of a shell
    assert error.getvalue() == "Token 'blog', for path /😀/, section blog. It is shown this once:\n"
    assert bearing(secret).get(f"{API}pages", {"path": "/😀/"}).status_code == 200
    told("create", "all")
    listed = told("list")
    assert secret not in listed and "never" in listed
    assert [line.split()[:2] for line in listed.splitlines()] == [["name", "state"], ["all", "in"], ["blog", "in"]]
    (_, blog) = json.loads(told("list", "--json"))["tokens"]
    assert (
        blog["paths"] == ["/😀/"] and blog["sections"] == ["blog"] and blog["expires_at"] == "2199-01-31T00:00:00+00:00"
    )
    assert blog["state"] == "in force" and blog["last_used_on"] == NOW.date().isoformat()
    assert told("revoke", "blog") == "Token 'blog' is revoked.\n"
    assert told("revoke", "blog") == "Token 'blog' was revoked before.\n"
    assert bearing(secret).get(f"{API}pages", {"path": "/😀/"}).status_code == 401
    assert "revoked" in told("list") and "blog" in told("list")


@pytest.mark.parametrize(
    ("zone", "expires_at"),
    [
        ("Asia/Tokyo", datetime(2199, 1, 30, 15, tzinfo=timezone.utc)),
        ("America/Bogota", datetime(2199, 1, 31, 5, tzinfo=timezone.utc)),
    ],
)
def test_expiry_is_in_the_zone_of_the_statistics(zone: str, expires_at: datetime, settings: Any) -> None:
    settings.PAGESTATS_TIME_ZONE = zone
    told("create", "it", "--expires", "2199-01-31")
    Token.objects.update(created_at=expires_at - timedelta(seconds=1))
    assert Token.objects.get().expires_at == expires_at
    # the day that was given, and that of the site on which it was made
    row = told("list").splitlines()[1].split()
    assert row[:5] == ["it", "in", "force", "2199-01-30", "2199-01-31"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "taken"], "There is a token 'taken'"),
        (["create", " "], "name=' ': 1 to 100 printable characters would do."),
        (["create", "x" * 101], "1 to 100 printable characters"),
        (["create", "it", "--path", "blog/"], "path='blog/': a path as it is counted would do"),
        (["create", "it", "--section", "/blog/"], "section='/blog/': the first segment of paths, without a slash"),
        (["create", "it", "--expires", "2025-01-01"], "a later day would do"),
        (["create", "it", "--expires", "soon"], "must be a day such as 2027-01-31, not 'soon'"),
        (["revoke", "nobody"], "There is no token 'nobody'. There are: taken."),
        ([], "required"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], message: str) -> None:
    secret_of(name="taken")
    with pytest.raises(CommandError, match=message.replace("(", r"\(")):
        told(*arguments)
    assert Token.objects.count() == 1


def test_a_day_that_has_no_beginning_in_utc_is_refused(settings: Any) -> None:
    settings.PAGESTATS_TIME_ZONE = "Asia/Tokyo"
    with pytest.raises(CommandError, match="--expires 0001-01-01 cannot be told in UTC"):
        told("create", "it", "--expires", "0001-01-01")
    assert not Token.objects.exists()


def test_names_are_taken_though_revoked() -> None:
    tokens.revoke_token(create_token("it", now=NOW)[0], now=NOW)
    with pytest.raises(TokenRefusedError, match="one that was revoked"):
        create_token("it", now=NOW)


# -- the admin


def test_the_admin_lists_and_revokes() -> None:
    hostile = '/"><script>alert(1)</script>'
    secret, other = secret_of(name="<b>it</b>", paths=[hostile]), secret_of(name="other")
    viewer, revoker = signed_in("view_token"), signed_in("view_token", "revoke_token")
    page = viewer.get(ADMIN).content.decode()
    assert "<script>alert" not in page and "<b>it" not in page and "&lt;script&gt;" in page and secret[10:] not in page
    assert "Revoke selected tokens" not in page and "Revoke selected tokens" in revoker.get(ADMIN).content.decode()
    token = Token.objects.get(name="<b>it</b>")
    detail = viewer.get(f"{ADMIN}{token.pk}/change/").content.decode()
    assert token.digest not in detail and "<script>alert" not in detail and "in force" in detail
    asked = {"action": "revoke", "_selected_action": [token.pk]}
    viewer.post(ADMIN, asked)
    assert find_token(secret, now=NOW)
    response = revoker.post(ADMIN, asked, follow=True)
    assert "1 token is revoked." in response.content.decode()
    assert find_token(secret, now=NOW) is None and find_token(other, now=NOW)
    assert "0 tokens are revoked." in revoker.post(ADMIN, asked, follow=True).content.decode()
    assert "revoked" in viewer.get(ADMIN).content.decode()
    # and neither makes, changes or deletes one
    for client in (viewer, revoker):
        assert client.get(f"{ADMIN}add/").status_code == client.get(f"{ADMIN}{token.pk}/delete/").status_code == 403
        assert client.post(f"{ADMIN}{token.pk}/change/", {"name": "x"}).status_code == 403
    assert signed_in("view_statistics").get(ADMIN).status_code == 403
    deleter = signed_in("view_token", "delete_token")
    assert deleter.post(f"{ADMIN}{token.pk}/delete/", {"post": "yes"}).status_code == 302
    assert create_token("<b>it</b>", now=NOW)


def test_a_list_of_tokens_takes_as_many_statements_as_one() -> None:
    client = signed_in("view_token")

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(ADMIN).status_code == 200
        return len(captured)

    secret_of(name="first")
    few = statements()
    for number in range(20):
        secret_of(name=f"{number}")
    assert statements() == few
