"""The mail through a real `qcluster` and a real mail server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from django.utils import timezone as django_timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from django_pagestats import tasks
from django_pagestats.models import Mailing
from tests.cluster import Site, wait_until
from tests.factories import insert_page_views
from tests.smtp import MailServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


def test_the_schedule_mails_once_though_each_task_comes_several_times(tmp_path: Path) -> None:
    at = datetime.now(timezone.utc) - timedelta(days=8)
    insert_page_views(("/pricing/", f"key{n}", at + timedelta(hours=n)) for n in range(24))
    with MailServer() as server:
        site = Site(tmp_path, PAGESTATS_SMTP_PORT=str(server.port), PAGESTATS_CLUSTER_WORKERS="2")
        tasks.ensure_schedule("default")
        Schedule.objects.filter(func=tasks.TEND).update(next_run=django_timezone.now())
        for _ in range(6):
            async_task(tasks.TEND, "default", q_options={"save": False})
        with site.cluster() as cluster:
            wait_until(lambda: server.messages, "a mail")
            wait_until(lambda: not OrmQ.objects.exists(), "an empty queue")
        assert cluster.exit_status == 0
        row = Mailing.objects.get()
        assert row.sent_at is not None and row.failures == 0, site.log.read_text()
        assert len(server.messages) == 1
        assert server.messages[0]["To"] == "owner@example.com" and "/pricing/" in str(server.messages[0])
