"""The content audit: its numbers against a plain count, and pages of the site's sitemaps that nobody saw."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.sitemaps import Sitemap
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import translation

from django_pagestats import checks, folding
from django_pagestats.admin import PageStatisticsMixin
from django_pagestats.dashboard import audit, sitemaps
from django_pagestats.dashboard.audit import audit_page_of
from django_pagestats.dashboard.audit_csv import audit_csv
from django_pagestats.dashboard.audit_tables import TABLES
from django_pagestats.dashboard.sitemaps import Site
from django_pagestats.decorators import not_counted
from testproject.urls import urlpatterns
from tests.checking import ids
from tests.factories import Row, insert_page_views, make_page_views
from tests.stats_oracle import fold_naively
from tests.test_stats_loyalty import changed_naively, new_naively

pytestmark = [pytest.mark.django_db, pytest.mark.in_turn(2)]

ADMIN = "/admin/django_pagestats/dashboard/audit/"
NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
AT = datetime(2025, 3, 20, tzinfo=timezone.utc)
MARCH = {"range": "free", "from": "2025-03-12", "to": "2025-03-25"}
QUERY = "?range=free&from=2025-03-12&to=2025-03-25"
MINUS = "\N{MINUS SIGN}"
DAYS, BEFORE = (date(2025, 3, 12), date(2025, 3, 26)), (date(2025, 2, 26), date(2025, 3, 12))


class Pages(Sitemap):
    """Two pages of two languages, with alternates."""

    i18n = alternates = x_default = True
    languages = ["en", "de"]
    limit = 3

    def items(self) -> list[str]:
        return ["about", "prices"]

    def location(self, item: str) -> str:
        return f"/{translation.get_language()}/{item}/"


class Others(Sitemap):
    """As sitemaps may be: twice the same, escaped, long, of queries and fragments, of files, and not counted."""

    def items(self) -> list[str]:
        return [
            "/en/about/",
            "/%C3%A9t%C3%A9/?page=2#top",
            "/été/",
            "/%3Cscript%3Ealert(1)%3C/script%3E/",
            "/%E2%80%AEgpj.exe",
            "/" + "x" * 2_047,
            "/" + "x" * 2_048,
            "/static/style.css",
            "/private/",
            "/left/out/",
            "/😀/",
        ]

    def location(self, item: str) -> str:
        return item


class Elsewhere(Sitemap):
    """Of hosts of its own."""

    def items(self) -> list[str]:
        return ["shop.example", "www.own.example", "TESTSERVER"]

    def get_urls(self, page: Any = 1, site: Any = None, protocol: Any = None) -> list[dict[str, Any]]:
        return [{"location": f"https://{host}:8443/at/{host.lower()}/"} for host in self.items()]

    def location(self, item: str) -> str:
        return item


class Failing(Sitemap):
    """Its last page fails."""

    def items(self) -> list[int]:
        return [1, 2, 3]

    limit = 2

    def location(self, item: int) -> str:
        if item == 3:
            raise ValueError(f"<b>no page {item}</b> " + "y" * 500)
        return f"/failing/{item}/"


SITEMAPS = {"pages": Pages, "others": Others()}
HOSTS = {"elsewhere": Elsewhere}
BROKEN = {"=broken": Failing, "pages": Pages}
NONE = {"pages": "Pages"}


@not_counted
def private(request: Any) -> HttpResponse:
    return HttpResponse()


@pytest.fixture(autouse=True)
def mounted(settings: Any) -> None:
    module = ModuleType("mounted")
    module.urlpatterns = [*urlpatterns, path("private/", private)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = module
    settings.PAGESTATS_EXCLUDE_PATHS = ["^/left/"]
    settings.ALLOWED_HOSTS = ["testserver"]


def site() -> Site:
    class Current:
        domain = "testserver"

    return Site(Current, ["testserver"])


def shown(query: dict[str, str] = MARCH, now: datetime = NOW) -> dict[str, Any]:
    return audit_page_of(query, using="default", now=now, site=site())


def moved(page: dict[str, Any]) -> list[list[Any]]:
    """The rows of the pages that gained, and of those that lost."""
    return [list(table.rows) for table in page["changes"].tables]


def admin_client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("chief"))
    return client


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def viewed(*paths: str, at: datetime = AT) -> list[Row]:
    return insert_page_views((path, f"key{n}", at) for n, path in enumerate(paths))


def csv_of(client: Client, query: str = QUERY, *, table: str = "unseen") -> tuple[list[str], list[list[str]]]:
    """Its head, and its rows."""
    response = client.get(f"{ADMIN}{query}&csv={table}")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="{table}-2025-03-12-2025-03-25.csv"'
    content = b"".join(response).decode("utf-8-sig")  # type: ignore[arg-type]
    lines = list(csv.reader(io.StringIO(content, newline="")))
    first = lines.index(list(TABLES[table]))
    return [line[0] for line in lines[:first]], lines[first + 1 :]


# -- gained, lost, new


def test_gainers_losers_and_new_pages_equal_a_plain_count() -> None:
    rows = viewed("/first/", at=datetime(2025, 2, 1, tzinfo=timezone.utc))
    rows += make_page_views(900, paths=120, visitors=60, start=datetime(2025, 2, 20, tzinfo=timezone.utc))
    fold_naively(rows[:700])
    page = shown()
    gainers, losers = changed_naively(rows, "UTC", DAYS, BEFORE, 10)
    for found, wanted in zip(moved(page), (gainers, losers), strict=True):
        assert [(row.path, row.page_views, row.before) for row in found] == [
            (it.path, str(it.page_views), str(it.page_views_before)) for it in wanted
        ]
        assert [row.difference for row in found] == [f"{it.difference:+}".replace("-", MINUS) for it in wanted]
    new, count = new_naively(rows, "UTC", DAYS, 10)
    assert [(row.path, row.page_views) for row in page["new"].rows] == [(it.path, str(it.page_views)) for it in new]
    assert page["new"].rows[0].first_seen_on == new[0].first_seen_on.strftime("%B %-d, %Y")
    assert page["new"].told[0] == f"{count} pages were first seen in these days."
    assert page["new"].told[1:] == ["1 to 10 of these are shown."]
    assert page["changes"].told.startswith("Page views of March 12, 2025 to March 25, 2025, compared with Feb. 26,")
    text = text_of(admin_client().get(ADMIN + QUERY))
    assert f'<bdi dir="ltr">+{gainers[0].difference}</bdi>' in text and losers[0].path in text


@pytest.fixture
def changed() -> list[Row]:
    """Pages that gained, lost and are new, more than a page of each list has; some are in the tail."""
    rows = viewed("/first/", at=datetime(2025, 2, 1, tzinfo=timezone.utc))
    rows += make_page_views(350, paths=50, visitors=60, start=datetime(2025, 2, 20, tzinfo=timezone.utc))
    rows += viewed(*[f"/=fresh/{n}" for n in range(12)], at=AT)
    fold_naively(rows[:250])
    return rows


def test_each_list_is_turned_searched_sorted_and_told_whole_as_csv(changed: list[Row]) -> None:
    gainers, losers = changed_naively(changed, "UTC", DAYS, BEFORE, 999)
    new, _ = new_naively(changed, "UTC", DAYS, 999)
    wanted: dict[str, list[Any]] = {"gainers": gainers, "losers": losers, "new": new}
    assert all(len(rows) > 10 for rows in wanted.values())
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for number in range(1, 2 + max(map(len, wanted.values())) // 10):
        page = shown({**MARCH, **{f"{name}_p": str(number) for name in wanted}})
        for table in (*page["changes"].tables, page["new"]):
            name = table.kind.name
            assert bool(table.newer) == (number > 1)
            if len(found[name]) < len(wanted[name]):
                found[name] += [row.path for row in table.rows]
                assert bool(table.older) == (len(found[name]) < len(wanted[name]))
                first = 10 * (number - 1) + 1
                assert table.told[-1] == f"{first} to {first + len(table.rows) - 1} of these are shown."
    assert found == {name: [it.path for it in rows] for name, rows in wanted.items()}
    client = admin_client()
    for name, rows in wanted.items():
        head, lines = csv_of(client, table=name)
        assert [line[0] for line in lines] == [it.path for it in rows]
        assert head[0].endswith("from 2025-03-12 to 2025-03-25, both days included") and "Time zone: UTC." in head[1]
        some = [it.path for it in rows if it.path.startswith("/=fresh/")]
        query = f"{QUERY}&{name}_q=/%3Dfresh/&{name}_sort=-path"
        head, lines = csv_of(client, query, table=name)
        assert [line[0] for line in lines] == sorted(some)[::-1] and "# Only paths that begin with /=fresh/" in head
        head, lines = csv_of(client, f"{QUERY}&{name}_sort=zz", table=name)
        assert [line[0] for line in lines] == [it.path for it in rows]
        assert "# A table cannot be in the order that was asked for, so it is in its usual one." in head
        assert [line[1:] for line in csv_of(client, table=name)[1]] == [list(map(str, numbers_of(it))) for it in rows]


def numbers_of(it: Any) -> tuple[object, ...]:
    if hasattr(it, "first_seen_on"):
        return it.page_views, it.first_seen_on
    return it.difference, it.page_views, it.page_views_before


def test_a_list_that_is_searched_says_how_many_were_found(changed: list[Row]) -> None:
    query = {**MARCH, "new_q": "/=fresh/1", "new_sort": "path", "losers_q": "/<b>", "gainers_q": "\0"}
    page = shown(query)
    table = page["new"]
    assert [row.path for row in table.rows] == ["/=fresh/1", "/=fresh/10", "/=fresh/11"]
    assert table.told[1:] == ["3 of them begin with “/=fresh/1”."] and table.has_search
    assert [head.sorted for head in table.heads] == ["ascending", "", ""]
    assert table.heads[0].query.endswith("&new_q=%2F%3Dfresh%2F1&new_sort=-path")
    gainers, losers = page["changes"].tables
    assert losers.rows == [] and losers.told[-1] == "0 of them begin with “/<b>”." and losers.csv == ""
    assert [head.sorted for head in gainers.heads] == ["", "descending", "", ""]
    assert [head.sorted for head in losers.heads] == ["", "ascending", "", ""], "the greatest loss is the least number"
    assert page["refused"] == ["No path can begin with what was searched for: it is left out."]
    text = text_of(admin_client().get(ADMIN, query))
    assert "/&lt;b&gt;" in text and "/<b>" not in text
    assert '<input type="hidden" name="new_sort" value="path">' in text, "another search keeps the order"


def test_pages_that_nobody_saw_are_searched_and_sorted(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.SITEMAPS"
    viewed("/de/about/")
    every = [row.path for row in shown()["unseen"].table.rows]
    for sort, wanted in (("path", sorted(every)), ("-path", sorted(every)[::-1]), ("sitemap", every[3:] + every[:3])):
        assert [row.path for row in shown({**MARCH, "unseen_sort": sort})["unseen"].table.rows] == wanted
    table = shown({**MARCH, "unseen_q": "/en/"})["unseen"].table
    assert [row.path for row in table.rows] == ["/en/about/", "/en/prices/"]
    assert table.told[-1] == "2 of them begin with “/en/”."
    client = admin_client()
    monkeypatch.setattr("django_pagestats.dashboard.unseen.STRETCH", 3)
    whole = {sort: [path for path, _ in csv_of(client, f"{QUERY}&unseen_sort={sort}")[1]] for sort in ("path", "-path")}
    assert whole == {"path": sorted(every), "-path": sorted(every)[::-1]}, "of all stretches together"
    head, rows = csv_of(client, f"{QUERY}&unseen_q=/en/")
    assert [path for path, _ in rows] == ["/en/about/", "/en/prices/"]
    assert "# Only paths that begin with /en/" in head


def test_days_to_come_have_no_new_pages() -> None:
    """A page view by a clock that is ahead is in no panel until its day comes."""
    viewed("/first/", at=NOW - timedelta(days=90))
    viewed("/now/", at=NOW)
    viewed("/ahead/", at=NOW + timedelta(days=3))
    assert [row.path for row in shown({"range": "month"})["new"].rows] == ["/now/"]


def test_today_is_left_out_of_both_sides() -> None:
    """Else in the morning every page would have lost."""
    viewed("/first/", at=NOW - timedelta(days=60))
    viewed(*["/steady/"] * 6, at=NOW - timedelta(days=1))
    viewed(*["/steady/"] * 6, "/today/", at=NOW - timedelta(days=8))
    viewed("/today/", "/today/", at=NOW)
    viewed(*["/steady/"] * 9, at=NOW - timedelta(days=7))
    page = shown({"range": "7d"})
    changes, (gainers, losers) = page["changes"], moved(page)
    assert [(row.path, row.difference) for row in losers] == [("/today/", f"{MINUS}1")] and gainers == []
    assert [it.told for it in changes.tables] == [["No page gained any."], ["1 page lost some."]]
    assert "March 30, 2025 to April 4, 2025, compared with March 23, 2025 to March 28, 2025" in changes.told
    assert changes.told.endswith("Today is not over, so it is left out.")
    assert "not over are not compared" in shown({"range": "today"})["changes"].told


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({**MARCH, "compare": "none"}, "These days are compared with nothing."),
        ({"range": "all"}, "These days are compared with nothing."),
        ({"range": "12m"}, "Nothing is compared with days of before the first page view"),
    ],
)
def test_why_nothing_is_compared(query: dict[str, str], told: str) -> None:
    viewed("/", at=NOW - timedelta(days=90))
    page = shown(query)
    assert page["changes"].told.startswith(told) and not page["changes"].tables
    assert ("every page that was seen is new" in str(page["new"].told)) == (query["range"] != "free")


def test_of_days_that_begin_with_the_first_page_view_all_pages_are_new() -> None:
    viewed("/first", at=NOW - timedelta(days=90))
    viewed("/a", "/a")
    for query in ({"range": "all"}, {"range": "12m"}):
        page = shown(query)["new"]
        assert [row.path for row in page.rows] == ["/a", "/first"] and "2 pages were first seen" in page.told[0]
        with audit_csv(query, "new", using="default", now=NOW)[1] as file:
            text = file.read().decode()
        assert "so every page is new" in text
        assert text.splitlines()[-2:] == ['"/a",2,"2025-03-20"', '"/first",1,"2025-01-05"']


def test_what_is_not_folded_is_not_taken_for_unseen(settings: Any) -> None:
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.SITEMAPS"
    fold_naively(viewed("/first/", at=NOW - timedelta(days=90)))
    viewed("/en/about/", "/x/", "/y/")
    settings.PAGESTATS_TAIL_LIMIT = 2
    page = shown()
    why = "The page views of these days are not counted yet."
    assert not page["unseen"].table.rows and page["unseen"].table.told == page["new"].told == [why]
    assert page["changes"].told == why
    client = admin_client()
    for table in TABLES:
        head, rows = csv_of(client, table=table)
        assert rows == [] and (f"# {why}" in head or table == "unseen")


# -- seen by nobody


def test_pages_of_sitemaps_that_nobody_saw(settings: Any) -> None:
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.SITEMAPS"
    fold_naively(viewed("/de/about/", "/été/"))
    viewed("/first/", at=NOW - timedelta(days=90))
    viewed("/en/prices/")  # in the tail
    viewed("/de/prices/", at=AT + timedelta(days=7))  # not in these days
    unseen = shown()["unseen"].table
    wanted = ["/en/about/", "/de/prices/", "/<script>alert(1)</script>/", "/\u202egpj.exe", "/" + "x" * 2_047, "/😀/"]
    assert [row.path for row in unseen.rows] == wanted
    assert [row.section for row in unseen.rows] == ["pages"] * 2 + ["others"] * 4
    assert unseen.told == [
        "Of 9 pages that the site has, nobody saw 6 in these days.",
        "4 addresses are of pages that are not recorded, and left out.",
    ]
    client = admin_client()
    text = text_of(client.get(ADMIN + QUERY))
    assert "/&lt;script&gt;alert(1)&lt;/script&gt;/" in text and "/[U+202E]gpj.exe" in text and "<script>al" not in text
    assert 'href="/%3Cscript%3Ealert(1)%3C/script%3E/"' in text
    head, rows = csv_of(client)
    assert head[0].endswith("from 2025-03-12 to 2025-03-25, both days included") and head[1] == "# Time zone: UTC"
    assert [path for path, _ in rows] == wanted
    # of all time: what was seen later was seen
    assert [row.path for row in shown({"range": "all"})["unseen"].table.rows] == [*wanted[:1], *wanted[2:]]


def test_hosts_that_are_this_site_and_others(settings: Any) -> None:
    settings.PAGESTATS_SITEMAPS = ["tests.test_dashboard_audit.HOSTS"]
    settings.PAGESTATS_OWN_HOSTS = [".own.example"]
    viewed("/")
    unseen = shown()["unseen"].table
    assert [row.path for row in unseen.rows] == ["/at/www.own.example/", "/at/testserver/"]
    assert "1 address is of another host, and left out." in unseen.told


def test_paths_are_those_of_the_sites_own_setting(settings: Any) -> None:
    """Two languages are one page, which is told once."""
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.Pages"
    settings.PAGESTATS_PATH = "django_pagestats.recording.paths.without_language"
    settings.LANGUAGES = [("en", "English"), ("de", "German")]
    viewed("/about/")
    assert [row.path for row in shown()["unseen"].table.rows] == ["/prices/"]


def test_a_sitemap_that_fails_is_told_and_the_others_are_there(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.PAGESTATS_SITEMAPS = ["tests.test_dashboard_audit.BROKEN", "mysite.gone.SITEMAPS"]
    viewed("/de/about/")
    client = admin_client()
    text = text_of(client.get(ADMIN + QUERY))
    told = "“=broken” failed, so its pages, or some, are missing here: ValueError: &lt;b&gt;no page 3&lt;/b&gt;"
    assert told in text and "y" * 200 not in text
    assert "“mysite.gone.SITEMAPS” failed" in text and "No module named" in text
    assert "/failing/2/" in text and "/en/about/" in text
    assert "The sitemap =broken, which PAGESTATS_SITEMAPS names, failed" in caplog.text
    _, rows = csv_of(client)
    assert ["/failing/1/", "'=broken"] in rows and rows[-1][0].startswith("# The sitemap mysite.gone.SITEMAPS failed")


def test_objects_of_models_are_pages_too(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_SITEMAPS = ["auth.User"]

    def get_absolute_url(user: User) -> str | None:
        return f"/user/{user.username}/" if user.pk % 5 else None

    monkeypatch.setattr(User, "get_absolute_url", get_absolute_url, raising=False)
    User.objects.bulk_create(User(pk=n, username=f"ada{n:02}") for n in range(1, 66))
    viewed(*[f"/user/ada{n:02}/" for n in range(1, 13)])
    wanted = [f"/user/ada{n:02}/" for n in range(13, 66) if n % 5]
    pages = [shown({**MARCH, "unseen_p": number})["unseen"].table for number in ("1", "2", "3", "x")]
    assert [row.path for page in pages[:2] for row in page.rows] == wanted
    assert [page.told[-1] for page in pages[:2]] == ["1 to 25 of these are shown.", "26 to 42 of these are shown."]
    assert [bool(page.newer) for page in pages] == [False, True, True, False]
    assert [bool(page.older) for page in pages] == [True, False, False, True]
    assert pages[2] == pages[1] and pages[3] == pages[0] and [head.name for head in pages[0].heads] == ["path"]
    assert pages[0].older == "?range=free&from=2025-03-12&to=2025-03-25&unseen_p=2"


class UserAdmin(PageStatisticsMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    def get_statistics_url(self, obj: User) -> str | None:
        return f"/user/{obj.username}/" if obj.username != "nobody" else None


def test_without_the_setting_the_admin_takes_objects_with_a_column_of_page_views() -> None:
    registered = admin.site.get_model_admin(User).__class__
    admin.site.unregister(User)
    admin.site.register(User, UserAdmin)
    try:
        client = admin_client()
        User.objects.bulk_create(User(username=name) for name in ("ada", "eve", "nobody"))
        viewed("/user/eve/")
        text = text_of(client.get(ADMIN + QUERY)).partition('id="pagestats-unseen"')[2]
        assert "Of 3 pages that the site has, nobody saw 2 in these days." in text
        assert ">/user/ada/<" in text and ">/user/chief/<" in text and "/user/eve/<" not in text
        assert [path for path, _ in csv_of(client)[1]] == ["/user/chief/", "/user/ada/"]
        other = User.objects.create_user("staff", is_staff=True)
        other.user_permissions.set(Permission.objects.filter(codename="view_statistics"))
        client.force_login(other)
        assert "/user/ada/" not in text_of(client.get(ADMIN + QUERY)), "whoever may not see their list"
    finally:
        admin.site.unregister(User)
        admin.site.register(User, registered)


def test_the_page_looks_at_so_many_and_the_csv_at_all(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.SITEMAPS"
    viewed("/de/about/")
    _, all_rows = csv_of(admin_client())
    monkeypatch.setattr(audit, "MOST_ADDRESSES", 3)
    unseen = shown()["unseen"].table
    assert len(unseen.rows) == 2 and unseen.told[-1] == "Only the first 3 were looked at: the CSV has all."
    monkeypatch.setattr("django_pagestats.dashboard.unseen.STRETCH", 3)
    client = Client()
    client.force_login(User.objects.get())
    assert csv_of(client)[1] == all_rows and len(all_rows) == 8, "in stretches too, each path once"
    # or for so long
    monkeypatch.setattr(audit, "MOST_ADDRESSES", 1_000)
    monkeypatch.setattr(audit, "SECONDS", 0.0)
    assert "were looked at: the CSV has all." in shown()["unseen"].table.told[-1]


def test_the_sites_code_runs_in_no_snapshot(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may write, and it may fail in the database, which would end the transaction."""
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.SITEMAPS"
    viewed("/de/about/")
    order: list[str] = []

    def items(self: Any) -> list[str]:
        order.append("sitemap")
        return ["/a/", "/b/"]

    def scope_of(*args: Any, **kwargs: Any) -> Any:
        order.append("snapshot")
        return real(*args, **kwargs)

    real = audit.scope_of_everybody
    monkeypatch.setattr(Others, "items", items)
    monkeypatch.setattr(audit, "scope_of_everybody", scope_of)
    shown()
    assert order[0] == "sitemap" and order[-1] == "snapshot" and order.count("snapshot") == 1


def test_without_the_setting_it_says_how() -> None:
    viewed("/")
    text = text_of(admin_client().get(ADMIN + QUERY))
    assert "as soon as <code>PAGESTATS_SITEMAPS</code> names its sitemaps" in text


def test_statements_do_not_grow_with_pages_and_addresses(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.Others"
    counts = []
    for many in (20, 400):
        make_page_views(many * 5, paths=many, start=datetime(2025, 2, 20, tzinfo=timezone.utc))
        folding.keep_up("default", seconds=60)
        monkeypatch.setattr(Others, "items", lambda self, many=many: [f"/blog/{n}/" for n in range(many)])
        with CaptureQueriesContext(connection) as asked:
            shown()
        counts.append(len(asked))
    assert counts[1] <= counts[0] + 1 <= 40


# -- the check of the setting


def check_ids(settings: Any, value: object) -> list[str]:
    settings.PAGESTATS_SITEMAPS = value
    return ids(checks.check_sitemaps())


def test_names_that_lead_nowhere_are_complained_of(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "tests.test_dashboard_audit"
    for good in (None, [], f"{module}.SITEMAPS", [f"{module}.Pages", f"{module}.HOSTS"]):
        assert check_ids(settings, good) == []
    for bad in (
        "mysite.sitemaps",
        f"{module}.NONE",
        f"{module}.MARCH",
        f"{module}.private",
        "auth.User",
        "auth.Nobody",
    ):
        assert check_ids(settings, bad) == ["pagestats.E115"], bad
    monkeypatch.setattr(User, "get_absolute_url", lambda it: "/", raising=False)
    assert check_ids(settings, ["auth.User", f"{module}.NONE"]) == ["pagestats.E115"]
    monkeypatch.delattr(User, "get_absolute_url")
    monkeypatch.setattr(User, "url", property(lambda it: "/"), raising=False)
    assert check_ids(settings, "auth.User") == []
    assert check_ids(settings, 7) == [], "that is said of the setting's value"


def test_a_generator_of_stretches_reads_no_more_than_it_is_asked_for() -> None:
    """So that the page does not walk through a million addresses for its first fifty thousand."""
    read: list[int] = []

    def found(_: Any) -> Iterator[tuple[str, str]]:
        for n in range(1_000):
            read.append(n)
            yield "section", f"/{n}/"

    original, sitemaps._found = sitemaps._found, found  # type: ignore[assignment]
    try:
        first = next(sitemaps.stretches(site(), size=10))
    finally:
        sitemaps._found = original
    assert len(first.addresses) == 10 and first.is_cut and len(read) == 11
