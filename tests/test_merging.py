"""Merging tallies into the aggregates: exact for sets of every kind, in bounded portions, by the primary key."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from pyroaring import BitMap

from django_pagestats import backfill, folding, merging
from django_pagestats.buckets import DAY_SECONDS, Calendar
from django_pagestats.exceptions import UnreadableSetError
from django_pagestats.ids import subject_ids, visitor_ids
from django_pagestats.merging import database_for
from django_pagestats.merging.lookup import LookupDatabase
from django_pagestats.models import Aggregate, PageView, Subject, Visitor
from django_pagestats.tally import PAGE_DAY, Counts, Level, Tally, tally
from tests.chains import only_on
from tests.factories import START, insert_page_views, make_page_views

GENERATION = 7
UTC = Calendar("UTC")
#: subject, visitor, day
View = tuple[int, int, int]
Database = type(database_for("default"))


def tally_of(views: list[View]) -> Tally:
    return tally(((subject, visitor, day * DAY_SECONDS + 5) for subject, visitor, day in views), UTC)


def levels_of(tallied: Tally) -> list[tuple[Level, Counts]]:
    return [*tallied.of_times(), *tallied.of_all_time(0)]


def merge(views: list[View], generation: int = GENERATION) -> None:
    with transaction.atomic():
        database = database_for("default")
        database.merge(generation, database.prepare(levels_of(tally_of(views))))


def expected(views: list[View]) -> dict[tuple[int, ...], tuple[int, int, BitMap]]:
    visitors: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for subject, visitor, day in views:
        for key in ((1, 1, day * 24, 0), (1, 2, day, 0), (1, 3, 0, 0), (2, 2, day, subject), (2, 3, 0, subject)):
            visitors[key].append(visitor)
    return {key: (len(found), len(set(found)), BitMap(found)) for key, found in visitors.items()}


def stored(generation: int = GENERATION) -> dict[tuple[int, ...], tuple[int, int, BitMap]]:
    return {
        (row.dimension, row.granularity, row.bucket, row.subject): (
            row.page_views,
            row.visitors,
            BitMap.deserialize(bytes(row.visitor_set)),
        )
        for row in Aggregate.objects.filter(generation=generation)
    }


#: the three kinds of container that a Roaring bitmap has: sparse ids, dense ones, runs; and the ends of 16 and 32 bits
visitor_lists = st.one_of(
    st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=30),
    st.builds(lambda seed: random.Random(seed).sample(range(1, 60_000), 5_000), st.integers(0, 50)),
    st.builds(lambda start, length: list(range(start, start + length)), st.integers(1, 70_000), st.integers(1, 3_000)),
    st.lists(st.sampled_from([1, 0xFFFF, 0x10000, 0x1FFFF, 2**31, 2**32 - 1]), min_size=1, max_size=4),
)
chunks = st.lists(
    st.tuples(st.integers(1, 3), st.integers(20_000, 20_003), visitor_lists).map(
        lambda drawn: [(drawn[0], visitor, drawn[1]) for visitor in drawn[2]]
    ),
    min_size=1,
    max_size=5,
)


class MergeTest(TestCase):
    @settings(max_examples=25 if connection.vendor == "sqlite" else 12)
    @given(chunks, st.sampled_from([(1_000, 2_000, 8_000_000), (3, 2, 40), (0, 1, 1)]))
    def test_merged_one_by_one_or_counted_at_once(self, chunks: list[list[View]], bounds: tuple[int, int, int]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in zip(("INLINE_VISITORS", "LOOKUP_ROWS", "PORTION_BYTES"), bounds, strict=True):
                patch.setattr(LookupDatabase, name, value)
            for number in range(len(chunks)):
                merge(chunks[number])
                assert stored() == expected([view for chunk in chunks[: number + 1] for view in chunk])


@pytest.mark.django_db
def test_sets_of_all_kinds_larger_than_what_comes_along_with_a_row() -> None:
    dice = random.Random(3)
    first = [
        *((1, visitor, 20_000) for visitor in range(1, 2_500)),
        *((2, visitor, 20_001) for visitor in dice.sample(range(1, 2**32), 1_500)),
        *((3, visitor, 20_001) for visitor in dice.sample(range(1, 60_000), 6_000)),
    ]
    second = [(subject, visitor + 1, day) for subject, visitor, day in dice.sample(first, 4_000) if visitor < 2**31]
    merge(first)
    merge(second)
    assert stored() == expected(first + second)


@pytest.mark.django_db
def test_generations_do_not_mix() -> None:
    merge([(1, 5, 20_000)], generation=1)
    merge([(1, 6, 20_000), (2, 6, 20_001)], generation=2)
    merge([(2, 7, 20_002)], generation=1)
    assert stored(1) == expected([(1, 5, 20_000), (2, 7, 20_002)])
    assert stored(2) == expected([(1, 6, 20_000), (2, 6, 20_001)])


@pytest.mark.django_db
def test_earlier_days_than_those_that_are_stored() -> None:
    views = [(1, 5, 20_000), (1, 6, 19_000), (1, 6, 20_500), (1, 7, 0), (2, 7, 19_500), (1, 5, 20_000)]
    for view in views:
        merge([view])
    assert stored() == expected(views)


@pytest.mark.django_db
def test_an_empty_tally_changes_nothing() -> None:
    merge([(1, 5, 20_000)])
    merge([])
    assert stored() == expected([(1, 5, 20_000)])


# -- bounds


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every statement with its parameters, but COPY."""
    seen: list[tuple[str, Any]] = []

    def see(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(see):
        yield seen


@only_on("postgresql", "mysql")
@pytest.mark.django_db
def test_old_sets_are_read_in_portions_of_rows_and_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    views = [(subject, visitor, 20_000) for subject in range(1, 31) for visitor in range(1, 1 + (subject % 3) * 10)]
    merge(views)
    seen: list[tuple[int, int | None, int]] = []
    lookup = Database._lookup

    def see(self: Any, generation: int, level: Any, keys: Any, inline_visitors: int | None) -> Any:
        rows = lookup(self, generation, level, keys, inline_visitors)
        seen.append((len(keys), inline_visitors, sum(len(row.visitor_set or b"") for row in rows)))
        return rows

    monkeypatch.setattr(Database, "_lookup", see)
    monkeypatch.setattr(Database, "LOOKUP_ROWS", 8)
    monkeypatch.setattr(Database, "INLINE_VISITORS", 15)
    monkeypatch.setattr(Database, "PORTION_BYTES", 500)
    merge(views)
    assert stored() == expected(views + views)
    assert max(keys for keys, _, _ in seen) == 8
    assert {inline for _, inline, _ in seen} == {15, None}
    large = [size for _, inline, size in seen if inline is None]
    assert len(large) >= 10
    assert max(large) <= 500
    assert all(size <= 8 * (10 * 15 + 16) for _, inline, size in seen if inline is not None)


# -- what SQLite does by itself


@only_on("sqlite")
@pytest.mark.django_db(transaction=True)
def test_sqlite_has_its_function_again_after_a_new_connection() -> None:
    for number in range(3):
        merge([(1, number, 20_000)])
        connection.close()
    assert stored() == expected([(1, number, 20_000) for number in range(3)])


@pytest.mark.django_db
def test_a_set_that_cannot_be_read_says_so() -> None:
    merge([(1, 1, 20_000)])
    Aggregate.objects.update(visitor_set=b"no bitmap")
    with pytest.raises(UnreadableSetError, match="--repair counts anew"), transaction.atomic():
        merge([(1, 2, 20_000)])
    assert {row.page_views for row in Aggregate.objects.all()} == {1}


@only_on("sqlite")
@pytest.mark.django_db
@pytest.mark.parametrize(("before", "meanwhile"), [(1_000, 10_000), (20_000, 20_000), (0, 0)])
def test_the_wal_may_grow_while_it_folds_and_not_after(before: int, meanwhile: int) -> None:
    def checkpoint_pages() -> int:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_autocheckpoint")
            return int(cursor.fetchone()[0])

    default = checkpoint_pages()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA wal_autocheckpoint = {before}")
        with folding.Folder("default", folding.ensure_active_generation("default")):
            assert checkpoint_pages() == meanwhile
        assert checkpoint_pages() == before
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA wal_autocheckpoint = {default}")


@pytest.mark.django_db
def test_mariadb_statements_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "mysql":
        return
    monkeypatch.setattr(Database, "STATEMENT_BYTES", 2_000)
    views = [(subject, visitor * 70_000, 20_000) for subject in range(1, 40) for visitor in range(1, 20)]
    for _ in range(2):
        with statements() as seen:
            merge(views)
        inserts = [sql for sql, _ in seen if sql.startswith("INSERT")]
        assert len(inserts) > 10
        one_row = max(2 * len(row.visitor_set) for row in Aggregate.objects.all()) + 100
        assert max(map(len, inserts)) <= 2_000 + one_row + 500


@pytest.mark.django_db
def test_deleting_goes_no_further_than_it_was_told() -> None:
    merge([(subject, subject, 20_000) for subject in range(1, 11)])
    merge([(1, 1, 20_000)], generation=GENERATION + 1)
    database = database_for("default")
    assert database.delete_aggregates(GENERATION, 15) == 15
    assert Aggregate.objects.filter(generation=GENERATION).count() == 8
    assert database.delete_aggregates(GENERATION, 15) == 8
    assert database.delete_aggregates(GENERATION, 15) == 0
    assert stored(GENERATION + 1) == expected([(1, 1, 20_000)])


# -- reading page views


@pytest.mark.django_db
def test_page_views_are_read_in_the_order_of_their_ids_with_both_bounds() -> None:
    rows = make_page_views(30, seed=4)
    database = database_for("default")
    wanted = [(row.id, row.path, row.session_key, int(row.viewed_at.timestamp() // 1)) for row in rows]
    assert [tuple(row) for row in database.read_page_views(0, None, 100)] == wanted
    assert [tuple(row) for row in database.read_page_views(rows[4].id, rows[20].id, 100)] == wanted[5:21]
    assert [tuple(row) for row in database.read_page_views(rows[4].id, rows[20].id, 3)] == wanted[5:8]
    assert list(database.read_page_views(rows[-1].id, None, 3)) == []


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["/", "/\n", "\n", "/a\n/b\n", "/\r\x1e\x85\u2028é\U0001f600", "/'\\\",{}\\n"])
def test_page_views_are_read_column_by_column_as_they_are_row_by_row(text: str) -> None:
    views = [(f"/{number}", f"key {number}", START + timedelta(seconds=number)) for number in range(9)]
    views[4:6] = [(text, "x", START), ("/x", text, START)]
    rows = insert_page_views(views)
    database = database_for("default")
    for bounds in ((0, None, 100), (rows[1].id, rows[7].id, 3), (rows[4].id, None, 100), (rows[-1].id, None, 3)):
        wanted = [tuple(row) for row in database.read_page_views(*bounds)]
        assert list(zip(*database.read_columns(*bounds)[:4], strict=True)) == wanted


@pytest.mark.django_db
@pytest.mark.parametrize(
    "odd",
    [
        {"source": "a\nb"},
        {"source": "\x01"},
        {"source": 5},
        {"source": "5"},
        {"source": True, "it's 100 %": "true"},
        {"source": ["a"]},
        {"source": None},
        {"it's 100 %": "-"},
        {},
        None,
    ],
)
def test_attributes_are_read_by_name_as_they_are_written(odd: Any) -> None:
    """Whatever `->>` would make of what is no text, and whatever stands between texts, or for none."""
    names = ["it's 100 %", "source"]
    given = [{"source": "a", "other": "b"}, None, odd, {"it's 100 %": "c"}, {"source": "é"}]
    times = [START + timedelta(seconds=number) for number in range(len(given))]
    made = [
        PageView(path="/", session_key="x", viewed_at=at, attributes=it) for it, at in zip(given, times, strict=True)
    ]
    PageView.objects.bulk_create(made)
    columns = database_for("default").read_columns(0, None, 100, with_attributes=True, names=names)
    if columns.named is None:
        assert [json.loads(text) if text else None for text in columns.attributes] == given
    else:
        assert columns.named == {name: [(it or {}).get(name) for it in given] for name in names}


@pytest.mark.django_db
def test_times_are_read_as_whole_seconds_rounded_down() -> None:
    instants = [
        datetime(1970, 1, 1, tzinfo=timezone.utc),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        datetime(2025, 3, 30, 1, 0, 0, 1, tzinfo=timezone.utc),
        datetime(2199, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    ]
    insert_page_views([("/", "x", instant) for instant in instants])
    found = [row[3] for row in database_for("default").read_page_views(0, None, 9)]
    assert found == [(instant - instants[0]) // timedelta(seconds=1) for instant in instants]


def test_a_database_that_is_not_supported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "VENDORS", {})
    with pytest.raises(ImproperlyConfigured, match=r"DATABASES\['default'\] is .*SQLite, PostgreSQL, MariaDB"):
        database_for("default")


# -- plans

#: tables that grow with the site
BIG_TABLES = re.compile("django_pagestats_(pageview|aggregate|visitor|subject)")


def full_scans(sql: str, params: Any) -> list[str]:
    """What the database says that it reads from end to end, of the tables that grow."""
    with connection.cursor() as cursor:
        cursor.execute(("EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN ") + sql, params)
        rows = cursor.fetchall()
    if connection.vendor == "mysql":
        # id, select_type, table, type, possible_keys, key, ...
        aliases = {"a": "django_pagestats_aggregate"}
        return [str(row) for row in rows if row[3] == "ALL" and BIG_TABLES.match(aliases.get(row[2], row[2] or ""))]
    marks = r"Seq Scan on" if connection.vendor == "postgresql" else r"SCAN"
    lines = [str(row[-1]) for row in rows]
    return [line for line in lines if re.search(rf"{marks} (a\b|{BIG_TABLES.pattern})", line)]


def analyze() -> None:
    """Fresh statistics; on MariaDB it commits, hence `transaction=True` below."""
    with connection.cursor() as cursor:
        for model in (PageView, Aggregate, Subject, Visitor):
            if connection.vendor == "mysql":
                cursor.execute(f"ANALYZE TABLE {model._meta.db_table}")
                cursor.fetchall()
            else:
                cursor.execute(f"ANALYZE {model._meta.db_table}")


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_no_statement_of_a_fold_reads_a_whole_table(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    make_page_views(10_000, paths=4_000, visitors=5_000)
    backfill.run_here("default", via="test")
    subject_ids("default", [f"/many/{number}" for number in range(20_000)])
    visitor_ids("default", [f"many {number}" for number in range(20_000)])
    make_page_views(150, seed=1, start=START)
    analyze()
    with statements() as seen:
        folding.keep_up("default", seconds=20)
        make_page_views(150, seed=2, start=START)
        backfill.run_here("default", via="test", chunk_size=100)
    plans = {sql: params for sql, params in seen if is_planned(sql)}
    # SQLite has no look-ups: its upserts find their rows by the primary key, or fail
    assert sum("aggregate" in sql for sql in plans) >= (0 if connection.vendor == "sqlite" else 3)
    assert sum("pageview" in sql for sql in plans) >= 2
    for sql, params in plans.items():
        assert full_scans(sql, params) == [], sql


def is_planned(sql: str) -> bool:
    return bool(sql.startswith(("SELECT", "UPDATE", "DELETE", "WITH")) and BIG_TABLES.search(sql))


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_the_look_up_of_aggregates_is_by_the_primary_key() -> None:
    merge([(subject, subject, day) for subject in range(1, 300) for day in range(20_000, 20_010)])
    analyze()
    with statements() as seen:
        merge([(subject, subject + 1, 20_003) for subject in range(1, 30)])
    lookups = [(sql, params) for sql, params in seen if sql.startswith("SELECT") and "wanted" in sql]
    assert len(lookups) >= 5
    for sql, params in lookups:
        assert_primary_key(sql, params)


@pytest.mark.django_db(transaction=True)
def test_a_few_subjects_of_all_days_are_a_short_range_of_the_primary_key_for_each_day() -> None:
    """On MariaDB a join by bucket would read all subjects of each day, again for each slice."""
    merge([(subject, subject, day) for subject in range(1, 100) for day in range(20_000, 20_060)])
    analyze()
    with statements() as seen:
        found = database_for("default").days_of_subjects(
            GENERATION, PAGE_DAY, list(range(20_000, 20_060)), (20, 23), inline=100, limit=1_000
        )
    assert sorted((days.subject, days.rows) for days in found) == [(21, 60), (22, 60), (23, 60)]
    ((sql, params),) = seen
    with connection.cursor() as cursor:
        plan = {"mysql": "EXPLAIN", "postgresql": "EXPLAIN", "sqlite": "EXPLAIN QUERY PLAN"}[connection.vendor]
        cursor.execute(f"{plan} {sql}", params)
        lines = cursor.fetchall()
    if connection.vendor == "mysql":
        ((_, _, _, kind, _, key, length, *_),) = lines
        assert (kind, key, int(length)) == ("range", "PRIMARY", 4 + 2 + 2 + 4 + 4)
        return
    wanted = "subject>? AND subject<?" if connection.vendor == "sqlite" else "(subject > 20) AND (subject <= 23)"
    assert any(wanted in str(line) and "Filter" not in str(line) for line in lines), lines


@pytest.mark.django_db(transaction=True)
def test_the_sweep_finds_its_rows_by_the_primary_key() -> None:
    for generation in range(10):
        merge([(subject, subject, 20_000) for subject in range(1, 200)], generation=generation)
    analyze()
    with statements() as seen:
        database_for("default").delete_aggregates(3, 50)
    assert_primary_key(*seen[-1])


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_page_views_are_read_by_the_primary_key() -> None:
    make_page_views(3_000)
    analyze()
    with statements() as seen:
        for bound in (10**9, None):
            database_for("default").read_page_views(1_000, bound, 100)
            database_for("default").read_columns(1_000, bound, 100)
    for sql, params in [statement for statement in seen if "pageview" in statement[0]]:
        assert_primary_key(sql, params)


def assert_primary_key(sql: str, params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(("EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN ") + sql, params)
        plan = "\n".join(map(str, cursor.fetchall()))
    name = {
        "mysql": r"'PRIMARY'",
        "postgresql": r"Index (Only )?Scan( Backward)? using django_pagestats_\w+_pkey",
        "sqlite": r"INTEGER PRIMARY KEY|sqlite_autoindex_django_pagestats_aggregate_1",
    }[connection.vendor]
    assert re.search(name, plan), plan
    assert full_scans(sql, params) == []
