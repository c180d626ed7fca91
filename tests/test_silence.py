"""When the last page view was, and a warning if that is long ago."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from django_pagestats import backfill
from django_pagestats.models import PageView
from django_pagestats.silence import last_viewed_at, silence
from tests.factories import START, insert_page_views
from tests.test_admin import RUNS
from tests.test_admin import root as root
from tests.test_stats_queries import accesses
from tests.test_stats_queries import many as many

pytestmark = pytest.mark.django_db

NOW = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


def status(*words: str) -> str:
    out = StringIO()
    call_command("backfill_aggregates", "--status", *words, stdout=out)
    return out.getvalue()


def view(at: datetime) -> None:
    insert_page_views([("/", "k", at)])


def test_the_last_page_view_is_the_latest_one_by_its_time() -> None:
    assert last_viewed_at("default", NOW) is None
    view(NOW - timedelta(hours=2))
    view(NOW - timedelta(hours=3))  # of a later id, as an import may bring
    view(NOW + timedelta(days=3))  # of a clock that is wrong
    assert last_viewed_at("default", NOW) == NOW - timedelta(hours=2)
    view(NOW)
    assert last_viewed_at("default", NOW) == NOW


@pytest.mark.once
@pytest.mark.usefixtures("many")
def test_it_is_found_by_the_index_of_the_times() -> None:
    assert accesses(lambda: last_viewed_at("default", NOW)) == {("page views", "by pagestats_viewed_at")}


@pytest.mark.parametrize(
    ("hours", "ago", "is_told"),
    [(0, 1e6, False), (24, 23.99, False), (24, 24, True), (0.5, 0.51, True), (24, None, True), (0, None, False)],
)
def test_when_it_is_a_silence(hours: float, ago: float | None, is_told: bool, settings: Any) -> None:
    settings.PAGESTATS_SILENCE_HOURS = hours
    last = None if ago is None else NOW - timedelta(hours=ago)
    assert bool(silence(last, NOW)) == is_told


def test_the_status_has_both(settings: Any) -> None:
    found = json.loads(status("--json"))
    assert (found["status"], found["last_viewed_at"], found["silence"]) == ("none", None, None)
    assert "last page view" not in status()
    view(START)
    assert backfill.status("default")["last_viewed_at"] == START.isoformat()
    assert "The last page view is of 2025-03-01 00:00:00 UTC." in status()
    settings.PAGESTATS_SILENCE_HOURS = 24
    told = "No page view came in since 2025-03-01 00:00:00 UTC, and PAGESTATS_SILENCE_HOURS is 24: look whether"
    assert told in status() and "The last page view is of" not in status()
    backfill.run_here("default", via="test")
    found = json.loads(status("--json"))
    assert found["status"] == "succeeded" and found["last_viewed_at"] == START.isoformat()
    assert found["silence"].startswith(told) and found["problem"] is None, "the aggregates are right all the same"
    view(datetime.now(timezone.utc) - timedelta(hours=1))
    assert json.loads(status("--json"))["silence"] is None


def test_the_list_of_runs_has_both(root: Client, settings: Any) -> None:
    view(START)
    page = root.get(RUNS).content.decode()
    assert "Last page view: 2025-03-01 00:00:00" in page and "messagelist" not in page
    settings.PAGESTATS_SILENCE_HOURS = 24
    page = root.get(RUNS).content.decode()
    assert '<li class="warning">No page view came in since 2025-03-01 00:00:00 UTC' in page
    settings.PAGESTATS_TAIL_LIMIT = 1
    view(START)
    page = root.get(RUNS).content.decode()
    assert "No page view came in since" in page and "More than 1 page views are not folded yet" in page
    PageView.objects.all().delete()
    assert "No page view was ever recorded" in root.get(RUNS).content.decode()
