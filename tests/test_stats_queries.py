"""What an answer costs: how many statements, and which index each of them uses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from pyroaring import BitMap

from django_pagestats import stats
from django_pagestats.buckets import day_number
from django_pagestats.exceptions import TailTooLongError
from django_pagestats.ids import subject_ids
from django_pagestats.models import Aggregate, Dimension, Generation, Granularity, PageView
from django_pagestats.stats.conditions import InGroup
from tests.factories import Row, insert_page_views, make_page_views
from tests.named import dimensions_of_settings
from tests.stats_oracle import Oracle, fold_naively

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DAY = date(2025, 3, 2)
START = datetime(2025, 3, 2, tzinfo=timezone.utc)
MONTH = {"start": DAY, "end": DAY + timedelta(days=30)}

#: as many as are asked for by one statement of each kind
PATHS = [f"/p{n}" for n in range(500)]
GERMAN = {"country": "DE"}
GROUP = InGroup("country", lambda value: value[0], "D")

#: question -> statements with an empty tail, and with a tail that has known and unknown paths and visitors
BUDGETS: dict[str, tuple[Callable[[], Any], int, int]] = {
    "count_page_views()": (lambda: stats.count_page_views(), 2, 2),
    "count_page_views(range)": (lambda: stats.count_page_views(**MONTH), 2, 2),
    "count_page_views(path)": (lambda: stats.count_page_views("/p0"), 2, 2),
    "count_page_views(path, range)": (lambda: stats.count_page_views("/p0", **MONTH), 2, 2),
    "count_page_views(path, open range)": (lambda: stats.count_page_views("/p0", start=DAY), 3, 3),
    "count_page_views(hours)": (lambda: stats.count_page_views(start=START + timedelta(hours=5)), 3, 3),
    "count_page_views(prefix)": (lambda: stats.count_page_views(prefix="/p1"), 4, 4),
    "count_page_views(prefix, range)": (lambda: stats.count_page_views(prefix="/p1", **MONTH), 4, 4),
    "count_page_views_of()": (lambda: stats.count_page_views_of(PATHS), 4, 4),
    "count_page_views_of(range)": (lambda: stats.count_page_views_of(PATHS, **MONTH), 4, 4),
    "count_unique_visitors()": (lambda: stats.count_unique_visitors(), 2, 3),
    "count_unique_visitors(range)": (lambda: stats.count_unique_visitors(**MONTH), 2, 3),
    "count_unique_visitors(path)": (lambda: stats.count_unique_visitors("/p0"), 2, 3),
    "count_unique_visitors(prefix)": (lambda: stats.count_unique_visitors(prefix="/p1"), 4, 5),
    "count_unique_visitors(prefix, range)": (lambda: stats.count_unique_visitors(prefix="/p1", **MONTH), 4, 5),
    "count_single_page_visitors()": (lambda: stats.count_single_page_visitors(), 2, 3),
    "count_single_page_visitors(range)": (lambda: stats.count_single_page_visitors(**MONTH), 2, 3),
    "visitors()": (lambda: stats.visitors(), 2, 3),
    "visitors(range)": (lambda: stats.visitors(**MONTH), 2, 3),
    "visitors(path)": (lambda: stats.visitors("/p0"), 2, 3),
    "visitors(path, range)": (lambda: stats.visitors("/p0", **MONTH), 2, 3),
    "visitors(where, range)": (lambda: stats.visitors(where=GERMAN, **MONTH), 3, 5),
    "count_paths()": (lambda: stats.count_paths(), 2, 4),
    "count_paths(range)": (lambda: stats.count_paths(**MONTH), 2, 4),
    "top_pages()": (lambda: stats.top_pages(), 3, 6),
    "top_pages(range)": (lambda: stats.top_pages(**MONTH), 5, 7),
    "time_series(day)": (lambda: stats.time_series("day", *MONTH.values()), 2, 4),
    "time_series(day, path)": (lambda: stats.time_series("day", *MONTH.values(), path="/p0"), 2, 4),
    "time_series(hour)": (lambda: stats.time_series("hour", START, START + timedelta(hours=48)), 3, 5),
    "rank()": (lambda: stats.rank("/p0"), 3, 5),
    "rank(range)": (lambda: stats.rank("/p0", **MONTH), 3, 5),
    "page_at()": (lambda: stats.page_at(3), 3, 5),
    "page_at(range)": (lambda: stats.page_at(3, **MONTH), 3, 5),
    "page_at_percentile()": (lambda: stats.page_at_percentile(0.5), 3, 6),
    "page_at_percentile(range)": (lambda: stats.page_at_percentile(0.5, **MONTH), 3, 6),
    "paths()": (lambda: stats.paths(), 2, 2),
    "paths(range)": (lambda: stats.paths("/p", **MONTH), 2, 2),
    "top()": (lambda: stats.top("country"), 4, 8),
    "top(range)": (lambda: stats.top("country", **MONTH), 5, 8),
    "top(path alone)": (lambda: stats.top("section", **MONTH), 5, 7),
    "count_values()": (lambda: stats.count_values("country"), 3, 6),
    "count_values(range)": (lambda: stats.count_values("country", **MONTH), 3, 6),
    "count_visits()": (lambda: stats.count_visits(), 3, 4),
    "count_visits(range)": (lambda: stats.count_visits(**MONTH), 3, 4),
    "count_visits(path)": (lambda: stats.count_visits("/p0"), 3, 4),
    "count_visits(path, range)": (lambda: stats.count_visits("/p0", **MONTH), 3, 4),
    "dimensions()": (lambda: stats.dimensions(), 1, 1),
    "count_page_views(where)": (lambda: stats.count_page_views(where=GERMAN), 3, 4),
    "count_page_views(where, range)": (lambda: stats.count_page_views(where=GERMAN, **MONTH), 3, 4),
    "count_unique_visitors(where)": (lambda: stats.count_unique_visitors(where=GERMAN), 3, 5),
    "count_unique_visitors(where, range)": (lambda: stats.count_unique_visitors(where=GERMAN, **MONTH), 3, 5),
    "time_series(day, where)": (lambda: stats.time_series("day", *MONTH.values(), where=GERMAN), 3, 6),
    "page views of a group": (lambda: stats.count_page_views(where=GROUP), 4, 5),
    "page views of a group, range": (lambda: stats.count_page_views(where=GROUP, **MONTH), 4, 5),
    "visitors of a group": (lambda: stats.visitors(where=GROUP), 4, 6),
    "visitors of a group, range": (lambda: stats.visitors(where=GROUP, **MONTH), 4, 6),
    "series of a group": (lambda: stats.time_series("day", *MONTH.values(), where=GROUP), 4, 8),
    "summary()": (lambda: stats.summary(), 4, 8),
    "summary(range)": (lambda: stats.summary(**MONTH), 4, 8),
    "active_visitors()": (lambda: stats.active_visitors(), 1, 1),
    "active_pages()": (lambda: stats.active_pages(), 1, 1),
    "visitor_policy()": (lambda: stats.visitor_policy(), 2, 2),
}


def page_views(count: int) -> list[tuple[str, str, datetime, Mapping[str, str]]]:
    return [
        (f"/p{n % 40}", f"key{n % 33}", START + timedelta(hours=n % 40, seconds=n), attributes(n)) for n in range(count)
    ]


def attributes(number: int) -> dict[str, str]:
    """A third are arrivals."""
    found = {"country": ("DE", "FR", "AT")[number % 7 % 3]}
    return found | {"source": "direct"} if number % 3 == 0 else found


@pytest.mark.parametrize("name", BUDGETS)
def test_statements_of_an_answer(name: str, django_assert_num_queries: Any) -> None:
    ask, of_empty_tail, of_tail = BUDGETS[name]
    rows = insert_page_views(page_views(200))
    fold_naively(rows)
    with django_assert_num_queries(of_empty_tail):
        ask()
    new = {"country": "new", "source": "new"}
    insert_page_views([*page_views(50), ("/new", "new", START, new), ("/p0", "new", START, new)])
    with django_assert_num_queries(of_tail):
        ask()


FUNCTIONS = re.compile(r"^\| `(\w+)\((.*?)\)` \|.*\| *([^|]*?) *\| *([^|]*?) *\|$", re.MULTILINE)


def test_the_docs_have_every_function_with_its_signature_and_its_statements() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "statistics.md").read_text()
    told = {name: (signature, *numbers) for name, signature, *numbers in FUNCTIONS.findall(page)}
    assert told == {
        name: (signature_of(function), *statements_of(name))
        for name, function in vars(stats).items()
        if name in stats.__all__ and inspect.isfunction(function)
    }


def test_a_snapshot_has_the_same_functions_but_those_of_no_aggregates() -> None:
    functions = {name: getattr(stats, name) for name in stats.__all__ if inspect.isfunction(getattr(stats, name))}
    assert {
        name: signature_of(function).removeprefix("self, ").removeprefix("self")
        for name, function in vars(stats.Snapshot).items()
        if inspect.isfunction(function) and not name.startswith("_") and name != "close"
    } == {
        name: signature_of(function)
        for name, function in functions.items()
        if name not in {"snapshot", "active_visitors", "active_pages", "visitor_policy"}
    }


def signature_of(function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(
        parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}")
        for parameter in parameters
        if parameter.name != "using"
    )


def statements_of(name: str) -> Iterator[str]:
    """The budgets of a function, without a tail and with a short one."""
    budgets = [numbers for question, (_, *numbers) in BUDGETS.items() if question.split("(")[0] == name]
    for numbers in zip(*budgets, strict=True) if budgets else [(), ()]:
        yield " to ".join(map(str, sorted({min(numbers), max(numbers)}) if numbers else ()))


def test_a_snapshot_reads_the_tail_once(django_assert_num_queries: Any) -> None:
    rows = make_page_views(200)
    fold_naively(rows[:150])
    with stats.snapshot() as snapshot:
        snapshot.top_pages()
        with django_assert_num_queries(1):
            snapshot.count_page_views()
        with django_assert_num_queries(3):  # the first page view of all is read of the folded part and of the tail
            snapshot.summary()


#: page views of `many` that are not folded
TAIL = 150


#: days that have rows: 256, of which MONTH is the end
LAST_DAY = day_number(DAY) + 29
DOUBLINGS = 8


@pytest.fixture
def many(transactional_db: None) -> None:  # ANALYZE TABLE commits
    """As many rows as make a planner care: aggregates and page views of most of a year."""
    fold_naively([])
    generation = Generation.objects.get()
    Aggregate.objects.bulk_create(rows_of_a_day(generation.pk), batch_size=1_000)
    for n in range(DOUBLINGS):  # the days before are as those that are there
        execute(days_before(2**n))
    views = enumerate(page_views(6_000))
    before = [(path, key, at - timedelta(days=2 + n % 224), known) for n, (path, key, at, known) in views]
    rows = insert_page_views(before + page_views(2_000))
    Generation.objects.update(cursor=rows[-1 - TAIL].id, all_cursor=rows[-1 - TAIL].id)
    for table in ("aggregate", "pageview", "subject", "generation"):
        verb = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
        execute(f"{verb} django_pagestats_{table}")


def rows_of_a_day(generation: int) -> Iterator[Aggregate]:
    """Those of the last day, and those of all time."""
    visitors = BitMap(range(1, 20)).serialize()
    subjects = sorted(subject_ids("default", [f"/p{n}" for n in range(40)]).values())
    values = {
        it["id"]: sorted(subject_ids("default", ["DE", "/p0", *map(str, range(30))], dimension=it["id"]).values())
        for it in dimensions_of_settings()
    }

    def row(dimension: int, granularity: Granularity, bucket: int, subject: int, page_views: int) -> Aggregate:
        return Aggregate(
            generation=generation,
            dimension=dimension,
            granularity=granularity,
            bucket=bucket,
            subject=subject,
            page_views=page_views,
            visitors=19,
            visitor_set=visitors,
            repeat_set=visitors if dimension == Dimension.SITE else None,
        )

    yield row(Dimension.SITE, Granularity.ALL, 0, 0, 9_000)
    yield row(Dimension.SITE, Granularity.DAY, LAST_DAY, 0, 1_500)
    yield from (row(Dimension.SITE, Granularity.HOUR, LAST_DAY * 24 + hour, 0, 60) for hour in range(24))
    for dimension, of in {Dimension.PAGE: subjects, **values}.items():
        yield from (row(dimension, Granularity.ALL, 0, subject, 40 + 7 * subject % 500) for subject in of)
        yield from (row(dimension, Granularity.DAY, LAST_DAY, subject, 19) for subject in of)


def days_before(days: int) -> str:
    """The rows of all days once more, so many days before."""
    columns = {field.column: field.column for field in Aggregate._meta.concrete_fields}
    columns["bucket"] = f"CASE granularity WHEN {Granularity.HOUR} THEN bucket - {24 * days} ELSE bucket - {days} END"
    return (
        f"INSERT INTO django_pagestats_aggregate ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
        f" FROM django_pagestats_aggregate WHERE granularity <> {Granularity.ALL}"
    )


USUAL = {("aggregates", "by the primary key"), ("page views", "by the primary key")}
ALSO = {
    "top_pages()": {("aggregates", "along pagestats_top_pages")},
    "summary()": {("page views", "along pagestats_viewed_at")},  # to the first one
    "summary(range)": {("page views", "by pagestats_viewed_at")},
}
#: of no aggregate
RECENT = {("page views", "by pagestats_viewed_at")}
OTHERWISE = {"active_visitors()": RECENT, "active_pages()": RECENT, "visitor_policy()": set(), "dimensions()": set()}
#: SQLite, which keeps no histogram, may count a long tail by the index of its times, which has all columns
BY_TIME = {"count_page_views(range)", "time_series(day)", "time_series(hour)"}
#: of all time they read as far as the place by the index of the top pages, where a planner thinks that it pays
BY_RANK = {"rank()", "page_at()", "page_at_percentile()", "top_pages(range)"}


@pytest.mark.usefixtures("many")
def test_every_statement_finds_its_rows_by_an_index() -> None:
    for tail_limit in 1_000, 100:
        assert_indexes_are_used(tail_limit)


def assert_indexes_are_used(tail_limit: int) -> None:
    """With a short tail, or a long one."""
    # inside a transaction, where a long tail takes more statements
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), transaction.atomic():
        found = {name: accesses(ask) for name, (ask, _, _) in BUDGETS.items()}
    for name in BY_RANK:
        found[name] -= {("aggregates", f"{how} pagestats_top_pages") for how in ("by", "along")}
    if connection.vendor == "sqlite" and tail_limit < TAIL:
        for name in BY_TIME:
            found[name].discard(("page views", "by pagestats_viewed_at"))
    if connection.vendor == "postgresql" and tail_limit < TAIL:
        # what no constraint kept out is looked for at both ends of the index of the times
        found = {name: ways - {("page views", "by BitmapOr")} for name, ways in found.items()}
    expected = {name: OTHERWISE.get(name, USUAL | ALSO.get(name, set())) for name in BUDGETS}
    assert found == expected, tail_limit


#: a table or its alias, an index, and whether all of it may be read
Access = tuple[str, str | None, bool]
TABLES = {
    "a": "aggregates",
    "django_pagestats_aggregate": "aggregates",
    "django_pagestats_pageview": "page views",
}
PRIMARY_KEYS = {
    "PRIMARY",
    "INTEGER PRIMARY KEY",
    "django_pagestats_aggregate_pkey",
    "django_pagestats_pageview_pkey",
    "sqlite_autoindex_django_pagestats_aggregate_1",
}


def accesses(ask: Callable[[], Any]) -> set[tuple[str, str]]:
    """How the statements of an answer find rows: by a part of an index, or along all of it until they have enough."""
    with CaptureQueriesContext(connection) as captured, suppress(TailTooLongError):
        ask()
    plan = {"mysql": plan_of_mysql, "postgresql": plan_of_postgresql, "sqlite": plan_of_sqlite}[connection.vendor]
    found = set()
    for query in captured.captured_queries:
        for table, index, is_whole in plan(query["sql"]):
            name = "the primary key" if index in PRIMARY_KEYS else index
            if table in TABLES:
                found.add((TABLES[table], f"{'along' if is_whole else 'by'} {name}" if name else "by no index"))
    return found


def plan_of_mysql(statement: str) -> Iterator[Access]:
    for _, _, table, kind, _, key, *_ in execute(f"EXPLAIN {statement}"):
        yield table, key, kind == "index"


def plan_of_sqlite(statement: str) -> Iterator[Access]:
    step = re.compile(r"(SEARCH|SCAN) (\w+)(?: USING (?:(?:COVERING )?INDEX )?(INTEGER PRIMARY KEY|\w+))?")
    for *_, detail in execute(f"EXPLAIN QUERY PLAN {statement}"):
        if match := step.match(detail):
            verb, table, index = match.groups()
            # the highest primary key is searched for without an index: it is the table's own order
            yield table, index or ("INTEGER PRIMARY KEY" if verb == "SEARCH" else None), verb == "SCAN"


def plan_of_postgresql(statement: str) -> Iterator[Access]:
    [[[plan]]] = execute(f"EXPLAIN (FORMAT JSON) {statement}")
    nodes = [plan["Plan"]]
    for node in nodes:
        parts = node.get("Plans", [])
        nodes += parts
        if node["Node Type"] == "Bitmap Heap Scan":
            bitmap = next(part for part in parts if part["Parent Relationship"] == "Outer")
            yield node["Relation Name"], bitmap.get("Index Name", bitmap["Node Type"]), False
        elif "Relation Name" in node:
            yield node["Relation Name"], node.get("Index Name"), "Index Cond" not in node


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others have the subjects in their index condition")
def test_the_rows_of_the_pages_of_a_gap_are_looked_up_one_by_one() -> None:
    """Whose number it does not know PostgreSQL takes for few rows: it read those of all pages for each answer."""
    pages, of_gap = 3_000, 80
    fold_naively([])
    subjects = sorted(subject_ids("default", [f"/p{n}" for n in range(pages)]).values())
    level = {"dimension": Dimension.PAGE, "granularity": Granularity.ALL, "visitor_set": BitMap([1]).serialize()}
    rows = [
        Aggregate(generation=Generation.objects.get().pk, bucket=0, subject=subject, page_views=n, visitors=1, **level)
        for n, subject in enumerate(subjects)
    ]
    Aggregate.objects.bulk_create(rows, batch_size=1_000)
    insert_page_views([(f"/p{n * 30}", "key", START) for n in range(of_gap)])
    execute("ANALYZE django_pagestats_aggregate")
    with CaptureQueriesContext(connection) as captured:
        stats.top_pages()
    [totals] = [query["sql"] for query in captured.captured_queries if "GROUP BY a.subject" in query["sql"]]
    assert rows_read_by_postgresql(totals) == of_gap


def rows_read_by_postgresql(statement: str) -> int:
    """How many aggregates it looked at, wanted or not."""
    [[[plan]]] = execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
    nodes, read = [plan["Plan"]], 0
    for node in nodes:
        nodes += node.get("Plans", [])
        if node.get("Relation Name") == "django_pagestats_aggregate":
            read += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return int(read)


def execute(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def test_more_visitors_than_the_original_could_remember() -> None:
    """It kept the last 10,000 session keys in the task's arguments: 12,000 that come back at random are 12,000."""
    rows = [Row(n, f"/{n % 3}", f"key{n * 7_919 % 12_000}", START + timedelta(seconds=n)) for n in range(1, 24_001)]
    PageView.objects.bulk_create([PageView(**row._asdict()) for row in rows], batch_size=5_000)
    fold_naively(rows[:15_000])
    assert Oracle(rows).visitors() == 12_000
    for limit in (50_000, 100):
        with override_settings(PAGESTATS_TAIL_LIMIT=limit):
            assert stats.count_unique_visitors() == 12_000
            assert stats.count_unique_visitors("/1") == Oracle(rows).visitors("/1")
