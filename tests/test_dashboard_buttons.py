"""The buttons of a dashboard that a site has mounted: a backfill beyond the tail's limit, and a recount of days."""

from __future__ import annotations

from datetime import date, datetime, timezone
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from django_q.models import OrmQ

from django_pagestats.exceptions import QueueUnreachableError
from django_pagestats.models import BackfillRun, Check
from django_pagestats.views import DashboardView, dashboard_urls
from testproject.urls import urlpatterns
from tests.factories import insert_page_views, make_page_views
from tests.test_verify import fold

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_settling"), pytest.mark.in_turn(2)]

SITE, PUBLIC, ADMIN = "/numbers/", "/open/", "/admin/django_pagestats/dashboard/"
QUERY = "?range=free&from=2025-03-02&to=2025-03-08"
BACKFILL, CHECK = 'name="start" value="backfill"', 'name="start" value="check"'
COMMAND = "manage.py backfill_aggregates"
OWNER = ("view_statistics", "add_backfillrun", "view_backfillrun")


@pytest.fixture(autouse=True)
def mounted(settings: Any) -> None:
    module = ModuleType("mounted")
    module.urlpatterns = [  # type: ignore[attr-defined]
        *urlpatterns,
        path(SITE[1:], include(dashboard_urls())),
        path(PUBLIC[1:], DashboardView.as_view(public=True)),
    ]
    settings.ROOT_URLCONF = module
    settings.LOGIN_URL = "/login-of-the-site/"


@pytest.fixture(autouse=True)
def behind(settings: Any) -> None:
    """More page views than the limit of the tail are not folded, all of them of after the days of QUERY."""
    make_page_views(40, days=10, paths=4)
    fold()
    BackfillRun.objects.all().delete()
    settings.PAGESTATS_TAIL_LIMIT = 2
    insert_page_views((f"/{n}/", "key", datetime(2025, 4, 1, tzinfo=timezone.utc)) for n in range(5))
    OrmQ.objects.all().delete()


def client_with(*permissions: str) -> Client:
    user = User.objects.create_user(f"user{User.objects.count()}")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def text(client: Client, url: str = SITE) -> str:
    response = client.get(url + QUERY)
    assert response.status_code == 200
    return response.content.decode()


def press(client: Client, name: str, url: str = SITE) -> Any:
    token = client.get(url + QUERY).context["csrf_token"]
    return client.post(url + QUERY, {"csrfmiddlewaretoken": str(token), "start": name})


def test_a_backfill_is_started_on_each_page_and_told_there() -> None:
    client = client_with(*OWNER)
    for url in (SITE, f"{SITE}loyalty/", f"{SITE}audit/"):
        assert BACKFILL in (shown := text(client, url)) and COMMAND not in shown
        response = press(client, "backfill", url)
        assert (response.status_code, response["Location"]) == (302, url + QUERY)
        run = BackfillRun.objects.get()
        assert (run.via, run.actor, run.kind) == ("dashboard", "user0", "backfill")
        assert f"Run {run.pk}" in (shown := text(client, url)) and "<progress" in shown and BACKFILL not in shown
        assert press(client, "backfill", url).status_code == 302 and BackfillRun.objects.count() == 1, "one at a time"
        BackfillRun.objects.all().delete()


def test_the_days_that_are_shown_are_recounted() -> None:
    client = client_with("view_statistics", "add_backfillrun")
    shown = text(client)
    assert CHECK in shown and BACKFILL not in shown, "who may not see runs starts none"
    assert f"<code>{COMMAND}</code>" in shown
    response = press(client, "check")
    assert (response.status_code, response["Location"]) == (302, SITE + QUERY)
    check = Check.objects.get()
    assert (check.start, check.end, check.actor) == (date(2025, 3, 2), date(2025, 3, 9), "user0")
    assert "being recounted" in text(client)
    assert press(client, "backfill").status_code == 403 and not BackfillRun.objects.exists()


def test_who_may_and_how(settings: Any) -> None:
    owner = client_with(*OWNER)
    assert owner.post(SITE + QUERY, {"start": "backfill"}).status_code == 403, "no token"
    assert press(owner, "<nothing>").status_code == 403
    # without the middleware, too, which a site may not have
    without_csrf(settings)
    owner = client_with(*OWNER)
    assert owner.post(SITE + QUERY, {"start": "check"}).status_code == 403
    assert not Check.objects.exists() and press(owner, "check").status_code == 302 and Check.objects.exists()
    for names in (OWNER[:1], (OWNER[0], OWNER[2]), OWNER[1:]):
        client = client_with(*names)
        client.handler.enforce_csrf_checks = False
        shown = client.get(SITE + QUERY).content.decode()
        assert BACKFILL not in shown and CHECK not in shown and COMMAND not in shown
        assert names == OWNER[1:] or ("too many for keeping up: these numbers" in shown and "Start a" not in shown)
        for name in ("backfill", "check"):
            assert client.post(SITE + QUERY, {"start": name}).status_code == 403
    assert Client().post(SITE, {"start": "check"})["Location"].startswith("/login-of-the-site/")
    assert Check.objects.count() == 1 and not BackfillRun.objects.exists()


def without_csrf(settings: Any) -> None:
    """For the clients that are made from here on."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("CsrfViewMiddleware")]


def test_a_public_page_starts_nothing_for_anybody(settings: Any) -> None:
    settings.CSRF_USE_SESSIONS = True  # to look for a token would be to look at the session, and vary by its cookie
    without_csrf(settings)
    chief = Client()
    chief.force_login(User.objects.create_superuser("chief"))
    shown = chief.get(PUBLIC + QUERY)
    assert BACKFILL not in (told := shown.content.decode()) and CHECK not in told and "csrf" not in told
    assert shown.cookies == {} and not shown.has_header("Vary")
    for name in ("backfill", "check"):
        response = chief.post(PUBLIC + QUERY, {"start": name})
        assert response.status_code == 405 and response["Allow"] == "GET, HEAD, OPTIONS"
    assert not Check.objects.exists() and not BackfillRun.objects.exists()
    assert chief.post(ADMIN, {"start": "backfill"}).status_code == 405, "its buttons have URLs of their own"


def test_what_fails_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(*OWNER)

    def unreachable(*args: Any, **kwargs: Any) -> HttpResponse:
        raise QueueUnreachableError("no <b>queue</b> today")

    monkeypatch.setattr("django_pagestats.tasks.start_check", unreachable)
    monkeypatch.setattr("django_pagestats.tasks.start_backfill", unreachable)
    for name, what in (("check", "recount"), ("backfill", "backfill")):
        response = press(client, name)
        assert response.status_code == 503
        shown = response.content.decode()
        assert (
            f"The {what} could not be started: no &lt;b&gt;queue" in shown
            and CHECK in shown
            and "March 2, 2025" in shown
        )


def test_without_a_queue_there_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_pagestats.tasks.queue_is_installed", lambda: False)
    client = client_with(*OWNER)
    shown = text(client)
    assert BACKFILL not in shown and CHECK not in shown
    assert "manage.py verify_aggregates --start 2025-03-02 --end 2025-03-09" in shown
    assert f"<code>{COMMAND} --sync</code>" in shown and "Start a backfill" not in shown
    client.handler.enforce_csrf_checks = False
    for name in ("backfill", "check"):
        assert client.post(SITE + QUERY, {"start": name}).status_code == 403
