"""A changed PAGESTATS_DIMENSIONS is told until a rebuild, and what a fold could not call, before there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from django_pagestats import backfill, checks, folding, stats
from django_pagestats.dimensions import NamedDimension, change_told, is_current, of_generation
from django_pagestats.models import Generation, PageView
from tests.chains import Links, active_generation, assert_all_counted, the_run
from tests.checking import of_database, of_settings, running
from tests.factories import make_page_views
from tests.test_admin import root

__all__ = ["root"]  # the fixture
pytestmark = pytest.mark.usefixtures("no_settling")

HERE = __name__
FIRST = {"section": "django_pagestats.dimensions.section", "country": "country"}
SECOND = {"country": "country", "section": f"{HERE}.by_length", "plan": "plan"}
THIRD = {"section": f"{HERE}.by_length"}
TOLD = "PAGESTATS_DIMENSIONS is not that of the aggregates: "
OF_BEFORE = "The aggregates are of before named dimensions: they do not know who has one page view only"


def by_length(path: str) -> str:
    return str(len(path))


# -- a change


def of(dimensions: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "id": number, "source": source} for number, (name, source) in enumerate(dimensions.items(), 3)
    ]


@pytest.mark.parametrize(
    ("had", "wanted", "told"),
    [
        (FIRST, FIRST, ""),
        (FIRST, dict(reversed(FIRST.items())), ""),
        ({}, {}, ""),
        ({}, [], ""),
        (FIRST, SECOND, f"{TOLD}plan is new; section is from another source"),
        (SECOND, FIRST, f"{TOLD}section is from another source; plan is not wanted any more"),
        ({}, FIRST, f"{TOLD}section, country are new"),
        (FIRST, {}, f"{TOLD}section, country are not wanted any more"),
        (None, FIRST, f"{OF_BEFORE}, and none of section, country"),
        (None, {}, OF_BEFORE),
    ],
)
def test_what_is_otherwise(settings: Any, had: Any, wanted: Any, told: str) -> None:
    settings.PAGESTATS_DIMENSIONS = wanted
    assert change_told(None if had is None else of(had)) == told


def test_which_dimension_is_current(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = SECOND
    assert [is_current(it) for it in of_generation(of(FIRST))] == [False, True]
    assert not is_current(NamedDimension("gone", 9, "country"))


def said(*words: str) -> str:
    call_command("backfill_aggregates", *words, stdout=(out := StringIO()))
    return out.getvalue()


def lists_of_runs(client: Client) -> str:
    return client.get("/admin/django_pagestats/backfillrun/").content.decode().replace("&#x27;", "'")


def told_everywhere(client: Client, text: str) -> list[bool]:
    """Whether the check, `--status` and the admin have it."""
    messages = [message for message in checks.check_databases(databases=["default"]) if message.id == "pagestats.W096"]
    assert all("--rebuild --database default" in str(message.hint) for message in messages)
    return [
        any(text in message.msg for message in messages),
        text in said("--status"),
        text in lists_of_runs(client),
    ]


@pytest.mark.django_db
def test_a_change_is_told_until_a_rebuild_and_all_goes_on_meanwhile(settings: Any, root: Client) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    assert told_everywhere(root, TOLD) == [False] * 3 and of_database() == []
    settings.PAGESTATS_DIMENSIONS = SECOND
    assert told_everywhere(root, f"{TOLD}plan is new; section is from another source.") == [True] * 3
    make_page_views(10, seed=1)
    assert TOLD in said("--sync"), "it folds, and says so"
    assert of_generation(active_generation().dimensions) == of_generation(of(FIRST))
    assert stats.count_page_views() == 40
    make_page_views(10, seed=2)
    folding.keep_up("default", seconds=9)
    assert active_generation().cursor == the_newest()
    settings.PAGESTATS_DIMENSIONS = dict(reversed(FIRST.items()))
    assert told_everywhere(root, TOLD) == [False] * 3, "back again"
    settings.PAGESTATS_DIMENSIONS = SECOND
    assert TOLD not in said("--sync", "--rebuild")
    assert told_everywhere(root, TOLD) == [False] * 3
    assert {it.name: it.source for it in of_generation(active_generation().dimensions)} == SECOND
    assert_all_counted()


def the_newest() -> int:
    return PageView.objects.order_by("-pk").values_list("pk", flat=True)[0]


@pytest.mark.django_db
def test_a_generation_of_before_is_told_with_what_is_new(settings: Any, root: Client) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    Generation.objects.update(dimensions=None)
    assert told_everywhere(root, f"{OF_BEFORE}, and none of section, country.") == [True] * 3
    assert "--rebuild counts anew by the setting, the whole history" in said("--status")
    settings.PAGESTATS_DIMENSIONS = {}
    assert told_everywhere(root, f"{OF_BEFORE}.") == [True] * 3, "they have no repeat sets either"
    make_page_views(5, seed=1)
    folding.keep_up("default", seconds=9)
    assert stats.count_page_views() == 35 and active_generation().dimensions is None
    said("--sync", "--rebuild")
    assert told_everywhere(root, OF_BEFORE) == [False] * 3


@pytest.mark.django_db
def test_it_is_told_beside_another_zone_and_a_long_tail(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    settings.PAGESTATS_DIMENSIONS, settings.PAGESTATS_TIME_ZONE = SECOND, "Asia/Kathmandu"
    settings.PAGESTATS_TAIL_LIMIT = 3
    make_page_views(5, seed=1)
    told = said("--status")
    for text in (TOLD, "PAGESTATS_TIME_ZONE is Asia/Kathmandu", "More than 3 page views are not folded yet"):
        assert text in told
    assert of_database() == ["pagestats.W035", "pagestats.W096"]


@pytest.mark.django_db
def test_the_status_object_of_programs_is_as_it_was(settings: Any) -> None:
    """A changed setting is no problem of the aggregates: no other zone is one either."""
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    settings.PAGESTATS_DIMENSIONS = SECOND
    assert json.loads(said("--status", "--json"))["problem"] is None


@pytest.mark.django_db
def test_a_kept_generation_that_answers_again_may_have_others(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    old = active_generation()
    settings.PAGESTATS_DIMENSIONS = SECOND
    said("--sync", "--rebuild", "--keep-old")
    answer = backfill.activate("default", old.pk, via="test")
    assert f"{TOLD}plan is new; section is from another source. " in answer.message


@pytest.mark.django_db
def test_a_change_between_two_chunks_of_a_rebuild_is_one_of_the_next(settings: Any, root: Client) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    settings.PAGESTATS_DIMENSIONS = SECOND
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    settings.PAGESTATS_DIMENSIONS = THIRD
    links.drain()
    assert the_run().status == "succeeded"
    assert {it.name: it.source for it in of_generation(active_generation().dimensions)} == SECOND
    assert told_everywhere(root, f"{TOLD}country, plan are not wanted any more.") == [True] * 3
    assert_all_counted()


@pytest.mark.django_db
def test_a_function_of_the_aggregates_that_is_gone_is_told(settings: Any, root: Client) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(30)
    said("--sync")
    renamed = [{**it, "source": f"{HERE}.gone"} if "." in it["source"] else it for it in active_generation().dimensions]
    Generation.objects.update(dimensions=renamed)
    text = f"The dimension section: {HERE}.gone cannot be imported (ImportError: "
    assert told_everywhere(root, text) == [True] * 3
    assert "Until then nothing is folded." in said("--status")
    settings.PAGESTATS_DIMENSIONS = {it["name"]: it["source"] for it in renamed}
    assert told_everywhere(root, text) == [True] * 3, "nobody has changed the setting"
    settings.PAGESTATS_DIMENSIONS = FIRST
    said("--sync", "--rebuild")
    assert told_everywhere(root, text) == [False] * 3


# -- the page of a generation


@pytest.mark.django_db
def test_the_page_of_a_generation_has_its_dimensions(settings: Any, root: Client) -> None:
    settings.PAGESTATS_DIMENSIONS = FIRST
    make_page_views(3)
    said("--sync")
    page = f"/admin/django_pagestats/generation/{active_generation().pk}/change/"
    settings.PAGESTATS_DIMENSIONS = SECOND
    assert "section (django_pagestats.dimensions.section), country<" in root.get(page).content.decode()
    Generation.objects.update(dimensions=None)
    assert "none: it is of before there were any" in root.get(page).content.decode()
    Generation.objects.update(dimensions=[])
    shown = root.get(page).content.decode().partition('field-dimensions_text"')[2]
    assert shown.partition('readonly">')[2].startswith("-<")


# -- checks of the settings

CALLED: list[dict[str, Any]] = []


def notes(path: str, attributes: dict[str, str]) -> str:
    CALLED.append({"path": path, "attributes": attributes})
    return "noted"


def changes_its_argument(attributes: dict[str, str]) -> None:
    attributes.clear()


def wants_a_source(attributes: dict[str, str]) -> str:
    return attributes["source"]


def wants_a_segment(path: str) -> str:
    return path.split("/")[7]


def second_segment(path: str) -> str | None:
    return path.split("/")[2] if path.count("/") > 2 else None


def whole_path(path: str) -> str:
    return path


def gives(path: str) -> Any:
    return GIVEN["it"]


def takes_nothing() -> str:
    return "x"


def takes_more(path: str, request: object) -> str:
    return "x"


async def waits(path: str) -> str:
    return path


GIVEN: dict[str, Any] = {"it": "x"}
NO_FUNCTION = 5
does_not_say = dict


def about(settings: Any, source: str) -> str:
    settings.PAGESTATS_DIMENSIONS = {"mine": source}
    (message,) = checks.check_dimensions()
    assert "'mine'" in message.msg and message.hint
    return f"{message.id} {message.msg}"


def test_each_function_is_called_with_an_example(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"mine": f"{HERE}.notes"}
    CALLED.clear()
    assert of_settings() == []
    assert [call["path"] for call in CALLED[:2]] == ["/example/page/"] * 2
    assert [bool(call["attributes"]) for call in CALLED[:2]] == [True, False]
    assert max(len(call["path"]) for call in CALLED[2:]) > 2_000, "what anybody may ask for, too"
    settings.PAGESTATS_DIMENSIONS = {name: f"{HERE}.{name}" for name in ("changes_its_argument", "by_length")}
    assert of_settings() == [] == of_settings(), "the example stays as it is"


def test_the_default_ones_pass() -> None:
    assert of_settings() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "which cannot be imported (ImportError: "),
        ("NO_FUNCTION", "which cannot be called"),
        ("waits", "which is a coroutine function, which nobody would await"),
    ],
)
def test_a_function_that_is_none(settings: Any, name: str, reason: str) -> None:
    told = about(settings, f"{HERE}.{name}")
    assert told.startswith("pagestats.E097 ") and reason in told and f"{HERE}.{name}" in told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "wants_a_segment",
            f"{HERE}.wants_a_segment(path='/example/page/') raised IndexError: list index out of range",
        ),
        ("wants_a_source", f"{HERE}.wants_a_source(attributes={{}}) raised KeyError: 'source'"),
        ("takes_nothing", f"The dimension mine: {HERE}.takes_nothing takes none of these: a function of path"),
        ("takes_more", f"The dimension mine: {HERE}.takes_more takes request: a function of path"),
        ("does_not_say", f"The dimension mine: {HERE}.does_not_say takes none of these: a function of path"),
    ],
)
def test_a_function_that_fails_with_the_example(settings: Any, name: str, reason: str) -> None:
    told = about(settings, f"{HERE}.{name}")
    assert told.startswith("pagestats.E098 ") and reason in told


@pytest.mark.parametrize("value", [5, b"x", "", "x" * 256, "a\0", "\ud800", ["x"], True])
def test_a_function_that_gives_what_cannot_be_stored(settings: Any, value: Any) -> None:
    GIVEN["it"] = value
    told = about(settings, f"{HERE}.gives")
    assert told.startswith("pagestats.E098 ")
    assert f"{HERE}.gives(path='/example/page/') gave {value!r}"[:200] in told
    GIVEN["it"] = "x" * 255
    assert of_settings() == []


@pytest.mark.parametrize("name", ["second_segment", "whole_path"])
def test_a_function_that_fails_with_a_path_that_a_visitor_may_ask_for(settings: Any, name: str) -> None:
    told = about(settings, f"{HERE}.{name}")
    assert told.startswith("pagestats.W100 ") and f"{HERE}.{name}(path=" in told


def test_an_attribute_that_is_not_recorded(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"plan": "plan", "where": "country", "at": "host"}
    settings.PAGESTATS_ATTRIBUTES = ["source"]
    assert of_settings() == ["pagestats.W099"] * 3
    assert of_settings("migrate") == ["pagestats.W099"] * 3 and of_settings("runserver") == [], "a choice"
    settings.PAGESTATS_ATTRIBUTES = ["country", "host", "django_pagestats.dimensions.entry.plan"]
    with running("check"):
        (message,) = checks.check_dimensions()
    assert "'at' from the attribute 'host'" in message.msg
    settings.PAGESTATS_RECORD_HOST = True
    with running("check"):
        assert checks.check_dimensions() == []


def test_a_site_that_records_less_has_not_to_write_down_its_dimensions(settings: Any) -> None:
    settings.PAGESTATS_ATTRIBUTES = []
    assert of_settings() == []


def test_two_dimensions_of_one_source_are_fine(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = {"country": "country", "land": "country"}
    assert of_settings() == []


def test_a_setting_that_will_not_do_at_all_is_told_once(settings: Any) -> None:
    settings.PAGESTATS_DIMENSIONS = ["source"]
    assert of_settings() == ["pagestats.E001"]
