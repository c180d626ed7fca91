"""What the tests of the crash matrix share: a large table, live visitors, workers that die, and what must hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from types import TracebackType
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum
from django_q.models import OrmQ

from django_pagestats import stats, tasks
from django_pagestats.merging.portions import portions
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView
from testproject import traffic
from testproject.settings import BASE_DIR
from tests.chains import active_generation, assert_all_counted, expire_lease, rows_upto, the_run
from tests.cluster import Site
from tests.dying import Order
from tests.factories import ALL, HOUR, PAGE, SITE, START, attributed, count_naively
from tests.named import named_dimensions

CHUNK_SIZE = 200
PAGE_VIEWS = 60_000
#: seconds that are long enough for all of a link's work, and for what is left of any run
TO_THE_END = 600.0


def make_large_table(page_views: int = PAGE_VIEWS) -> None:
    """So many page views that a run takes three hundred chunks; by plain SQL, which takes a tenth of the ORM's time."""
    wanted = traffic.page_views(page_views, seed=3, visitors=5_000, paths=40, days=20, start=START)
    adapted = connection.ops.adapt_datetimefield_value
    rows = [
        (path, key, adapted(viewed_at), json.dumps(attributes[0]) if attributes and attributes[0] else None)
        for path, key, viewed_at, *attributes in attributed(wanted)
    ]
    with connection.cursor() as cursor:
        for portion in portions(rows, 5_000):
            cursor.execute(
                f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at, attributes)"
                f" VALUES {', '.join(['(%s, %s, %s, %s)'] * len(portion))}",
                list(chain.from_iterable(portion)),
            )


class Child:
    """A module of the tests as a process on the test's database; a context manager that ends it."""

    def __init__(self, site: Site, module: str) -> None:
        self.log = site.log.with_name(f"{module}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=BASE_DIR,
                env={**os.environ, **site.environment, "DJANGO_SETTINGS_MODULE": "testproject.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def told(self) -> str:
        return self.log.read_text(errors="replace")


class Visitors(Child):
    """Live visitors, who record page views until `leave`."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, "tests.visitors")
        self.before = PageView.objects.count()

    def leave(self) -> int:
        """How many page views they have recorded: none of them was lost."""
        recorded, lost = self._leave()
        assert lost == 0, self.told()
        return recorded

    def leave_a_server_that_was_down(self) -> int:
        """How many page views of theirs there are: of some nobody could say whether they were recorded."""
        recorded, lost = self._leave()
        stored = PageView.objects.count() - self.before
        assert lost > 0 and recorded <= stored, self.told()
        return stored

    def _leave(self) -> tuple[int, int]:
        recorded, lost = map(int, self.process.communicate(timeout=60)[0].split())
        return recorded, lost


class Nursery(Child):
    """Where workers are forked that die when they are told to."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, "tests.dying")

    def order(self, order: Order) -> dict[str, Any]:
        """What became of the child: {"ended": exit status, "steps": its statements}."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order._asdict()) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.told()
        done: dict[str, Any] = json.loads(answer)
        assert done["ended"] in (0, -9), self.told()
        return done


def queued_epochs(run: BackfillRun) -> list[int]:
    """Of the run's links in the ORM's queue."""
    calls = [task.task["args"] for task in OrmQ.objects.all()]
    return [call[2] for call in calls if call[1] == run.pk and len(call) == 3]


def next_link() -> int:
    """The epoch of the active run's one live link; a chain that was lost is revived."""
    run = the_run()
    live = queued_epochs(run).count(run.epoch)
    assert live <= 1, f"{live} chains"
    if live == 0:
        expire_lease()
        revived = tasks.revive("default")
        assert revived is not None, f"{run} is not revived"
        assert queued_epochs(revived).count(revived.epoch) == 1
        return revived.epoch
    return run.epoch


def assert_consistent() -> None:
    """At any moment without a worker: what is folded is what a plain count finds up to the cursor, in sum."""
    generation = active_generation()
    counted = _counted(generation, generation.cursor)
    stored = Aggregate.objects.filter(generation=generation.pk)
    of_times = stored.exclude(granularity=ALL)
    _assert_same(_sums(of_times.exclude(granularity=HOUR)), counted)
    _assert_same(_sums(of_times.filter(granularity=HOUR)), {it: counted[it] for it in counted if it == SITE})
    if generation.all_cursor != generation.cursor:
        counted = _counted(generation, generation.all_cursor)
    answering = stored.filter(granularity=ALL, bucket=generation.all_bucket)
    _assert_same(_sums(answering), counted)
    site = answering.filter(dimension=SITE).values_list("visitors", flat=True).first() or 0
    seen = PageView.objects.filter(pk__lte=generation.all_cursor)
    assert site == seen.aggregate(visitors=Count("session_key", distinct=True))["visitors"]


def _assert_same(stored: dict[int, int], counted: dict[int, int]) -> None:
    assert stored == counted, f"page_views by dimension: {stored} are stored, {counted} are counted"


def _sums(aggregates: QuerySet[Aggregate]) -> dict[int, int]:
    """dimension -> page views of all of its rows."""
    return dict(aggregates.order_by().values_list("dimension").annotate(Sum("page_views")))


def _counted(generation: Generation, cursor: int) -> dict[int, int]:
    """The same as the page views have it: those that have the attribute, of a dimension that comes from one."""
    needed = {SITE: None, PAGE: None} | {
        it.id: {"section": None, "entry": "source"}.get(it.name, it.source)
        for it in named_dimensions(generation.dimensions)
    }
    counts = {
        f"of_{number}": Count("pk", filter=Q(attributes__has_key=attribute) if attribute else None)
        for number, attribute in needed.items()
    }
    found = PageView.objects.filter(pk__lte=cursor).aggregate(**counts)
    return {number: found[f"of_{number}"] for number in needed if found[f"of_{number}"]}


def assert_right(visitors: int, page_views: int = PAGE_VIEWS) -> None:
    """In the end, with nobody at work: every aggregate and every answer is as counted by hand."""
    rows = rows_upto()
    assert len(rows) == page_views + visitors
    answers = stats.summary()
    count = count_naively(rows)
    assert (answers.page_views, answers.visitors, answers.paths) == (count.page_views, count.visitors, count.paths)
    pages = {page.path: (page.page_views, page.visitors) for page in stats.top_pages(limit=1_000)}
    assert pages == {path: (counted.page_views, counted.visitors) for path, counted in count.pages.items()}
    call_command("verify_aggregates", verbosity=0)  # raises at a difference
    call_command("backfill_aggregates", "--sync", verbosity=0)  # those since the last target
    assert_all_counted()
