"""A function of a named dimension that fails: the run, or keeping up, fails and says so; site and pages go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from django_pagestats import backfill, folding, stats, tasks, tending
from django_pagestats.backfill import failing, keeping
from django_pagestats.exceptions import DimensionError
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, Subject
from django_pagestats.verify import Verification, What
from tests.chains import Links, active_generation, assert_all_counted, assert_exact, the_run
from tests.factories import insert_page_views
from tests.test_segments import deliver, is_of_a_segment, small

__all__ = ["small"]  # a fixture
pytestmark = pytest.mark.usefixtures("short_waits")

HERE = __name__
START = datetime(2025, 3, 1, tzinfo=timezone.utc)
BAD = "/bad/"
CALLED: list[str] = []


class Mind:
    """What the function makes of a bad page."""

    error: Exception | None = None
    value: Any = None


def mine(path: str) -> Any:
    CALLED.append(path)
    if path != BAD:
        return path[1:3]
    if Mind.error is not None:
        raise Mind.error
    return Mind.value


def of_both(path: str, attributes: Mapping[str, str]) -> str | None:
    return attributes["plan"] if path == BAD else None


@pytest.fixture
def one_chunk_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several that are read at once, as on SQLite, none is folded if one fails."""
    monkeypatch.setattr(type(database_for("default")), "CHUNKS_AT_ONCE", 1)


@pytest.fixture(autouse=True)
def my_dimension(settings: Any) -> Iterator[None]:
    settings.PAGESTATS_DIMENSIONS = {"mine": f"{HERE}.mine"}
    CALLED.clear()
    Mind.error, Mind.value = ZeroDivisionError("division by zero"), None
    yield
    Mind.error, Mind.value = None, None


def corrected() -> None:
    Mind.error, Mind.value = None, "good"


def record(count: int, *, bad: int | None = None) -> None:
    """Page views of a few pages, one of which may be the bad one, and hours between them."""
    insert_page_views(
        [
            (BAD if number == bad else f"/{number % 7}/", f"k{number % 5}", START + timedelta(hours=number))
            for number in range(count)
        ]
    )


def counted(generation: Generation) -> dict[str, int]:
    """value -> page views of all days, in the aggregates."""
    values = dict(Subject.objects.filter(dimension=3).values_list("pk", "value"))
    found: dict[str, int] = {}
    for subject, page_views in Aggregate.objects.filter(
        generation=generation.pk, dimension=3, granularity=2
    ).values_list("subject", "page_views"):
        found[values[subject]] = found.get(values[subject], 0) + page_views
    return found


def expected() -> dict[str, int]:
    found: dict[str, int] = {}
    for path in PageView.objects.values_list("path", flat=True):
        value = "good" if path == BAD else path[1:3]
        found[value] = found.get(value, 0) + 1
    return found


def assert_counted() -> None:
    assert counted(active_generation()) == expected()
    assert_all_counted()


TOLD = f"The dimension mine: {HERE}.mine(path='/bad/') raised ZeroDivisionError: division by zero. Correct it"


# -- a run


@pytest.mark.django_db
@pytest.mark.usefixtures("one_chunk_at_once")
def test_a_function_that_raises_fails_the_run_at_once_with_its_name_arguments_and_traceback() -> None:
    record(40, bad=25)
    links = Links()
    links.start(chunk_size=10)
    while the_run().is_active:
        links.deliver_next()
    run = the_run()
    assert (run.status, run.rows_folded, run.failure_count, links.sent) == ("failed", 20, 0, [])
    assert run.error.startswith(TOLD)
    assert CALLED.count(BAD) <= 4, "by whoever reads ahead, and by whoever wants it; and again to find the page view"
    assert f"It is page view {PageView.objects.get(path=BAD).pk}." in run.error
    assert run.traceback is not None and run.traceback.startswith("Traceback")
    assert ", in mine\n    raise Mind.error\n" in run.traceback
    assert run.traceback.endswith("ZeroDivisionError: division by zero\n")
    assert stats.count_page_views() == 40 and stats.count_page_views(path=BAD) == 1
    assert stats.count_unique_visitors() == 5


@pytest.mark.django_db
@pytest.mark.parametrize("goes_on", ["resumed", "started again", "here"])
@pytest.mark.usefixtures("one_chunk_at_once")
def test_once_it_is_corrected_the_run_goes_on_from_where_it_was(goes_on: str) -> None:
    record(40, bad=25)
    links = Links()
    links.start(chunk_size=10)
    links.drain()
    cursor = active_generation().cursor
    assert the_run().status == "failed" and cursor == the_run().start_cursor + 20
    corrected()
    CALLED.clear()
    if goes_on == "resumed":
        with links.commits():
            assert backfill.resume("default", via="test", enqueue=links.enqueue).outcome == "done"
        assert the_run().traceback is None
        links.drain()
        assert the_run().rows_folded == 40
    elif goes_on == "started again":
        links.start()
        links.drain()
        assert the_run().rows_folded == 20
    else:
        backfill.run_here("default", via="test")
    assert the_run().status == "succeeded" and the_run().error == ""
    assert_counted()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 256, "which has 256 characters"),
        ("", "'', which is empty"),
        (5, "5, which is no text but of type int"),
        (b"x", "b'x', which is no text but of type bytes"),
        ("a\0", r"'a\x00', which has a NUL character"),
        ("\ud800", r"'\ud800', which has half a surrogate pair"),
    ],
)
def test_what_cannot_be_stored_fails_it_as_well(value: Any, shown: str) -> None:
    Mind.error, Mind.value = None, value
    record(10, bad=4)
    backfill.run_here("default", via="test")
    run = the_run()
    assert (run.status, run.rows_folded) == ("failed", 0)
    assert CALLED.count(BAD) == 2, "once to be counted, and once to name the page view"
    assert run.error.startswith(f"The dimension mine: {HERE}.mine(path='/bad/') gave ") and shown in run.error
    assert run.traceback is not None and "DimensionError" in run.traceback
    corrected()
    with Links().commits():
        backfill.resume("default", via="test", enqueue=lambda *args, **kwargs: None)
    backfill.run_here("default", via="test")
    assert_counted()


@pytest.mark.django_db
def test_255_characters_and_none_are_fine() -> None:
    Mind.error, Mind.value = None, "x" * 255
    record(10, bad=4)
    backfill.run_here("default", via="test")
    assert counted(active_generation())["x" * 255] == 1
    Mind.value = None
    backfill.run_here("default", kind="rebuild", via="test")
    assert sum(counted(active_generation()).values()) == 9


@pytest.mark.django_db
def test_an_attribute_that_is_too_long_is_named(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"plan": "plan"}
    record(10)
    PageView.objects.create(path="/", session_key="k", viewed_at=START, attributes={"plan": "x" * 256})
    with pytest.raises(CommandError, match=r"The dimension plan: the attribute plan of .* which has 256 characters"):
        call_command("backfill_aggregates", sync=True, verbosity=0)


@pytest.mark.django_db
def test_both_arguments_are_named(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"mine": f"{HERE}.of_both"}
    PageView.objects.create(path=BAD, session_key="k", viewed_at=START, attributes={"source": "news.example"})
    backfill.run_here("default", via="test")
    error = the_run().error
    assert "path='/bad/'" in error and "attributes={'source': 'news.example'}" in error and "KeyError: 'plan'" in error


@pytest.mark.django_db
@pytest.mark.parametrize(
    "error",
    [OperationalError("database is locked"), OperationalError(1213, "Deadlock found when trying to get lock")],
)
def test_an_error_that_looks_like_a_passing_one_of_the_database_is_not_tried_again(error: Exception) -> None:
    """The function asks a database, which a pure one would not."""
    Mind.error = error
    record(10, bad=4)
    backfill.run_here("default", via="test")
    run = the_run()
    assert (run.status, run.failure_count) == ("failed", 0)
    assert CALLED.count(BAD) == 2, "once to be counted, and once to name the page view"
    assert "raised OperationalError: " in run.error


class UntoldError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a\0b ü"), r"ValueError: a\0b ü"),
        (UntoldError(), "UntoldError: (its text cannot be had: ValueError)"),
        (ValueError("x" * 100_000), f"ValueError: {'x' * 300}..."),
    ],
    ids=["no text of a database", "no text at all", "long"],
)
def test_whatever_its_error_is_like_the_run_has_it(error: Exception, told: str) -> None:
    Mind.error = error
    record(10, bad=4)
    backfill.run_here("default", via="test")
    run = the_run()
    assert run.status == "failed" and told in run.error
    assert run.traceback is not None and len(run.traceback) <= 20_000


def test_an_error_s_text_is_stored_with_escapes_where_it_is_none() -> None:
    error = ValueError("a\0b \ud800 ü")
    assert failing.describe("default", error) == r"ValueError: a\0b \ud800 ü"
    assert failing.traceback_of(error) == "ValueError: a\\0b \\ud800 ü\n"


@pytest.mark.django_db
@pytest.mark.usefixtures("one_chunk_at_once")
def test_sync_says_it_and_goes_on_when_it_is_called_again() -> None:
    record(40, bad=25)
    with pytest.raises(CommandError, match=r"failed after 20 page views: The dimension mine: .*mine\(path='/bad/'\)"):
        call_command("backfill_aggregates", sync=True, chunk_size=10, verbosity=0)
    corrected()
    call_command("backfill_aggregates", sync=True, verbosity=0)
    assert_counted()


@pytest.mark.django_db
def test_a_function_that_is_gone_fails_the_run_at_once() -> None:
    record(40, bad=25)
    corrected()
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    kept = active_generation().dimensions
    Generation.objects.update(dimensions=[{**kept[0], "source": f"{HERE}.gone"}])
    keeping.release_kept()  # the cluster was restarted, with the new code
    links.drain()
    run = the_run()
    assert (run.status, run.rows_folded, run.revival_count) == ("failed", 10, 0)
    assert run.error.startswith(f"The dimension mine: {HERE}.gone cannot be imported (ImportError: ")
    with pytest.raises(DimensionError):
        folding.keep_up("default", seconds=5)
    assert stats.count_page_views() == 40
    Generation.objects.update(dimensions=kept)
    with links.commits():
        backfill.resume("default", via="test", enqueue=links.enqueue)
    links.drain()
    assert_counted()


# -- a rebuild


@pytest.mark.django_db
@pytest.mark.usefixtures("one_chunk_at_once")
def test_a_rebuild_fails_and_what_answered_goes_on_to() -> None:
    corrected()
    record(40, bad=25)
    backfill.run_here("default", via="test")
    old = active_generation()
    Mind.error = ZeroDivisionError("division by zero")
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.drain()
    run = the_run()
    assert (run.status, run.rows_folded) == ("failed", 20) and run.error.startswith(TOLD)
    assert active_generation() == old
    record(5)
    folding.keep_up("default", seconds=5)
    assert stats.count_page_views() == 45
    corrected()  # the naive count asks it, too
    assert_counted()
    with links.commits():
        backfill.resume("default", via="test", enqueue=links.enqueue)
    links.drain()
    assert the_run().status == "succeeded" and the_run().rows_folded == 45
    assert active_generation() == run.generation != old
    assert_counted()


@pytest.mark.django_db(transaction=True)
def test_it_fails_in_the_thread_that_reads_ahead_as_elsewhere() -> None:
    """On PostgreSQL and MariaDB; a second time because what the thread had read is thrown away."""
    record(400, bad=355)
    with pytest.raises(CommandError, match=r"mine\(path='/bad/'\)"):
        call_command("backfill_aggregates", sync=True, chunk_size=50, verbosity=0)
    assert the_run().rows_folded <= 350
    assert stats.count_page_views() == 400
    corrected()
    call_command("backfill_aggregates", sync=True, verbosity=0)
    assert_counted()


@pytest.mark.django_db
@pytest.mark.usefixtures("small")
def test_a_segment_of_another_worker_is_left_to_the_run_which_fails_with_it() -> None:
    record(90, bad=75)
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    for _ in range(8):
        if any(map(is_of_a_segment, links.sent)):
            deliver(links, of_a_segment=True)
    assert the_run().is_active, "it fails no run"
    links.drain()
    run = the_run()
    assert run.status == "failed" and run.error.startswith(TOLD)
    assert run.traceback is not None and ", in mine\n" in run.traceback
    corrected()
    with links.commits():
        backfill.resume("default", via="test", enqueue=links.enqueue)
    links.drain()
    assert the_run().status == "succeeded"
    assert_counted()


# -- a function that is not pure


@pytest.mark.django_db
def test_a_function_that_changes_its_mind_is_found_by_verify() -> None:
    """So is other code under the same name, of which the setting says nothing."""
    corrected()
    record(20, bad=5)
    backfill.run_here("default", via="test")
    assert list(Verification("default")) == []
    Mind.value = "another mind"
    assert folding.other_settings("default") == ""
    found = {(it.what, it.subject) for it in Verification("default")}
    assert {(What.EXTRA_ROW, "good"), (What.MISSING_ROW, "another mind")} <= found
    record(20, bad=5)
    backfill.run_here("default", via="test")
    assert list(Verification("default")), "what was counted stays as it was"
    backfill.run_here("default", kind="rebuild", via="test")
    assert list(Verification("default")) == []
    assert counted(active_generation())["another mind"] == 2


# -- keeping up


@pytest.mark.django_db
def test_the_task_logs_it_does_its_other_steps_and_goes_on_once_it_is_corrected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    corrected()
    record(20)
    tasks.tend("default")
    backfill.run_here("default", kind="rebuild", via="test")
    old = Generation.objects.get(is_active=None)
    Mind.error = ZeroDivisionError("division by zero")
    record(20, bad=5)
    for _ in range(2):
        caplog.clear()
        tasks.tend("default")
        (message,) = [it for it in caplog.records if it.levelno >= logging.ERROR]
        assert message.getMessage().startswith(f"tending default: {TOLD}") and message.exc_info is None
    old.refresh_from_db()
    assert old.swept_at is not None, "what comes after it is done"
    assert stats.count_page_views() == 40 and stats.count_page_views(path=BAD) == 1
    assert_exact()
    corrected()
    tasks.tend("default")
    assert_counted()


@pytest.mark.django_db
def test_the_process_of_the_site_logs_it_once_and_goes_on_once_it_is_corrected(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PAGESTATS_KEEP_UP = True
    folding.ensure_active_generation("default")
    record(20, bad=5)
    long_ago = START - timedelta(days=1)
    for _ in range(3):
        Generation.objects.update(tended_at=long_ago)
        tending.tend_here()
    assert caplog.text.count(f"keeping up on default, in this process: DimensionError: {TOLD}") == 1
    assert stats.count_page_views() == 20
    corrected()
    Generation.objects.update(tended_at=long_ago)
    tending.tend_here()
    assert_counted()


@pytest.mark.django_db
def test_keeping_up_keeps_the_chunks_before_it() -> None:
    corrected()
    record(30)
    folding.keep_up("default", seconds=5)
    Mind.error = ZeroDivisionError("division by zero")
    record(5)
    folding.keep_up("default", seconds=5)
    record(5, bad=2)
    with pytest.raises(DimensionError) as raised:
        folding.keep_up("default", seconds=5)
    assert str(raised.value).startswith(TOLD) and raised.value.__cause__ is Mind.error
    assert_exact()
    assert not connection.needs_rollback
    corrected()
    folding.keep_up("default", seconds=5)
    assert BackfillRun.objects.count() == 0
    assert_counted()


# -- page views that only raw SQL can write


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ("[1]", "A page view has the attributes '[1]', which are no JSON object of names and texts"),
        ('{"plan": 5}', "The dimension plan: the attribute plan of {'attributes': {'plan': 5}} is 5, which is no text"),
        ('{"plan": ""}', "which is empty"),
    ],
)
def test_attributes_that_cannot_be_counted_are_told_with_their_page_view(
    settings: Any, attributes: str, told: str
) -> None:
    settings.PAGESTATS_DIMENSIONS = {"plan": "plan"}
    record(20)
    pk = PageView.objects.all()[13].pk
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {PageView._meta.db_table} SET attributes = %s WHERE id = %s", [attributes, pk])
    links = Links()
    links.start()
    links.drain()
    cure = f"UPDATE {PageView._meta.db_table} SET attributes = NULL WHERE id = {pk};"
    assert the_run().status == "failed"
    assert told in the_run().error and f"It is page view {pk}. Or {cure}" in the_run().error
    with connection.cursor() as cursor:
        cursor.execute(cure)
    links.start()
    links.drain()
    assert the_run().status == "succeeded"
    assert_all_counted()


@pytest.mark.django_db
def test_the_status_says_what_holds_keeping_up_up(capsys: pytest.CaptureFixture[str]) -> None:
    record(30)
    Links().start()
    backfill.run_here("default", via="test")
    record(10, bad=4)
    with pytest.raises(DimensionError):
        folding.keep_up("default", seconds=9)
    call_command("backfill_aggregates", "--status")
    pk = PageView.objects.get(path=BAD).pk
    said = capsys.readouterr().out
    assert f"Page views are not folded any more, until this is put right: {TOLD}" in said
    assert f"It is page view {pk}." in said
    corrected()
    call_command("backfill_aggregates", "--status")
    assert "not folded any more" not in capsys.readouterr().out
    folding.keep_up("default", seconds=9)
    assert_counted()
