"""Each kind of row, corrupted, is named; and nothing else is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase
from pyroaring import BitMap

from django_pagestats import backfill, folding
from django_pagestats.buckets import Calendar, Dimension, Granularity
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, Subject, Visitor
from django_pagestats.verify import Difference, Verification, What, counting, groups, stored, totals
from tests.factories import count_naively, insert_page_views, make_page_views

pytestmark = pytest.mark.usefixtures("no_settling")

SITE, PAGE = Dimension.SITE, Dimension.PAGE
HOUR, DAY, ALL = Granularity.HOUR, Granularity.DAY, Granularity.ALL
DAY_1 = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
BUCKET_1 = (date(2025, 3, 1) - date(1970, 1, 1)).days
VIEWS = [
    ("/a", "ann", DAY_1),
    ("/a", "bob", DAY_1 + timedelta(minutes=5)),
    ("/b", "ann", DAY_1 + timedelta(hours=1)),
    ("/a", "ann", DAY_1 + timedelta(days=1)),
    ("/c", "cat", DAY_1 + timedelta(days=9)),
]
LEVELS = [(SITE, HOUR), (SITE, DAY), (SITE, ALL), (PAGE, DAY), (PAGE, ALL)]
IDS = [f"{dimension.name}-{granularity.name}" for dimension, granularity in LEVELS]


def fold() -> Generation:
    started = backfill.run_here("default", via="tests")
    assert started.run is None or started.run.status == BackfillRun.Status.SUCCEEDED, started.run.error
    return Generation.objects.get(is_active=True)


@pytest.fixture
def generation(db: None) -> Generation:
    insert_page_views(VIEWS)
    return fold()


def differences() -> list[Difference]:
    return list(Verification("default"))


def whats() -> set[What]:
    return {difference.what for difference in differences()}


def rows(dimension: int, granularity: int, path: str = "/a") -> Any:
    """The first aggregate row of a kind that has more than one page view, as a query set."""
    subject = 0 if dimension == SITE else Subject.objects.get(value=path).pk
    found = Aggregate.objects.filter(dimension=dimension, granularity=granularity, subject=subject)
    bucket = found.order_by("bucket").values_list("bucket", flat=True)[0]
    return found.filter(bucket=bucket)


def visitor(key: str) -> int:
    return Visitor.objects.get(session_key=key).pk


# -- nothing to find


@pytest.mark.django_db
def test_without_a_generation_there_is_nothing_to_verify() -> None:
    insert_page_views(VIEWS)
    verification = Verification("default")
    assert list(verification) == []
    assert verification.generation is None


def test_what_was_folded_is_right(generation: Generation) -> None:
    verification = Verification("default")
    assert list(verification) == []
    assert verification.page_views == 5
    # hours 4, days 3 + 4, all 1 + 3; and of sections, days 4 and all 3
    assert verification.aggregates == Aggregate.objects.count() == 22


def test_page_views_after_the_cursor_are_none_of_its_business(generation: Generation) -> None:
    insert_page_views([("/new", "new", DAY_1)])
    assert differences() == []


@pytest.mark.django_db
def test_an_empty_generation_of_an_empty_table() -> None:
    folding.ensure_active_generation("default")
    assert differences() == []


# -- each kind of row, in each way


@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
def test_a_wrong_number_of_page_views(generation: Generation, dimension: int, granularity: int) -> None:
    row = rows(dimension, granularity)
    right = row.get().page_views
    row.update(page_views=right + 1)
    found = [difference for difference in differences() if difference.granularity == granularity_name(granularity)]
    assert len(found) == 1
    assert (found[0].what, found[0].stored, found[0].counted) == (What.PAGE_VIEWS, right + 1, right)
    assert found[0].dimension == ("site" if dimension == SITE else "page")
    assert found[0].subject == ("" if dimension == SITE else "/a")
    assert found[0].bucket == row.get().bucket


def granularity_name(granularity: int) -> str:
    return Granularity(granularity).name.lower()


@pytest.mark.once
@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
def test_a_wrong_number_of_visitors(generation: Generation, dimension: int, granularity: int) -> None:
    row = rows(dimension, granularity)
    right = row.get().visitors
    row.update(visitors=right + 7)
    (found,) = differences()
    assert (found.what, found.stored, found.counted) == (What.VISITORS, right + 7, right)


@pytest.mark.once
@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
def test_another_visitor_in_a_set(generation: Generation, dimension: int, granularity: int) -> None:
    """As many members as there should be, so only the members tell."""
    row = rows(dimension, granularity)
    members = BitMap.deserialize(bytes(row.get().visitor_set))
    members.remove(visitor("ann"))
    members.add(visitor("cat") if visitor("cat") not in members else 4_000_000_000)
    row.update(visitor_set=members.serialize())
    of_row = [difference for difference in differences() if difference.granularity == granularity_name(granularity)]
    assert [difference.what for difference in of_row] == [What.VISITOR_SET]
    assert of_row[0].detail == "1 too many, 1 missing"


@pytest.mark.parametrize("other", ["cat", 70_000, b"rubbish of 18 byte"], ids=["known", "of nobody", "unreadable"])
def test_another_visitor_in_a_set_of_one(generation: Generation, other: Any) -> None:
    row = rows(PAGE, DAY, "/b")
    assert len(row.get().visitor_set) == 18, "as long as any set of one"
    raw = other if isinstance(other, bytes) else BitMap([visitor(other) if other == "cat" else other]).serialize()
    row.update(visitor_set=raw)
    of_row = [difference.what for difference in differences() if difference.granularity == "day"]
    assert of_row == [What.UNREADABLE_SET if isinstance(other, bytes) else What.VISITOR_SET]


@pytest.mark.once
@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
@pytest.mark.parametrize("raw", [b"", b"rubbish", "half"], ids=["empty", "rubbish", "half"])
def test_a_set_that_cannot_be_read(generation: Generation, dimension: int, granularity: int, raw: Any) -> None:
    row = rows(dimension, granularity)
    row.update(visitor_set=bytes(row.get().visitor_set)[:-3] if raw == "half" else raw)
    found = [difference for difference in differences() if difference.what == What.UNREADABLE_SET]
    assert [difference.granularity for difference in found] == [granularity_name(granularity)]


@pytest.mark.once
@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
def test_a_missing_row(generation: Generation, dimension: int, granularity: int) -> None:
    row = rows(dimension, granularity)
    page_views = row.get().page_views
    row.delete()
    found = [difference for difference in differences() if difference.what == What.MISSING_ROW]
    assert [(d.granularity, d.stored, d.counted) for d in found] == [(granularity_name(granularity), None, page_views)]


@pytest.mark.once
@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
@pytest.mark.parametrize("bucket", [-5, 3, BUCKET_1 + 3, 2**31 - 1])
def test_an_extra_row(generation: Generation, dimension: int, granularity: int, bucket: int) -> None:
    """Before all page views, between them, and after them; most of these are no bucket that could be."""
    original = rows(dimension, granularity).get()
    Aggregate.objects.create(
        generation=generation.pk,
        dimension=dimension,
        granularity=granularity,
        bucket=bucket,
        subject=original.subject,
        page_views=original.page_views,
        visitors=original.visitors,
        visitor_set=bytes(original.visitor_set),
    )
    found = [difference for difference in differences() if difference.what == What.EXTRA_ROW]
    assert [(d.granularity, d.bucket, d.counted) for d in found] == [(granularity_name(granularity), bucket, None)]


def test_a_row_of_the_site_with_a_subject(generation: Generation) -> None:
    copy = rows(SITE, DAY).get()
    copy.pk = (generation.pk, SITE, DAY, copy.bucket, 99)
    copy.subject = 99
    copy.save(force_insert=True)
    assert [str(difference) for difference in differences() if difference.what == What.EXTRA_ROW] == [
        f"site subject 99 day 2025-03-01 ({BUCKET_1}): extra row: 3 stored, nothing counted (page views)",
        "site subject 99 all (0): missing row: nothing stored, 3 counted (page views)",
    ][:1]


def test_a_kind_of_row_that_nobody_keeps(generation: Generation) -> None:
    for pk in [(generation.pk, 1, 9, 0, 0), (generation.pk, 30, 2, 0, 0), (generation.pk, 2, 1, 0, 1)]:
        Aggregate.objects.create(
            **dict(zip(("generation", "dimension", "granularity", "bucket", "subject"), pk, strict=True)),
            page_views=1,
            visitors=0,
            visitor_set=BitMap().serialize(),
        )
    assert [(d.what, d.dimension, d.granularity, d.stored) for d in differences()] == [
        (What.UNKNOWN_KIND, "1", "9", 1),
        (What.UNKNOWN_KIND, "2", "1", 1),
        (What.UNKNOWN_KIND, "30", "2", 1),
    ]


def test_rows_of_other_generations_are_not_looked_at(generation: Generation) -> None:
    Aggregate.objects.create(
        generation=generation.pk + 1,
        dimension=1,
        granularity=2,
        bucket=1,
        subject=0,
        page_views=1,
        visitors=0,
        visitor_set=b"",
    )
    assert differences() == []


def test_a_set_may_be_stored_in_another_form(generation: Generation) -> None:
    """With runs of ids or without: one of the two is not byte for byte what was counted, and both are the same set."""
    insert_page_views([("/many", f"visitor {number}", DAY_1 + timedelta(days=20)) for number in range(300)])
    fold()
    forms = set()
    for with_runs in (False, True):
        for row in Aggregate.objects.filter(visitors__gte=300):
            members = BitMap(list(BitMap.deserialize(bytes(row.visitor_set))), optimize=with_runs)
            forms.add(members.serialize()[:4])
            Aggregate.objects.filter(pk=row.pk).update(visitor_set=members.serialize())
        assert differences() == []
    assert len(forms) > 1


# -- ids


def test_a_path_whose_subject_is_gone(generation: Generation) -> None:
    subject = Subject.objects.get(value="/b").pk
    Subject.objects.filter(pk=subject)._raw_delete("default")
    found = [(d.what, d.subject, d.granularity) for d in differences()]
    assert sorted(found, key=str) == sorted(
        [
            (What.MISSING_ROW, "/b", "day"),
            (What.EXTRA_ROW, f"subject {subject}", "day"),
            (What.NO_SUBJECT, f"subject {subject}", ""),
        ],
        key=str,
    )


def test_a_session_key_whose_visitor_is_gone(generation: Generation) -> None:
    cat = visitor("cat")
    Visitor.objects.filter(pk=cat)._raw_delete("default")
    found = differences()
    assert {d.what for d in found} == {What.UNKNOWN_VISITORS, What.VISITORS, What.VISITOR_SET, What.NO_VISITOR}
    assert [d.subject for d in found if d.what == What.NO_VISITOR] == [str(cat)]
    assert ["visitor rows were deleted" in d.detail for d in found if d.what == What.NO_VISITOR] == [True]
    assert [(d.time, d.counted) for d in found if d.what == What.UNKNOWN_VISITORS] == [("2025-03-10", 1)]


def test_a_member_of_a_set_that_is_nobody(generation: Generation) -> None:
    row = rows(PAGE, ALL)
    members = BitMap.deserialize(bytes(row.get().visitor_set)) | BitMap([4_294_967_295])
    row.update(visitor_set=members.serialize(), visitors=len(members))
    assert whats() == {What.VISITOR_SET, What.VISITORS, What.NO_VISITOR}


# -- page views that changed, or went


def test_a_page_view_that_was_deleted(generation: Generation) -> None:
    PageView.objects.filter(path="/b").delete()
    found = differences()
    assert {d.what for d in found} >= {What.EXTRA_ROW, What.PAGE_VIEWS}
    assert {d.subject for d in found} == {"", "/b", "b"}  # of the site, the page and its section


def test_a_page_view_below_the_cursor_that_came_late(generation: Generation) -> None:
    """An explicit low id, an edit by hand: what no horizon sees."""
    PageView.objects.create(id=-3, path="/late", session_key="ann", viewed_at=DAY_1)
    found = [d for d in differences() if d.subject == "/late"]
    assert [(d.what, d.granularity, d.counted) for d in found] == [(What.MISSING_ROW, "day", 1)]


def test_page_views_gone_from_the_end(generation: Generation) -> None:
    last = PageView.objects.order_by("pk").last()
    assert last is not None
    PageView.objects.filter(pk=last.pk).delete()
    first = differences()[0]
    assert (first.what, first.stored, first.counted) == (What.CURSOR, last.pk, last.pk - 1)


def test_a_table_that_was_emptied(generation: Generation) -> None:
    PageView.objects.all().delete()
    assert whats() == {What.CURSOR, What.EXTRA_ROW}


# -- frozen days


@pytest.fixture
def pruned(generation: Generation) -> Generation:
    PageView.objects.filter(viewed_at__lt=DAY_1 + timedelta(days=2)).delete()
    Generation.objects.update(pruned_before=date(2025, 3, 3))
    return generation


def test_frozen_days_are_not_compared_with_page_views(pruned: Generation) -> None:
    assert differences() == []
    PageView.objects.all().delete()
    assert whats() == {What.EXTRA_ROW}, "of the days that are not frozen; that the last page view is gone may be right"


@pytest.mark.parametrize(("dimension", "granularity"), [*LEVELS[:2], LEVELS[3]], ids=[*IDS[:2], IDS[3]])
def test_a_frozen_row_that_contradicts_itself(pruned: Generation, dimension: int, granularity: int) -> None:
    row = rows(dimension, granularity)
    row.update(visitors=row.get().visitors + 1)
    assert [(d.what, d.granularity) for d in differences()] == [(What.VISITORS, granularity_name(granularity))]
    row.update(visitor_set=b"rubbish")
    assert What.UNREADABLE_SET in whats()


def test_ids_of_frozen_rows_must_exist(pruned: Generation) -> None:
    subject = Subject.objects.get(value="/b").pk
    Subject.objects.filter(pk=subject)._raw_delete("default")
    Visitor.objects.filter(session_key="bob")._raw_delete("default")
    assert whats() == {What.NO_SUBJECT, What.NO_VISITOR}


def test_all_rows_are_compared_with_frozen_days_too(pruned: Generation) -> None:
    row = rows(PAGE, DAY)
    row.update(page_views=row.get().page_views + 1)
    assert [(d.what, d.granularity, d.subject) for d in differences()] == [(What.PAGE_VIEWS, "all", "/a")]


# -- bounded portions and groups come to the same


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions, groups and slices of a few rows, so that a few page views make many of each."""
    monkeypatch.setattr(counting, "PORTION_ROWS", 7)
    monkeypatch.setattr(counting, "TOGETHER", timedelta(hours=8))  # some portions last longer
    monkeypatch.setattr(counting, "GROUP_WEIGHT", 12)
    monkeypatch.setattr(totals, "MOST_ADDED", 5)
    monkeypatch.setattr(totals, "MOST_BYTES", 1_100)
    monkeypatch.setattr("django_pagestats.verify.comparing.IDS_PER_STATEMENT", 2)
    monkeypatch.setattr(stored, "FIRST_SLICE_ROWS", 1)
    monkeypatch.setattr(stored, "SLICE_BYTES", 600)


@pytest.mark.once
@pytest.mark.usefixtures("small")
def test_small_groups_find_nothing_in_what_is_right(db: None) -> None:
    make_page_views(90, paths=9, days=5)
    fold()
    verification = Verification("default")
    assert list(verification) == []
    assert verification.page_views == 90
    assert verification.aggregates == Aggregate.objects.count()


@pytest.mark.once
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("dimension", "granularity"), LEVELS, ids=IDS)
def test_small_groups_find_every_row(db: None, dimension: int, granularity: int) -> None:
    make_page_views(40, paths=5, days=3)
    fold()
    wrong = Aggregate.objects.filter(dimension=dimension, granularity=granularity)
    wrong.update(visitors=10_000)
    found = differences()
    assert {d.what for d in found} == {What.VISITORS}
    assert len(found) == len({(d.dimension, d.granularity, d.bucket, d.subject) for d in found}) == wrong.count()


def test_a_group_holds_no_more_than_its_weight(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    views = make_page_views(200, paths=20, days=10)
    naive = count_naively(views)
    monkeypatch.setattr(counting, "PORTION_ROWS", 10)
    monkeypatch.setattr(counting, "GROUP_WEIGHT", 40)
    seen: dict[int, int] = {}
    count = 0
    page_views = counting.PageViews("default", views[-1].id, Calendar("UTC"))
    for counted in page_views.groups(groups.Group()):
        count += 1
        assert counted.weight <= 40 + 25, "of one day of the site there may be 25 rows besides"
        for day, found in counted.days().items():
            seen[day] = seen.get(day, 0) + len(found[0])
    assert count > 3
    assert seen == {(day - date(1970, 1, 1)).days: counted.page_views for day, counted in naive.days.items()}


def test_portions_of_other_days_are_not_read_again(
    db: None, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    """In order of time, many groups cost about as many queries as one."""
    start = DAY_1
    insert_page_views([(f"/{n % 7}", f"k{n % 11}", start + timedelta(hours=n)) for n in range(300)])
    monkeypatch.setattr(counting, "PORTION_ROWS", 20)
    monkeypatch.setattr(counting, "GROUP_WEIGHT", 60)
    page_views = counting.PageViews("default", PageView.objects.latest("pk").pk, Calendar("UTC"))
    with django_assert_max_num_queries(15 * 8):
        count = len(list(page_views.groups(groups.Group())))
    assert count > 4


HARD_ZONES = ["UTC", "Asia/Pyongyang", "America/St_Johns", "Pacific/Apia", "America/Havana", "Australia/Lord_Howe"]
#: 2018-05-04 15:00, 2006-10-29 02:31, 2011-12-30 10:00, 2025-11-02 05:00, 2025-04-05 15:00: their changes
CHANGES = [1_525_446_000, 1_162_089_060, 1_325_239_200, 1_762_059_600, 1_743_865_200]


@pytest.mark.once
class TestAnyPageViews(HypothesisTestCase):
    @settings(max_examples=15)
    @given(
        zone=st.sampled_from(HARD_ZONES),
        views=st.lists(
            st.tuples(
                st.sampled_from(["/a", "/A", "/ü", "/x "]),
                st.sampled_from(["k", "K", "k "]),
                st.sampled_from(CHANGES),
                st.integers(-100_000, 100_000),
            ),
            min_size=1,
            max_size=16,
        ),
        chunk_size=st.integers(1, 9),
    )
    def test_what_is_folded_verifies(self, zone: str, views: list[tuple[str, str, int, int]], chunk_size: int) -> None:
        moments = [(path, key, datetime.fromtimestamp(at + off, timezone.utc)) for path, key, at, off in views]
        insert_page_views(moments)
        with self.settings(PAGESTATS_TIME_ZONE=zone), pytest.MonkeyPatch.context() as monkeypatch:
            make_small(monkeypatch)
            backfill.run_here("default", via="tests", chunk_size=chunk_size)
            verification = Verification("default")
            assert [str(difference) for difference in verification] == []
            assert verification.page_views == len(views)
            assert verification.aggregates == Aggregate.objects.count()


@pytest.mark.parametrize(("zone", "change"), [("Asia/Pyongyang", CHANGES[0]), ("America/St_Johns", CHANGES[1])])
def test_days_that_share_an_hour_or_come_back_are_not_cut(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch, zone: str, change: int
) -> None:
    settings.PAGESTATS_TIME_ZONE = zone
    offsets = (-86_400, -1_200, -30, 30, 1_200, 5_000, 86_400)
    insert_page_views([(f"/{n}", "k", datetime.fromtimestamp(change + n, timezone.utc)) for n in offsets])
    fold()
    make_small(monkeypatch)
    monkeypatch.setattr(counting, "GROUP_WEIGHT", 1)
    assert [str(difference) for difference in differences()] == []


@pytest.mark.parametrize(
    ("zone", "day", "is_clean"),
    [
        ("UTC", date(2025, 3, 1), True),
        ("Asia/Pyongyang", date(2018, 5, 5), False),  # 23:00 to 23:30 and 00:00 to 01:00 are one HOUR
        ("Asia/Pyongyang", date(2018, 5, 6), True),
        ("America/St_Johns", date(2006, 10, 29), False),  # after a minute of it the 28th came back
        ("America/St_Johns", date(2006, 10, 30), True),
        ("Pacific/Apia", date(2011, 12, 30), True),  # left out: the 31st begins there
    ],
)
def test_where_days_can_be_cut(zone: str, day: date, is_clean: bool) -> None:
    number = (day - date(1970, 1, 1)).days
    calendar = Calendar(zone)
    assert groups.is_clean_boundary(calendar, number) == is_clean
    assert groups.clean_boundary_from(calendar, number) == number + (not is_clean)


# -- one instant


@pytest.fixture
def other(transactional_db: None) -> Iterator[Any]:
    """Runs a function on a second connection, in a thread, to its end."""

    def run(function: Any) -> None:
        errors: list[BaseException] = []

        def body() -> None:
            try:
                function()
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), "it waits for the verification"
        if errors:
            raise errors[0]

    yield run


def test_writers_and_folds_go_on_meanwhile(other: Any) -> None:
    """Between two rows a second connection records and folds: it waits for nothing, and is not seen."""
    insert_page_views(VIEWS)
    generation = fold()
    wrong = rows(SITE, HOUR)
    wrong.update(visitors=99)

    def record_and_fold() -> None:
        insert_page_views([("/a", "dan", DAY_1), ("/new", "eve", DAY_1 + timedelta(days=2))])
        fold()

    connection.close()  # a command begins without a connection
    verification = iter(Verification("default"))
    assert next(verification).what == What.VISITORS
    other(record_and_fold)
    assert list(verification) == [], "what was committed meanwhile must not be seen"
    assert Generation.objects.get(pk=generation.pk).cursor > generation.cursor
    assert "/new" in Subject.objects.values_list("value", flat=True)


def test_a_switch_of_generations_meanwhile(other: Any) -> None:
    insert_page_views(VIEWS)
    generation = fold()
    rows(SITE, HOUR).update(visitors=99)

    def rebuild() -> None:
        backfill.run_here("default", kind=BackfillRun.Kind.REBUILD, via="tests")
        folding.sweep("default", seconds=10)

    verification = Verification("default")
    found = iter(verification)
    assert next(found).what == What.VISITORS
    other(rebuild)
    assert list(found) == []
    assert verification.generation == generation
    assert not Generation.objects.get(pk=generation.pk).is_active
    assert differences() == []


@pytest.mark.django_db(transaction=True)
def test_it_leaves_no_transaction_behind() -> None:
    insert_page_views(VIEWS)
    fold()
    rows(SITE, HOUR).update(visitors=99)
    connections["default"].close()
    for _ in Verification("default"):
        assert connection.in_atomic_block
        break
    assert not connection.in_atomic_block
    PageView.objects.all().delete()  # neither read-only nor deferred any more
    assert connection.vendor != "sqlite" or connection.transaction_mode == "IMMEDIATE"


@pytest.mark.django_db(transaction=True)
def test_inside_atomic_it_reads_in_the_callers_transaction() -> None:
    insert_page_views(VIEWS)
    fold()
    with transaction.atomic():
        rows(SITE, DAY).update(visitors=99)
        assert whats() == {What.VISITORS}
        transaction.set_rollback(True)
    assert differences() == []


# -- the command


def verify(**options: Any) -> str:
    out = StringIO()
    call_command("verify_aggregates", stdout=out, **options)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_without_aggregates() -> None:
    assert "nothing has been folded" in verify()
    assert json.loads(verify(json=True)) == {
        "database": "default",
        "differences": [],
        "generation": None,
        "cursor": None,
        "page_views": 0,
        "aggregates": 0,
        "difference_count": 0,
    }


def test_the_command_when_all_is_right(generation: Generation) -> None:
    assert verify() == (
        f"Generation {generation.pk}: compared 22 aggregate rows with 5 page views up to {generation.cursor};"
        " differences: 0.\n"
    )


def test_the_command_prints_every_difference_and_fails(generation: Generation) -> None:
    rows(PAGE, DAY).update(visitors=4)
    rows(SITE, ALL).delete()
    out = StringIO()
    with pytest.raises(CommandError, match="2 differences") as caught:
        call_command("verify_aggregates", stdout=out)
    assert caught.value.returncode == 1
    assert out.getvalue().splitlines()[:2] == [
        f"page /a day 2025-03-01 ({BUCKET_1}): visitors: 4 stored, 2 counted",
        "site all (0): missing row: nothing stored, 5 counted (page views)",
    ]


def test_the_command_prints_one_json_object(generation: Generation) -> None:
    rows(PAGE, DAY).update(visitors=4)
    rows(SITE, HOUR).update(page_views=4)
    out = StringIO()
    with pytest.raises(CommandError, match="2 differences"):
        call_command("verify_aggregates", stdout=out, json=True)
    found = json.loads(out.getvalue())
    assert found["difference_count"] == 2
    assert found["differences"] == [
        {
            "what": "page views",
            "dimension": "site",
            "granularity": "hour",
            "subject": "",
            "bucket": BUCKET_1 * 24 + 10,
            "time": "2025-03-01 10:00+00:00",
            "stored": 4,
            "counted": 2,
            "detail": "",
        },
        {
            "what": "visitors",
            "dimension": "page",
            "granularity": "day",
            "subject": "/a",
            "bucket": BUCKET_1,
            "time": "2025-03-01",
            "stored": 4,
            "counted": 2,
            "detail": "",
        },
    ]


def test_repair_rebuilds_and_verifies_again(generation: Generation) -> None:
    rows(PAGE, DAY).delete()
    rows(SITE, HOUR).update(visitor_set=b"rubbish")
    found = json.loads(verify(json=True, repair=True))
    assert found["before"]["difference_count"] == 5
    assert found["after"]["difference_count"] == 0
    assert found["after"]["generation"] != generation.pk == found["before"]["generation"]
    assert BackfillRun.objects.get(pk=found["repaired_by_run"]).kind == BackfillRun.Kind.REBUILD
    assert not Aggregate.objects.filter(generation=generation.pk).exists()
    assert differences() == []


def test_repair_leaves_alone_what_is_right(generation: Generation) -> None:
    found = json.loads(verify(json=True, repair=True))
    assert found["repaired_by_run"] is None
    assert "after" not in found
    assert Generation.objects.get() == generation
    assert "differences: 0" in verify(repair=True)


def test_repair_inside_a_transaction_is_refused_at_once(generation: Generation) -> None:
    with transaction.atomic(), pytest.raises(CommandError, match="end that first"):
        verify(repair=True)


def test_repair_after_a_restore(generation: Generation) -> None:
    """The last page views are gone: only a rebuild helps, and it does."""
    last = PageView.objects.latest("pk").pk
    PageView.objects.filter(pk=last).delete()
    assert "differences: 0" in verify(repair=True)


@pytest.mark.django_db
def test_repair_without_aggregates() -> None:
    assert "nothing has been folded" in verify(repair=True)


def test_repair_beside_an_active_backfill(generation: Generation) -> None:
    insert_page_views([("/more", "ann", DAY_1)])
    backfill.start("default", via="tests", enqueue=backfill.enqueue_nothing)
    rows(SITE, DAY).update(visitors=9)
    with pytest.raises(CommandError, match="is active"):
        verify(repair=True)


@pytest.mark.django_db
def test_an_unknown_database() -> None:
    with pytest.raises(CommandError, match="no database 'nowhere'"):
        verify(database="nowhere")
