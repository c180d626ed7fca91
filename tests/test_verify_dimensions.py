"""Rows of named dimensions and repeat sets, corrupted, are named; and nothing else is."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase
from pyroaring import BitMap

from django_pagestats import backfill
from django_pagestats.buckets import Calendar
from django_pagestats.dimensions import of_generation
from django_pagestats.exceptions import DimensionError, ProcessFailedError
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from django_pagestats.verify import Difference, Verification, What, counting, groups, totals, values
from django_pagestats.verify.comparing import Comparison
from django_pagestats.verify.stored import StoredRow
from django_pagestats.verify.totals import Room, Totals
from tests.factories import ALL, DAY, HOUR, PAGE, SITE, attributed, insert_page_views, make_page_views
from tests.stats_oracle import fold_naively
from tests.test_verify import HARD_ZONES, fold, make_small

pytestmark = pytest.mark.usefixtures("no_settling", "own_dimensions")
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL shares a snapshot")

DAY_1 = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
BUCKET_1 = (date(2025, 3, 1) - date(1970, 1, 1)).days
HERE = __name__
DIMENSIONS = {
    "country": "country",
    "source": "source",
    "entry": "django_pagestats.dimensions.entry",
    "section": "django_pagestats.dimensions.section",
    "tongue": f"{HERE}.tongue",
    "place": f"{HERE}.place",
}
VIEWS = [
    ("/a", "ann", DAY_1, {"country": "DE", "source": "news.example"}),
    ("/a", "bob", DAY_1 + timedelta(minutes=5), {"country": "DE"}),
    ("/b/c", "ann", DAY_1 + timedelta(hours=1), {"country": "DE"}),
    ("/a", "ann", DAY_1 + timedelta(days=1), {"country": "FR", "source": "news.example"}),
    ("/c", "cat", DAY_1 + timedelta(days=1, hours=3), {"country": "FR"}),
    ("/c", "cat", DAY_1 + timedelta(days=9), None),
    ("/c", "dan", DAY_1 + timedelta(days=9), {}),
]


def tongue(attributes: dict[str, str]) -> str | None:
    """Of the attributes alone."""
    country = attributes.get("country")
    attributes.clear()  # its own, or others would miss them
    return {"DE": "german", "FR": "french"}.get(country or "")


def place(path: str, attributes: dict[str, str]) -> str | None:
    """Of both; what it gives now, a test may change."""
    return current[0](path, attributes)


def usual(path: str, attributes: dict[str, str]) -> str | None:
    return f"{attributes['country']} {path}" if "country" in attributes else None


current: list[Callable[[str, dict[str, str]], Any]] = [usual]


@pytest.fixture
def own_dimensions(settings: Any) -> Iterator[None]:
    settings.PAGESTATS_DIMENSIONS = DIMENSIONS
    yield
    current[:] = [usual]


@pytest.fixture
def generation(db: None) -> Generation:
    insert_page_views(VIEWS)
    return fold()


def differences() -> list[Difference]:
    return list(Verification("default"))


def number(name: str) -> int:
    if name == "site":
        return SITE
    found = of_generation(Generation.objects.get(is_active=True).dimensions)
    return next(dimension.id for dimension in found if dimension.name == name)


def subject(name: str, value: str) -> int:
    return Subject.objects.get(dimension=number(name), value=value).pk


def rows(name: str, granularity: int, value: str = "") -> Any:
    """The first row of a value, or of the site, as a query set."""
    found = Aggregate.objects.filter(dimension=number(name), granularity=granularity)
    found = found.filter(subject=subject(name, value) if value else 0)
    return found.filter(bucket=found.order_by("bucket").values_list("bucket", flat=True)[0])


def visitor(key: str) -> int:
    return Visitor.objects.get(session_key=key).pk


def the_set(*keys: str) -> bytes:
    return bytes(BitMap(map(visitor, keys)).serialize())


def told() -> list[tuple[What, str, str, str]]:
    return [(it.what, it.dimension, it.subject, it.granularity) for it in differences()]


# -- nothing to find


def test_what_was_folded_is_right(generation: Generation) -> None:
    verification = Verification("default")
    assert [str(difference) for difference in verification] == []
    assert verification.page_views == len(VIEWS)
    assert verification.aggregates == Aggregate.objects.count()
    counted = set(Aggregate.objects.values_list("dimension", flat=True))
    assert counted == {SITE, PAGE, *map(number, DIMENSIONS)}


def test_what_was_counted_naively_is_right(db: None, settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {name: DIMENSIONS[name] for name in ("country", "source", "entry", "section")}
    fold_naively(insert_page_views(VIEWS))
    assert [str(difference) for difference in differences()] == []


# -- rows of values, in each way

PLACES = [(name, value) for name, value in [("country", "DE"), ("source", "news.example"), ("entry", "/a")]]
PLACES += [("section", "a"), ("tongue", "german"), ("place", "DE /a")]
ROWS = [(name, value, granularity) for name, value in PLACES for granularity in (DAY, ALL)]
each_row = pytest.mark.parametrize(("name", "value", "granularity"), ROWS)
WORDS = {HOUR: "hour", DAY: "day", ALL: "all"}


def of_level(granularity: int) -> list[Difference]:
    """A row of a day that is wrong makes that of all time differ too."""
    return [it for it in differences() if it.granularity == WORDS[granularity]]


@each_row
def test_a_wrong_number_of_page_views(generation: Generation, name: str, value: str, granularity: int) -> None:
    row = rows(name, granularity, value)
    right = row.get().page_views
    row.update(page_views=right + 1)
    (found,) = of_level(granularity)
    assert (found.what, found.stored, found.counted) == (What.PAGE_VIEWS, right + 1, right)
    assert (found.dimension, found.subject, found.bucket) == (name, value, row.get().bucket)


@pytest.mark.once
@each_row
def test_a_wrong_number_of_visitors(generation: Generation, name: str, value: str, granularity: int) -> None:
    row = rows(name, granularity, value)
    right = row.get().visitors
    row.update(visitors=right + 7)
    (found,) = differences()
    assert (found.what, found.stored, found.counted) == (What.VISITORS, right + 7, right)
    assert (found.dimension, found.subject) == (name, value)


@pytest.mark.once
@each_row
@pytest.mark.parametrize("other", ["dan", 4_000_000_000])
def test_another_visitor(generation: Generation, name: str, value: str, granularity: int, other: Any) -> None:
    row = rows(name, granularity, value)
    members = BitMap.deserialize(bytes(row.get().visitor_set))
    members.remove(visitor("ann"))
    members.add(visitor(other) if other == "dan" else other)
    row.update(visitor_set=members.serialize())
    (found,) = of_level(granularity)
    assert (found.what, found.detail) == (What.VISITOR_SET, "1 too many, 1 missing")
    nobody = [it.subject for it in differences() if it.what == What.NO_VISITOR]
    assert nobody == ([] if other == "dan" else [str(other)])


@pytest.mark.once
@each_row
@pytest.mark.parametrize("raw", [b"", b"rubbish"])
def test_a_set_that_cannot_be_read(generation: Generation, name: str, value: str, granularity: int, raw: bytes) -> None:
    rows(name, granularity, value).update(visitor_set=raw)
    assert [(it.what, it.dimension) for it in of_level(granularity)] == [(What.UNREADABLE_SET, name)]


@each_row
def test_a_missing_row(generation: Generation, name: str, value: str, granularity: int) -> None:
    row = rows(name, granularity, value)
    page_views = row.get().page_views
    row.delete()
    (found,) = of_level(granularity)
    assert (found.what, found.stored, found.counted) == (What.MISSING_ROW, None, page_views)
    assert (found.dimension, found.subject) == (name, value)


@pytest.mark.once
@each_row
@pytest.mark.parametrize("bucket", [-5, BUCKET_1 + 3, 2**31 - 1])
def test_an_extra_row(generation: Generation, name: str, value: str, granularity: int, bucket: int) -> None:
    row = rows(name, granularity, value).get()
    row.pk = (generation.pk, row.dimension, row.granularity, bucket, row.subject)
    row.bucket = bucket
    row.save(force_insert=True)
    (found,) = of_level(granularity)
    assert (found.what, found.dimension, found.subject, found.bucket) == (What.EXTRA_ROW, name, value, bucket)


def test_a_row_of_a_value_with_the_subject_of_another_dimension(generation: Generation) -> None:
    """The value of the one must not be taken for that of the other."""
    page = Subject.objects.get(dimension=PAGE, value="/a").pk
    rows("country", DAY, "DE").update(subject=page)
    found = told()
    assert (What.MISSING_ROW, "country", "DE", "day") in found
    assert (What.EXTRA_ROW, "country", f"subject {page}", "day") in found
    assert (What.NO_SUBJECT, "country", f"subject {page}", "") in found


# -- repeat sets

SITE_ROWS = [HOUR, DAY, ALL]


def test_what_the_repeat_sets_are(generation: Generation) -> None:
    """Of the page views above: nobody twice in an hour, ann on the first day, ann and cat in all."""
    sets = {
        (row.granularity, row.bucket): row.repeat_set and bytes(row.repeat_set)
        for row in Aggregate.objects.filter(dimension=SITE)
    }
    assert {key for key, raw in sets.items() if raw} == {(DAY, BUCKET_1), (ALL, generation.all_bucket)}
    assert (sets[DAY, BUCKET_1], sets[ALL, generation.all_bucket]) == (the_set("ann"), the_set("ann", "cat"))


@pytest.mark.parametrize("granularity", SITE_ROWS)
def test_a_wrong_repeat_set(generation: Generation, granularity: int) -> None:
    row = rows("site", granularity)
    right = row.get().repeat_set
    row.update(repeat_set=the_set("ann", "cat", "dan"))
    (found,) = of_level(granularity)
    counted = 0 if right is None else len(BitMap.deserialize(bytes(right)))
    assert (found.what, found.dimension, found.stored, found.counted) == (What.REPEAT_SET, "site", 3, counted)
    assert found.detail == f"{3 - counted} too many, 0 missing"


@pytest.mark.parametrize("granularity", [DAY, ALL])
def test_a_repeat_set_that_is_missing(generation: Generation, granularity: int) -> None:
    row = rows("site", granularity)
    row.update(repeat_set=None)
    (found,) = differences()
    assert (found.what, found.stored, found.counted) == (What.REPEAT_SET, None, 1 if granularity == DAY else 2)
    assert str(found).endswith("nothing stored, " + ("1" if granularity == DAY else "2") + " counted (none is stored)")


@pytest.mark.parametrize("granularity", SITE_ROWS)
def test_a_repeat_set_that_cannot_be_read(generation: Generation, granularity: int) -> None:
    rows("site", granularity).update(repeat_set=b"rubbish")
    assert [it.what for it in of_level(granularity)] == [What.UNREADABLE_REPEAT_SET]


def test_a_repeat_set_with_a_visitor_who_is_nobody(generation: Generation) -> None:
    rows("site", DAY).update(repeat_set=BitMap([visitor("ann"), 4_294_967_295]).serialize())
    found = [(it.what, it.subject, it.granularity) for it in differences()]
    assert found[0] == (What.REPEAT_SET, "", "day")
    assert found[-1] == (What.NO_VISITOR, "4294967295", "")


def test_an_empty_set_says_what_null_says(generation: Generation) -> None:
    rows("site", HOUR).update(repeat_set=BitMap().serialize())
    assert differences() == []


@pytest.mark.parametrize(("name", "value"), [("country", "DE"), ("section", "a")])
@pytest.mark.parametrize("granularity", [DAY, ALL])
def test_other_rows_have_no_repeat_set(generation: Generation, name: str, value: str, granularity: int) -> None:
    rows(name, granularity, value).update(repeat_set=the_set("ann"))
    (found,) = differences()
    assert (found.what, found.dimension, found.stored, found.counted) == (What.REPEAT_SET, name, 1, 0)


def test_a_repeated_visitor_whose_row_is_gone(generation: Generation) -> None:
    ann = visitor("ann")
    Visitor.objects.filter(pk=ann)._raw_delete("default")
    found = differences()
    assert {it.granularity for it in found if it.what == What.REPEAT_SET} == {"day"}
    assert [it.subject for it in found if it.what == What.NO_VISITOR] == [str(ann)]


# -- subjects, and kinds of rows


def test_a_value_whose_subject_is_gone(generation: Generation) -> None:
    gone = subject("country", "DE")
    Subject.objects.filter(pk=gone)._raw_delete("default")
    found = differences()
    assert [(it.what, it.dimension, it.subject, it.granularity) for it in found] == [
        (What.EXTRA_ROW, "country", f"subject {gone}", "day"),
        (What.MISSING_ROW, "country", "DE", "day"),
        (What.NO_SUBJECT, "country", f"subject {gone}", ""),
    ]
    assert "the value counts as another one" in found[-1].detail


def test_rows_of_a_dimension_that_the_generation_does_not_have(generation: Generation) -> None:
    Generation.objects.update(dimensions=[it for it in generation.dimensions if it["name"] != "country"])
    country = next(it["id"] for it in generation.dimensions if it["name"] == "country")
    assert [(it.what, it.dimension, it.granularity, it.stored) for it in differences()] == [
        (What.UNKNOWN_KIND, str(country), "2", 2),
        (What.UNKNOWN_KIND, str(country), "3", 2),
    ]


def test_hours_of_a_named_dimension_nobody_keeps(generation: Generation) -> None:
    row = rows("country", DAY, "DE").get()
    row.pk = (generation.pk, row.dimension, HOUR, row.bucket, row.subject)
    row.granularity = HOUR
    row.save(force_insert=True)
    (found,) = differences()
    assert (found.what, found.dimension, found.granularity) == (What.UNKNOWN_KIND, str(row.dimension), "1")


# -- generations of before, and without dimensions


@pytest.fixture
def of_before(db: None) -> Generation:
    return fold_naively(insert_page_views(VIEWS), dimensions=None)


def test_a_generation_of_before_has_no_repeat_sets(of_before: Generation) -> None:
    assert not Aggregate.objects.exclude(repeat_set=None).exists()
    assert differences() == []


def test_what_a_generation_of_before_does_have_is_compared(of_before: Generation) -> None:
    """Hours and days that were begun since are known: the fold writes their sets."""
    day = Aggregate.objects.filter(dimension=SITE, granularity=DAY, bucket=BUCKET_1)
    day.update(repeat_set=the_set("ann"))
    assert differences() == []
    day.update(repeat_set=the_set("bob"))
    assert [(it.what, it.granularity) for it in differences()] == [(What.REPEAT_SET, "day")]


def test_a_generation_of_before_that_is_folded_on(of_before: Generation) -> None:
    insert_page_views([(path, key, at + timedelta(days=20), attributes) for path, key, at, attributes in VIEWS])
    insert_page_views(VIEWS)
    fold()
    assert [str(difference) for difference in differences()] == []
    assert Aggregate.objects.filter(dimension=SITE, granularity=DAY).exclude(repeat_set=None).exists()


def test_without_dimensions_there_are_repeat_sets(db: None, settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {}
    insert_page_views(VIEWS)
    PageView.objects.create(path="/x", session_key="x", viewed_at=DAY_1, attributes=[1])  # of which nobody asks
    assert fold().dimensions == []
    assert differences() == []
    rows("site", DAY).update(repeat_set=None)
    assert [it.what for it in differences()] == [What.REPEAT_SET]


# -- the gap of all time


@pytest.fixture
def with_gap(db: None, settings: Any) -> Generation:
    """Its rows of all time count the first three page views only."""
    settings.PAGESTATS_DIMENSIONS = {name: DIMENSIONS[name] for name in ("country", "source", "entry", "section")}
    generation = fold_naively(insert_page_views(VIEWS), all_time=3)
    assert generation.all_cursor < generation.cursor
    return generation


def test_the_gap_is_counted_for_values_and_repeat_sets(with_gap: Generation) -> None:
    """Ann is seen in both, cat twice in the gap."""
    assert [str(difference) for difference in differences()] == []


@pytest.mark.parametrize(("name", "value"), [("country", "DE"), ("source", "news.example"), ("entry", "/a")])
def test_rows_of_all_time_are_compared_beside_a_gap(with_gap: Generation, name: str, value: str) -> None:
    rows(name, ALL, value).update(page_views=99)
    (found,) = differences()
    assert (found.what, found.dimension, found.subject, found.granularity) == (What.PAGE_VIEWS, name, value, "all")


@pytest.mark.parametrize("raw", [None, b"rubbish", ("ann", "dan"), ("bob",)])
def test_repeat_sets_of_all_time_are_compared_beside_a_gap(with_gap: Generation, raw: Any) -> None:
    rows("site", ALL).update(repeat_set=the_set(*raw) if isinstance(raw, tuple) else raw)
    (found,) = differences()
    assert found.what == (What.UNREADABLE_REPEAT_SET if raw == b"rubbish" else What.REPEAT_SET)
    assert (found.granularity, found.counted) == ("all", 2)


# -- frozen days


@pytest.fixture
def pruned(generation: Generation) -> Generation:
    PageView.objects.filter(viewed_at__lt=DAY_1 + timedelta(days=2)).delete()
    Generation.objects.update(pruned_before=date(2025, 3, 3))
    return generation


def test_frozen_rows_of_values_are_not_compared_with_page_views(pruned: Generation) -> None:
    assert differences() == []
    rows("country", DAY, "DE").update(visitors=9)
    assert told() == [(What.VISITORS, "country", "DE", "day")]
    Subject.objects.filter(pk=subject("country", "DE"))._raw_delete("default")
    assert (What.NO_SUBJECT, "country") in [it[:2] for it in told()]


@pytest.mark.parametrize("keys", [(), ("ann", "bob"), ("cat",)], ids=["nobody", "too many", "no visitor"])
def test_a_frozen_repeat_set_that_contradicts_its_row(pruned: Generation, keys: tuple[str, ...]) -> None:
    """Three page views of ann and bob: one of them has two."""
    day = rows("site", DAY)
    assert (day.get().page_views, day.get().visitors) == (3, 2)
    day.update(repeat_set=the_set(*keys))
    assert (What.REPEAT_SET, "day") in [(it.what, it.granularity) for it in differences()]
    day.update(repeat_set=None)
    assert [(it.what, it.granularity) for it in differences()] == [(What.REPEAT_SET, "day")]
    day.update(repeat_set=b"rubbish")
    assert (What.UNREADABLE_REPEAT_SET, "day") in [(it.what, it.granularity) for it in differences()]


# -- functions


def test_a_function_that_changes_its_mind(generation: Generation) -> None:
    current[0] = lambda path, attributes: "nowhere" if path == "/c" else usual(path, attributes)
    found = told()
    assert {it[1] for it in found} == {"place"}
    assert (What.MISSING_ROW, "place", "nowhere", "day") in found
    assert (What.EXTRA_ROW, "place", "FR /c", "day") in found
    assert len(found) == 3, "on two days a row is missing, on one there is one too many"


def fail(path: str, attributes: dict[str, str]) -> str:
    raise ZeroDivisionError("no such place")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fail, r"place\(.*path='/.*\) raised ZeroDivisionError: no such place"),
        (lambda path, attributes: "x" * 256, r"place\(.*\) gave 'x.*which has 256 characters"),
        (lambda path, attributes: 5, r"place\(.*\) gave 5, which is no text"),
    ],
    ids=["raises", "too long", "no text"],
)
def test_a_function_that_fails_is_an_error(generation: Generation, function: Any, message: str) -> None:
    current[0] = function
    with pytest.raises(DimensionError, match=message):
        differences()
    out = StringIO()
    with pytest.raises(CommandError, match=message):
        call_command("verify_aggregates", stdout=out)
    assert "differences: 0" not in out.getvalue()


def test_a_function_that_fails_for_page_views_of_the_gap(with_gap: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    """All days were right; what is not counted in all time yet fails."""
    counted = values.NamedValues.columns

    def fail_for_one(self: values.NamedValues, paths: Any, texts: Any) -> Any:
        if len(self.dimensions) == 1:
            raise DimensionError("in the gap")
        return counted(self, paths, texts)

    monkeypatch.setattr(values.NamedValues, "columns", fail_for_one)
    with pytest.raises(DimensionError, match="in the gap"):
        differences()


@pytest.mark.parametrize("attributes", [[1], "text", {"country": 5}, {"country": ["DE"]}, {"country": ""}], ids=str)
def test_attributes_that_are_no_texts_are_an_error(generation: Generation, attributes: Any) -> None:
    PageView.objects.filter(path="/b/c").update(attributes=attributes)
    with pytest.raises(DimensionError, match="has the attributes" if not isinstance(attributes, dict) else "country"):
        differences()


def test_null_as_a_value_is_none(generation: Generation) -> None:
    PageView.objects.filter(path="/b/c").update(attributes={"country": None})
    assert {it[:3] for it in told() if it[1] == "country"} == {(What.PAGE_VIEWS, "country", "DE")}


def test_a_function_that_is_gone(generation: Generation) -> None:
    stored = [it | {"source": "nowhere.at.all"} if it["name"] == "place" else it for it in generation.dimensions]
    Generation.objects.update(dimensions=stored)
    with pytest.raises(CommandError, match=r"place: nowhere\.at\.all cannot be imported"):
        call_command("verify_aggregates", stdout=StringIO())


def test_functions_are_asked_once_for_what_is_the_same(generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "PORTION_ROWS", 20)
    insert_page_views([("/a", f"k{n}", DAY_1, {"country": "DE"}) for n in range(50)])
    fold()
    asked: list[tuple[str, str]] = []

    def ask(path: str, attributes: dict[str, str]) -> str | None:
        asked.append((path, json.dumps(attributes, sort_keys=True)))
        return usual(path, attributes)

    current[0] = ask
    assert differences() == []
    assert len(asked) == 7, "NULL and {} are two texts"


# -- bounded portions and groups come to the same


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)
    monkeypatch.setattr(values, "MOST_REMEMBERED", 3)
    monkeypatch.setattr(values, "MOST_SUBJECTS", 4)


def make_attributed(count: int, **shape: Any) -> None:
    insert_page_views(attributed((row.path, row.session_key, row.viewed_at) for row in make_page_views(count, **shape)))
    PageView.objects.filter(pk__lte=PageView.objects.order_by("pk")[count - 1].pk).delete()


@pytest.mark.in_turn(0)
@pytest.mark.once
@pytest.mark.usefixtures("small")
def test_small_groups_find_nothing_in_what_is_right(db: None) -> None:
    make_attributed(90, paths=9, days=5)
    fold()
    verification = Verification("default")
    assert [str(difference) for difference in verification] == []
    assert verification.aggregates == Aggregate.objects.count()


@pytest.mark.once
@pytest.mark.in_turn(1)
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("granularity", [DAY, ALL])
@pytest.mark.parametrize("name", DIMENSIONS)
def test_small_groups_find_every_row(db: None, name: str, granularity: int) -> None:
    make_attributed(40, paths=5, days=3)
    fold()
    wrong = Aggregate.objects.filter(dimension=number(name), granularity=granularity)
    wrong.update(visitors=10_000)
    found = differences()
    assert {it.what for it in found} == {What.VISITORS}
    assert len(found) == len({(it.granularity, it.bucket, it.subject) for it in found}) == wrong.count() > 1


@pytest.mark.once
@pytest.mark.in_turn(2)
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["path", *DIMENSIONS])
def test_of_values_without_a_subject_each_missing_row_is_told_once(db: None, name: str) -> None:
    """Also of a day that does not fit, and is counted in parts, by numbers that stand in for the subjects."""
    make_attributed(60, paths=12, days=2)
    fold()
    dimension = PAGE if name == "path" else number(name)
    days = Aggregate.objects.filter(dimension=dimension, granularity=DAY)
    expected = {(row.bucket, Subject.objects.get(pk=row.subject).value) for row in days}
    Subject.objects.filter(dimension=dimension)._raw_delete("default")
    missing = [(it.bucket, it.subject) for it in differences() if it.what == What.MISSING_ROW]
    assert sorted(missing) == sorted(expected)


def test_rows_of_values_weigh(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is cut by them too: here nearly all that it counts is of values."""
    views = [("/", f"k{n}", DAY_1 + timedelta(hours=n), {"country": f"c{n}", "source": f"s{n}"}) for n in range(240)]
    insert_page_views(views)
    generation = fold()
    monkeypatch.setattr(counting, "PORTION_ROWS", 10)
    monkeypatch.setattr(counting, "GROUP_WEIGHT", 60)
    dimensions = of_generation(generation.dimensions)
    page_views = counting.PageViews("default", generation.cursor, Calendar("UTC"), dimensions=dimensions)
    most, days = 0, set()
    for counted in page_views.groups(groups.Group()):
        held = sum(len(of_day) for counts in counted.days_of_values.values() for of_day in counts.values())
        most = max(most, held)
        days |= counted.days_of_pages.keys()
    assert len(days) == 11
    assert most <= 60
    assert differences() == []


def test_a_value_with_most_of_the_page_views_is_not_cut_for_ever(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cut makes its row smaller, and each would read all page views once more."""
    insert_page_views([(f"/a/{n % 40}", f"k{n}", DAY_1, {"country": "DE"}) for n in range(2_000)])
    fold()
    monkeypatch.setattr(counting, "GROUP_WEIGHT", 30)
    read = counting.PageViews._columns
    reads: list[Any] = []
    monkeypatch.setattr(counting.PageViews, "_columns", lambda *given: (reads.append(given), read(*given))[1])
    assert differences() == []
    assert len(reads) <= 20


@settings(max_examples=60)
@given(rows_of_days=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=9))
def test_repeat_sets_of_days_add_up(rows_of_days: list[list[int]]) -> None:
    summed = Totals()
    for seen in rows_of_days:
        repeats = BitMap([it for it in seen if seen.count(it) > 1])
        raw = repeats.serialize() if repeats else None
        summed.add_stored(StoredRow(1, 0, len(seen), len(set(seen)), BitMap(seen).serialize(), raw))
    whole = [visitor for seen in rows_of_days for visitor in seen]
    assert summed.entries()[0].repeats == BitMap([it for it in whole if whole.count(it) > 1])


def test_what_is_unknown_of_one_day_is_unknown_of_all(db: None) -> None:
    summed = Totals()
    for page_views in (1, 3, 1):
        summed.add_stored(StoredRow(1, 0, page_views, 1, BitMap([5]).serialize()))
    assert summed.entries()[0].repeats is None


def test_all_totals_share_one_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_ADDED", 0)
    monkeypatch.setattr(totals, "MOST_BYTES", 12 * (totals.SUBJECT_BYTES + totals.CONTAINER_BYTES + 2))
    room = Room()
    small, large = Totals(room=room), Totals(room=room)
    for number in range(1, 5):
        small.add_counted([(number, [5])])
    for number in range(1, 30):
        large.add_counted([(number, [5])])
        assert len(small.entries()) + len(large.entries()) <= 12
    assert (len(small.entries()), small.high) == (4, None), "the largest gives up"
    assert large.high is not None


def test_the_largest_of_all_totals_gives_up_where_another_one_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_ADDED", 0)
    monkeypatch.setattr(totals, "MOST_BYTES", 12 * (totals.SUBJECT_BYTES + totals.CONTAINER_BYTES + 2))
    room = Room()
    small, large = Totals(room=room), Totals(room=room)
    for number in range(1, 11):
        large.add_counted([(number, [5])])
    for number in range(1, 6):
        small.add_counted([(number, [5])])
    assert (len(small.entries()), small.high) == (5, None)
    assert (len(large.entries()), large.high) == (5, 6)
    room.leave(large)
    for number in range(6, 13):
        small.add_counted([(number, [5])])
    assert (len(small.entries()), small.high) == (12, None)


def test_all_levels_of_a_comparison_share_one_room(generation: Generation) -> None:
    comparison = Comparison("default", generation, Calendar("UTC"))
    assert len({id(it.room) for it in comparison.totals.values()}) == 1
    assert len(comparison.totals) == 2 + len(DIMENSIONS)


@pytest.mark.once
class TestAnyPageViews(HypothesisTestCase):
    @settings(max_examples=15)
    @given(
        zone=st.sampled_from(HARD_ZONES),
        views=st.lists(
            st.tuples(
                st.sampled_from(["/a", "/A/b", "/ü/", "/"]),
                st.sampled_from(["k", "K", "l"]),
                st.integers(-200_000, 200_000),
                st.one_of(
                    st.none(),
                    st.dictionaries(
                        st.sampled_from(["country", "source", "other"]),
                        st.sampled_from(["DE", "FR", "de", " DE", "ü\n'\"\\"]),
                    ),
                ),
            ),
            min_size=1,
            max_size=16,
        ),
        chunk_size=st.integers(1, 9),
        breaks=st.integers(0, 10**6),
    )
    def test_what_is_folded_verifies(self, zone: str, views: list[Any], chunk_size: int, breaks: int) -> None:
        insert_page_views([(path, key, DAY_1 + timedelta(seconds=at), given) for path, key, at, given in views])
        with self.settings(PAGESTATS_TIME_ZONE=zone), pytest.MonkeyPatch.context() as monkeypatch:
            make_small(monkeypatch)
            monkeypatch.setattr(values, "MOST_REMEMBERED", 3)
            backfill.run_here("default", via="tests", chunk_size=chunk_size)
            verification = Verification("default")
            assert [str(difference) for difference in verification] == []
            assert verification.aggregates == Aggregate.objects.count()
            self.break_one(breaks)

    def break_one(self, breaks: int) -> None:
        """Any row, in any way, is told."""
        stored = list(Aggregate.objects.order_by("pk"))
        row = Aggregate.objects.filter(pk=stored[breaks % len(stored)].pk)
        way = breaks // len(stored) % 4
        if way == 0:
            row.delete()
        elif way == 1:
            row.update(page_views=row.get().page_views + 1)
        elif way == 2:
            row.update(visitor_set=BitMap([4_000_000_000]).serialize())
        else:
            row.update(repeat_set=BitMap([4_000_000_000]).serialize())
        assert differences() != []


# -- processes


@on_postgresql
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_processes_find_what_one_finds() -> None:
    make_attributed(300, paths=20, days=12)
    generation = fold()
    for wrong in Aggregate.objects.filter(generation=generation.pk).order_by("bucket", "subject")[::5]:
        row = Aggregate.objects.filter(pk=wrong.pk)
        kind = (wrong.bucket + wrong.subject) % 4
        if kind == 0:
            row.delete()
        else:
            row.update(**[{"visitors": 77}, {"page_views": 99}, {"repeat_set": b"rubbish"}][kind - 1])
    Subject.objects.filter(pk=subject("country", "DE"))._raw_delete("default")
    connection.close()
    alone = sorted(map(str, differences()))
    shared = sorted(str(difference) for difference in Verification("default", processes=3))
    assert shared == alone
    assert {"country", "section", "place", "site"} <= {line.split()[0] for line in alone}


@on_postgresql
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_processes_find_nothing_in_what_is_right() -> None:
    make_attributed(300, paths=20, days=12)
    fold()
    connection.close()
    verification = Verification("default", processes=2)
    assert list(verification) == []
    assert verification.aggregates == Aggregate.objects.count()


def fails_elsewhere(path: str) -> str:
    """Only in a process that was started for a share of the days."""
    if multiprocessing.parent_process() is None:
        return "here"
    raise ZeroDivisionError("elsewhere")


@on_postgresql
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_function_that_fails_in_a_process_is_an_error(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"fails": f"{HERE}.fails_elsewhere"}
    insert_page_views([(f"/{n}", f"k{n}", DAY_1 + timedelta(days=n), None) for n in range(20)])
    fold()
    connection.close()
    with pytest.raises(ProcessFailedError, match=r"fails_elsewhere\(path='/.*'\) raised ZeroDivisionError: elsewhere"):
        list(Verification("default", processes=2))
    out = StringIO()
    with pytest.raises(CommandError, match="raised ZeroDivisionError: elsewhere"):
        call_command("verify_aggregates", processes=2, stdout=out)


# -- the command


def test_the_command_in_words_and_as_json(generation: Generation) -> None:
    rows("country", DAY, "DE").update(visitors=4)
    rows("site", ALL).update(repeat_set=None)
    out = StringIO()
    with pytest.raises(CommandError, match="2 differences"):
        call_command("verify_aggregates", stdout=out)
    assert out.getvalue().splitlines()[:2] == [
        f"country DE day 2025-03-01 ({BUCKET_1}): visitors: 4 stored, 2 counted",
        "site all (0): repeat set: nothing stored, 2 counted (none is stored)",
    ]
    out = StringIO()
    with pytest.raises(CommandError, match="2 differences"):
        call_command("verify_aggregates", stdout=out, json=True)
    assert [(it["what"], it["dimension"], it["subject"]) for it in json.loads(out.getvalue())["differences"]] == [
        ("visitors", "country", "DE"),
        ("repeat set", "site", ""),
    ]


def test_repair_makes_values_and_repeat_sets_anew(generation: Generation) -> None:
    Aggregate.objects.filter(dimension=number("country")).delete()
    Aggregate.objects.update(repeat_set=None)
    out = StringIO()
    call_command("verify_aggregates", stdout=out, json=True, repair=True)
    found = json.loads(out.getvalue())
    # of all time nobody knows what should be there, where a day does not tell
    assert [(it["what"], it["granularity"]) for it in found["before"]["differences"]] == [
        ("repeat set", "day"),
        ("missing row", "day"),
        ("missing row", "day"),
    ]
    assert found["after"]["difference_count"] == 0
