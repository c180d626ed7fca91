"""MariaDB behind a connection that does not carry every character: nothing is stored, folded or answered wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.utils import timezone

from django_pagestats import backfill, folding, intake, stats, tasks
from django_pagestats.exceptions import GarbledTextError
from django_pagestats.importing import Fields, import_model
from django_pagestats.models import PageView, Subject
from django_pagestats.recording import record_page_view, record_page_views
from django_pagestats.verify import Verification
from testproject.settings import KIND
from tests.factories import insert_page_views

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(KIND != "mariadb", reason="the other databases' connections have one character set"),
    pytest.mark.usefixtures("short_waits"),
]

EMOJI = ["/😀", "/😁"]


@pytest.fixture(params=["charset", "names"])
def garbling(request: pytest.FixtureRequest, database: dict[str, Any]) -> Iterator[None]:
    """What old recipes write; the page views are those of another writer, whose connection is as it should be."""
    insert_page_views([(path, "v", timezone.now()) for path in EMOJI])
    database["OPTIONS"] = {"sql_mode": "", **({"charset": "utf8mb3"} if request.param == "charset" else {})}
    connection.close()
    if request.param == "names":
        with connection.cursor() as cursor:
            cursor.execute("SET NAMES utf8mb3")
    yield
    connection.close()


@pytest.mark.usefixtures("garbling")
def test_nothing_is_folded() -> None:
    run = backfill.run_here("default", via="test").run
    assert run is not None
    assert (run.status, run.rows_folded, run.failure_count) == ("failed", 0, 0), "no use in trying again"
    assert 'Write DATABASES[\'default\']["OPTIONS"]["charset"] = "utf8mb4"' in run.error
    tasks.tend("default")
    assert folding.active_generation("default").cursor == 0  # type: ignore[union-attr]
    assert not Subject.objects.exists()


@pytest.mark.usefixtures("garbling")
def test_nothing_is_answered_or_verified() -> None:
    folding.ensure_active_generation("default")
    for ask in (
        stats.top_pages,
        lambda: stats.count_page_views(path=EMOJI[0]),
        stats.active_pages,
        stats.active_visitors,
        lambda: list(Verification("default")),
    ):
        with pytest.raises(GarbledTextError, match="character_set_results is utf8mb3"):
            ask()


@pytest.mark.usefixtures("garbling")
def test_nothing_is_stored(caplog: pytest.LogCaptureFixture) -> None:
    assert record_page_view(path="/plain", session_key="v")
    assert not record_page_view(path=EMOJI[0], session_key="v")
    assert not record_page_view(path="/plain", session_key=EMOJI[0])
    assert "does not carry every character" in caplog.text
    with pytest.raises(GarbledTextError):
        record_page_views([("/plain", "v"), (EMOJI[0], "v")])
    with pytest.raises(GarbledTextError):
        intake.insert([intake.Row("/plain", "v", timezone.now())], using="default")
    assert PageView.objects.count() == len(EMOJI) + 1


def test_nothing_is_imported_from_a_model_that_is_read_so() -> None:
    source = connection.copy("source")
    source.settings_dict = {**source.settings_dict, "OPTIONS": {"charset": "utf8mb3"}}
    connections["source"] = source
    try:
        with pytest.raises(GarbledTextError, match=r"DATABASES\['source'\] does not carry"):
            import_model(User, fields=Fields("username", "username", "date_joined"), source_using="source")
    finally:
        source.close()
        delattr(connections._connections, "source")  # type: ignore[attr-defined]


def test_a_right_connection_is_asked_once(django_assert_num_queries: Any) -> None:
    connection.close()
    asked = []
    session = connection.Database.connections.Connection.cursor
    connection.ensure_connection()
    connection.connection.cursor = lambda *args: (asked.append(args), session(connection.connection, *args))[1]
    with django_assert_num_queries(2):
        for path in EMOJI:
            assert record_page_view(path=path, session_key="v")
    # each INSERT, and the one question of the driver
    assert len(asked) == 3
    assert set(PageView.objects.values_list("path", flat=True)) == set(EMOJI)
