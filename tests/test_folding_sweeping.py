"""Sweeping: the aggregates that answer no more are deleted."""

from __future__ import annotations

import pytest

from django_pagestats import backfill, folding
from django_pagestats.models import Aggregate, Generation
from tests.chains import (
    Links,
    active_generation,
    assert_exact,
    assert_generation_exact,
    the_run,
)
from tests.factories import make_page_views


@pytest.mark.django_db
@pytest.mark.usefixtures("no_settling")
class TestSweeping:
    def test_deletes_what_answers_no_more_in_chunks_and_nothing_else(self) -> None:
        make_page_views(100)
        backfill.run_here("default", via="test")
        backfill.run_here("default", kind="rebuild", via="test")
        links = Links()
        links.start("rebuild", chunk_size=30)
        links.deliver_next()
        old = Generation.objects.order_by("pk")[0]
        count = Aggregate.objects.filter(generation=old.pk).count()
        assert folding.sweep("default", chunk_size=7) == count
        assert not Aggregate.objects.filter(generation=old.pk).exists()
        assert_exact()
        old.refresh_from_db()
        assert old.swept_at is not None
        left = Generation.objects.filter(swept_at=None).order_by("pk")
        assert list(left) == [active_generation(), the_run().generation]
        assert folding.sweep("default") == 0

    def test_stops_in_time_and_goes_on_later(self) -> None:
        make_page_views(100)
        backfill.run_here("default", via="test")
        backfill.run_here("default", kind="rebuild", via="test")
        assert folding.sweep("default", seconds=0) == 0
        assert Generation.objects.filter(swept_at=None).count() == 2
        assert folding.sweep("default") > 0
        assert_generation_exact(active_generation())
