"""A model check of the protocol of runs, on the real database and with real commits.

Links come in any order, twice, late or never; workers die and chunks fail at every step of theirs; others come in
between: a second worker, the watchdog, keeping up, a person. After each step: every page view has at most one effect,
there is at most one chain, a run's columns and events tell one story, and what a person asked for is what happens. At
the end a run that nobody stops ends. The controls take one protection away, and the same machine then finds it missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

import pytest
from django.db import DatabaseError, connection
from django.db.models import F
from django.test import override_settings
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_pagestats import backfill, folding
from django_pagestats.backfill import claims, helping, parts, rebuilding, starting, states, switching, wishes, working
from django_pagestats.clock import database_now
from django_pagestats.exceptions import DifferentRunError, PausedError
from django_pagestats.folding import all_time, chunks
from django_pagestats.merging import database_for
from django_pagestats.models import (
    Aggregate,
    BackfillRun,
    BuildSegment,
    Generation,
    PageView,
    RunEvent,
    SharedDay,
    Subject,
    Visitor,
)
from django_pagestats.verify import Verification
from tests import torture
from tests.chains import (
    Link,
    Links,
    assert_all_counted,
    assert_exact,
    expire_lease,
    kinds,
    sizes,
    small_parts,
    the_run,
)
from tests.factories import make_page_views
from tests.unprotected import merge_at_any_cursor, without_epochs, without_fences_of_segments

Status = BackfillRun.Status
Database = type(database_for("default"))

#: a few seconds on SQLite; the servers' commits take most of the time
FEWER = 6 if connection.vendor == "sqlite" else 12
EXAMPLES = max(1, (settings.default.max_examples if settings.default else 100) // FEWER)
if torture.IS_LONG:
    EXAMPLES *= 20
STEPS = int(os.environ.get("PAGESTATS_STEPS", "25"))
#: links after which a run has ended, if nobody stops it: each folds a chunk, a chunk has at least one page view
MOST_LINKS = 1_000

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


class Killed(BaseException):
    """The worker dies here: nothing after this point happens, and nobody is told."""


class MadeToFailError(DatabaseError):
    """A statement fails."""


class Queue(Links):
    """Remembers every link that a run sent; those for later are in the queue too, and may come early."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: list[Link] = []

    def _take(self, link: Link, at: datetime | None) -> None:
        self.ever.append(link)
        self.sent.append(link)


#: where somebody else may come in between the steps of a worker, or it may die or fail
POINTS: dict[str, tuple[Any, str]] = {
    "claim": (claims, "claim"),
    "fold": (folding.Folder, "fold"),
    "merge": (chunks, "merge"),
    "in the chunk's transaction": (Database, "merge"),
    "obey": (claims.Claim, "obey"),
    "step towards all time": (all_time.AllTime, "step"),
    "swap for all time": (all_time.AllTime, "_swap"),
    "look for the target": (rebuilding.Rebuilding, "missing_target"),
    "check": (switching.Check, "step"),
    "switch": (rebuilding.Rebuilding, "_switch"),
    "let go": (working.Worker, "_let_go"),
    "cut a part": (parts.Parts, "_cut"),
    "take a part in": (parts.Parts, "_take_in"),
    "count a part": (parts.PartsOfFold, "_count"),
    "take a part over": (parts.Parts, "_take_over"),
    "claim a part": (helping, "SegmentClaim"),
}
OTHERS = ["keep_up", "pause", "resume", "cancel", "take_over", "deliver_another", "copy", "record_one", "die", "fail"]


class Interruption(NamedTuple):
    point: str
    is_after: bool
    what: str


#: where not all of it makes sense: others see nothing of the transaction, and obeying is about wishes
WHAT = {
    "in the chunk's transaction": ["die", "fail"],
    "swap for all time": ["die", "fail"],
    "count a part": ["die", "fail"],
    "obey": ["resume", "cancel", "die"],
}
interruptions = st.lists(
    st.sampled_from(sorted(POINTS)).flatmap(
        lambda point: st.builds(Interruption, st.just(point), st.booleans(), st.sampled_from(WHAT.get(point, OTHERS)))
    ),
    min_size=1,
    max_size=3,
)
parts_of_a_chunk = st.lists(
    st.builds(
        Interruption,
        st.sampled_from(["claim a part", "fold", "merge", "in the chunk's transaction"]),
        st.booleans(),
        st.sampled_from([*OTHERS, "work_to_the_end"]),
    ),
    min_size=1,
    max_size=2,
)
#: a link that folds one chunk and hands over, and one that goes on to the run's end
seconds = st.sampled_from([0, 60])
#: what the throttle of the settings answers: set by a rule
throttled: list[str] = []


def throttle(using: str) -> str | None:
    return throttled[0] if throttled else None


class Protocol(RuleBasedStateMachine):
    checks: ClassVar[Sequence[str]] = ("one_effect", "one_chain", "forward", "columns", "events", "told")
    ends: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        forget_all()
        self.links = Queue()
        self.delivered: list[Link] = []
        #: by run: what a person, or the start, was told last that will become of it
        self.told: dict[int, str] = {}
        self.epochs: dict[int, int] = {}
        self.cursors: dict[int, int] = {}
        self.ended: dict[int, dict[str, Any]] = {}
        self.faults = 0
        self.is_sound = True
        self.workers = 1
        self.patch = pytest.MonkeyPatch()
        small_parts(self.patch)

    @initialize(count=st.integers(5, 30), kind=kinds, size=sizes, workers=st.integers(1, 3))
    def begin(self, count: int, kind: str, size: int | None, workers: int) -> None:
        self.workers = workers
        self.record(count, seed=0)
        self.start(kind, size)

    # -- rules: a few that choose, since Hypothesis leaves some of them out of each example

    @rule(count=st.integers(1, 8), seed=st.integers(1, 9))
    def record(self, count: int, seed: int) -> None:
        make_page_views(count, seed=seed, paths=3, visitors=4, days=2, with_attributes=True)

    @rule(what=st.sampled_from(["keep_up", "sweep", "take_over", "throttle"]))
    def time_goes_by(self, what: str) -> None:
        getattr(self, what)()

    @rule(what=st.sampled_from(["pause", "resume", "cancel"]))
    def person(self, what: str) -> None:
        getattr(self, what)()

    # -- links

    @precondition(lambda self: self.links.sent)
    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        """Some links in their order, each once."""
        for _ in range(count):
            if self.links.sent:
                self.work(self.links.sent.pop(0), 0)

    @precondition(lambda self: self.links.sent)
    @rule(which=st.integers(0, 9), seconds=seconds)
    def deliver_a_copy(self, which: int, seconds: float) -> None:
        """Any link that waits; it goes on to wait, and will come again."""
        self.work(self.links.sent[which % len(self.links.sent)], seconds)

    @rule(seconds=seconds, interruptions=interruptions, kind=kinds, size=sizes)
    def deliver_with_others_in_between(
        self, seconds: float, interruptions: list[Interruption], kind: str, size: int | None
    ) -> None:
        if link := self.live_link(kind, size):
            self.links.sent.remove(link)
            with self.interrupted(link, interruptions):
                self.work(link, seconds)

    @precondition(lambda self: any(is_live(link) for link in self.links.sent if len(link) == 4))
    @rule(interruptions=parts_of_a_chunk)
    def deliver_a_part_with_others_in_between(self, interruptions: list[Interruption]) -> None:
        """A link of a segment; the run's own worker may come there meanwhile."""
        link = next(link for link in self.links.sent if len(link) == 4 and is_live(link))
        self.links.sent.remove(link)
        with self.interrupted(link, interruptions):
            self.work(link, 0)

    def work_to_the_end(self) -> None:
        """The run's own worker does all there is to do, and takes over what others have begun."""
        run = the_run()
        if ("default", run.pk, run.epoch) in self.links.sent:
            self.work(("default", run.pk, run.epoch), 60)

    @rule(wished=st.sampled_from(["resume", "cancel", "die"]), is_late=st.booleans(), kind=kinds)
    def deliver_after_a_wish(self, wished: str, is_late: bool, kind: str) -> None:
        """The worker is about to pause, as it was asked to, when something else is wanted."""
        if (link := self.live_link(kind, 2)) and the_run().status == Status.QUEUED:
            self.links.sent.remove(link)
            self.work(link, 0)
        if link := self.live_link(kind, 2):
            self.pause()
            with self.interrupted(link, [Interruption("obey", is_late, wished)]):
                self.work(link, 0)

    def live_link(self, kind: str, size: int | None) -> Link | None:
        """The one that goes on with the run, most often: a run that stands still, or has ended, is got going first."""
        if not the_run().is_active:
            self.start(kind, size)
        if the_run().status == Status.PAUSED:
            self.resume()
        live = ("default", the_run().pk, the_run().epoch)
        if live not in self.links.sent:
            self.take_over()
            live = ("default", the_run().pk, the_run().epoch)
        return live if live in self.links.sent else None

    @precondition(lambda self: self.delivered)
    @rule(which=st.integers(0, 99))
    def deliver_late(self, which: int) -> None:
        """A link that did its work long ago comes once more: it changes nothing."""
        link = self.delivered[which % len(self.delivered)]
        before = everything()
        sent = len(self.links.ever)
        self.work(link, 60)
        assert everything() == before
        assert len(self.links.ever) == sent

    @precondition(lambda self: self.links.sent)
    @rule(which=st.integers(0, 9))
    def lose(self, which: int) -> None:
        del self.links.sent[which % len(self.links.sent)]

    def work(self, link: Link, seconds: float) -> None:
        was_there = fenced_by(link) is not None
        with (
            suppress(Killed, MadeToFailError),  # the second one before it is claimed: django-q2 tells of it
            override_settings(PAGESTATS_WORKERS=self.workers),
        ):
            self.links.deliver(link, seconds=seconds)
        fence = fenced_by(link)
        if was_there and (fence is None or fence.epoch > link[2]):
            self.delivered.append(link)

    # -- time, and who looks after the run

    def keep_up(self) -> None:
        folding.keep_up("default", seconds=5)

    def sweep(self) -> None:
        folding.sweep("default", chunk_size=3)

    @rule()
    def look(self) -> None:
        """The watchdog leaves a run alone whose lease has not run out."""
        run = the_run()
        has_worker = run.is_active and run.lease_until > database_now("default")
        self.links.revive()
        assert not has_worker or the_run().epoch == run.epoch

    def take_over(self) -> None:
        """The lease runs out, whether the worker is dead or slow, and the watchdog looks."""
        expire_lease()
        self.links.revive()

    def throttle(self) -> None:
        throttled[:] = [] if throttled else ["too much to do"]

    # -- what people do

    @rule(kind=kinds, size=sizes)
    def start(self, kind: str, size: int | None) -> None:
        self.record(2, seed=size or 0)
        started = self.links.start(kind, chunk_size=size, workers=self.workers)
        if started.outcome == "started" and started.run is not None:
            self.told[started.run.pk] = "goes on"

    def pause(self) -> None:
        self.note(backfill.pause("default", via="test"), "is paused")

    def cancel(self) -> None:
        self.note(backfill.cancel("default", via="test"), "is cancelled")

    def resume(self) -> None:
        with self.links.commits():
            self.note(backfill.resume("default", via="test", enqueue=self.links.enqueue), "goes on")

    def note(self, answer: backfill.Answer, told: str) -> None:
        if answer.outcome != "refused" and answer.run is not None:
            self.told[answer.run.pk] = told

    @precondition(lambda self: not throttled)
    @rule(kind=kinds, size=sizes, chunks=st.integers(1, 3))
    def here(self, kind: str, size: int | None, chunks: int) -> None:
        """`--sync`, stopped after some chunks."""
        seen: list[BackfillRun] = []

        def watch(run: BackfillRun) -> bool:
            self.told.setdefault(run.pk, "goes on")
            seen.append(run)
            return len(seen) == chunks

        try:
            started = backfill.run_here("default", kind=kind, via="test", chunk_size=size, watch=watch)
        except (DifferentRunError, PausedError):
            return
        if started.run is not None:
            self.told.setdefault(started.run.pk, "goes on")

    # -- in between the steps of a worker

    @contextmanager
    def interrupted(self, link: Link, interruptions: list[Interruption]) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for it in interruptions:
                owner, name = POINTS[it.point]
                patch.setattr(owner, name, self.interrupt(getattr(owner, name), link, it))
            yield

    def interrupt(self, step: Callable[..., Any], link: Link, it: Interruption) -> Callable[..., Any]:
        """The step of a worker, with something else before or after it, once."""
        waiting = [it.what]

        def interrupted_step(*args: Any, **kwargs: Any) -> Any:
            if waiting and not it.is_after:
                self.happen(waiting.pop(), link)
            result = step(*args, **kwargs)
            if waiting and it.is_after:
                self.happen(waiting.pop(), link)
            return result

        return interrupted_step

    def happen(self, what: str, link: Link) -> None:
        if what == "die":
            raise Killed
        if what == "fail":
            self.faults += 1
            raise MadeToFailError("made to fail")
        if connection.in_atomic_block:  # others are other connections, and see nothing of this transaction
            return
        if what == "copy":
            self.work(link, 0)
        elif what == "deliver_another":
            if self.links.sent:
                self.work(self.links.sent.pop(0), 0)
        elif what == "record_one":
            self.record(1, seed=3)
        else:
            getattr(self, what)()

    # -- what holds after each step

    @invariant()
    def holds(self) -> None:
        self.is_sound = False
        for name in self.checks:
            getattr(self, f"assert_{name}")()
        self.is_sound = True

    def assert_one_effect(self) -> None:
        assert_exact()

    def assert_one_chain(self) -> None:
        """Of the links that wait one at most can do anything.

        But a worker that failed after its commit sends its link once more: a copy, of the same epoch.
        """
        going = [link for link in self.links.sent if is_live(link)]
        for chain in {link[3:] for link in going}:
            assert sum(link[3:] == chain for link in going) <= 1 + self.faults
        open_ones = BuildSegment.objects.filter(run__active_key=BackfillRun.ACTIVE, error="", cursor__lt=F("upto"))
        assert open_ones.count() < self.workers

    def assert_forward(self) -> None:
        """Epochs and cursors only rise; what has succeeded or was cancelled never changes again."""
        for run in BackfillRun.objects.select_related("generation"):
            assert run.epoch >= self.epochs.get(run.pk, 0)
            self.epochs[run.pk] = run.epoch
            cursor = run.generation.cursor
            assert cursor >= self.cursors.get(run.generation_id, cursor)
            self.cursors[run.generation_id] = cursor
            if run.status in (Status.SUCCEEDED, Status.CANCELLED):
                now = BackfillRun.objects.values().get(pk=run.pk)
                assert self.ended.setdefault(run.pk, now) == now

    def assert_columns(self) -> None:
        for run in BackfillRun.objects.select_related("generation"):
            assert_columns_agree(run)

    def assert_events(self) -> None:
        for run in BackfillRun.objects.all():
            assert_events_lead_to(run)

    def assert_told(self) -> None:
        """Nobody's run stands still, or is given up, who was told last that it goes on; nor paused, if cancelled."""
        for run in BackfillRun.objects.filter(status__in=[Status.PAUSED, Status.CANCELLED]):
            assert self.told[run.pk] == f"is {run.status}"

    # -- the end

    def teardown(self) -> None:
        try:
            if self.is_sound and self.ends and BackfillRun.objects.exists():
                self.end()
        finally:
            self.patch.undo()
            throttled.clear()
            forget_all()

    def end(self) -> None:
        """A run that nobody stops ends, after so many links; and then all is counted, to the last page view."""
        throttled.clear()
        if the_run().status == Status.PAUSED or the_run().pause_requested_at:
            self.resume()
        for _ in range(2):  # once if its worker had died, once if the last link was lost
            self.links.drain(most=MOST_LINKS)
            if the_run().is_active:
                self.take_over()
        self.links.drain(most=MOST_LINKS)
        self.holds()
        assert not the_run().is_active
        assert the_run().status != Status.CANCELLED or self.told[the_run().pk] == "is cancelled"
        assert the_run().status != Status.FAILED or "times in a row" in the_run().error, the_run().error
        self.links.start()
        self.links.drain(most=MOST_LINKS)
        assert_all_counted()
        assert list(Verification("default")) == []


def fenced_by(link: Link) -> BackfillRun | BuildSegment | None:
    """The row whose epoch the link uses up."""
    if len(link) == 4:
        return BuildSegment.objects.filter(pk=link[3], run=link[1]).first()
    return BackfillRun.objects.filter(pk=link[1]).first()


def is_live(link: Link) -> bool:
    """Whether the link can still do something."""
    fence = fenced_by(link)
    run = fence.run if isinstance(fence, BuildSegment) else fence
    return fence is not None and run is not None and run.is_active and fence.epoch == link[2]


def forget_all() -> None:
    backfill.release_kept()
    for model in (SharedDay, BuildSegment, RunEvent, BackfillRun, Generation, Aggregate, PageView, Visitor, Subject):
        model._base_manager.all()._raw_delete("default")  # what Django keeps, too


def everything() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (BackfillRun, BuildSegment, Generation, RunEvent)]


def assert_columns_agree(run: BackfillRun) -> None:
    is_active = run.status in states.ACTIVE
    assert run.is_active == is_active
    assert (run.finished_at is None) == is_active
    assert run.paused_at is None if run.is_going else run.status != Status.PAUSED or run.paused_at is not None
    if run.pause_requested_at or run.cancel_requested_at:
        assert run.status == Status.RUNNING
        assert run.requested_via
    assert run.wait_until is None or run.is_going
    assert run.status != Status.QUEUED or run.enqueued_at is not None
    if run.kind == BackfillRun.Kind.REBUILD and run.status != Status.SUCCEEDED:
        assert run.generation.is_active is None
    if run.is_active:
        assert run.generation.doomed_at is None


def assert_events_lead_to(run: BackfillRun) -> None:
    """From nothing to its status, over changes that there are; a revival is an event that changes none."""
    status = ""
    for event in RunEvent.objects.filter(run=run).order_by("pk"):
        assert event.from_status == status
        if event.to_status == status:
            assert event.via == RunEvent.Via.WATCHDOG
        else:
            assert (status, event.to_status) in {("", Status.QUEUED), *states.TRANSITIONS}
        status = event.to_status
    assert status == run.status


@pytest.fixture(autouse=True)
def settled(short_waits: None, settings: Any) -> None:
    settings.PAGESTATS_MAX_REVIVALS = 3  # so that some runs fail by it, and are resumed
    settings.PAGESTATS_THROTTLE = ["tests.test_protocol.throttle"]


def play(machine: type[Protocol] = Protocol, *, examples: int, **options: Any) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=STEPS, database=None, **options)
    )


def test_a_run_keeps_its_protocol_whatever_happens() -> None:
    play(examples=EXAMPLES)


# -- controls: without a protection the machine finds the fault that it prevents


class FindsTwoChains(Protocol):
    checks = ("one_chain",)
    ends = False


class FindsTwoEffects(Protocol):
    checks = ("one_effect",)
    ends = False


class FindsTwoEffectsOfParts(FindsTwoEffects):
    """Of a build that is cut from its beginning on, and of which nothing else is wanted."""

    deliver_a_copy = deliver_late = deliver_after_a_wish = deliver_with_others_in_between = None  # type: ignore[assignment]
    here = lose = person = record = start = time_goes_by = None  # type: ignore[assignment]

    @initialize()
    def begin(self) -> None:  # type: ignore[override]
        self.workers = 2
        make_page_views(30, paths=3, visitors=4, days=2, with_attributes=True)
        self.links.start("rebuild", chunk_size=3, workers=2)


class FindsRunTakenAway(Protocol):
    """In its rule `look`."""

    checks = ()
    ends = False


class FindsRunWithoutEnd(Protocol):
    checks = ()


class FindsLostWish(Protocol):
    checks = ("told",)
    ends = False


class FindsChangeWithoutEvent(Protocol):
    checks = ("events",)
    ends = False


def no_epoch_and_no_cursor(patch: pytest.MonkeyPatch) -> None:
    without_epochs(patch.setattr)
    patch.setattr(chunks, "merge", merge_at_any_cursor)


def every_lease_is_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(starting, "database_now", lambda using: database_now(using) + timedelta(days=1))


CONTROLS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], type[Protocol]]] = {
    "the epoch": (lambda patch: without_epochs(patch.setattr), FindsTwoChains),
    "the epoch and the cursor": (no_epoch_and_no_cursor, FindsTwoEffects),
    "the fences of segments": (lambda patch: without_fences_of_segments(patch.setattr), FindsTwoEffectsOfParts),
    "the lease": (every_lease_is_over, FindsRunTakenAway),
    "revival": (lambda patch: patch.setattr(starting, "_revive", lambda *args, **kwargs: False), FindsRunWithoutEnd),
    "a wish as it was seen": (lambda patch: patch.setattr(wishes, "WISHES", ()), FindsLostWish),
    "events": (lambda patch: patch.setattr(states, "record", lambda *args, **kwargs: None), FindsChangeWithoutEvent),
}


#: what they show is the same everywhere, and takes the servers a minute
on_sqlite_or_at_length = pytest.mark.torture if connection.vendor != "sqlite" else lambda test: test


@pytest.mark.once
@pytest.mark.control
@on_sqlite_or_at_length
@pytest.mark.parametrize("without", CONTROLS)
def test_control_the_machine_finds_what_is_missing(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away, machine = CONTROLS[without]
    take_away(monkeypatch)
    with pytest.raises(AssertionError):
        play(machine, examples=1_000, phases=[Phase.generate], derandomize=True, report_multiple_bugs=False)
