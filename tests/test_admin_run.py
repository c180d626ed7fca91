"""The page of a run, and what its script asks for while the run is active."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test import Client, modify_settings
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape
from django_q.models import OrmQ
from hypothesis import given, strategies

from django_pagestats import tasks
from django_pagestats.admin.chart import chart
from django_pagestats.charts.steps import HEIGHT, WIDTH
from django_pagestats.clock import database_now
from django_pagestats.exceptions import QueueUnreachableError, RunLockedError
from django_pagestats.models import BackfillRun, BuildSegment, Generation, RunEvent
from tests.chains import Links, expire_lease, the_run
from tests.factories import make_page_views
from tests.test_admin import NOON, RUNS, buttons, level_tags, log_in, make_run, messages_of
from tests.test_admin import root as root
from tests.test_nice import slow_chunks

pytestmark = pytest.mark.usefixtures("no_settling")

HISTORY = [[0.0, 0, 500], [1.0, 1_000, 500], [3.0, 7_000, 1_000]]


def progress_of(client: Client, run: BackfillRun, **query: object) -> dict[str, Any]:
    response = client.get(f"{RUNS}{run.pk}/progress/", query)
    assert response.status_code == 200
    return response.json()


def page_of(client: Client, run: BackfillRun) -> str:
    response = client.get(f"{RUNS}{run.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def started_run(*, folded: bool = True) -> BackfillRun:
    make_page_views(40)
    links = Links()
    links.start(chunk_size=10)
    if folded:
        links.deliver_next()
    return the_run()


# --- who may ask for it, and how


@pytest.mark.django_db
def test_a_stranger_is_asked_to_log_in() -> None:
    response = Client().get(f"{RUNS}{make_run().pk}/progress/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.django_db
@pytest.mark.parametrize("permissions", [["add_backfillrun"], ["view_pageview"], []])
def test_progress_needs_the_view_permission(permissions: list[str]) -> None:
    run = started_run()
    expire_lease()
    assert log_in(*permissions).get(f"{RUNS}{run.pk}/progress/").status_code == 403
    assert the_run().epoch == run.epoch


@pytest.mark.django_db
def test_who_may_look_sees_the_progress_and_no_button() -> None:
    run = started_run()
    assert progress_of(log_in("view_backfillrun"), run)["verbs"] == []


def test_progress_is_a_get_that_nobody_stores(root: Client) -> None:
    url = f"{RUNS}{make_run().pk}/progress/"
    assert "no-store" in root.get(url)["Cache-Control"]
    for method in root.post, root.put, root.delete, root.head:
        assert method(url).status_code == 405
    assert root.get(f"{RUNS}4711/progress/").status_code == 404


# --- what it says


def test_all_that_the_page_shows(root: Client) -> None:
    run = started_run()
    RunEvent.objects.filter(run=run).update(reason="<why>")
    found = progress_of(root, run)
    assert (found["run_id"], found["status"], found["percent"], found["seconds"]) == (run.pk, "running", 25.0, 1)
    assert found["announcement"] == f"Run {run.pk}: Running"
    assert (found["problems"], found["queue_problem"], found["error"], found["traceback"]) == ([], "", "", "")
    assert found["verbs"] == ["pause", "cancel"] == buttons(root, run)
    assert {name: found["texts"][name] for name in ("state", "page_views", "chunk_size", "ends_at", "waits_for")} == {
        "state": "Running",
        "page_views": "10",
        "chunk_size": "10 (fixed)",
        "ends_at": f"{run.target:,}",
        "waits_for": "-",
    }
    page = page_of(root, run)
    for name, text in found["texts"].items():
        if name not in ("rate", "time_left"):  # by the second
            assert f'<dd data-pagestats-text="{name}">{text}</dd>' in page
        assert page.count(f'data-pagestats-text="{name}"') == 1
    assert [event[1:] for event in found["events"]] == [
        ["Queued", "test", "<why>"],
        ["Queued → Running", "worker", "<why>"],
    ]
    shown = re.findall("<td>([^<]*)</td>" * 4, page)
    assert [list(row) for row in shown[::-1]] == [
        [text.replace("<why>", "&lt;why&gt;") for text in event] for event in found["events"]
    ]


def test_events_come_once(root: Client) -> None:
    run = started_run(folded=False)
    page = page_of(root, run)
    newest = int(re.findall('data-newest-event="([0-9]+)"', page)[0])
    assert progress_of(root, run, after=newest)["events"] == []
    root.post(f"{RUNS}{run.pk}/pause/")
    found = progress_of(root, run, after=newest)
    assert [event[1:3] for event in found["events"]] == [["Queued → Paused", "root (admin)"]]
    assert progress_of(root, run, after=found["newest_event"])["events"] == []
    for nonsense in "x", "-1", "9" * 30, "":
        assert len(progress_of(root, run, after=nonsense)["events"]) == 2


@pytest.mark.parametrize(
    ("columns", "state", "seconds"),
    [
        ({"status": "queued"}, "Queued", 1),
        ({"status": "running"}, "Running", 1),
        ({"status": "running", "wait_reason": "throttled: lag 3.7 s"}, "Running, waits", 1),
        ({"status": "running", "pause_requested_at": NOON, "wait_reason": "x"}, "Running, to be paused", 1),
        ({"status": "running", "cancel_requested_at": NOON}, "Running, to be cancelled", 1),
        ({"status": "paused"}, "Paused", 5),
        ({"status": "succeeded"}, "Succeeded", None),
        ({"status": "failed"}, "Failed", None),
        ({"status": "cancelled"}, "Cancelled", None),
    ],
)
def test_the_state_in_words_and_when_to_ask_again(
    root: Client, columns: dict[str, Any], state: str, seconds: int | None
) -> None:
    is_active = columns["status"] in ("queued", "running", "paused")
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    run = make_run(active_key="active" if is_active else None, lease_until=later, **columns)
    found = progress_of(root, run)
    assert (found["texts"]["state"], found["seconds"]) == (state, seconds)
    assert found["announcement"] == f"Run {run.pk}: {state}"
    page = page_of(root, run)
    assert f"{found['announcement']}</p>" in page
    assert ("data-seconds=" in page) == (seconds is not None)


def test_a_rest_is_not_a_state(root: Client, monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    """Else a run with long rests would be announced anew after each chunk."""
    settings.PAGESTATS_NICE = 10.0
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    slow_chunks(monkeypatch, 3.0)
    links.deliver_next(seconds=60)
    found = progress_of(root, the_run())
    assert found["texts"]["waits_for"] == "rests 10 times as long as its chunk took"
    assert found["texts"]["waits_until"] != "-"
    assert found["announcement"] == f"Run {the_run().pk}: Running"


def test_what_a_run_waits_for_and_what_was_asked_of_it(root: Client) -> None:
    now = database_now("default")
    run = make_run(
        active_key="active",
        status="running",
        lease_until=now + timedelta(hours=1),
        wait_until=now + timedelta(hours=1),
        wait_reason="waits for transaction 4711 of psql",
        pause_requested_at=NOON,
        requested_by="ada",
        requested_via="admin",
        nice=2.5,
    )
    texts = progress_of(root, run)["texts"]
    assert texts["waits_for"] == "transaction 4711 of psql"
    assert texts["waits_until"] == f"{now + timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    assert texts["wish"] == "a pause, by ada (admin) at 2025-03-01 12:00:00"
    assert texts["nice"] == "2.5 x what the chunk took"
    assert texts["taken_at"] == "-"
    BackfillRun.objects.update(cancel_requested_at=NOON, wait_until=now - timedelta(seconds=5), nice=None)
    texts = progress_of(root, run)["texts"]
    assert texts["wish"].startswith("cancelling, by ada")
    assert texts["waits_until"] == "-"
    assert texts["nice"].endswith("(PAGESTATS_NICE)")


def test_times_are_those_of_the_site(root: Client, settings: object) -> None:
    settings.TIME_ZONE = "Asia/Kathmandu"
    run = make_run(status="succeeded", finished_at=NOON)
    assert progress_of(root, run)["texts"]["finished_at"] == "2025-03-01 17:45:00"
    assert "Times on this page are those of Asia/Kathmandu." in page_of(root, run)


def test_the_cursor_of_an_ended_run_stays_where_it_ended(root: Client) -> None:
    run = make_run(status="succeeded", target=1_000)
    Generation.objects.update(cursor=5_000)
    assert progress_of(root, run)["texts"]["cursor"] == "1,000"


def test_the_traceback_is_shown_to_who_may_look(db: None) -> None:
    run = make_run(status="failed", error="ValueError: <boom>", traceback="Traceback (most recent call last):\n  <x>")
    client = log_in("view_backfillrun")
    assert progress_of(client, run)["traceback"] == run.traceback
    page = page_of(client, run)
    assert "Traceback (most recent call last):\n  &lt;x&gt;</pre>" in page
    assert 'id="pagestats-error">' in page
    assert 'id="pagestats-error" hidden>' in page_of(client, make_run(status="succeeded"))


def test_a_cluster_that_takes_nothing_is_told(root: Client) -> None:
    run = started_run(folded=False)
    assert progress_of(root, run)["problems"] == []
    BackfillRun.objects.update(enqueued_at=database_now("default") - timedelta(minutes=5))
    found = progress_of(root, run)
    assert found["problems"][0].startswith(f"No worker has taken run {run.pk} for 30")
    assert found["announcement"] == f"Run {run.pk}: Queued. It needs attention."
    BackfillRun.objects.update(status="running", taken_at=NOON)
    text, who = progress_of(root, run)["problems"]
    assert who.startswith("This page is doing the work")
    assert "since 2025-03-01 12:00:00 UTC" in text and "restart the cluster" in text
    assert f'<li class="warning">{text.replace(chr(39), "&#x27;")[:60]}' in page_of(root, run)


# --- looking after the run


@pytest.mark.django_db(transaction=True)
def test_an_open_page_revives_a_lost_run() -> None:
    run = started_run()
    OrmQ.objects.all().delete()
    client = log_in("view_backfillrun")
    before = progress_of(client, run)
    assert not OrmQ.objects.exists() and the_run().epoch == run.epoch, "nothing was lost yet"
    expire_lease()
    found = progress_of(client, run, after=before["newest_event"])
    assert (OrmQ.objects.count(), the_run().epoch) == (1, run.epoch + 1)
    assert found["texts"]["revivals"] == "1", "the page is a step behind"
    ((_, what, who, why),) = found["events"]
    assert (what, who) == ("Running", "watchdog") and "revived" in why
    assert progress_of(client, run)["texts"]["revivals"] == "1"
    assert OrmQ.objects.count() == 1
    OrmQ.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_a_wish_of_a_lost_run_comes_true(root: Client) -> None:
    run = started_run()
    root.post(f"{RUNS}{run.pk}/pause/")
    assert progress_of(root, run)["status"] == "running"
    expire_lease()
    assert progress_of(root, run)["status"] == "paused"


@pytest.mark.parametrize("status", ["paused", "succeeded", "failed", "cancelled"])
def test_a_run_that_does_not_go_on_by_itself_is_left_alone(root: Client, status: str) -> None:
    run = make_run(status=status, active_key="active" if status == "paused" else None)
    other = progress_of(root, run)
    run.refresh_from_db()
    assert (run.epoch, run.status, other["status"]) == (0, status, status)


def test_without_a_queue_nothing_is_revived(root: Client) -> None:
    run = started_run()
    expire_lease()
    with modify_settings(INSTALLED_APPS={"remove": ["django_q"]}):
        assert progress_of(root, run)["queue_problem"] == ""
    assert the_run().epoch == run.epoch


@pytest.mark.parametrize("kind", [QueueUnreachableError, RunLockedError])
def test_a_queue_or_run_that_cannot_be_reached_is_told(
    kind: type[Exception], root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise kind("The queue did not take a task.")

    run = started_run()
    monkeypatch.setattr(tasks, "enqueue", refuse)
    assert progress_of(root, run)["queue_problem"] == ""
    expire_lease()
    assert progress_of(root, run)["queue_problem"] == "The queue did not take a task."
    assert the_run().epoch == run.epoch, "the transaction that was to revive it was not rolled back"


# --- the chart


def test_rate_and_chunk_size_over_time(root: Client) -> None:
    run = make_run(status="succeeded", history=HISTORY)
    drawn = progress_of(root, run)["chart"]
    assert drawn["rows"] == [["1 s", "1,000", "500"], ["3 s", "3,000", "1,000"]]
    rate, size = drawn["plots"]["rate"], drawn["plots"]["chunk_size"]
    assert rate["line"] == "0.0,120.0 0.0,96.0 200.0,96.0 200.0,48.0 600.0,48.0 600.0,120.0"
    assert size["line"] == "0.0,120.0 0.0,60.0 200.0,60.0 200.0,0.0 600.0,0.0 600.0,120.0"
    assert (rate["top"], rate["end"]) == ("5,000", "3 s")
    assert rate["description"] == "In 3 s between 1,000 and 3,000, at the end 3,000"
    page = page_of(root, run)
    for plot in rate, size:
        assert f'<polyline points="{plot["line"]}"' in page
        assert plot["description"] in page
    assert "<td>3 s</td><td>3,000</td><td>1,000</td>" in page


def test_without_a_history_there_is_no_chart(root: Client) -> None:
    run = make_run()
    assert 'id="pagestats-chart" hidden>' in page_of(root, run)
    assert progress_of(root, run)["chart"]["rows"] == []


@given(
    strategies.lists(
        strategies.tuples(strategies.floats(0, 1e6), strategies.integers(0, 10**9), strategies.integers(1, 10**6)),
        max_size=130,
    )
)
def test_a_chart_stays_within_its_frame(samples: list[tuple[float, int, int]]) -> None:
    history = list(zip(*map(sorted, zip(*samples, strict=True)), strict=True))
    for plot in chart(history).plots.values():
        corners = [tuple(map(float, corner.split(","))) for corner in plot.line.split()]
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners)
        assert [x for x, _ in corners] == sorted(x for x, _ in corners)


# --- how long it rests


@pytest.mark.parametrize(
    ("text", "wanted"), [("2.5", 2.5), ("0", 0.0), ("100", 100.0), ("", None)], ids=["2.5", "0", "100", "empty"]
)
def test_how_long_a_run_rests_can_be_changed(root: Client, text: str, wanted: float | None) -> None:
    run = started_run()
    BackfillRun.objects.update(nice=7.0)
    assert 'name="nice" value="7.0"' in page_of(root, run)
    response = root.post(f"{RUNS}{run.pk}/nice/", {"nice": text}, follow=True)
    assert response.redirect_chain[-1][0] == f"{RUNS}{run.pk}/change/"
    assert level_tags(response) == ["success"], messages_of(response)
    assert the_run().nice == wanted


@pytest.mark.parametrize("text", ["-1", "100.5", "x", "nan", "inf"])
def test_what_is_no_rest_is_refused(root: Client, text: str) -> None:
    run = started_run()
    response = root.post(f"{RUNS}{run.pk}/nice/", {"nice": text}, follow=True)
    assert level_tags(response) == ["error"]
    assert the_run().nice is None


def test_an_ended_run_does_not_rest_nor_does_another_one(root: Client) -> None:
    run = make_run(status="succeeded")
    started_run()
    assert 'id="pagestats-nice" hidden>' in page_of(root, run)
    assert level_tags(root.post(f"{RUNS}{run.pk}/nice/", {"nice": "1"}, follow=True)) == ["warning"]
    assert not BackfillRun.objects.exclude(nice=None).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("permissions", [["view_backfillrun"], ["add_backfillrun"], []])
def test_the_rest_needs_the_permission_to_change_runs(permissions: list[str]) -> None:
    run = started_run()
    client = log_in(*permissions)
    assert client.post(f"{RUNS}{run.pk}/nice/", {"nice": "1"}).status_code == 403
    assert the_run().nice is None
    if "view_backfillrun" in permissions:
        assert "pagestats-nice" not in page_of(client, run)


def test_a_get_of_the_rest_changes_nothing(root: Client) -> None:
    run = started_run()
    assert root.get(f"{RUNS}{run.pk}/nice/", {"nice": "1"}).status_code == 302
    assert the_run().nice is None


# --- what it costs


def statements(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in captured]


def test_asking_costs_three_statements_besides_session_and_user(root: Client) -> None:
    """The database's time, the run with its generation, and its events."""
    run = started_run()
    asked = statements(root, f"{RUNS}{run.pk}/progress/?after=1")
    assert len(asked) == 2 + 3, asked


def test_the_list_asks_for_the_time_once(root: Client) -> None:
    started_run()
    for _ in range(5):
        make_run(status="succeeded", started_at=NOON)
    asked = statements(root, RUNS)
    times = [sql for sql in asked if re.search("'now'|clock_timestamp|UTC_TIMESTAMP", sql)]
    assert len(times) == 2, times  # one for the columns, one for what is said above
    assert len(asked) <= 19, asked


def test_the_list_shows_what_a_run_does(root: Client) -> None:
    started_run()
    BackfillRun.objects.update(pause_requested_at=NOON, actor="grace")
    listed = root.get(RUNS).content.decode()
    cells = dict(re.findall(r'<td class="field-(\w+)">([^<]*)</td>', listed))
    assert cells["state"] == "Running, to be paused"
    assert (cells["page_views"], cells["chunk_size"], cells["started_by"]) == ("10", "10", "grace (test)")
    assert cells["rate"].endswith("/s") and cells["time_left"].endswith(" s")
    assert '<progress max="100" value="25.0"' in listed


def test_the_parts_that_other_workers_do_have_a_bar_each(root: Client) -> None:
    run = make_run(kind="rebuild", is_build=True, status="running", active_key="active")
    now = database_now("default")
    common = {"run": run, "kind": "fold", "chunk_size": 100, "lease_until": now + timedelta(hours=1)}
    rows = [
        {"after": 1_000, "upto": 2_000, "cursor": 1_000},
        {"after": 2_000, "upto": 3_000, "cursor": 2_250, "epoch": 1},
        {"after": 3_000, "upto": 4_000, "cursor": 4_000, "epoch": 2},
        {"after": 4_000, "upto": 5_000, "cursor": 4_100, "epoch": 2, "lease_until": now - timedelta(hours=1)},
        {"after": 5_000, "upto": 6_000, "cursor": 5_100, "epoch": 2, "error": "<b>a fault</b>"},
        {"after": 6_000, "upto": 7_000, "cursor": 6_100, "epoch": 2, "wait_reason": "throttled: too much"},
        {"after": 0, "upto": 10, "cursor": 5, "epoch": 1, "kind": "all_time"},
    ]
    BuildSegment.objects.bulk_create([BuildSegment(**{**common, **row}) for row in rows])
    wanted = [
        ("Page views 1,001 to 2,000", 0.0, "has not come yet"),
        ("Page views 2,001 to 3,000", 25.0, "is at work"),
        ("Page views 3,001 to 4,000", 100.0, "has done it"),
        ("Page views 4,001 to 5,000", 10.0, "shows no sign of life"),
        ("Page views 5,001 to 6,000", 10.0, "gave up (<b>a fault</b>); the run's own worker does it"),
        ("Page views 6,001 to 7,000", 10.0, "throttled: too much"),
        ("Rows of all time of subjects 1 to 10", 50.0, "is at work"),
    ]
    told = [(it["name"], it["percent"], it["worker"]) for it in progress_of(root, run)["segments"]]
    assert sorted(told) == sorted(wanted)
    page = page_of(root, run)
    for name, percent, worker in wanted:
        assert name in page and escape(worker) in page and f'value="{percent}"' in page
    BackfillRun.objects.update(status="succeeded", active_key=None)
    assert progress_of(root, run)["segments"] == []
    page = page_of(root, run)
    assert re.search('id="pagestats-segments" hidden', page)
