"""Sites as they are: one of Wagtail, one with a database of its own for the app, one with ATOMIC_REQUESTS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from django_pagestats.models import PageView
from django_pagestats.recording import left_out
from testproject.settings import BASE_DIR
from tests import servers
from tests.recording_site import BROWSER, MIDDLEWARE


def told_by(module: str, settings: str, **environment: str) -> dict[str, Any]:
    """What a site says of itself in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PAGESTATS_DB": "sqlite", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.once
@pytest.mark.in_turn(0)
def test_a_wagtail_site(tmp_path: Path) -> None:
    if find_spec("wagtail") is None:
        servers.missing("wagtail is not installed")
    told = told_by(
        "tests.wagtail_site", "tests.wagtail_settings", PAGESTATS_WAGTAIL_NAME=str(tmp_path / "site.sqlite3")
    )
    assert told["statuses"] == [200, 200, 200, 404, 301, 404, 302, 200, 200, 200]
    assert told["pages"] == [["/", 1, 1], ["/about/", 1, 1], ["/news/", 1, 1]]
    assert told["left_out"] == {"staff": 1, "excluded_path": 2}


@pytest.mark.in_turn(2)
def test_a_site_with_a_database_of_its_own_for_the_app(tmp_path: Path) -> None:
    told = told_by(
        "tests.routed_site",
        "tests.own_database_settings",
        PAGESTATS_DB_NAME=str(tmp_path / "default.sqlite3"),
        PAGESTATS_STATS_NAME=str(tmp_path / "stats.sqlite3"),
    )
    assert told == {
        "pages": [["/", 2, 2], ["/users/7/", 1, 1]],
        "left_out": {"robot": 1, "duplicate": 1},
        "salts": 1,
        "beside": {
            "column": ["1", "0", "0", "0", "0"],
            "box": {"Page views": "1", "Visitors": "1", "Visits that began here": "1"},
            "unseen": True,
        },
    }


@pytest.mark.django_db(transaction=True)
def test_a_view_whose_transaction_is_rolled_back(settings: Any) -> None:
    """The middleware stands outside of ATOMIC_REQUESTS: what the view undoes is the view's."""
    settings.ROOT_URLCONF = "tests.recording_site"
    settings.MIDDLEWARE = [MIDDLEWARE]
    settings.PAGESTATS_ENABLED = True
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        client = Client(**BROWSER, raise_request_exception=False)
        statuses = [client.get(path).status_code for path in ("/", "/rolled-back/", "/failing/")]
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert statuses == [200, 200, 500]
    assert list(PageView.objects.order_by("pk").values_list("path", flat=True)) == ["/", "/rolled-back/"]
    assert left_out.counted() == {}
