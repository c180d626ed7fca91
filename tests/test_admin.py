from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, modify_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given, strategies
from hypothesis.extra.django import TestCase

from django_pagestats import folding
from django_pagestats.admin.keyset import AllTime, Place, day_of, read_page
from django_pagestats.admin.wording import duration
from django_pagestats.buckets import Calendar, day_number
from django_pagestats.models import BackfillRun, Generation, ImportSource, LeftOut, PageView
from tests.chains import Links, the_run
from tests.factories import insert_page_views, make_page_views

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
MODELS = "pageview", "backfillrun", "generation", "importsource", "leftout"
LISTS = [f"/admin/django_pagestats/{model}/" for model in MODELS]
PAGE_VIEWS, RUNS = LISTS[0], LISTS[1]
ACTION = {"action": "backfill_aggregates", "index": "0"}


def make_user(*permissions: str, name: str = "ada") -> User:
    user = User.objects.create_user(name, is_staff=True)  # no password: hashing one takes long
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="django_pagestats", codename__in=permissions)
    )
    return user


def log_in(*permissions: str, **options: bool) -> Client:
    client = Client(**options)
    client.force_login(make_user(*permissions))
    return client


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def make_run(**columns: object) -> BackfillRun:
    generation = Generation.objects.create(time_zone="UTC", cursor=0, created_at=NOON)
    values = {
        "generation": generation,
        "kind": "backfill",
        "status": "queued",
        "lease_until": NOON,
        "start_cursor": 0,
        "target": 1_000,
        "chunk_size": 500,
        "via": "command",
        "created_at": NOON,
    }
    return BackfillRun.objects.create(**{**values, **columns})


def messages_of(response: object) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def level_tags(response: object) -> list[str]:
    return [message.level_tag for message in response.context["messages"]]


def ids_on(response: object) -> list[int]:
    return [view.pk for view in response.context["cl"].result_list]


def link(response: object, rel: str) -> str | None:
    found = re.search(rf'<a href="([^"]+)" rel="{rel}">', response.content.decode())
    return found and found[1].replace("&amp;", "&")


# --- who may do what


@pytest.mark.django_db
@pytest.mark.parametrize("url", [*LISTS, f"{RUNS}backfill/", f"{PAGE_VIEWS}backfill/"])
def test_a_stranger_is_asked_to_log_in(url: str) -> None:
    for response in Client().get(url), Client().post(url, ACTION):
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


@pytest.mark.django_db
@pytest.mark.parametrize("url", [*LISTS, f"{RUNS}backfill/", f"{PAGE_VIEWS}backfill/"])
def test_staff_without_permission_may_do_nothing(url: str) -> None:
    client = log_in()
    make_page_views(3)
    assert client.get(url).status_code == 403
    assert client.post(url, ACTION).status_code == 403
    assert not BackfillRun.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("url", [PAGE_VIEWS, f"{PAGE_VIEWS}backfill/", f"{RUNS}backfill/"])
def test_who_may_only_look_cannot_start_a_backfill(url: str) -> None:
    client = log_in("view_pageview", "view_backfillrun")
    make_page_views(3)
    assert client.post(url, ACTION).status_code == 403
    assert not BackfillRun.objects.exists()
    for page in PAGE_VIEWS, RUNS:
        assert "Backfill aggregates" not in client.get(page).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("url", "permission"), [(PAGE_VIEWS, "view_pageview"), (RUNS, "view_backfillrun")], ids=["page views", "runs"]
)
def test_a_list_needs_its_own_view_permission_too(url: str, permission: str) -> None:
    client = log_in("add_backfillrun")
    make_page_views(3)
    assert client.get(url).status_code == 403
    assert client.post(url, ACTION).status_code == 403
    assert client.post(f"{url}backfill/").status_code == 403
    assert not BackfillRun.objects.exists()
    User.objects.get().user_permissions.add(Permission.objects.get(codename=permission))
    assert client.post(f"{url}backfill/").status_code == 302
    assert BackfillRun.objects.get().actor == "ada"


@pytest.mark.django_db
def test_a_post_needs_its_csrf_token() -> None:
    client = log_in("view_pageview", "view_backfillrun", "add_backfillrun", enforce_csrf_checks=True)
    make_page_views(3)
    for url in PAGE_VIEWS, f"{PAGE_VIEWS}backfill/", f"{RUNS}backfill/":
        assert client.post(url, ACTION).status_code == 403
    assert not BackfillRun.objects.exists()


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_written_by_hand(root: Client, model: str) -> None:
    make_page_views(1)
    make_run()
    ImportSource.objects.create(key="log:x", name="access.log", updated_at=NOON)
    LeftOut.objects.create(day=NOON.date(), reason="robot", count=1)
    target = apps_model(model).objects.get()
    assert root.get(f"/admin/django_pagestats/{model}/add/").status_code == 403
    for page in "delete", "change":
        url = reverse(f"admin:django_pagestats_{model}_{page}", args=[target.pk])
        assert root.post(url, {"post": "yes", "_save": "Save"}).status_code == 403
    shown = root.get(reverse(f"admin:django_pagestats_{model}_change", args=[target.pk]))
    assert shown.status_code == 200
    assert 'name="_save"' not in shown.content.decode()
    assert "delete_selected" not in root.get(f"/admin/django_pagestats/{model}/").content.decode()


def apps_model(name: str) -> type:
    return next(model for model in (PageView, BackfillRun, Generation, ImportSource, LeftOut) if named(model) == name)


def named(model: type) -> str:
    return model.__name__.lower()


def test_the_rest_is_not_shown_least_of_all_the_secret() -> None:
    shown = {model.__name__ for model in admin.site._registry if model._meta.app_label == "django_pagestats"}
    assert shown == {"PageView", "BackfillRun", "Generation", "ImportSource", "LeftOut", "Note", "Statistics", "Token"}


# --- starting a backfill


START_BY = {
    "button on page views": (f"{PAGE_VIEWS}backfill/", {}),
    "button on runs": (f"{RUNS}backfill/", {}),
    "action, nothing selected": (PAGE_VIEWS, ACTION),
    "action, rows selected": (PAGE_VIEWS, {**ACTION, "_selected_action": ["1", "2"]}),
    "action below the list": (PAGE_VIEWS, {"action": ["", "backfill_aggregates"], "index": "1"}),
}


@pytest.mark.parametrize(("url", "posted"), START_BY.values(), ids=START_BY)
def test_start(root: Client, url: str, posted: dict[str, str]) -> None:
    make_page_views(3)
    response = root.post(url, posted, follow=True)
    run = BackfillRun.objects.get()
    assert (run.kind, run.status, run.actor, run.via) == ("backfill", "queued", "root", "admin")
    assert response.redirect_chain == [(url.replace("backfill/", ""), 302)]
    (text,) = messages_of(response)
    assert text.startswith("Backfill started")
    assert f'<a href="{RUNS}{run.pk}/change/">Show run {run.pk}</a>' in text
    assert text in response.content.decode()
    assert level_tags(response) == ["success"]
    assert root.get(f"{RUNS}{run.pk}/change/").status_code == 200


@pytest.mark.django_db
def test_the_message_links_to_the_run_only_for_those_who_may_see_it() -> None:
    client = log_in("view_pageview", "add_backfillrun")
    make_page_views(3)
    (text,) = messages_of(client.post(f"{PAGE_VIEWS}backfill/", follow=True))
    assert text.startswith("Backfill started")
    assert "<a" not in text


def test_the_button_is_on_both_lists_as_a_form(root: Client) -> None:
    for url in PAGE_VIEWS, RUNS:
        page = root.get(url).content.decode()
        assert f'method="post" action="{url}backfill/"' in page
        assert '<button type="submit">Backfill aggregates</button>' in page
        assert page.count("csrfmiddlewaretoken") >= 2
    assert "backfill/" not in root.get(f"{PAGE_VIEWS}?_popup=1").content.decode()


@pytest.mark.parametrize("url", [PAGE_VIEWS, RUNS])
def test_a_get_of_the_button_starts_nothing(root: Client, url: str) -> None:
    make_page_views(3)
    assert root.get(f"{url}backfill/", follow=True).redirect_chain == [(url, 302)]
    assert not BackfillRun.objects.exists()


def test_other_actions_are_left_to_django(root: Client) -> None:
    make_page_views(3)
    for posted in (
        {"action": "", "index": "0"},
        {"action": "nonsense", "index": "0", "_selected_action": "1"},
        {"action": ["backfill_aggregates", ""], "index": "1"},
        {"action": ["backfill_aggregates"], "index": "7"},
        {"action": ["backfill_aggregates"], "index": "x", "_selected_action": "1"},
        {"action": ["backfill_aggregates"], "index": "9" * 5_000, "_selected_action": "1"},
    ):
        root.post(PAGE_VIEWS, posted)
    assert BackfillRun.objects.count() <= 1


def test_a_second_start_names_the_active_run(root: Client) -> None:
    make_page_views(3)
    root.post(f"{RUNS}backfill/")
    run = BackfillRun.objects.get()
    response = root.post(f"{RUNS}backfill/", follow=True)
    (text,) = messages_of(response)[-1:]
    assert f'href="{RUNS}{run.pk}/change/"' in text
    assert level_tags(response)[-1] == "warning"
    assert BackfillRun.objects.get() == run


def test_no_page_views(root: Client) -> None:
    response = root.post(f"{RUNS}backfill/", follow=True)
    assert messages_of(response) == ["No page views to backfill"]
    assert not BackfillRun.objects.exists()


def test_nothing_new(root: Client) -> None:
    *_, last = make_page_views(3)
    Generation.objects.create(time_zone="UTC", cursor=last.id, all_cursor=last.id, is_active=True, created_at=NOON)
    response = root.post(f"{RUNS}backfill/", follow=True)
    assert level_tags(response) == ["info"]
    assert not BackfillRun.objects.exists()


def test_a_table_that_went_back(root: Client) -> None:
    *_, last = make_page_views(3)
    Generation.objects.create(time_zone="UTC", cursor=last.id + 1_000_000, is_active=True, created_at=NOON)
    response = root.post(f"{RUNS}backfill/", follow=True)
    assert level_tags(response) == ["error"]
    assert "--rebuild" in messages_of(response)[0]
    assert not BackfillRun.objects.exists()


def test_a_rebuild_is_active(root: Client) -> None:
    make_page_views(3)
    Generation.objects.create(time_zone="UTC", cursor=0, is_active=True, created_at=NOON)
    far = datetime.now(timezone.utc) + timedelta(days=1)
    run = make_run(kind="rebuild", status="running", active_key=BackfillRun.ACTIVE, lease_until=far)
    response = root.post(f"{RUNS}backfill/", follow=True)
    assert level_tags(response) == ["warning"]
    assert f'href="{RUNS}{run.pk}/change/"' in messages_of(response)[0]
    assert BackfillRun.objects.get() == run


def test_without_a_queue(root: Client) -> None:
    make_page_views(3)
    with modify_settings(INSTALLED_APPS={"remove": "django_q"}):
        response = root.post(f"{RUNS}backfill/")
    assert response["Location"] == f"{RUNS}{the_run().pk}/change/", "its page does the work"
    assert messages_of(root.get(RUNS))[0].startswith("Backfill started")
    assert (the_run().status, the_run().enqueued_at) == ("queued", None)
    with modify_settings(INSTALLED_APPS={"remove": "django_q"}):
        adder = log_in("view_pageview", "add_backfillrun")
        refused = adder.post(PAGE_VIEWS, ACTION)
        User.objects.get(username="ada").user_permissions.add(Permission.objects.get(codename="change_backfillrun"))
        again = adder.post(PAGE_VIEWS, ACTION)
    assert refused.status_code == 403, "who may not change runs has no page that works"
    assert again["Location"] == f"{RUNS}{the_run().pk}/change/"


class ReplicaOfNothing:
    """Reads of runs go to a database that is not there; writes to the real one."""

    def db_for_read(self, model: type, **hints: object) -> str | None:
        return "nowhere" if model is BackfillRun else None

    def db_for_write(self, model: type, **hints: object) -> str:
        return "default"


def test_runs_are_read_where_they_are_written(root: Client, settings: object) -> None:
    make_page_views(3)
    settings.DATABASE_ROUTERS = [ReplicaOfNothing()]
    response = root.post(f"{RUNS}backfill/", follow=True)
    (run,) = response.context["cl"].result_list
    assert root.get(f"{RUNS}{run.pk}/change/").status_code == 200


# --- the list and the page of runs


def test_a_run_shows_what_is_known_of_it(root: Client) -> None:
    run = make_run(
        status="failed",
        kind="rebuild",
        rows_folded=1_234_567,
        actor="grace",
        via="command",
        fixed_chunk_size=2_500,
        chunk_size=2_500,
        wait_reason="transaction 4711 of psql holds the page views",
        failure_count=5,
        revival_count=3,
        error="Traceback:\n  <boom>",
    )
    listed = root.get(RUNS).content.decode()
    for text in "Failed", "Rebuild", "1,234,567", "grace (command)", f'aria-label="Progress of run {run.pk}"':
        assert text in listed
    page = root.get(f"{RUNS}{run.pk}/change/").content.decode()
    for text in (
        "<progress max=",
        "1,234,567",
        "transaction 4711 of psql",
        '<pre class="pagestats-error">Traceback:\n  &lt;boom&gt;</pre>',
        "2,500 (fixed)",
        "grace",
        "generation",
    ):
        assert text in page


def test_runs_stand_newest_first(root: Client) -> None:
    runs = [make_run(status="succeeded") for _ in range(3)]
    assert ids_on(root.get(RUNS)) == [run.pk for run in reversed(runs)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- the list of page views


def test_what_is_known_of_a_page_view(root: Client) -> None:
    hostile = {"source": "<script>alert(1)</script>" * 4, "campaign": "=cmd|' /C calc'!A0", "plan": "\u202eevil"}
    for attributes in (hostile, {"browser": "Firefox"}, None, ["no", "object"], "text"):
        PageView.objects.create(path="/", session_key="k", viewed_at=datetime.now(timezone.utc), attributes=attributes)
    page = root.get(PAGE_VIEWS).text
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;&lt;script&gt;" in page
    view = PageView.objects.order_by("pk")[0]
    shown = root.get(f"{PAGE_VIEWS}{view.pk}/change/").text
    assert "<script>alert(1)" not in shown
    assert "campaign: =cmd|&#x27; /C calc&#x27;!A0<br>plan: " in shown
    for other in PageView.objects.order_by("pk")[1:]:
        assert root.get(f"{PAGE_VIEWS}{other.pk}/change/").status_code == 200


def test_all_page_views_by_primary_key_page_by_page(root: Client) -> None:
    shuffled = random.Random(1).sample(range(1_000), 120)
    rows = insert_page_views([("/a", "k", NOON + timedelta(hours=hours)) for hours in shuffled])
    expected = [row.id for row in reversed(rows)]
    first = root.get(PAGE_VIEWS)
    assert ids_on(first) == expected[:50]
    assert link(first, "prev") is None
    second = root.get(PAGE_VIEWS + link(first, "next"))
    assert ids_on(second) == expected[50:100]
    third = root.get(PAGE_VIEWS + link(second, "next"))
    assert ids_on(third) == expected[100:]
    assert link(third, "next") is None
    assert ids_on(root.get(PAGE_VIEWS + link(third, "prev"))) == expected[50:100]
    assert ids_on(root.get(PAGE_VIEWS + link(third, "first"))) == expected[:50]


def test_newer_shows_a_whole_page_where_less_is_newer(root: Client) -> None:
    rows = make_page_views(60)
    page = root.get(f"{PAGE_VIEWS}?after={Place.of(PageView.objects.get(pk=rows[20].id))}")
    assert ids_on(page) == [row.id for row in rows[:9:-1]]


def test_the_newest_of_a_huge_table_needs_no_look_at_the_rest(root: Client) -> None:
    """A page that was emptied behind the reader's back offers the way back."""
    make_page_views(3)
    page = root.get(f"{PAGE_VIEWS}?before=1.0")
    assert ids_on(page) == []
    assert link(page, "first") == "?"


class Paging(TestCase):
    @given(
        offsets=strategies.lists(strategies.sampled_from([-1, 0, 0, 1, 3_600, 86_399, 86_400]), max_size=30),
        size=strategies.integers(1, 7),
        by_day=strategies.booleans(),
    )
    def test_both_ways_give_every_page_view_once_in_order(self, offsets: list[int], size: int, by_day: bool) -> None:
        """Many at one instant, many on the boundary of the day."""
        midnight = datetime(2025, 3, 1, tzinfo=timezone.utc)
        rows = insert_page_views([("/", "k", midnight + timedelta(seconds=offset)) for offset in offsets])
        views = PageView.objects.filter(pk__in=[row.id for row in rows])
        listing = AllTime()
        expected = sorted(rows, reverse=True)
        if by_day:
            listing = day_of(Calendar("UTC"), day_number(date(2025, 3, 1)))
            expected = sorted(
                (row for row in rows if midnight <= row.viewed_at < midnight + timedelta(days=1)),
                key=lambda row: (row.viewed_at, row.id),
                reverse=True,
            )
        pages = [read_page(listing, views, size=size)]
        while pages[-1].has_older:
            pages.append(read_page(listing, views, size=size, before=Place.of(pages[-1].views[-1])))
        assert [view.pk for page in pages for view in page.views] == [row.id for row in expected]
        assert all(len(page.views) == size for page in pages[:-1])
        for newer, older in pairwise(pages):
            assert read_page(listing, views, size=size, after=Place.of(older.views[0])).views == newer.views


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("Europe/Berlin", "2025-03-30", 23), ("Asia/Kathmandu", "2025-03-30", 24), ("America/Havana", "2025-11-02", 25)],
)
def test_a_day_is_one_of_the_sites_zone(settings: object, zone: str, day: str, hours: int) -> None:
    settings.PAGESTATS_TIME_ZONE = zone
    client = log_in("view_pageview")
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    rows = insert_page_views([("/", "k", start + timedelta(minutes=30 * half)) for half in range(-60, 120)])
    calendar = Calendar(zone)
    number = day_number(date.fromisoformat(day))
    expected = {row.id for row in rows if calendar.day(int(row.viewed_at.timestamp())) == number}
    assert len(expected) == 2 * hours
    page = client.get(f"{PAGE_VIEWS}?day={day}")
    found = ids_on(page)
    while rest := link(page, "next"):
        page = client.get(PAGE_VIEWS + rest)
        found += ids_on(page)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert all(text.startswith(day) for text in re.findall(r'field-time">([^<]+)<', page.content.decode()))
    assert zone in page.content.decode()


@pytest.mark.django_db
def test_a_day_that_two_intervals_make_up(settings: object) -> None:
    """Newfoundland set its clocks back at 0:01: the first minute of the next day lies within the day."""
    settings.PAGESTATS_TIME_ZONE = zone = "America/St_Johns"
    (first, gap), (after, last) = Calendar(zone).day_intervals(day_number(date(2010, 11, 6)))
    instants = [first - 1, first, gap - 1, gap, after - 1, after, last - 1, last]
    rows = insert_page_views([("/", "k", datetime.fromtimestamp(second, timezone.utc)) for second in instants])
    page = log_in("view_pageview").get(f"{PAGE_VIEWS}?day=2010-11-06")
    assert ids_on(page) == [rows[index].id for index in (6, 5, 2, 1)]


@pytest.mark.django_db
def test_a_day_that_the_zone_left_out(settings: object) -> None:
    settings.PAGESTATS_TIME_ZONE = "Pacific/Apia"
    page = log_in("view_pageview").get(f"{PAGE_VIEWS}?day=2011-12-30")
    assert ids_on(page) == []
    assert "There was no 2011-12-30 in Pacific/Apia" in page.content.decode()


def test_search_is_exact_and_within_the_day(root: Client) -> None:
    rows = insert_page_views(
        [
            ("/A", "k1", NOON),
            ("/a", "k2", NOON),
            ("/a ", "k3", NOON),
            ("/a/b", "k4", NOON),
            ("/a", "k5", NOON + timedelta(days=1)),
            ("k2", "k6", NOON),
        ]
    )

    def search(text: str, **params: str) -> list[int]:
        query = urlencode({"q": text, "day": "2025-03-01", **params})
        return ids_on(root.get(f"{PAGE_VIEWS}?{query}"))

    assert search("/a") == [rows[1].id]
    assert search("/a ") == [rows[2].id]
    assert search("/A") == [rows[0].id]
    assert search("/a", day="2025-03-02") == [rows[4].id]
    assert search("k2") == [rows[5].id, rows[1].id]
    assert search("K2") == search("/") == search("%") == []
    assert search("/a", before=str(Place(rows[1].id, NOON))) == []


def test_a_search_without_a_day_is_one_of_today_and_says_so(root: Client, settings: object) -> None:
    settings.PAGESTATS_TIME_ZONE = "Pacific/Kiritimati"
    now = datetime.now(timezone.utc)
    rows = insert_page_views([("/a", "k", now)] * 51 + [("/a", "k", now - timedelta(days=1, minutes=1))])
    page = root.get(f"{PAGE_VIEWS}?q=/a")
    today = (now + timedelta(hours=14)).date().isoformat()
    assert f"No day was chosen, so this is today, {today}" in page.content.decode()
    assert ids_on(page) == [row.id for row in rows[50:0:-1]]
    assert f"day={today}" in link(page, "next")
    assert ids_on(root.get(PAGE_VIEWS + link(page, "next"))) == [rows[0].id]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("day=31.01.2025", "This is no day"),
        ("day=2025-02-30", "This is no day"),
        ("day=0001-01-01", "Choose a day from 1970 to 2199"),
        ("day=9999-12-31", "Choose a day from 1970 to 2199"),
        ("q=%00", "Null characters are not allowed"),
        ("q=" + "x" * 2_049, "at most 2048 characters"),
    ],
)
def test_what_cannot_be_searched_gets_a_message(root: Client, query: str, text: str) -> None:
    make_page_views(1)
    page = root.get(f"{PAGE_VIEWS}?{query}")
    assert text in page.content.decode()
    assert ids_on(page) == []


@pytest.mark.parametrize(
    "query",
    [
        "before=x",
        "after=12",
        "before=99999999999999999999.1",
        "before=1.-99999999999999999",
    ],
)
def test_a_place_that_is_none_gives_the_newest_page(root: Client, query: str) -> None:
    (row,) = make_page_views(1)
    page = root.get(f"{PAGE_VIEWS}?{query}")
    assert messages_of(page) == ["There is no such page; these are the newest page views."]
    assert ids_on(page) == [row.id]


def test_other_parameters_are_neither_lookups_nor_orders(root: Client) -> None:
    rows = make_page_views(3)
    for query in "path__contains=x", "o=1", "o=-2.x", "p=99", "all=", "id__lt=0", "e=1", "_facets=1":
        assert ids_on(root.get(f"{PAGE_VIEWS}?{query}")) == [row.id for row in reversed(rows)], query


def test_a_long_path_is_cut_in_the_list_only(root: Client) -> None:
    (row,) = insert_page_views([("/" + "x" * 2_000, "k", NOON)])
    (cell,) = re.findall('field-short_path">([^<]+)<', root.get(PAGE_VIEWS).content.decode())
    assert cell == "/" + "x" * 198 + "…"
    assert "x" * 2_000 in root.get(f"{PAGE_VIEWS}{row.id}/change/").content.decode()


# --- what it costs


def statements(client: Client, url: str) -> list[str]:
    """The statements about page views that the list runs."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in captured if "django_pagestats_pageview" in query["sql"]]


@pytest.fixture
def many(transactional_db: None) -> list[PageView]:
    """Enough for planners to take an index, with fresh statistics (ANALYZE commits on MariaDB)."""
    start = datetime(2025, 3, 1, tzinfo=timezone.utc)
    PageView.objects.bulk_create(
        [
            PageView(path=f"/{n % 97}", session_key=f"key {n % 1_999}", viewed_at=start + timedelta(seconds=30 * n))
            for n in range(20_000)
        ],
        batch_size=5_000,
    )
    table = connection.ops.quote_name(PageView._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")
    return list(PageView.objects.order_by("pk"))


def plan(statement: str) -> str:
    prefix = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mysql": "EXPLAIN FORMAT=JSON"}
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix[connection.vendor]} {statement}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


PRIMARY_KEY = {
    "sqlite": r"SCAN django_pagestats_pageview$|USING INTEGER PRIMARY KEY",
    "postgresql": "Index Scan (Backward )?using django_pagestats_pageview_pkey",
    "mysql": '"key": "PRIMARY"',
}
#: PostgreSQL's index does not hold the primary key: it sorts the few of one instant at a time
SORTS = {"sqlite": "TEMP B-TREE", "postgresql": r"(?<!Incremental )Sort  ", "mysql": "filesort"}


def test_every_page_is_read_through_an_index_and_never_counted(many: list[PageView]) -> None:
    client = log_in("view_pageview")
    middle, day = Place.of(many[10_000]), f"day={many[10_000].viewed_at:%Y-%m-%d}"
    by_key = ["", f"?before={middle}", f"?after={middle}"]
    by_time = [f"?{day}", f"?{day}&before={middle}", f"?{day}&after={middle}"]
    searches = [f"{query}&q={wanted}" for query in by_time for wanted in ("/7", "nowhere")]
    for query in by_key + by_time + searches:
        read = statements(client, PAGE_VIEWS + query)
        # where less than a page is newer, the newest page is read instead
        assert len(read) == (2 if query in searches and "after" in query else 1), (query, read)
        for statement in read:
            assert not re.search("COUNT|OFFSET", statement, re.IGNORECASE), statement
            found = plan(statement)
            index = PRIMARY_KEY[connection.vendor] if query in by_key else "pagestats_viewed_at"
            assert re.search(index, found), (query, statement, found)
            # of what a search finds, PostgreSQL sorts all, and keeps a page of it
            if query not in searches or connection.vendor != "postgresql":
                assert not re.search(SORTS[connection.vendor], found), (query, statement, found)


def rows_read() -> int:
    """By this session of MariaDB so far, with what telling it takes."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'", [])
        return sum(int(value) for _, value in cursor.fetchall())


def work(statement: str) -> int:
    """A measure of what a statement reads: rows, or on SQLite steps of its virtual machine."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            steps: list[int] = []
            connection.connection.set_progress_handler(lambda: steps.append(1), 1)
            cursor.execute(statement).fetchall()
            connection.connection.set_progress_handler(None, 0)
            return len(steps)
        if connection.vendor == "mysql":
            first, second = rows_read(), rows_read()
            cursor.execute(statement)
            return rows_read() - second - (second - first)
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        node = cursor.fetchone()[0][0]["Plan"]
        while "Plans" in node:
            (node,) = node["Plans"]
        return node["Actual Rows"] + node.get("Rows Removed by Filter", 0)


def test_a_page_reads_as_little_deep_down_as_on_top(many: list[PageView]) -> None:
    client = log_in("view_pageview")
    day = many[10_000].viewed_at.date()
    of_day = [Place.of(view) for view in many if view.viewed_at.date() == day]
    assert len(of_day) == 2_880
    queries = {
        "": [f"?{side}={Place.of(many[at])}" for side in ("before", "after") for at in (100, 10_000, 19_900)],
        f"?day={day}": [
            f"?day={day}&{side}={of_day[at]}" for side in ("before", "after") for at in (100, 1_440, 2_780)
        ],
    }
    for top, others in queries.items():
        (statement,) = statements(client, PAGE_VIEWS + top)
        assert work(statement) > 50
        for query in others:
            (deep,) = statements(client, PAGE_VIEWS + query)
            assert work(deep) < 3 * work(statement), (query, work(deep), work(statement))


def test_a_list_costs_two_statements_besides_session_and_user(root: Client, django_assert_num_queries: object) -> None:
    """Its rows, and the notices above them."""
    make_page_views(60)
    for query in "", "?before=50.0", "?day=2025-03-01", "?q=/a":
        with django_assert_num_queries(4):
            root.get(PAGE_VIEWS + query)


def test_the_list_of_runs_says_what_keeping_up_cannot_do(root: Client, settings: object) -> None:
    make_page_views(20)
    assert "messagelist" not in root.get(RUNS).content.decode()
    settings.PAGESTATS_TAIL_LIMIT = 5
    assert "More than 5 page views are not folded yet, too many for keeping up" in root.get(RUNS).content.decode()
    settings.PAGESTATS_TAIL_LIMIT = 50
    folding.keep_up("default", seconds=5)
    assert "messagelist" not in root.get(RUNS).content.decode()
    PageView.objects.filter(pk__lt=PageView.objects.latest("pk").pk).delete()
    assert "count 20 page views, and at most 1 of them are left" in root.get(RUNS).content.decode()
    PageView.objects.all().delete()
    assert "Run backfill_aggregates --rebuild to count anew" in root.get(RUNS).content.decode()


def test_the_list_of_runs_says_that_no_worker_takes_a_run(root: Client) -> None:
    make_page_views(3)
    run = make_run(active_key=BackfillRun.ACTIVE, enqueued_at=datetime.now(timezone.utc))
    assert "messagelist" not in root.get(RUNS).content.decode()
    BackfillRun.objects.update(enqueued_at=datetime.now(timezone.utc) - timedelta(minutes=5))
    assert f"No worker has taken run {run.pk} for 30" in root.get(RUNS).content.decode()


# -- the buttons of a run


def buttons(client: Client, run: BackfillRun) -> list[str]:
    """Those that are to be seen: the page's script shows and hides them as they come to be of use."""
    page = client.get(f"{RUNS}{run.pk}/change/").content.decode()
    offered = re.findall(rf'<li data-pagestats-verb="(\w+)"( hidden)?>\s*<.*"{RUNS}{run.pk}/(\w+)/"', page)
    assert [verb for verb, _, _ in offered] == [verb for _, _, verb in offered]
    assert len(offered) == page.count("data-pagestats-verb")
    return [verb for verb, hidden, _ in offered if not hidden]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"status": "queued"}, ["pause", "cancel"]),
        ({"status": "running"}, ["pause", "cancel"]),
        ({"status": "running", "pause_requested_at": NOON}, ["resume", "cancel"]),
        ({"status": "running", "cancel_requested_at": NOON}, []),
        ({"status": "paused"}, ["resume", "cancel"]),
        ({"status": "failed", "kind": "rebuild", "is_build": True}, ["resume"]),
        ({"status": "failed"}, []),  # of a generation that answers no more
        ({"status": "succeeded"}, []),
        ({"status": "cancelled"}, []),
    ],
)
def test_a_run_has_the_buttons_that_would_do_something(
    root: Client, columns: dict[str, Any], wanted: list[str]
) -> None:
    run = make_run(active_key="active" if columns["status"] in ("queued", "running", "paused") else None, **columns)
    assert buttons(root, run) == wanted


def test_a_failed_run_that_is_not_the_last_has_none(root: Client) -> None:
    run = make_run(status="failed")
    make_run(status="succeeded")
    assert buttons(root, run) == []


def test_pause_resume_and_cancel_by_button(root: Client) -> None:
    make_page_views(30)
    Links().start()
    run = the_run()
    page = root.post(f"{RUNS}{run.pk}/pause/", follow=True)
    assert messages_of(page) == [
        f"Run {run.pk} (backfill) is paused by root: “Resume” on its page goes on with it, “Cancel run” gives it up."
        " Answers stay exact meanwhile."
    ]
    assert page.redirect_chain[-1][0] == f"{RUNS}{run.pk}/change/"
    page = root.post(f"{RUNS}{run.pk}/resume/", follow=True)
    assert the_run().status == "queued" and level_tags(page) == ["success"]
    asked = root.get(f"{RUNS}{run.pk}/cancel/").content.decode()
    assert "Yes, cancel the run" in asked and the_run().status == "queued"
    root.post(f"{RUNS}{run.pk}/cancel/")
    assert the_run().status == "cancelled"
    table = root.get(f"{RUNS}{run.pk}/change/").content.decode().partition("pagestats-events")[2]
    changes = re.findall(r"</td><td>([^<]*)</td><td>([^<]*)</td><td>[^<]*</td></tr>", table)
    assert changes[::-1] == [
        ("Queued", "test"),
        ("Queued → Paused", "root (admin)"),
        ("Paused → Queued", "root (admin)"),
        ("Queued → Cancelled", "root (admin)"),
    ]


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_button_is_of_the_run_that_its_page_shows(root: Client, verb: str) -> None:
    """Another one has begun since the page was loaded."""
    make_page_views(30)
    old = make_run(status="failed")
    Links().start()
    page = root.post(f"{RUNS}{old.pk}/{verb}/", follow=True)
    assert level_tags(page) == ["warning"] and f"Run {old.pk} is not " in messages_of(page)[0]
    assert the_run().status == "queued"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_get_of_a_button_does_nothing(root: Client, verb: str) -> None:
    make_page_views(30)
    Links().start()
    assert root.get(f"{RUNS}{the_run().pk}/{verb}/").status_code == 302
    assert the_run().status == "queued"


@pytest.mark.parametrize("permissions", [["view_backfillrun"], ["add_backfillrun"], ["view_pageview"], []])
@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
@pytest.mark.django_db
def test_the_buttons_need_the_permission_to_change_runs(verb: str, permissions: list[str]) -> None:
    make_page_views(30)
    Links().start()
    client = log_in(*permissions)
    url = f"{RUNS}{the_run().pk}/{verb}/"
    assert client.post(url).status_code == client.get(url).status_code == 403
    assert the_run().status == "queued"
    if "view_backfillrun" in permissions:
        assert buttons(client, the_run()) == []


@pytest.mark.django_db
def test_who_may_change_runs_may_stop_them() -> None:
    make_page_views(30)
    Links().start()
    client = log_in("view_backfillrun", "change_backfillrun")
    assert buttons(client, the_run()) == ["pause", "cancel"]
    client.post(f"{RUNS}{the_run().pk}/pause/")
    assert the_run().status == "paused"


def test_a_run_that_is_none_cannot_be_cancelled(root: Client) -> None:
    assert root.get(f"{RUNS}77/cancel/").status_code == 404
    for verb in "pause", "resume", "cancel", "nice":
        assert root.post(f"{RUNS}77/{verb}/", {"nice": "1"}).status_code == 404


def test_resuming_without_a_queue(root: Client) -> None:
    make_page_views(3)
    Links().start()
    run = the_run()
    root.post(f"{RUNS}{run.pk}/pause/")
    root.get(RUNS)
    with modify_settings(INSTALLED_APPS={"remove": ["django_q"]}):
        root.post(f"{RUNS}{run.pk}/resume/")
    assert "is resumed" in messages_of(root.get(RUNS))[0]
    assert (the_run().status, the_run().enqueued_at) == ("queued", None)


@pytest.mark.parametrize("pk", [1, -5, 18 * 10**17, 2**63 - 1, -(2**63)])
def test_a_place_survives_a_url(pk: int) -> None:
    for viewed_at in NOON, datetime(1965, 3, 1, tzinfo=timezone.utc):
        assert Place.parse(str(Place(pk, viewed_at))) == Place(pk, viewed_at)
    assert Place.parse(f"{2**63}.0") is None


def test_the_list_of_runs_costs_the_same_for_one_and_for_many(root: Client) -> None:
    make_run(status="succeeded")
    with CaptureQueriesContext(connection) as one:
        root.get(RUNS)
    for _ in range(20):
        make_run(status="succeeded")
    with CaptureQueriesContext(connection) as many:
        root.get(RUNS)
    assert len(many) == len(one)


# --- pages that a strict content security policy lets through


class Inline(HTMLParser):
    """Collects what `default-src 'self'` forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in names and names.get("type") != "application/json"):
            self.found.append(tag)
        self.found += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        self.found += [f"{tag} {name}" for name, value in attrs if (value or "").lower().startswith("javascript:")]


def pages() -> Iterator[str]:
    make_page_views(60)
    run = make_run(status="failed", error="boom", wait_reason="x")
    source = ImportSource.objects.create(key="log:x", name="access.log", updated_at=NOON)
    yield from LISTS
    yield f"{PAGE_VIEWS}?day=nonsense&q=/a"
    yield f"{PAGE_VIEWS}?q=/a"
    yield f"{PAGE_VIEWS}{PageView.objects.latest('pk').pk}/change/"
    yield f"{RUNS}{run.pk}/change/"
    yield f"{LISTS[2]}{run.generation_id}/change/"
    yield f"{LISTS[3]}{source.pk}/change/"
    yield f"{LISTS[4]}{LeftOut.objects.create(day=NOON.date(), reason='robot', count=1).pk}/change/"
    yield f"{LISTS[4]}?reason=robot&day__year=2025"


def test_no_inline_script_or_style(root: Client) -> None:
    for url in pages():
        page = root.get(url).content.decode()
        parser = Inline()
        parser.feed(page)
        assert parser.found == [], url
        assert "django_pagestats/admin.css" in page
