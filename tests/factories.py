"""Builders of page views, and the naive count that answers are compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Model
from pyroaring import BitMap

from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from testproject import traffic

START = datetime(2025, 3, 1, tzinfo=timezone.utc)
SITE, PAGE = 1, 2
HOUR, DAY, ALL = 1, 2, 3


class Row(NamedTuple):
    """A stored page view."""

    id: int
    path: str
    session_key: str
    viewed_at: datetime


def make_page_views(
    count: int,
    *,
    seed: int = 0,
    paths: int = 50,
    visitors: int | None = None,
    days: int = 40,
    start: datetime = START,
    using: str = "default",
) -> list[Row]:
    """Insert `count` page views of a realistic shape (`visitors` defaults to a quarter of them); give them back."""
    wanted = traffic.page_views(
        count, seed=seed, paths=paths, visitors=visitors or count // 4 + 1, days=days, start=start
    )
    return insert_page_views(wanted, using=using)


def insert_page_views(page_views: Iterable[tuple[str, str, datetime]], *, using: str = "default") -> list[Row]:
    """Insert these (path, session_key, viewed_at) in this order; give them back with their ids."""
    made = PageView.objects.using(using).bulk_create(
        [PageView(path=path, session_key=key, viewed_at=viewed_at) for path, key, viewed_at in page_views],
        batch_size=5_000,
    )
    return [Row(view.pk, view.path, view.session_key, view.viewed_at) for view in made]


@contextmanager
def rows_of_any_kind() -> Iterator[None]:
    """Page views may be inserted though the table takes no such ones, as where constraints were off, or came later."""
    table, constraints = PageView._meta.db_table, PageView._meta.constraints
    named = [connection.ops.quote_name(constraint.name) for constraint in constraints]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = 1")
            yield
            cursor.execute("PRAGMA ignore_check_constraints = 0")
        elif connection.vendor == "mysql":
            cursor.execute("SELECT @@SESSION.sql_mode")
            (sql_mode,) = cursor.fetchone()
            cursor.execute("SET SESSION check_constraint_checks = 0, sql_mode = 'ALLOW_INVALID_DATES'")
            yield
            cursor.execute("SET SESSION check_constraint_checks = 1, sql_mode = %s", [sql_mode])
        else:
            cursor.execute(f"ALTER TABLE {table} {', '.join(f'DROP CONSTRAINT {name}' for name in named)}")
            yield
            with connection.schema_editor(collect_sql=True) as editor:
                for constraint in constraints:
                    editor.add_constraint(PageView, constraint)
            for statement in editor.collected_sql:
                cursor.execute(statement.rstrip(";") + " NOT VALID")


@dataclass
class Counted:
    """Page views and the session keys that made them."""

    page_views: int = 0
    session_keys: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.page_views += 1
        self.session_keys.add(row.session_key)

    @property
    def visitors(self) -> int:
        return len(self.session_keys)


@dataclass
class NaiveCount(Counted):
    """What the answers must be: in all, by path, by local date and by HOUR bucket (of the site)."""

    pages: defaultdict[str, Counted] = field(default_factory=lambda: defaultdict(Counted))
    days: defaultdict[date, Counted] = field(default_factory=lambda: defaultdict(Counted))
    hours: defaultdict[int, Counted] = field(default_factory=lambda: defaultdict(Counted))

    @property
    def paths(self) -> int:
        return len(self.pages)


def count_naively(
    rows: Iterable[Row],
    zone: str = "UTC",
    *,
    path: str | None = None,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
) -> NaiveCount:
    """Count rows one by one, those of `path` and of [start, end) only: local dates of `zone`, or aware datetimes."""
    tz = ZoneInfo(zone)
    count = NaiveCount()
    for row in rows:
        local = row.viewed_at.astimezone(tz)
        if path not in (None, row.path) or not _is_within(local, start, end):
            continue
        count.add(row)
        count.pages[row.path].add(row)
        count.days[local.date()].add(row)
        count.hours[hour_bucket(local)].add(row)
    return count


def _is_within(local: datetime, start: date | datetime | None, end: date | datetime | None) -> bool:
    def position(bound: date | datetime) -> date | datetime:
        return local if isinstance(bound, datetime) else local.date()

    return (start is None or position(start) >= start) and (end is None or position(end) < end)


def hour_bucket(local: datetime) -> int:
    """The HOUR bucket, as the design defines it: floor((t + utcoffset mod 3600) / 3600)."""
    offset = local.utcoffset()
    assert offset is not None
    return int((int(local.timestamp() // 1) + offset.total_seconds() % 3_600) // 3_600)


#: (dimension, granularity, bucket, path or "") -> (page views, session keys)
Aggregates = dict[tuple[int, int, int, str], tuple[int, frozenset[str]]]


def expected_aggregates(rows: Sequence[Row], zone: str = "UTC", *, all_cursor: int | None = None) -> Aggregates:
    """Every aggregate row that a generation folded up to the last of `rows` must hold.

    Its rows of all time, shown under the number 0, count those up to `all_cursor`; None: all of them.
    """
    found: defaultdict[tuple[int, int, int, str], Counted] = defaultdict(Counted)
    tz = ZoneInfo(zone)
    for row in rows:
        local = row.viewed_at.astimezone(tz)
        day = (local.date() - date(1970, 1, 1)).days
        found[SITE, HOUR, hour_bucket(local), ""].add(row)
        found[SITE, DAY, day, ""].add(row)
        found[PAGE, DAY, day, row.path].add(row)
        if all_cursor is None or row.id <= all_cursor:
            found[SITE, ALL, 0, ""].add(row)
            found[PAGE, ALL, 0, row.path].add(row)
    return {key: (counted.page_views, frozenset(counted.session_keys)) for key, counted in found.items()}


def stored_aggregates(generation_id: int, *, using: str = "default") -> Aggregates:
    """The aggregate rows of a generation that answer, their ids resolved, to compare with `expected_aggregates()`."""
    answering = Generation.objects.using(using).get(pk=generation_id).all_bucket
    values = dict(Subject.objects.using(using).values_list("pk", "value"))
    keys = dict(Visitor.objects.using(using).values_list("pk", "session_key"))
    found: Aggregates = {}
    for row in Aggregate.objects.using(using).filter(generation=generation_id):
        if row.granularity == ALL:
            if row.bucket == 1 - answering:
                continue
            assert row.bucket == answering
            row.bucket = 0
        visitors = frozenset(keys[visitor] for visitor in BitMap.deserialize(bytes(row.visitor_set)))
        assert len(visitors) == row.visitors, f"{row}: {row.visitors} visitors, {len(visitors)} in the set"
        value = values[row.subject] if row.subject else ""
        found[row.dimension, row.granularity, row.bucket, value] = row.page_views, visitors
    return found


def draw_from(model: type[Model], number: int) -> None:
    """The next id that the database draws by itself is this one."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {number}, false)")
        elif connection.vendor == "mysql":
            cursor.execute(f"ALTER TABLE {table} AUTO_INCREMENT = {number}")
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, number - 1])
