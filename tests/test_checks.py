"""Each check, by what brings it about; and that a site that is set up as documented has nothing to complain about."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.management import call_command
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_pagestats import checks, folding
from django_pagestats.models import Generation

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = {"name": "site", "orm": "default", "workers": 1, "queue_limit": 1, "timeout": 60, "retry": 240}


def only(vendor: str) -> Callable[[Any], Any]:
    """There is no such test on the other databases."""
    return lambda test: test if connection.vendor == vendor else None


def of_settings() -> list[str]:
    return [*ids(checks.check_settings()), *ids(checks.check_queue()), *ids(checks.check_database_settings())]


def of_database() -> list[str]:
    return ids(checks.check_databases(databases=["default"]))


def ids(messages: list[django_checks.CheckMessage]) -> list[str]:
    for message in messages:
        assert message.hint, "a hint says what to do"
    return [str(message.id) for message in messages]


@pytest.fixture(autouse=True)
def redis_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it need not be where the tests of SQLite run."""
    monkeypatch.setattr(checks, "find_spec", lambda name: importlib.util.find_spec(name) or name == "redis")


@pytest.fixture
def database() -> Iterator[dict[str, Any]]:
    """The settings of the default database, to change and have put back."""
    kept = connection.settings_dict
    connection.settings_dict = copy.deepcopy(kept)
    yield connection.settings_dict
    connection.settings_dict = kept


# -- as it should be


@pytest.mark.django_db(transaction=True)
def test_the_test_project_is_set_up_as_documented() -> None:
    folding.ensure_active_generation("default")
    assert of_settings() == []
    assert of_database() == []


@pytest.mark.django_db
def test_they_are_registered() -> None:
    out = StringIO()
    call_command("check", databases=["default"], stdout=out, stderr=out)
    assert "pagestats" not in out.getvalue()
    registered = {
        check.__name__ for check in django_checks.registry.registry.get_checks() if check.__module__ == checks.__name__
    }
    assert registered == {"check_settings", "check_queue", "check_database_settings", "check_databases"}


def test_without_a_named_database_none_is_asked() -> None:
    """No `db` mark: pytest-django forbids any query."""
    assert checks.check_databases() == []
    assert checks.check_databases(databases=["another"]) == []
    assert of_settings() == []


# -- settings


def test_an_invalid_setting(settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = "many"
    (message,) = checks.check_settings()
    assert message.id == "pagestats.E001"
    assert "PAGESTATS_TAIL_LIMIT" in message.msg
    assert "'many'" in message.msg


def test_an_unknown_setting(settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMITS = 5
    assert of_settings() == ["pagestats.W003"]


def test_use_tz_off(settings: Any) -> None:
    settings.USE_TZ = False
    assert ids(checks.check_settings()) == ["pagestats.E002"]


# -- queue


def test_django_q_not_installed(settings: Any) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    assert of_settings() == ["pagestats.W010"]


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
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    settings.Q_CLUSTER = settings.Q_CLUSTER | options
    assert of_settings() == wanted


@pytest.mark.parametrize(("name", "wanted"), [("long", []), ("site", []), ("lang", ["pagestats.E019"])])
def test_a_cluster_that_nobody_runs(settings: Any, name: str, wanted: list[str]) -> None:
    settings.Q_CLUSTER = {**CLUSTER, "ALT_CLUSTERS": {"long": {}}}
    settings.PAGESTATS_CLUSTER = name
    assert of_settings() == wanted


def test_a_queue_in_another_database_than_the_page_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_sure_aliases", lambda: ["elsewhere"])
    assert ids(checks.check_queue()) == ["pagestats.W015"]


def test_the_time_of_a_link(settings: Any) -> None:
    settings.PAGESTATS_LINK_SECONDS = 20
    assert of_settings() == []
    settings.PAGESTATS_LINK_SECONDS = 81
    assert of_settings() == ["pagestats.W014", "pagestats.W014"]
    settings.PAGESTATS_LINK_SECONDS = "fast"
    assert of_settings() == ["pagestats.E001"]


# -- settings of databases


class Nowhere:
    """A router that keeps our tables out of the default database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_pagestats" else None


def test_a_database_without_our_tables_is_left_alone(settings: Any, database: dict[str, Any]) -> None:
    database["TIME_ZONE"] = "Asia/Tokyo"
    database["OPTIONS"] = {"pool": True, "isolation_level": "read uncommitted"}
    assert of_settings() != []
    settings.DATABASE_ROUTERS = ["tests.test_checks.Nowhere"]
    assert of_settings() == []
    assert of_database() == []


class Oracle(BaseDatabaseWrapper):
    vendor = "oracle"
    display_name = "Oracle"


@pytest.fixture
def legacy(settings: Any) -> Iterator[str]:
    """A second database, of a kind that is not supported, such as many sites have beside theirs."""
    connections.settings["legacy"] = {**connection.settings_dict, "ENGINE": "oracle"}
    connections["legacy"] = object.__new__(Oracle)
    connections["legacy"].settings_dict = connections.settings["legacy"]
    yield "legacy"
    del connections["legacy"]
    del connections.settings["legacy"]


class Everywhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return True


def test_an_unsupported_database(settings: Any, legacy: str) -> None:
    assert of_settings() == [], "without a router our tables are in the default database"
    settings.DATABASE_ROUTERS = ["tests.test_checks.Everywhere"]
    (message,) = checks.check_database_settings()
    assert message.id == "pagestats.E020"
    assert "Oracle" in message.msg
    assert checks.check_databases(databases=[legacy]) == []


@only("postgresql")
def test_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.backends.postgresql.psycopg_any.is_psycopg3", False)
    assert of_settings() == ["pagestats.E021"]


@only("postgresql")
def test_a_pool_in_a_cluster(settings: Any, database: dict[str, Any]) -> None:
    database["OPTIONS"] = {"pool": True}
    assert of_settings() == ["pagestats.W022"]
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    assert of_settings() == ["pagestats.W010"]


def test_a_database_not_in_utc(database: dict[str, Any]) -> None:
    database["TIME_ZONE"] = "Europe/Berlin"
    assert of_settings() == ([] if connection.vendor == "postgresql" else ["pagestats.E023"])
    database["TIME_ZONE"] = "UTC"
    assert of_settings() == []


@only("sqlite")
@pytest.mark.parametrize("options", [{}, {"transaction_mode": "DEFERRED"}, {"transaction_mode": None}])
def test_deferred_transactions(database: dict[str, Any], options: dict[str, Any]) -> None:
    database["OPTIONS"] = options
    assert of_settings() == ["pagestats.W024"]


@only("sqlite")
def test_a_database_in_memory_is_for_tests(database: dict[str, Any]) -> None:
    database["OPTIONS"] = {}
    database["NAME"] = ":memory:"
    assert of_settings() == []


def test_autocommit_off(database: dict[str, Any]) -> None:
    database["AUTOCOMMIT"] = False
    assert of_settings() == ["pagestats.E026"]


@only("mysql")
def test_another_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.Database, "__name__", "pymysql")
    assert of_settings() == ["pagestats.W027"]


@only("mysql")
@pytest.mark.parametrize("level", ["read uncommitted", "READ-UNCOMMITTED"])
def test_read_uncommitted_in_the_settings(database: dict[str, Any], level: str) -> None:
    database["OPTIONS"] = {"isolation_level": level}
    assert of_settings() == ["pagestats.E025"]


# -- databases


@pytest.mark.django_db
@pytest.mark.parametrize("name", list(checks.MINIMUM_VERSIONS))
def test_an_old_server(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The oldest version that does, and the one before it."""
    mine = checks._server(connection)[0]
    assert checks._server(connection)[1] >= checks.MINIMUM_VERSIONS[mine]
    wanted = checks.MINIMUM_VERSIONS[name]
    monkeypatch.setattr(checks, "_server", lambda connection: (name, wanted))
    assert of_database() == []
    monkeypatch.setattr(checks, "_server", lambda connection: (name, (*wanted[:-1], wanted[-1] - 1, 99)))
    assert of_database() == ["pagestats.E030"]


@only("sqlite")
@pytest.mark.django_db(transaction=True)
def test_a_journal_that_is_no_wal() -> None:
    execute("PRAGMA journal_mode=DELETE")
    assert of_database() == ["pagestats.W031"]
    execute("PRAGMA journal_mode=WAL")
    assert of_database() == []


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@only("postgresql")
@pytest.mark.django_db
def test_a_sequence_that_caches() -> None:
    (message,) = caching("ALTER SEQUENCE django_pagestats_pageview_id_seq CACHE 20")
    assert message.id == "pagestats.W032"
    fix = re.search(r"ALTER SEQUENCE \S+ CACHE 1;", str(message.hint))
    assert fix
    assert caching(fix[0]) == []


def caching(statement: str) -> list[django_checks.CheckMessage]:
    execute(statement)
    return checks.check_databases(databases=["default"])


@only("mysql")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "undo", "wanted"),
    [
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "READ COMMITTED", "pagestats.E025"),
        ("SET SESSION auto_increment_increment = 2", "1", "pagestats.W033"),
    ],
)
def test_the_servers_variables(change: str, undo: str, wanted: str) -> None:
    assert of_database() == []
    execute(change)
    try:
        assert of_database() == [wanted]
    finally:
        execute(f"{change.rpartition(' READ UN')[0] or change[:-1]} {undo}")
    assert of_database() == []


@only("mysql")
@pytest.mark.django_db
def test_a_galera_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node at hand: the answer of one."""
    fetch: Callable[..., list[tuple[Any, ...]]] = checks._fetch

    def as_a_node(connection: Any, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        return [*fetch(connection, statement, parameters), *([("wsrep_on", "ON")] if "wsrep_on" in statement else [])]

    monkeypatch.setattr(checks, "_fetch", as_a_node)
    assert of_database() == ["pagestats.W033"]


@only("mysql")
@pytest.mark.django_db
def test_a_missing_collation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.ExactCharField, "_exact_collation", staticmethod(lambda connection: "utf8mb4_no_such"))
    assert of_database() == ["pagestats.E034"]


@pytest.mark.django_db
def test_another_zone_than_the_aggregates(settings: Any) -> None:
    folding.ensure_active_generation("default")
    assert of_database() == []
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    (message,) = checks.check_databases(databases=["default"])
    assert message.id == "pagestats.W035"
    assert "--rebuild" in str(message.hint)
    Generation.objects.update(time_zone="Asia/Kathmandu")
    assert of_database() == []


@pytest.mark.django_db
def test_before_the_first_migrate_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    folding.ensure_active_generation("default")
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda *args, **kwargs: [])
    assert of_database() == []


@pytest.mark.django_db
def test_tables_that_no_router_sent_there_are_found(monkeypatch: pytest.MonkeyPatch, database: dict[str, Any]) -> None:
    """Without a router, `migrate --database X` makes our tables in X: then X's settings are checked too."""
    database["TIME_ZONE"] = "Europe/Berlin"
    monkeypatch.setattr(checks, "_sure_aliases", list)
    assert ids(checks.check_database_settings()) == []
    assert of_database() == ([] if connection.vendor == "postgresql" else ["pagestats.E023"])


# -- the page


def built() -> set[str]:
    """Every id that the module can give."""
    source = Path(checks.__file__).read_text()
    calls = re.findall(r"return (error|warning)\(\s*(\d+),", source)
    return {f"pagestats.{kind[0].upper()}{int(number):03}" for kind, number in calls}


def test_every_check_has_its_line_in_the_docs() -> None:
    described = re.findall(r"^\| `(pagestats\.[EW]\d{3})` \|", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE)
    assert len(described) == len(set(described))
    assert set(described) == built()
    assert len(built()) >= 20


def test_numbers_are_given_once() -> None:
    numbers = [name[-3:] for name in built()]
    assert len(numbers) == len(set(numbers))
