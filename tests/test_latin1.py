"""A database whose default character set is latin1, as MariaDB's was for years: our columns do not take it over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django_q.models import Schedule

from django_pagestats import backfill, stats
from django_pagestats.checks.tables import check_tables
from django_pagestats.models import BackfillRun, ImportSource, PageView, Subject, Visitor
from django_pagestats.verify import Verification
from tests.factories import PAGE, START, count_naively, insert_page_views

ALIAS = "latin1"
pytestmark = [
    pytest.mark.django_db(databases=["default", ALIAS]),
    pytest.mark.skipif(connection.vendor != "mysql", reason="only MariaDB and MySQL have it"),
]

PATHS = ["/", "/caf\u00e9", "/\u0436\u0443\u0440\u043d\u0430\u043b", "/\u65e5\u672c", "/\U0001f600", "/A", "/a"]
CYRILLIC = "\u0418\u0432\u0430\u043d"


@pytest.fixture(scope="module")
def latin1(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The alias of such a database, migrated."""
    settings = {**connection.settings_dict, "NAME": f"{connection.settings_dict['TEST']['NAME']}_latin1"}
    name = settings["NAME"]
    with django_db_blocker.unblock():
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET latin1")
        connections.databases[ALIAS] = settings
        call_command("migrate", "django_pagestats", database=ALIAS, verbosity=0)
        yield ALIAS
        connections[ALIAS].close()
        del connections[ALIAS], connections.databases[ALIAS]
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE `{name}`")
        Schedule.objects.filter(args__contains=ALIAS).delete()  # migrate makes one, outside of any test's transaction


@pytest.fixture
def using(latin1: str, no_settling: None) -> str:
    return latin1


def test_no_column_of_ours_is_of_the_databases_character_set(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, character_set_name FROM information_schema.columns WHERE table_schema ="
            " DATABASE() AND character_set_name IS NOT NULL AND table_name LIKE 'django\\_pagestats\\_%'"
        )
        columns = cursor.fetchall()
        cursor.execute(
            "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND table_name LIKE 'django\\_pagestats\\_%'"
        )
        tables = cursor.fetchall()
    assert len(columns) > 20
    assert {character_set for _, _, character_set in columns} == {"utf8mb4"}, columns
    assert {collation for _, collation in tables} == {"utf8mb4_unicode_ci"}, tables


@pytest.mark.parametrize("limit", [50_000, 2], ids=["short tail", "long tail"])
def test_every_answer_counts_any_path(using: str, limit: int, settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = limit
    views = [
        (path, f"{CYRILLIC} {number % 3}", START + timedelta(hours=number * 7))
        for number, path in enumerate(PATHS * 3, start=1)
    ]
    rows = insert_page_views(views[:11], using=using)
    backfill.run_here(using, via="test", actor=CYRILLIC)
    rows += insert_page_views(views[11:], using=using)
    naive = count_naively(rows)
    assert stats.count_paths(using=using) == naive.paths == len(PATHS)
    assert {page.path: (page.page_views, page.visitors) for page in stats.top_pages(limit=20, using=using)} == {
        path: (counted.page_views, counted.visitors) for path, counted in naive.pages.items()
    }
    summary = stats.summary(using=using)
    assert (summary.page_views, summary.visitors, summary.paths) == (len(views), 3, len(PATHS))
    for path in PATHS:
        assert stats.count_page_views(path, using=using) == naive.pages[path].page_views
        assert stats.count_unique_visitors(path, using=using) == naive.pages[path].visitors
    points = stats.time_series("day", date(2025, 3, 1), date(2025, 3, 9), using=using)
    assert [point.page_views for point in points] == [naive.days[point.start].page_views for point in points]
    assert list(Verification(using)) == []
    assert Subject.objects.using(using).filter(dimension=PAGE).count() <= len(PATHS)
    assert Visitor.objects.using(using).count() == 3


def test_actors_errors_and_reasons_keep_their_letters(using: str) -> None:
    insert_page_views([(PATHS[2], "x", START)], using=using)
    run = backfill.run_here(using, via="test", actor=CYRILLIC).run
    assert run is not None
    text = {"error": f"{PATHS[2]} {PATHS[4]}", "traceback": PATHS[2], "wait_reason": CYRILLIC, "requested_by": CYRILLIC}
    BackfillRun.objects.using(using).filter(pk=run.pk).update(**text)
    run.events.using(using).update(reason=PATHS[2])
    kept = BackfillRun.objects.using(using).get(pk=run.pk)
    assert {name: getattr(kept, name) for name in text} == text
    assert kept.actor == CYRILLIC
    assert {(event.actor, event.reason) for event in kept.events.using(using).all()} >= {(CYRILLIC, PATHS[2])}


def test_a_log_whose_name_is_beyond_latin1_is_imported(using: str, tmp_path: Path) -> None:
    log = tmp_path / f"{CYRILLIC}.log"
    log.write_text(
        '192.0.2.1 - - [01/Mar/2025:12:00:00 +0000] "GET /%D0%B6 HTTP/1.1" 200 5 "-" "Mozilla/5.0 (X11) Firefox/130"\n'
    )
    call_command("import_pageviews", str(log), database=using, verbosity=0)
    assert ImportSource.objects.using(using).get().name.endswith(log.name)
    assert PageView.objects.using(using).get().path == "/\u0436"


def test_a_column_that_somebody_made_latin1_is_told(using: str) -> None:
    alter = "ALTER TABLE django_pagestats_importsource MODIFY name varchar(255) CHARACTER SET {} NOT NULL"
    assert list(check_tables(using, connections[using])) == []
    with connections[using].cursor() as cursor:
        cursor.execute(alter.format("latin1"))
        [message] = check_tables(using, connections[using])
        cursor.execute(alter.format("utf8mb4 COLLATE utf8mb4_unicode_ci"))
    assert message.id == "pagestats.E044"
    assert "django_pagestats_importsource.name cannot hold" in message.msg
