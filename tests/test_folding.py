"""The fold: what is stored always equals a naive count of the page views up to the cursor."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from pyroaring import BitMap

from django_pagestats import backfill, folding
from django_pagestats.models import Aggregate, Generation, PageView
from tests.chains import (
    Links,
    Site,
    active_generation,
    assert_all_counted,
    assert_exact,
    page_views,
    small_steps,
    steps,
)
from tests.factories import ALL, DAY, HOUR, PAGE, SITE, START, View, insert_page_views, make_page_views
from tests.named import named_dimensions


class OracleTest(TestCase):
    # a server's round trips take most of the time
    @settings(max_examples=25 if connection.vendor == "sqlite" else 10)
    @given(page_views, st.lists(steps, max_size=14))
    def test_whatever_happens_the_aggregates_equal_a_naive_count(
        self, first: list[View], script: list[tuple[Any, ...]]
    ) -> None:
        with override_settings(PAGESTATS_SETTLE_SECONDS=0), small_steps():
            site = Site(assert_exact)
            site.play([("record", first), *script])
            site.finish()
            assert_all_counted()
            folding.sweep("default", chunk_size=2)
            needed = set(Generation.objects.exclude(is_active=None, kept_at=None).values_list("pk", flat=True))
            assert set(Aggregate.objects.values_list("generation", flat=True)) == needed
            for generation in needed:
                close_gap(generation)
                assert_all_rows_are_merges_of_day_rows(generation)


def close_gap(generation: int) -> None:
    all_time = folding.AllTime("default", generation, fence=lambda: None)
    while not all_time.step():
        pass


def assert_all_rows_are_merges_of_day_rows(generation: int) -> None:
    named = named_dimensions(Generation.objects.get(pk=generation).dimensions)
    for dimension in (SITE, PAGE, *(it.id for it in named)):
        for granularity in (DAY, HOUR) if dimension == SITE else (DAY,):
            assert merged(generation, dimension, granularity) == merged(generation, dimension, ALL)


def merged(generation: int, dimension: int, granularity: int) -> dict[int, tuple[int, BitMap]]:
    page_views: defaultdict[int, int] = defaultdict(int)
    visitors: defaultdict[int, BitMap] = defaultdict(BitMap)
    for row in Aggregate.objects.filter(generation=generation, dimension=dimension, granularity=granularity):
        page_views[row.subject] += row.page_views
        visitors[row.subject] |= BitMap.deserialize(bytes(row.visitor_set))
    return {subject: (count, visitors[subject]) for subject, count in page_views.items()}


@pytest.mark.once
@pytest.mark.django_db
def test_more_than_ten_thousand_sessions_that_come_back_at_random(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    dice = random.Random(2)
    views = []
    for number in range(15_000):
        session = number if number < 10_500 else dice.randrange(10_500)
        views.append(
            (f"/{dice.randrange(3)}", f"session-{session}", START + timedelta(seconds=dice.randrange(200_000)))
        )
    dice.shuffle(views)
    insert_page_views(views)
    links = Links()
    links.start(chunk_size=5_000)
    assert links.drain() == 4
    row = Aggregate.objects.get(dimension=SITE, granularity=ALL)
    assert (row.page_views, row.visitors) == (15_000, 10_500)
    assert_all_counted()


@pytest.mark.django_db
def test_a_rebuild_counts_in_the_zone_of_the_settings(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    make_page_views(300)
    backfill.run_here("default", via="test")
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    backfill.run_here("default", kind="rebuild", via="test")
    assert active_generation().time_zone == "Asia/Kathmandu"
    assert_all_counted()


@pytest.mark.django_db
def test_a_generation_keeps_its_zone(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    make_page_views(100)
    backfill.run_here("default", via="test")
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    make_page_views(100, seed=1)
    backfill.run_here("default", via="test")
    assert active_generation().time_zone == "UTC"
    assert_all_counted()


@pytest.mark.django_db
def test_ids_below_one_are_counted(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    for pk in (-7, -2, 3):
        PageView.objects.bulk_create([PageView(pk=pk, path="/", session_key=str(pk), viewed_at=START)])
    backfill.run_here("default", via="test")
    assert_all_counted()
    assert Aggregate.objects.get(dimension=SITE, granularity=ALL).page_views == 3


@pytest.mark.django_db
def test_gaps_between_ids_are_passed(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    rows = make_page_views(50)
    PageView.objects.filter(pk__in=[row.id for row in rows[10:40]]).delete()
    PageView.objects.bulk_create([PageView(pk=rows[-1].id + 10**12, path="/", session_key="x", viewed_at=START)])
    backfill.run_here("default", via="test", chunk_size=7)
    assert_all_counted()


def test_no_test_patches_the_face_of_the_package() -> None:
    """The rooms have names of their own for what they call: `tests.patching.replace` patches all of them."""
    tests = Path(__file__).parent
    patching = [path.name for path in tests.glob("*.py") if re.search(r"setattr\(folding,", path.read_text())]
    assert patching == []
