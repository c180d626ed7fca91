"""Page views of many paths at once; tests/test_stats.py compares them with a naive count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_pagestats import stats
from django_pagestats.stats import questions
from tests.factories import START, insert_page_views, make_page_views
from tests.stats_oracle import Oracle, fold_naively

pytestmark = pytest.mark.django_db
MONTH = {"start": START.date(), "end": START.date() + timedelta(days=30)}


def statements(ask: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


def test_every_path_that_is_asked_for_is_a_key() -> None:
    rows = make_page_views(100)
    fold_naively(rows[:60])
    path = rows[0].path
    found = stats.count_page_views_of(iter([path, "/never", path, "", "bad\0", "/\ud800"]))
    assert found == {path: Oracle(rows).page_views(path), "/never": 0, "": 0, "bad\0": 0, "/\ud800": 0}
    assert list(found) == [path, "/never", "", "bad\0", "/\ud800"]
    assert stats.count_page_views_of([]) == {}
    assert stats.count_page_views_of([path], start=START.date(), end=START.date()) == {path: 0}


@pytest.mark.parametrize("tail_limit", [1_000, 50], ids=["short tail", "long tail"])
def test_in_portions_each_path_counts_once(monkeypatch: pytest.MonkeyPatch, tail_limit: int) -> None:
    monkeypatch.setattr(questions, "VALUES_PER_STATEMENT", 7)
    rows = make_page_views(400, paths=60, days=40)
    fold_naively(rows[:250], all_time=200)
    paths = [*sorted({row.path for row in rows}), "/never"]
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), stats.snapshot() as snapshot:
        for ask in (stats.count_page_views_of, snapshot.count_page_views_of):
            assert ask(paths) == Oracle(rows).page_views_of(paths)
            assert ask(paths, **MONTH) == Oracle(rows).page_views_of(paths, *MONTH.values())


def test_the_folded_part_alone() -> None:
    rows = make_page_views(100)
    fold_naively(rows[:60], all_time=50)
    paths = sorted({row.path for row in rows})
    with stats.snapshot(exact=False) as asked:
        assert asked.count_page_views_of(paths) == Oracle(rows[:60]).page_views_of(paths)
        assert asked.count_page_views_of(paths, **MONTH) == Oracle(rows[:60]).page_views_of(paths, *MONTH.values())


@pytest.mark.once
@pytest.mark.parametrize("tail", [0, 40], ids=["no tail", "tail"])
@pytest.mark.parametrize("days", [1, 100, 400])
def test_statements_do_not_grow_with_the_list(tail: int, days: int) -> None:
    rows = insert_page_views([(f"/{n % 600}", "k", START + timedelta(days=n % 50)) for n in range(1_500)])
    fold_naively(rows[: len(rows) - tail])
    span = {"start": START.date(), "end": START.date() + timedelta(days=days)}
    one = statements(lambda: stats.count_page_views_of(["/1"], **span))
    many = statements(lambda: stats.count_page_views_of([f"/{n}" for n in range(500)], **span))
    assert one == many == 4
    assert statements(lambda: stats.count_page_views_of([f"/{n}" for n in range(500)])) == 4
    assert statements(lambda: stats.count_page_views_of([f"/{n}" for n in range(600)])) == 6, "two portions"


@pytest.mark.parametrize("paths", ["/a", [None], ["/a", b"/b"], [1]])
def test_what_is_no_list_of_paths(paths: Any) -> None:
    with pytest.raises(ValueError, match="would do"):
        stats.count_page_views_of(paths)
    with stats.snapshot() as asked, pytest.raises(ValueError, match="would do"):
        asked.count_page_views_of(paths)


def test_hours_will_not_do() -> None:
    with pytest.raises(ValueError, match="is not the beginning of a day"):
        stats.count_page_views_of(["/"], start=START + timedelta(hours=1))
