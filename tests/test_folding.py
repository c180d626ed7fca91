"""The fold: what is stored always equals a naive count of the page views up to the cursor."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from pyroaring import BitMap

from django_pagestats import backfill, folding
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.folding import Folder
from django_pagestats.models import Aggregate, Generation, PageView, Visitor
from tests.chains import (
    Links,
    Site,
    active_generation,
    assert_all_counted,
    assert_exact,
    assert_generation_exact,
    page_views,
    steps,
    the_run,
)
from tests.factories import ALL, DAY, HOUR, PAGE, SITE, START, insert_page_views, make_page_views


class OracleTest(TestCase):
    # a server's round trips take most of the time
    @settings(max_examples=25 if connection.vendor == "sqlite" else 10)
    @given(page_views, st.lists(steps, max_size=14))
    def test_whatever_happens_the_aggregates_equal_a_naive_count(
        self, first: list[tuple[str, str, datetime]], script: list[tuple[Any, ...]]
    ) -> None:
        with override_settings(PAGESTATS_SETTLE_SECONDS=0):
            site = Site(assert_exact)
            site.play([("record", first), *script])
            site.finish()
            assert_all_counted()
            folding.sweep("default", chunk_size=2)
            needed = set(Generation.objects.exclude(is_active=None, kept_at=None).values_list("pk", flat=True))
            assert set(Aggregate.objects.values_list("generation", flat=True)) == needed
            for generation in needed:
                assert_all_rows_are_merges_of_day_rows(generation)


def assert_all_rows_are_merges_of_day_rows(generation: int) -> None:
    for dimension in (SITE, PAGE):
        for granularity in (DAY, HOUR) if dimension == SITE else (DAY,):
            assert merged(generation, dimension, granularity) == merged(generation, dimension, ALL)


def merged(generation: int, dimension: int, granularity: int) -> dict[int, tuple[int, BitMap]]:
    page_views: defaultdict[int, int] = defaultdict(int)
    visitors: defaultdict[int, BitMap] = defaultdict(BitMap)
    for row in Aggregate.objects.filter(generation=generation, dimension=dimension, granularity=granularity):
        page_views[row.subject] += row.page_views
        visitors[row.subject] |= BitMap.deserialize(bytes(row.visitor_set))
    return {subject: (count, visitors[subject]) for subject, count in page_views.items()}


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
    monkeypatch.setattr(folding, "FIRST_CHUNK_SIZE", 15)
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
def test_a_size_that_changes_while_a_chunk_is_read_skips_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread reads ahead while the merge of the last chunk ends, and finds a new size."""
    rows = make_page_views(100)
    folder = Folder("default", folding.ensure_active_generation("default"), chunk_size=20)
    database = type(folding.database_for("default"))
    read = database.read_page_views

    def read_and_change_the_size(*args: Any) -> Any:
        found = read(*args)
        folder.chunk_size += 5
        return found

    monkeypatch.setattr(database, "read_page_views", read_and_change_the_size)
    assert folder.fold(rows[-1].id).upto == rows[19].id
    assert_exact()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_settle_time")
class TestReadingAhead:
    """Where the database gains by it, the next chunk is read by a thread while the last one is merged."""

    @pytest.fixture(autouse=True)
    def on_every_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(folding.database_for("default")), "READS_AHEAD", True)

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
        database = type(folding.database_for("default"))
        merge = database.merge
        folding.ensure_active_generation("default")
        with Folder("default", active_generation(), chunk_size=10) as folder:
            folder.fold(rows[-1].id, expected=2)
            monkeypatch.setattr(database, "merge", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                folder.fold(rows[-1].id, expected=2)
            monkeypatch.setattr(database, "merge", merge)
            folder.reload()
            while folder.cursor < rows[-1].id:
                folder.fold(rows[-1].id, expected=2)
        assert_all_counted()

    def test_a_read_ahead_that_fails_is_done_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = make_page_views(60)
        database = type(folding.database_for("default"))
        read = database.read_page_views
        folding.ensure_active_generation("default")
        main = threading.get_ident()
        failed = []

        def fail_in_the_thread(*args: Any) -> Any:
            if threading.get_ident() != main:
                failed.append(args)
                raise ZeroDivisionError
            return read(*args)

        monkeypatch.setattr(database, "read_page_views", fail_in_the_thread)
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
        monkeypatch.setattr(type(folding.database_for("default")), "CHUNKS_AT_ONCE", 4)
        monkeypatch.setattr(type(folding.database_for("default")), "READS_AHEAD", False)

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """After which id page views were read, and how many at the most."""
        seen: list[tuple[int, int]] = []
        database = type(folding.database_for("default"))
        read = database.read_page_views

        def see(self: Any, after: int, upto: int | None, limit: int) -> Any:
            seen.append((after, limit))
            return read(self, after, upto, limit)

        monkeypatch.setattr(database, "read_page_views", see)
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


# -- somebody else folds the same generation


@pytest.mark.django_db
def test_a_fold_of_a_cursor_that_moved_changes_nothing_and_reads_the_new_cursor() -> None:
    rows = make_page_views(60)
    generation = folding.ensure_active_generation("default")
    slow = Folder("default", generation, chunk_size=20)
    chunk = slow.read(rows[-1].id)
    Folder("default", active_generation(), chunk_size=25).fold(rows[-1].id)
    with pytest.raises(folding.CursorMovedError):
        folding.merge("default", chunk)
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
    for revision in (1, 2):
        folder.fold(rows[-1].id)
        assert active_generation().revision == revision


# -- keeping up


@pytest.fixture
def no_settle_time(settings: Any) -> None:
    settings.PAGESTATS_SETTLE_SECONDS = 0


@pytest.mark.django_db
@pytest.mark.usefixtures("no_settle_time")
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
        monkeypatch.setattr(folding, "FIRST_CHUNK_SIZE", 5)
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
        read = Folder.read

        def read_and_be_overtaken(folder: Folder, target: int, **expected: Any) -> folding.Chunk:
            chunk = read(folder, target, **expected)
            monkeypatch.setattr(Folder, "read", read)
            backfill.run_here("default", kind="rebuild", via="test")
            folding.sweep("default")
            return chunk

        monkeypatch.setattr(Folder, "read", read_and_be_overtaken)
        folding.keep_up("default", seconds=10)
        assert not Aggregate.objects.filter(generation=old.pk).exists()
        assert_all_counted()


# -- sweeping


@pytest.mark.django_db
@pytest.mark.usefixtures("no_settle_time")
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


# -- what a chunk may bring into memory


@pytest.mark.django_db
@pytest.mark.parametrize("count", [20, 23])
def test_a_chunk_of_long_texts_is_cut(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "PORTION_ROWS", 5)
    monkeypatch.setattr(folding, "CHUNK_CHARACTERS", 8 * 100)
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
def test_the_first_chunk_is_bounded_by_the_setting_too(settings: Any) -> None:
    settings.PAGESTATS_MAX_CHUNK_SIZE = 50
    make_page_views(120)
    links = Links()
    links.start()
    assert the_run().chunk_size == 50
    assert Folder("default", folding.ensure_active_generation("default")).chunk_size == 50


@pytest.mark.django_db
def test_keeping_up_and_sweeping_rest_like_a_run(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    rests: list[float] = []
    monkeypatch.setattr(folding, "rest", lambda seconds, using: rests.append(seconds))
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


@pytest.mark.django_db
def test_fractions_of_a_second_are_cut_before_1970_too() -> None:
    at = [datetime(1965, 3, 1, 23, 59, 59, 900_000, tzinfo=timezone.utc), datetime(1970, 1, 1, tzinfo=timezone.utc)]
    at += [at[1] - timedelta(microseconds=1), at[1] + timedelta(microseconds=999_999)]
    rows = insert_page_views([("/", "k", moment) for moment in at])
    found = folding.database_for("default").read_page_views(0, rows[-1].id, 10)
    assert [row[3] for row in found] == [-152_582_401, 0, -1, 0]
