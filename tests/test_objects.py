"""Objects with a page, and their page views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse, reverse_lazy, set_script_prefix
from django.urls.base import clear_script_prefix
from django.utils.safestring import mark_safe

from django_pagestats.models import PageView
from django_pagestats.objects import path_of, with_page_views
from tests.factories import START, insert_page_views
from tests.recording_site import BROWSER, MIDDLEWARE
from tests.stats_oracle import fold_naively

urlpatterns = [path("articles/<str:slug>/", lambda request, slug: None, name="article")]


@dataclass
class Article:
    """Has its number in `.page_views`, wherever it comes from."""

    url: Any
    page_views: int | None = None

    def get_absolute_url(self) -> Any:
        return self.url


def view(*paths: str) -> None:
    rows = insert_page_views([(path, f"k{n}", START) for n, path in enumerate(paths)])
    fold_naively(rows[: len(rows) // 2])


@pytest.mark.django_db
def test_each_has_its_number_in_order() -> None:
    view("/b", "/a", "/b", "/café/", "/b")
    articles = [Article(url) for url in ("/never", "/b", "/a", "/b", "/caf%C3%A9/")]
    found = with_page_views(iter(articles))
    assert [article.page_views for article in found] == [0, 3, 1, 3, 1]
    assert all(one is other for one, other in zip(found, articles, strict=True)), "the same objects, in their order"
    assert with_page_views([]) == []


@pytest.mark.django_db
def test_of_a_range_of_days() -> None:
    insert_page_views([("/a", "k", START + timedelta(days=n)) for n in range(4)])
    days = {"start": START.date() + timedelta(days=1), "end": START.date() + timedelta(days=3)}
    assert with_page_views([Article("/a")], **days, using="default")[0].page_views == 2


@pytest.mark.django_db
def test_a_queryset_of_models() -> None:
    for name in ("ada", "bob"):
        User.objects.create(username=name)
    view("/people/bob/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(User, "get_absolute_url", lambda user: f"/people/{user.username}/", raising=False)
        found = with_page_views(User.objects.order_by("username"))
    assert [(user.username, user.page_views) for user in found] == [("ada", 0), ("bob", 1)]


@pytest.mark.django_db
def test_statements_do_not_grow_with_the_list() -> None:
    view("/a", "/b")
    counts = []
    for number in (1, 300):
        with CaptureQueriesContext(connection) as captured:
            with_page_views([Article(f"/{n}") for n in range(number)])
        counts.append(len(captured))
    # of a path that nobody viewed no row is looked up
    assert counts == [3, 3]


@pytest.mark.django_db
def test_an_object_without_a_page_has_no_page_views() -> None:
    view("/")
    found = with_page_views([Article(None), Article(""), Article("#top"), Article("/a\nb"), Article("/" + 3_000 * "x")])
    assert [article.page_views for article in found] == [0] * 5


def test_what_could_have_no_page_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"int has no get_absolute_url\(\)"):
        with_page_views([1])
    with pytest.raises(TypeError, match="nor a url that is text"):
        path_of(SimpleNamespace(url=7))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/a/", "/a/"),
        ("/a/?page=2#top", "/a/"),
        ("/caf%C3%A9/", "/café/"),
        ("https://example.com/a/", "/a/"),
        ("https://example.com", "/"),
        (mark_safe("/a/"), "/a/"),
        (Article("https://example.com/caf%C3%A9/"), "/café/"),
        (Article(None), None),
        (SimpleNamespace(url="https://example.com/a/?page=2"), "/a/"),
        (SimpleNamespace(url=None), None),
        (None, None),
        ("", None),
        ("a/", None),
    ],
)
def test_the_path_of_a_page(given: Any, expected: str | None) -> None:
    assert path_of(given) == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "page"),
    [
        ({}, "/users/7/"),
        ({"PAGESTATS_QUERY": ["page"]}, "/users/7/?page=2"),
        ({"PAGESTATS_PATH": "django_pagestats.recording.paths.route"}, "/users/<number>/"),
        ({"PAGESTATS_PATH": "tests.test_objects.nothing_counts"}, None),
    ],
)
def test_the_page_of_an_object_is_the_one_that_is_recorded(
    given: dict[str, Any], page: str | None, settings: Any, recorded_anew: None
) -> None:
    settings.ROOT_URLCONF, settings.PAGESTATS_ENABLED = "tests.recording_site", True
    settings.MIDDLEWARE = [MIDDLEWARE]
    url = "/users/7/?utm_source=mail&page=2#top"
    with override_settings(**given):
        assert Client(**BROWSER).get(url).status_code == 200
        assert [view.path for view in PageView.objects.all()] == ([] if page is None else [page])
        assert path_of(url) == path_of(f"https://example.com{url}") == page
        assert with_page_views([Article(url)])[0].page_views == (0 if page is None else 1)


def nothing_counts(request: HttpRequest, path: str) -> None:
    assert (request.method, request.path_info) == ("GET", "/users/7/")


@override_settings(ROOT_URLCONF="tests.test_objects")
def test_the_script_prefix_is_kept_as_recording_keeps_it() -> None:
    lazy = reverse_lazy("article", args=["käse"])
    set_script_prefix("/shop/")
    try:
        assert path_of(reverse("article", args=["käse"])) == path_of(lazy) == "/shop/articles/käse/"
    finally:
        clear_script_prefix()
