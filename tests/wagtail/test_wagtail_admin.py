"""Numbers beside the pages of a Wagtail site, in its own admin: column, panel and report, and who sees them."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sites.requests import RequestSite
from django.db import DatabaseError, connection
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from wagtail import hooks
from wagtail.admin.viewsets.pages import PageViewSet, page_viewset_registry
from wagtail.models import GroupPagePermission, Page, Site

from django_pagestats import folding, harmless, showing
from django_pagestats.checks.sitemaps import check_sitemaps
from django_pagestats.contrib.wagtail.listings import PageStatisticsListingMixin
from django_pagestats.contrib.wagtail.panels import PageStatisticsPanelMixin
from django_pagestats.contrib.wagtail.reports import PageStatisticsReportView
from django_pagestats.contrib.wagtail.viewsets import PageStatisticsViewSet
from django_pagestats.dashboard.sitemaps import Site as SiteOfAddresses
from django_pagestats.dashboard.sitemaps import stretches
from django_pagestats.objects import with_page_views
from tests.factories import insert_page_views

REPORT = "/cms/reports/page-statistics/"
HOSTILE = '<script>alert(1)</script>"'


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    harmless._told.clear()
    yield
    harmless._told.clear()


@pytest.fixture
def pages(home: Any) -> list[Any]:
    """Three pages below the home page, one of them a draft, the first with one below."""
    made = [
        home.add_child(instance=Page(title=title, slug=slug, live=slug != "c"))
        for slug, title in (("a", "Page A"), ("b", HOSTILE), ("c", "=cmd"))
    ]
    made[0].add_child(instance=Page(title="Below", slug="below"))
    return made


def editor(*permissions: str) -> Client:
    """Somebody who edits all pages, and nothing else."""
    user = User.objects.create_user("editor", is_staff=True)
    group = Group.objects.create(name="editors")
    wanted = Permission.objects.filter(codename__in=["access_admin", *permissions])
    group.permissions.set(wanted)
    root = Page.objects.get(depth=1)
    for codename in ("add_page", "change_page", "publish_page"):
        permission = Permission.objects.get(content_type__app_label="wagtailcore", codename=codename)
        GroupPagePermission.objects.create(group=group, page=root, permission=permission)
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    return client


def view(path: str, count: int = 1, *, days_ago: int = 0, source: str = "") -> None:
    at = datetime.now(timezone.utc) - timedelta(days=days_ago)
    more: Any = ({"source": source},) if source else ()
    insert_page_views([(path, f"key{n}", at, *more) for n in range(count)])  # type: ignore[misc]


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return re.sub(r"\s+", " ", response.content.decode())


def column(response: Any) -> list[str]:
    cells = re.findall(r'<td class="pagestats-column">(.*?)</td>', text_of(response))
    return [unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in cells]


def test_the_listing_has_a_column_of_page_views(pages: list[Any], home: Any) -> None:
    client = editor("view_statistics")
    view("/a/", 1_234)
    view("/a/", 3, days_ago=28)  # before these days
    view("/b/", 2, days_ago=27)
    folding.keep_up("default", seconds=60)
    view("/b/", 5)  # not folded yet
    response = client.get(reverse("wagtailadmin_explore", args=[home.pk]))
    assert sorted(column(response)) == ["0", "1,234", "7"]
    text = text_of(response)
    assert "Page views, 28 days" in text and text.count('class="pagestats-small-line"') == 3
    assert "django_pagestats/wagtail.css" in text and HOSTILE not in text
    assert column(client.get(reverse("wagtailadmin_explore_results", args=[home.pk]))) == column(response)
    assert len(column(client.get(reverse("wagtailadmin_pages:search"), {"q": "Page"}))) >= 1
    assert len(column(client.get(reverse("wagtailadmin_pages:type_use", args=["wagtailcore", "page"])))) >= 4


def test_a_listing_takes_as_many_statements_of_ours_however_long_it_is(home: Any, pages: list[Any]) -> None:
    client = editor("view_statistics")
    for page in pages:
        view(page.get_url())
    folding.keep_up("default", seconds=60)
    url = reverse("wagtailadmin_explore", args=[home.pk])
    client.get(url)
    counts = []
    for part in range(2):
        with CaptureQueriesContext(connection) as captured:
            client.get(url)
        counts.append(len([it for it in captured if "django_pagestats_" in it["sql"]]))
        for n in range(20):
            home.add_child(instance=Page(title=f"More {n}", slug=f"more-{part}-{n}"))
            view(f"/more-{part}-{n}/")
        folding.keep_up("default", seconds=60)
    assert counts[0] == counts[1] <= 9


def test_without_the_permission_there_is_nothing(home: Any, pages: list[Any]) -> None:
    client = editor("view_pageview")
    for url in (
        reverse("wagtailadmin_explore", args=[home.pk]),
        reverse("wagtailadmin_pages:edit", args=[pages[0].pk]),
        reverse("wagtailadmin_home"),
    ):
        text = text_of(client.get(url))
        assert "Page views" not in text and "page-statistics" not in text and "pagestats-" not in text
    assert client.get(REPORT).status_code == 302 and client.get(f"{REPORT}results/").status_code == 302
    assert Client().get(REPORT)["Location"].startswith("/cms/login/")


def test_the_editor_has_a_panel(pages: list[Any]) -> None:
    client = editor("view_statistics")
    view("/a/", 4, source="news.example")
    view("/a/", 2)
    view("/b/", 1, source=HOSTILE)
    folding.keep_up("default", seconds=60)
    view("/a/", 6)
    text = text_of(client.get(reverse("wagtailadmin_pages:edit", args=[pages[0].pk])))
    panel = text[text.index("pagestats-panel") :]
    assert re.findall(r"<h3[^>]*>([^<]*)</h3> <p [^>]*>([^<]*)</p>", panel)[:3] == [
        ("Page views", "12"),
        ("Visitors", "6"),
        ("Visits that began here", "4"),
    ]
    found = re.findall(r'<li><bdi title="[^"]*">(.*?)</bdi> <span class="pagestats-count">(\d+)</span>', panel)
    assert [(unescape(source), count) for source, count in found] == [("news.example", "4"), (HOSTILE, "1")]
    assert "Last 28 days" in panel and 'role="img"' in panel and HOSTILE not in text
    assert "Toggle page statistics" in text and "#icon-pagestats" in text


def test_a_page_without_a_url_says_so_and_an_error_breaks_nothing(
    pages: list[Any], home: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = editor("view_statistics")
    edit = reverse("wagtailadmin_pages:edit", args=[pages[0].pk])
    listing = reverse("wagtailadmin_explore", args=[home.pk])

    def fail(using: str) -> bool:
        raise DatabaseError("the table is gone")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "django_pagestats.harmless"):
        patch.setattr("django_pagestats.beside.recent.has_long_tail", fail)
        assert column(client.get(listing)) == ["-"] * 3
        assert "The statistics cannot be read at the moment." in text_of(client.get(edit))
        assert "They are not sorted by page views, which could not be counted." in text_of(client.get(REPORT))
    assert {"the table is gone" in it.getMessage() for it in caplog.records} == {True}
    Site.objects.all().delete()
    assert "This has no page on the site." in text_of(client.get(edit))
    assert column(client.get(listing)) == ["-"] * 3


def test_a_page_of_a_host_that_is_not_ours_has_no_numbers(pages: list[Any], home: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    client = editor("view_statistics")
    view("/", 3)
    other = Page.objects.get(depth=1).add_child(instance=Page(title="Elsewhere", slug="elsewhere"))
    Site.objects.create(hostname="elsewhere.example", root_page=other)
    assert "This has no page on the site." in text_of(client.get(reverse("wagtailadmin_pages:edit", args=[other.pk])))
    settings.ALLOWED_HOSTS = ["testserver", ".example"]
    assert "pagestats-panel" in text_of(client.get(reverse("wagtailadmin_pages:edit", args=[other.pk])))


def test_with_subpages(home: Any, pages: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageStatisticsListingMixin, "include_subpages", True)
    monkeypatch.setattr(PageStatisticsPanelMixin, "include_subpages", True)
    client = editor("view_statistics")
    view("/a/", 2)
    view("/a/below/", 3)
    response = client.get(reverse("wagtailadmin_explore", args=[home.pk]))
    assert sorted(column(response)) == ["0", "0", "5"]
    assert "Page views with subpages, 28 days" in text_of(response)
    panel = text_of(client.get(reverse("wagtailadmin_pages:edit", args=[pages[0].pk])))
    assert "With subpages, last 28 days" in panel and "Visits that began here" in panel


def test_the_report_sorts_all_pages_by_page_views(pages: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    client = editor("view_statistics")
    view("/a/below/", 9)
    view("/b/", 5)
    folding.keep_up("default", seconds=60)
    view("/b/", 5)
    view("/c/", 1)
    response = client.get(REPORT)
    assert column(response) == ["10", "9", "1", "0", "0"]
    visitors = re.findall(r"<td > (\S+) </td> </tr>", text_of(response))
    assert visitors == ["5", "9", "1", "0", "0"] and "1-5 of 5 pages" in text_of(response)
    assert column(client.get(f"{REPORT}?ordering=page_views")) == ["0", "0", "1", "9", "10"]
    assert column(client.get(f"{REPORT}results/?live=false")) == ["1"]
    monkeypatch.setattr(PageStatisticsReportView, "paginate_by", 2)
    assert [column(client.get(f"{REPORT}?p={page}")) for page in (1, 2, 3)] == [["10", "9"], ["1", "0"], ["0"]]
    monkeypatch.setattr(PageStatisticsReportView, "sorted_up_to", 4)
    text = text_of(client.get(REPORT))
    assert "These are more than 4 pages" in text and len(column(client.get(REPORT))) == 2
    assert "not sorted" not in text_of(client.get(f"{REPORT}?live=true")), "those that are live are four"


def test_the_report_is_downloaded(pages: list[Any]) -> None:
    client = editor("view_statistics")
    view("/b/", 5)
    folding.keep_up("default", seconds=60)
    view("/b/", 3)
    response = client.get(f"{REPORT}?export=csv")
    lines = list(csv.reader(io.StringIO(b"".join(response).decode())))
    assert lines[0] == ["Title", "Path", "Page views", "Visitors"] and len(lines) == 6
    assert lines[1] == [HOSTILE, "/b/", "8", "5"] and lines[2][2:] == ["0", "0"]


def test_a_download_without_numbers_has_all_pages(pages: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    client = editor("view_statistics")
    view("/b/", 5)
    monkeypatch.setattr(PageStatisticsReportView, "sorted_up_to", 4)
    lines = list(csv.reader(io.StringIO(b"".join(client.get(f"{REPORT}?export=csv")).decode())))
    assert len(lines) == 6 and {tuple(line[2:]) for line in lines[1:]} == {("-", "-")}


def test_a_page_is_the_page_of_a_tag(pages: list[Any], home: Any) -> None:
    view("/a/", 3)
    view("/a/below/", 2)

    def rendered(page: object) -> str:
        tags = "{% page_views path=page %} {% unique_visitors page days=7 %} {% pagestats_chart path=page days=1 %}"
        showing._kept.clear()
        return Template("{% load django_pagestats %}" + tags).render(Context({"page": page}))

    assert rendered(pages[0]).startswith("3 3 <svg")
    assert with_page_views([pages[0], pages[1]])[0].page_views == 3  # type: ignore[attr-defined]
    Site.objects.all().delete()
    assert rendered(Page.objects.get(pk=pages[0].pk)) == "0 0 ", "it has no URL, and not the site's number"


def test_wagtails_sitemap_and_page_types_name_the_sites_pages(pages: list[Any], settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    current = RequestSite(RequestFactory().get("/"))

    def found(name: str) -> set[str]:
        settings.PAGESTATS_SITEMAPS = name
        assert check_sitemaps() == []
        (stretch,) = stretches(SiteOfAddresses(lambda: current, ["testserver"]), size=100)
        assert (stretch.problems, stretch.elsewhere) == ([], 0)
        return {address.path for address in stretch.addresses}

    assert found("wagtail.contrib.sitemaps.Sitemap") == {"/", "/a/", "/a/below/", "/b/"}
    assert found("wagtailcore.Page") == {"/", "/a/", "/a/below/", "/b/", "/c/"}, "drafts, too"


def test_the_report_is_in_the_menu_and_the_permission_can_be_given(pages: list[Any]) -> None:
    client = editor("view_statistics")
    assert REPORT in text_of(client.get(reverse("wagtailadmin_home")))
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    permission = Permission.objects.get(codename="view_statistics")
    assert f'name="permissions" value="{permission.pk}"' in text_of(root.get(reverse("wagtailusers_groups:add")))


def test_the_hooks_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "wagtail.md").read_text()
    (code,) = [it for it in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "hooks" in it]
    monkeypatch.setattr(hooks, "_hooks", {})
    exec(code, {"Article": Page, "__name__": "home.wagtail_hooks"})
    (registered,) = hooks.get_hooks("register_admin_viewset")
    listing, own = registered()
    assert listing.add_to_admin_menu and listing.index_view_class.statistics_days == 91
    assert listing.get_urlpatterns() and own.edit_view_class.statistics_days == 7
    assert isinstance(own, PageStatisticsViewSet)


def test_a_viewset_of_the_sites_own_comes_first(home: Any) -> None:
    assert type(page_viewset_registry.get_by_type(Page)) is PageStatisticsViewSet
    own = type("Own", (PageViewSet,), {"model": Page})()
    before = page_viewset_registry.get_by_type(Page)
    try:
        own.on_register()  # as one that is registered by a hook of the usual order is
        assert page_viewset_registry.get_by_type(Page) is own
    finally:
        before.on_register()
