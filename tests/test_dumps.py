"""What a dump has to hold, and that a backfill makes the rest again: docs/operations.md#dump-and-restore."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command

from django_pagestats import dumps, stats
from django_pagestats.models import (
    Aggregate,
    BackfillRun,
    BuildSegment,
    Check,
    Generation,
    ImportSource,
    LeftOut,
    Mailing,
    Note,
    Notice,
    PageView,
    RunEvent,
    Salt,
    SharedDay,
    SiteSecret,
    Subject,
    Token,
    Visitor,
    VisitorPolicy,
)
from tests.factories import START, insert_page_views, make_page_views
from tests.test_importing_logs import line, load

DOCS = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
LOG = line("/a") + line("/b") + line("/a", address="192.0.2.9")
#: in an order in which their rows can be deleted
DERIVED = [SharedDay, BuildSegment, RunEvent, BackfillRun, Aggregate, Generation, Visitor, Subject]
KEPT = [PageView, Check, ImportSource, SiteSecret, Salt, VisitorPolicy, LeftOut, Notice, Note, Mailing, Token]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_settling"), pytest.mark.once]


def section_of_docs() -> str:
    return DOCS.read_text().partition("## Dump and restore\n")[2].partition("\n## ")[0]


def documented_excludes() -> list[str]:
    """The words after `dumpdata` in the docs."""
    return re.findall(r"(?:--exclude|-e) (django_pagestats\.\w+)", section_of_docs())


def answers() -> object:
    summary = stats.summary()
    # without their order among equals, which is that of the subjects' ids
    pages = sorted(stats.top_pages(limit=1_000), key=attrgetter("path"))
    series = stats.time_series("day", START.date(), START.date().replace(month=6))
    return summary.page_views, summary.visitors, summary.paths, pages, series


@pytest.fixture
def before() -> object:
    make_page_views(500)
    load(LOG)
    call_command("backfill_aggregates", "--sync", verbosity=0)
    insert_page_views([("/tail", "late", START)])
    return answers()


@pytest.fixture(autouse=True)
def not_told_yet() -> Iterator[None]:
    dumps._tell.cache_clear()
    yield
    dumps._tell.cache_clear()


def moved(folder: Path, *words: str) -> None:
    """Dump, empty the tables, and load the dump."""
    dump = str(folder / "dump.json")
    call_command("dumpdata", "django_pagestats", *words, output=dump, verbosity=0)
    for model in (*DERIVED, *KEPT):
        model._default_manager.all()._raw_delete("default")
    call_command("loaddata", dump, verbosity=0)


def test_the_docs_name_every_model_that_is_derived_and_no_other() -> None:
    assert set(documented_excludes()) == {model._meta.label for model in DERIVED}
    tables = {model for model in apps.get_app_config("django_pagestats").get_models() if not model._meta.proxy}
    assert tables == {*DERIVED, *KEPT}
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section_of_docs(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == {model.__name__ for model in KEPT}


def test_without_what_is_derived_a_backfill_makes_it_again(
    before: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved(tmp_path, *(f"--exclude={label}" for label in documented_excludes()))
    assert not caplog.records
    assert not Aggregate.objects.exists() and answers() == before
    call_command("backfill_aggregates", "--sync", verbosity=0)
    call_command("verify_aggregates", verbosity=0)
    assert answers() == before
    assert load(LOG).read == 0
    load(LOG + line("/again"))
    assert stats.summary().visitors == before[1]  # type: ignore[index]


def test_a_dump_of_everything_is_right_and_says_that_it_is_slow(
    before: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "django_pagestats"):
        moved(tmp_path)
    assert Aggregate.objects.count() > 100
    (told,) = (record.getMessage() for record in caplog.records if record.name == "django_pagestats.dumps")
    assert "dumpdata --exclude" in told and "backfill_aggregates" in told
    assert answers() == before
    call_command("backfill_aggregates", "--sync", verbosity=0)
    call_command("verify_aggregates", verbosity=0)
    load(LOG + line("/again"))
    assert answers() != before
