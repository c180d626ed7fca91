"""Shared by all tests; which database they run on is decided in tests/servers.py."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from testproject.settings import KIND
from tests import accounts, torture, workers
from tests.patching import replace

workers.draw()
workers.leave_out_children()
collect_ignore = [
    *(workers.PROJECT_TESTS if os.environ.get("PAGESTATS_DB") else ()),
    *(workers.SERVERLESS_TESTS if KIND in torture.SERVERS else ()),
    *(workers.CRASH_TESTS if torture.IS_OFF else ()),
]

# a busy machine makes single examples slow, and databases are slow to begin with
settings.register_profile(
    "pagestats",
    deadline=None,
    max_examples=int(os.environ.get("PAGESTATS_EXAMPLES", "100")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("pagestats")


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Whether it is not Django that makes the database, and drops it: see the next one."""
    return django_db_keepdb or KIND != "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """On a server each worker has a database of the site's user, which the administrator makes."""
    from django.db import connection, connections

    if KIND == "sqlite":
        yield
        return
    with accounts.own_database(connection.settings_dict["TEST"]["NAME"]):
        yield
        connections.close_all()


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> None:
    from tests import flushing  # which needs Django's apps

    flushing.after_each_test()


@pytest.fixture
def database() -> Iterator[dict[str, Any]]:
    """The settings of the default database, to change and have put back."""
    from django.db import connection

    kept = connection.settings_dict
    connection.settings_dict = copy.deepcopy(kept)
    yield connection.settings_dict
    connection.settings_dict = kept


@pytest.fixture(autouse=True)
def own_language() -> None:
    """LocaleMiddleware leaves its thread in the language of the last request."""
    from django.utils import translation

    translation.deactivate()


@pytest.fixture(autouse=True)
def recorded_anew() -> None:
    """What a process remembers of visitors, duplicates and what was left out begins with each test."""
    from django_pagestats import salts
    from django_pagestats.beacon import limits
    from django_pagestats.recording import left_out, memory, new_paths, new_values, policies, switch

    salts.forget()
    policies.forget()
    memory.forget()
    limits.forget()
    new_paths.forget()
    left_out.forget()
    new_values.forget()
    switch.forget()


@pytest.fixture(autouse=True)
def few_page_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test is of few page views, though ids go on after a test that has left high ones, as MariaDB's do."""
    from django_pagestats.stats import folded

    monkeypatch.setattr(folded, "VERY_MANY_PAGE_VIEWS", 2**63)


@pytest.fixture
def no_settling(settings: Any) -> None:
    """MariaDB's horizon takes no time: for tests that are not about what is committed late."""
    settings.PAGESTATS_SETTLE_SECONDS = 0


@pytest.fixture
def short_waits(no_settling: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits but for what the test is about."""
    from django_pagestats import folding

    replace(monkeypatch.setattr, folding.rest, lambda seconds, using: None)
    monkeypatch.setattr(folding.poll, "__defaults__", (0.1,))


def pytest_report_header() -> str:
    return torture.described()


@pytest.hookimpl(optionalhook=True)  # there is none without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return workers.scheduler(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the longer form, or for another database's turn."""
    left_out = [item for item in items if not torture.is_chosen(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
