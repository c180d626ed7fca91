"""SQLite keeps times as text: one way of writing them is counted, and every other one is refused by name everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection

from django_pagestats import backfill, folding, stats
from django_pagestats.exceptions import PageStatsError, UncountablePageViewError
from django_pagestats.merging import database_for
from django_pagestats.models import Generation, PageView
from tests.chains import active_generation, rows_upto
from tests.factories import START, insert_page_views, make_page_views, rows_of_any_kind
from tests.stats_oracle import Oracle

pytestmark = [
    pytest.mark.skipif(connection.vendor != "sqlite", reason="it has a type for times"),
    pytest.mark.django_db(transaction=True),
]

AT = datetime(2025, 3, 1, 23, 30, 59, tzinfo=timezone.utc)
#: how other writers write AT, and fractions of the second after it
WRITTEN = [
    "2025-03-02T01:30:59+02:00",
    "2025-03-02 01:30:59+02:00",
    "2025-03-01T23:30:59Z",
    "2025-03-01 23:30:59Z",
    "2025-03-01T23:30:59",
    "2025-03-01T20:00:59.125-03:30",
    "2025-03-01 23:30:59.999999+00:00",
]
INSERT = f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at) VALUES ('/', 'other', %s)"
DAY = {"start": date(2025, 3, 2), "end": date(2025, 3, 3)}


def insert(viewed_at: Any) -> int:
    with rows_of_any_kind(), connection.cursor() as cursor:
        cursor.execute(INSERT, [viewed_at])
        pk: int = cursor.lastrowid
    return pk


def long_tail(settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 1
    stats.count_page_views(**DAY)


#: whoever reads page views
READERS: dict[str, Callable[[Any], Any]] = {
    "a short tail": lambda settings: stats.count_page_views(**DAY),
    "a long tail": long_tail,
    "keeping up": lambda settings: folding.keep_up("default", seconds=5),
}


@pytest.mark.parametrize("viewed_at", WRITTEN)
def test_the_table_refuses_a_time_that_is_written_otherwise(viewed_at: str) -> None:
    with pytest.raises(IntegrityError, match="pagestats_viewed_at"), connection.cursor() as cursor:
        cursor.execute(INSERT, [viewed_at])
    assert not PageView.objects.exists()


@pytest.mark.once
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("viewed_at", WRITTEN)
def test_where_it_is_all_the_same_everybody_who_reads_it_names_it(reader: str, viewed_at: str, settings: Any) -> None:
    make_page_views(5)
    pk = insert(viewed_at)
    with pytest.raises(
        UncountablePageViewError, match=re.escape(f"Page view {pk} cannot be counted: its viewed_at is")
    ):
        READERS[reader](settings)


@pytest.mark.parametrize("viewed_at", WRITTEN)
def test_the_cure_that_is_told_makes_it_count_as_the_instant_that_it_is(viewed_at: str, settings: Any) -> None:
    rows = make_page_views(40, days=3)
    pk = insert(viewed_at)
    with pytest.raises(UncountablePageViewError) as told:
        stats.count_page_views()
    cure = re.search(r"\((UPDATE .*?)\) or", str(told.value))
    assert cure is not None
    with connection.cursor() as cursor:
        cursor.execute(cure.group(1))
    assert abs(PageView.objects.get(pk=pk).viewed_at - AT) < timedelta(seconds=1.001)
    oracle = Oracle(rows_upto())
    for limit in (1_000, 1):
        settings.PAGESTATS_TAIL_LIMIT = limit
        for first in range(-1, 4):
            start = START.date() + timedelta(days=first)
            assert stats.count_page_views(start=start) == oracle.page_views(None, start, None)
        assert stats.summary().first_viewed_at == min(row.viewed_at for row in [*rows, *rows_upto()])
    backfill.run_here("default", via="test")
    assert active_generation().cursor == pk
    assert stats.time_series("day", *DAY.values()) == oracle.days(*DAY.values())


def test_commands_tell_it(settings: Any) -> None:
    make_page_views(5)
    backfill.run_here("default", via="test")
    pk = insert("2025-03-02T01:30:59+02:00")
    with pytest.raises((CommandError, PageStatsError), match=f"Page view {pk} cannot be counted"):
        call_command("backfill_aggregates", "--sync", verbosity=0)
    Generation.objects.update(cursor=pk)
    out = StringIO()
    with pytest.raises(CommandError, match="1 difference"):
        call_command("verify_aggregates", stdout=out)
    assert f"Page view {pk} cannot be counted" in out.getvalue()


def test_djangos_own_fractions_are_read() -> None:
    at = [AT + timedelta(microseconds=fraction) for fraction in (0, 1, 500_000, 999_500, 999_999)]
    rows = insert_page_views([("/", "k", moment) for moment in at])
    found = database_for("default").read_page_views(0, None, 10)
    assert [row[3] for row in found] == [int(AT.timestamp())] * len(rows)
    database_for("default").check_countable(0, rows[-1].id)
