"""How one chunk is folded: its size, and what happens if somebody else folds the same generation."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_pagestats import folding
from django_pagestats.folding import Folder, chunks
from django_pagestats.folding.chunks import merge
from django_pagestats.models import REVISION_STEP
from tests.chains import (
    Links,
    active_generation,
    assert_all_counted,
    assert_exact,
    the_run,
)
from tests.factories import make_page_views

# -- the size of a chunk


@pytest.mark.django_db
def test_the_chunk_size_grows_when_chunks_are_quick_and_has_an_upper_bound(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0
    settings.PAGESTATS_MAX_CHUNK_SIZE = 70
    rows = make_page_views(400)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=20)
    sizes = []
    while folder.cursor < rows[-1].id:
        sizes.append(folder.chunk_size)
        folder.fold(rows[-1].id)
    assert sizes[:4] == [20, 40, 70, 70]
    assert_all_counted()


@pytest.mark.django_db
def test_the_chunk_size_shrinks_when_chunks_are_slow_but_not_below_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_page_views(150)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=40)
    folder.chunk_seconds = 1e-9
    monkeypatch.setattr(chunks, "FIRST_CHUNK_SIZE", 15)
    sizes = []
    for _ in range(3):
        folder.fold(rows[-1].id)
        sizes.append(folder.chunk_size)
    assert sizes == [20, 15, 15]


@pytest.mark.django_db
def test_a_short_last_chunk_says_nothing_about_the_size() -> None:
    rows = make_page_views(30)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=40)
    folder.fold(rows[-1].id)
    assert folder.chunk_size == 40


@pytest.mark.django_db
def test_a_fixed_chunk_size_comes_back_after_a_failure() -> None:
    rows = make_page_views(100)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10, fixed_size=10)
    assert folder.fold(rows[-1].id).page_views == 10
    assert folder.shrink()
    assert [folder.fold(rows[-1].id).page_views for _ in range(5)] == [2, 4, 8, 10, 10]


@pytest.mark.django_db
def test_shrinking_ends_at_one() -> None:
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=70)
    assert [(folder.shrink(), folder.chunk_size) for _ in range(5)] == [
        (True, 17),
        (True, 4),
        (True, 1),
        (False, 1),
        (False, 1),
    ]


@pytest.mark.django_db
def test_the_first_chunk_is_bounded_by_the_setting_too(settings: Any) -> None:
    settings.PAGESTATS_MAX_CHUNK_SIZE = 50
    make_page_views(120)
    links = Links()
    links.start()
    assert the_run().chunk_size == 50
    assert Folder("default", folding.ensure_active_generation("default")).chunk_size == 50


# -- somebody else folds the same generation


@pytest.mark.django_db
def test_a_fold_of_a_cursor_that_moved_changes_nothing_and_reads_the_new_cursor() -> None:
    rows = make_page_views(60)
    generation = folding.ensure_active_generation("default")
    slow = Folder("default", generation, chunk_size=20)
    chunk = slow.reader.next_chunk(generation.cursor, rows[-1].id, 20)
    Folder("default", active_generation(), chunk_size=25).fold(rows[-1].id)
    with pytest.raises(folding.CursorMovedError):
        merge("default", chunk)
    assert_exact()
    with pytest.raises(folding.CursorMovedError):
        slow.fold(rows[-1].id)
    assert slow.cursor == rows[24].id
    slow.fold(rows[-1].id)
    assert_exact()


@pytest.mark.django_db
def test_every_fold_raises_the_revision_with_the_cursor() -> None:
    rows = make_page_views(20)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10)
    for times in (1, 2):
        folder.fold(rows[-1].id)
        assert times * REVISION_STEP <= active_generation().revision < 2 * times * REVISION_STEP


@pytest.mark.django_db
def test_a_fold_that_was_rolled_back_and_the_next_one_have_different_revisions() -> None:
    """Or what was kept of the one would answer for the other."""
    rows = make_page_views(20)
    folding.ensure_active_generation("default")
    revisions = []
    for _ in range(2):
        before = connection.savepoint()
        Folder("default", active_generation()).fold(rows[-1].id)
        revisions.append(active_generation().revision)
        connection.savepoint_rollback(before)
    assert len(set(revisions)) == 2
