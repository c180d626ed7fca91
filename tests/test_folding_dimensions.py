"""Named dimensions in the fold: what is stored equals a plain count, however it was folded."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from pyroaring import BitMap

from django_pagestats import folding
from django_pagestats.conf import DIMENSIONS
from django_pagestats.models import Aggregate, Generation, PageView, Subject, Visitor
from tests.chains import Links, the_run

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
SITE, HOUR, DAY, ALL = 1, 1, 2, 3


def make(count: int, seed: int = 0, days: int = 6) -> None:
    random = Random(seed)
    views = []
    for number in range(count):
        attributes: dict[str, str] | None = {"device": random.choice(["desktop", "mobile"])}
        if random.random() < 0.4:
            attributes |= {"source": random.choice(["(direct)", "news.example", "Ünïcode\n,\"'\\"])}
        if random.random() < 0.2:
            attributes = None
        views.append(
            PageView(
                path=random.choice(["/", "/blog/", "/blog/a", "/shop/x", "/shop"]),
                session_key=f"visitor {random.randrange(count // 2 + 1)}",
                viewed_at=START + timedelta(seconds=number * days * 86_400 / count),
                attributes=attributes,
            )
        )
    PageView.objects.bulk_create(views)


def expected(generation: Generation) -> dict[tuple[str, int, int, str], tuple[int, int, BitMap]]:
    """(dimension, granularity, bucket, value) -> page views and visitors, by a plain count."""
    ids = dict(Visitor.objects.values_list("session_key", "pk"))
    names = {it["name"] for it in generation.dimensions}
    seen: dict[tuple[str, int, int, str], list[int]] = defaultdict(list)
    for view in PageView.objects.filter(pk__lte=generation.cursor):
        attributes = view.attributes or {}
        values = dict(attributes)
        values["section"] = next((part for part in view.path.split("/") if part), "/")
        if "source" in attributes:
            values["entry"] = view.path
        day = (view.viewed_at - datetime(1970, 1, 1, tzinfo=timezone.utc)).days
        for name, value in values.items():
            if name in names:
                seen[name, DAY, day, value].append(ids[view.session_key])
                if view.pk <= generation.all_cursor:
                    seen[name, ALL, generation.all_bucket, value].append(ids[view.session_key])
    return {key: (len(visitors), len(set(visitors)), BitMap(visitors)) for key, visitors in seen.items()}


def stored(generation: Generation) -> dict[tuple[str, int, int, str], tuple[int, int, BitMap]]:
    names = {it["id"]: it["name"] for it in generation.dimensions}
    values = {row.pk: row for row in Subject.objects.all()}
    found = {}
    for row in Aggregate.objects.filter(generation=generation.pk, dimension__in=names):
        if row.granularity == ALL and row.bucket != generation.all_bucket:
            continue
        assert values[row.subject].dimension == row.dimension
        key = names[row.dimension], row.granularity, row.bucket, values[row.subject].value
        found[key] = row.page_views, row.visitors, BitMap.deserialize(bytes(row.visitor_set))
        assert row.repeat_set is None
    return found


def assert_repeats(generation: Generation) -> None:
    """Repeat sets of the site, by a plain count."""
    ids = dict(Visitor.objects.values_list("session_key", "pk"))
    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for view in PageView.objects.filter(pk__lte=generation.cursor):
        seconds = int((view.viewed_at - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds())
        visitor = ids[view.session_key]
        seen[HOUR, seconds // 3_600][visitor] += 1
        seen[DAY, seconds // 86_400][visitor] += 1
        if view.pk <= generation.all_cursor:
            seen[ALL, generation.all_bucket][visitor] += 1
    wanted = {key: BitMap([visitor for visitor, count in counts.items() if count > 1]) for key, counts in seen.items()}
    rows = Aggregate.objects.filter(generation=generation.pk, dimension=SITE)
    found: dict[tuple[int, int], Any] = {
        (row.granularity, row.bucket): BitMap() if row.repeat_set is None else BitMap.deserialize(bytes(row.repeat_set))
        for row in rows
    }
    assert found == wanted
    for row in rows:
        assert (row.repeat_set is None) == (row.page_views == row.visitors)


def active() -> Generation:
    return Generation.objects.get(is_active=True)


def assert_counted() -> None:
    generation = active()
    assert stored(generation) == expected(generation)
    assert_repeats(generation)


@pytest.mark.django_db
@pytest.mark.parametrize("chunk_size", [7, 50, 1_000])
def test_a_backfill_counts_every_dimension(chunk_size: int) -> None:
    make(300)
    links = Links()
    links.start(chunk_size=chunk_size)
    links.drain()
    assert the_run().status == "succeeded"
    generation = active()
    assert generation.all_cursor == generation.cursor == PageView.objects.latest("pk").pk
    assert_counted()
    counts = {name for name, *_ in stored(generation)}
    assert counts == {"source", "entry", "section", "device"}


@pytest.mark.django_db
def test_keeping_up_and_the_gap_count_them_too() -> None:
    make(60)
    links = Links()
    links.start(chunk_size=20)
    links.drain()
    for seed in range(1, 4):
        make(150, seed)
        folding.keep_up("default", seconds=30)
        assert_counted()
    assert active().all_cursor == active().cursor


@pytest.mark.django_db
def test_a_rebuild_counts_what_the_settings_name_and_keeps_their_numbers(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"device": "device", "source": "source"}
    make(100)
    links = Links()
    links.start(chunk_size=30)
    links.drain()
    before = {it["name"]: it["id"] for it in active().dimensions}
    settings.PAGESTATS_DIMENSIONS = {"shop": f"{__name__}.in_shop", "source": "source"}
    make(40, seed=5)
    folding.keep_up("default", seconds=30)
    assert {it["name"] for it in active().dimensions} == set(before), "folding goes on with the generation's own"
    links.start("rebuild")
    links.drain()
    assert the_run().status == "succeeded"
    after = {it["name"]: it["id"] for it in active().dimensions}
    assert after["source"] == before["source"]
    assert after["shop"] not in before.values()
    generation = active()
    shop = Aggregate.objects.get(generation=generation.pk, dimension=after["shop"], granularity=ALL)
    assert shop.page_views == PageView.objects.filter(path__startswith="/shop").count()


def in_shop(path: str) -> str | None:
    return "yes" if path.startswith("/shop") else None


@pytest.mark.django_db
@pytest.mark.parametrize("names", [["section"], ["entry"], ["device"], ["source", "section"]])
def test_some_dimensions_are_counted_as_all_are(names: list[str], settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {name: DIMENSIONS[name] for name in names}
    make(120)
    links = Links()
    links.start(chunk_size=50)
    links.drain()
    assert {name for name, *_ in stored(active())} == set(names)
    assert_counted()


@pytest.mark.django_db
def test_without_dimensions_nothing_is_counted_but_site_and_pages(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {}
    make(50)
    links = Links()
    links.start()
    links.drain()
    assert active().dimensions == []
    assert set(Aggregate.objects.values_list("dimension", flat=True)) == {1, 2}
    assert_repeats(active())


@pytest.mark.django_db
def test_a_generation_of_before_is_folded_on_as_it_was() -> None:
    """It has no dimensions and, of what it had counted, no repeat sets: what is unknown stays unknown."""
    make(100)
    links = Links()
    links.start(chunk_size=30)
    links.drain()
    Aggregate.objects.filter(dimension__gt=2).delete()
    Aggregate.objects.update(repeat_set=None)
    Generation.objects.update(dimensions=None)
    old_days = set(Aggregate.objects.filter(dimension=SITE, granularity=DAY).values_list("bucket", flat=True))
    make(100, seed=1, days=12)
    folding.keep_up("default", seconds=30)
    assert active().cursor == PageView.objects.latest("pk").pk
    assert set(Aggregate.objects.values_list("dimension", flat=True)) == {1, 2}
    for row in Aggregate.objects.filter(dimension=SITE, granularity__in=[DAY, ALL]):
        if row.granularity == ALL or row.bucket in old_days:
            assert row.repeat_set is None
            assert row.page_views > row.visitors
        else:
            assert (row.repeat_set is None) == (row.page_views == row.visitors)
    links.start("rebuild")
    links.drain()
    assert [it["name"] for it in active().dimensions] == list(DIMENSIONS)
    assert_counted()
