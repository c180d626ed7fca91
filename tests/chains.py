"""A queue of the tests' own, all that may happen to a site, and what must hold at every moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.db.models import Q
from django.test import TestCase, override_settings
from hypothesis import strategies as st
from pyroaring import BitMap

from django_pagestats import backfill, folding
from django_pagestats.backfill import keeping, pages, parts
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import DifferentRunError, PausedError
from django_pagestats.folding import all_time
from django_pagestats.merging import database_for, days
from django_pagestats.models import Aggregate, BackfillRun, BuildSegment, Generation, PageView, Subject, Visitor
from tests.factories import (
    ALL,
    PAGE,
    Row,
    View,
    differing,
    expected_aggregates,
    insert_page_views,
    stored_aggregates,
)

#: alias, run and epoch; of a link of a segment, that and its epoch
Link = tuple[str, int, int] | tuple[str, int, int, int]
T = TypeVar("T")


def only_on(*vendors: str) -> Callable[[T], T | None]:
    """Leaves a test out where the database has nothing of what it is about."""
    return lambda test: test if connection.vendor in vendors else None


class Other:
    """A second connection to the test's database, in a transaction that is open until it is told otherwise."""

    def __init__(self, using: Any = connection) -> None:
        self.connection = using.copy()
        self.connection.connect()
        self.connection.set_autocommit(False)

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.rollback()
        self.connection.close()

    def execute(self, sql: str, params: Any = None) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall()) if cursor.description else []

    def record(self, path: str, session_key: str = "other") -> None:
        """Insert a page view, and so draw its id, without a commit."""
        self.execute(
            f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at) VALUES (%s, %s, %s)",
            [
                path,
                session_key,
                "2025-03-05 12:00:00+00:00" if self.connection.vendor == "postgresql" else "2025-03-05 12:00:00",
            ],
        )

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()


class Links:
    """Keeps the links that a run enqueues, to be delivered late, twice, in any order, or never."""

    def __init__(self) -> None:
        self.sent: list[Link] = []
        self.scheduled: list[tuple[Link, datetime]] = []

    def enqueue(
        self, using: str, run_id: int, epoch: int, *, at: datetime | None = None, segment: int | None = None
    ) -> None:
        link: Link = (using, run_id, epoch) if segment is None else (using, run_id, epoch, segment)
        transaction.on_commit(partial(self._take, link, at), using=using)

    def _take(self, link: Link, at: datetime | None) -> None:
        if at is None:
            self.sent.append(link)
        else:
            self.scheduled.append((link, at))

    @contextlib.contextmanager
    def commits(self) -> Iterator[None]:
        """Inside a TestCase, what was to happen on commit happens at the end of this block."""
        with TestCase.captureOnCommitCallbacks(using="default", execute=True):
            yield

    def start(self, kind: str = "backfill", **wanted: Any) -> backfill.Started:
        with self.commits():
            return backfill.start("default", kind=kind, via="test", enqueue=self.enqueue, **wanted)

    def revive(self) -> BackfillRun | None:
        with self.commits():
            return backfill.revive("default", enqueue=self.enqueue)

    def deliver(self, link: Link, *, seconds: float | None = 0) -> None:
        """One delivery; with 0 seconds a link folds one chunk and hands over."""
        with self.commits():
            using, run_id, epoch, *segment = link
            if segment:
                backfill.help_build(using, segment[0], epoch, enqueue=self.enqueue, seconds=seconds)
            else:
                backfill.work(using, run_id, epoch, enqueue=self.enqueue, seconds=seconds)
        wait_for_readers()

    def deliver_next(self, *, seconds: float | None = 0) -> None:
        self.deliver(self.sent.pop(0), seconds=seconds)

    def drain(self, *, seconds: float | None = 0, most: int = 1_000) -> int:
        """Deliver until nothing is left; how many links that took."""
        for count in range(most):
            if not self.sent:
                return count
            self.deliver_next(seconds=seconds)
        raise AssertionError(f"the chain did not end in {most} links")


def wait_for_readers() -> None:
    """What a link reads ahead for the next one goes on without it, and must not outlive its test."""
    futures.wait([ahead for folder, _ in keeping._KEPT.values() if (ahead := folder.reader._ahead) is not None])


def expire_lease() -> None:
    """As if the time of the lease had gone by."""
    past = database_now("default") - timedelta(seconds=1)
    BuildSegment.objects.update(lease_until=past)
    BackfillRun.objects.filter(active_key=BackfillRun.ACTIVE).update(lease_until=past)


def the_run() -> BackfillRun:
    """The latest run."""
    run = BackfillRun.objects.select_related("generation").order_by("-pk").first()
    assert run is not None
    return run


def unused_ids() -> list[Visitor | Subject]:
    """Of visitors and paths that no aggregate knows: a server that loses its last commits may lose these."""
    visitors = BitMap()
    for stored in Aggregate.objects.values_list("visitor_set", flat=True):
        visitors |= BitMap.deserialize(bytes(stored))
    counted = Aggregate.objects.values_list("subject", flat=True).distinct()
    return [*Visitor.objects.exclude(pk__in=list(visitors)), *Subject.objects.exclude(pk__in=list(counted))]


def lose(rows: Iterable[Visitor | Subject]) -> None:
    """Take rows away as a database loses them, which Django refuses to delete."""
    for row in rows:
        type(row)._default_manager.filter(pk=row.pk)._raw_delete("default")  # type: ignore[attr-defined]


def active_generation() -> Generation:
    return Generation.objects.get(is_active=True)


def rows_upto(cursor: int | None = None) -> list[Row]:
    stored = PageView.objects.order_by("pk").values_list(*Row._fields)
    return [Row(*values) for values in (stored if cursor is None else stored.filter(pk__lte=cursor))]


def assert_exact() -> None:
    """The promise P1, of every generation that answers, is kept or is being built, by a naive count in Python."""
    runs = BackfillRun.objects.filter(active_key=BackfillRun.ACTIVE).values_list("generation", flat=True)
    for generation in Generation.objects.filter(Q(is_active=True) | Q(kept_at__isnull=False) | Q(pk__in=list(runs))):
        assert_generation_exact(generation)


@contextlib.contextmanager
def small_steps() -> Iterator[None]:
    """Rows of all time follow in many steps, now by a tally and now by a pass, and keeping up closes small gaps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(database_for("default")), "STEP_ROWS", 3)
        patch.setattr(days, "MOST_BUCKETS", 2)
        patch.setattr(all_time, "WORTH_PAGE_VIEWS", 3)
        patch.setattr(all_time.AllTime, "_is_short", _is_short_by_turns)
        small_parts(patch)
        yield


def small_parts(patch: pytest.MonkeyPatch) -> None:
    """A few page views are a part for a worker, on each database; and nobody is waited for."""
    patch.setattr(type(database_for("default")), "SHARES_BUILDS", True)
    patch.setattr(parts.PartsOfFold, "LEAST", 2)
    patch.setattr(parts.PartsOfPass, "LEAST", 1)
    patch.setattr(parts, "LOOK_SECONDS", 0.0)
    patch.setattr(parts, "PATIENCE_SECONDS", 0.0)


def _is_short_by_turns(self: folding.AllTime) -> bool:
    return self.generation.all_moved_at is not None and self.generation.cursor % 2 == 0


def assert_generation_exact(generation: Generation) -> None:
    generation.refresh_from_db()
    rows = rows_upto(generation.cursor)
    for segment in BuildSegment.objects.filter(run__generation=generation, kind=BuildSegment.Kind.FOLD):
        assert segment.after >= generation.cursor, "no page view is counted by two"
        stored = PageView.objects.filter(pk__gt=segment.after, pk__lte=segment.cursor)
        rows += [Row(*values) for values in stored.order_by("pk").values_list(*Row._fields)]
    expected = expected_aggregates(
        rows, generation.time_zone, all_cursor=generation.all_cursor, dimensions=generation.dimensions
    )
    assert differing(stored_aggregates(generation.pk), expected, generation.dimensions) == {}
    rows = Aggregate.objects.filter(generation=generation.pk)
    # of the other version there may be some rows of all time, and of none else
    assert rows.exclude(granularity=ALL, bucket=1 - generation.all_bucket).count() == len(expected)


def assert_all_counted() -> None:
    """Exact, to the last page view, and nobody at work any more."""
    assert_exact()
    assert not BackfillRun.objects.filter(active_key=BackfillRun.ACTIVE).exists()
    highest = PageView.objects.order_by("-pk").values_list("pk", flat=True).first()
    assert active_generation().cursor == highest


# -- all that may happen to a site

ZONES = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",  # had its change of clocks at midnight
    "America/St_Johns",  # -3:30, and for a time its change at a minute past midnight
    "Asia/Kathmandu",  # +5:45
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Apia",  # left 30 December 2011 out
    "Pacific/Chatham",  # +12:45
]
#: around changes of clocks in these zones, and at the ends of what can be recorded
MOMENTS = [
    datetime(1970, 1, 1, tzinfo=timezone.utc),
    datetime(2006, 10, 29, 3, tzinfo=timezone.utc),
    datetime(2011, 12, 30, 10, tzinfo=timezone.utc),
    datetime(2018, 11, 4, 3, tzinfo=timezone.utc),
    datetime(2025, 3, 9, 7, tzinfo=timezone.utc),
    datetime(2025, 4, 5, 14, tzinfo=timezone.utc),
    datetime(2025, 11, 2, 6, tzinfo=timezone.utc),
    datetime(2199, 12, 30, tzinfo=timezone.utc),
]
PATHS = ["/", "/a", "/A", "/a ", "/é", "/e\u0301/b", "/😀", "/" + "x" * 2_047]
KEYS = ["k", "K", "k ", "😀", *(f"key-{number}" for number in range(8))]

#: what PAGESTATS_DIMENSIONS may be: "source" is not the same in all, and some have what others have not
DIMENSIONS: list[dict[str, str]] = [
    conf.DIMENSIONS,
    {"plan": "plan", "source": "source"},
    {"entry": "django_pagestats.dimensions.entry", "letters": "tests.chains.letters"},
    {"source": "tests.chains.country_of_plan", "country": "country"},
    {},
]


def letters(path: str) -> str | None:
    """A dimension of the site's own: how long a path is, if it is a short one."""
    return str(len(path)) if len(path) < 4 else None


def country_of_plan(*, attributes: Mapping[str, str], path: str) -> str | None:
    """Another one, of both; it changes what it is given, of which nobody is to see anything."""
    assert isinstance(attributes, dict)
    return attributes.pop("country", "?") + path[:2] if "plan" in attributes else None


times = st.builds(
    lambda moment, micros: moment + timedelta(microseconds=micros),
    st.sampled_from(MOMENTS),
    st.integers(0, 30 * 3_600 * 10**6) | st.sampled_from([0, 999_999, 3_600 * 10**6 - 1, 86_400 * 10**6 - 1]),
)
#: none, as of before the column; some that no dimension of the settings takes; and "a", a value of several dimensions
attributes = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["a", "A", "a ", "😀" * 255]),
        "country": st.sampled_from(["DE", "FR"]),
        "device": st.just("a"),
        "plan": st.sampled_from(["a", 'with "quotes" and \\']),
    },
)
page_views = st.lists(
    st.tuples(st.sampled_from(PATHS), st.sampled_from(KEYS), times, attributes), min_size=4, max_size=12
)
kinds = st.sampled_from(["backfill", "rebuild"])
sizes = st.sampled_from([2, 3, 1, 7, None])  # mostly less than there is: what happens in the middle of a run counts
steps = st.one_of(
    st.tuples(st.just("record"), page_views),
    st.tuples(st.just("start"), kinds, sizes, st.booleans()),
    st.tuples(st.just("deliver"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("lose_all")),
    st.tuples(st.just("keep_up")),
    st.tuples(st.just("here"), kinds, sizes, st.integers(1, 3) | st.none(), st.booleans()),
    st.tuples(st.just("sweep")),
    st.tuples(st.sampled_from(["pause", "resume", "cancel"])),
    st.tuples(st.just("go_back"), st.booleans()),  # seldom would its steps come in their order by themselves
    st.tuples(st.just("activate"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("discard"), st.integers(0, 2)),
    st.tuples(st.just("move_to"), st.sampled_from(ZONES)),
    st.tuples(st.just("count_by"), st.sampled_from(DIMENSIONS)),
    st.tuples(st.just("upgrade")),
    st.tuples(st.just("share"), st.integers(1, 3)),
    st.tuples(st.just("page"), st.booleans()),
)


class Site:
    """One imaginary site, to which things happen one after another; `check` is called after each of them."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.links = Links()
        self.zone = "UTC"
        self.dimensions = DIMENSIONS[0]
        self.workers = 1
        self.check = check

    def play(self, script: Sequence[tuple[Any, ...]]) -> None:
        for step in script:
            with override_settings(
                PAGESTATS_TIME_ZONE=self.zone,
                PAGESTATS_DIMENSIONS=self.dimensions,
                PAGESTATS_WORKERS=self.workers,
            ):
                getattr(self, step[0])(*step[1:])
                self.check()

    def record(self, views: list[View]) -> None:
        insert_page_views(views)

    def start(self, kind: str, chunk_size: int | None, keep_old: bool = False) -> None:
        self.links.start(kind, chunk_size=chunk_size, keep_old=keep_old)

    def deliver(self, which: int, again: bool) -> None:
        """Any link that was ever sent, if `again` it stays to be delivered once more."""
        if self.links.sent:
            link = self.links.sent[which % len(self.links.sent)]
            if not again:
                self.links.sent.remove(link)
            self.links.deliver(link)

    def lose_all(self) -> None:
        """The worker is killed, its queue emptied; time goes by, and somebody looks."""
        self.links.sent.clear()
        expire_lease()
        self.links.revive()

    def keep_up(self) -> None:
        folding.keep_up("default", seconds=5)

    def here(self, kind: str, chunk_size: int | None, chunks: int | None, keep_old: bool = False) -> None:
        """`--sync`, to the end or stopped after some chunks."""
        seen = []

        def watch(run: object) -> bool:
            self.check()
            seen.append(run)
            return len(seen) == chunks

        try:
            wanted = {"kind": kind, "chunk_size": chunk_size, "keep_old": keep_old, "workers": self.workers}
            backfill.run_here("default", via="test", watch=watch, **wanted)
        except DifferentRunError:
            assert the_run().kind != kind
        except PausedError:
            assert the_run().status == "paused"

    def page(self, has_queue: bool) -> None:
        """A request of the run's page, with its cluster down, or without one."""
        if not BackfillRun.objects.exists():
            return
        now = database_now("default")
        BackfillRun.objects.exclude(enqueued_at=None).update(enqueued_at=now - timedelta(seconds=30))
        with self.links.commits(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "SECONDS", 0.0)
            backfill.work_for_page("default", the_run(), now, has_queue=has_queue)

    def pause(self) -> None:
        backfill.pause("default", via="test")

    def cancel(self) -> None:
        backfill.cancel("default", via="test")

    def resume(self) -> None:
        with self.links.commits():
            backfill.resume("default", via="test", enqueue=self.links.enqueue)

    def activate(self, which: int, keep_old: bool) -> None:
        """One of those that are kept answers again, unless a run is active."""
        if kept := list(Generation.objects.exclude(kept_at=None).order_by("pk")):
            chosen = kept[which % len(kept)]
            answer = backfill.activate("default", chosen.pk, keep_old=keep_old, via="test")
            assert (answer.outcome == "done") == (active_generation() == chosen) != (answer.run is not None)

    def go_back(self, keep_old: bool) -> None:
        """A rebuild, if nothing is under way, that keeps what answered before, which then answers again."""
        if not BackfillRun.objects.filter(active_key=BackfillRun.ACTIVE).exists():
            backfill.run_here("default", kind="rebuild", via="test", keep_old=True)
        self.activate(-1, keep_old)

    def discard(self, which: int) -> None:
        if kept := list(Generation.objects.exclude(kept_at=None).order_by("pk")):
            assert backfill.discard("default", kept[which % len(kept)].pk, via="test").outcome == "done"

    def sweep(self) -> None:
        folding.sweep("default", chunk_size=3)

    def move_to(self, zone: str) -> None:
        """The settings name another zone: that of the next generation."""
        self.zone = zone

    def count_by(self, dimensions: dict[str, str]) -> None:
        """The settings name other dimensions: those of the next generation."""
        self.dimensions = dimensions

    def upgrade(self) -> None:
        """All was made by the release before named dimensions; its processes have ended."""
        make_as_before()

    def share(self, workers: int) -> None:
        """The settings let so many workers build at once."""
        self.workers = workers

    def finish(self) -> None:
        """Whatever is under way comes to its end, and the rest is folded."""
        self.links.drain()
        if backfill.status("default")["status"] == "paused":
            self.resume()
            self.links.drain()
        if the_run_is_active():
            self.lose_all()
            self.links.drain()
        self.play([("here", "backfill", None, None)])


def make_as_before() -> None:
    """What is stored is what the release before named dimensions and repeat sets would have left."""
    keeping.release_kept()
    Generation.objects.update(dimensions=None)
    Aggregate.objects.filter(dimension__gt=PAGE)._raw_delete("default")
    Aggregate.objects.update(repeat_set=None)
    Subject.objects.filter(dimension__gt=PAGE)._raw_delete("default")


def the_run_is_active() -> bool:
    return backfill.status("default")["status"] in ("queued", "running")
