"""PAGESTATS_DIMENSIONS changes, or is new: folding goes on with each generation's own, and a rebuild brings the others.

`assert_exact()` compares every row of every generation with a naive count, by the dimensions that each says it has.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_pagestats import backfill, folding
from django_pagestats.backfill import keeping
from django_pagestats.conf import DIMENSIONS
from django_pagestats.models import Aggregate, Generation, PageView, Subject
from tests.chains import (
    Links,
    active_generation,
    assert_all_counted,
    assert_exact,
    make_as_before,
    the_run,
)
from tests.factories import ALL, DAY, HOUR, SITE, START, make_page_views

pytestmark = [pytest.mark.once, pytest.mark.django_db, pytest.mark.usefixtures("no_settling")]

FIRST = {"source": "source", "section": "django_pagestats.dimensions.section"}
#: one is left out, one is new, and one comes from somewhere else
OTHER = {"source": "tests.test_dimensions_changing.source_and_path", "device": "device"}


def source_and_path(path: str, attributes: dict[str, str]) -> str | None:
    return f"{attributes['source']} {path}" if "source" in attributes else None


def names(generation: Generation) -> dict[str, int]:
    return {it["name"]: it["id"] for it in generation.dimensions}


@pytest.fixture
def first(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("chunk_size", [7, 60])
def test_between_two_chunks_of_a_run_and_back(settings: Any, chunk_size: int) -> None:
    make_page_views(200, with_attributes=True)
    links = Links()
    links.start(chunk_size=chunk_size)
    delivered = 0
    while links.sent:
        settings.PAGESTATS_DIMENSIONS = [FIRST, OTHER, {}][delivered % 3]
        keeping.release_kept()  # the next link comes to another process
        links.deliver_next()
        assert_exact()
        delivered += 1
    assert delivered > 3
    assert_all_counted()
    assert list(names(active_generation())) == list(FIRST)


@pytest.mark.usefixtures("first")
def test_between_two_ticks_of_keeping_up(settings: Any) -> None:
    make_page_views(50, with_attributes=True)
    backfill.run_here("default", via="test")
    for seed, wanted in enumerate([OTHER, {}, FIRST, DIMENSIONS]):
        settings.PAGESTATS_DIMENSIONS = wanted
        make_page_views(150, seed=seed, with_attributes=True)
        folding.keep_up("default", seconds=30)
        assert_all_counted()
    generation = active_generation()
    assert list(names(generation)) == list(FIRST)
    assert generation.all_cursor == generation.cursor


@pytest.mark.usefixtures("first")
def test_during_a_rebuild(settings: Any) -> None:
    """It has those that there were when it began; which of the settings those are is told from then on."""
    make_page_views(120, with_attributes=True)
    backfill.run_here("default", via="test")
    before = active_generation()
    settings.PAGESTATS_DIMENSIONS = OTHER
    links = Links()
    links.start("rebuild", chunk_size=10)
    for wanted in (DIMENSIONS, FIRST, {}, OTHER, DIMENSIONS):
        settings.PAGESTATS_DIMENSIONS = wanted
        links.deliver_next()
        make_page_views(3, with_attributes=True)
        folding.keep_up("default", seconds=30)
        assert_exact()
        assert active_generation() == before
    links.drain()
    assert the_run().status == "succeeded", the_run().error
    after = active_generation()
    assert list(names(after)) == list(OTHER)
    assert_exact()


@pytest.mark.usefixtures("first")
def test_a_rebuild_and_back_again_have_the_whole_history(settings: Any) -> None:
    """Whatever comes, a name has its number; so what is known of the values of one that left is of use again."""
    make_page_views(120, with_attributes=True)
    backfill.run_here("default", via="test")
    numbers: dict[str, int] = {}
    for wanted in (OTHER, FIRST, {}, DIMENSIONS, OTHER):
        settings.PAGESTATS_DIMENSIONS = wanted
        make_page_views(20, seed=7, with_attributes=True)
        backfill.run_here("default", kind="rebuild", via="test")
        assert_all_counted()
        found = names(active_generation())
        assert list(found) == list(wanted)
        assert {name: numbers.get(name, number) for name, number in found.items()} == found
        numbers |= found
    assert len(set(numbers.values())) == len(numbers)
    assert not Subject.objects.exclude(dimension__in=[2, *numbers.values()]).exists()


@pytest.mark.usefixtures("first")
def test_a_generation_that_is_kept_answers_again_with_its_own(settings: Any) -> None:
    make_page_views(60, with_attributes=True)
    backfill.run_here("default", via="test")
    before = active_generation()
    settings.PAGESTATS_DIMENSIONS = OTHER
    backfill.run_here("default", kind="rebuild", via="test", keep_old=True)
    make_page_views(60, seed=1, with_attributes=True)
    folding.keep_up("default", seconds=30)
    assert_exact()
    backfill.activate("default", before.pk, keep_old=True, via="test")
    backfill.run_here("default", via="test")
    assert active_generation() == before
    assert_exact()
    assert list(names(active_generation())) == list(FIRST)


# -- page views of before the column, and generations of before named dimensions


def test_page_views_of_before_the_column_are_counted_by_their_path_alone() -> None:
    """By an INSERT of the three columns, as the release before made it, and any program may."""
    at = connection.ops.adapt_datetimefield_value(START)
    with connection.cursor() as cursor:
        for path in ("/", "/blog/a", "/blog/b", "/blog/a"):
            cursor.execute(
                f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at) VALUES (%s, %s, %s)",
                [path, "somebody", at],
            )
    make_page_views(30, with_attributes=True)
    PageView.objects.filter(pk=PageView.objects.latest("pk").pk).update(attributes={})
    backfill.run_here("default", via="test", chunk_size=3)
    assert_all_counted()
    generation = active_generation()
    sections = Subject.objects.filter(dimension=names(generation)["section"])
    assert set(sections.values_list("value", flat=True)) >= {"/", "blog"}


def old_site(page_views: int = 200) -> Generation:
    """A site whose aggregates were made by the release before, from page views with and without attributes."""
    make_page_views(page_views, with_attributes=True, days=4)
    backfill.run_here("default", via="test")
    make_as_before()
    assert set(Aggregate.objects.values_list("dimension", flat=True)) == {1, 2}
    generation = active_generation()
    assert generation.dimensions is None
    return generation


def unknown(generation: Generation) -> set[tuple[int, int]]:
    """Buckets of the site of which nobody knows who came twice."""
    rows = Aggregate.objects.filter(generation=generation.pk, dimension=SITE)
    return {(it.granularity, it.bucket) for it in rows if it.repeat_set is None and it.page_views > it.visitors}


def test_a_generation_of_before_is_folded_on_and_what_it_did_not_know_stays_unknown() -> None:
    generation = old_site()
    before = unknown(generation)
    assert {granularity for granularity, _ in before} == {HOUR, DAY, ALL}
    for seed in range(1, 4):
        make_page_views(150, seed=seed, with_attributes=True, days=8)
        folding.keep_up("default", seconds=30)
        assert_exact()
        assert active_generation() == generation
        assert active_generation().dimensions is None
        assert unknown(generation) == before, "what is new is known, and what was not is not made up"
    assert active_generation().all_cursor == active_generation().cursor
    assert set(Aggregate.objects.values_list("dimension", flat=True)) == {1, 2}


def test_a_pass_over_days_of_which_one_is_unknown_knows_nothing_of_all_time() -> None:
    generation = old_site()
    make_page_views(150, seed=1, with_attributes=True, days=8)
    folding.keep_up("default", seconds=30)
    Aggregate.objects.filter(granularity=ALL)._raw_delete("default")
    Generation.objects.update(all_moved_at=None, all_cursor=0, all_bucket=1)
    while not (step := folding.AllTime("default", generation.pk)).step():
        assert_exact()
    assert step.generation.all_cursor == step.generation.cursor
    assert_exact()
    row = Aggregate.objects.get(dimension=SITE, granularity=ALL, bucket=step.generation.all_bucket)
    assert row.page_views > row.visitors and row.repeat_set is None


@pytest.mark.in_turn(1)
@pytest.mark.parametrize("chunk_size", [None, 30])
def test_a_generation_of_before_is_rebuilt_with_its_whole_history(chunk_size: int | None) -> None:
    old_site()
    make_page_views(50, seed=1, with_attributes=True)
    folding.keep_up("default", seconds=30)
    links = Links()
    links.start("rebuild", chunk_size=chunk_size)
    while links.sent:
        links.deliver_next()
        assert_exact()
    assert the_run().status == "succeeded", the_run().error
    generation = active_generation()
    assert list(names(generation)) == list(DIMENSIONS)
    assert unknown(generation) == set()
    assert_all_counted()
