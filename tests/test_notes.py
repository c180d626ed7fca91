"""Notes: written by a command or a form, read from the admin's log, and seen wherever a chart is seen or read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import pytest
from django.apps import apps
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_pagestats import notes
from django_pagestats.dashboard.noting import MOST_OF_PLACE, notes_of
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.management.commands import annotate
from django_pagestats.models import NOTE_MAX_LENGTH, Note
from django_pagestats.notes import logged
from django_pagestats.views import DashboardView
from tests.clients import client_with
from tests.factories import insert_page_views

pytestmark = [pytest.mark.django_db, pytest.mark.in_turn]

DASHBOARD, ADD = "/admin/django_pagestats/dashboard/", "/admin/django_pagestats/note/add/"
TODAY = datetime(2025, 4, 5, tzinfo=timezone.utc)
NOW = TODAY + timedelta(hours=15, minutes=20)
HOSTILE = "<script>alert('é')</script> \"=cmd\" \u202eabc & 😀"


@pytest.fixture(autouse=True)
def page_views(db: None) -> None:
    """Some of each day, of many visitors."""
    insert_page_views(
        ("/a", f"key{n}", TODAY + timedelta(hours=10, days=-day)) for day in range(1, 60) for n in range(7)
    )


def shown(is_public: bool = False, **query: str) -> dict[str, Any]:
    return page_of({"range": "28d", **query}, using="default", now=NOW, is_public=is_public)


def rows(page: dict[str, Any]) -> dict[str, str]:
    """What the table of the chart has of places with notes."""
    chart = page["chart"]
    if "notes" not in chart.has:
        return {}
    assert chart.heads[-1] == "Notes"
    return {name: texts[-1] for name, texts in chart.rows if texts[-1]}


def marks(page: dict[str, Any]) -> list[str]:
    """What the marks in the drawing say."""
    found = ElementTree.fromstring(page["chart"].svg).iter()
    return [mark[1][0].text or "" for mark in found if mark.get("class") == "pagestats-note"]


def listed(page: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item.day, item.text) for item in page["notes"].items]


def note(text: str, day: str = "2025-04-01", **options: Any) -> Note:
    return notes.annotate(text, day=date.fromisoformat(day), using="default", **options)[0]


# -- in the chart


def test_a_note_is_a_mark_a_cell_of_the_table_and_an_item_below() -> None:
    assert "notes" not in shown()["chart"].has and "Notes" not in shown()["chart"].heads
    note("deploy 4.2")
    note("out of the range", "2025-03-08")
    note("of a page", path="/a")
    page = shown()
    assert rows(page) == {"Tuesday, April 1, 2025": "deploy 4.2"}
    assert marks(page) == ["Tuesday, April 1, 2025: deploy 4.2"]
    assert listed(page) == [("Tuesday, April 1, 2025", "deploy 4.2")]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("hour", {"Tuesday, April 1, 2025, midnight": "one; two", "Wednesday, April 2, 2025, midnight": "three"}),
        ("day", {"Tuesday, April 1, 2025": "one; two", "Wednesday, April 2, 2025": "three"}),
        ("week", {"March 30, 2025 to April 5, 2025 (so far)": "April 1: one; April 1: two; April 2: three"}),
    ],
)
def test_several_are_at_one_place_by_hour_day_and_week(interval: str, expected: dict[str, str]) -> None:
    for text, day in ("three", "2025-04-02"), ("one", "2025-04-01"), ("two", "2025-04-01"):
        note(text, day)
    page = shown(interval=interval)
    assert rows(page) == expected
    assert len(marks(page)) == len(expected)
    assert [text for _, text in listed(page)] == ["one", "two", "three"]


def test_by_month_each_is_at_its_month_and_of_very_many_some_are_counted() -> None:
    note("old", "2024-07-31")
    for n in range(MOST_OF_PLACE + 2):
        note(f"deploy {n}", f"2025-03-0{n + 1}")
    page = shown(range="12m")
    assert rows(page) == {
        "July 2024": "July 31: old",
        "March 2025": "; ".join([*(f"March {n + 1}: deploy {n}" for n in range(MOST_OF_PLACE)), "and 2 more"]),
    }
    assert len(listed(page)) == MOST_OF_PLACE + 3, "the list has them all"


def test_a_note_of_a_day_to_come_is_there_though_nothing_is_drawn(settings: Any) -> None:
    note("launch", "2025-04-30")
    page = shown(range="month")
    assert rows(page) == {"Wednesday, April 30, 2025": "launch"}
    assert page["chart"].rows[-1][1][:2] == ["-", "-"]


def test_hostile_texts_are_text_everywhere() -> None:
    note(HOSTILE)
    note("\u202e" + "x" * (NOTE_MAX_LENGTH - 1))
    page = shown()
    html = render_to_string("django_pagestats/dashboard/chart.html", {**page, "note_change_url": "/n/"})
    assert "<script" not in html and "\u202e" not in html and "style=" not in html
    assert HOSTILE.replace("\u202e", "[U+202E]") in marks(page)[0]


def test_the_public_sees_those_that_are_public() -> None:
    note("deploy 4.2")
    note("a new shop", is_public=True)
    page = shown(is_public=True)
    assert list(rows(page).values()) == ["a new shop"]
    assert [text for _, text in listed(page)] == ["a new shop"]


def test_of_very_many_the_latest_are_shown_and_statements_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    with CaptureQueriesContext(connection) as none:
        shown()
    monkeypatch.setattr(notes.found, "MOST_NOTES", 20)
    Note.objects.bulk_create(Note(day=date(2025, 4, 1), text=f"deploy {n}") for n in range(40))
    with CaptureQueriesContext(connection) as many:
        page = shown()
    assert len(many) == len(none)
    assert [text for _, text in listed(page)] == [f"deploy {n}" for n in range(20, 40)]
    assert page["notes"].more == "The last 20 notes of the range are shown."


# -- the command


def written(*words: str) -> str:
    out = StringIO()
    call_command("annotate", *words, stdout=out)
    return out.getvalue().strip()


def test_the_command_writes_once_however_often_it_is_run() -> None:
    assert written("deploy 4.2", "--day", "2025-04-01") == "Noted on 2025-04-01: deploy 4.2"
    assert written(" deploy\n4.2 ", "--day", "2025-04-01") == "It is noted already on 2025-04-01: deploy 4.2"
    assert written("Deploy 4.2", "--day", "2025-04-01").startswith("Noted"), "another text"
    assert written("x", "--day", "2025-04-01", "--path", "/a ", "--public") == "Noted on 2025-04-01 of /a : x"
    found = list(Note.objects.order_by("pk").values_list("day", "path", "text", "is_public"))
    day = date(2025, 4, 1)
    assert found == [(day, "", "deploy 4.2", False), (day, "", "Deploy 4.2", False), (day, "/a ", "x", True)]


def test_the_command_tells_of_a_note_that_is_not_as_public_as_was_asked_for() -> None:
    hidden = note("deploy 4.2")
    already = "It is noted already on 2025-04-01: deploy 4.2"
    told = written("deploy 4.2", "--day", "2025-04-01", "--public").splitlines()
    assert told == [already, "It is not public, and stays so: 'Notes' in the admin changes that."]
    assert written("deploy 4.2", "--day", "2025-04-01") == already
    assert list(Note.objects.values_list("pk", "is_public")) == [(hidden.pk, False)]
    Note.objects.update(is_public=True)
    assert "It is public" in written("deploy 4.2", "--day", "2025-04-01")
    Note.objects.create(day=date(2025, 4, 1), text="deploy 4.2")
    assert written("deploy 4.2", "--day", "2025-04-01", "--public") == already, "one of two is"
    assert written("deploy 4.2", "--day", "2025-04-01") == already, "and one is not"


def test_today_is_that_of_the_statistics(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class LateInTheEvening(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2025, 4, 5, 23, 30, tzinfo=timezone.utc)

    monkeypatch.setattr(annotate, "datetime", LateInTheEvening)
    settings.PAGESTATS_TIME_ZONE = "Asia/Tokyo"
    written("before there are aggregates")
    call_command("backfill_aggregates", "--sync", verbosity=0)
    settings.PAGESTATS_TIME_ZONE = "UTC"
    written("until the rebuild")
    assert set(Note.objects.values_list("day", flat=True)) == {date(2025, 4, 6)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([" "], "text of a note is empty"),
        (["x" * 501], "has 501 characters: a note has at most 500"),
        (["a\0b"], "character that cannot be stored"),
        (["x", "--day", "tomorrow"], "--day tomorrow: a date such as"),
        (["x", "--day", "1969-12-31"], "1969-12-31: a note is of a day from 1970-01-01"),
        (["x", "--path", "/" + "x" * 2_048], "2049 characters: at most 2048"),
        (["x", "--path", "/a\nb"], "control character"),
        (["x", "--path", ""], "--path '' is empty"),
        (["x", "--path", "pricing/"], "No page has the path 'pricing/': a path such as '/pricing/'"),
        (["x", "--path", " /pricing/"], "No page has the path ' /pricing/'"),
        (["x", "--path", "?page=2"], "No page has the path '?page=2'"),
        (["x", "--path", "https://[example.org/"], "No page has the path 'https://[example.org/'"),
        (["x", "--database", "elsewhere"], "There is no database 'elsewhere'"),
    ],
)
def test_what_no_chart_could_show_is_refused_by_name(words: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=re.escape(told)):
        written(*words)
    assert not Note.objects.exists()


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("https://example.org/a?utm_source=mail#top", "/a"),
        ("https://example.org", "/"),
        ("/caf%C3%A9/?page=2&x=1", "/café/?page=2"),
        ("/a b ", "/a b "),
    ],
)
def test_a_path_is_that_of_the_page_views(settings: Any, given: str, path: str) -> None:
    settings.PAGESTATS_QUERY = ["page"]
    written("x", "--path", given)
    assert Note.objects.get().path == path


def test_what_has_page_views_is_a_page_however_it_is_written(settings: Any) -> None:
    odd = ["about", "https://example.org/", "/a?sort=2", "/100%25"]
    insert_page_views((path, "key", TODAY) for path in odd)
    for path in odd:
        written("x", "--path", path)
    assert set(Note.objects.values_list("path", flat=True)) == set(odd)


def test_a_page_that_the_site_cannot_tell_is_refused(settings: Any) -> None:
    settings.PAGESTATS_PATH = "tests.test_notes.failing"
    with pytest.raises(CommandError, match="PAGESTATS_PATH fails: KeyError"):
        written("x", "--path", "https://example.org/a")


def failing(request: object, path: str) -> str:
    raise KeyError(path)


# -- the admin


def test_a_note_is_made_changed_and_deleted_from_the_dashboard_and_back() -> None:
    client = client_with("view_statistics", "view_note", "add_note", "change_note", "delete_note")
    page = client.get(f"{DASHBOARD}?range=free&from=2025-03-01&to=2025-04-01&compare=none")
    (add,) = re.findall(r'href="(/admin/django_pagestats/note/add/\?[^"]*)"', page.content.decode())
    add = add.replace("&amp;", "&")
    with translation.override("de"):
        form = client.get(add, headers={"accept-language": "de"})
    assert form.context["adminform"].form.initial["day"] == date(2025, 4, 1), "the last day of the range"
    is_latin1 = connection.settings_dict["TEST"].get("CHARSET") == "latin1"
    # the admin's log is Django's: a database that was made with latin1 holds no other names of objects in it
    text = HOSTILE.encode("latin1", "ignore").decode("latin1") if is_latin1 else HOSTILE
    answer = client.post(add, {"day": "2025-03-30", "text": text, "path": ""})
    assert answer["Location"] == f"{DASHBOARD}?range=free&from=2025-03-01&to=2025-04-01&compare=none"
    page = client.get(answer["Location"])
    (change,) = re.findall(r'href="(/admin/django_pagestats/note/\d+/change/\?[^"]*)"', page.content.decode())
    assert (
        client.post(change.replace("&amp;", "&"), {"day": "2025-03-30", "text": "other", "path": "/a "})
        .headers["Location"]
        .startswith(DASHBOARD)
    )
    found = Note.objects.get()
    assert (found.text, found.path) == ("other", "/a "), "a path keeps its spaces"
    assert DASHBOARD in client.get("/admin/django_pagestats/note/").content.decode()
    assert client.post(f"/admin/django_pagestats/note/{found.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Note.objects.exists()


def test_a_note_that_is_added_on_the_dashboard_of_a_page_is_of_that_page() -> None:
    client = client_with("view_statistics", "view_note", "add_note")
    page = client.get(f"{DASHBOARD}page/?range=7d&path=/a").content.decode()
    (add,) = re.findall(r'href="(/admin/django_pagestats/note/add/\?[^"]*)"', page)
    add = add.replace("&amp;", "&")
    assert client.get(add).context["adminform"].form.initial["path"] == "/a"
    answer = client.post(add, {"day": date.today().isoformat(), "text": "of a page", "path": "/a"})  # noqa: DTZ011
    assert answer["Location"] == f"{DASHBOARD}page/?range=7d&path=%2Fa"
    assert "of a page" in client.get(answer["Location"]).content.decode()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"day": "2025-04-01", "text": " "}, "This field is required"),
        ({"day": "2025-04-01", "text": "a\0b"}, "Null characters are not allowed"),
        ({"day": "2300-04-01", "text": "a"}, "A note is of a day from"),
        ({"day": "2025-04-01", "text": "a", "path": "/a\x1fb"}, "control character"),
        ({"day": "2025-04-01", "text": "a", "path": "pricing/"}, "No page has the path"),
    ],
)
def test_the_form_says_what_it_does_not_take(given: dict[str, str], told: str) -> None:
    answer = client_with("view_note", "add_note").post(ADD, {"path": "", **given})
    assert answer.status_code == 200 and told in answer.content.decode()
    assert not Note.objects.exists()


@pytest.mark.parametrize("query", ["?day=2025-02-30", "?day=x&back=//elsewhere.example/", "?back=https://elsewhere/"])
def test_a_hostile_link_to_the_form_leads_nowhere_else(query: str) -> None:
    client = client_with("view_statistics", "view_note", "add_note")
    assert client.get(ADD + query).status_code == 200
    answer = client.post(ADD + query, {"day": "2025-04-01", "text": "a", "path": ""})
    assert answer["Location"] == "/admin/django_pagestats/note/"


def test_who_may_not_is_shown_no_way_to_and_gets_403() -> None:
    row = note("deploy 4.2", date.today().isoformat())  # noqa: DTZ011
    client = client_with("view_statistics")
    page = client.get(DASHBOARD).content.decode()
    assert "deploy 4.2" in page and "/note/" not in page
    for url in (
        ADD,
        f"/admin/django_pagestats/note/{row.pk}/change/",
        f"/admin/django_pagestats/note/{row.pk}/delete/",
    ):
        assert client.get(url).status_code == client.post(url, {"post": "yes"}).status_code == 403
    assert Note.objects.count() == 1


def test_a_dashboard_that_is_mounted_has_no_way_to_the_admin(settings: Any, rf: Any) -> None:
    note("deploy 4.2", date.today().isoformat())  # noqa: DTZ011
    request = rf.get("/numbers/")
    request.user = User.objects.create_superuser("root")
    page = DashboardView.as_view()(request).render().content.decode()
    assert "deploy 4.2" in page and "/admin/" not in page


# -- the admin's log


@pytest.fixture
def articles(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[User]]:
    """Users stand for articles: each has a page."""
    settings.ABSOLUTE_URL_OVERRIDES = {}
    monkeypatch.setattr(User, "get_absolute_url", lambda self: f"/users/{self.username}/", raising=False)
    settings.PAGESTATS_NOTES_FROM_LOG = ["auth.User"]
    yield [User.objects.create_user(name) for name in ("ada", "é", "broken")]


def log(item: Any, flag: int, at: datetime) -> None:
    LogEntry.objects.create(
        user_id=User.objects.latest("pk").pk,
        content_type=ContentType.objects.get_for_model(item),
        object_id=str(item.pk),
        object_repr="x",
        action_flag=flag,
        action_time=at,
        change_message="secret",
    )


def of_page(page: str, **query: str) -> list[tuple[date, str]]:
    with scope_of({"range": "28d", **query}, using="default", now=NOW, is_public=False) as scope:
        return [(mark.day, mark.text) for mark in notes_of(scope, page).notes]


def test_what_the_log_has_of_a_page_is_a_note_on_its_chart(articles: list[User], settings: Any) -> None:
    settings.PAGESTATS_TIME_ZONE = "Asia/Tokyo"
    ada, other, _ = articles
    log(ada, ADDITION, TODAY - timedelta(days=3))
    for hours in (0, 1, 16):  # 16 hours later it is the next day in Tokyo
        log(ada, CHANGE, TODAY - timedelta(days=2) + timedelta(hours=hours))
    log(ada, DELETION, TODAY)
    log(ada, CHANGE, TODAY - timedelta(days=40))
    log(other, CHANGE, TODAY)
    note("of the site", "2025-04-03")
    assert of_page("/users/ada/") == [
        (date(2025, 4, 2), "Added"),
        (date(2025, 4, 3), "of the site"),
        (date(2025, 4, 3), "Changed 2 times"),
        (date(2025, 4, 4), "Changed"),
    ]
    assert of_page("/users/é/") == [(date(2025, 4, 3), "of the site"), (date(2025, 4, 5), "Changed")]
    assert of_page("") == [(date(2025, 4, 3), "of the site")]
    with scope_of({"range": "28d"}, using="default", now=NOW, is_public=True) as scope:
        assert notes_of(scope, "/users/ada/").notes == [], "the public is not told who works when"


def test_no_model_is_looked_at_that_the_setting_does_not_name(articles: list[User], settings: Any) -> None:
    log(articles[0], CHANGE, TODAY)
    settings.PAGESTATS_NOTES_FROM_LOG = ["auth.Group", "gone.Model"]
    assert of_page("/users/ada/") == []
    settings.PAGESTATS_NOTES_FROM_LOG = []
    with CaptureQueriesContext(connection) as queries:
        assert of_page("/users/ada/") == []
    assert not [query for query in queries if "admin_log" in query["sql"]]


def test_what_fails_in_the_site_costs_a_note_and_is_logged(
    articles: list[User], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for item in articles:
        log(item, CHANGE, TODAY)
    for object_id in ("no number", "9" * 30, "-" + "9" * 30, "9" * 5_000, "1.5"):
        LogEntry.objects.create(
            user_id=articles[0].pk,
            content_type=ContentType.objects.get_for_model(User),
            object_id=object_id,
            object_repr="x",
            action_flag=CHANGE,
            action_time=TODAY,
            change_message="",
        )

    def url(self: User) -> str:
        return {"ada": "/users/ada/", "é": "/é/"}[self.username]

    monkeypatch.setattr(User, "get_absolute_url", url, raising=False)
    with caplog.at_level(logging.WARNING, "django_pagestats"):
        assert of_page("/users/ada/") == [(date(2025, 4, 5), "Changed")]
    assert "gives no URL" in caplog.text

    def broken(self: User) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
        return "/"

    monkeypatch.setattr(User, "get_absolute_url", broken, raising=False)
    with scope_of({"range": "28d"}, using="default", now=NOW, is_public=False) as scope:
        assert notes_of(scope, "/users/ada/").notes == []
        assert scope.taken.count_page_views() == 59 * 7, "the transaction goes on"
    assert "cannot be read" in caplog.text


def test_a_manager_that_fails_costs_the_notes_and_not_the_page(
    articles: list[User], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: object) -> None:
        raise RuntimeError("the site's own")

    log(articles[0], CHANGE, TODAY)
    note("of the site", "2025-04-03")
    monkeypatch.setattr(type(User._default_manager), "get_queryset", broken)
    with caplog.at_level(logging.ERROR, "django_pagestats"):
        assert of_page("/users/ada/") == [(date(2025, 4, 3), "of the site")]
    assert "cannot be read" in caplog.text


def test_a_long_log_is_read_to_a_limit(articles: list[User], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged, "MOST_ENTRIES", 2)
    for hours in range(5):
        log(articles[0], CHANGE, TODAY - timedelta(days=hours))
    assert of_page("/users/ada/") == [(date(2025, 4, 4), "Changed"), (date(2025, 4, 5), "Changed")]
    monkeypatch.setattr(logged, "MOST_ENTRIES", 1_000)
    with CaptureQueriesContext(connection) as few:
        of_page("/users/ada/")
    for name in range(20):
        log(User.objects.create_user(f"user{name}"), CHANGE, TODAY)
    with CaptureQueriesContext(connection) as many:
        assert len(of_page("/users/ada/")) == 5
    assert len(few) == len(many)


def test_without_the_admin_there_is_no_log(articles: list[User], monkeypatch: pytest.MonkeyPatch) -> None:
    log(articles[0], CHANGE, TODAY)
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "django.contrib.admin" and installed(name))
    assert of_page("/users/ada/") == []
