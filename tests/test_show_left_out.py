"""The command and the admin's list of what was left out."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory, override_settings
from django.utils import translation
from django.utils.translation import gettext_lazy

from django_pagestats.admin import left_out as door
from django_pagestats.management.commands import show_left_out
from django_pagestats.models import LeftOut, PageView, Reason
from django_pagestats.recording import left_out
from tests.test_admin import PAGE_VIEWS, log_in, make_user
from tests.test_admin import root as root

pytestmark = pytest.mark.django_db

LIST = "/admin/django_pagestats/leftout/"
NOW = datetime(2025, 3, 2, 12, tzinfo=timezone.utc)
COUNTS = [
    (date(2025, 3, 2), Reason.ROBOT, 12_345),
    (date(2025, 3, 2), Reason.NEW_VALUE, 5),
    (date(2025, 3, 1), Reason.ROBOT, 1_000),
    (date(2025, 3, 1), Reason.DUPLICATE, 3_000),
    (date(2025, 2, 1), Reason.GPC, 7),
]


@pytest.fixture
def rows() -> None:
    LeftOut.objects.bulk_create([LeftOut(day=day, reason=reason, count=count) for day, reason, count in COUNTS])


@pytest.fixture
def march(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOW.astimezone(tz)

    monkeypatch.setattr(show_left_out, "datetime", Clock)


def show(*words: str) -> str:
    out = StringIO()
    call_command("show_left_out", *words, stdout=out)
    return out.getvalue()


# -- the command

TABLE = """\
day         reason       count
2025-03-02  robot       12,345
2025-03-02  new_value        5
2025-03-01  duplicate    3,000
2025-03-01  robot        1,000

in all      robot       13,345
in all      duplicate    3,000
in all      new_value        5
in all      page views  16,345
"""


@pytest.mark.usefixtures("rows", "march")
def test_a_line_for_each_day_and_reason() -> None:
    assert show("--days", "2") == TABLE, "what cost an attribute only left no page view out"
    assert "2025-02-01  gpc" in show(), "30 days, today included"
    assert "gpc" not in show("--days", "29")


@pytest.mark.usefixtures("rows", "march")
def test_one_object() -> None:
    assert json.loads(show("--days", "1", "--json")) == {
        "database": "default",
        "time_zone": "UTC",
        "first_day": "2025-03-02",
        "last_day": "2025-03-02",
        "left_out": [
            {"day": "2025-03-02", "reason": "robot", "count": 12_345},
            {"day": "2025-03-02", "reason": "new_value", "count": 5},
        ],
        "totals": {"robot": 12_345, "new_value": 5},
        "page_views": 12_345,
    }


@pytest.mark.usefixtures("march")
def test_where_nothing_was_left_out() -> None:
    assert show("--days", "7") == "Nothing was left out from 2025-02-24 to 2025-03-02.\n"
    assert json.loads(show("--json"))["left_out"] == []


@pytest.mark.usefixtures("march")
def test_today_is_a_local_day() -> None:
    with override_settings(PAGESTATS_TIME_ZONE="Pacific/Kiritimati"):
        assert json.loads(show("--days", "1", "--json"))["last_day"] == "2025-03-03"


def test_what_this_process_has_counted_is_in_it() -> None:
    left_out.count(Reason.STAFF, number=9)
    assert json.loads(show("--json"))["totals"] == {"staff": 9}
    assert left_out.counted() == {}


@pytest.mark.parametrize("days", ["0", "-1", "1000000"])
def test_days_that_will_not_do(days: str) -> None:
    with pytest.raises(CommandError, match=f"--days {days}: 1 to 100,000"):
        show("--days", days)


def test_a_database_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="There is no database 'other'"):
        show("--database", "other")


# -- the admin


def text(client: Client, query: str = "") -> str:
    return client.get(LIST + query).content.decode()


@pytest.mark.usefixtures("rows")
def test_the_list_has_each_day_with_its_reason_and_the_sums(root: Client) -> None:
    page = text(root)
    for label in ("robot", "duplicate", "too many new values", "Global Privacy Control"):
        assert label in page
    assert '<tr><th scope="row">robot</th><td class="pagestats-number">13,345</td></tr>' in page
    assert '<th scope="row">Page views left out</th><td class="pagestats-number">16,352</td>' in page
    assert "12,345" in page and "What is not counted, by local day and reason" in page


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("query", "total"),
    [("?reason=robot", "13,345"), ("?day__year=2025&day__month=2", "7"), ("?reason=new_value", "0")],
)
def test_the_sums_are_of_what_is_listed(root: Client, query: str, total: str) -> None:
    assert f'<th scope="row">Page views left out</th><td class="pagestats-number">{total}</td>' in text(root, query)


def test_the_sums_are_of_all_pages_of_the_list(root: Client) -> None:
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(250)]
    LeftOut.objects.bulk_create([LeftOut(day=day, reason="robot", count=2) for day in days])
    for query in "", "?p=2":
        assert '<th scope="row">robot</th><td class="pagestats-number">500</td>' in text(root, query)


def test_without_rows_there_are_no_sums(root: Client) -> None:
    page = text(root)
    assert "pagestats-totals" not in page and "What is not counted" in page


@pytest.mark.usefixtures("rows")
def test_reasons_are_told_in_the_language_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(door.LABELS, "robot", gettext_lazy("Yes"))  # which Django has in German
    assert door.label("robot") == "Yes"
    with translation.override("de"):
        assert door.label("robot") == "Ja"
    assert door.label("of a newer release") == "of a newer release"


def test_every_reason_has_a_label_of_its_own() -> None:
    labels = [door.label(reason) for reason in Reason]
    assert len(set(labels)) == len(Reason) and all(labels)


def test_the_list_of_page_views_leads_to_it(root: Client) -> None:
    PageView.objects.create(path="/", session_key="k", viewed_at=NOW)
    link = f'<a href="{LIST}">What is left out</a>'
    assert link in root.get(PAGE_VIEWS).content.decode()
    client = log_in("view_pageview")
    assert link not in client.get(PAGE_VIEWS).content.decode(), "whoever may not see it gets no link"
    client = Client()
    client.force_login(make_user("view_pageview", "view_leftout", name="bob"))
    assert link in client.get(PAGE_VIEWS).content.decode()


def test_a_site_without_the_list_has_no_link(rf: RequestFactory) -> None:
    assert door.left_out_url(AdminSite("other"), rf.get("/")) is None
