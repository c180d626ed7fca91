"""Checks of a range of days: what is remembered, tasks that come twice, late or never, and the button."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django_q.conf import Conf
from django_q.models import OrmQ

from django_pagestats import tasks
from django_pagestats.buckets import Granularity, day_number
from django_pagestats.exceptions import QueueUnreachableError
from django_pagestats.models import Aggregate, Check, Dimension, Generation, PageView
from django_pagestats.verify import remembering
from tests.factories import insert_page_views, make_page_views
from tests.test_verify import fold

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_settling"), pytest.mark.in_turn(1)]

PAGE, BUTTON = "/admin/django_pagestats/dashboard/", "/admin/django_pagestats/dashboard/check/"
QUERY = "?range=free&from=2025-03-02&to=2025-03-08"
START, END = date(2025, 3, 2), date(2025, 3, 9)
HOSTILE = '/"><script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}😀=cmd'


class Queue(list[tuple[str, int, int]]):
    """What was handed over, to be delivered as often and as late as a test likes."""

    def __call__(self, using: str, check: int, epoch: int) -> None:
        self.append((using, check, epoch))


@pytest.fixture
def wrong() -> int:
    """Page views of some days, folded, and damage on two of them; how many differences there are."""
    at = datetime(2025, 3, 4, 9, tzinfo=timezone.utc)
    insert_page_views([(HOSTILE, "key", at)])
    make_page_views(300, days=10, paths=8)
    fold()
    of_site = Aggregate.objects.filter(dimension=Dimension.SITE, granularity=Granularity.DAY)
    of_site.filter(bucket=day_number(date(2025, 3, 7))).update(page_views=77)
    of_page = Aggregate.objects.filter(dimension=Dimension.PAGE, granularity=Granularity.DAY, visitors=1)
    row = of_page.filter(bucket=day_number(at.date()), page_views=1).order_by("subject").first()
    assert row is not None
    Aggregate.objects.filter(pk=row.pk).update(page_views=9)
    return 2


def ask(queue: Queue) -> Check:
    return remembering.ask("default", start=START, end=END, actor="ada", enqueue=queue)


def test_tasks_that_come_twice_and_late_find_everything_once(wrong: int) -> None:
    queue = Queue()
    check = ask(queue)
    assert ask(queue).pk == check.pk and len(queue) == 1, "one at a time"
    for using, pk, epoch in queue:  # which grows
        remembering.work(using, pk, epoch, seconds=0, enqueue=queue)
        before = Check.objects.values().get()
        remembering.work(using, pk, epoch, seconds=0, enqueue=queue)
        remembering.work(using, pk, 0, seconds=0, enqueue=queue)
        assert Check.objects.values().get() == before
    assert len(queue) == (END - START).days, "one day a task, where its time is over at once"
    check.refresh_from_db()
    in_range = PageView.objects.filter(viewed_at__date__gte=START, viewed_at__date__lt=END).count()
    assert (check.difference_count, check.page_views, check.upto) == (wrong, in_range, END)
    assert check.ended_at is not None and check.error == ""
    assert sorted(line.split(": ")[1] for line in check.differences) == ["page views"] * wrong
    assert ask(queue).pk != check.pk, "it has ended"


def test_a_chain_that_broke_is_taken_up_by_nobody_and_asked_for_anew(wrong: int, settings: Any) -> None:
    queue = Queue()
    check = ask(queue)
    remembering.work("default", check.pk, 0, seconds=0, enqueue=Queue())  # its next task never comes
    assert ask(queue).pk == check.pk
    Check.objects.update(lease_until=datetime(2025, 1, 1, tzinfo=timezone.utc))
    again = ask(queue)
    assert again.pk != check.pk
    remembering.work("default", again.pk, 0, seconds=None, enqueue=queue)
    again.refresh_from_db()
    assert again.difference_count == wrong and again.ended_at is not None


def test_a_task_that_was_taken_over_stores_nothing(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow one, whose check another task has claimed in the middle of a piece."""
    queue = Queue()
    check = ask(queue)
    verify = remembering.Verification

    def slow(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(remembering, "Verification", verify)
        remembering.work("default", check.pk, 1, seconds=None, enqueue=queue)
        return verify(*args, **kwargs)

    monkeypatch.setattr(remembering, "Verification", slow)
    remembering.work("default", check.pk, 0, seconds=None, enqueue=queue)
    check.refresh_from_db()
    assert check.difference_count == wrong and len(check.differences) == wrong and len(queue) == 1


def test_what_fails_is_told(wrong: int, settings: Any) -> None:
    queue = Queue()
    check = ask(queue)
    settings.PAGESTATS_DIMENSIONS = {"bad": f"{__name__}.failing"}
    Generation.objects.update(dimensions=[{"name": "bad", "id": 2, "source": f"{__name__}.failing"}])
    remembering.work("default", check.pk, 0, seconds=None, enqueue=queue)
    check.refresh_from_db()
    assert check.ended_at is not None and "out of order" in check.error and len(queue) == 1


def failing(path: str) -> str:
    raise RuntimeError("out of order")


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    monkeypatch.setattr(remembering, "MOST_KEPT", 3)
    monkeypatch.setattr(remembering, "MOST_TOLD", 1)
    for _ in range(5):
        with pytest.raises(CommandError, match="differences"):
            call_command("verify_aggregates", stdout=StringIO(), stderr=StringIO())
    assert Check.objects.count() == 3
    last, of_range = remembering.last_checks("default")
    assert last is not None and last.via == "command" and last.difference_count > 1 == len(last.differences)
    assert of_range is None
    call_command("verify_aggregates", start="2025-03-05", end="2025-03-06", stdout=StringIO())
    again, of_range = remembering.last_checks("default")
    assert again == last and of_range is not None and of_range.difference_count == 0


# -- the page


def client_with(*permissions: str) -> Client:
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def press(client: Client) -> Any:
    token = client.get(PAGE + QUERY).context["csrf_token"]
    return client.post(BUTTON + QUERY, {"csrfmiddlewaretoken": str(token)})


def text(client: Client) -> str:
    return client.get(PAGE + QUERY).content.decode()


def deliver() -> int:
    """What the cluster would do, until its queue is empty."""
    count = 0
    while (packed := OrmQ.objects.order_by("pk").first()) is not None:
        task = packed.task
        packed.delete()
        if task["func"] == "django_pagestats.tasks.check":
            tasks.check(*task["args"])
            count += 1
    return count


def test_the_button_recounts_the_days_that_are_shown(wrong: int) -> None:
    OrmQ.objects.all().delete()
    client = client_with("view_statistics", "add_backfillrun")
    assert "never compared with all page views" in text(client)
    answer = press(client)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, PAGE)
    assert "being recounted" in (shown := text(client)) and "data-pagestats-checking" in shown
    assert "Check this range" not in shown, "one at a time"
    assert deliver() >= 1
    shown = text(client)
    assert "March 2, 2025 to March 8, 2025: recounted on" in shown and "2 differences" in shown
    assert "page views: 77 stored" in shown and "Check this range" in shown and "<script>alert" not in shown
    Aggregate.objects.filter(page_views__in=(77, 9)).delete()
    Check.objects.update(lease_until=datetime(2025, 1, 1, tzinfo=timezone.utc), ended_at=None)
    assert "has not moved since" in text(client)


def test_who_may_and_how(wrong: int, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, owner = client_with("view_statistics"), client_with("view_statistics", "add_backfillrun")
    assert "Check this range" not in text(viewer) and "verify_aggregates --start" not in text(viewer)
    assert owner.get(BUTTON + QUERY).status_code == 405
    assert owner.post(BUTTON + QUERY).status_code == 403, "no token"
    viewer.handler.enforce_csrf_checks = False
    assert viewer.post(BUTTON + QUERY).status_code == 403
    starter = client_with("add_backfillrun")
    starter.handler.enforce_csrf_checks = False
    assert starter.post(BUTTON + QUERY).status_code == 403
    assert Client().post(BUTTON).status_code in (302, 403)
    assert not Check.objects.exists()

    def unreachable(*args: Any) -> None:
        raise QueueUnreachableError("no queue today")

    monkeypatch.setattr("django_pagestats.tasks.checking._enqueue", unreachable)
    assert press(owner).status_code == 302
    assert "no queue today" in text(owner)
    Check.objects.all().delete()
    monkeypatch.setattr("django_pagestats.tasks.queue_is_installed", lambda: False)
    shown = text(owner)
    assert "Check this range" not in shown
    assert "manage.py verify_aggregates --start 2025-03-02 --end 2025-03-09" in shown
    owner.handler.enforce_csrf_checks = False
    assert owner.post(BUTTON + QUERY).status_code == 403


@pytest.mark.parametrize("is_sync", [False, True])
def test_a_queue_that_is_down_does_not_break_the_callers_transaction(
    wrong: int, is_sync: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With ATOMIC_REQUESTS the hook runs after the view: an error would be a 500, and drop the site's own hooks."""
    ran = []

    def unreachable(*args: Any, **options: Any) -> None:
        assert not connection.in_atomic_block, "django-q2 would close its connection, and roll it back"
        raise QueueUnreachableError("no queue today")

    monkeypatch.setattr(Conf, "SYNC", is_sync)
    monkeypatch.setattr("django_pagestats.tasks.checking._enqueue", unreachable)
    monkeypatch.setattr("django_pagestats.verify.remembering.work", unreachable)
    with transaction.atomic():
        tasks.start_check("default", start=START, end=END, actor="ada")
        transaction.on_commit(lambda: ran.append("the site's"))
    assert ran == ["the site's"] and "no queue today" in caplog.text
    Check.objects.all().delete()
    with pytest.raises(QueueUnreachableError):
        tasks.start_check("default", start=START, end=END, actor="ada")


def test_the_public_is_told_nothing_of_it(wrong: int) -> None:
    from django_pagestats.dashboard.page import page_of

    now = datetime.now(timezone.utc) + timedelta(hours=1)
    assert page_of({}, using="default", now=now, is_public=True)["checks"] is None
