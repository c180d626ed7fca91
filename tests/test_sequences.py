"""A sequence behind its table, as after a restore of the rows alone: whoever inserts is told the cure."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from django_pagestats import sequences
from django_pagestats.exceptions import SequenceBehindError
from django_pagestats.ids import subject_ids, visitor_ids
from django_pagestats.models import BackfillRun, Generation, ImportSource, PageView, RunEvent, Subject, Visitor
from django_pagestats.recording import record_page_view, record_page_views
from django_pagestats.sequences import sequence_behind
from tests.chains import assert_exact
from tests.factories import START, draw_from, insert_page_views
from tests.test_importing_logs import line, load

WITH_IDS = [BackfillRun, Generation, ImportSource, PageView, RunEvent, Subject, Visitor]
IdsOf = Callable[..., dict[str, int]]


@pytest.fixture
def sequences_put_back() -> Iterator[None]:
    yield
    for model in WITH_IDS:
        draw_from(model, 1_000)


def told(model: Any) -> str:
    return rf"sequence of {model._meta.db_table}\.id is behind .*\(id\)=.*sqlsequencereset django_pagestats \|"


needs_sequences = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="the others draw ids above the highest in the table"
)


def reset_sequences() -> None:
    """What `manage.py sqlsequencereset django_pagestats | manage.py dbshell` does."""
    out = io.StringIO()
    call_command("sqlsequencereset", "django_pagestats", stdout=out, no_color=True)
    with connection.cursor() as cursor:
        cursor.execute(out.getvalue())


@needs_sequences
@pytest.mark.usefixtures("sequences_put_back")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("ids_of", "model"), [(visitor_ids, Visitor), (subject_ids, Subject)])
def test_a_sequence_behind_its_table_is_named_with_the_cure(ids_of: IdsOf, model: type[Visitor | Subject]) -> None:
    """As after a restore of the rows alone; an INSERT that passes over any clash would lose them without a word."""
    before = ids_of("default", ["/a", "/b"])
    draw_from(model, min(before.values()))
    with pytest.raises(SequenceBehindError, match=told(model)):
        ids_of("default", ["/c", "/d"])
    assert model._default_manager.count() == 2
    reset_sequences()
    assert before.items() <= ids_of("default", ["/a", "/b", "/c", "/d"]).items()
    assert model._default_manager.count() == 4


@needs_sequences
@pytest.mark.django_db
def test_another_clash_is_not_taken_for_a_sequence() -> None:
    Visitor.objects.create(session_key="x")
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        Visitor.objects.create(session_key="x")
    assert sequence_behind("default", raised.value) == ""
    assert sequence_behind("default", ValueError("x")) == ""


def test_the_cure_names_the_database_where_it_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    class Behind:
        def taken_key(self, error: BaseException) -> str:
            return "some_table"

    monkeypatch.setattr(sequences, "database_for", lambda using: Behind())
    text = sequence_behind("stats", IntegrityError("taken"))
    assert "sqlsequencereset django_pagestats --database stats | manage.py dbshell --database stats" in text


@needs_sequences
@pytest.mark.usefixtures("sequences_put_back")
@pytest.mark.django_db(transaction=True)
def test_recording_logs_it_and_imports_raise_it(caplog: pytest.LogCaptureFixture) -> None:
    first = insert_page_views([("/", "k", START), ("/", "k", START), ("/", "k", START)])[0].id
    draw_from(PageView, first)
    with caplog.at_level(logging.ERROR):
        assert not record_page_view(path="/a", session_key="k")
    assert re.search(told(PageView), caplog.messages[-1])
    with pytest.raises(SequenceBehindError, match=told(PageView)):
        record_page_views([("/a", "k")])
    with pytest.raises(SequenceBehindError, match=told(PageView)):
        load(line("/a"))
    assert (PageView.objects.count(), ImportSource.objects.count()) == (3, 0)
    reset_sequences()
    assert record_page_view(path="/a", session_key="k")


@needs_sequences
@pytest.mark.usefixtures("sequences_put_back", "no_settling")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Generation, BackfillRun, RunEvent])
def test_a_start_says_it(model: type[Generation | BackfillRun | RunEvent]) -> None:
    insert_page_views([("/", "k", START)])
    call_command("backfill_aggregates", "--sync", verbosity=0)
    if model is Generation:
        Generation.objects.filter(pk=Generation.objects.get().pk).update(is_active=None)  # the next start makes one
    draw_from(model, model._default_manager.earliest("pk").pk)
    insert_page_views([("/", "k", START)])
    with pytest.raises(CommandError, match=told(model)):
        call_command("backfill_aggregates", "--sync", verbosity=0)
    reset_sequences()
    call_command("backfill_aggregates", "--sync", verbosity=0)
    assert_exact()


@needs_sequences
@pytest.mark.usefixtures("sequences_put_back")
@pytest.mark.django_db(transaction=True)
def test_a_new_source_is_not_taken_for_another_import() -> None:
    load(line("/a"))
    draw_from(ImportSource, ImportSource.objects.get().pk)
    with pytest.raises(SequenceBehindError, match=told(ImportSource)):
        load(line("/b"))
    assert PageView.objects.count() == 1
