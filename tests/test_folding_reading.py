"""What is read ahead, several chunks at once, and cut into chunks."""

from __future__ import annotations

import math
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from django_pagestats import backfill, folding
from django_pagestats.folding import Folder, reading
from django_pagestats.merging import database_for
from django_pagestats.models import Visitor
from tests.chains import (
    active_generation,
    assert_all_counted,
    assert_exact,
)
from tests.factories import START, insert_page_views, make_page_views


@pytest.mark.django_db
def test_a_size_that_changes_while_a_chunk_is_read_skips_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread reads ahead while the merge of the last chunk ends, and finds a new size."""
    rows = make_page_views(100)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=20)
    database = type(database_for("default"))
    read = database.read_columns

    def read_and_change_the_size(*args: Any, **options: bool) -> Any:
        found = read(*args, **options)
        folder.chunk_size += 5
        return found

    monkeypatch.setattr(database, "read_columns", read_and_change_the_size)
    assert folder.fold(rows[-1].id).upto == rows[19].id
    assert_exact()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_settling")
class TestReadingAhead:
    """Where the database gains by it, the next chunk is read by a thread while the last one is merged."""

    @pytest.fixture(autouse=True)
    def on_every_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(database_for("default")), "READS_AHEAD", True)

    def test_a_run_is_exact(self, settings: Any) -> None:
        settings.PAGESTATS_MAX_CHUNK_SIZE = 90
        make_page_views(600)
        backfill.run_here("default", via="test", chunk_size=50)
        backfill.run_here("default", kind="rebuild", via="test")
        assert_all_counted()

    def test_what_was_read_ahead_is_forgotten_when_the_cursor_moved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = make_page_views(60)
        folding.ensure_active_generation("default")
        with Folder("default", active_generation(), chunk_size=10) as folder:
            folder.fold(rows[-1].id, expected=2)
            Folder("default", active_generation(), chunk_size=7).fold(rows[-1].id)
            with pytest.raises(folding.CursorMovedError):
                folder.fold(rows[-1].id, expected=2)
            assert_exact()
            while folder.cursor < rows[-1].id:
                folder.fold(rows[-1].id, expected=2)
        assert_all_counted()

    def test_what_was_read_ahead_is_forgotten_when_the_merge_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = make_page_views(60)
        database = type(database_for("default"))
        merge = database.merge
        folding.ensure_active_generation("default")
        with Folder("default", active_generation(), chunk_size=10) as folder:
            folder.fold(rows[-1].id, expected=2)
            monkeypatch.setattr(database, "merge", lambda *args, **options: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                folder.fold(rows[-1].id, expected=2)
            monkeypatch.setattr(database, "merge", merge)
            folder.reload()
            while folder.cursor < rows[-1].id:
                folder.fold(rows[-1].id, expected=2)
        assert_all_counted()

    def test_a_read_ahead_that_fails_is_done_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = make_page_views(60)
        database = type(database_for("default"))
        read = database.read_columns
        folding.ensure_active_generation("default")
        main = threading.get_ident()
        failed = []

        def fail_in_the_thread(*args: Any, **options: bool) -> Any:
            if threading.get_ident() != main:
                failed.append(args)
                raise ZeroDivisionError
            return read(*args, **options)

        monkeypatch.setattr(database, "read_columns", fail_in_the_thread)
        with Folder("default", active_generation(), chunk_size=10) as folder:
            while folder.cursor < rows[-1].id:
                folder.fold(rows[-1].id, expected=2)
        assert failed
        assert_all_counted()


# -- several chunks cut from what was read at once


@pytest.mark.django_db
class TestStretches:
    @pytest.fixture(autouse=True)
    def on_every_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(database_for("default")), "CHUNKS_AT_ONCE", 4)
        monkeypatch.setattr(type(database_for("default")), "READS_AHEAD", False)

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """After which id page views were read, and how many at the most."""
        seen: list[tuple[int, int]] = []
        database = type(database_for("default"))
        read = database.read_columns

        def see(self: Any, after: int, upto: int | None, limit: int, **options: bool) -> Any:
            seen.append((after, limit))
            return read(self, after, upto, limit, **options)

        monkeypatch.setattr(database, "read_columns", see)
        return seen

    @pytest.mark.parametrize("count", [95, 100])
    def test_four_chunks_are_read_at_once_and_each_is_exact(self, count: int, reads: list[tuple[int, int]]) -> None:
        rows = make_page_views(count)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10, fixed_size=10)
        sizes = []
        while folder.cursor < rows[-1].id:
            sizes.append(folder.fold(rows[-1].id, expected=99).page_views)
            assert_exact()
        assert sizes == [10] * (count // 10) + [count % 10] * (count % 10 > 0)
        assert reads == [(0, 40), (rows[39].id, 40), (rows[79].id, 40)]

    def test_no_more_chunks_are_read_than_are_expected(self, reads: list[tuple[int, int]]) -> None:
        rows = make_page_views(50)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10, fixed_size=10)
        folder.fold(rows[-1].id)
        folder.fold(rows[-1].id, expected=2.9)
        folder.fold(rows[-1].id)
        assert reads == [(0, 10), (rows[9].id, 20)]
        assert_exact()

    def test_a_size_that_changes_cuts_what_is_there(self) -> None:
        rows = make_page_views(100)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10)
        sizes = []
        for size in (10, 25, 3, 40):
            folder.chunk_size = size
            sizes.append(folder.fold(rows[-1].id, expected=9).page_views)
            assert_exact()
        assert sizes == [10, 25, 3, 2]
        assert folder.cursor == rows[39].id

    def test_a_short_piece_at_the_end_does_not_raise_the_size(self) -> None:
        rows = make_page_views(100)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=15)
        folder.chunk_seconds = 60.0  # however busy the machine is
        folder.fold(rows[-1].id, expected=2)
        assert folder.chunk_size == 30
        assert folder.fold(rows[-1].id, expected=2).page_views == 15
        assert folder.chunk_size == 30

    def test_what_is_left_is_forgotten_when_somebody_else_folds_or_a_new_target_comes(self) -> None:
        rows = make_page_views(60)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10)
        folder.fold(rows[39].id, expected=9)
        Folder("default", active_generation(), chunk_size=7).fold(rows[-1].id)
        with pytest.raises(folding.CursorMovedError):
            folder.fold(rows[39].id, expected=9)
        assert_exact()
        folder.fold(rows[39].id, expected=9)
        while folder.cursor < rows[-1].id:
            folder.fold(rows[-1].id, expected=9)
        assert_all_counted()

    def test_a_lower_target_is_not_passed_by_what_was_read_for_a_higher_one(self) -> None:
        rows = make_page_views(60)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10, fixed_size=10)
        folder.fold(rows[-1].id, expected=9)
        folder.fold(rows[14].id, expected=9)
        assert folder.cursor == rows[14].id
        assert_exact()

    def test_ids_of_all_of_it_are_made_at_once(self) -> None:
        rows = make_page_views(40, visitors=40)
        folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=10)
        folder.fold(rows[-1].id, expected=4)
        assert Visitor.objects.count() == len({row.session_key for row in rows})


# -- what a chunk may bring into memory


@pytest.mark.django_db
@pytest.mark.parametrize("count", [20, 23])
def test_a_chunk_of_long_texts_is_cut(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PORTION_ROWS", 5)
    monkeypatch.setattr(reading, "CHUNK_CHARACTERS", 8 * 100)
    rows = insert_page_views([("/" + "x" * 60, f"{n:040}", START) for n in range(count)])
    sizes = []
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=1_000)
    while folder.cursor < rows[-1].id:
        chunk = folder.fold(rows[-1].id)
        sizes.append(chunk.page_views)
        assert_exact()
    assert sizes == [10, 10, *([count % 10] if count % 10 else [0])][: len(sizes)]
    assert sum(sizes) == count
    assert_all_counted()


@pytest.mark.django_db
def test_fractions_of_a_second_are_cut_from_the_first_to_the_last() -> None:
    at = [datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(2200, 1, 1, tzinfo=timezone.utc)]
    at = [at[0], at[0] + timedelta(microseconds=999_999), at[1] - timedelta(microseconds=1)]
    rows = insert_page_views([("/", "k", moment) for moment in at])
    database = database_for("default")
    assert [row[3] for row in database.read_page_views(0, rows[-1].id, 10)] == [0, 0, 7_258_118_399]
    assert list(database.read_columns(0, rows[-1].id, 10).seconds) == [0, 0, 7_258_118_399]


# -- chunks that end with a day


def viewed_on(*days: int) -> list[tuple[str, str, datetime]]:
    """Page views of these days, some minutes apart."""
    return [(f"/{n % 3}", f"key {n % 7}", START + timedelta(days=day, minutes=n)) for n, day in enumerate(days)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([0] * 4 + [1] * 4 + [2] * 4, [8, 4]),  # ten are asked for
        ([0] * 10 + [1] * 5, [10, 5]),
        ([0] * 4 + [1] * 11, [10, 5]),  # a day begins, but in the first half
        ([0] * 8 + [1] * 15 + [2] * 8, [8, 10, 10, 3]),  # a day that is longer than a chunk
        ([0] * 6 + [1, 0] + [1] * 8, [8, 8]),  # one that came late
        ([5, 1, 4, 2, 6, 0, 3, 5, 1, 2, 4, 0], [9, 3]),  # in no order it makes no difference
    ],
)
def test_a_chunk_ends_with_a_day_where_that_is_near(
    days: list[int], expected: list[int], monkeypatch: pytest.MonkeyPatch, no_settling: None
) -> None:
    monkeypatch.setattr(reading, "CUT_FROM", 5)
    rows = insert_page_views(viewed_on(*days))
    generation = folding.ensure_active_generation("default")
    counts = []
    with folding.Folder("default", generation, chunk_size=10) as folder:
        monkeypatch.setattr(folder, "_adapt", lambda chunk, seconds: None)
        while folder.cursor < rows[-1].id:
            chunk = folder.fold(rows[-1].id, expected=math.inf)
            counts.append(chunk.page_views)
            assert chunk.is_full or folder.cursor == rows[-1].id
            assert_exact()
    assert counts == expected


@pytest.mark.django_db
def test_a_size_that_was_asked_for_is_kept_to(monkeypatch: pytest.MonkeyPatch, no_settling: None) -> None:
    monkeypatch.setattr(reading, "CUT_FROM", 5)
    rows = insert_page_views(viewed_on(*[0] * 8, *[1] * 8))
    generation = folding.ensure_active_generation("default")
    with folding.Folder("default", generation, chunk_size=10, fixed_size=10) as folder:
        assert [folder.fold(rows[-1].id, expected=math.inf).page_views for _ in range(2)] == [10, 6]
