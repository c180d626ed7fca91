"""The history of a run: bounded, in order, and true however long the run takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats import backfill
from django_pagestats.backfill import history
from django_pagestats.backfill.history import MOST_POINTS, Sample
from tests.chains import Links, the_run
from tests.factories import make_page_views


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 10_000)), min_size=1, max_size=400))
def test_it_is_bounded_in_order_and_its_rates_add_up(steps: list[tuple[float, int]]) -> None:
    samples: list[Sample] | None = None
    seconds, folded = 0.0, 0
    for wait, page_views in steps:
        seconds += wait
        folded += page_views
        samples = history.longer(samples, (seconds, folded, 500)) or samples
    points = history.points(samples)
    assert len(points) <= MOST_POINTS
    assert [point.seconds for point in points] == sorted({point.seconds for point in points})
    if samples:
        begin = 0.0
        total = 0.0
        for point in points:
            total += point.rows_per_second * (point.seconds - begin)
            begin = point.seconds
        assert total == pytest.approx(samples[-1][1])


def test_a_long_run_is_shown_to_its_end() -> None:
    samples: list[Sample] | None = None
    for second in range(1, 100_000):
        samples = history.longer(samples, (float(second), 10 * second, 500)) or samples
    points = history.points(samples)
    assert MOST_POINTS // 2 <= len(points) <= MOST_POINTS
    assert points[-1].seconds > 97_000
    assert {round(point.rows_per_second, 6) for point in points} == {10.0}


@pytest.mark.django_db
def test_a_run_keeps_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FIRST_SECONDS", 0.0)
    make_page_views(60)
    links = Links()
    links.start(chunk_size=20)
    links.drain()
    run = the_run()
    assert [(folded, size) for _, folded, size in run.history] == [(0, 20), (20, 20), (40, 20), (60, 20)]
    assert [point.chunk_size for point in history.points(run.history)] == [20, 20, 20]
    assert backfill.progress(run).percent == 100


def test_a_sample_that_comes_right_after_another_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FIRST_SECONDS", 0.0)
    samples: list[Sample] | None = None
    for seconds, folded in ((0.006, 20), (0.008, 40)):
        samples = history.longer(samples, (seconds, folded, 20)) or samples
    assert samples == [(0.0, 0, 20), (0.0, 20, 20), (0.0, 40, 20)]
