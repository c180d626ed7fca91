"""Answers that are kept: asked again they cost nothing, and are of now, whatever happened (test_oracle.py too)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pyroaring import BitMap

from django_pagestats import stats
from django_pagestats.merging.reading import State
from django_pagestats.models import REVISION_STEP, Aggregate, Generation, PageView, aggregates
from django_pagestats.stats.grouping import group_values
from django_pagestats.stats.kept_answers import ENTRY_BYTES, KeptAnswers, Place, bytes_of, kept_answers
from testproject.settings import KIND
from tests.factories import fold, insert_page_views
from tests.stats_oracle import Oracle, fold_naively
from tests.test_recording_tenants import tenants  # noqa: F401 - a fixture

START = datetime(2025, 3, 2, tzinfo=timezone.utc)
END = START + timedelta(days=90)
DAYS = {"start": START.date(), "end": START.date() + timedelta(days=90)}
BEFORE = (START.date() - timedelta(days=90), START.date())
VIEWS = [(f"/p{n % 9}", f"key{n % 13}", START + timedelta(hours=5 * n), {"source": f"s{n % 4}"}) for n in range(300)]
OTHERS = [(f"/q{n % 7}", f"other{n % 11}", START + timedelta(hours=7 * n), {"source": "t"}) for n in range(300)]

in_autocommit = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    kept_answers.clear()
    yield
    kept_answers.clear()


def initial(value: str) -> str:
    return value[:1]


def everything() -> dict[str, Any]:
    with stats.snapshot() as taken:
        return {
            "summary": taken.summary(**DAYS),
            "all": taken.summary(),
            "top": taken.top_pages(5, **DAYS),
            "sources": taken.top("source", 5, **DAYS),
            "visits": taken.count_visits(**DAYS),
            "single": taken.count_single_page_visitors(**DAYS),
            "days": taken.time_series("day", *DAYS.values()),
            "page": taken.count_unique_visitors("/p1", **DAYS),
            "some": taken.count_page_views_of(["/p1", "/q1", "/new"], **DAYS),
            "values": taken.count_values("source", **DAYS),
            "groups": group_values(taken, "source", initial, before=BEFORE, **DAYS),
        }


def reads_of_aggregates() -> int:
    with CaptureQueriesContext(connection) as captured:
        everything()
    return sum(Aggregate._meta.db_table in query["sql"] for query in captured.captured_queries)


def assert_answers_are_those_of(rows: list[Any]) -> None:
    oracle, found = Oracle(rows, dimensions=Generation.objects.get(is_active=True).dimensions), everything()
    assert found["summary"].page_views == oracle.page_views(None, *DAYS.values())
    assert found["summary"].visitors == oracle.visitors(None, *DAYS.values())
    assert found["top"] == oracle.top_pages(*DAYS.values())[:5]
    assert found["single"] == oracle.single_page_visitors(**DAYS)
    assert found["days"] == oracle.days(*DAYS.values())
    assert found["page"] == oracle.visitors("/p1", *DAYS.values())
    assert found["all"].visitors == oracle.visitors()
    for letter, group in found["groups"].groups.items():
        values = [value for value, *_ in oracle.top("source", *DAYS.values()) if initial(value) == letter]
        keys = {key for value in values for key in oracle.keys(None, *DAYS.values(), where={"source": value})}
        views = sum(oracle.page_views(None, *DAYS.values(), where={"source": value}) for value in values)
        assert (group.visitors, group.page_views, sum(group.by_day.values())) == (len(keys), views, views)


@in_autocommit
def test_who_asks_again_reads_the_tail_only(settings: Any) -> None:
    rows = insert_page_views(VIEWS)
    fold()
    assert reads_of_aggregates() > 8
    assert kept_answers.bytes > 0
    assert reads_of_aggregates() == 0
    assert_answers_are_those_of(rows)
    rows += insert_page_views([("/new", "new", START), ("/p1", "key1", START + timedelta(days=3), {"source": "s1"})])
    reads_of_aggregates()  # of what the tail touches
    assert reads_of_aggregates() == 0
    assert_answers_are_those_of(rows)
    fold()
    assert reads_of_aggregates() > 8, "those of before say nothing of these"
    assert_answers_are_those_of(rows)
    settings.PAGESTATS_ANSWERS_MEGABYTES = 0
    assert reads_of_aggregates() > 8 and reads_of_aggregates() > 8


@in_autocommit
def test_a_question_by_itself_is_answered_by_what_is_kept() -> None:
    insert_page_views(VIEWS)
    fold()
    with CaptureQueriesContext(connection) as first:
        answer = stats.count_unique_visitors(**DAYS)
    with CaptureQueriesContext(connection) as second:
        assert stats.count_unique_visitors(**DAYS) == answer
    assert (len(first), len(second)) == (4, 2), "the state, 64 days, the others, the tail"


@in_autocommit
def test_aggregates_that_come_again_with_the_same_cursor_are_others() -> None:
    """A dump that is read in again, a server that took over: what is folded then has the same ids."""
    rows = insert_page_views(VIEWS)
    fold()
    generation = Generation.objects.get()
    everything()
    for model in (PageView, Aggregate, Generation):
        model._base_manager.all()._raw_delete("default")
    Generation.objects.bulk_create([generation])
    Generation.objects.update(cursor=rows[0].id - 1, all_cursor=rows[0].id - 1, revision=0, all_moved_at=None)
    Generation.objects.update(all_bucket=1, last_page_view=None)
    others = PageView.objects.bulk_create(
        PageView(pk=row.id, path=path, session_key=key, viewed_at=at, attributes=more)
        for row, (path, key, at, more) in zip(rows, OTHERS, strict=True)
    )
    fold()
    again = Generation.objects.get()
    assert (again.pk, again.cursor) == (generation.pk, generation.cursor)
    assert_answers_are_those_of(
        [row._replace(path=it.path, session_key=it.session_key, viewed_at=it.viewed_at, attributes=it.attributes)
         for row, it in zip(rows, others, strict=True)]
    )  # fmt: skip


@in_autocommit
def test_what_is_read_in_a_transaction_of_the_callers_is_not_kept() -> None:
    """It may have written what nobody else will see."""
    insert_page_views(VIEWS)
    fold()
    with transaction.atomic():
        everything()
        assert kept_answers.bytes == 0
    reads_of_aggregates()
    with transaction.atomic():
        assert stats.count_unique_visitors(**DAYS) == 13


@in_autocommit
def test_a_revision_of_a_release_before_is_not_kept() -> None:
    """They were raised by one: two may be the same."""
    fold_naively(insert_page_views(VIEWS))
    everything()
    assert kept_answers.bytes == 0


@in_autocommit
@pytest.mark.skipif(KIND != "postgresql", reason="tenants have schemas on PostgreSQL only")
def test_tenants_have_their_own(tenants: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Though their generations, cursors, and even revisions are the same."""
    monkeypatch.setattr(aggregates, "randbelow", lambda most: 1)
    made, states = {"first": VIEWS, "second": OTHERS}, set()
    for schema, views in made.items():
        tenants.set_schema(schema)
        Generation.objects.create(pk=1, time_zone="UTC", is_active=True, created_at=START, dimensions=[])
        PageView.objects.bulk_create(
            PageView(pk=n, path=path, session_key=key, viewed_at=at) for n, (path, key, at, _) in enumerate(views, 1)
        )
        fold()
        states.add(Generation.objects.values_list("cursor", "all_cursor", "revision").get())
    assert len(states) == 1
    for schema, views in [*made.items(), *made.items()]:
        tenants.set_schema(schema)
        assert stats.count_unique_visitors(**DAYS) == len({key for _, key, at, _ in views if at < END})
        assert {page.path for page in stats.top_pages(**DAYS)} == {path for path, _, at, _ in views if at < END}


# -- what is kept, by itself

STATE = State(1, 300, REVISION_STEP, "UTC", 300)
HERE, THERE = Place("default", None), Place("replica", None)


def test_memory_is_bounded(settings: Any) -> None:
    settings.PAGESTATS_ANSWERS_MEGABYTES = 1
    kept = KeptAnswers()
    for n in range(400):
        kept.put(HERE, STATE, ("visitors", n), BitMap(range(n, 65_000, 2)))
        assert kept.get(HERE, STATE, ("visitors", 0)) is not None or n > 50
        assert kept.bytes <= 1_000_000
    assert kept.get(HERE, STATE, ("visitors", 399)) is not None
    assert kept.get(HERE, STATE, ("visitors", 200)) is None, "the oldest go first"
    kept.put(HERE, STATE, "too large", BitMap(range(0, 10_000_000, 3)))
    assert kept.get(HERE, STATE, "too large") is None
    assert kept.get(HERE, STATE, ("visitors", 399)) is not None
    settings.PAGESTATS_ANSWERS_MEGABYTES = 0
    kept.put(HERE, STATE, "off", 1)
    assert kept.get(HERE, STATE, "off") is None


def test_what_is_asked_for_stays(settings: Any) -> None:
    settings.PAGESTATS_ANSWERS_MEGABYTES = 1
    kept = KeptAnswers()
    kept.put(HERE, STATE, "asked", 7)
    for n in range(20_000):
        kept.put(HERE, STATE, n, n)
        if n % 100 == 0:
            assert kept.get(HERE, STATE, "asked") == 7
    assert kept.get(HERE, STATE, 0) is None


@pytest.mark.parametrize(
    "other",
    [{"generation": 2}, {"cursor": 301}, {"revision": 2 * REVISION_STEP}, {"all_cursor": 1}, {"time_zone": "X"}],
)
def test_an_answer_is_that_of_its_state_and_place(other: dict[str, Any]) -> None:
    kept = KeptAnswers()
    kept.put(HERE, STATE, "question", 7)
    moved = STATE._replace(**other)
    assert kept.get(HERE, moved, "question") is None
    assert kept.get(THERE, STATE, "question") is None
    assert kept.get(HERE, STATE, "question") == 7
    kept.put(HERE, moved, "another", 8)
    assert kept.get(HERE, STATE, "question") is None
    kept.put(HERE, STATE, "question", 9)
    assert kept.get(HERE, moved, "another") is None
    assert kept.bytes == ENTRY_BYTES + bytes_of("question") + bytes_of(9), "what nobody asks for again is dropped"


def test_the_bytes_of_an_answer_are_about_those_of_its_memory() -> None:
    dense = BitMap(range(0, 2_000_000, 2))
    assert len(dense.serialize()) <= bytes_of(dense) <= 1.2 * len(dense.serialize()) + ENTRY_BYTES
    assert bytes_of(["x" * 1_000] * 1_000) > 1_000_000
    assert bytes_of(dict.fromkeys(range(1000), "x" * 1000)) > 1_000_000


def test_threads_share_it() -> None:
    kept, failed = KeptAnswers(), []

    def work(number: int) -> None:
        try:
            for n in range(2_000):
                state = STATE._replace(cursor=n // 500)
                kept.put(HERE, state, n % 50, (n // 500, n % 50))
                found = kept.get(HERE, state, (n + number) % 50)
                assert found is None or found == (n // 500, (n + number) % 50)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failed
    assert kept.bytes == sum(size for _, size in kept._answers.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_begins_anew_whoever_held_the_lock() -> None:
    kept_answers.put(HERE, STATE, "question", 7)
    with kept_answers._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if not kept_answers._lock.locked() and kept_answers.bytes == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert kept_answers.get(HERE, STATE, "question") == 7
