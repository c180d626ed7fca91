"""Rows of all time follow the rows of days: by the tally of a short gap, or by a pass in steps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from django.utils import timezone
from pyroaring import BitMap

from django_pagestats import backfill, folding, stats
from django_pagestats.folding import all_time
from django_pagestats.management import progress
from django_pagestats.merging import database_for, days
from django_pagestats.merging.rows import serialized
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, Subject
from django_pagestats.tally import PAGE_ALL, SITE_ALL, Level
from django_pagestats.verify import Verification, What
from tests.chains import Links, active_generation, assert_all_counted, assert_exact, expire_lease, rows_upto, the_run
from tests.factories import ALL, DAY, PAGE, SITE, make_page_views
from tests.stats_oracle import Oracle, fold_naively

pytestmark = [pytest.mark.once, pytest.mark.django_db, pytest.mark.usefixtures("no_settling")]


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has few rows, so that a pass takes many."""
    monkeypatch.setattr(type(database_for("default")), "STEP_ROWS", 20)
    monkeypatch.setattr(days, "MOST_BUCKETS", 5)


def rows_of_all_time(generation: Generation, bucket: int) -> int:
    return Aggregate.objects.filter(generation=generation.pk, granularity=ALL, bucket=bucket).count()


def next_step(generation: Generation, **wanted: Any) -> bool:
    """A step of somebody who knows nothing of the ones before."""
    return all_time.AllTime("default", generation.pk, **wanted).step()


def fold_all(*, closes: bool = True) -> Generation:
    """Fold all page views, in this process; without the last step, if it is not to be closed."""
    generation = folding.ensure_active_generation("default")
    highest = PageView.objects.order_by("-pk").values_list("pk", flat=True)[0]
    with folding.Folder("default", generation) as folder:
        while folder.cursor < highest:
            folder.fold(highest)
    while closes and not next_step(generation):
        pass
    generation.refresh_from_db()
    return generation


def assert_answers() -> None:
    oracle = Oracle(rows_upto())
    assert stats.count_page_views() == oracle.page_views()
    assert stats.count_unique_visitors() == oracle.visitors()
    assert stats.count_unique_visitors("/page/1") == oracle.visitors("/page/1")
    assert stats.count_paths() == oracle.paths()
    assert stats.top_pages(5) == oracle.top_pages()[:5]
    with stats.snapshot() as snapshot:
        assert snapshot.top_pages(5) == oracle.top_pages()[:5]
        summary = snapshot.summary()
    assert (summary.page_views, summary.visitors, summary.paths) == (
        len(oracle.rows),
        oracle.visitors(),
        oracle.paths(),
    )


# -- runs


def test_a_run_writes_hours_and_days_and_at_its_end_the_rows_of_all_time() -> None:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=20)
    for _ in range(3):
        links.deliver_next()
        generation = active_generation()
        assert not Aggregate.objects.filter(granularity=ALL).exists()
        assert_answers()
    assert generation.cursor == the_run().target
    links.drain()
    generation = active_generation()
    assert (generation.all_cursor, generation.all_bucket) == (generation.cursor, 0), "where they always were"
    assert_all_counted()
    assert_answers()


def test_a_short_gap_is_tallied_into_the_rows_that_are_there() -> None:
    make_page_views(60)
    backfill.run_here("default", via="test")
    make_page_views(30, seed=1)
    backfill.run_here("default", via="test")
    assert active_generation().all_bucket == 0
    assert_all_counted()


def test_a_long_gap_is_closed_by_a_pass_whose_rows_replace_the_others(settings: Any, few_rows: None) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 20
    make_page_views(60)
    backfill.run_here("default", via="test")
    make_page_views(60, seed=1)
    backfill.run_here("default", via="test")
    generation = active_generation()
    assert generation.all_bucket == 1
    assert rows_of_all_time(generation, 0) == 0, "deleted"
    assert_all_counted()
    assert_answers()


def test_a_gap_that_is_short_for_so_many_page_views_is_tallied(settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 1
    make_page_views(120)
    backfill.run_here("default", via="test")
    make_page_views(2, seed=1)
    backfill.run_here("default", via="test")
    assert active_generation().all_bucket == 0
    assert_all_counted()


def test_a_gap_is_tallied_in_steps_of_bounded_size(settings: Any, few_rows: None) -> None:
    make_page_views(60)
    generation = fold_all()
    make_page_views(50, seed=1)
    fold_all(closes=False)
    cursors = []
    while not next_step(generation):
        generation.refresh_from_db()
        cursors.append(generation.all_cursor)
        assert_exact()
    assert len(cursors) == 2, "of three steps, each with 20 page views at the most"


def test_a_run_that_was_cancelled_before_its_last_step_is_made_up_for(few_rows: None) -> None:
    make_page_views(100)
    links = Links()
    links.start(chunk_size=200)
    while the_run().generation.pass_cursor is None:
        links.deliver_next()
    backfill.cancel("default", via="test")
    links.drain()
    assert active_generation().all_cursor == 0
    assert backfill.run_here("default", via="test").outcome == "started", "though every page view is folded"
    assert_all_counted()
    assert active_generation().all_cursor == active_generation().cursor
    assert backfill.run_here("default", via="test").outcome == "nothing_new"


# -- the pass


def test_each_step_of_a_pass_may_be_the_last_one_that_a_worker_does(few_rows: None) -> None:
    make_page_views(200)
    generation = fold_all(closes=False)
    steps = 0
    while not next_step(generation):
        steps += 1
        generation.refresh_from_db()
        assert generation.all_moved_at is None or generation.all_cursor == generation.cursor
        assert_exact()
        assert_answers()
    assert steps > 5
    assert_exact()


def test_a_pass_under_which_the_days_moved_begins_anew(few_rows: None) -> None:
    make_page_views(100)
    generation = fold_all(closes=False)
    for _ in range(3):
        next_step(generation)
    generation.refresh_from_db()
    assert generation.pass_cursor == generation.cursor
    make_page_views(30, seed=1)
    fold_all(closes=False)
    next_step(generation)
    generation.refresh_from_db()
    assert generation.pass_cursor is None, "given up"
    fold_all()
    assert_exact()
    assert generation.pk == active_generation().pk


def fold_between_reading_and_writing(monkeypatch: pytest.MonkeyPatch) -> Generation:
    """After some days of the last subject have been read, and before the others, somebody folds more into them."""
    database = type(database_for("default"))
    read = database.days_of_subjects
    seeds = iter(range(1, 4))

    def read_and_be_overtaken(self: Any, *wanted: Any, **how: Any) -> Any:
        found = read(self, *wanted, **how)
        last = Subject.objects.latest("pk").pk
        if found and wanted[-1] == (last - 1, last) and (seed := next(seeds, None)) is not None:
            make_page_views(40, seed=seed, paths=3)
            fold_all(closes=False)
        return found

    monkeypatch.setattr(database, "days_of_subjects", read_and_be_overtaken)
    make_page_views(100, paths=3)
    return fold_all(closes=False)


def test_days_that_move_between_the_reading_of_a_step_and_its_writing(
    few_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = fold_between_reading_and_writing(monkeypatch)
    while not next_step(generation):
        assert_exact()
    assert_exact()


def test_control_without_a_look_at_the_cursor_rows_of_all_time_are_wrong(
    few_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = all_time.AllTime._swap

    def swap_whatever_the_cursor(self: all_time.AllTime, *conditions: Any, **changes: Any) -> None:
        swap(self, **changes)

    monkeypatch.setattr(all_time.AllTime, "_swap", swap_whatever_the_cursor)
    generation = fold_between_reading_and_writing(monkeypatch)
    with pytest.raises(AssertionError):
        while not next_step(generation):
            assert_exact()
        assert_exact()


@pytest.mark.parametrize("what", ["a tally", "a pass"])
def test_two_who_take_the_same_step_do_it_once(what: str, few_rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(100)
    generation = fold_all(closes=what == "a tally")
    if what == "a tally":
        make_page_views(15, seed=1)
        fold_all(closes=False)
    first, second = (all_time.AllTime("default", generation.pk) for _ in range(2))
    overtaken = []

    def read_and_be_overtaken(read: Callable[..., Any], *wanted: Any, **how: Any) -> Any:
        found = read(*wanted, **how)
        overtaken.append(first.step())
        return found

    reader = second._reader if what == "a tally" else second._days_of(generation.cursor)
    name = "next_chunk" if what == "a tally" else "slice_after"
    monkeypatch.setattr(reader, name, partial(read_and_be_overtaken, getattr(reader, name)))
    assert not second.step()
    assert len(overtaken) == 1
    assert_exact()
    while not next_step(generation):
        assert_exact()
    assert_exact()


def test_a_worker_that_was_taken_over_changes_no_row_of_all_time(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(60)
    links = Links()
    links.start(chunk_size=60)
    links.deliver_next()
    slice_after = days.Days.slice_after

    def read_and_be_taken_over(self: days.Days, subject: int | None) -> days.Slice:
        found = slice_after(self, subject)
        BackfillRun.objects.update(epoch=F("epoch") + 1)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(days.Days, "slice_after", read_and_be_taken_over)
        links.deliver_next()
    assert links.sent == [], "it stops, and enqueues nothing"
    assert not Aggregate.objects.filter(granularity=ALL).exists()
    assert active_generation().all_moved_at is None
    expire_lease()
    links.revive()
    links.drain()
    assert_all_counted()


def test_without_a_fence_only_the_generation_that_answers_is_changed() -> None:
    make_page_views(50)
    generation = fold_all(closes=False)
    Generation.objects.update(is_active=None)
    assert not next_step(generation)
    assert not Aggregate.objects.filter(granularity=ALL).exists()


def test_old_rows_are_deleted_before_a_pass_begins_and_in_portions(
    settings: Any, few_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 10
    monkeypatch.setattr(all_time, "DELETED_ROWS", 7)
    make_page_views(100)
    generation = fold_all(closes=False)
    for _ in range(3):  # of a pass that will be given up, with its rows
        next_step(generation)
    make_page_views(40, seed=1)
    left = []
    fold_all(closes=False)
    while not next_step(generation):
        generation.refresh_from_db()
        left.append(rows_of_all_time(generation, 1 - generation.all_bucket))
        assert_exact()
    assert any(0 < before - after <= 7 for before, after in pairwise(left))
    assert 0 in left


def test_a_sweep_deletes_what_a_pass_has_left_behind(few_rows: None) -> None:
    make_page_views(100)
    generation = fold_all(closes=False)
    for _ in range(3):
        next_step(generation)
    Generation.objects.update(is_active=None, kept_at=timezone.now())
    assert rows_of_all_time(generation, 0) > 0
    folding.sweep("default")
    assert not Aggregate.objects.filter(granularity=ALL).exists()
    assert Aggregate.objects.exists(), "days and hours stay"


def test_a_sweep_leaves_a_pass_alone_that_can_go_on(few_rows: None) -> None:
    make_page_views(100)
    generation = fold_all(closes=False)
    for _ in range(3):
        next_step(generation)
    made = rows_of_all_time(generation, 0)
    assert made > 0
    folding.sweep("default")
    assert rows_of_all_time(generation, 0) == made
    fold_all()
    assert_exact()


def test_a_rebuild_makes_the_rows_of_all_time_before_its_check(few_rows: None) -> None:
    make_page_views(100)
    backfill.run_here("default", via="test")
    links = Links()
    links.start("rebuild", chunk_size=30)
    steps = set()
    while links.sent:
        links.deliver_next()
        steps.add(backfill.step(the_run()))
        assert_exact()
        assert_answers()
    assert {backfill.Step.FOLD, backfill.Step.ALL_TIME, backfill.Step.CHECK} < steps
    assert_all_counted()


def test_keeping_up_during_the_pass_of_a_rebuild_does_not_hold_it_up(few_rows: None) -> None:
    """The pass goes on, and what came since is folded after it."""
    make_page_views(100)
    backfill.run_here("default", via="test")
    links = Links()
    links.start("rebuild", chunk_size=200)
    seed, passes = 0, 0
    while links.sent:
        links.deliver_next()
        if the_run().generation.pass_cursor is not None:
            passes += 1
            seed += 1
            make_page_views(3, seed=seed)
            folding.keep_up("default", seconds=5)
        assert passes < 60
    assert passes > 5
    assert_all_counted()


# -- keeping up


def gaps(ticks: int, each: int) -> list[int]:
    """How many ids there are between the cursors after each of some ticks with so many new page views."""
    found = []
    for seed in range(ticks):
        make_page_views(each, seed=seed)
        folding.keep_up("default", seconds=5)
        generation = active_generation()
        assert generation.cursor == PageView.objects.order_by("-pk").values_list("pk", flat=True)[0]
        found.append(PageView.objects.filter(pk__gt=generation.all_cursor).count())
        assert_exact()
        assert_answers()
    return found


def test_keeping_up_closes_the_gap_at_first_and_then_when_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_time, "WORTH_PAGE_VIEWS", 25)
    assert gaps(7, 10) == [0, 10, 20, 0, 10, 20, 0]


def test_on_a_large_site_a_part_of_all_page_views_is_worth_it(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_time, "WORTH_PAGE_VIEWS", 1)
    monkeypatch.setattr(all_time, "WORTH_PART", 20)
    make_page_views(100, seed=9)
    assert gaps(4, 10) == [0, 10, 20, 0]
    settings.PAGESTATS_TAIL_LIMIT = 22  # of which half is the most
    assert gaps(3, 6) == [6, 0, 6]
    monkeypatch.setattr(all_time, "WORTH_PAGE_VIEWS", 1_000)
    assert gaps(2, 6) == [0, 6], "whatever else would be worth it"


def test_after_an_hour_the_smallest_gap_is_worth_it() -> None:
    assert gaps(2, 10) == [0, 10]
    generation = active_generation()
    Generation.objects.update(all_moved_at=generation.all_moved_at - timedelta(minutes=59))
    folding.keep_up("default", seconds=5)
    assert active_generation().all_cursor < generation.cursor
    Generation.objects.update(all_moved_at=generation.all_moved_at - timedelta(minutes=61))
    folding.keep_up("default", seconds=5)  # though there is nothing to fold
    assert active_generation().all_cursor == generation.cursor
    assert_exact()


def test_keeping_up_goes_on_with_a_pass_in_the_time_of_its_ticks(few_rows: None) -> None:
    make_page_views(100)
    fold_all(closes=False)
    for _ in range(3):
        next_step(active_generation())
    folding.keep_up("default", seconds=0)
    assert active_generation().pass_cursor is not None
    folding.keep_up("default", seconds=60)
    assert active_generation().pass_cursor is None
    assert_exact()


# -- slices of days


def merged(generation: Generation) -> dict[int, tuple[int, BitMap]]:
    """All that the slices have, one after another."""
    reader = days.Days("default", generation)
    found: dict[int, tuple[int, BitMap]] = {}
    subject: int | None = None
    while True:
        part = reader.slice_after(subject)
        assert subject is None or part.upto > subject or part.is_last
        for one in part.merged:
            assert one.subject not in found
            assert one.repeats == (one.visitors if one.subject == 0 else None)
            found[one.subject] = one.page_views, one.visitors
        if part.is_last:
            return found
        subject = part.upto


def write_days(generation: Generation, rows: list[tuple[int, int, BitMap]]) -> dict[int, tuple[int, BitMap]]:
    """Rows of days of subjects: (subject, day, visitors), each seen twice by its visitors; what they add up to."""
    expected: dict[int, tuple[int, BitMap]] = {}
    dimensions = dict(Subject.objects.values_list("pk", "dimension"))
    stored: dict[tuple[int, int, int], tuple[int, BitMap]] = {}
    for subject, day, visitors in rows:
        for key in ((dimensions[subject], day, subject), (SITE, day, 0)):
            before = stored.get(key, (0, BitMap()))
            stored[key] = before[0] + 2 * len(visitors), before[1] | visitors
    for (_, _, subject), (page_views, visitors) in stored.items():
        total, union = expected.get(subject, (0, BitMap()))
        expected[subject] = total + page_views, union | visitors
    database_for("default").insert_rows(
        generation.pk,
        [
            (dimension, DAY, day, subject, page_views, *serialized(visitors), repeats_of(dimension, visitors))
            for (dimension, day, subject), (page_views, visitors) in sorted(stored.items())
        ],
    )
    return expected


def repeats_of(dimension: int, visitors: BitMap) -> bytes | None:
    return serialized(visitors)[1] if dimension == SITE else None


def test_slices_have_every_subject_once_whatever_the_sizes(few_rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large sets, one page with more days than a slice has rows, ids with holes, and a bound of visitors."""
    monkeypatch.setattr(days, "INLINE_VISITORS", 2)
    monkeypatch.setattr(days, "PORTION_BYTES", 100)
    monkeypatch.setattr(days, "SLICE_VISITORS", 10)
    subjects = Subject.objects.bulk_create(
        [Subject(dimension=PAGE + n % 2, value=f"/{n}", digest=f"{n:064}") for n in range(40)]
    )
    generation = fold_naively([])
    used = [subjects[number].pk for number in (0, 1, 7, 8, 30)]
    rows = []
    for number, subject in enumerate(used):
        for day in range(50 if number == 2 else 3):
            rows.append((subject, day, BitMap(range(number, number + 1 + (day * 3) % 7))))
    expected = write_days(generation, rows)
    assert merged(generation) == expected


def test_a_set_of_one_visitor_is_read_as_it_was_written() -> None:
    generation = fold_naively([])
    subject = Subject.objects.create(dimension=PAGE, value="/", digest="0" * 64).pk
    visitors = [0, 1, 65_535, 65_536, 2**31, 2**32 - 1]
    expected = write_days(generation, [(subject, day, BitMap([visitor])) for day, visitor in enumerate(visitors)])
    assert merged(generation) == expected
    assert list(merged(generation)[subject][1]) == visitors


# -- answers


@pytest.mark.parametrize("limit", [1_000, 15], ids=["a short gap", "a long one"])
def test_answers_of_the_folded_part_count_what_is_in_the_gap(settings: Any, limit: int) -> None:
    settings.PAGESTATS_TAIL_LIMIT = limit
    rows = make_page_views(80)
    fold_naively(rows[:60], all_time=40)
    oracle = Oracle(rows[:60])
    with stats.snapshot(exact=False) as snapshot:
        assert snapshot.count_page_views() == 60
        assert snapshot.count_unique_visitors() == oracle.visitors()
        assert snapshot.top_pages(5) == oracle.top_pages()[:5]
        summary = snapshot.summary()
    assert (summary.page_views, summary.paths, summary.is_exact) == (60, oracle.paths(), False)
    assert (summary.pending, summary.pending_is_exact) == ((20, True) if limit > 20 else (20, False))
    assert_answers()


def test_pending_page_views_are_those_that_no_row_of_a_day_counts() -> None:
    rows = make_page_views(80)
    fold_naively(rows[:60], all_time=40)
    assert stats.summary().pending == 20


def test_far_behind_all_time_is_answered_by_the_days(settings: Any, django_assert_num_queries: Any) -> None:
    """The statements do not read the page views of the gap, of which there may be millions."""
    settings.PAGESTATS_TAIL_LIMIT = 10
    rows = make_page_views(80)
    fold_naively(rows[:75], all_time=0)
    with django_assert_num_queries(3) as queries:  # rows of all time, then of days, then the tail
        assert stats.count_page_views() == 80
    assert f"id > {rows[74].id}" in queries.captured_queries[-1]["sql"]


# -- verification


def differences() -> list[Any]:
    return list(Verification("default"))


def test_verification_knows_the_gap() -> None:
    rows = make_page_views(80)
    fold_naively(rows[:60], all_time=40)
    assert differences() == []


@pytest.mark.parametrize(
    "level", [SITE_ALL, PAGE_ALL], ids=lambda level: f"{level.dimension.name}-{level.granularity.name}"
)
def test_verification_finds_a_wrong_row_of_all_time_beside_a_gap(level: Level) -> None:
    rows = make_page_views(80)
    generation = fold_naively(rows[:60], all_time=40)
    stored = Aggregate.objects.filter(generation=generation.pk, dimension=level.dimension, granularity=ALL)
    row = stored.order_by("-page_views")[0]
    stored.filter(subject=row.subject).update(page_views=row.page_views + 1, visitors=row.visitors + 1)
    assert [found.what for found in differences()] == [What.PAGE_VIEWS, What.VISITORS]
    stored.filter(subject=row.subject).delete()
    assert {found.what for found in differences()} <= {
        What.PAGE_VIEWS,
        What.VISITORS,
        What.VISITOR_SET,
        What.REPEAT_SET,
        What.MISSING_ROW,
    }
    assert differences()


def test_verification_passes_over_the_version_that_does_not_answer_and_no_other() -> None:
    rows = make_page_views(80)
    generation = fold_naively(rows)
    row = Aggregate.objects.filter(granularity=ALL, dimension=SITE).values()[0]
    Aggregate.objects.create(**{**row, "bucket": 1})
    assert differences() == []
    Aggregate.objects.create(**{**row, "bucket": 2})
    assert [(found.what, found.bucket) for found in differences()] == [(What.EXTRA_ROW, 2)]
    assert generation.all_bucket == 0


def test_verification_before_the_first_rows_of_all_time() -> None:
    make_page_views(80)
    generation = fold_all(closes=False)
    assert differences() == []
    row = Aggregate.objects.filter(dimension=SITE).values()[0]
    Aggregate.objects.create(**{**row, "granularity": ALL, "bucket": generation.all_bucket})
    assert [found.what for found in differences()] == [What.EXTRA_ROW]


# -- how far it is


def test_the_step_and_its_percent_are_told(few_rows: None) -> None:
    make_page_views(200)
    links = Links()
    links.start(chunk_size=100)
    seen: list[tuple[Any, float]] = []
    while links.sent:
        links.deliver_next()
        shown = backfill.status("default")
        seen.append((shown["step"], shown["step_percent"]))
        if shown["step"] == "all_time":
            assert "makes the rows of all time (" in progress.describe(the_run())
    assert seen[0] == ("fold", 50.0)
    percents = [percent for step, percent in seen if step == "all_time"]
    assert percents == sorted(percents) and percents[-1] > 50
    assert seen[-1] == (None, None)


# -- what was there before


def test_generations_of_before_keep_their_rows() -> None:
    rows = make_page_views(60)
    generation = fold_naively(rows[:50])
    Generation.objects.update(all_cursor=0, all_bucket=1, all_moved_at=None)  # what the new columns begin with
    migration = import_module("django_pagestats.migrations.0003_generations_of_before")
    migration.keep_their_rows(apps, SimpleNamespace(connection=connection))
    generation.refresh_from_db()
    assert (generation.all_cursor, generation.all_bucket) == (generation.cursor, 0)
    assert_exact()
    assert_answers()
