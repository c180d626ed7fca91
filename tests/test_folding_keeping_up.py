"""Keeping up: the newest page views are folded without a run."""

from __future__ import annotations

from typing import Any

import pytest

from django_pagestats import backfill, folding
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.folding import chunks
from django_pagestats.folding.reading import Reader
from django_pagestats.folding.stretches import Cut
from django_pagestats.models import Aggregate, Generation, PageView
from tests.chains import (
    Links,
    active_generation,
    assert_all_counted,
    assert_exact,
)
from tests.factories import make_page_views


@pytest.mark.django_db
@pytest.mark.usefixtures("no_settling")
class TestKeepingUp:
    def test_folds_the_tail_and_makes_the_generation(self) -> None:
        make_page_views(700)
        assert folding.keep_up("default", seconds=10) == folding.KeptUp(700)
        assert_all_counted()
        make_page_views(30, seed=1)
        assert folding.keep_up("default", seconds=10) == folding.KeptUp(30)
        assert_all_counted()

    def test_without_a_tail_it_does_nothing(self) -> None:
        assert folding.keep_up("default", seconds=10) == folding.KeptUp()
        assert not Generation.objects.exists()

    def test_leaves_a_longer_tail_than_the_limit_to_a_run(self, settings: Any) -> None:
        settings.PAGESTATS_TAIL_LIMIT = 10
        make_page_views(11)
        kept_up = folding.keep_up("default", seconds=10)
        assert kept_up.page_views == 0
        assert "backfill_aggregates" in kept_up.reason
        assert not Aggregate.objects.exists()

    def test_leaves_a_generation_alone_that_a_run_works_on(self) -> None:
        make_page_views(11)
        Links().start()
        assert folding.keep_up("default", seconds=10).reason == "a run is at work on this generation"
        assert not Aggregate.objects.exists()

    def test_goes_on_with_the_active_generation_during_a_rebuild(self) -> None:
        make_page_views(50)
        backfill.run_here("default", via="test")
        Links().start("rebuild")
        make_page_views(20, seed=1)
        assert folding.keep_up("default", seconds=10) == folding.KeptUp(20)
        assert_exact()
        assert active_generation().cursor == PageView.objects.latest("pk").pk

    def test_ends_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chunks, "FIRST_CHUNK_SIZE", 5)
        make_page_views(50)
        assert folding.keep_up("default", seconds=0).page_views == 0
        assert_exact()

    def test_says_that_the_table_went_back(self) -> None:
        make_page_views(50)
        folding.keep_up("default", seconds=10)
        PageView.objects.filter(pk__gt=PageView.objects.order_by("pk")[9].pk).delete()
        with pytest.raises(TableWentBackError, match="--rebuild"):
            folding.keep_up("default", seconds=10)

    def test_never_folds_into_a_generation_that_answers_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A rebuild switches, and its rows are swept, between the steps of keeping up."""
        make_page_views(50)
        folding.keep_up("default", seconds=10)
        old = active_generation()
        make_page_views(5, seed=1)
        read = Reader.read

        def read_and_be_overtaken(*args: Any, **expected: Any) -> Cut:
            chunk = read(*args, **expected)
            monkeypatch.setattr(Reader, "read", read)
            backfill.run_here("default", kind="rebuild", via="test")
            folding.sweep("default")
            return chunk

        monkeypatch.setattr(Reader, "read", read_and_be_overtaken)
        folding.keep_up("default", seconds=10)
        assert not Aggregate.objects.filter(generation=old.pk).exists()
        assert_all_counted()
