"""Builders of page views, and the naive count that answers are compared with."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Model
from pyroaring import BitMap

from django_pagestats import folding
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from testproject import traffic
from tests.named import Attributes, dimensions_of_settings, named_dimensions

START = datetime(2025, 3, 1, tzinfo=timezone.utc)
SITE, PAGE = 1, 2
HOUR, DAY, ALL = 1, 2, 3

#: (path, session key, viewed at), and attributes where there are any
View = tuple[str, str, datetime] | tuple[str, str, datetime, Attributes]


class Row(NamedTuple):
    """A stored page view."""

    id: int
    path: str
    session_key: str
    viewed_at: datetime
    attributes: Attributes = None


def make_page_views(
    count: int,
    *,
    seed: int = 0,
    paths: int = 50,
    visitors: int | None = None,
    days: int = 40,
    start: datetime = START,
    with_attributes: bool = False,
    using: str = "default",
) -> list[Row]:
    """Insert `count` page views of a realistic shape (`visitors` defaults to a quarter of them); give them back."""
    wanted: Iterable[View] = traffic.page_views(
        count, seed=seed, paths=paths, visitors=visitors or count // 4 + 1, days=days, start=start
    )
    return insert_page_views(attributed(wanted, seed) if with_attributes else wanted, using=using)


def insert_page_views(page_views: Iterable[View], *, using: str = "default") -> list[Row]:
    """Insert these page views in this order; give them back with their ids."""
    made = PageView.objects.using(using).bulk_create(
        [
            PageView(path=path, session_key=key, viewed_at=viewed_at, attributes=attributes[0] if attributes else None)
            for path, key, viewed_at, *attributes in page_views
        ],
        batch_size=5_000,
    )
    return [Row(view.pk, view.path, view.session_key, view.viewed_at, view.attributes) for view in made]


def fold() -> None:
    """All page views that are there."""
    folding.keep_up("default", seconds=60)


def attributed(page_views: Iterable[View], seed: int = 0) -> Iterator[View]:
    """The same with attributes: a third are arrivals, what a visitor has she keeps, and some have none at all."""
    rng = random.Random(seed)
    for path, key, viewed_at, *_ in page_views:
        hers = random.Random(key)
        attributes = {
            "country": hers.choice(["DE", "FR", "US", "AT"]),
            "browser": hers.choice(["Firefox", "Chrome", "Safari"]),
            "device": hers.choice(["phone", "desktop"]),
        }
        if rng.random() < 1 / 3:
            attributes["source"] = rng.choice(["direct", "news.example", "search.example"])
        if rng.random() < 1 / 10:
            attributes["campaign"] = rng.choice(["spring", "Spring", "überall"])
        yield path, key, viewed_at, attributes if hers.random() < 0.9 else None


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
    #: those of them that made more than one
    repeaters: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.page_views += 1
        if row.session_key in self.session_keys:
            self.repeaters.add(row.session_key)
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


class Stored(NamedTuple):
    """An aggregate row, with session keys in place of ids."""

    page_views: int
    visitors: frozenset[str]
    #: those with at least two page views; None: the row is not of the site, or nobody knows since it is of before
    repeaters: frozenset[str] | None = None


#: (dimension, granularity, bucket, path or value or "") -> what is stored
Aggregates = dict[tuple[int, int, int, str], Stored]
#: with the dimensions of the settings, in place of those that a generation has
OF_SETTINGS: Any = object()


def expected_aggregates(
    rows: Sequence[Row],
    zone: str = "UTC",
    *,
    all_cursor: int | None = None,
    dimensions: Sequence[Mapping[str, Any]] | None = OF_SETTINGS,
) -> Aggregates:
    """Every aggregate row that a generation folded up to the last of `rows` must hold.

    Its rows of all time, shown under the number 0, count those up to `all_cursor`; None: all of them. `dimensions`:
    what `Generation.dimensions` says; None: it is of before there were any, and need not know its repeat sets.
    """
    if dimensions is OF_SETTINGS:
        dimensions = dimensions_of_settings()
    found: defaultdict[tuple[int, int, int, str], Counted] = defaultdict(Counted)
    named = named_dimensions(dimensions)
    tz = ZoneInfo(zone)
    for row in rows:
        local = row.viewed_at.astimezone(tz)
        day = (local.date() - date(1970, 1, 1)).days
        found[SITE, HOUR, hour_bucket(local), ""].add(row)
        values = [(it.id, value) for it in named if (value := it.value(row.path, row.attributes)) is not None]
        for dimension, value in [(SITE, ""), (PAGE, row.path), *values]:
            found[dimension, DAY, day, value].add(row)
            if all_cursor is None or row.id <= all_cursor:
                found[dimension, ALL, 0, value].add(row)
    return {
        key: Stored(
            counted.page_views,
            frozenset(counted.session_keys),
            frozenset(counted.repeaters) if key[0] == SITE else None,
        )
        for key, counted in found.items()
    }


def stored_aggregates(generation_id: int, *, using: str = "default") -> Aggregates:
    """The aggregate rows of a generation that answer, their ids resolved, to compare with `expected_aggregates()`."""
    answering = Generation.objects.using(using).get(pk=generation_id).all_bucket
    subjects = {it.pk: (it.dimension, it.value) for it in Subject.objects.using(using)}
    subjects[0] = SITE, ""
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
        dimension, value = subjects[row.subject]
        assert dimension == row.dimension, f"{row}: of dimension {row.dimension}, its subject of {dimension}"
        repeaters = stored_repeaters(row, keys)
        found[row.dimension, row.granularity, row.bucket, value] = Stored(row.page_views, visitors, repeaters)
    return found


def stored_repeaters(row: Aggregate, keys: Mapping[int, str]) -> frozenset[str] | None:
    """Whom a row's repeat set has; it is stored only where it says something."""
    if row.repeat_set is None:
        return frozenset() if row.dimension == SITE and row.page_views == row.visitors else None
    assert row.dimension == SITE, f"{row}: of dimension {row.dimension}, with a repeat set"
    assert row.page_views > row.visitors, f"{row}: nobody can have two, but there is a repeat set"
    return frozenset(keys[visitor] for visitor in BitMap.deserialize(bytes(row.repeat_set)))


def differing(
    stored: Aggregates, expected: Aggregates, dimensions: object = OF_SETTINGS
) -> dict[tuple[int, int, int, str], tuple[Stored | None, Stored | None]]:
    """Rows that are not as expected; one of a generation without named dimensions may be of before repeat sets."""
    if dimensions is None:
        unknown = [key for key, row in stored.items() if row.repeaters is None and key in expected]
        stored = stored | {key: stored[key]._replace(repeaters=expected[key].repeaters) for key in unknown}
    keys = stored.keys() | expected.keys()
    return {key: (stored.get(key), expected.get(key)) for key in keys if stored.get(key) != expected.get(key)}


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
