"""A server behind a proxy gives way to one that lacks the last commits, and nothing fails: the connection stays.

What tells is the database alone: ids that were given out are gone, and may be given to others.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Model

from django_pagestats import backfill
from django_pagestats.folding import chunks
from django_pagestats.folding.reading import Reader
from django_pagestats.folding.stretches import Cut
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation, Subject, Visitor
from tests.chains import assert_all_counted
from tests.factories import START, draw_from, insert_page_views

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("short_waits")]

MODELS: list[type[Model]] = [Visitor, Subject, Generation, Aggregate]


class Server:
    """Notes its rows before each chunk is read; goes back to what they were, the page views excepted."""

    def __init__(self, *, jumps: bool) -> None:
        #: a sequence of PostgreSQL may be ahead of what was lost; others give the same ids again
        self.jumps = jumps
        self.notes: list[dict[type[Model], list[Model]]] = []
        self.runs: list[list[dict[str, Any]]] = []

    def note(self) -> None:
        self.notes.append({model: list(model._default_manager.all()) for model in MODELS})
        self.runs.append(list(BackfillRun.objects.values("pk", "rows_folded")))

    def lose(self, behind: int) -> None:
        """All since so many chunks before the last that was begun."""
        for model, rows in self.notes[-1 - behind].items():
            kept = {row.pk for row in rows}
            for row in model._default_manager.all():
                if row.pk not in kept:
                    model._default_manager.filter(pk=row.pk)._raw_delete("default")
            for row in rows:
                row.save(force_update=True) if row.pk in present(model) else row.save(force_insert=True)
        for model in (Visitor, Subject):
            last = max((row.pk for row in model._default_manager.all()), default=0)
            draw_from(model, last + (1_000 if self.jumps else 1))


def present(model: type[Model]) -> set[Any]:
    return {row.pk for row in model._default_manager.all()}


def record() -> None:
    """Visitors, paths and sources that come back, and new ones: so ids are remembered and made in each chunk."""
    dice = random.Random(23)
    insert_page_views(
        [
            (
                f"/{dice.randrange(number + 1)}",
                f"k{dice.randrange(number + 1)}",
                START,
                {"source": f"s{dice.randrange(number + 1)}", "plan": f"p{dice.randrange(number + 1)}"},
            )
            for number in range(80)
        ]
    )


def record_new_values() -> None:
    """After the first chunk only sources are new: the ids of no visitor and no path are lost with those of theirs."""
    insert_page_views([("/", f"k{number % 3}", START, {"source": f"s{number // 2}"}) for number in range(80)])


@pytest.mark.once
@pytest.mark.parametrize("page_views", [record, record_new_values], ids=["anything is new", "values are new"])
@pytest.mark.parametrize(
    ("reads_ahead", "step", "behind", "jumps"),
    [
        (False, "read", 1, True),
        (False, "merge", 0, False),
        (False, "merge", 2, True),
        (True, "read", 2, True),
        (True, "merge", 0, False),
        (True, "merge", 1, False),
    ],
)
def test_ids_that_are_lost_without_an_error_are_asked_for_again(
    page_views: Callable[[], None],
    reads_ahead: bool,
    step: str,
    behind: int,
    jumps: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(database_for("default")), "READS_AHEAD", reads_ahead)
    monkeypatch.setattr(type(database_for("default")), "CHUNKS_AT_ONCE", 1)
    page_views()
    server = Server(jumps=jumps)
    read, read_ahead, merge = Reader.read, Reader.read_ahead, chunks.merge
    steps = {"read": 0, "merge": 0}

    def at(name: str) -> None:
        steps[name] += 1
        if name == step and steps[name] == 4:
            server.lose(behind)

    def note_and_read(self: Reader, *args: Any, **options: Any) -> Cut:
        server.note()
        at("read")
        return read(self, *args, **options)

    def read_ahead_at_once(self: Reader, *args: Any) -> None:
        read_ahead(self, *args)
        if self._ahead is not None:
            self._ahead.exception()  # so that it is known what is lost

    def lose_and_merge(*args: Any, **options: Any) -> Any:
        at("merge")
        return merge(*args, **options)

    monkeypatch.setattr(Reader, "read", note_and_read)
    monkeypatch.setattr(Reader, "read_ahead", read_ahead_at_once)
    monkeypatch.setattr(chunks, "merge", lose_and_merge)
    backfill.run_here("default", via="test", chunk_size=10)
    assert steps[step] > 4
    assert_all_counted()


def test_ids_that_are_gone_each_time_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where some statements go to another server: it would go on for ever."""
    record()
    merge = chunks.merge

    def lose_and_merge(*args: Any, **options: Any) -> Any:
        Visitor._base_manager.all()._raw_delete("default")
        return merge(*args, **options)

    monkeypatch.setattr(chunks, "merge", lose_and_merge)
    backfill.run_here("default", via="test", chunk_size=10)
    run = BackfillRun.objects.get()
    assert run.status == "failed"
    assert "5 times in a row ids of visitors or paths were gone from 'default'" in run.error
    assert not Aggregate.objects.exists()
