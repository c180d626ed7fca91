"""A site's own AdminSite: every link, button and message stays on the site that it is on."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_pagestats import backfill
from django_pagestats.models import BackfillRun, Generation
from tests import second_site
from tests.chains import the_run
from tests.factories import make_page_views
from tests.test_admin import messages_of

STAFF = "/staff/django_pagestats/"
#: where pages that are no part of an admin come from
STATIC = re.compile(r"/static/|/?$|\?|#")


@pytest.fixture(params=["alone", "beside"])
def urls(request: pytest.FixtureRequest, settings: Any) -> ModuleType:
    settings.ROOT_URLCONF = getattr(second_site, request.param)
    return settings.ROOT_URLCONF


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def links(response: Any) -> list[str]:
    found = re.findall(r'(?:href|action|src|data-progress-url)="([^"]*)"', response.content.decode())
    return [url for url in found if not STATIC.match(url)]


def assert_stays(response: Any) -> None:
    assert response.status_code == 200
    urls = links(response)
    assert len(urls) > 3
    assert [url for url in urls if not url.startswith("/staff/")] == []


@pytest.mark.usefixtures("urls")
def test_every_link_of_every_page_stays_on_the_site(root: Client) -> None:
    make_page_views(60)
    backfill.run_here("default", via="test")
    backfill.run_here("default", kind="rebuild", via="test", keep_old=True)
    answer = root.post(f"{STAFF}backfillrun/backfill/")
    assert answer["Location"] == f"{STAFF}backfillrun/"
    make_page_views(5, seed=2)
    assert root.post(f"{STAFF}pageview/backfill/")["Location"] == f"{STAFF}pageview/"
    kept = Generation.objects.exclude(kept_at=None).get()
    run = the_run()
    for page in (
        "",
        "backfillrun/",
        f"backfillrun/{run.pk}/change/",
        f"backfillrun/{run.pk}/history/",
        f"backfillrun/{run.pk}/cancel/",
        "pageview/",
        "generation/",
        f"generation/{kept.pk}/change/",
        f"generation/{kept.pk}/activate/",
        f"generation/{kept.pk}/discard/",
        "importsource/",
        "leftout/",
        "dashboard/",
    ):
        assert_stays(root.get(STAFF + page))
    for verb in ("pause", "resume", "nice", "cancel"):
        data = {"nice": "2"} if verb == "nice" else {}
        answer = root.post(f"{STAFF}backfillrun/{run.pk}/{verb}/", data)
        assert answer["Location"] == f"{STAFF}backfillrun/{run.pk}/change/"
        assert_stays(root.get(answer["Location"]))
    assert root.post(f"{STAFF}generation/{kept.pk}/discard/")["Location"] == f"{STAFF}generation/{kept.pk}/change/"


@pytest.mark.usefixtures("urls")
@pytest.mark.parametrize("how", ["button", "action"])
def test_the_message_links_to_the_run_on_the_same_site(how: str, root: Client) -> None:
    make_page_views(5)
    if how == "button":
        root.post(f"{STAFF}pageview/backfill/")
    else:
        root.post(f"{STAFF}pageview/", {"action": "backfill_aggregates", "index": "0"})
    (message,) = messages_of(root.get(f"{STAFF}pageview/"))
    assert f'<a href="{STAFF}backfillrun/{the_run().pk}/change/">' in message


@pytest.mark.usefixtures("urls")
def test_a_site_that_shows_no_runs_has_a_message_without_a_link(root: Client) -> None:
    make_page_views(5)
    page = "/few/django_pagestats/pageview/"
    assert root.post(f"{page}backfill/")["Location"] == page
    (message,) = messages_of(root.get(page))
    assert message.startswith("Backfill started: run ") and "<a" not in message
    assert BackfillRun.objects.count() == 1


@pytest.mark.usefixtures("urls")
def test_a_stranger_logs_in_on_the_same_site(db: None) -> None:
    for url in (f"{STAFF}backfillrun/backfill/", f"{STAFF}backfillrun/1/cancel/", f"{STAFF}backfillrun/1/progress/"):
        assert Client().get(url)["Location"].startswith("/staff/login/")
