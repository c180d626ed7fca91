"""Real `qcluster` processes: the database is that of the run, the broker its ORM or Redis."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction
from django_q.models import Task

from django_pagestats import folding, stats
from django_pagestats.models import BackfillRun, Generation, PageView
from testproject.settings import BASE_DIR, KIND
from tests import servers
from tests.cluster import BROKERS, Site, wait_until
from tests.factories import Row, count_naively, expected_aggregates, make_page_views, stored_aggregates

pytestmark = pytest.mark.django_db(transaction=True)

ACCESS_LOG = BASE_DIR.parent / "shared" / "data" / "semicomplete-access.log"


@pytest.fixture(params=BROKERS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "redis":
        servers.require("redis")
    # links of a tenth of a second: a chain of many
    site = Site(tmp_path, broker=request.param, PAGESTATS_LINK_SECONDS="0.1")
    yield site
    site.forget()


def assert_folded(rows: list[Row]) -> None:
    """Every aggregate row is as counted by hand, and the cursor is at the last page view."""
    generation = Generation.objects.get(is_active=True)
    assert generation.cursor == rows[-1].id
    assert stored_aggregates(generation.pk) == expected_aggregates(rows)


def assert_answers(rows: list[Row]) -> None:
    count = count_naively(rows)
    summary = stats.summary()
    assert (summary.page_views, summary.visitors, summary.paths) == (count.page_views, count.visitors, count.paths)


def assert_nothing_is_left(site: Site) -> None:
    """No task waits, and the rows of django-q2 do not grow with the number of links."""
    wait_until(lambda: site.queue_size() == 0, "an empty queue")
    assert Task.objects.count() <= 2, list(Task.objects.values_list("func", "success", "result"))


def test_chains_end_exact_and_leave_no_task(site: Site) -> None:
    rows = make_page_views(2_000, seed=1)
    with site.cluster() as cluster:
        site.manage("backfill_aggregates", "--chunk-size", "20")
        rows += make_page_views(200, seed=2)
        assert_answers(rows)  # while the chain works
        site.manage("backfill_aggregates", "--wait")
        assert_answers(rows)
        first = Generation.objects.get(is_active=True)
        site.manage("backfill_aggregates", "--rebuild", "--wait")
        assert_nothing_is_left(site)
    assert cluster.exit_status == 0
    assert Generation.objects.get(is_active=True).pk != first.pk
    assert_folded(rows)
    assert_answers(rows)
    backfill = BackfillRun.objects.order_by("pk")[0]
    assert backfill.rows_folded in (2_000, 2_200)
    assert backfill.epoch >= 2, "one link did it all: no chain"
    for run in BackfillRun.objects.all():
        assert (run.status, run.failure_count, run.revival_count) == ("succeeded", 0, 0), run.error


def is_waited_for() -> bool:
    """Whether another session waits for a lock that this one holds (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return cursor.fetchone() is not None


if KIND == "postgresql":

    @pytest.mark.once
    def test_a_worker_killed_in_the_middle_of_a_link_is_revived(tmp_path: Path) -> None:
        """Redis has forgotten the link that the worker had taken: only the lease knows."""
        servers.require("redis")
        site = Site(tmp_path, broker="redis", PAGESTATS_LINK_SECONDS="0.1")
        rows = make_page_views(2_000, seed=4)
        folding.ensure_active_generation("default")
        try:
            with site.cluster() as cluster:
                with transaction.atomic():
                    # the link's transaction has to wait for this row: it is killed inside it, not beside it
                    Generation.objects.select_for_update(no_key=True).get(is_active=True)
                    site.manage("backfill_aggregates", "--chunk-size", "50")
                    wait_until(is_waited_for, "a link in its chunk")
                    os.kill(cluster.worker_pids()[-1], signal.SIGKILL)
                wait_until(lambda: len(cluster.worker_pids()) == 2, "a new worker")
                run = BackfillRun.objects.get()
                assert (run.status, run.rows_folded, site.queue_size()) == ("running", 0, 0)
                # its lease has run out
                BackfillRun.objects.update(lease_until=run.created_at)
                site.manage("backfill_aggregates", "--wait")
                assert_nothing_is_left(site)
        finally:
            site.forget()
        run.refresh_from_db()
        assert (run.status, run.revival_count) == ("succeeded", 1)
        assert_folded(rows)


@pytest.fixture
def access_log(tmp_path: Path) -> Path:
    """A copy of the real log."""
    if not ACCESS_LOG.exists():
        pytest.skip(f"no {ACCESS_LOG.name} beside the checkout (../shared/data)")
    return Path(shutil.copy(ACCESS_LOG, tmp_path / "access.log"))


def test_a_real_access_log_through_a_real_cluster(tmp_path: Path, access_log: Path) -> None:
    site = Site(tmp_path)
    site.manage("import_pageviews", str(access_log))
    assert PageView.objects.count() == 1_425
    with site.cluster():
        site.manage("backfill_aggregates", "--wait")
        assert_nothing_is_left(site)
    rows = [Row(*values) for values in PageView.objects.order_by("pk").values_list(*Row._fields)]
    assert_folded(rows)
    assert_answers(rows)
    summary = stats.summary()
    assert (summary.page_views, summary.visitors, summary.paths) == (1_425, 920, 197)
    assert stats.top_pages(limit=1)[0].path == "/projects/xdotool/"
    site.manage("verify_aggregates")
    with gzip.open(access_log.with_name("access.log.1.gz"), "wb") as packed:
        packed.write(access_log.read_bytes())
    access_log.unlink()
    site.manage("import_pageviews", str(access_log.with_name("access.log.1.gz")))
    assert PageView.objects.count() == 1_425
    assert "Nothing new" in site.manage("backfill_aggregates")
