"""Each check of the queue, by what brings it about."""

from __future__ import annotations

import ast
import importlib.util
import re
from typing import Any

import pytest

from django_pagestats import aliases, checks
from django_pagestats.checks import queue
from tests.checking import ids, of_settings, running

CLUSTER = {"name": "site", "orm": "default", "workers": 1, "queue_limit": 1, "timeout": 60, "retry": 240}


@pytest.fixture(autouse=True)
def redis_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it need not be where the tests of SQLite run."""
    monkeypatch.setattr(queue, "find_spec", lambda name: importlib.util.find_spec(name) or name == "redis")


def test_without_django_q_a_site_keeps_up_by_itself_unless_it_may_not(settings: Any) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    del settings.Q_CLUSTER
    assert of_settings() == []
    settings.PAGESTATS_KEEP_UP = False
    assert of_settings() == ["pagestats.W060"]


@pytest.mark.parametrize("value", [None, "redis"])
def test_no_cluster(settings: Any, value: object) -> None:
    settings.Q_CLUSTER = value
    assert of_settings() == ["pagestats.W011"]
    del settings.Q_CLUSTER
    assert of_settings() == ["pagestats.W011"]


REDIS = {"orm": None, "redis": {"host": "127.0.0.1"}}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, []),
        ({"timeout": None}, ["W012"]),
        ({"retry": 186}, []),
        ({"retry": 185}, ["W013"]),
        # 60 * (1 + ceil((4 + 1) / 2)) + 5 = 245
        ({"workers": 2, "queue_limit": 4, "retry": 246}, []),
        ({"workers": 2, "queue_limit": 4, "retry": 245}, ["W013"]),
        # the default queue_limit is workers squared
        ({"workers": 4, "queue_limit": None, "retry": 365}, ["W013"]),
        ({"workers": 4, "queue_limit": None, "retry": 366}, []),
        ({**REDIS, "retry": 3}, []),
        ({**REDIS, "timeout": 3}, ["W014"]),
        ({"timeout": 6}, []),
        ({"timeout": 5}, ["W014"]),
        ({"timeout": None, "retry": 5}, ["W012", "W014"]),
        ({"sync": True}, ["W016"]),
        ({"timeout": 60.0}, ["E017"]),
        ({"timeout": "60", "retry": "240", "workers": 1.5}, ["E017", "E017", "E017"]),
        ({"queue_limit": 0}, ["E017"]),
        ({"orm": "elsewhere"}, ["E018"]),
        ({"bulk": 0}, ["E017"]),
        ({"broker_class": "django_q.brokers.orm.ORM"}, []),
        ({"broker_class": "nowhere.Broker"}, ["E029"]),
        ({"orm": "elsewhere", "sqs": {"aws_region": "x"}}, []),
    ],
    ids=str,
)
def test_clusters(settings: Any, options: dict[str, Any], wanted: list[str]) -> None:
    merged = {**CLUSTER, **options}
    settings.Q_CLUSTER = {
        name: value for name, value in merged.items() if value is not None or name not in ("queue_limit", "orm")
    }
    assert of_settings() == [f"pagestats.{number}" for number in wanted]


def test_the_hint_for_retry_says_what_will_do(settings: Any) -> None:
    settings.Q_CLUSTER = {**CLUSTER, "retry": 60}
    (message,) = checks.check_queue()
    wanted = re.search(r'"retry": (\d+)', str(message.hint))
    assert wanted
    settings.Q_CLUSTER = {**CLUSTER, "retry": int(wanted[1])}
    assert checks.check_queue() == []
    settings.Q_CLUSTER = {**CLUSTER, "retry": int(wanted[1]) - 1}
    assert ids(checks.check_queue()) == ["pagestats.W013"]


def test_defaults_of_django_q(settings: Any) -> None:
    """Nothing but a name: timeout None, retry 60, as many workers as processors, Redis."""
    settings.Q_CLUSTER = {"name": "site"}
    assert of_settings() == ["pagestats.W012"]


def test_the_cluster_that_gets_the_tasks_is_looked_at(settings: Any) -> None:
    settings.Q_CLUSTER = {**CLUSTER, "ALT_CLUSTERS": {"long": {"timeout": 600, "retry": 700}}}
    assert of_settings() == []
    settings.PAGESTATS_CLUSTER = "long"
    assert of_settings() == ["pagestats.W013"]


@pytest.mark.parametrize(
    ("options", "wanted"), [({}, []), (REDIS, ["pagestats.E028"]), ({"orm": None}, ["pagestats.E028"])]
)
def test_a_redis_that_nobody_can_reach(
    options: dict[str, Any], wanted: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "find_spec", lambda name: None)
    settings.Q_CLUSTER = settings.Q_CLUSTER | options
    assert of_settings() == wanted


@pytest.mark.parametrize(("name", "wanted"), [("long", []), ("site", []), ("lang", ["pagestats.E019"])])
def test_a_cluster_that_nobody_runs(settings: Any, name: str, wanted: list[str]) -> None:
    settings.Q_CLUSTER = {**CLUSTER, "ALT_CLUSTERS": {"long": {}}}
    settings.PAGESTATS_CLUSTER = name
    assert of_settings() == wanted


def test_a_queue_in_another_database_than_the_page_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "sure", lambda: ["elsewhere"])
    with running("check"):
        assert ids(checks.check_queue()) == ["pagestats.W015"]


def test_what_a_site_may_have_chosen_is_told_to_who_asks(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """A queue elsewhere, none at all, or one that runs within the request: not said before each command."""
    monkeypatch.setattr(aliases, "sure", lambda: ["elsewhere"])
    settings.Q_CLUSTER = {**CLUSTER, "sync": True, "timeout": None}
    fault, *choices = "pagestats.W012", "pagestats.W015", "pagestats.W016"
    for command in ("check", "migrate", "qcluster"):
        assert found_before(command) == {fault, *choices}
    for command in ("shell", "backfill_aggregates", "runserver", ""):
        assert found_before(command) == {fault}
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    settings.PAGESTATS_KEEP_UP = False
    assert found_before("check") == {"pagestats.W060"}
    assert found_before("shell") == set()


def found_before(command: str) -> set[str]:
    with running(command):
        return set(ids(checks.check_queue()))


def test_the_hint_of_a_choice_has_the_line_that_silences_it(settings: Any) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    settings.PAGESTATS_KEEP_UP = False
    with running("check"):
        (message,) = checks.check_queue()
    line = re.search(r"SILENCED_SYSTEM_CHECKS = (\[.*\])\.$", str(message.hint))
    assert line
    settings.SILENCED_SYSTEM_CHECKS = ast.literal_eval(line[1])
    assert message.is_silenced()


def test_the_time_of_a_link(settings: Any) -> None:
    settings.PAGESTATS_LINK_SECONDS = 20
    assert of_settings() == []
    settings.PAGESTATS_LINK_SECONDS = 81
    assert of_settings() == ["pagestats.W014", "pagestats.W014"]
    settings.PAGESTATS_LINK_SECONDS = "fast"
    assert of_settings() == ["pagestats.E001"]
