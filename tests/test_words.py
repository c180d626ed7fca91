"""A message names what is at hand where it is read: an option of the command, or a button of the admin."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone, translation

from django_pagestats import backfill, folding, texts
from django_pagestats.backfill import failing, generations, wishes
from django_pagestats.backfill.chain import conflict
from django_pagestats.exceptions import RunLockedError
from django_pagestats.models import BackfillRun, Generation, RunEvent
from django_pagestats.tasks import queue_is_installed
from tests.chains import Links, the_run
from tests.clients import client_with
from tests.factories import make_page_views
from tests.patching import replace

ADMIN = "/admin/django_pagestats/"
#: whole commands may be named anywhere: nothing else does what they do
WHOLE_COMMAND = re.compile(r"['“](manage\.py )?backfill_aggregates[^'”]*['”]|Run backfill_aggregates --rebuild")
OPTION = re.compile(r"--[a-z]")
BUTTON = re.compile(r"“[A-Z][A-Za-z ]+”")
NUMBER = re.compile(r"[0-9]+")
ENGLISH = re.compile(r"\b(run|is|was|will|has|rests|answers|page view)\b", re.IGNORECASE)


def messages_of_both_doors() -> dict[str, list[str]]:
    """What whoever comes by each door is told in the same moments."""
    told: dict[str, list[str]] = {}
    for door in "command", "admin":
        BackfillRun.objects.all().delete()
        Generation.objects.all()._raw_delete("default")
        links = Links()
        links.start("rebuild", chunk_size=10)
        links.deliver_next()
        said = [backfill.pause("default", via=door)]  # asked
        links.drain()
        said.append(backfill.pause("default", via=door))  # already
        started = backfill.start("default", kind="backfill", via=door, enqueue=links.enqueue)
        said.append(backfill.resume("default", via=door, enqueue=links.enqueue))
        said.append(backfill.pause("default", via=door))  # at once
        with pytest.MonkeyPatch.context() as patch:
            replace(patch.setattr, wishes._resume, lambda *args, **kwargs: False)
            said.append(backfill.resume("default", via=door, enqueue=links.enqueue))  # changed meanwhile
        Generation.objects.update(doomed_at=the_run().created_at)
        said.append(backfill.resume("default", via=door, enqueue=links.enqueue))  # unfit
        said.append(backfill.cancel("default", via=door))
        said.append(backfill.cancel("default", via=door))
        said.append(backfill.change_nice("default", 2.0, via=door))
        backfill.run_here("default", kind="rebuild", via=door)
        backfill.run_here("default", kind="rebuild", via=door, keep_old=True)
        make_page_views(5)
        kept = Generation.objects.exclude(kept_at=None).get()
        said.append(backfill.activate("default", kept.pk, keep_old=True, via=door))
        told[door] = [str(answer.message) for answer in [*said, started]]
    return told


@pytest.mark.once
@pytest.mark.django_db
def test_each_door_has_its_own_words() -> None:
    make_page_views(30)
    told = messages_of_both_doors()
    for message in told["admin"]:
        assert not OPTION.search(WHOLE_COMMAND.sub("", message)), message
    for message in told["command"]:
        assert not BUTTON.search(message), message
    assert sum("“Resume” on its page goes on with it, “Cancel run” gives it up" in told for told in told["admin"]) == 3
    assert sum("--resume goes on with it, --cancel gives it up" in told for told in told["command"]) == 3


@pytest.mark.once
@pytest.mark.django_db
def test_the_admin_is_told_in_the_readers_language_and_the_command_in_english() -> None:
    make_page_views(30)
    english, german = messages_of_both_doors(), {}
    with translation.override("de"):
        german = messages_of_both_doors()
    assert [NUMBER.sub("N", text) for text in german["command"]] == [NUMBER.sub("N", it) for it in english["command"]]
    for text, before in zip(german["admin"], english["admin"], strict=True):
        assert re.match("Kein Lauf|(Lauf|Generation) [0-9]+ ", text), text
        assert not ENGLISH.search(WHOLE_COMMAND.sub("", text)) and ENGLISH.search(before), text
    stored = list(RunEvent.objects.exclude(reason="").values_list("reason", flat=True))
    assert stored and not [text for text in stored if not text.isascii() or re.search("Lauf|Portion", text)]
    assert sum("„Fortsetzen“ auf seiner Seite macht mit ihm weiter" in text for text in german["admin"]) == 3


COUNTS = [
    ("en", 1, "1 page view came after those that it counts: answers count it by itself"),
    ("en", 1_234, "1,234 page views came after those that it counts: answers count them one by one"),
    ("de", 1, "1 Seitenaufruf kam nach denen, die sie zählt: Antworten zählen ihn einzeln"),
    ("de", 1_234, "1.234 Seitenaufrufe kamen nach denen, die sie zählt: Antworten zählen sie einzeln"),
    ("de", 50_001, "Mehr als 50.000 Seitenaufrufe kamen nach denen, die sie zählt"),
]


@pytest.mark.parametrize(("language", "count", "told"), COUNTS)
def test_a_number_of_page_views_is_told_as_the_language_has_it(language: str, count: int, told: str) -> None:
    with translation.override("de"):  # it is told when it is shown, and not when it is made
        text, of_command = generations._of_tail(count, "admin"), generations._of_tail(count, "command")
    with translation.override(language):
        assert str(text).startswith(told)
    assert texts.english(text).startswith(str(of_command)[:60]), "which is what is stored"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("count", "told"), [(0, "keine Generation ist aufbewahrt"), (1, "aufbewahrt ist 1"), (2, "aufbewahrt sind 1, 2")]
)
def test_which_generations_are_kept_is_told_as_the_language_has_it(count: int, told: str) -> None:
    now = timezone.now()
    rows = (Generation(pk=n + 1, time_zone="UTC", created_at=now, kept_at=now) for n in range(count))
    Generation.objects.bulk_create(rows)
    with translation.override("de"):
        answer = backfill.discard("default", 7, via="admin")
        assert answer.message == f"Es gibt keine Generation 7: {told}"


@pytest.mark.django_db
def test_who_takes_no_task_is_told_in_the_readers_language() -> None:
    make_page_views(3)
    links = Links()
    links.start()
    now = the_run().created_at + timedelta(seconds=20)
    with translation.override("de"):
        assert str(backfill.missing_cluster(the_run(), now, "admin")).startswith("Seit 20 s hat kein Worker den Lauf")
        assert str(backfill.missing_cluster(the_run(), now)).startswith("No worker has taken run")


@pytest.mark.django_db
def test_an_error_is_told_in_the_readers_language_and_kept_in_english(caplog: pytest.LogCaptureFixture) -> None:
    error = RunLockedError(conflict("default", Generation))
    with translation.override("de"):
        assert error.told.startswith("Die Generation wurde zur selben Zeit von jemand anderem geändert")
        logging.getLogger("django_pagestats").error("%s", error)
        kept = (str(error), failing.describe("default", error), caplog.text)
        assert translation.get_language() == "de"
    assert ["The generation was changed by somebody else" in text for text in kept] == [True] * 3
    assert error.told == str(error), "where nobody reads it in another language"


@pytest.mark.django_db
def test_what_keeping_up_cannot_do_is_told_in_the_readers_language(settings: Any) -> None:
    make_page_views(3)
    folding.keep_up("default", seconds=5)
    settings.PAGESTATS_TAIL_LIMIT, settings.PAGESTATS_TIME_ZONE = 1_000, "Asia/Tokyo"
    told = folding.attention("default", 1_001, may_start=False)
    assert texts.english(told).startswith("More than 1,000 page views are not folded yet")
    with translation.override("de"):
        assert str(told).startswith("Mehr als 1.000 Seitenaufrufe sind noch nicht gefaltet") and "Asia/Tokyo" in str(
            told
        )
        assert not ENGLISH.search(WHOLE_COMMAND.sub("", str(told)))
        assert "Einen Aufbau starten." in str(folding.attention("default", 1_001))
        assert folding.other_zone("default").startswith("The aggregates are cut by the days")


@pytest.mark.django_db
def test_what_ends_a_run_is_told_without_the_words_of_a_door(settings: object) -> None:
    make_page_views(30)
    links = Links()
    links.start()
    BackfillRun.objects.update(stalled_count=10**6, lease_until="2025-01-01T00:00Z")
    links.revive()
    assert the_run().status == "failed" and not OPTION.search(the_run().error)


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["backfillrun/", "pageview/"])
def test_where_no_queue_can_take_it_there_are_the_same_buttons(page: str) -> None:
    make_page_views(3)
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    run = Links().start().run
    assert run is not None
    BackfillRun.objects.update(status="failed", active_key=None)
    with_queue = root.get(ADMIN + page).content.decode()
    assert f'action="{ADMIN}{page}backfill/"' in with_queue and "is not in INSTALLED_APPS" not in with_queue
    assert ('value="backfill_aggregates"' in with_queue) == (page == "pageview/")
    resume = '<li data-pagestats-verb="resume">'
    assert resume in root.get(f"{ADMIN}backfillrun/{run.pk}/change/").content.decode()
    with pytest.MonkeyPatch.context() as patch:  # with the app removed for good its own lists would not be there either
        replace(patch.setattr, queue_is_installed, lambda: False)
        without = root.get(ADMIN + page).content.decode()
        assert resume in root.get(f"{ADMIN}backfillrun/{run.pk}/change/").content.decode()
        reader = client_with("view_backfillrun", "view_pageview", "add_backfillrun")
        assert "Backfill aggregates" not in reader.get(ADMIN + page).content.decode(), "nobody would work on it"
        assert reader.post(f"{ADMIN}{page}backfill/").status_code == 403 and BackfillRun.objects.count() == 1
        User.objects.get(username="ada").user_permissions.add(Permission.objects.get(codename="change_backfillrun"))
        assert f'action="{ADMIN}{page}backfill/"' in reader.get(ADMIN + page).content.decode()
    assert f'action="{ADMIN}{page}backfill/"' in without
    assert ('value="backfill_aggregates"' in without) == (page == "pageview/")
