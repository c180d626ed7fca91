"""The command: every option and message, exit statuses, Ctrl-C in real processes, with and without a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.db.models import F
from django_q.models import OrmQ

from django_pagestats import backfill, folding, tasks
from django_pagestats.clock import database_now
from django_pagestats.exceptions import QueueUnreachableError, RunLockedError
from django_pagestats.folding import chunks
from django_pagestats.management import following, progress
from django_pagestats.management.commands import backfill_aggregates
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView
from testproject.cluster import MANAGE
from tests.chains import Links, active_generation, assert_all_counted, assert_exact, the_run
from tests.cluster import Site
from tests.factories import make_page_views
from tests.test_backfill import STATUS_KEYS
from tests.test_tasks import queued, work_on_the_queue

pytestmark = pytest.mark.usefixtures("short_waits")

Database = type(database_for("default"))


def command(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command("backfill_aggregates", *words, stdout=out, **options)
    return out.getvalue()


# -- starting


@pytest.mark.django_db
def test_an_empty_table() -> None:
    for words in ([], ["--wait"], ["--sync"], ["--rebuild"], ["--sync", "--rebuild"]):
        assert command(*words) == "No page views to backfill\n"
    assert queued() == []


@pytest.mark.django_db
def test_a_start_says_how_to_follow_it() -> None:
    make_page_views(30)
    out = command("--chunk-size", "10")
    run = the_run()
    assert out == f"Backfill started: run {run.pk}\nFollow it with --wait, look at it with --status.\n"
    assert (run.via, run.fixed_chunk_size) == ("command", 10)
    assert len(queued()) == 1
    out = command()
    assert out == f"Run {run.pk} (backfill, started from command) is already queued\n"
    assert len(queued()) == 1
    work_on_the_queue()
    assert_all_counted()
    assert command() == "Nothing new to backfill: every page view is counted\n"


@pytest.mark.django_db
def test_a_rebuild_is_started() -> None:
    make_page_views(30)
    assert command("--rebuild").startswith("Rebuild started: run ")
    work_on_the_queue()
    assert the_run().kind == "rebuild"
    assert_all_counted()


@pytest.mark.django_db
def test_silent_if_asked_to_be() -> None:
    make_page_views(30)
    assert command("--sync", verbosity=0) == ""
    assert command(verbosity=0) == ""
    assert_all_counted()


# -- errors


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--database", "nowhere"], "There is no database 'nowhere'; DATABASES has default"),
        (["--chunk-size", "0"], "--chunk-size must be a whole number from 1 to 1,000,000, not 0"),
        (["--chunk-size", "3000000000"], "--chunk-size must be a whole number from 1 to 1,000,000, not 3000000000"),
        (["--chunk-size", "many"], "argument --chunk-size: invalid int value: 'many'"),
        (["--wait", "--sync"], "argument --sync: not allowed with argument --wait"),
        (["--status", "--wait"], "argument --wait: not allowed with argument --status"),
    ],
)
def test_bad_options_are_named(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        command(*words)
    assert message in str(caught.value)


@pytest.mark.django_db
def test_without_django_q_a_plain_start_names_sync(settings: Any) -> None:
    make_page_views(30)
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    for words in ([], ["--wait"]):
        with pytest.raises(CommandError, match="--sync"):
            command(*words)
    assert "succeeded" in command("--sync")
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("words", [[], ["--sync"], ["--wait"]])
def test_a_table_that_went_back(words: list[str]) -> None:
    make_page_views(30)
    command("--sync")
    PageView.objects.filter(pk__gt=PageView.objects.order_by("pk")[9].pk).delete()
    with pytest.raises(CommandError, match="Run backfill_aggregates --rebuild to count anew"):
        command(*words)
    assert "succeeded: 10 page views" in command("--sync", "--rebuild")
    assert_all_counted()


@pytest.mark.django_db
def test_another_kind_of_run_is_not_taken_over() -> None:
    make_page_views(30)
    command()
    with pytest.raises(CommandError, match=f"Run {the_run().pk} \\(backfill\\) is active") as caught:
        command("--sync", "--rebuild")
    assert "backfill_aggregates --sync" in str(caught.value)


@pytest.mark.django_db
def test_a_rebuild_is_not_said_to_be_done_where_a_backfill_is_active() -> None:
    make_page_views(30)
    command()
    assert "no rebuild was started" in command("--rebuild")
    with pytest.raises(
        CommandError, match=r"no rebuild was started.* Follow it with .* or run this again when it has ended"
    ):
        command("--rebuild", "--wait")


@pytest.mark.django_db
def test_sync_that_is_taken_over_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    show = progress.ProgressBar.show

    def show_and_be_taken_over(bar: progress.ProgressBar, run: BackfillRun) -> None:
        show(bar, run)
        BackfillRun.objects.update(epoch=run.epoch + 1)

    monkeypatch.setattr(progress.ProgressBar, "show", show_and_be_taken_over)
    with pytest.raises(CommandError, match="was taken over by another worker"):
        command("--sync", "--chunk-size", "10")


# -- in this process


@pytest.mark.django_db
def test_sync_does_it_here_and_says_what_it_did() -> None:
    make_page_views(30)
    out = command("--sync")
    assert f"Run {the_run().pk} succeeded: 30 page views in" in out
    assert f"run {the_run().pk} succeeded: 100.0 %, 30 page views" in out, "a line where there is no terminal"
    assert queued() == []
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("words", [["--sync"], ["--wait"], ["--sync", "--rebuild"], ["--resume", "--sync"]])
def test_inside_a_transaction_nothing_is_begun_that_commits_chunks(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_aggregates, "follow", lambda *_: pytest.fail("nothing would ever be seen to end"))
    make_page_views(3)
    with transaction.atomic():
        with pytest.raises(CommandError, match=r"commits each chunk by itself.*end that first"):
            command(*words)
        assert not BackfillRun.objects.exists()


@pytest.mark.django_db
def test_sync_takes_an_active_run_over() -> None:
    make_page_views(30)
    command("--chunk-size", "10")
    run = the_run()
    assert f"Run {run.pk} succeeded: 30 page views" in command("--sync")
    work_on_the_queue()
    assert the_run() == run and the_run().rows_folded == 30
    assert_all_counted()


@pytest.mark.django_db
def test_sync_rebuild_sweeps_the_rows_of_before() -> None:
    make_page_views(30)
    command("--sync")
    count = Aggregate.objects.count()
    assert f"Deleted {count:,} rows" in command("--sync", "--rebuild")
    assert set(Aggregate.objects.values_list("generation", flat=True)) == {active_generation().pk}
    assert Generation.objects.count() == 2
    assert_all_counted()


@pytest.mark.django_db
def test_sync_that_fails_is_an_error_with_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("malformed")

    monkeypatch.setattr(Database, "merge", fail)
    with pytest.raises(CommandError, match=r"Run \d+ failed after 0 page views: .*DatabaseError: malformed"):
        command("--sync")


# -- following


def while_waiting(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Where the command would sleep, `work` is done."""
    monkeypatch.setattr(following, "time", SimpleNamespace(sleep=lambda seconds: work()))


@pytest.mark.django_db
def test_wait_follows_the_run_to_its_end(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PAGESTATS_LINK_SECONDS = 0.0
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    make_page_views(30)

    def one_link() -> None:
        with contextlib.suppress(AssertionError):
            work_on_the_queue(most=1)

    while_waiting(monkeypatch, one_link)
    lines = command("--wait", "--chunk-size", "10").splitlines()
    run = the_run()
    assert lines[0] == f"Backfill started: run {run.pk}"
    shown = [line for line in lines if line.startswith(f"run {run.pk} ")]
    assert shown[0].startswith(f"run {run.pk} queued: 0.0 %, 0 page views")
    assert any(line.startswith(f"run {run.pk} running: ") and "10 page views" in line for line in shown)
    assert shown[-1].startswith(f"run {run.pk} succeeded: 100.0 %, 30 page views")
    assert lines[-1].startswith(f"Run {run.pk} succeeded: 30 page views in ")
    assert_all_counted()


@pytest.mark.django_db
def test_wait_follows_a_run_that_is_active_already(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    command()
    while_waiting(monkeypatch, work_on_the_queue)
    out = command("--wait")
    assert "is already queued" in out and f"Run {the_run().pk} succeeded" in out


@pytest.mark.django_db
def test_wait_fails_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)

    def fail_the_run() -> None:
        BackfillRun.objects.update(status="failed", active_key=None, error="DatabaseError: malformed")

    while_waiting(monkeypatch, fail_the_run)
    with pytest.raises(CommandError, match=r"Run \d+ failed after 0 page views: .*DatabaseError: malformed"):
        command("--wait")


@pytest.mark.django_db
def test_wait_says_once_that_no_cluster_seems_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    looks = []

    def nobody_comes() -> None:
        looks.append(1)
        if len(looks) == 4:
            BackfillRun.objects.update(enqueued_at=F("enqueued_at") - timedelta(seconds=12))
        if len(looks) == 8:
            work_on_the_queue()

    while_waiting(monkeypatch, nobody_comes)
    out = command("--wait")
    warning = f"No worker has taken run {the_run().pk} for 12 s: no cluster seems to run"
    assert out.count(warning) == 1
    assert "manage.py qcluster" in out and "--sync" in out
    assert "succeeded" in out.partition(warning)[2], "it goes on following"


@pytest.mark.django_db
def test_wait_says_nothing_of_a_cluster_that_took_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    looks = []

    def slow_work() -> None:
        looks.append(1)
        if len(looks) == 1:
            hour = timedelta(hours=1)
            BackfillRun.objects.update(status="running", enqueued_at=None, created_at=F("created_at") - hour)
        if len(looks) == 8:
            work_on_the_queue()

    while_waiting(monkeypatch, slow_work)
    assert "no cluster" not in command("--wait")


@pytest.mark.django_db
def test_wait_revives_a_run_without_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    looks = []

    def be_killed_then_work() -> None:
        looks.append(1)
        if len(looks) == 1:
            OrmQ.objects.all().delete()
            BackfillRun.objects.update(lease_until="2000-01-01 00:00Z")
        elif queued():
            work_on_the_queue()

    while_waiting(monkeypatch, be_killed_then_work)
    out = command("--wait")
    assert out.count(f"No sign of life of run {the_run().pk} since") == 1
    assert "succeeded" in out
    assert the_run().revival_count == 1


@pytest.mark.django_db
def test_ctrl_c_under_wait_stops_the_watching_only(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)

    def interrupt() -> None:
        raise KeyboardInterrupt

    while_waiting(monkeypatch, interrupt)
    out = StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("backfill_aggregates", "--wait", stdout=out)
    assert caught.value.code == 130
    assert f"Stopped watching. Run {the_run().pk} goes on" in out.getvalue()
    assert the_run().is_active and len(queued()) == 1


# -- looking


@pytest.mark.django_db
def test_the_status_in_words(settings: Any) -> None:
    assert command("--status") == (
        "No backfill has run yet.\n0 page views are not folded yet; answers count them all the same.\n"
    )
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    BackfillRun.objects.update(error="ValueError: odd")
    out = command("--status")
    assert f"Run {the_run().pk}, a backfill started from test at" in out
    assert "is running: 33.3 %" in out
    assert "10 page views" in out and "chunk size 10" in out and "last error: ValueError: odd" in out
    assert "20 page views are not folded yet; answers count them all the same." in out
    settings.PAGESTATS_TAIL_LIMIT = 5
    out = command("--status")
    assert "More than 5 page views are not folded yet, too many for keeping up" in out
    assert "The active run counts them." in out and "Start a backfill" not in out
    settings.PAGESTATS_TAIL_LIMIT = 50
    settings.PAGESTATS_TIME_ZONE = "Asia/Tokyo"
    assert "cut by the days and hours of UTC, and PAGESTATS_TIME_ZONE is Asia/Tokyo" in command("--status")
    assert BackfillRun.objects.count() == 1


@pytest.mark.django_db
def test_the_status_of_a_table_that_went_back_is_an_error() -> None:
    make_page_views(30)
    command("--sync")
    PageView.objects.all().delete()
    for words in ([], ["--json"]):
        out = StringIO()
        with pytest.raises(CommandError, match="--rebuild"):
            call_command("backfill_aggregates", "--status", *words, stdout=out)
    assert "--rebuild" in json.loads(out.getvalue())["problem"]


@pytest.mark.django_db
def test_the_status_of_a_run_that_no_cluster_takes(settings: Any) -> None:
    make_page_views(30)
    command()
    assert "no cluster seems to run" not in command("--status")
    BackfillRun.objects.update(enqueued_at=F("enqueued_at") - timedelta(seconds=30))
    assert re.search(r"No worker has taken run \d+ for 30 s: no cluster seems to run.* --sync", command("--status"))
    assert "no cluster seems to run" in json.loads(command("--status", "--json"))["cluster_problem"]


@pytest.mark.django_db
def test_the_status_of_a_run_whose_cluster_died_in_mid_link() -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    backfill.run_here("default", via="test", watch=lambda run: True)
    links.sent.clear()
    BackfillRun.objects.update(wait_until=None, lease_until=F("lease_until") - timedelta(seconds=1))
    assert "Nobody has worked on run" in command("--status")
    BackfillRun.objects.update(lease_until=database_now("default") - timedelta(seconds=61))
    with pytest.raises(SystemExit) as ending:
        command("--status")
    assert ending.value.code == 4


@pytest.mark.django_db
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_status_of_a_cluster_that_lives_and_takes_no_task(options: list[str]) -> None:
    """As after kill -9 of a worker that had nothing to do: it held the lock of the queue."""
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    out = StringIO()
    minutes = timedelta(minutes=5)
    BackfillRun.objects.update(enqueued_at=F("enqueued_at") - minutes, taken_at=F("taken_at") - minutes)
    with pytest.raises(SystemExit) as ending:
        call_command("backfill_aggregates", "--status", *options, stdout=out)
    assert ending.value.code == 4
    assert re.search(r"No worker has taken a task of run \d+ since .* restart the cluster if one runs", out.getvalue())
    links.deliver_next()
    assert "No worker" not in command("--status", *options)


@pytest.mark.django_db
def test_the_status_of_a_run_that_nobody_works_on() -> None:
    """A --sync was killed where there is no cluster."""
    make_page_views(30)
    backfill.run_here("default", via="test", chunk_size=10, watch=lambda run: True)
    BackfillRun.objects.update(wait_until=None, lease_until=F("lease_until") - timedelta(seconds=1))
    assert re.search(r"Nobody has worked on run \d+ since 20.* --sync", command("--status"))
    command("--sync")
    assert "Nobody has" not in command("--status")
    assert_all_counted()


@pytest.mark.django_db
def test_aggregates_of_another_zone_are_told_wherever_somebody_looks(settings: Any) -> None:
    make_page_views(30)
    settings.PAGESTATS_TIME_ZONE = "Europe/Dublin"
    command("--sync")
    settings.PAGESTATS_TIME_ZONE = "America/St_Johns"
    text = "The aggregates are cut by the days and hours of Europe/Dublin"
    assert text in command("--sync") and text in command()
    make_page_views(5, seed=1)
    assert text in command("--sync")
    out = StringIO()
    call_command("verify_aggregates", stdout=out)
    assert text in out.getvalue()
    assert text not in command("--rebuild", "--sync")


@pytest.mark.django_db
def test_the_status_of_an_ended_run_is_that_of_its_end() -> None:
    rows = make_page_views(30)
    command("--sync")
    make_page_views(5, seed=1)
    folding.keep_up("default", seconds=9)
    assert f"cursor {rows[-1].id} of {rows[-1].id}" in command("--status")


@pytest.mark.django_db
def test_the_status_of_a_site_whose_page_views_were_deleted_is_an_error() -> None:
    rows = make_page_views(30)
    command("--sync")
    PageView.objects.filter(pk__lt=rows[20].id).delete()
    for words in ([], ["--json"]):
        out = StringIO()
        with pytest.raises(CommandError, match=r"count 30 page views, and at most 10 of them are left.*--rebuild"):
            call_command("backfill_aggregates", "--status", *words, stdout=out)
    assert "at most 10 of them" in json.loads(out.getvalue())["problem"]
    assert "at most 10 of them" in command()
    command("--sync", "--rebuild")
    assert json.loads(command("--status", "--json"))["problem"] is None


@pytest.mark.django_db
@pytest.mark.parametrize("words", [["--rebuild"], ["--chunk-size", "5"]])
def test_the_status_starts_nothing_and_says_so(words: list[str]) -> None:
    with pytest.raises(CommandError, match="--status starts nothing"):
        command("--status", *words)


@pytest.mark.django_db
@pytest.mark.parametrize("words", [["--sync"], [], ["--wait"]])
def test_json_of_a_start_says_what_it_did(words: list[str]) -> None:
    assert json.loads(command(*words, "--json"))["outcome"] == "empty"
    make_page_views(30)
    backfill.run_here("default", via="test")
    result = json.loads(command(*words, "--json"))
    assert result["outcome"] == "nothing_new" and "Nothing new" in result["message"]


@pytest.mark.django_db
def test_at_its_end_it_says_what_came_since() -> None:
    make_page_views(30)
    links = Links()
    links.start()
    make_page_views(7, seed=1)
    assert "7 page views came since; answers count them already." in command("--sync")


@pytest.mark.django_db
def test_the_status_as_json() -> None:
    assert json.loads(command("--status", "--json"))["status"] == "none"
    make_page_views(30)
    command("--sync")
    status = json.loads(command("--status", "--json"))
    assert set(status) >= STATUS_KEYS
    assert status == json.loads(json.dumps(backfill.status("default")))


@pytest.mark.django_db
@pytest.mark.parametrize("words", [["--sync"], [], ["--wait"]])
def test_json_is_all_that_is_printed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    while_waiting(monkeypatch, work_on_the_queue)
    status = json.loads(command(*words, "--json"))
    assert status["run_id"] == the_run().pk
    assert status["status"] == ("succeeded" if words else "queued")


# -- real processes


@pytest.fixture
def environment(tmp_path: Any, transactional_db: None) -> dict[str, str]:
    return {**os.environ, **Site(tmp_path).environment, "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def process(environment: dict[str, str], *words: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        # the checks of other apps may warn, and are not what this is about
        [sys.executable, str(MANAGE), "backfill_aggregates", "--skip-checks", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        text=True,
        # where these tests run in the background SIGINT is ignored, and a child inherits that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    ) as running:
        try:
            yield running
        finally:
            running.kill()  # else its end would be waited for, for ever after a failure


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_under_sync_stops_after_the_chunk_and_running_it_again_goes_on(environment: dict[str, str]) -> None:
    make_page_views(3_000)
    with process(environment, "--sync", "--chunk-size", "1") as running:
        wait_until(lambda: BackfillRun.objects.filter(rows_folded__gt=0).exists())
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "")
    run = the_run()
    assert (
        f"Stopped run {run.pk} after a chunk; nothing is lost. To go on run 'manage.py backfill_aggregates --sync'"
        in out
    )
    assert run.is_active and 0 < run.rows_folded < 3_000
    assert_exact()
    BackfillRun.objects.update(fixed_chunk_size=None, chunk_size=1_000)
    with process(environment, "--sync") as running:
        out, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")
    assert the_run() == run and the_run().rows_folded == 3_000
    assert_all_counted()


def test_ctrl_c_under_wait_in_a_real_process(environment: dict[str, str]) -> None:
    make_page_views(10)
    with process(environment, "--wait") as running:
        wait_until(lambda: OrmQ.objects.exists())
        time.sleep(0.3)  # the link is there a moment before the watching begins
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in errors
    assert f"Stopped watching. Run {the_run().pk} goes on" in out
    assert the_run().is_active


def test_a_failure_is_exit_status_one_without_a_traceback(environment: dict[str, str]) -> None:
    with process(environment, "--chunk-size", "0") as running:
        out, errors = running.communicate(timeout=60)
    assert (running.returncode, out) == (1, "")
    assert errors == "CommandError: --chunk-size must be a whole number from 1 to 1,000,000, not 0.\n"


def test_a_terminal_gets_a_bar(environment: dict[str, str]) -> None:
    make_page_views(300)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
    with process(environment, "--sync", "--chunk-size", "10", stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while select.select([ours], [], [], 60)[0] and (piece := os.read(ours, 65_536)):
                shown += piece
        assert running.wait(60) == 0
    os.close(ours)
    text = shown.decode()
    assert f"run {the_run().pk} succeeded 100.0% |" in text
    assert "█" in text or "#" in text
    assert "300 page views" in text and "/s" in text
    assert f"Run {the_run().pk} succeeded: 300 page views" in text
    assert text.count("\r\n") == 2, "the bar is drawn in its place, the result below it"


# -- pausing, going on, giving up


@pytest.mark.django_db
def test_pause_resume_and_cancel() -> None:
    make_page_views(30)
    command()
    run = the_run()
    assert f"Run {run.pk} (backfill) is paused: --resume goes on with it" in command("--pause")
    assert "is paused: --resume goes on" in command(), "a second start says so, and is no failure"
    assert "has paused" in command("--status") or "is paused" in command("--status")
    with pytest.raises(CommandError, match="is paused: --resume goes on with it") as refused:
        command("--sync")
    assert refused.value.returncode == 3
    assert f"Run {run.pk} (backfill) is resumed, and goes on after page view 0" in command("--resume")
    work_on_the_queue()
    assert the_run().status == "succeeded"
    assert_all_counted()
    for option in ("--pause", "--cancel"):
        with pytest.raises(CommandError, match="No run is active: there is nothing to"):
            command(option)
    with pytest.raises(CommandError, match=f"No run can be resumed: the last one, run {run.pk}, has succeeded"):
        command("--resume")
    make_page_views(30, seed=1)
    command()
    assert "is cancelled: what it has folded stays" in command("--cancel")
    assert the_run().status == "cancelled"


@pytest.mark.django_db
def test_a_wish_as_json() -> None:
    make_page_views(30)
    command()
    paused = json.loads(command("--pause", "--json"))
    assert (paused["outcome"], paused["status"], paused["run_id"]) == ("done", "paused", the_run().pk)
    resumed = json.loads(command("--resume", "--json"))
    assert (resumed["outcome"], resumed["status"]) == ("done", "queued")
    assert json.loads(command("--cancel", "--json"))["status"] == "cancelled"


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_whoever_waits_is_told_of_the_end_of_it(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    looks = []

    def stop() -> None:
        looks.append(1)
        if len(looks) == 2:
            {"paused": backfill.pause, "cancelled": backfill.cancel}[status]("default", actor="ada", via="admin")

    while_waiting(monkeypatch, stop)
    with pytest.raises(SystemExit if status == "paused" else CommandError) as ending:
        command("--wait")
    code = ending.value.code if isinstance(ending.value, SystemExit) else ending.value.returncode  # type: ignore[attr-defined]
    assert code == (3 if status == "paused" else 1)


@pytest.mark.django_db
def test_a_run_that_is_paused_from_elsewhere_ends_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(60)
    merge = chunks.merge

    def be_paused_and_merge(*args: Any, **options: Any) -> Any:
        backfill.pause("default", actor="ada", via="admin")
        return merge(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "merge", be_paused_and_merge)
        with pytest.raises(SystemExit) as ending:
            command("--sync", "--chunk-size", "10")
    assert ending.value.code == 3
    assert (the_run().status, the_run().rows_folded) == ("paused", 10)
    out = command("--resume", "--sync")
    assert "is resumed" in out and "succeeded" in out
    assert_all_counted()


@pytest.mark.django_db
def test_resume_goes_on_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    command()
    command("--pause")
    while_waiting(monkeypatch, work_on_the_queue)
    assert "succeeded: 30 page views" in command("--resume", "--wait")


@pytest.mark.parametrize(
    "words",
    [
        ("--pause", "--rebuild"),
        ("--cancel", "--chunk-size", "5"),
        ("--resume", "--rebuild"),
        ("--resume", "--status"),
        ("--resume", "--pause"),
        ("--pause", "--cancel"),
        ("--pause", "--wait"),
    ],
)
def test_wishes_that_do_not_go_together(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        command(*words)


@pytest.mark.django_db
def test_resuming_without_a_queue_names_sync(settings: Any) -> None:
    make_page_views(30)
    command()
    command("--pause")
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    with pytest.raises(CommandError, match="use --sync"):
        command("--resume")
    assert the_run().status == "paused"


@pytest.mark.django_db
@pytest.mark.parametrize("error", [QueueUnreachableError("no queue"), RunLockedError("somebody has it")])
def test_wait_goes_on_when_the_run_cannot_be_revived(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    links = Links()
    links.start()
    revive = tasks.revive
    errors = [error]

    def fail_once(using: str) -> Any:
        if errors:
            raise errors.pop()
        return revive(using)

    monkeypatch.setattr(tasks, "revive", fail_once)
    while_waiting(monkeypatch, lambda: None if errors else links.drain())
    out = command("--wait")
    assert str(error) in out and "succeeded" in out


# -- the rest after each chunk


@pytest.mark.django_db
def test_nice_of_a_start_and_of_an_active_run() -> None:
    make_page_views(30)
    assert "started" in command("--nice", "3")
    assert the_run().nice == 3.0
    out = command("--nice", "0.5")
    assert f"Run {the_run().pk} rests after each chunk 0.5 times as long as it took, from the next chunk on." in out
    assert "is already queued" in out
    assert the_run().nice == 0.5
    assert "rests 0.5 times as long as each chunk takes" in command("--status")
    assert json.loads(command("--status", "--json"))["nice"] == 0.5
    assert "as PAGESTATS_NICE says" in command("--nice", "default")
    assert the_run().nice is None
    command("--pause")
    assert "rests after each chunk 7 times" in command("--resume", "--nice", "7")
    assert the_run().nice == 7.0


@pytest.mark.django_db
@pytest.mark.parametrize("words", [["--status"], ["--pause"], ["--cancel"]])
def test_nice_goes_with_nothing_that_stops(words: list[str]) -> None:
    with pytest.raises(CommandError, match=r"--nice goes with a start or --resume"):
        command(*words, "--nice", "1")


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["-1", "101", "fast", "nan"])
def test_nice_that_will_not_do(value: str) -> None:
    with pytest.raises(CommandError, match=r"--nice"):
        command("--nice", value)


# -- twice, and as JSON


@pytest.mark.django_db
def test_every_wish_may_be_said_twice() -> None:
    make_page_views(30)
    command()
    assert "is paused" in command("--pause")
    assert "is paused" in command("--pause")
    assert "goes on" in command("--resume")
    assert "there is nothing to resume" in command("--resume")
    assert "is cancelled" in command("--cancel")
    assert "was cancelled" in command("--cancel")
    with pytest.raises(CommandError, match="No run can be resumed"):
        command("--resume")


@pytest.mark.django_db
@pytest.mark.parametrize(("status", "exit_status"), [("failed", 1), ("cancelled", 1), ("paused", 3)])
def test_wait_prints_its_object_however_it_ends(status: str, exit_status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make_page_views(30)
    active = "active" if status == "paused" else None
    while_waiting(monkeypatch, lambda: BackfillRun.objects.update(status=status, active_key=active, error="why"))
    out = StringIO()
    with pytest.raises((CommandError, SystemExit)) as caught:
        call_command("backfill_aggregates", "--wait", "--json", stdout=out)
    printed = json.loads(out.getvalue())
    assert (printed["outcome"], printed["status"]) == (status, status)
    ended = caught.value
    assert (ended.returncode if isinstance(ended, CommandError) else ended.code) == exit_status


@pytest.mark.django_db
def test_a_refused_wish_prints_its_object_too() -> None:
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("backfill_aggregates", "--pause", "--json", stdout=out)
    assert json.loads(out.getvalue())["outcome"] == "refused"


@pytest.mark.django_db
def test_the_time_that_a_run_was_paused_is_not_its_rate() -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    BackfillRun.objects.update(started_at=the_run().created_at - timedelta(hours=2), idle_seconds=7_200)
    assert "30 page views in 0." in command("--sync")


@pytest.mark.django_db
def test_a_wait_is_shown_with_its_time() -> None:
    make_page_views(30)
    Links().start()
    until = database_now("default") + timedelta(minutes=5)
    BackfillRun.objects.update(status="running", wait_reason="throttled: full moon", wait_until=until)
    shown = rf"throttled: full moon \(until ({until:%Y-%m-%d} )?{until:%H:%M:%S} UTC\)"  # with its date around midnight
    assert re.search(shown, command("--status"))


@pytest.mark.django_db
def test_a_cancelled_run_stays_where_it_was() -> None:
    make_page_views(40)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    command("--cancel")
    links.drain()
    cancelled = the_run()
    percent = backfill.progress(cancelled).percent
    assert cancelled.status == "cancelled" and percent == pytest.approx(25, abs=3)
    command("--sync")
    cancelled.refresh_from_db()
    assert backfill.progress(BackfillRun.objects.get(pk=cancelled.pk)).percent == percent
    assert BackfillRun.objects.get(pk=cancelled.pk).cursor == cancelled.start_cursor + 10


@pytest.mark.django_db
def test_wait_for_a_run_of_another_kind_says_how_to_follow_it() -> None:
    make_page_views(30)
    Links().start("rebuild")
    with pytest.raises(CommandError, match=r"Follow it with 'manage.py backfill_aggregates --rebuild --wait'"):
        command("--wait")
