"""What a chunk is tried again with: the same page views where size is not the cause, fewer where it can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_pagestats import backfill, folding
from django_pagestats.folding import chunks
from django_pagestats.merging import Trouble, database_for
from tests.chains import Links, assert_all_counted, only_on, the_run
from tests.factories import DAY, SITE, make_page_views
from tests.patching import replace
from tests.test_backfill import raising

Database = type(database_for("default"))

#: what the server calls a dead-lock and what a serialisation failure
DEADLOCK = {"postgresql": "40P01", "mysql": "40001:1213"}
CONFLICT = {"postgresql": "40001", "mysql": "HY000:1020"}


@contextmanager
def collisions(*, move_every: int, merge_every: int) -> Iterator[None]:
    """The database lets so many moves of a cursor fail as conflicts, and so many merges as dead-locks."""
    faults = [
        ("generation", "UPDATE", move_every, CONFLICT, 'NEW."cursor" <> OLD."cursor"'),
        ("aggregate", "INSERT", merge_every, DEADLOCK, f"NEW.dimension = {SITE} AND NEW.granularity = {DAY}"),
    ]
    with connection.cursor() as cursor:
        for table, event, every, states, condition in faults:
            for statement in _trigger(table, event, every, states[connection.vendor], condition):
                cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for table, *_ in faults:
                if connection.vendor == "postgresql":
                    cursor.execute(f"DROP FUNCTION collide_{table} CASCADE")
                    cursor.execute(f"DROP SEQUENCE collide_{table}_count")
                else:
                    cursor.execute(f"DROP TRIGGER collide_{table}")


def _trigger(table: str, event: str, every: int, state: str, condition: str) -> list[str]:
    if connection.vendor == "postgresql":
        return [
            f"CREATE SEQUENCE collide_{table}_count",  # counts on through a rollback
            f"CREATE FUNCTION collide_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF mod(nextval('collide_{table}_count'), {every}) = 0"
            f" THEN RAISE EXCEPTION 'they met' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$",
            f"CREATE TRIGGER collide_{table} BEFORE {event} ON django_pagestats_{table}"
            f" FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION collide_{table}()",
        ]
    sqlstate, number = state.split(":")
    condition = condition.replace('"', "`")
    return [
        f"SET @collide_{table} = 0",  # a session's variable counts on through a rollback
        f"CREATE TRIGGER collide_{table} BEFORE {event} ON django_pagestats_{table} FOR EACH ROW"
        f" BEGIN IF {condition} THEN SET @collide_{table} = COALESCE(@collide_{table}, 0) + 1;"
        f" IF @collide_{table} MOD {every} = 0 THEN SIGNAL SQLSTATE '{sqlstate}'"
        f" SET MESSAGE_TEXT = 'they met', MYSQL_ERRNO = {number}; END IF; END IF; END",
    ]


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Instead of resting, keeps for how long."""
    rests: list[float] = []
    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: rests.append(seconds))
    return rests


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many page views each chunk was that was tried; none is read ahead, with the size there was before."""
    sizes: list[int] = []
    merge = chunks.merge

    def see(using: str, chunk: folding.Chunk, **how: Any) -> Any:
        sizes.append(chunk.page_views)
        return merge(using, chunk, **how)

    monkeypatch.setattr(chunks, "merge", see)
    monkeypatch.setattr(Database, "READS_AHEAD", False)
    monkeypatch.setattr(Database, "CHUNKS_AT_ONCE", 1)
    return sizes


def failing_merges(monkeypatch: pytest.MonkeyPatch, trouble: Trouble | None, *, times: int = 10**6) -> None:
    """Merges fail with an error that means this to the database."""
    monkeypatch.setattr(
        Database, "merge", raising(OperationalError("as ordered"), times=times, original=Database.merge)
    )
    monkeypatch.setattr(Database, "trouble", lambda database, error: trouble)


@only_on("postgresql", "mysql")
@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("move_every", "merge_every", "most"), [(9, 29, 0.25), (3, 7, 1.2)])
def test_collisions_cost_little_more_than_what_failed(
    move_every: int, merge_every: int, most: float, tried: list[int], rests: list[float]
) -> None:
    make_page_views(4_000, days=1)
    with collisions(move_every=move_every, merge_every=merge_every):
        backfill.run_here("default", via="test", chunk_size=100)
    assert the_run().status == "succeeded"
    assert len(tried) <= 40 * (1 + most), "40 chunks"
    assert max(rests) <= 0.5
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", [Trouble.CONFLICT, Trouble.LOST])
@pytest.mark.parametrize("chunk_size", [60, None])
def test_what_size_does_not_cause_is_tried_again_at_the_same_size_first(
    trouble: Trouble,
    chunk_size: int | None,
    tried: list[int],
    rests: list[float],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.PAGESTATS_MAX_CHUNK_SIZE = 60
    make_page_views(60)
    failing_merges(monkeypatch, trouble, times=1)
    backfill.run_here("default", via="test", chunk_size=chunk_size)
    assert tried == [60, 60]
    assert [rest for rest in rests if rest > 0] == [0.1]
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", [Trouble.LOCKED, Trouble.IDLE, None])
def test_what_size_can_cause_is_tried_with_fewer_at_once(
    trouble: Trouble | None, tried: list[int], rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(60)
    failing_merges(monkeypatch, trouble, times=1)
    backfill.run_here("default", via="test", chunk_size=60)
    assert tried == [60, 15, 30, 15]
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", [Trouble.CONFLICT, Trouble.LOST])
def test_a_second_failure_in_a_row_makes_chunks_smaller_also_in_the_next_link(
    trouble: Trouble, tried: list[int], rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(400)
    links = Links()
    links.start(chunk_size=80)
    failing_merges(monkeypatch, trouble, times=2)
    links.deliver_next()
    assert (the_run().chunk_size, the_run().failure_count) == (80, 1)
    links.deliver_next()
    assert (the_run().chunk_size, the_run().failure_count) == (40, 0)
    links.drain()
    assert the_run().chunk_size == 80, "it has come back"
    assert_all_counted()


@pytest.mark.django_db
def test_after_collisions_the_size_grows_back(
    tried: list[int], rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_page_views(400)
    failing_merges(monkeypatch, Trouble.CONFLICT, times=4)
    backfill.run_here("default", via="test", chunk_size=80)
    assert tried[:8] == [80, 80, 40, 40, 20, 40, 80, 80]
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("trouble", [Trouble.CONFLICT, Trouble.LOST])
def test_what_never_passes_ends_the_run_at_one_page_view(
    trouble: Trouble, most: int, tried: list[int], rests: list[float], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PAGESTATS_MAX_FAILURES = most
    make_page_views(60)
    failing_merges(monkeypatch, trouble)
    backfill.run_here("default", via="test", chunk_size=4)
    run = the_run()
    assert run.status == "failed"
    assert run.error.endswith(f" could not be folded. OperationalError: as ordered (tried {most} times in a row)")
    assert tried.count(1) == most
    assert tried.count(4) == min(2, most)


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_the_database_tells_collisions_and_lost_connections() -> None:
    make_page_views(10, days=1)
    database = database_for("default")
    for every in ({"move_every": 1, "merge_every": 10**9}, {"move_every": 10**9, "merge_every": 1}):
        generation = folding.ensure_active_generation("default")
        with collisions(**every), pytest.raises(OperationalError) as collided:
            folding.Folder("default", generation).fold(2**62)
        assert database.trouble(collided.value) is Trouble.CONFLICT
    ends = {"postgresql": "SELECT pg_terminate_backend(pg_backend_pid())", "mysql": "KILL CONNECTION_ID()"}
    for statement in (ends[connection.vendor], "SELECT 1"):
        with pytest.raises((OperationalError,)) as lost, connection.cursor() as cursor:
            cursor.execute(statement)
        assert database.trouble(lost.value) is Trouble.LOST
    connection.close()
