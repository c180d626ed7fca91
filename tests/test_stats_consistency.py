"""Answers while another session commits between any two of their statements (design, promise P1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from datetime import date, datetime, timedelta, timezone
from itertools import cycle
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import F
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.urls import path as url_path

from django_pagestats import stats
from django_pagestats.exceptions import AnswerUnsettledError
from django_pagestats.models import Aggregate, Generation, PageView
from django_pagestats.stats import reading
from django_pagestats.stats.folded import Folded
from django_pagestats.stats.statements import MovedError
from django_pagestats.stats.tail import LongTail
from tests.factories import Row, insert_page_views
from tests.stats_oracle import Oracle, fold_naively, fold_on

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

DAY = date(2025, 3, 1)
END = DAY + timedelta(days=3)
START = datetime(2025, 3, 1, 8, tzinfo=timezone.utc)
#: those of `views`, and one that nobody viewed
PATHS = [f"/{n}" for n in range(8)]
FOLDED = 6
SQLITE = connection.vendor == "sqlite"

QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "page views": lambda asked: asked.count_page_views(),
    "page views of days": lambda asked: asked.count_page_views(start=DAY, end=END),
    "page views of a path": lambda asked: asked.count_page_views(path="/1", start=DAY),
    "page views of paths": lambda asked: asked.count_page_views_of(PATHS),
    "page views of paths of days": lambda asked: asked.count_page_views_of(PATHS, start=DAY, end=END),
    "visitors": lambda asked: asked.count_unique_visitors(),
    "visitors of days": lambda asked: asked.count_unique_visitors(start=DAY),
    "visitors of a path": lambda asked: asked.count_unique_visitors(path="/1"),
    "paths": lambda asked: asked.count_paths(),
    "paths of days": lambda asked: asked.count_paths(start=DAY),
    "top pages": lambda asked: asked.top_pages(3),
    "top pages of days": lambda asked: asked.top_pages(3, start=DAY, end=END),
    "days": lambda asked: asked.time_series("day", DAY, DAY + timedelta(days=5)),
    "hours": lambda asked: asked.time_series("hour", START, START + timedelta(hours=40)),
    "summary": lambda asked: totals(asked.summary()),
}


def totals(summary: stats.Summary) -> tuple[int, int, int]:
    return summary.page_views, summary.visitors, summary.paths


def expect(rows: Sequence[Row]) -> dict[str, Any]:
    oracle = Oracle(rows)
    return {
        "page views": oracle.page_views(),
        "page views of days": oracle.page_views(None, DAY, END),
        "page views of a path": oracle.page_views("/1"),
        "page views of paths": oracle.page_views_of(PATHS),
        "page views of paths of days": oracle.page_views_of(PATHS, DAY, END),
        "visitors": oracle.visitors(),
        "visitors of days": oracle.visitors(),
        "visitors of a path": oracle.visitors("/1"),
        "paths": oracle.paths(),
        "paths of days": oracle.paths(),
        "top pages": oracle.top_pages()[:3],
        "top pages of days": oracle.top_pages(DAY, END)[:3],
        "days": oracle.days(DAY, DAY + timedelta(days=5)),
        "hours": oracle.hours(START, START + timedelta(hours=40)),
        "summary": (oracle.page_views(), oracle.visitors(), oracle.paths()),
    }


def views(count: int, *, first: int = 0) -> list[tuple[str, str, datetime]]:
    """Page views an hour apart, of seven paths and of keys that come back."""
    return [
        (f"/{n % 7}", f"key{n * n % 11}", START + timedelta(hours=n % 60, minutes=n))
        for n in range(first, first + count)
    ]


@contextmanager
def session(alias: str, **options: Any) -> Iterator[str]:
    """Another connection to the same database, under an alias of its own."""
    wrapper = connection.copy(alias)
    wrapper.settings_dict = deepcopy(wrapper.settings_dict)
    wrapper.settings_dict["OPTIONS"].update(options)
    connections[alias] = wrapper
    try:
        yield alias
    finally:
        wrapper.close()
        delattr(connections._connections, alias)  # type: ignore[attr-defined]


@pytest.fixture
def other() -> Iterator[str]:
    with session("other") as alias:
        yield alias


class Injector:
    """Does something in another session before some statements of this one."""

    def __init__(self, act: Callable[[], None], *, at: Callable[[int, str], bool]) -> None:
        self.act, self.at = act, at
        self.statements = self.acted = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.startswith(("SAVEPOINT", "RELEASE", "BEGIN", "SET", "ROLLBACK")):
            self.statements += 1
            if self.at(self.statements, sql):
                self.acted += 1
                self.act()
        return execute(sql, params, many, context)


@pytest.fixture
def rows(other: str) -> list[Row]:
    """Twenty-four page views, six of them folded."""
    made = insert_page_views(views(24))
    fold_naively(made[:FOLDED])
    return made


def fold_to(rows: Sequence[Row], count: int) -> None:
    """Fold up to so many rows, in one transaction of the other session."""
    with transaction.atomic(using="other"):
        fold_on(Generation.objects.using("other").get(is_active=True), rows[:count], using="other")


def switch(rows: Sequence[Row], count: int) -> None:
    """A rebuilt generation takes the place of the active one."""
    with transaction.atomic(using="other"):
        made = fold_naively(rows[:count], is_active=None, using="other")
        Generation.objects.using("other").filter(is_active=True).update(is_active=None)
        Generation.objects.using("other").filter(pk=made.pk).update(is_active=True)


def raise_revision() -> None:
    Generation.objects.using("other").filter(is_active=True).update(revision=F("revision") + 1)


def put_in_place(template: Generation, *, using: str = "default") -> None:
    """Make the active generation what the template is, in one transaction: what a chunk does, and its opposite."""
    columns = "dimension, granularity, bucket, subject, page_views, visitors, visitor_set, repeat_set"
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        active = Generation.objects.using(using).get(is_active=True)
        Aggregate.objects.using(using).filter(generation=active.pk).delete()
        cursor.execute(
            f"INSERT INTO django_pagestats_aggregate (generation, {columns})"
            f" SELECT {active.pk}, {columns} FROM django_pagestats_aggregate WHERE generation = {template.pk}"
        )
        moved = {"cursor": template.cursor, "all_cursor": template.all_cursor, "revision": F("revision") + 1}
        Generation.objects.using(using).filter(pk=active.pk).update(**moved)


def put_other_in_place(template: Generation) -> None:
    """A generation that was rebuilt takes the place of the active one."""
    with transaction.atomic(using="other"):
        Generation.objects.using("other").filter(is_active=True).update(is_active=None)
        Generation.objects.using("other").filter(pk=template.pk).update(is_active=True)


#: how many page views are folded then, and how
CHANGES: dict[str, tuple[int, Callable[[Generation], None]]] = {
    "a chunk": (15, lambda template: put_in_place(template, using="other")),
    "the whole tail": (24, lambda template: put_in_place(template, using="other")),
    "a generation": (18, put_other_in_place),
    "one kept since": (3, put_other_in_place),
    "the revision": (FOLDED, lambda template: raise_revision()),
}


@contextmanager
def in_autocommit() -> Iterator[Any]:
    yield stats


@contextmanager
def in_atomic() -> Iterator[Any]:
    # a deferred transaction on SQLite, where another session could not write under the site's IMMEDIATE
    with ExitStack() as stack:
        if SQLITE:
            stack.enter_context(deferred())
        stack.enter_context(transaction.atomic())
        yield stats


@contextmanager
def deferred() -> Iterator[None]:
    wrapper: Any = connection
    mode, wrapper.transaction_mode = wrapper.transaction_mode, "DEFERRED"
    try:
        yield
    finally:
        wrapper.transaction_mode = mode


MODES = pytest.mark.parametrize("mode", [in_autocommit, in_atomic], ids=["autocommit", "atomic"])


BETWEEN = pytest.mark.parametrize(
    ("change", "tail_limit"), [*((change, 1_000) for change in CHANGES), ("a chunk", 5), ("a generation", 5)]
)


@MODES
@BETWEEN
def test_a_commit_between_any_two_statements(
    rows: list[Row], mode: Callable[[], Any], change: str, tail_limit: int
) -> None:
    def ask(name: str) -> Any:
        with mode() as asked:
            return QUESTIONS[name](asked)

    expected = expect(rows)
    for name, answer in answers_with_a_commit_between(rows, ask, change, tail_limit):
        assert answer == expected[name], name


def answers_with_a_commit_between(
    rows: list[Row], ask: Callable[[str], Any], change: str, tail_limit: int
) -> Iterator[tuple[str, Any]]:
    """Every question, asked once for each of its statements but the first one, before which a change is committed."""
    count, commit = CHANGES[change]
    before, after = (fold_naively(rows[:folded], is_active=None) for folded in (FOLDED, count))
    active = Generation.objects.get(is_active=True)
    injector: Injector | None = None
    for name in QUESTIONS:
        for number in range(2, 8):
            if injector is None or injector.acted:
                with transaction.atomic():
                    Generation.objects.exclude(pk=active.pk).update(is_active=None)
                    Generation.objects.filter(pk=active.pk).update(is_active=True)
                    put_in_place(before)
            injector = Injector(lambda: commit(after), at=lambda n, _, number=number: n == number)
            with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), connection.execute_wrapper(injector):
                answer = ask(name)
            yield name, answer
            if not injector.acted:
                assert number > 2, f"{name}: one statement only"
                break


@MODES
@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_path_gets_its_id_and_is_folded_between_two_statements(
    rows: list[Row], mode: Callable[[], Any], number: int
) -> None:
    """Whoever looks its id up before the state of the aggregates is read finds none, and then no tail either."""
    first = next(row.path for row in rows if row.path not in {folded.path for folded in rows[:FOLDED]})
    injector = Injector(lambda: fold_to(rows, len(rows)), at=lambda n, _: n == number)
    with mode() as asked, connection.execute_wrapper(injector):
        assert asked.count_page_views_of([first, "/0"]) == Oracle(rows).page_views_of([first, "/0"])
    assert injector.acted == 1


def test_control_without_comparing_states_answers_are_wrong(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    def take_any(folded: Folded, state: Any) -> None:
        folded._state = folded._state or state

    monkeypatch.setattr(Folded, "_pin", take_any)
    with pytest.raises(AssertionError):
        test_a_commit_between_any_two_statements(rows, in_autocommit, "the whole tail", 1_000)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_change_before_every_statement(rows: list[Row], name: str) -> None:
    """Nothing ever settles: the answer comes from a transaction that sees one instant."""
    injector = Injector(raise_revision, at=lambda n, _: True)
    with connection.execute_wrapper(injector):
        assert QUESTIONS[name](stats) == expect(rows)[name]
    assert injector.acted < 150


def test_new_page_views_folded_before_every_statement(rows: list[Row]) -> None:
    def record_and_fold() -> None:
        rows.extend(insert_page_views(views(1, first=len(rows)), using="other"))
        fold_to(rows, len(rows) - 5)

    for name in ("page views", "visitors", "top pages", "days"):
        before = len(rows)
        with connection.execute_wrapper(Injector(record_and_fold, at=lambda n, _: True)):
            answer = QUESTIONS[name](stats)
        # the truth of one instant since it was asked for
        assert answer in [expect(rows[:count])[name] for count in range(before, len(rows) + 1)], name


def test_inside_a_transaction_an_answer_that_never_settles_is_an_error(rows: list[Row]) -> None:
    with (
        override_settings(PAGESTATS_READ_SECONDS=0.1),
        in_atomic(),
        connection.execute_wrapper(Injector(raise_revision, at=lambda n, _: True)),
    ):
        if SQLITE:  # any transaction there sees one instant
            assert stats.top_pages(3) == expect(rows)["top pages"]
            return
        with pytest.raises(AnswerUnsettledError, match="PAGESTATS_READ_SECONDS"):
            stats.top_pages(3)
        # one statement of aggregates, and then the tail: nothing can move between them
        assert stats.count_page_views() == 24
        assert stats.count_unique_visitors() == expect(rows)["visitors"]


def folding_during_the_tally(rows: list[Row]) -> Injector:
    """Whenever an answer has read the tail, one more page view is folded before its next statement."""
    count = iter(range(FOLDED + 1, 24))
    read = False

    def at(number: int, sql: str) -> bool:
        nonlocal read
        was_read, read = read, "session_key" in sql and "ORDER BY id LIMIT" in sql
        return was_read

    return Injector(lambda: fold_to(rows, next(count)), at=at)


@MODES
def test_a_fold_during_every_tally_of_the_tail(
    rows: list[Row], mode: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "one_instant", None)  # it must settle without
    for name in ("top pages", "days", "paths", "summary", "top pages of days"):
        with override_settings(PAGESTATS_READ_SECONDS=0), mode() as asked:
            with connection.execute_wrapper(folding_during_the_tally(rows)):
                answer = QUESTIONS[name](asked)
            assert answer == expect(rows)[name]
        Generation.objects.all()._raw_delete("default")
        fold_naively(rows[:FOLDED])


def test_control_with_the_tally_between_the_reads_it_does_not_settle(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folded, "again", lambda folded: Folded(folded.using))
    with connection.execute_wrapper(folding_during_the_tally(rows)), pytest.raises(MovedError):
        reading.Moment("default").answer(lambda moment: stats.questions.top_pages(moment, 3, 0, None, None))


# -- snapshots


def everything(asked: Any) -> dict[str, Any]:
    return {name: question(asked) for name, question in QUESTIONS.items()}


@pytest.mark.parametrize("tail_limit", [1_000, 5], ids=["short tail", "long tail"])
def test_a_snapshot_is_of_one_instant_whatever_is_committed(rows: list[Row], tail_limit: int) -> None:
    expected = expect(rows)
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), stats.snapshot() as snapshot:
        # on SQLite too, with transaction_mode IMMEDIATE: the snapshot holds no write lock
        late = insert_page_views(views(5, first=90), using="other")
        fold_to(rows + late, 29)
        assert everything(snapshot) == expected
        switch(rows + late, 29)
        assert everything(snapshot) == expected
    assert everything(stats) == expect(rows + late)


def test_a_snapshot_reads_and_tallies_the_tail_once(rows: list[Row]) -> None:
    reads = Injector(lambda: None, at=lambda n, sql: "ORDER BY id LIMIT" in sql)
    with connection.execute_wrapper(reads), stats.snapshot() as snapshot:
        assert everything(snapshot) == expect(rows)
    assert reads.acted == 1


def test_a_snapshot_that_has_ended_gives_no_answers(rows: list[Row]) -> None:
    with stats.snapshot() as snapshot:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        snapshot.count_page_views()


def test_a_snapshot_of_the_folded_part(rows: list[Row]) -> None:
    with override_settings(PAGESTATS_TAIL_LIMIT=17), stats.snapshot(exact=False) as snapshot:
        fold_to(rows, 24)
        assert everything(snapshot) == expect(rows[:FOLDED])
        summary = snapshot.summary()
        assert (summary.pending, summary.pending_is_exact, summary.is_exact) == (18, False, False)
        assert summary.first_viewed_at == rows[0].viewed_at
    with stats.snapshot(exact=False) as snapshot:
        summary = snapshot.summary()
        assert (summary.pending, summary.pending_is_exact, summary.is_exact) == (0, True, True)


@pytest.mark.parametrize("tail_limit", [1_000, 5], ids=["short tail", "long tail"])
def test_a_snapshot_in_a_transaction_follows_a_fold_within_its_tail(rows: list[Row], tail_limit: int) -> None:
    expected = expect(rows)
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), in_atomic(), stats.snapshot() as snapshot:
        insert_page_views(views(5, first=90), using="other")  # of later instants
        for count in (6, 11, 18, 24):
            fold_to(rows, count)
            assert everything(snapshot) == expected


@pytest.mark.parametrize("tail_limit", [1_000, 5], ids=["short tail", "long tail"])
@pytest.mark.parametrize("exact", [True, False])
def test_a_snapshot_in_a_transaction_cannot_follow_a_fold_beyond_it(
    rows: list[Row], tail_limit: int, exact: bool
) -> None:
    expected = expect(rows if exact else rows[:FOLDED])
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), in_atomic(), stats.snapshot(exact) as snapshot:
        late = insert_page_views(views(5, first=90), using="other")
        fold_to(rows + late, 27)
        if SQLITE:  # any transaction there sees one instant
            assert everything(snapshot) == expected
            return
        with pytest.raises(AnswerUnsettledError, match="REPEATABLE READ"):
            snapshot.count_page_views()
        with pytest.raises(AnswerUnsettledError, match="REPEATABLE READ"):
            snapshot.top_pages(3)


@pytest.mark.parametrize("tail_limit", [1_000, 5], ids=["short tail", "long tail"])
def test_a_snapshot_in_a_transaction_notices_page_views_of_before_it_that_came_late(
    rows: list[Row], tail_limit: int
) -> None:
    taken = rows.pop(14)
    PageView.objects.filter(pk=taken.id).delete()
    with override_settings(PAGESTATS_TAIL_LIMIT=tail_limit), in_atomic(), stats.snapshot() as snapshot:
        PageView(**taken._asdict()).save(using="other", force_insert=True)
        fold_to([*rows[:14], taken, *rows[14:]], 20)
        if SQLITE:
            assert everything(snapshot) == expect(rows)
            return
        with pytest.raises(AnswerUnsettledError, match="committed and folded after it began"):
            snapshot.count_page_views()


def test_in_a_transaction_a_long_tail_that_gets_a_late_page_view_is_counted_again(rows: list[Row]) -> None:
    taken = rows.pop(14)._replace(session_key="late")
    before, after = expect(rows), expect([*rows, taken])
    for name, question in QUESTIONS.items():
        for number in range(2, 9):
            PageView.objects.filter(pk=taken.id).delete()
            injector = Injector(
                lambda: PageView(**taken._asdict()).save(using="other", force_insert=True),
                at=lambda n, _, number=number: n == number,
            )
            with override_settings(PAGESTATS_TAIL_LIMIT=5), in_atomic(), connection.execute_wrapper(injector):
                answer = question(stats)
            assert answer in (before[name], after[name]), (name, number)
            if not injector.acted:
                break  # it takes fewer statements


def test_control_without_counting_a_long_tail_twice_it_mixes_instants(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    if SQLITE:  # any transaction there sees one instant: make it autocommit
        monkeypatch.setattr(reading, "in_transaction", lambda using: True)
        monkeypatch.setattr("tests.test_stats_consistency.in_atomic", in_autocommit)
    monkeypatch.setattr(LongTail, "is_unchanged", lambda tail: True)
    with pytest.raises(AssertionError):
        test_in_a_transaction_a_long_tail_that_gets_a_late_page_view_is_counted_again(rows)


# -- sites of every kind


def isolations() -> list[dict[str, Any]]:
    if SQLITE:
        return [{"transaction_mode": mode} for mode in ("DEFERRED", "IMMEDIATE", "EXCLUSIVE")]
    if connection.vendor == "postgresql":
        from psycopg import IsolationLevel

        return [{"isolation_level": level} for level in (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)]
    return [{"isolation_level": level} for level in ("repeatable read", "serializable")]


@pytest.mark.parametrize("options", isolations(), ids=lambda options: str(next(iter(options.values()))))
def test_whatever_the_default_isolation_of_the_site(rows: list[Row], options: dict[str, Any]) -> None:
    expected = expect(rows)
    with session("reader", **options):
        injector = Injector(raise_revision, at=lambda n, _: True)
        with connections["reader"].execute_wrapper(injector):
            assert stats.top_pages(3, using="reader") == expected["top pages"]
        with stats.snapshot(using="reader") as snapshot:
            raise_revision()
            assert everything(snapshot) == expected
        with transaction.atomic(using="reader"), stats.snapshot(using="reader") as snapshot:
            assert everything(snapshot) == expected
        with transaction.atomic(using="reader"):
            assert stats.top_pages(3, using="reader") == expected["top pages"]
        # the next transaction is the site's again: it can write
        with transaction.atomic(using="reader"):
            insert_page_views(views(1), using="reader")


class Alternating:
    """A router with two replicas."""

    aliases = cycle(["default", "replica"])

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return next(self.aliases)


def test_a_router_that_alternates_between_replicas(rows: list[Row]) -> None:
    """Each answer is read from one of them, though one is behind the other."""
    before = expect(rows)
    with session("replica"), ExitStack() as stack:
        replica: Any = connections["replica"]
        if SQLITE:
            replica.ensure_connection()
            replica.transaction_mode = "DEFERRED"
        stack.enter_context(transaction.atomic(using="replica"))
        if not SQLITE:
            replica.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert PageView.objects.using("replica").count() == 24  # from here on it sees this instant
        late = insert_page_views(views(5, first=90))
        fold_to(rows + late, 28)
        after = expect(rows + late)
        with override_settings(DATABASE_ROUTERS=["tests.test_stats_consistency.Alternating"]):
            for name, question in QUESTIONS.items():
                assert sorted([str(question(stats)), str(question(stats))]) == sorted(
                    [str(before[name]), str(after[name])]
                ), name


def view_of_statistics(request: HttpRequest, name: str) -> JsonResponse:
    return JsonResponse({"in_atomic_block": connection.in_atomic_block, "answer": str(QUESTIONS[name](stats))})


urlpatterns = [url_path("statistics/<name>/", view_of_statistics)]


@BETWEEN
@override_settings(ROOT_URLCONF="tests.test_stats_consistency", ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
def test_inside_atomic_requests(rows: list[Row], change: str, tail_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def ask(name: str) -> Any:
        with deferred() if SQLITE else nullcontext():
            return Client().get(f"/statistics/{name}/").json()

    expected = expect(rows)
    for name, found in answers_with_a_commit_between(rows, ask, change, tail_limit):
        assert found == {"in_atomic_block": True, "answer": str(expected[name])}, name
