"""The command's options about generations: --keep-old, --activate and --discard."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError

from django_pagestats.models import Aggregate, Generation
from tests.chains import active_generation, assert_all_counted, the_run
from tests.factories import make_page_views
from tests.test_backfill_aggregates import command
from tests.test_generations import ANSWERS, DOOMED, KEPT, fate, two_generations
from tests.test_tasks import work_on_the_queue

pytestmark = pytest.mark.usefixtures("short_waits")


def told(generation: Generation) -> str:
    number = generation.pk
    return (
        f"Generation {number} is kept: 'manage.py backfill_aggregates --activate {number}' makes it answer again,"
        f" '--discard {number}' deletes it.\n"
    )


def has_rows(generation: Generation) -> bool:
    return Aggregate.objects.filter(generation=generation.pk).exists()


@pytest.mark.django_db
def test_a_rebuild_says_what_it_kept() -> None:
    make_page_views(30)
    command("--sync")
    old = active_generation()
    out = command("--sync", "--rebuild", "--keep-old")
    assert f"Run {the_run().pk} succeeded" in out and out.endswith(told(old))
    assert has_rows(old)
    out = command("--sync", "--rebuild")
    assert "is kept" not in out and "Deleted" in out
    assert command("--status").count(told(old)) == 1
    assert fate(old) == KEPT


@pytest.mark.django_db
def test_a_rebuild_in_the_cluster_keeps_too() -> None:
    make_page_views(30)
    command("--sync")
    old = active_generation()
    assert command("--rebuild", "--keep-old").startswith("Rebuild started: run ")
    assert "will be kept" in command("--rebuild", "--keep-old")
    work_on_the_queue()
    assert fate(old) == KEPT
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("words", [[], ["--keep-old"], ["--sync"], ["--sync", "--keep-old"]])
def test_activate(words: list[str]) -> None:
    old, new = two_generations()
    out = command("--activate", str(old.pk), *words)
    assert out.startswith(f"Generation {old.pk} answers again. ")
    assert "10 page views came after those that it counts: answers count them one by one until keeping up or" in out
    assert (fate(old), fate(new)) == (ANSWERS, KEPT if "--keep-old" in words else DOOMED)
    is_swept = words == ["--sync"]
    assert ("Deleted" in out) is is_swept is not has_rows(new)
    assert command("--activate", str(old.pk)) == f"Generation {old.pk} answers already.\n"
    assert "succeeded: 10 page views" in command("--sync")
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("words", [[], ["--sync"]])
def test_discard(words: list[str]) -> None:
    old, new = two_generations()
    out = command("--discard", str(old.pk), *words)
    assert out.startswith(f"Generation {old.pk} is kept no longer: its aggregates are deleted in chunks.\n")
    assert (fate(old), fate(new)) == (DOOMED, ANSWERS)
    assert ("Deleted" in out) is bool(words) is not has_rows(old)
    assert command("--discard", str(old.pk)).startswith(f"Generation {old.pk} ")
    assert_all_counted()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["--activate", "--discard"])
def test_what_is_refused_is_an_error(name: str) -> None:
    old, _ = two_generations()
    for number in ("777", "9" * 23):
        with pytest.raises(CommandError) as caught:
            command(name, number)
        assert str(caught.value) == f"There is no generation {number}: the one that is kept is {old.pk}."
    make_page_views(10, seed=2)
    command()
    with pytest.raises(CommandError, match=r"is queued: let it end, or cancel it, first\."):
        command("--activate", str(old.pk))


@pytest.mark.django_db
def test_as_json() -> None:
    old, _ = two_generations()
    for name, outcome in (("--activate", "done"), ("--activate", "already")):
        printed = json.loads(command(name, str(old.pk), "--keep-old", "--json"))
        assert printed["outcome"] == outcome and printed["message"].startswith(f"Generation {old.pk} answers")
        assert printed["run_id"] == the_run().pk
    assert command("--activate", str(old.pk), verbosity=0) == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keep-old"], "--keep-old goes with --rebuild or --activate."),
        (["--keep-old", "--discard", "1"], "--keep-old goes with --rebuild or --activate."),
        (["--keep-old", "--resume"], "--keep-old goes with --rebuild or --activate."),
        (["--activate", "one"], "argument --activate: invalid int value: 'one'"),
        (["--activate", "1", "--discard", "1"], "argument --discard: not allowed with argument --activate"),
        *(
            ([name, "1", *words], f"{name} goes with --sync, which deletes in this process, or alone.")
            for name in ("--activate", "--discard")
            for words in (["--wait"], ["--rebuild"], ["--chunk-size", "5"], ["--pause"], ["--status"], ["--resume"])
        ),
    ],
)
def test_what_goes_together_with_nothing(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        command(*words)
    assert message in str(caught.value)
