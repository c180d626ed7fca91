"""What the benchmarks measure is what they say: aggregates without page views are those of a fold of the same ones."""

from __future__ import annotations

from datetime import date

import pytest
from pyroaring import BitMap

from benchmarks.history import History, Writer
from django_pagestats import backfill
from django_pagestats.models import Aggregate, Generation, Granularity, PageView

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

END = date(2026, 11, 30)


def history() -> History:
    """Draws the same page views each time."""
    return History(0.00002, days=20, end=END)


def stored(generation: int) -> list[tuple[object, ...]]:
    """All aggregate rows; those of all time are under one of two bucket numbers."""
    rows = Aggregate.objects.filter(generation=generation).order_by("dimension", "granularity", "bucket", "subject")
    columns = ("dimension", "granularity", "bucket", "subject", "page_views", "visitors", "visitor_set", "repeat_set")
    return [
        (
            *numbers[:2],
            0 if numbers[1] == Granularity.ALL else numbers[2],
            *numbers[3:6],
            *(None if it is None else BitMap.deserialize(bytes(it)) for it in numbers[6:]),
        )
        for numbers in rows.values_list(*columns)
    ]


def test_a_history_is_what_a_fold_of_its_page_views_makes() -> None:
    count = Writer(history()).write()
    assert 1_000 < count < 4_000
    made = Generation.objects.get(is_active=True)
    assert (made.cursor, made.all_cursor) == (count, count)
    PageView.objects.all().delete()
    PageView.objects.bulk_create(
        PageView(pk=pk, path=path, session_key=key, viewed_at=at, attributes=attributes)
        for pk, (path, key, at, attributes) in enumerate(history().rows(), 1)
    )
    backfill.run_here("default", kind="rebuild", via="test", keep_old=True)
    folded = Generation.objects.get(is_active=True)
    assert folded.pk != made.pk and folded.cursor == count
    assert {row[:2] for row in stored(folded.pk)} > {(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (5, 2)}
    assert stored(made.pk) == stored(folded.pk)
