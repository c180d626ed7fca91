"""Numbers beside the site's own objects in the admin: the column, its order, the box, and who sees them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import DatabaseError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_pagestats import harmless
from django_pagestats.admin import PageStatisticsMixin
from django_pagestats.beside import lists, ordering
from django_pagestats.beside.addresses import page_beside
from django_pagestats.dashboard.drawing import line_points
from django_pagestats.dashboard.ranges import Days
from tests import objects_site
from tests.factories import fold, insert_page_views, make_page_views
from tests.routers import ObjectsRouter
from tests.test_aliases import second_database
from tests.test_objects import Article

LIST, STAFF_LIST = "/admin/auth/user/", "/staff/auth/user/"
HOSTILE = ['<script>alert(1)</script>"', "😀", "\N{RIGHT-TO-LEFT OVERRIDE}gpj", "=cmd|' /C calc'!A0", "x" * 2_000]


@pytest.fixture(autouse=True)
def people_have_pages(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.objects_site"
    monkeypatch.setattr(User, "get_absolute_url", lambda user: f"/people/{user.username}/", raising=False)
    harmless._told.clear()
    yield
    harmless._told.clear()


def client_with(*permissions: str) -> Client:
    user = User.objects.create_user("~editor", is_staff=True)
    wanted = ("view_user", "change_user", "add_user", "view_group", *permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client = Client()
    client.force_login(user)
    return client


def people(count: int) -> list[User]:
    return User.objects.bulk_create([User(username=f"u{n:03}") for n in range(count)])


def view(path: str, count: int = 1, *, days_ago: int = 0, key: str = "key") -> None:
    at = datetime.now(timezone.utc) - timedelta(days=days_ago)
    insert_page_views([(path, f"{key}{n}", at) for n in range(count)])


def text_of(response: Any) -> str:
    assert response.status_code == 200, response
    return re.sub(r"\s+", " ", response.content.decode())


def rows(response: Any) -> list[tuple[str, str]]:
    """Name and number of each row, in order."""
    found = re.findall(r'<tr>(?:(?!</tr>).)*?field-username">(.*?)</t[hd]>(.*?)</tr>', text_of(response))
    cells = [(name, re.search(r'field-page_statistics">(.*?)</t[dh]>', rest)) for name, rest in found]
    strip = lambda html: unescape(re.sub(r"<[^>]*>", "", html)).strip()  # noqa: E731
    return [(strip(name), strip(cell[1]) if cell else "") for name, cell in cells]


def column_of(client: Client) -> int:
    """The number by which the list is sorted by our column."""
    return client.get(LIST).context["cl"].list_display.index("page_statistics")


# -- the column


@pytest.mark.django_db
def test_each_object_of_a_list_has_its_page_views_of_28_days() -> None:
    client = client_with("view_statistics")
    people(3)
    view("/people/u000/", 1_234)
    view("/people/u001/", 2, days_ago=27)
    view("/people/u001/", 5, days_ago=28)  # the day before
    fold()
    view("/people/u001/", 1)  # not folded yet
    response = client.get(LIST)
    assert rows(response) == [("u000", "1,234"), ("u001", "3"), ("u002", "0"), ("~editor", "0")]
    text = text_of(response)
    assert "Page views, 28 days" in text
    assert text.count('class="pagestats-small-line"') == 4 and "style=" not in text.split("field-username", 1)[1]
    assert "of-the-site.js" in text and "django_pagestats/beside.css" in text, "the site's own files are there, too"
    assert '<td class="field-star">*</td>' in text, "and so is another mixin's column"


@pytest.mark.django_db
def test_a_list_takes_as_many_statements_however_long_it_is() -> None:
    client = client_with("view_statistics")
    people(60)
    make_page_views(50)
    view("/people/u000/")
    view("/people/u059/")
    fold()
    view("/people/u001/")
    counts, ours = [], []
    for query in ("", "?all="):
        with CaptureQueriesContext(connection) as captured:
            shown = rows(client.get(LIST + query))
        assert len(shown) == (60 + 1 if query else 10)
        counts.append(len(captured))
        ours.append([it["sql"] for it in captured if "django_pagestats" in it["sql"] and "permission" not in it["sql"]])
    assert counts[0] == counts[1]
    assert len(ours[0]) == len(ours[1]) <= 9, ours[0]
    with CaptureQueriesContext(connection) as without:
        User.objects.get(username="~editor").user_permissions.remove(Permission.objects.get(codename="view_statistics"))
        client.get(LIST)
    assert [it for it in without if "pagestats_aggregate" in it["sql"]] == []


@pytest.mark.django_db
def test_without_the_permission_there_is_neither_column_nor_box() -> None:
    client = client_with("view_pageview", "view_aggregate")
    (person,) = people(1)
    for where in (LIST, STAFF_LIST):
        for page in (where, f"{where}?o=2", f"{where}{person.pk}/change/"):
            text = text_of(client.get(page))
            assert "pagestats" not in text.replace("django_pagestats/", ""), page
            assert "Page views" not in text and "Page statistics" not in text
    assert f"{STAFF_LIST}{person.pk}/change/" in text_of(client.get(STAFF_LIST))
    data = {"username": "renamed", "is_active": "on"}
    assert client.post(f"{STAFF_LIST}{person.pk}/change/", data).status_code == 302
    assert User.objects.filter(username="renamed").exists()


def raises(user: User) -> str:
    raise LookupError(user.username)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("get_absolute_url", "expected"),
    [
        (raises, "-"),
        (lambda user: None, "-"),
        (lambda user: "", "-"),
        (lambda user: "relative/", "-"),
        (lambda user: "javascript:alert(1)", "-"),
        (lambda user: "/people/u/?utm_source=x#top", "2"),
        (lambda user: "https://site.example/people/u/", "2"),
        (lambda user: "https://site.example:8000/people/u/", "2"),
        (lambda user: "//elsewhere.example/people/u/", "-"),
        (lambda user: "https://elsewhere.example/people/u/", "-"),
        (lambda user: "https://[broken/people/u/", "-"),
        (lambda user: 7, "-"),
    ],
)
def test_whatever_the_objects_url_is_the_list_is_shown(
    get_absolute_url: Callable[[User], Any],
    expected: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = client_with("view_statistics")
    (person,) = people(1)
    view("/people/u/", 2)
    settings.ALLOWED_HOSTS = ["site.example", "testserver"]
    monkeypatch.setattr(User, "get_absolute_url", get_absolute_url)
    with caplog.at_level(logging.ERROR, "django_pagestats.harmless"):
        assert rows(client.get(LIST)) == [("u000", expected), ("~editor", expected)]
        assert len(rows(client.get(f"{LIST}?o=-{column_of(client)}"))) == 2
    text = text_of(client.get(f"{LIST}{person.pk}/change/"))
    assert ("This has no page on the site." in text) == (expected == "-")
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == (get_absolute_url is raises or "broken" in str(get_absolute_url(person)))
    assert get_absolute_url is not raises or logged == ["The page of auth.User cannot be told: LookupError: u000"]


def test_a_site_that_names_no_hosts_has_any(settings: Any) -> None:
    settings.ALLOWED_HOSTS = []
    assert page_beside(Article("https://any.example/a/"), lambda item: item.url) == "/a/"


@pytest.mark.django_db
def test_hostile_names_are_shown_as_they_are() -> None:
    client = client_with("view_statistics")
    charset = connection.settings_dict["TEST"].get("CHARSET")
    # the table of groups is Django's: a database that was made with latin1 holds no other names in it
    names = [name[:150] for name in HOSTILE if charset != "latin1" or name.isascii()]
    for number, name in enumerate(names):
        Group.objects.create(name=name)
        view(f"/groups/{name}/", number + 1)
    text = text_of(client.get("/admin/auth/group/"))
    assert "<script>alert" not in text
    shown = re.findall(r'pagestats-count">(?:<a[^>]*>)?(\d+)', text)
    assert sorted(shown) == [str(number + 1) for number in range(len(names))]
    for group in Group.objects.all():
        assert "<script>alert" not in text_of(client.get(f"/admin/auth/group/{group.pk}/change/"))


# -- the order


@pytest.mark.django_db
def test_a_list_is_sorted_by_page_views_over_all_of_its_pages() -> None:
    client = client_with("view_statistics")
    people(25)
    for n in range(25):
        view(f"/people/u{n:03}/", 1 + n * 7 % 25)
    view("/people/u003/", 500, days_ago=40)  # not in these days
    fold()
    view("/people/u000/", 30)
    number = column_of(client)

    def shown(query: str) -> list[int]:
        pages = [rows(client.get(f"{LIST}?o={query}&p={page}")) for page in (1, 2, 3)]
        return [int(count) for page in pages for _, count in page]

    counts = sorted([0, 31, *range(2, 26)])
    assert shown(f"{number}") == counts
    assert shown(f"-{number}") == counts[::-1]
    # of equal ones by what comes next, then by the primary key: the same on each page
    assert shown(f"-1.-{number}")[:3] == [0, *shown(f"-1.-{number}")[1:3]]
    found = client.get(f"{LIST}?o=-{number}&q=u00")
    assert [name for name, _ in rows(found)] == [
        name for name, _ in sorted(rows(client.get(f"{LIST}?q=u00")), key=lambda row: -int(row[1]))
    ]
    response = client.get(f"{LIST}?o=-{number}&_facets=True&is_staff__exact=0")
    assert [count for _, count in rows(response)][:2] == ["31", "25"]
    assert "sorted descending" in text_of(response)


@pytest.mark.django_db
def test_equal_objects_have_one_order_on_all_pages() -> None:
    client = client_with("view_statistics")
    people(25)
    number = column_of(client)
    names = [name for page in (1, 2, 3) for name, _ in rows(client.get(f"{LIST}?o=-{number}&p={page}"))]
    assert len(names) == len(set(names)) == 26


@pytest.mark.django_db
def test_the_order_is_that_of_the_numbers_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page view that comes between the order and the numbers would turn two rows round."""
    client = client_with("view_statistics")
    people(2)
    view("/people/u000/", 2)
    view("/people/u001/", 1)
    number = column_of(client)
    count = ordering.counted

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = count(*args, **kwargs)
        view("/people/u001/", 5)
        return found

    monkeypatch.setattr(ordering, "counted", counted)
    assert rows(client.get(f"{LIST}?o=-{number}"))[:2] == [("u000", "2"), ("u001", "1")]


@pytest.mark.django_db
def test_a_list_that_is_too_long_says_so_and_keeps_its_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with("view_statistics")
    people(4)
    view("/people/u002/", 2)
    number = column_of(client)
    monkeypatch.setattr(objects_site.PeopleAdmin, "statistics_sorted_up_to", 4)
    response = client.get(f"{LIST}?o=-{number}")
    assert [name for name, _ in rows(response)] == ["u000", "u001", "u002", "u003", "~editor"]
    assert "The list is not sorted by page views: it has more than 4 objects." in text_of(response)
    response = client.get(f"{LIST}?o=-{number}&q=u")
    assert "not sorted" not in text_of(response) and rows(response)[0] == ("u002", "2")


@pytest.mark.django_db
def test_what_is_done_to_a_sorted_list_is_done() -> None:
    """Actions on all, and editing in the list."""
    client = client_with("view_statistics", "delete_user")
    people(30)
    view("/people/u029/")
    url = f"{LIST}?o=-{column_of(client)}"
    first = client.get(url).context["cl"].result_list[0]
    assert first.username == "u029"
    data = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": first.pk, "form-0-is_staff": "on"}
    assert client.post(url, {**data, "_save": "Save"}).status_code == 302
    assert User.objects.get(username="u029").is_staff
    chosen = {"action": "delete_selected", "select_across": "1", "index": "0", "_selected_action": [first.pk]}
    assert "30 users" in text_of(client.post(f"{url}&q=u0", chosen)) or "u000" in text_of(
        client.post(f"{url}&q=u0", chosen)
    )
    client.post(f"{url}&q=u0", {**chosen, "post": "yes"})
    assert User.objects.count() == 1


def test_nobody_who_counts_is_an_order_by_primary_key() -> None:
    """A ChangeList of the site's own that knows nothing of page views."""
    sql = str(User.objects.order_by(ordering.ByPageViews().desc()).query)
    assert sql.endswith('ORDER BY "auth_user"."id" DESC') or sql.endswith("ORDER BY `auth_user`.`id` DESC")


@pytest.mark.django_db
def test_with_subpages_those_below_are_counted_as_one_set_and_the_labels_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objects_site.PeopleAdmin, "include_subpages", True)
    client = client_with("view_statistics")
    person, _ = people(2)
    view("/people/u000/", 3)
    view("/people/u000/cv/", 5)
    view("/people/u001/", 7)
    view("/people/u000", 9)  # another page, above it
    insert_page_views([("/people/u000/cv/", "key0", datetime.now(timezone.utc), {"source": "news.example"})])
    fold()
    view("/people/u000/cv/more/", 6, key="other")
    insert_page_views([("/people/u000/", "key1", datetime.now(timezone.utc), {"source": "(direct)"})])
    response = client.get(LIST)
    assert rows(response) == [("u000", "16"), ("u001", "7"), ("~editor", "0")]
    assert "Page views with subpages, 28 days" in text_of(response)
    assert text_of(response).count("pagestats-small-line") == 3
    number = column_of(client)
    assert [name for name, _ in rows(client.get(f"{LIST}?o=-{number}"))] == ["u000", "u001", "~editor"]
    text = text_of(client.get(f"{LIST}{person.pk}/change/"))
    assert "With subpages, last 28 days" in text
    box = text[text.index('class="pagestats-box"') :]
    # nobody is counted twice: five of the first pages, and six others
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", box) == [
        ("Page views", "16"),
        ("Visitors", "11"),
        ("Visits that began here", "2"),
    ]
    monkeypatch.setattr("django_pagestats.stats.trees.MOST_PAGES_BY_DAY", 0)
    assert rows(client.get(LIST))[0] == ("u000", "16"), "of very many pages, there is no line"
    assert "pagestats-small-line" not in text_of(client.get(LIST))
    assert "pagestats-small-line" not in text_of(client.get(f"{LIST}{person.pk}/change/"))


# -- objects in another database


GROUPS = "/admin/auth/group/"


@pytest.fixture
def groups_elsewhere(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Groups are objects in a database without any other table, and the statistics are not there."""
    from django.db.backends.sqlite3.base import DatabaseWrapper

    wanted = {**connection.settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "objects"}
    with second_database("objects", DatabaseWrapper({**wanted, "OPTIONS": {}}, "objects")):
        settings.DATABASE_ROUTERS = [ObjectsRouter()]
        with connections["objects"].schema_editor() as editor:
            editor.create_model(Group)
        monkeypatch.setattr(objects_site.GroupsAdmin, "fields", ("name",))  # permissions are in the other one
        monkeypatch.setattr(objects_site.GroupsAdmin, "search_fields", ("name",))
        yield connections["objects"]


def group_rows(response: Any) -> list[tuple[str, str]]:
    found = re.findall(r'field-__str__">(.*?)</th><td class="field-page_statistics">(.*?)</td>', text_of(response))
    return [(re.sub(r"<[^>]*>", "", name), re.sub(r"<[^>]*>", "", number)) for name, number in found]


@pytest.mark.django_db(transaction=True)
def test_objects_of_another_database_than_the_statistics(groups_elsewhere: Any) -> None:
    client = client_with("view_statistics", "change_group")
    groups = Group.objects.bulk_create([Group(name=f"g{n}") for n in range(5)])
    assert {group._state.db for group in groups} == {"objects"}
    view("/groups/g1/", 3)
    view("/groups/g3/", 7)
    fold()
    view("/groups/g3/", 2)
    column = client.get(GROUPS).context["cl"].list_display.index("page_statistics")
    with CaptureQueriesContext(groups_elsewhere) as there, CaptureQueriesContext(connection) as here:
        listed = group_rows(client.get(GROUPS))
        ordered = group_rows(client.get(f"{GROUPS}?o=-{column}"))
        found = group_rows(client.get(f"{GROUPS}?o={column}&q=3"))
        box = text_of(client.get(f"{GROUPS}{Group.objects.get(name='g3').pk}/change/"))
    assert sorted(listed) == [("g0", "0"), ("g1", "3"), ("g2", "0"), ("g3", "9"), ("g4", "0")]
    assert ordered == [("g3", "9"), ("g1", "3"), ("g4", "0"), ("g2", "0"), ("g0", "0")] and found == [("g3", "9")]
    numbers = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", box[box.index('class="pagestats-box"') :])
    assert numbers[:2] == [("Page views", "9"), ("Visitors", "7")]
    assert not [it["sql"] for it in there if "django_pagestats_" in it["sql"]]
    assert not [it["sql"] for it in here if re.search("auth_group.[.].name", it["sql"])]
    audit = text_of(client.get("/admin/django_pagestats/dashboard/audit/"))
    assert "Of 6 pages that the site has, nobody saw 4 in these days." in audit
    changed = client.post(f"{GROUPS}{groups[1].pk}/change/", {"name": "renamed"})
    assert changed.status_code == 302 and Group.objects.filter(name="renamed").exists()


@pytest.mark.django_db(transaction=True)
def test_objects_are_listed_while_the_database_of_the_statistics_fails(
    groups_elsewhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of the objects' is none of the statistics', and goes on."""
    client = client_with("view_statistics")
    Group.objects.bulk_create([Group(name=f"g{n}") for n in range(2)])

    def fail(using: str) -> bool:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
        raise AssertionError

    monkeypatch.setattr("django_pagestats.beside.recent.has_long_tail", fail)
    groups_elsewhere.settings_dict["ATOMIC_REQUESTS"] = True
    assert sorted(group_rows(client.get(GROUPS))) == [("g0", "-"), ("g1", "-")]
    page = client.get(f"{GROUPS}{Group.objects.get(name='g1').pk}/change/")
    assert "The statistics cannot be read at the moment." in text_of(page)


# -- what goes wrong


@pytest.mark.django_db
def test_statistics_that_cannot_be_read_break_no_page(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_with("view_statistics")
    (person,) = people(1)
    number = column_of(client)

    def fail(using: str) -> bool:
        raise DatabaseError("the table is gone")

    monkeypatch.setattr("django_pagestats.beside.recent.has_long_tail", fail)
    with caplog.at_level(logging.ERROR, "django_pagestats.harmless"):
        assert rows(client.get(LIST)) == [("u000", "-"), ("~editor", "-")]
        response = client.get(f"{LIST}?o=-{number}")
        assert "The list is not sorted by page views: they could not be counted." in text_of(response)
        assert rows(response) == [("u000", "-"), ("~editor", "-")]
        assert "The statistics cannot be read at the moment." in text_of(client.get(f"{LIST}{person.pk}/change/"))
    assert len(caplog.records) == 2 and all("the table is gone" in it.getMessage() for it in caplog.records)


@pytest.mark.django_db
def test_with_a_long_tail_numbers_are_those_that_are_folded_and_say_so(settings: Any) -> None:
    client = client_with("view_statistics")
    (person,) = people(1)
    view("/people/u000/", 3)
    fold()
    settings.PAGESTATS_TAIL_LIMIT = 2
    view("/people/u000/", 4)
    assert rows(client.get(LIST)) == [("u000", "≥ 3"), ("~editor", "≥ 0")]
    assert "At least: very many page views are not folded yet" in text_of(client.get(LIST))
    assert "Very many page views are not folded yet: they are not counted here." in text_of(
        client.get(f"{LIST}{person.pk}/change/")
    )


def test_objects_that_have_no_page_are_told_by_a_check() -> None:
    class Named(PageStatisticsMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        pass

    found = Named(Group, admin.AdminSite()).check()
    assert [it.id for it in found] == ["pagestats.W116"]
    assert "auth.Group has no get_absolute_url()" in found[0].msg
    assert objects_site.GroupsAdmin(Group, admin.AdminSite()).check() == []
    assert Named(User, admin.AdminSite()).check() == []


# -- the box


@pytest.mark.django_db
def test_the_box_has_the_numbers_of_the_objects_page() -> None:
    client = client_with("view_statistics")
    person, other = people(2)
    now = datetime.now(timezone.utc)
    mine, hers = f"/people/{person.username}/", f"/people/{other.username}/"
    news = {"source": "news.example"}
    folded = [
        (mine, "a", now, news),
        (mine, "a", now),
        (mine, "b", now - timedelta(days=3)),
        (hers, "b", now - timedelta(days=3), {"source": "<b>mail</b>"}),
        (hers, "c", now, news),
        (mine, "d", now - timedelta(days=30), news),
    ]
    insert_page_views(folded)
    fold()
    insert_page_views([(mine, "e", now, {"source": "search.example"}), (mine, "a", now)])
    text = text_of(client.get(f"{LIST}{person.pk}/change/"))
    box = text[text.index('class="pagestats-box"') :]
    numbers = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", box)
    assert numbers == [("Page views", "5"), ("Visitors", "3"), ("Visits that began here", "2")]
    sources = re.findall(r'<li><bdi title="[^"]*">(.*?)</bdi> <span class="pagestats-count">(\d+)</span>', box)
    # who came from there on any page in these days: exact, since they are sets
    assert sorted(sources) == [("&lt;b&gt;mail&lt;/b&gt;", "1"), ("news.example", "1"), ("search.example", "1")]
    assert " to " in box[box.index("pagestats-box-note") :] and 'role="img"' in box
    assert "Page statistics" in text and "Last 28 days" in text


@pytest.mark.django_db
def test_the_box_takes_few_statements_and_a_new_object_has_none() -> None:
    client = client_with("view_statistics")
    (person,) = people(1)
    make_page_views(400, with_attributes=True, start=datetime.now(timezone.utc) - timedelta(days=20), days=19)
    view("/people/u000/", 20)
    fold()
    view("/people/u000/", 3)
    with CaptureQueriesContext(connection) as captured:
        text_of(client.get(f"{LIST}{person.pk}/change/"))
    ours = [it["sql"] for it in captured if "django_pagestats_" in it["sql"]]
    assert len(ours) <= 28, len(ours)
    assert "pagestats-box" not in text_of(client.get(f"{LIST}add/"))


@pytest.mark.django_db
def test_a_form_with_the_box_is_saved_and_the_box_stands_where_the_site_wants_it() -> None:
    client = client_with("view_statistics")
    (person,) = people(1)
    url = f"{LIST}{person.pk}/change/"
    fieldsets = client.get(url).context["adminform"].fieldsets
    assert [list(options["fields"]) for _, options in fieldsets] == [
        ["username", ["first_name", "last_name"]],
        ["page_statistics_box"],
    ]
    assert client.post(url, {"username": "renamed", "first_name": "Ada"}).status_code == 302
    assert User.objects.get(pk=person.pk).first_name == "Ada"
    url = f"{STAFF_LIST}{person.pk}/change/"
    assert [name for name, _ in client.get(url).context["adminform"].fieldsets] == ["Who", "What"]
    assert text_of(client.get(url)).count('class="pagestats-box"') == 1
    assert client.get(STAFF_LIST).context["cl"].list_display == ["page_statistics", "username"]
    assert client.post(url, {"username": "again", "is_active": "on"}).status_code == 302


@pytest.mark.django_db
def test_the_link_to_a_pages_dashboard_is_there_where_the_site_has_one() -> None:
    client = client_with("view_statistics")
    (person,) = people(1)
    view("/people/u000/")
    link = 'href="/admin/django_pagestats/dashboard/page/?path=%2Fpeople%2Fu000%2F"'
    for where in (LIST, f"{LIST}{person.pk}/change/"):
        assert link in text_of(client.get(where))
    texts = [text_of(client.get(f"{STAFF_LIST}{rest}")) for rest in ("", f"{person.pk}/change/")]
    assert not any("?path=" in text for text in texts), "this site has no dashboard"


def test_a_number_is_a_link_where_there_is_something_to_lead_to() -> None:
    from django_pagestats.admin.beside import cell

    number = lists.Number(1_234, lists.SafeString("<svg></svg>"), is_exact=True)
    assert cell(number, "/x?path=%2F%3Cb%3E&y=1") == (
        '<span class="pagestats-cell"><span class="pagestats-count"><a href="/x?path=%2F%3Cb%3E&amp;y=1">1,234</a>'
        "</span><svg></svg></span>"
    )


@pytest.mark.django_db
def test_days_may_be_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_site.PeopleAdmin, "statistics_days", 1)
    client = client_with("view_statistics")
    (person,) = people(1)
    view("/people/u000/", 2)
    view("/people/u000/", 3, days_ago=1)
    response = client.get(LIST)
    assert rows(response)[0] == ("u000", "2") and "Page views, 1 day" in text_of(response)
    assert "pagestats-small-line" not in text_of(response)
    assert "Last 1 day" in text_of(client.get(f"{LIST}{person.pk}/change/"))
    monkeypatch.setattr(objects_site.PeopleAdmin, "statistics_days", 400)
    assert rows(client.get(LIST))[0] == ("u000", "5")


def test_a_long_time_has_a_line_of_few_points() -> None:
    days = Days(date(2025, 1, 1), date(2026, 1, 1))
    found = line_points({date(2025, 1, 1): 1, date(2025, 1, 5): 2, date(2025, 12, 31): 4}, days)
    assert len(found) == 73 and found[0] == 3 and found[-1] == 4 and sum(filter(None, found)) == 7
