"""How long a fold rests after each chunk."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_pagestats import backfill, folding
from tests.factories import make_page_views
from tests.patching import replace


@pytest.mark.django_db
def test_keeping_up_and_sweeping_rest_like_a_run(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    rests: list[float] = []
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: rests.append(seconds))
    settings.PAGESTATS_MAX_CHUNK_SIZE = 10
    settings.PAGESTATS_SETTLE_SECONDS = 0
    make_page_views(30)
    folding.keep_up("default", seconds=60)
    assert len(rests) == 2
    assert all((rest > 0) is (connection.vendor == "sqlite") for rest in rests)
    backfill.run_here("default", kind="rebuild", via="test")
    rests.clear()
    assert folding.sweep("default", chunk_size=40, nice=2.0) > 40
    assert len(rests) > 1 and all(rests)
