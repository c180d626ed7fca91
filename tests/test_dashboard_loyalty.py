"""The page of loyalty: its numbers against a plain count, what is said where nobody knows them, and who may see it."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import translation

from django_pagestats import folding
from django_pagestats.dashboard.audit import audit_page_of
from django_pagestats.dashboard.loyalty import loyalty_page_of
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.sitemaps import Site
from django_pagestats.models import VisitorPolicy
from django_pagestats.views import AuditView, DashboardView, LoyaltyView, dashboard_urls
from testproject.urls import urlpatterns
from tests.factories import Row, insert_page_views, make_page_views
from tests.stats_oracle import fold_naively
from tests.test_stats_loyalty import loyalty_naively

pytestmark = [pytest.mark.django_db, pytest.mark.in_turn]

ADMIN, SITE, OPEN = "/admin/django_pagestats/dashboard/", "/numbers/", "/open/7/"
NOW = datetime(2025, 4, 5, 15, 20, tzinfo=timezone.utc)
MARCH = {"range": "free", "from": "2025-03-05", "to": "2025-04-01"}
QUERY = "?range=free&from=2025-03-05&to=2025-04-01"
#: days that everybody may choose
OF_MARCH = "?range=free&from=2025-03-01&to=2025-03-31"
FIRST = datetime(2025, 3, 1, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def mounted(settings: Any) -> None:
    module = ModuleType("mounted")
    module.urlpatterns = [  # type: ignore[attr-defined]
        *urlpatterns,
        path(SITE[1:], include(dashboard_urls())),
        path("open/<int:number>/", include(dashboard_urls(public=True), namespace="open")),
        path("alone/", DashboardView.as_view()),
        path("alone/loyalty/", LoyaltyView.as_view()),
    ]
    settings.ROOT_URLCONF = module
    settings.LOGIN_URL = "/login-of-the-site/"


@pytest.fixture
def rows() -> list[Row]:
    found = make_page_views(1_500, paths=40, visitors=150)
    fold_naively(found[:1_200])
    return found


def client_with(*permissions: str, is_staff: bool = True) -> Client:
    user, _ = User.objects.get_or_create(username="ada", defaults={"is_staff": is_staff})
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def shown(query: dict[str, str] = MARCH, now: datetime = NOW) -> dict[str, Any]:
    return loyalty_page_of(query, using="default", now=now)


def policy(name: str, since: datetime) -> None:
    VisitorPolicy.objects.create(policy=name, since=since)


def weeks_of(first: date, end: date) -> list[tuple[date, date]]:
    """Weeks from Sunday on, cut to the range."""
    days = (first + timedelta(days=n) for n in range(1, (end - first).days))
    return list(pairwise([first, *(day for day in days if day.isoweekday() == 7), end]))


# -- its numbers


def test_the_numbers_equal_a_plain_count(rows: list[Row]) -> None:
    weeks = weeks_of(date(2025, 3, 5), date(2025, 4, 2))
    wanted = loyalty_naively(rows, "UTC", weeks, 12)
    page = shown()
    loyalty = page["loyalty"]
    assert page["said"] == "" and loyalty.visitors == str(wanted.visitors)
    assert [part.visitors for part in loyalty.kinds] == [str(wanted.new), str(wanted.returning)]
    seen = wanted.days_seen
    assert [part.visitors for part in loyalty.days_seen] == [
        str(it) for it in (seen.one, seen.two, seen.three_to_five, seen.six_or_more)
    ]
    assert [cohort.new for cohort in loyalty.cohorts] == [str(week.new) for week in wanted.weeks]
    assert [[cell.visitors for cell in cohort.cells] for cohort in loyalty.cohorts] == [
        [str(count) for count in week.came_again] for week in wanted.weeks
    ]
    assert [cohort.is_cut for cohort in loyalty.cohorts] == [True, False, False, False, True]
    assert loyalty.following == [1, 2, 3, 4]
    assert "before March 5, 2025, on any day since the first page view" in loyalty.since
    (first, *_) = loyalty.cohorts
    assert first.cells[0].share == f"{100 * wanted.weeks[0].came_again[0] / wanted.weeks[0].new:.1f} %"


def test_weeks_begin_as_the_settings_say(rows: list[Row], settings: Any) -> None:
    settings.PAGESTATS_FIRST_DAY_OF_WEEK = 3
    assert [cohort.name for cohort in shown()["loyalty"].cohorts] == [
        "March 5, 2025",
        "March 12, 2025",
        "March 19, 2025",
        "March 26, 2025",
    ]
    with translation.override("de"):
        assert shown()["loyalty"].cohorts[0].name == "5. März 2025"


def test_few_new_visitors_have_no_percentage_and_long_ranges_the_last_weeks() -> None:
    insert_page_views(
        ("/", f"key{n}", FIRST + timedelta(days=day)) for n in range(3) for day in range(0, 7 * 60, 7 * (n + 1))
    )
    page = shown({"range": "all"}, now=FIRST + timedelta(days=425))
    loyalty = page["loyalty"]
    assert "nobody can have been here before" in loyalty.since
    assert len(loyalty.cohorts) == 53 and "The last 53 of 62 weeks are shown." in loyalty.weeks_told
    assert {cell.share for cohort in loyalty.cohorts for cell in cohort.cells} <= {""}
    assert {cell.shade for cohort in loyalty.cohorts for cell in cohort.cells} == {0}


def test_days_to_come_and_of_before_the_first_page_view_are_no_weeks(rows: list[Row]) -> None:
    page = shown({"range": "month"}, now=datetime(2025, 3, 9, 12, tzinfo=timezone.utc))
    assert page["loyalty"].days == "March 1, 2025 to March 9, 2025"
    assert "loyalty" not in shown({"range": "free", "from": "2020-01-01", "to": "2020-02-01"})
    assert "loyalty" not in shown({"range": "free", "from": "2030-01-01", "to": "2030-02-01"})


# -- where nobody can know


def test_under_daily_a_sentence_says_why_not(rows: list[Row]) -> None:
    policy("daily", FIRST)
    page = shown()
    assert "by the day (“daily”)" in page["why"] and "loyalty" not in page
    text = text_of(client_with("view_statistics").get(f"{ADMIN}loyalty/{QUERY}"))
    assert "nobody knows who came again" in text and "pagestats-retention" not in text
    assert "daily visitors, added up" in text


def test_of_several_policies_the_days_of_one_are_shown(rows: list[Row]) -> None:
    policy("daily", FIRST)
    policy("cookie", FIRST + timedelta(days=12, hours=5))
    page = shown()
    weeks = weeks_of(date(2025, 3, 14), date(2025, 4, 2))
    wanted = loyalty_naively(rows, "UTC", weeks, 12)
    assert page["loyalty"].visitors == str(wanted.visitors)
    assert page["loyalty"].kinds[1].visitors == str(wanted.returning)
    assert "so these numbers are of March 14, 2025 to April 1, 2025, whose policy was “cookie”" in page["said"]
    assert "A browser is known for a year" in page["said"] and page["others"] == []
    assert "before March 14, 2025" in page["loyalty"].since


def test_under_monthly_a_month_is_shown_and_the_other_one_linked(rows: list[Row]) -> None:
    policy("monthly", FIRST)
    page = shown()
    assert "known within a calendar month" in page["said"] and page["loyalty"].days == "March 5, 2025 to March 31, 2025"
    (other,) = page["others"]
    assert other.label == "April 1, 2025"
    text = text_of(client_with("view_statistics").get(f"{SITE}loyalty/{other.query}"))
    assert "these numbers are of" not in text


# -- the folded part, errors


def test_what_is_not_folded_is_left_out_and_said(rows: list[Row], settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 100
    wanted = loyalty_naively(rows[:1_200], "UTC", weeks_of(date(2025, 3, 5), date(2025, 4, 2)), 12)
    page = shown()
    assert page["loyalty"].visitors == str(wanted.visitors)
    assert page["trust"].instant.startswith("Folded up to") and "300 to go" in page["trust"].instant


def test_an_answer_that_cannot_be_had_is_said(rows: list[Row], settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail grew too long between two looks at it."""
    settings.PAGESTATS_TAIL_LIMIT = 100
    monkeypatch.setattr("django_pagestats.dashboard.scope.has_long_tail", lambda using: False)
    assert "are not folded yet" in shown()["why"]


# -- who may, and the ways


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


@pytest.mark.parametrize(
    ("url", "login"), [(ADMIN, "/admin/login/"), (SITE, "/login-of-the-site/"), (OPEN, "/login-of-the-site/")]
)
def test_who_may_see_them(url: str, login: str) -> None:
    """Where the dashboard is public, too."""
    for page in ("loyalty/", "audit/", "audit/?csv=unseen"):
        assert Client().get(url + page)["Location"].startswith(login)
        assert client_with("view_pageview").get(url + page).status_code == 403
        client = client_with("view_statistics")
        response = client.get(url + page)
        assert response.status_code == 200 and "no-store" in response["Cache-Control"]
        assert bool(b"".join(response)) and response.streaming == ("csv" in page)  # type: ignore[arg-type]
        assert client.post(url + page).status_code == (405 if url == ADMIN else 403)


@pytest.mark.parametrize("view", [LoyaltyView, AuditView])
def test_they_cannot_be_made_public(view: Any) -> None:
    with pytest.raises(TypeError, match="is not for the public"):
        view.as_view(public=True)
    with pytest.raises(TypeError, match="is not for the public"):
        type("Opened", (view,), {"public": True}).as_view()


def test_each_page_is_linked_from_the_others_with_its_range(rows: list[Row]) -> None:
    client = client_with("view_statistics")
    for url, query in ((ADMIN, QUERY), (SITE, QUERY), (OPEN, OF_MARCH)):
        for page in ("", "loyalty/", "audit/"):
            text = text_of(client.get(f"{url}{page}{query}"))
            links = re.findall(r'<a href="([^"]*)"( aria-current="page")?>(Overview|Loyalty|Content audit)</a>', text)
            assert [link for link, _, _ in links] == [
                f"{url}{to}{query}".replace("&", "&amp;") for to in ("", "loyalty/", "audit/")
            ]
            assert [bool(it) for _, it, _ in links] == [page == to for to in ("", "loyalty/", "audit/")]
    # whom they would lead to a 403, and where they are not mounted, there are none
    for text in (text_of(Client().get(OPEN)), text_of(client.get("/alone/")), text_of(client.get("/alone/loyalty/"))):
        assert "pagestats-sections" not in text


def test_any_query_gives_a_page(rows: list[Row]) -> None:
    client = client_with("view_statistics")
    for query in (
        '?range="><script>&unseen_p=9999999',
        "?range=free&from=x&to=%00",
        "?unseen_p=-1&csv=pages",
        "?range=all&compare=none",
    ):
        for url in (f"{ADMIN}loyalty/", f"{SITE}loyalty/", f"{SITE}audit/"):
            text = text_of(client.get(url + query))
            assert "<script>" not in text and " style=" not in text.partition('class="pagestats')[2]


def test_filters_of_the_first_page_are_not_kept_where_they_say_nothing(rows: list[Row]) -> None:
    with_filters = {**MARCH, "path": "/docs/", "goal": "/thanks/", "f": "country=DE"}
    assert shown(with_filters)["loyalty"] == shown()["loyalty"]
    for page in ("loyalty/", "audit/"):
        text = text_of(
            client_with("view_statistics").get(f"{SITE}{page}{QUERY}&path=/docs/&goal=/thanks/&f=country%3DDE")
        )
        assert not re.search(r'href="[^"]*(path=|goal=|[?;]f=)', text)


def test_a_new_site_says_what_to_do() -> None:
    for page in ("loyalty/", "audit/"):
        assert "No page view was recorded yet" in text_of(client_with("view_statistics").get(SITE + page))


def test_statements_do_not_grow_with_days_and_visitors(rows: list[Row]) -> None:
    shown()
    with CaptureQueriesContext(connection) as of_weeks:
        shown()
    make_page_views(600, visitors=400, days=300, start=FIRST - timedelta(days=300), seed=5)
    folding.keep_up("default", seconds=60)
    with CaptureQueriesContext(connection) as of_a_year:
        shown({"range": "12m"})
    assert len(of_weeks) <= 25 and len(of_a_year) <= len(of_weeks) + 4


def test_the_list_of_keys_has_what_the_page_has() -> None:
    site = Site(lambda: None, ["testserver"])
    audited = audit_page_of(MARCH, using="default", now=NOW, site=site)
    viewed = (page_of(MARCH, using="default", now=NOW), shown(), audited)
    dashboard, loyalty, audit = (dict(page["menus"].keys) for page in viewed)
    assert set(dashboard) - set(loyalty) == {"I", "X", "/"} and set(dashboard) - set(audit) == {"I", "/"}
    assert str(dashboard["←"]).endswith("in the chart, the point before") and loyalty["←"] == "The range before"
